"""Lab 02's pictures and panel: what they show is what was computed."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.labs import lab02_patches as lab
from labsupport.methods.patches import random_directions, top_patches


@pytest.fixture(scope="module")
def colourful():
    """Two units, red and green, each of which sees 8 x 8 pixels."""
    module = nn.Sequential(nn.Conv2d(3, 2, 8, stride=8, bias=False), nn.ReLU(), nn.Flatten())
    module[0].weight.data.zero_()
    module[0].weight.data[0, 0], module[0].weight.data[1, 1] = 1 / 64, 1 / 64
    module.append(nn.Linear(32, 2))
    return networks.wrap(module, input_size=32, **toys.PLAIN)


@pytest.fixture(scope="module")
def shown():
    """Five dark images; in each one cell is red and one is green, stronger from image to image."""
    images = torch.full((5, 3, 32, 32), 0.1)
    for place in range(5):
        images[place, 0, 8:16, 16:24] = 0.5 + place / 10
        images[place, 1, 24:32, 0:8] = 0.5 + place / 10
    return images


@pytest.fixture(scope="module")
def best(colourful, shown):
    return top_patches(colourful, "relu1", shown, k=4, suppress="picture")


def test_a_region_is_the_box_enlarged_and_with_context_framed_and_in_the_image(shown):
    picture = np.asarray(lab.region(shown[4][None], (16, 8, 24, 16), 8))
    assert picture.shape == (112, 112, 3)
    assert (picture == picture[0, 0]).all()
    assert picture[0, 0].tolist() == [230, 26, 26]
    picture = np.asarray(lab.region(shown[4][None], (16, 8, 24, 16), 8, context=1.0)).astype(int)
    assert picture.shape == (112, 112, 3)
    assert picture[56, 56].tolist() == [230, 26, 26]
    assert picture[5, 5].tolist() == [26, 26, 26]
    assert (picture[28:84, 28:84] == 255).all(2).sum() > 300
    assert not (picture[:27] == 255).all(2).any()
    corner = np.asarray(lab.region(shown[4][None], (0, 24, 8, 32), 8, context=1.0)).astype(int)
    assert corner[100, 20].tolist() == [26, 230, 26]
    assert corner[10, 100].tolist() == [26, 26, 26]
    whole = lab.region(shown[0][None], (0, 0, 8, 8), 500)
    assert whole.size == (96, 96)
    with pytest.raises(BadSetting, match="context"):
        lab.region(shown[0][None], (0, 0, 8, 8), 8, context=-1)


def test_large_regions_are_made_smaller_and_their_boxes_with_them():
    image = torch.zeros(1, 3, 224, 224)
    picture = np.asarray(lab.region(image, (0, 0, 112, 112), 224))
    assert picture.shape == (112, 112, 3)
    white = np.argwhere((picture == 255).all(2))
    assert white.max() < 56
    framed = np.asarray(lab.region(image, (0, 0, 224, 224), 224))
    assert (framed == 0).all()  # what is seen whole has no frame


def test_rows_hold_each_units_own_patches(best, shown):
    rows = np.asarray(lab.unit_rows(best, shown, {0: "red", 1: "green"}, side=8)).astype(int)
    assert rows.shape[1] > 4 * 80
    assert rows.shape[0] >= 2 * 80
    middle = rows[:, -42]
    assert (middle[42] > 100).tolist() == [True, False, False]  # the fourth best of each
    assert (middle[-40] > 100).tolist() == [False, True, False]
    fewer = lab.unit_rows(best, shown, [1], side=8, count=2)
    assert fewer.height < 2 * 80
    assert [lab._number(value) for value in (1219.04, 99.5, 0.25)] == ["1219", "99.5", "0.25"]


def test_directions_have_rows_as_channels_have(colourful, shown):
    directions = random_directions(2, 3, seed=1)
    best = top_patches(colourful, "relu1", shown, channels=directions, k=2)
    names = {0: "first", 2: "third"}
    assert lab.unit_rows(best, shown, names, side=8).height >= 2 * 80
    with pytest.raises(BadSetting, match="direction 3"):
        lab.unit_rows(best, shown, [3], side=8)


def test_gaps_are_white(colourful, shown):
    few = top_patches(colourful, "relu1", shown[:1], k=2, suppress="picture")
    picture = np.asarray(lab.unit_tiles(few, shown, 0, side=8, count=2))
    assert (picture[:, -100:] == 255).all()
    assert "1 patch with the largest" in lab.unit_words(few, 0, 8, "relu1")


def test_sixteen_regions_of_the_units_that_are_typed(colourful, shown, best, opened):
    panel = opened(lab.regions_panel(best, shown, colourful, units=(1, 0)))
    expected = lab.unit_rows(best, shown, (1, 0), side=8, tile=lab.SMALL_TILE)
    assert panel.picture.tobytes() == expected.tobytes()
    assert "relu1, 2 units: the 4 regions" in panel.words
    assert "The largest activation is 0.9 for unit 1, 0.9 for unit 0." in panel.words
    panel.controls["units"].source.value = " 1 "
    one = lab.unit_rows(best, shown, (1,), side=8, tile=lab.SMALL_TILE)
    assert panel.picture.tobytes() == one.tobytes()
    for typed in ("", "2", "red", "-1", "0 1.5", "0 " * 9):
        panel.controls["units"].source.value = typed
        assert "each from 0 to 1" in panel.message
        assert panel.controls["units"].value == (1,)  # what was typed before is kept
    assert panel.picture.tobytes() == one.tobytes()
    with pytest.raises(BadSetting, match="not '0, 2'"):
        lab.regions_panel(best, shown, colourful, units=(0, 2))


def test_a_typed_unit_waits_for_the_enter_key(colourful, shown, best, opened):
    box = opened(lab.regions_panel(best, shown, colourful, units=(0,))).controls["units"]
    box.redraw_while_moving(True)
    assert not box.source.continuous_update


def test_the_field_fits_into_the_image(colourful):
    assert lab.field_side(colourful, "conv1") == 8
    assert lab.field_side(networks.load(), "fire9") == 207
    assert lab.field_side(networks.load(), "fire9", 100) == 100


def test_the_panel_searches_once_and_leafs_at_once(monkeypatch, shown, opened):
    search = Mock(wraps=lab.top_patches)
    monkeypatch.setattr(lab, "top_patches", search)
    wide = torch.nn.functional.interpolate(shown, 64)
    panel = opened(lab.leaf_panel(wide, layer="fire2"))
    first = panel.picture.tobytes()
    panel.controls["unit"].source.value = 5
    panel.controls["count"].source.value = 4
    assert search.call_count == 1
    assert panel.picture.tobytes() != first
    assert "fire2, unit 5: 4 patches with the largest" in panel.words
    panel.controls["order"].source.value = "least"
    panel.settle()
    assert search.call_count == 2
    assert "the smallest activations" in panel.words


@pytest.fixture
def pictures():
    """Five pictures of two labels in one category."""
    labels = ("red things", "red things", "green things", "red things", "green things")
    return [images.Picture(f"p{n}", "", "things", one, None, None) for n, one in enumerate(labels)]


@pytest.fixture
def naming(pictures, shown, opened):
    wide = torch.nn.functional.interpolate(shown, 64)
    best = top_patches(networks.load(), "fire2", wide, k=16, suppress="picture")
    return opened(
        lab.naming_panel(pictures, wide, best, layer="fire2", unit=5, concept="red things")
    ), best


def test_a_name_is_measured_in_the_panel(naming, pictures, monkeypatch):
    panel, best = naming
    monkeypatch.setattr(lab, "top_patches", None)  # the search is there already
    of_unit = [pictures[n].label for n in best.pictures[5].tolist() if n >= 0]
    assert len(of_unit) == 5
    panel.controls["count"].source.value = 2
    hits = of_unit[:2].count("red things")
    assert f"unit 5: {hits} of 2 patches come from pictures of red things" in panel.words
    assert "by chance it would be 0.60" in panel.words
    first = panel.picture.tobytes()
    panel.controls["concept"].source.value = "green things"
    assert f"{2 - hits} of 2 patches come from pictures of green things" in panel.words
    assert panel.picture.tobytes() != first
    panel.controls["concept"].source.value = "things"
    assert "2 of 2 patches come from pictures of things, a precision of 1.00" in panel.words


def test_a_concept_is_a_label_or_a_category_of_the_pictures(pictures, naming):
    panel, best = naming
    offered = [words for words, _ in panel.controls["concept"].source.options]
    assert offered == ["green things", "red things", "things"]
    with pytest.raises(BadSetting, match="Nearest: red things"):
        lab.naming_panel(pictures, None, best, layer="fire2", concept="red thing")


def test_another_layer_is_searched_anew(naming, monkeypatch):
    panel, _ = naming
    search = Mock(wraps=lab.top_patches)
    monkeypatch.setattr(lab, "top_patches", search)
    panel.controls["layer"].source.value = "features.4.cat"
    panel.settle()
    assert [call.args[1] for call in search.call_args_list] == ["features.4.cat"]
    assert "fire3, unit 5" in panel.words


def test_the_sign_over_a_tile_says_whether_the_label_fits(pictures, colourful, shown):
    best = top_patches(colourful, "relu1", shown, k=5, suppress="picture")
    labels = [one.label for one in pictures]
    drawn = [
        np.asarray(lab.named_tiles(best, shown, labels, 0, concept, side=8, count=4))
        for concept in ("red things", "green things")
    ]
    assert drawn[0].shape == drawn[1].shape
    assert not np.array_equal(drawn[0][:-240], drawn[1][:-240])  # the signs
    assert not np.array_equal(drawn[0][-240:], drawn[1][-240:])  # the curve
