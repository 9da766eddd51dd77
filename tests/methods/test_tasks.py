"""Class maps average to the score; boxes, masks and detections on scenes whose answer is known."""

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods.saliency import box_iou
from labsupport.methods.tasks import class_box, class_map, dense_scores, detections, mask_of

AVERAGING = ("googlenet", "resnet18", "densenet121")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("bundled", (224, 224)),
        ("bundled", (300, 260)),
        # a linear layer after the average is asked at every position
        ("googlenet", (160, 128)),
        ("resnet18", (160, 128)),
        ("densenet121", (160, 128)),
    ],
)
def test_the_mean_of_the_map_is_the_score(squeezenet, name, size):
    network, batch = squeezenet if name == "bundled" else toys.random(name), toys.image(*size)
    with torch.no_grad():
        scores = network(batch).cpu()
    maps = dense_scores(network, batch)
    assert torch.allclose(maps.mean((2, 3)), scores, atol=1e-4)
    apart = 0 if name == "bundled" else 1e-4
    torch.testing.assert_close(class_map(network, batch, 7), maps[:, 7], rtol=0, atol=apart)


def test_a_window_averages_neighbouring_positions(squeezenet):
    batch = toys.image(240, 260)
    single = dense_scores(squeezenet, batch)
    rolled = single.unfold(2, 5, 1).unfold(3, 5, 1).mean((4, 5))
    assert torch.allclose(dense_scores(squeezenet, batch, window=5), rolled, atol=1e-4)


def test_what_cannot_work_is_refused(squeezenet):
    image, two = toys.image(224), toys.image(224, count=2)
    connected = [networks.load(name, weights="random") for name in ("alexnet", "lenet5")]
    toys.assert_refused(
        *(
            ("layers mix the places", dense_scores, one, toys.image(*one.input_size))
            for one in connected
        ),
        ("a class map is of a class", class_map, squeezenet, image, ("fire5", 3)),
        ("UnknownClass", class_map, squeezenet, image, "pandda"),
        ("from 1 to 13", dense_scores, squeezenet, image, {"window": 14}),
        ("nowhere above zero", class_box, torch.zeros(3, 3), (9, 9), {"share": 0.5}),
        ("take one of them", class_box, torch.ones(1, 3, 3), (9, 9), {"share": 0.5}),
        ("share is above 0", class_box, torch.ones(3, 3), (9, 9), {"share": 0.0}),
        ("threshold", detections, squeezenet, image, {"threshold": 0}),
        ("a window is", detections, squeezenet, image, {"window": 99}),
        ("one image at a time", detections, squeezenet, two),
    )


def test_the_mask_is_the_map_spread_over_the_pixels():
    values = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    spread = F.interpolate(values[None, None], (40, 60), mode="bilinear")[0, 0]
    assert torch.equal(mask_of(values, (40, 60), share=0.7), spread >= 0.7 * spread.max())


def test_the_box_holds_the_largest_part():
    values = torch.zeros(10, 10)
    values[1:3, 1:3] = 1.0
    values[5:9, 4:8] = 0.8
    left, top, right, bottom = class_box(values, (10, 10), share=0.5)
    assert (left, top, right, bottom) == (4, 5, 8, 9)
    left, top, right, bottom = class_box(values, (100, 200), share=0.5)
    assert (left, right) == pytest.approx((80, 160), abs=12)
    assert (top, bottom) == pytest.approx((50, 90), abs=6)


@pytest.fixture(scope="module")
def colours():
    """A network that knows red, green and blue, pixel by pixel, and averages."""
    paint = nn.Conv2d(3, 4, 1)
    paint.weight.data = torch.cat([9 * torch.eye(3), -9 * torch.ones(1, 3)])[:, :, None, None]
    paint.bias.data = torch.tensor([0.0, 0.0, 0.0, 4.0])
    module = nn.Sequential(paint, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    names = ["red", "green", "blue", "nothing"]
    return networks.wrap(module, **toys.PLAIN, categories=names, input_size=8)


def test_things_are_found_where_they_were_put(colours):
    scene = torch.zeros(1, 3, 40, 60)
    scene[0, 0, 4:16, 4:20] = 1.0
    scene[0, 2, 20:36, 30:50] = 1.0
    result = {one.name: one for one in detections(colours, scene, window=1, threshold=0.9)}
    assert set(result) == {"red", "blue", "nothing"}
    assert box_iou(result["red"].box, (4, 4, 20, 16)) > 0.8
    assert box_iou(result["blue"].box, (30, 20, 50, 36)) > 0.8
    assert result["red"].probability > 0.99


def test_two_of_a_kind_are_two(colours):
    scene = torch.zeros(1, 3, 20, 60)
    scene[0, 1, 5:15, 5:15] = scene[0, 1, 5:15, 40:50] = 1.0
    result = [one for one in detections(colours, scene, window=1) if one.name == "green"]
    assert len(result) == 2
    assert {one.box[0] < 30 for one in result} == {True, False}


def test_of_two_that_overlap_the_surer_stays(colours):
    scene = torch.zeros(1, 3, 12, 12)
    scene[0, 0], scene[0, 1, 4:8, 4:8] = 0.8, 1.0
    surest, *others = detections(colours, scene, window=1, threshold=0.5)
    assert surest.probability >= max((one.probability for one in others), default=0)
    for one in others:
        assert box_iou(surest.box, one.box) <= 0.3


def test_a_scene_of_real_cutouts(squeezenet):
    scene = images.resize(images.sample("canyon_de_chelly"), (480, 720)).clone()
    cutouts, truth = images.cutouts(), {}
    for name, left, top in (("hot_air_balloon", 30, 10), ("zebra", 440, 240), ("tiger", 60, 240)):
        alpha = cutouts[name].mask
        part = scene[:, :, top : top + 224, left : left + 224]
        part.copy_(part * (1 - alpha) + cutouts[name].image * alpha)
        box = class_box(alpha[0, 0], (224, 224), share=0.5)
        truth[name] = (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
    result = {one.name: one.box for one in detections(squeezenet, scene)}
    assert set(result) == {"zebra", "tiger", "balloon"}
    assert box_iou(result["zebra"], truth["zebra"]) > 0.5
    assert box_iou(result["tiger"], truth["tiger"]) > 0.5
    # the balloon is known by its basket, at the lower end
    assert 0.2 < box_iou(result["balloon"], truth["hot_air_balloon"]) < 0.5
    assert result["balloon"][3] >= truth["hot_air_balloon"][3]
