"""Deletion and insertion against closed forms, and against a loop that exchanges pixels by hand."""

import pytest
import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.methods import backprop
from labsupport.methods import faithfulness as fa
from labsupport.methods.occlusion import fill_image

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (6, 9)


@pytest.fixture(scope="module")
def weights():
    return torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def linear(weights):
    """score 1 = w . x; score 0 = 0."""
    return toys.linear(torch.stack([0 * weights, weights]))


@pytest.fixture(scope="module")
def small():
    def build():
        return [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU()]

    return toys.chain(build, classes=4, input_size=(24, 20))


def by_hand(network, image, map_, way, fill, steps, answer):
    """One pixel after the other, highest first; of equal ones the upper, then the left one."""
    other = fill_image(network, image, fill)
    picture, source = (image, other) if way == "deletion" else (other, image)
    picture, width, values = picture.clone(), map_.shape[1], []
    numbers = map_.flatten().tolist()
    order = sorted(range(len(numbers)), key=lambda pixel: (-numbers[pixel], pixel))
    wanted = [round(step * len(order) / steps) for step in range(steps + 1)]
    for done in range(len(order) + 1):
        if done in wanted:
            with torch.no_grad():
                values.append(float(answer(picture)))
        if done < len(order):
            row, column = divmod(order[done], width)
            picture[0, :, row, column] = source[0, :, row, column]
    areas = [(one + other) / 2 for one, other in zip(values[1:], values[:-1], strict=True)]
    widths = [later - sooner for later, sooner in zip(wanted[1:], wanted[:-1], strict=True)]
    area = sum(part * each for part, each in zip(areas, widths, strict=True)) / len(order)
    return torch.tensor(values), area, [one / len(order) for one in wanted]


@pytest.mark.parametrize("way", fa.WAYS)
@pytest.mark.parametrize(
    ("target", "view", "answer"),
    [
        (2, "probability", lambda net, x: net(x).softmax(1)[0, 2]),
        (2, "score", lambda net, x: net(x)[0, 2]),
        (("conv1", 5), "score", lambda net, x: net.up_to("conv1")(x)[0, 5].mean()),
        (("conv1", 5, (3, 1)), "score", lambda net, x: net.up_to("conv1")(x)[0, 5, 3, 1]),
    ],
)
def test_a_curve_is_what_a_plain_loop_finds(small, way, target, view, answer):
    """480 pixels in 7 parts, which are not equally many; ties in the map."""
    image, map_ = toys.image(24, 20), (toys.image(24, 20, seed=1)[0, 0] * 9).round()
    fill = "grey" if way == "deletion" else "blur"
    settings = {"way": way, "fill": fill, "steps": 7, "view": view}
    found = fa.pixel_curve(small, image, target, map_, **settings)
    values, area, shares = by_hand(
        small, image, map_, way, fill, 7, lambda picture: answer(small, picture)
    )
    torch.testing.assert_close(found.values, values, rtol=1e-4, atol=1e-6)
    assert found.area == pytest.approx(area, rel=1e-4)
    assert found.fractions.tolist() == pytest.approx(shares, abs=1e-12)
    assert float(found.values.max() - found.values.min()) > 1e-3


def test_a_map_that_is_right_wins_and_a_random_one_loses(linear, weights):
    """What each pixel adds to a linear score: no order of the pixels makes the score fall sooner
    when they turn black, or rise sooner when they come into a black image."""
    image = toys.image(*SIZE)
    right = (weights * image[0]).sum(0)
    ask = {"fill": "black", "view": "score", "steps": right.numel()}
    summed = backprop.integrated_gradients(linear, image, 1).values[0].sum(0)
    torch.testing.assert_close(summed, right, rtol=1e-3, atol=1e-5)
    for way, sign in (("deletion", 1), ("insertion", -1)):
        best = fa.pixel_curve(linear, image, 1, summed, way=way, **ask)
        added = right.flatten().sort(descending=True).values.cumsum(0)
        start = float(right.sum()) if way == "deletion" else 0.0
        torch.testing.assert_close(best.values[1:], start - sign * added, rtol=1e-4, atol=1e-4)
        others = {f"random {n}": fa.controls(SIZE, seed=n)["random"] for n in range(20)}
        others |= {"centre": fa.controls(SIZE)["centre"], "reversed": -right}
        areas = {
            name: fa.pixel_curve(linear, image, 1, map_, way=way, **ask)
            for name, map_ in others.items()
        }
        for name, curve in areas.items():
            assert (sign * (curve.values - best.values) >= -1e-4).all(), name
            assert sign * (curve.area - best.area) > 0.5, name
        worst = areas.pop("reversed").area
        assert all(sign * (worst - one.area) > 0.5 for one in areas.values())


