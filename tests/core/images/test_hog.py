"""HOG against scikit-image's, and the gradients that scikit-image does not have."""

import numpy as np
import pytest
import torch
import toys
from skimage.feature import hog as skimage_hog

from labsupport.core import images as images_
from labsupport.core.images.hog import cell_histograms, cells_of, hog


def theirs(image, *, cell=8, block=3, bins=9):
    """scikit-image's code of one image (1, C, H, W)."""
    pixels = image[0].permute(1, 2, 0).numpy()
    colour = pixels.shape[2] == 3
    return skimage_hog(
        pixels if colour else pixels[:, :, 0],
        orientations=bins,
        pixels_per_cell=(cell, cell),
        cells_per_block=(block, block),
        block_norm="L2-Hys",
        channel_axis=-1 if colour else None,
    )


def photo(name):
    return images_.resize(images_.sample(name), (96, 136))


@pytest.mark.parametrize(
    "settings",
    [{}, {"cell": 6, "block": 2, "bins": 8}, {"cell": 8, "block": 1, "bins": 12}, {"cell": 7}],
)
def test_codes_are_scikit_images_in_colours_and_grey(settings):
    batch = torch.cat([photo(name) for name in ("coffee", "giant_panda", "chelsea")])
    for images in (batch, batch.mean(1, keepdim=True), (batch * 8).round() / 8):
        for code, one in zip(hog(images, **settings).numpy(), images, strict=True):
            assert np.allclose(code, theirs(one[None], **settings), atol=1e-5)


def test_slopes_at_the_edge_of_a_bin_belong_to_the_next():
    """A slope of exactly 45 degrees, with bins that meet there; and one of 0 (which is 180)."""
    rows = torch.arange(24.0)
    for image in (rows[:, None] + rows, rows - rows[:, None], rows.expand(24, 24), -rows):
        grey = (image.expand(24, 24) / 64)[None, None]
        for bins in (4, 8, 9):
            ours = hog(grey, bins=bins)[0].numpy()
            assert np.allclose(ours, theirs(grey, bins=bins), atol=1e-6)


def test_cells_come_back_from_a_code():
    """With blocks of one cell, the code's cells are the normalized histograms themselves."""
    image = photo("coffee")
    cells = cell_histograms(image)
    unit = cells / (cells.square().sum(-1, keepdim=True) + 1e-10).sqrt()
    cut = unit.clamp_max(0.2)
    expected = cut / (cut.square().sum(-1, keepdim=True) + 1e-10).sqrt()
    assert torch.allclose(cells_of(hog(image, block=1), 12, block=1), expected, atol=1e-6)
    several = cells_of(hog(image), 12)
    assert several.shape == cells.shape
    # The same directions lead, however many blocks speak of a cell.
    loud = cells.sum(-1) > cells.sum(-1).median()
    agree = (several.argmax(-1) == cells.argmax(-1))[loud].float().mean()
    assert agree > 0.95


def test_gradients_are_those_of_finite_differences():
    image = toys.image(18).double().requires_grad_()
    tolerances = {"eps": 1e-7, "atol": 1e-4, "rtol": 1e-6}
    assert torch.autograd.gradcheck(lambda images: hog(images, cell=6), image, **tolerances)


def test_flat_images_have_a_finite_code_and_gradient():
    for shade in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 32, 32), shade, requires_grad=True)
        code = hog(flat)
        assert not code.any()
        assert not torch.autograd.grad(code.sum(), flat)[0].any()
    half = torch.zeros(1, 3, 32, 32)
    half[:, :, :, 16:] = photo("coffee")[:, :, :32, :16]
    half.requires_grad_()
    loss = (hog(half) - hog(photo("chelsea")[:, :, :32, :32])).square().sum()
    (gradient,) = torch.autograd.grad(loss, half)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_what_cannot_be_described_is_refused():
    image = torch.rand(1, 3, 32, 32)
    toys.assert_refused(
        (r"BadImage: .*\(N, 3, H, W\)", hog, image[0]),
        ("BadImage: .*24 x 24 pixels at least", hog, image[..., :20]),
        ("BadImage: .*no cell", hog, image[..., :5]),
        *((f"BadSetting: .*{name}", hog, image, {name: 0}) for name in ("cell", "block", "bins")),
        ("BadSetting: .*cell rows", cells_of, hog(image), 9),
    )
