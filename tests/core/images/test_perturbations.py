"""A step is what it says, to the last bit."""

import torch
import toys

from labsupport.core.images.perturbations import perturbed, signed_step


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.double() - other.double()).abs().max())


def test_no_pixel_goes_further_than_promised():
    images = toys.image(50, 40, count=4)
    gradient = torch.randn(4, 3, 50, 40, generator=torch.Generator().manual_seed(2))
    for size in (1 / 255, 0.007, 0.1, 8 / 255, 0.3, 1.0):
        result = signed_step(images, gradient, size)
        assert far(result, images) <= size
        assert result.min() >= 0
        assert result.max() <= 1
        assert far(result, (images + size * gradient.sign()).clamp(0, 1)) < 1e-6
    assert far(images + 0.1, images) > 0.1  # adding alone would go too far
    assert far(perturbed(images, torch.ones_like(images), 0.1, bounds=None), images) <= 0.1
    assert torch.equal(signed_step(images, gradient, 0.0), images)
    shared = perturbed(images, -gradient[0].sign(), 0.25, bounds=None)  # by a batch
    assert far(shared, images - 0.25 * gradient[:1].sign()) < 1e-6
    assert torch.equal(signed_step(images, torch.zeros_like(images), 0.5), images)
    numbers = torch.tensor([2.0, -1.0, 3.0])  # no pixels, so without bounds
    result = signed_step(numbers, torch.tensor([-1.0, -1.0, 1.0]), 0.5, bounds=None)
    assert result.tolist() == [1.5, -1.5, 3.5]


def test_what_cannot_work_is_said():
    none, nan = torch.zeros(1, 3, 4, 4), float("nan")
    toys.assert_refused(
        ("BadSetting: .*from 0 upwards", perturbed, none, none, -0.1),
        ("BadSetting: .*from 0 upwards", perturbed, none, none, nan),
        (r"BadSetting: .*\(1, 3, 4, 4\)", perturbed, none, torch.zeros(1, 3, 4, 5), 0.1),
        (r"BadSetting: .*\(2, 3, 4, 4\)", perturbed, none, torch.zeros(2, 3, 4, 4), 0.1),
        (r"BadSetting: .*\[-1, 1\]", perturbed, none, none + 1.5, 0.1),
        (r"BadSetting: .*\[-1, 1\]", perturbed, none, none + nan, 0.1),
    )
