"""Saliency maps against closed forms, and cut-out objects against their true masks."""

import itertools

import cv2
import numpy as np
import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import backprop
from labsupport.methods import saliency as s

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small() -> networks.Network:
    def build() -> list[nn.Module]:
        return [
            *(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU()),
        ]

    return toys.chain(build, classes=4, input_size=(24, 20), categories=["a", "b", "c", "d"])


# The map

BY_HAND = {  # of the three numbers of one pixel
    "max": lambda w: max(abs(float(one)) for one in w),
    "mean": lambda w: sum(abs(float(one)) for one in w) / 3,
    "L2": lambda w: sum(float(one) ** 2 for one in w) ** 0.5,
    "signed": lambda w: sum(float(one) for one in w) / 3,
}


@pytest.mark.parametrize("reduce", BY_HAND)
def test_the_map_of_a_linear_score_is_its_weights(reduce):
    """score = w . (x - mean) / std, so d score / d x = w / std, whatever the image."""
    assert set(BY_HAND) == set(s.REDUCTIONS)
    size, std = (5, 7), (0.5, 0.25, 2.0)
    weights = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    both = torch.stack([0 * weights, weights])
    network = toys.linear(both, mean=(0.1, 0.2, 0.3), std=std)
    maps = s.saliency_map(network, toys.image(*size, count=2), 1, reduce=reduce)
    assert maps.shape == (2, *size)
    for row, column in itertools.product(range(5), range(7)):
        gradient = [float(weights[c, row, column]) / std[c] for c in range(3)]
        for one in maps:
            assert float(one[row, column]) == pytest.approx(BY_HAND[reduce](gradient), rel=1e-5)


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("c", lambda network, x: network(x)[:, 2]),
        (("conv2", 3), lambda network, x: network.up_to("conv2")(x)[:, 3].mean((1, 2))),
        (("conv1", 5, (3, 1)), lambda network, x: network.up_to("conv1")(x)[:, 5, 3, 1]),
    ],
)
def test_the_map_is_the_gradient_of_any_target(small, target, value):
    """Against one backward pass for each image, by hand."""
    batch = toys.image(24, 20, count=3)
    maps = s.saliency_map(small, batch, target, reduce="signed")
    for image, one in zip(batch, maps, strict=True):
        own = image[None].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(value(small, own)[0], own)
        torch.testing.assert_close(one, gradient[0].mean(0), rtol=1e-4, atol=1e-7)
        assert float(one.abs().max()) > 1e-5


@pytest.mark.parametrize("reduce", BY_HAND)
def test_the_gradients_of_noisy_copies_are_averaged_before_they_are_reduced(small, reduce):
    image = toys.image(24, 20)
    knobs = {"samples": 6, "noise": 0.3, "seed": 7}
    map_ = s.saliency_map(small, image, "a", reduce=reduce, **knobs)[0]
    mean = backprop.smooth_gradient(small, image, "a", **knobs).values[0]
    for row, column in ((0, 0), (11, 7), (23, 19)):
        expected = BY_HAND[reduce](mean[:, row, column])
        assert float(map_[row, column]) == pytest.approx(expected, rel=1e-4, abs=1e-9)
    other = s.saliency_map(small, image, "a", reduce=reduce, **{**knobs, "seed": 8})[0]
    assert not torch.equal(map_, other)


