"""Paintings on the easel: what the panels and galleries show is what the method made."""

import dataclasses

import numpy as np
import pytest
import torch
import toys
from PIL import ImageColor
from torch import nn

from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.labs import lab11_style as lab
from labsupport.methods import style
from labsupport.methods.optimize import gram
from labsupport.ui import figures, ink

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny():
    def layers():
        narrow, wide = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3)
        return [narrow, nn.ReLU(), nn.MaxPool2d(2), wide, nn.ReLU()]

    return toys.chain(layers, 2, seed=3, input_size=32)


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
    assert torch.equal(live.frame.frame.image, live.frame.content)
    for name, value in (("colours", "luminance"), ("optimizer", "Adam"), ("start", "noise")):
        live.controls[name].source.value = value
    live.controls["stroke"].source.value = 128
    live.run(limit=2)
    assert len(live.frame.history) == 2
    recipe = style.StyleRecipe(colours="luminance", optimizer=lab._OPTIMIZERS["Adam"], steps=20)
    pictures = lab.picture("china", 128), lab.picture("church_at_auvers", 128)
    frames = style.stylize.frames(network, *pictures, recipe=recipe, start="noise")
    next(frames)
    assert torch.equal(live.frame.frame.image, next(frames).image)


def test_layers_have_the_weights_that_are_chosen_and_may_all_have_none(network, opened):
    live = opened(lab.layers_panel(network, size=64, steps=20))
    assert set(live.frame.frame.losses) == {
        "content fire4", "style relu1", "style fire3", "style fire4", "style fire5",
        "total variation",
    }  # fmt: skip
    for place in (0, 1, 2):
        live.controls[f"weight{place}"].source.value = 0
    live.controls["layer"].source.value = network.layer("fire2").name
    live.run(limit=2)
    assert set(live.frame.frame.losses) == {
        "content fire2", "style fire5", "total variation",
    }  # fmt: skip
    live.controls["weight3"].source.value = 0
    live.run(limit=2)
    assert not any("style" in name for name in live.frame.frame.losses)
    live.controls["alpha"].source.value = 1e-3
    assert live.run(limit=2).frame.loss >= 0  # the content alone is enough


def test_two_styles_have_their_shares(network, opened):
    live = opened(lab.mix_panel(size=128, steps=20))
    live.controls["share"].source.value = 1.0
    live.run(limit=2)
    assert live.frame.frame.settings["recipe"]["mix"] == (0.0, 1.0)
    both = [lab.picture(name, 128) for name in ("neuschwanstein", "cafe_terrace")]
    recipe = dataclasses.replace(style.SQUEEZENET, steps=20)
    frames = style.stylize.frames(network, *both, recipe=recipe)
    next(frames)
    assert torch.allclose(live.frame.frame.image, next(frames).image, atol=1e-4)


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


def test_the_ladder_and_the_grid_have_a_painting_for_each_step(tiny):
    image = torch.rand(1, 3, 32, 36, generator=torch.Generator().manual_seed(0))
    textures = lab.style_ladder(tiny, image, ["1", "4"], size=40, steps=2)
    assert list(textures) == ["1", "1 to 4"]
    assert textures["1 to 4"].image.shape == (1, 3, 40, 40)
    assert textures["1 to 4"].settings["recipe"]["style_layers"] == {"1": 0.5, "4": 0.5}
    recipe = style.StyleRecipe(content_layers={"1": 1.0}, style_layers={"1": 1.0, "4": 1.0})
    grid = lab.ratio_grid(tiny, image, image.flip(3), ratios=(1.0, 0.1), recipe=recipe,
                          steps=2)  # fmt: skip
    assert list(grid) == [("1", 1.0), ("1", 0.1), ("to 4", 1.0), ("to 4", 0.1)]
    recipes = [grid[row, 0.1].settings["recipe"] for row in ("1", "to 4")]
    assert [one["style_layers"] for one in recipes] == [{"1": 2.0}, {"1": 1.0, "4": 1.0}]
    assert [(one["alpha"], one["beta"]) for one in recipes] == [(1.0, 10.0)] * 2
    picture = lab.grid_picture(grid)
    assert picture.width > 2 * 36
    assert picture.height > 2 * 32
    assert len(colours_of(picture)) > 100


def test_the_loss_picture_has_a_line_for_each_layer():
    history = [{"style a": 1.0, "style b": 0.5}, {"style a": 0.01, "style b": 0.01}]
    picture = lab.loss_picture(history)
    assert picture.size == (360, 230)
    shown = {tuple(colour) for colour in colours_of(picture)}
    assert {ImageColor.getrgb(colour) for colour in ink.SERIES[:2]} <= shown
