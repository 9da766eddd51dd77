"""Class maps average to the score; boxes, masks and detections on scenes whose answer is known."""

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, UnknownClass
from labsupport.methods.saliency import box_iou, largest_component, localization, scenes
from labsupport.methods.tasks import class_box, class_map, dense_scores, detections, mask_of

AVERAGING = ("googlenet", "resnet18", "densenet121")


@pytest.fixture(scope="module")
def squeezenet():
    return networks.load()


@pytest.mark.parametrize("size", [(224, 224), (300, 260)])
def test_the_mean_of_the_map_is_the_score(squeezenet, size):
    batch = toys.image(*size, count=2)
    with torch.no_grad():
        scores = squeezenet(batch).cpu()
    maps = dense_scores(squeezenet, batch)
    assert torch.allclose(maps.mean((2, 3)), scores, atol=1e-4)
    assert torch.equal(class_map(squeezenet, batch, 7), maps[:, 7])


@pytest.mark.parametrize("name", AVERAGING)
def test_a_linear_layer_after_the_average_is_asked_at_every_position(name):
    network = toys.random(name)
    batch = toys.image(160, 128)
    with torch.no_grad():
        scores = network(batch).cpu()
    assert torch.allclose(dense_scores(network, batch).mean((2, 3)), scores, atol=1e-4)
    assert torch.allclose(class_map(network, batch, 5).mean((1, 2)), scores[:, 5], atol=1e-4)


def test_a_window_averages_neighbouring_positions(squeezenet):
    batch = toys.image(240, 260)
    single = dense_scores(squeezenet, batch)
    rolled = single.unfold(2, 5, 1).unfold(3, 5, 1).mean((4, 5))
    assert torch.allclose(dense_scores(squeezenet, batch, window=5), rolled, atol=1e-4)


@pytest.mark.parametrize("name", ["alexnet", "lenet5"])
def test_fully_connected_heads_have_no_map(name):
    network = networks.load(name, weights="random")
    with pytest.raises(BadSetting, match="fully connected layers mix the places"):
        dense_scores(network, toys.image(*network.input_size))


def test_what_is_no_class_is_refused(squeezenet):
    image = toys.image(224)
    with pytest.raises(BadSetting, match="a class map is of a class"):
        class_map(squeezenet, image, ("fire5", 3))
    with pytest.raises(UnknownClass):
        class_map(squeezenet, image, "pandda")
    with pytest.raises(BadSetting, match="from 1 to 13"):
        dense_scores(squeezenet, image, window=14)


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


@pytest.mark.parametrize(
    ("values", "share", "words"),
    [
        (torch.zeros(3, 3), 0.5, "nowhere above zero"),
        (torch.ones(1, 3, 3), 0.5, "take one of them"),
        (torch.ones(3, 3), 0.0, "share is above 0"),
    ],
)
def test_a_map_without_a_place_is_refused(values, share, words):
    with pytest.raises(BadSetting, match=words):
        class_box(values, (9, 9), share=share)


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


def test_boxes_of_class_maps_beat_the_centre_of_the_picture(squeezenet):
    """On cut-outs over photographs, as the saliency maps are measured."""
    made = scenes(16)
    masks = []
    for one in made:
        values = class_map(squeezenet, one.image, one.target)[0]
        masks.append(largest_component(mask_of(values, (224, 224))))
    centre = torch.zeros(made[0].image.shape[2:], dtype=torch.bool)
    centre[40:184, 40:184] = True
    ours, plain = (localization(made, result) for result in (masks, [centre] * len(made)))
    assert ours.error < plain.error


@pytest.mark.parametrize(
    ("settings", "words"), [({"threshold": 0}, "threshold"), ({"window": 99}, "a window is")]
)
def test_settings_that_cannot_work_are_refused(squeezenet, settings, words):
    with pytest.raises(BadSetting, match=words):
        detections(squeezenet, toys.image(224), **settings)
    with pytest.raises(BadSetting, match="one picture at a time"):
        detections(squeezenet, toys.image(224, count=2))