def disc(size=(96, 120), centre=(40, 70), radius=24) -> torch.Tensor:
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij")
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def drawn(mask: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """A speckled orange thing on speckled green ground."""
    inside, outside = torch.tensor([0.8, 0.5, 0.2]), torch.tensor([0.3, 0.5, 0.3])
    plain = torch.where(mask, inside[:, None, None], outside[:, None, None])
    noise = torch.randn(plain.shape, generator=torch.Generator().manual_seed(seed))
    return (plain + 0.08 * noise).clamp(0, 1)[None]


def grainy(mask: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """A map as a gradient gives it: larger inside, but grainy, and patchy inside too."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(mask.shape, generator=random) ** 4 * (0.15 + mask.float())


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_disc_is_cut_out(seed):
    mask = disc(centre=(36 + 5 * seed, 80 - 12 * seed), radius=18 + 3 * seed)
    cut = s.segment(drawn(mask, seed), grainy(mask, seed))
    assert s.mask_iou(cut.mask, mask) > 0.9
    assert s.box_iou(cut.box, s.box_of(mask)) > 0.9
    alone = s.threshold(drawn(mask, seed), grainy(mask, seed), quantile=0.85)
    assert s.mask_iou(alone.mask, mask) < s.mask_iou(cut.mask, mask)


def test_the_seeds_are_the_maps_quantiles_also_of_two_values():
    map_ = torch.arange(400.0).reshape(20, 20) / 400
    cut = s.segment(drawn(map_ > 0.7), map_, foreground=0.9, background=0.25, smooth=0)
    assert torch.equal(cut.seeds == 1, map_ > np.quantile(map_.numpy(), 0.9))
    assert torch.equal(cut.seeds == -1, map_ <= np.quantile(map_.numpy(), 0.25))
    assert not bool(cut.mask[cut.seeds == -1].any())  # what is certain stays so
    exact = torch.arange(289.0).reshape(17, 17)  # one of its numbers is the quantile itself
    above = s.threshold(toys.image(17), exact, quantile=0.75, smooth=0)
    assert torch.equal(above.mask, exact > 216)

    mask = disc()
    cut = s.segment(drawn(mask), mask.float(), smooth=0, foreground=0.9)
    assert torch.equal(cut.seeds, torch.where(mask, 1, -1).to(torch.int8))
    assert torch.equal(cut.mask, mask)
    for share in (0.2, 0.9):  # the quantile is the lower of the two values, or the upper one
        found = s.threshold(drawn(mask), ~mask, quantile=share, smooth=0)
        assert torch.equal(found.mask, ~mask)


def test_a_seed_decides_and_nobody_elses_random_numbers_are_touched():
    mask = disc()
    image, map_ = drawn(mask), grainy(mask)

    def draws(between) -> np.ndarray:
        cv2.setRNGSeed(3)
        first = cv2.randu(np.zeros((1, 8)), 0, 1)
        between()
        return np.concatenate([first, cv2.randu(np.zeros((1, 8)), 0, 1)])

    expected = s.segment(image, map_).mask
    cv2.setRNGSeed(99)
    assert torch.equal(s.segment(image, map_).mask, expected)
    assert np.array_equal(draws(lambda: None), draws(lambda: s.segment(image, map_)))


def test_the_blur_leaves_the_maps_mean_and_spreads_a_point():
    point = torch.zeros(41, 41)
    point[20, 20] = 1
    blurred = s._smoothed(torch.zeros(1, 3, 41, 41), point, 3.0)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    rows = torch.arange(41.0) - 20
    spread = float((blurred.sum(1) * rows**2).sum().sqrt())
    assert spread == pytest.approx(3.0, rel=0.15)  # the kernel ends at two deviations
    assert torch.equal(s._smoothed(torch.zeros(1, 3, 41, 41), point, 0), point)


def test_what_cannot_work_is_refused(small):
    image, map_, other = drawn(disc()), grainy(disc()), toys.image(24, 20)
    order, empty = "0 < background < foreground < 1", torch.zeros(3, 4, dtype=torch.bool)
    scene, some = (images.cutouts()["zebra"], images.photos()["taj_mahal"]), s.scenes(2, size=96)
    maps = [grainy(one.mask) for one in some]
    toys.assert_refused(
        ("did you mean 'max'", s.saliency_map, small, other, "a", {"reduce": "maximum"}),
        ("1 or more", s.saliency_map, small, other, "a", {"samples": 0}),
        ("from 1 upwards", s.saliency_map, small, other, "a", {"samples": 1.5}),
        ("image's range", s.saliency_map, small, other, "a", {"samples": 2, "noise": -0.1}),
        (order, s.segment, image, map_, {"foreground": 1.0}),
        (order, s.segment, image, map_, {"foreground": 0.2}),
        (order, s.segment, image, map_, {"background": 0.0}),
        ("0 or more", s.segment, image, map_, {"smooth": -1}),
        ("one at least", s.segment, image, map_, {"iterations": 0}),
        ("between 0 and 1", s.threshold, image, map_, {"quantile": 1}),
        *(
            (words, cut, *given)
            for cut in (s.segment, s.threshold)
            for words, *given in (
                ("same everywhere", image, torch.full((96, 120), 0.1)),
                ("same everywhere", image, torch.ones(96, 120), {"smooth": 0}),
                ("take one map of a batch", image, map_[None]),
                ("NaN", image, map_ / 0),
                ("one image at a time", image.expand(2, -1, -1, -1), map_),
            )
        ),
        ("BadSetting", s.largest_component, empty),
        ("BadSetting", s.box_of, empty),
        ("BadSetting", s.mask_iou, empty, empty),
        ("one size", s.mask_iou, empty, torch.ones(4, 3, dtype=torch.bool)),
        *(
            ("share lies in", s.compose, *scene, wrong)
            for wrong in ({"share": 0}, {"share": 1.2}, {"place": (0.5, 1.1)})
        ),
        ("there are 1 to", s.scenes, 10_000),
        ("one for each", s.localization, some, [one.mask for one in some[:1]]),
        ("shares lie", s.compare_methods, some, maps, {"shares": (0.0,)}),
        ("one for each", s.compare_methods, some, maps[:1]),
    )


def filled(box, size) -> torch.Tensor:
    left, top, right, bottom = box
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def test_overlaps_are_shares_of_sets_of_pixels():
    random = torch.Generator().manual_seed(0)
    for one, other in (torch.rand(3, 2, 9, 11, generator=random) > 0.6).unbind():
        first, second = ({*map(tuple, mask.nonzero().tolist())} for mask in (one, other))
        assert s.mask_iou(one, other) == pytest.approx(len(first & second) / len(first | second))
        boxes = [s.box_of(mask) for mask in (one[2:5, 1:6], other)]
        by_pixels = s.mask_iou(*(filled(box, (9, 11)) for box in boxes))
        assert s.box_iou(*boxes) == pytest.approx(by_pixels)
    assert s.box_iou((0, 0, 4, 4), (4, 0, 8, 4)) == 0  # they only touch
    assert s.box_iou((0, 0, 4, 4), (6, 6, 8, 8)) == 0
    assert s.box_iou((1, 2, 5, 7), (1, 2, 5, 7)) == 1


def test_only_the_largest_part_is_kept_and_what_touches_at_a_corner_belongs_to_it():
    mask = disc(radius=24) | disc(centre=(80, 14), radius=8)
    cut = s.segment(drawn(mask), mask.float() + 0.1 * torch.rand(mask.shape), smooth=0)
    assert s.mask_iou(cut.mask, disc(radius=24)) > 0.95
    mask = torch.tensor([[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 0]], dtype=torch.bool)
    alone = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    assert torch.equal(s.largest_component(mask), mask & ~alone)


def test_localization_counts_boxes_under_a_half_and_holds_masks_against_the_truth():
    boxes = [(0, 0, 10, 10), (0, 0, 10, 5), (0, 0, 10, 4), (20, 20, 30, 30)]
    masks = [filled(box, (40, 40)) for box in boxes]
    scene = s.Scene(torch.zeros(1, 3, 40, 40), masks[0], "", "")
    result = s.localization([scene] * 4, masks)
    assert result.boxes == tuple(boxes)
    assert result.error == 0.5  # exactly one half is a hit

    some = s.scenes(3, size=64)
    perfect = s.localization(some, [one.mask for one in some])
    assert (perfect.error, perfect.iou) == (0, 1)
    wrong = filled((0, 0, 1, 1), (64, 64))
    result = s.localization(some, [some[0].mask, wrong, some[2].mask])
    assert result.error == pytest.approx(1 / 3)
    assert result.iou == pytest.approx(2 / 3, abs=0.01)


def test_a_scene_holds_the_object_and_the_photo_untouched():
    cutout, photo = images.cutouts()["zebra"], images.photos()["taj_mahal"]
    behind = images.resize(photo.image, 224, crop=224)
    scene = s.compose(cutout, photo, share=0.5, place=(1, 0))
    left, top, right, bottom = scene.box
    assert (left, bottom) == (0, 224)
    assert max(right - left, bottom - top) == pytest.approx(112, abs=2)
    far = ~filled((0, top - 3, right + 3, 224), (224, 224))
    assert torch.equal(scene.image[0][:, far], behind[0][:, far])
    inside = scene.image[0][:, scene.mask]
    assert float((inside - behind[0][:, scene.mask]).abs().mean()) > 0.1
    assert scene.target == "zebra"
    original = cutout.rgba()[0]
    solid = original[3] > 0.99
    torch.testing.assert_close(inside.mean(1), original[:3, solid].mean(1), atol=0.03, rtol=0)


def test_scenes_are_seeded_and_varied_with_classes_that_the_network_knows(squeezenet):
    first, other = s.scenes(6), s.scenes(6, seed=1)
    assert [one.title for one in first] != [one.title for one in other]
    assert len({one.target for one in first}) > 3
    centres = [((one.box[0] + one.box[2]) / 2, (one.box[1] + one.box[3]) / 2) for one in first]
    assert float(torch.tensor(centres).std(0).min()) > 10
    for one in first:
        sides = (one.box[2] - one.box[0], one.box[3] - one.box[1])
        assert 0.38 * 224 < max(sides) < 0.77 * 224
    known = [one.imagenet for one in images.cutouts() if one.imagenet]
    assert len(known) > 80
    for name in known:
        squeezenet.class_index(name)


def test_the_rivals_choose_their_best_and_grab_cut_has_its_defaults():
    some = s.scenes(4, size=96)
    maps = [grainy(one.mask, seed) for seed, one in enumerate(some)]
    done = []
    results = s.compare_methods(some, maps, progress=done.append)
    assert done == [0.25, 0.5, 0.75, 1.0]
    masks = [s.segment(one.image, map_).mask for one, map_ in zip(some, maps, strict=True)]
    cut = s.localization(some, masks)
    assert results["GrabCut"].error == cut.error
    assert results["GrabCut"].iou == pytest.approx(cut.iou)
    errors = [
        s.compare_methods(some, maps, quantiles=(quantile,))["a threshold alone"].error
        for quantile in (0.7, 0.9)
    ]
    assert results["a threshold alone"].error <= min(errors)
    edges = [(24, 72), (19, 77), (14, 82), (10, 86)]  # of 0.5, 0.6, 0.7 and 0.8 of 96 pixels
    missed = [sum(s.box_iou((a, a, b, b), one.box) < 0.5 for one in some) for a, b in edges]
    middle = results["a box in the middle"]
    assert middle.error == min(missed) / 4
    assert set(middle.boxes) <= {(a, a, b, b) for a, b in edges}


@pytest.mark.slow
def test_grab_cut_finds_more_than_a_threshold_and_a_box_in_the_middle(squeezenet):
    """On composed scenes, although the other two may choose their settings on these very ones."""
    some = s.scenes(32)
    maps = [s.saliency_map(squeezenet, one.image, one.target)[0] for one in some]
    results = s.compare_methods(some, maps, quantiles=(0.75, 0.8, 0.85))
    middle, alone, cut = results.values()
    assert cut.error < alone.error < middle.error
    assert cut.iou > alone.iou + 0.1 > middle.iou + 0.1
    assert cut.iou > 0.55


def test_what_is_surely_background_stays_so_whatever_its_colour():
    """A bar of one colour; the map calls its right third background."""
    bar = filled((0, 20, 90, 40), (60, 90))
    map_ = 0.5 * torch.ones(60, 90)
    map_[20:40, :30], map_[:20], map_[40:], map_[:, 60:] = 1.0, 0.0, 0.0, 0.0
    cut = s.segment(drawn(bar), map_, smooth=0, foreground=0.85, background=0.5)
    assert bool(cut.mask[20:40, :30].all())
    assert not bool(cut.mask[:, 60:].any())