def test_the_fills_are_the_papers_unless_another_is_asked_for(small):
    image, map_ = toys.image(24, 20), toys.image(24, 20, seed=1)[0, 0]
    for way, fill in (("deletion", "mean"), ("insertion", "blur")):
        usual = fa.pixel_curve(small, image, 1, map_, way=way, steps=3)
        same = fa.pixel_curve(small, image, 1, map_, way=way, steps=3, fill=fill)
        other = fa.pixel_curve(small, image, 1, map_, way=way, steps=3, fill="white")
        assert torch.equal(usual.values, same.values)
        assert not torch.allclose(usual.values, other.values, atol=1e-4)


def test_a_share_of_the_pixels_is_exchanged_and_equal_ones_come_in_reading_order():
    image, other = toys.image(2, 3), 1 - toys.image(2, 3)
    map_ = torch.tensor([[1.0, 5.0, 1.0], [5.0, 1.0, 1.0]])
    order = [(0, 1), (1, 0), (0, 0), (0, 2), (1, 1), (1, 2)]
    for count in range(7):
        found = fa.exchanged(image, other, map_, count / 6)
        expected = image.clone()
        for row, column in order[:count]:
            expected[..., row, column] = other[..., row, column]
        assert torch.equal(found, expected)
    assert not torch.equal(fa.controls((4, 4))["random"], fa.controls((4, 4), seed=1)["random"])


def test_what_cannot_be_measured_says_why(linear, small):
    image, map_ = toys.image(*SIZE), torch.arange(54.0).view(SIZE)
    ask = fa.pixel_curve
    nan = map_.clone()
    nan[2, 2] = torch.nan
    toys.assert_refused(
        ("same everywhere", ask, linear, image, 1, torch.ones(SIZE)),
        ("NaN", ask, linear, image, 1, nan),
        (r"for this image it is \(6, 9\)", ask, linear, image, 1, map_.T),
        (r"maps\[0\]", ask, linear, image, 1, map_[None]),
        ("one image at a time", ask, linear, image.repeat(2, 1, 1, 1), 1, map_),
        ("'insertion'", ask, linear, image, 1, map_, {"way": "insert"}),
        ("'score'", ask, linear, image, 1, map_, {"view": "scores"}),
        ("'blur'", ask, linear, image, 1, map_, {"fill": "blurred"}),
        ("1 to 54", ask, linear, image, 1, map_, {"steps": 0}),
        ("1 to 54", ask, linear, image, 1, map_, {"steps": 55}),
        ("1 to 54", ask, linear, image, 1, map_, {"steps": 2.5}),
        ("no class", ask, small, toys.image(24, 20), ("conv1", 2), toys.image(24, 20)[0, 0]),
        ("between 0 and 1", fa.exchanged, image, image, map_, 1.5),
        ("one size", fa.exchanged, image, toys.image(9, 6), map_, 0.5),
        ("same everywhere", fa.exchanged, image, image, torch.ones(SIZE), 0.5),
        ("a size is", fa.controls, (0, 4)),
    )


def test_a_unit_of_a_network_without_classes_has_a_curve_of_its_score():
    alexnet, image = networks.load("alexnet"), toys.image(96)
    cam = backprop.grad_cam(alexnet, image, ("conv5", 3)).values[0]
    curve = fa.pixel_curve(alexnet, image, ("conv5", 3), cam, view="score", steps=4)
    assert curve.values.shape == (5,)
    assert curve.values[0] > curve.values[-1]
