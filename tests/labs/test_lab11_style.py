"""Paintings on the easel: what the panels and galleries show is what the method made."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import ImageColor

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.labs import lab11_style as lab
from labsupport.labs.lab10_deepdream import kept
from labsupport.methods import style
from labsupport.methods.optimize import gram
from labsupport.ui import figures, ink

pytestmark = pytest.mark.usefixtures("one_thread")


def colours_of(picture):
    return np.unique(np.asarray(picture).reshape(-1, 3), axis=0)


def test_styles_are_the_paintings_and_some_textures():
    known = lab.styles()
    assert len(known) == len(images.paintings()) + len(lab.TEXTURES)
    assert "great_wave" in known
    assert all(name in known for name in lab.TEXTURES)
    assert min(lab.picture("great_wave", 90).shape[2:]) == 90
    with pytest.raises(BadSetting):
        known["great_waves"]


def test_the_panels_settings_are_the_methods(network, opened):
    live = opened(lab.paint_panel(size=128, steps=20))
    assert torch.equal(live.frame.image, lab.picture("china", 128))
    for name, value in (("colours", "luminance"), ("optimizer", "Adam"), ("start", "noise")):
        live.controls[name].source.value = value
    live.controls["stroke"].source.value = 128
    live.run(limit=2)
    assert len(live.frame.history) == 2
    recipe = style.StyleRecipe(colours="luminance", optimizer=lab._ADAM, steps=20)
    pictures = lab.picture("china", 128), lab.picture("church_at_auvers", 128)
    frames = style.stylize.frames(network, *pictures, recipe=recipe, start="noise")
    next(frames)
    assert torch.equal(live.frame.image, next(frames).image)


def test_another_network_paints_by_its_own_recipe_with_a_multiple_of_its_weight(opened):
    live = opened(lab.paint_panel("china", "great_wave", size=128, stroke=128, weight=0.5))
    assert live.frame.settings["recipe"]["beta"] == 0.5 * style.SQUEEZENET.beta
    live.controls["network"].put("vgg16")
    live.run(limit=1)
    recipe = dataclasses.replace(style.GATYS, beta=10.0, steps=150)
    known = live.frame.settings["recipe"]
    assert {name: known[name] for name in ("beta", "tv", "pooling", "style_layers", "steps")} == {
        name: getattr(recipe, name) for name in ("beta", "tv", "pooling", "style_layers", "steps")
    }
    assert known["optimizer"]["history"] == 20
    size = live.frame.image.shape[2:]
    needed = style.memory_needed(networks.load("vgg16"), style.GATYS.layers, size)
    assert live.words == f"Before the first of 150 steps. Each needs {needed / 1e6:.0f} MB."


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg16", [f"relu{block}_1" for block in range(1, 6)]),
        ("alexnet", ["relu1", "relu2", "relu3"]),
    ],
)
def test_every_panel_takes_the_networks_without_classes(opened, name, layers):
    network = networks.load(name)
    weighed = opened(lab.layers_panel(network, size=64, steps=1))
    assert [one for one in weighed.frame.losses if "style" in one] == [
        f"style {layer}" for layer in layers
    ]
    assert not opened(lab.gram_panel(network, "ihc", layers[1])).complaint


def test_kept_pictures_show_the_trade_off():
    """Each row of the figure goes from the photograph to the texture, and the lower the row, the
    more of the photograph the same weight costs."""
    table = np.genfromtxt(bundled.path("style/grid.csv"), delimiter=",", names=True)
    content, of_style = (table[name].reshape(3, 4) for name in ("content", "style"))
    assert (np.diff(content[:, 1:]) > 0).all()
    assert (np.diff(of_style) < 0).all()
    assert (np.diff(content[:, 1:], axis=0) > 0).all()
    names = [f"style/painted_{name}" for name in ("vgg16", "squeezenet1_1")]
    assert [tuple(kept(name).shape) for name in names] == [(1, 3, 341, 512)] * 2
    assert kept("style/grid").shape[3] < 900


def test_layers_have_the_weights_that_are_chosen_and_may_all_have_none(network, opened):
    live = opened(lab.layers_panel(network, size=64, steps=20))
    assert set(live.frame.losses) == {
        "content fire4", "style relu1", "style fire3", "style fire4", "style fire5",
        "total variation",
    }  # fmt: skip
    for place in (0, 1, 2):
        live.controls[f"weight{place}"].source.value = 0
    live.controls["layer"].source.value = network.layer("fire2").name
    live.run(limit=2)
    assert set(live.frame.losses) == {
        "content fire2", "style fire5", "total variation",
    }  # fmt: skip
    live.controls["weight3"].source.value = 0
    live.run(limit=2)
    assert not any("style" in name for name in live.frame.losses)
    live.controls["alpha"].source.value = 1e-3
    assert live.run(limit=2).loss >= 0  # the content alone is enough


def test_shuffled_positions_are_the_same_for_all_channels():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    shuffled = lab.shuffled_positions(maps)
    assert sorted(shuffled[0, 0].flatten().tolist()) == maps[0, 0].flatten().tolist()
    assert torch.equal(shuffled[0, 1] - shuffled[0, 0], torch.full((3, 4), 12.0))
    assert not torch.equal(shuffled, maps)
    assert torch.allclose(gram(shuffled), gram(maps))


def test_the_gram_panel_shows_a_matrix_that_shuffling_leaves(network):
    panel = lab.gram_panel(network, "ihc", "fire3")
    before = panel.picture
    assert "128 × 128 numbers" in panel.words
    panel.controls["shuffled"].source.value = True
    assert "less than a millionth" in panel.words
    right = 300  # the matrix and its scale stand at the right end
    whole = [np.asarray(one)[:, -right:] for one in (before, panel.picture)]
    assert whole[0].shape == whole[1].shape
    assert np.abs(whole[0].astype(int) - whole[1]).max() <= 2
    assert not np.array_equal(np.asarray(before), np.asarray(panel.picture))


def test_a_gram_picture_has_the_strongest_channels_last():
    matrix = torch.diag(torch.tensor([4.0, 16.0, 1.0]))
    picture = np.asarray(lab.gram_picture(matrix, matrix.diagonal().argsort()))
    painted = figures.paint(torch.tensor([0.0, 1.0, 2.0, 4.0]), colours="magma")
    square = 192 // 3
    places = [(square * k + square // 2, square * k + square // 2) for k in range(3)]
    assert [picture[place].tolist() for place in places] == painted[1:].tolist()
    assert picture[square // 2, square + square // 2].tolist() == painted[0].tolist()


def test_the_loss_picture_has_a_line_for_each_layer():
    history = [{"style a": 1.0, "style b": 0.5}, {"style a": 0.01, "style b": 0.01}]
    picture = lab.loss_picture(history, 1)
    assert picture.size == (360, 230)
    shown = {tuple(colour) for colour in colours_of(picture)}
    assert {ImageColor.getrgb(colour) for colour in ink.SERIES[:2]} <= shown
