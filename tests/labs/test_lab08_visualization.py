"""Pictures that grow: what the panels and boards show is what the engine made."""

import pytest
import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.labs.lab08_optimization import visualization as lab
from labsupport.methods.optimize import MACO, LogOdds, TargetValue, visualize

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny():
    named = {"input_size": 24, "categories": ["lemon", "goose", "cup"]}
    return toys.chain(lambda: [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()], 3, seed=1, **named)


def test_the_slides_twenty_classes_are_imagenets(network):
    assert set(lab.LECTURE) <= set(network.categories)
    assert len(set(lab.LECTURE)) == 20
    assert set(lab.SLIDE_NAMES) <= set(lab.LECTURE)


def test_a_units_panel_shows_a_channel_or_what_a_neuron_sees_where_there_is_a_map(tiny, opened):
    assert lab.unit_target(tiny, "4", 2, neuron=True) == ("4", 2)
    assert lab.unit_target(tiny, "1", 2, neuron=True) == ("1", 2, (12, 12))
    live = opened(lab.unit_panel(layer="fire2", channel=3, steps=20))
    assert live.picture.size == (448, 448)
    assert "fire2, channel 3" in live.words
    assert live.frame.frame.image.shape[2:] == (112, 112)  # a unit of fire2 sees 15 pixels
    live.controls["extent"].source.value = "neuron"
    live.run(limit=2)
    assert "It sees" in live.words
    left, top, right, bottom = live.frame.frame.box
    times = live.picture.width // (right - left)
    assert live.picture.size == ((right - left) * times, (bottom - top) * times)


def test_a_silent_unit_is_said_to_be_silent():
    dark = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    nn.init.constant_(dark[0].bias, -100.0)
    silent = networks.wrap(dark, input_size=8)
    for before_relu, words in ((False, "is silent"), (True, "still silences it")):
        asleep = TargetValue(("1", 0), before_relu=before_relu)
        [frame, *_] = lab._panel_frames(silent, asleep, "it", steps=1)
        assert words in lab._draw_unit(frame)[1]


def test_a_class_is_shown_by_its_score_and_its_log_odds(tiny):
    names = ["goose", "cup", "lemon"]
    frame = visualize(tiny, lab.class_objective(names), steps=4)
    for place, name in enumerate(names):
        alone = visualize(tiny, LogOdds(name) + TargetValue(name), steps=4)
        assert torch.allclose(frame.image[place], alone.image[0], atol=1e-5)


def test_what_has_not_mattered_is_white(tiny):
    [first, *_, last] = visualize.frames(tiny, "goose", recipe=MACO, steps=3, seed=5)
    assert (lab.on_white(first) == 1).all()
    assert float(lab.on_white(last).min()) < 1
    alexnet = toys.random("alexnet")
    assert lab._asked(alexnet, ("conv5", 3), "both")[0].layer is not None


def test_what_is_kept_are_the_slides_classes_as_the_network_sees_them_and_units_of_two_networks(
    network,
):
    rows, tiles = lab.kept("classes")
    assert [row["class"] for row in rows] == list(lab.LECTURE)
    assert {row["setting"].partition(",")[0] for row in rows} <= set(lab.RECIPES)
    assert tiles.shape == (20, 3, 224, 224)
    wanted = torch.tensor([network.class_index(name) for name in lab.LECTURE])
    assert float((network(tiles).argmax(1) == wanted).float().mean()) >= 0.9
    assert lab.kept_gallery(network).width > 5 * 224
    rows, tiles = lab.kept("units")
    assert len(rows) == len(tiles)
    for name in ("alexnet", "vgg16"):
        known = networks.load(name)
        own = [row for row in rows if row["network"] == name]
        layers = [known.layer(row["layer"]) for row in own]
        order = [known.layers.index(layer) for layer in layers]
        assert order == sorted(order)
        for row, layer in zip(own, layers, strict=True):
            assert 0 <= int(row["channel"]) < layer.shape[0]
    side, picture = tiles.shape[3], lab.kept_units()
    assert picture.width > 6 * side
    assert picture.height > len(rows) // 6 * side


def test_units_of_all_layers_stand_from_the_first_to_the_last(network):
    names = lab.unit_layers(network)
    order = [layer.name for layer in network.layers]
    assert len(names) == 8
    assert names == sorted(names, key=order.index)
    assert [network.layer(name).title for name in (names[0], names[-1])] == ["relu1", "relu10"]


def test_a_picture_is_half_as_large_where_a_unit_sees_less_than_a_quarter_of_it(network, tiny):
    assert lab.unit_size(network, "conv1") == (112, 112)
    assert lab.unit_size(network, "fire8") == network.input_size
    assert lab.unit_size(tiny, "1") == (12, 12)
    assert lab.unit_size(tiny, "4") == (24, 24)  # all of the image


@pytest.mark.parametrize("make", [lab.class_panel, lab.unit_panel])
def test_a_panel_begins_anew_by_itself_where_that_is_asked_for(make, opened):
    for wanted in (False, True):
        assert opened(make(steps=20, autostart=wanted)).autostart is wanted
