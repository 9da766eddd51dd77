"""Lab 06's pictures and panels: what is shown and clicked is what was computed."""

import numpy as np
import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.labs import lab06_activations as lab
from labsupport.labs.lab06_activations import invariance, mosaics, one_unit
from labsupport.methods import activations
from labsupport.methods.activations import Distortion
from labsupport.methods.optimize import Adam, Pixels, Recipe
from labsupport.ui import controls, figures

QUICK = Recipe("quick", "grey", Pixels(), (), (), Adam(0.05), steps=4)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """One network in the menus, and a cache of this test's own."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(networks, "names", lambda: ["squeezenet1_1"])


@pytest.fixture(scope="module")
def pictures():
    return [images.standard(images.sample(name)) for name in ("red_panda", "gorilla", "coffee")]


@pytest.fixture
def views_of(pictures, tmp_path, opened):
    """The panel of all views of a unit, with a cache of this test's own."""

    def make(layer, unit, folder=tmp_path):
        kept = {"recipe": QUICK, "cache": activations.PictureCache(folder)}
        return opened(lab.unit_panel(pictures, "koala", layer=layer, unit=unit, **kept))

    return make


def picker(network, layer="fire8", unit=30):
    layers = controls.LayerMenu(network, layer, keep=mosaics.has_maps)
    return mosaics.UnitPicker(layers, unit, mosaics.WIDE)


# The mosaic


def test_every_layer_fits_and_is_drawn_at_the_size_it_says(network):
    for layer in filter(mosaics.has_maps, network.layers):
        sheet = mosaics.mosaic_plan(layer.shape)
        assert sheet.size[0] <= mosaics.WIDE
        assert sheet.shrink == 1 or sheet.times == 1
        assert mosaics.mosaic_plan(layer.shape, mosaics.NARROW).size[0] <= mosaics.NARROW
        maps = torch.rand(layer.shape)
        assert lab.mosaic_picture(maps, 3).size == sheet.size


def test_each_map_is_bright_where_its_tile_is():
    maps = torch.zeros(10, 13, 13)
    maps[7] = 1.0
    sheet = mosaics.mosaic_plan((10, 13, 13))
    picture = np.asarray(lab.mosaic_picture(maps)).astype(int)
    for unit in range(10):
        left, top, right, bottom = sheet.box(unit)
        tile = picture[top:bottom, left:right].sum(2)
        assert (tile.min() > 500) if unit == 7 else (tile.max() < 40)
        assert sheet.unit_at((left + right) / 2, (top + bottom) / 2) == unit


def test_the_chosen_unit_is_framed_in_white_and_pointed_at():
    maps = torch.zeros(64, 20, 20)
    plain, marked = (np.asarray(lab.mosaic_picture(maps, unit)) for unit in (None, 19))
    left, top, right, bottom = mosaics.mosaic_plan((64, 20, 20)).box(19)
    assert (marked[top - 1, left:right] == 255).all()
    assert (marked[top:bottom, right] == 255).all()
    changed = (plain != marked).any(2)
    row, column = (top + bottom) // 2, (left + right) // 2
    assert (marked[row, 30] == 255).all()  # the pointer at the left
    assert (marked[18, column] == 255).all()  # and the one above
    assert not changed[bottom + 4 : -1, left:right].any()


def test_one_scale_tells_the_loud_from_the_soft_and_the_distorted_from_the_undistorted():
    maps = torch.stack([torch.full((5, 5), 1.0), torch.full((5, 5), 100.0)])
    own, one = (np.asarray(lab.mosaic_picture(maps, shared=s)).astype(int) for s in (False, True))
    soft, loud = (mosaics.mosaic_plan((2, 5, 5)).box(unit) for unit in (0, 1))

    def light(picture, box):
        left, top, right, bottom = box
        return picture[top:bottom, left:right].mean()

    assert light(own, soft) == light(own, loud)
    assert light(one, soft) < 0.1 * light(one, loud)
    before, now = torch.full((1, 6, 6), 8.0), torch.full((1, 6, 6), 2.0)
    alone = np.asarray(lab.mosaic_picture(now)).astype(int)
    beside = np.asarray(lab.mosaic_picture(now, reference=before)).astype(int)
    box = mosaics.mosaic_plan((1, 6, 6)).box(0)
    assert light(beside, box) < 0.5 * light(alone, box)


def test_values_below_zero_are_blue_and_above_orange():
    maps = torch.stack([torch.full((5, 5), -1.0), torch.full((5, 5), 1.0)])
    picture = np.asarray(lab.mosaic_picture(maps)).astype(int)
    for unit, sign in ((0, -1), (1, 1)):
        left, top, *_ = mosaics.mosaic_plan((2, 5, 5)).box(unit)
        red, _, blue = picture[top + 3, left + 3]
        assert sign * (red - blue) > 100


# Clicks and keys


def test_a_click_chooses_the_unit_under_it_and_the_same_key_twice_moves_twice(network):
    unit = picker(network)
    left, top, right, bottom = mosaics.mosaic_plan((512, 13, 13)).box(491)
    unit.pointer.event = {"x": (left + right) / 2, "y": (top + bottom) / 2, "number": 1}
    assert unit.value == 491
    unit.pointer.event = {"x": 2.0, "y": 2.0, "number": 2}  # in the margin: nothing there
    assert unit.value == 491
    unit = picker(network)
    for number in (1, 2):
        unit.pointer.event = {"key": "ArrowRight", "number": number}
    assert unit.value == 32


@pytest.mark.parametrize(
    ("start", "key", "end"),
    [
        (30, "ArrowRight", 31),
        (30, "ArrowLeft", 29),
        (30, "ArrowDown", 53),
        (30, "ArrowUp", 7),
        (7, "ArrowUp", 7),
        (500, "ArrowDown", 500),
        (0, "ArrowLeft", 0),
        (511, "ArrowRight", 511),
        (30, "Home", 0),
        (30, "End", 511),
        (30, "Tab", 30),
    ],
)
def test_arrow_keys_go_through_the_mosaic(network, start, key, end):
    unit = picker(network, unit=start)
    unit.pointer.event = {"key": key, "number": 1}
    assert unit.value == end


def test_page_keys_go_through_the_layers_and_the_unit_stays_in_range(network):
    unit = picker(network, "fire9", 500)
    layers = unit._leader
    shown = list(filter(mosaics.has_maps, network.layers))
    there = [layer.name for layer in controls.teaching_layers(shown)]
    place = there.index(layers.value)
    unit.pointer.event = {"key": "PageUp", "number": 1}
    assert layers.value == there[place - 1]
    assert unit.value < network.layer(layers.value).shape[0]
    for number in range(len(there) + 2):
        unit.pointer.event = {"key": "PageUp", "number": 2 + number}
    assert layers.value == there[0]
    unit.pointer.event = {"key": "PageDown", "number": 99}
    assert layers.value == there[1]


# The live panel


def frames_of(panel, sheet):
    """The units that are framed in white in a panel's picture, where the sheet has them."""
    picture = np.asarray(panel.picture)
    framed = []
    for unit in range(sheet.tiles.count):
        left, top, right, bottom = sheet.box(unit)
        edges = (picture[top - 1, left:right], picture[top:bottom, right])
        framed += [unit] if all((edge == 255).all() for edge in edges) else []
    return framed


def test_clicks_are_counted_from_where_the_panels_show_the_mosaic(views_of, opened):
    panel = opened(lab.live_panel("koala", layer="fire8", unit=77))
    assert frames_of(panel, mosaics.mosaic_plan((512, 13, 13))) == [77]
    panel.controls["layer"].put(panel.controls["layer"].network.layer("relu1").name)
    assert frames_of(panel, mosaics.mosaic_plan((64, 111, 111))) == [panel.controls["unit"].value]
    views = views_of("fire5", 77)
    assert frames_of(views, mosaics.mosaic_plan((256, 27, 27), mosaics.NARROW)) == [77]


def test_the_mosaic_follows_the_distortion_and_another_unit_needs_no_other_pass(
    network, koala, opened, monkeypatch
):
    panel = opened(lab.live_panel("koala", layer="fire8", unit=126))
    left, top, right, bottom = mosaics.mosaic_plan((512, 13, 13)).box(126)
    before = np.asarray(panel.picture)
    panel.controls["right"].put(32)
    after = np.asarray(panel.picture)
    tile = (slice(top, bottom), slice(left, right))
    assert (before[tile] != after[tile]).any()
    moved = activations.distort(koala, Distortion(right=32))
    maps = network.activations(moved, ["fire8"])["fire8"]
    assert f"mean {float(maps[0, 126].mean()):.2f}" in panel.words
    assert "shifted by +32 px" in panel.words
    panel.controls["right"].put(0)
    assert np.array_equal(np.asarray(panel.picture), before)
    monkeypatch.setattr(activations, "distort", lambda *_: pytest.fail("a pass for a unit"))
    panel.controls["unit"].put(2)
    assert "unit 2 of 512" in panel.words


# All views of a unit


def test_every_part_of_the_panel_is_of_the_unit_that_was_clicked(views_of, pictures, koala):
    panel = views_of("fire8", 0)
    left, top, right, bottom = mosaics.mosaic_plan((512, 13, 13), mosaics.NARROW).box(491)
    click = {"x": (left + right) / 2, "y": (top + bottom) / 2, "number": 1}
    panel.controls["unit"].pointer.event = click
    panel.run()
    views = panel.frame.views
    assert views.progress == 1
    parts = [*(one.targets[0] for one in views.gradients.values())]
    parts += [views.votes.target, views.picture.target]
    assert {(one.layer, one.index) for one in parts} == {(views.target.layer, 491)}
    own = panel.frame.network.activations(koala, ["fire8"])["fire8"][0, 491]
    torch.testing.assert_close(views.map, own)
    assert int(views.patches.images[views.patches.row(491), 0]) == 0  # the red panda's face
    assert "unit 491" in panel.words
    panel.frame.drawings.clear()
    assert one_unit.views_picture(panel.frame, pictures) == panel.picture


def test_what_was_found_is_shown_at_once_and_run_again_makes_it_anew(views_of, tmp_path):
    panel = views_of("fire8", 3)
    panel.run()
    assert not panel.frame.views.picture.cached
    panel.run()  # all of it is there: pressed again, it is made again
    assert not panel.frame.views.picture.cached
    panel.autostart = False
    panel.controls["unit"].put(4)
    panel.controls["unit"].put(3)
    panel.run()
    assert panel.frame.views.picture.cached
    assert len(list(tmp_path.glob("*.png"))) == 1
    found = panel.frame.views.patches
    panel.controls["unit"].put(4)
    panel.run(limit=3)
    assert panel.frame.views.patches is found  # another unit of the layer needs no search


def test_a_cache_that_cannot_be_written_does_not_break_the_panel(views_of, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    panel = views_of("fire8", 3, blocked / "folder")
    panel.run()
    assert panel.frame.views.picture is not None
    assert panel.complaint == ""


def test_what_is_not_there_yet_has_a_frame_that_says_so(network, pictures, koala):
    whole = activations.unit_views(network, koala, ("fire8", 3), pictures, recipe=QUICK)
    bare = one_unit.UnitViews(whole.target, koala, whole.map)
    maps = network.activations(koala, ["fire8"])["fire8"][0]
    of = (network, network.layer("fire8"), maps)
    frames = [one_unit.UnitFrame(*of, views) for views in (whole, bare)]
    assert len({one_unit.views_picture(frame, pictures).width for frame in frames}) == 1
    assert "score" not in one_unit.views_words(frames[1])


def test_votes_are_signed_and_the_largest_come_first():
    values = torch.zeros(1, 6)
    values[0, 2], values[0, 4], values[0, 1] = 3.0, 1.0, -2.0
    toy = toys.chain(lambda: [nn.Conv2d(3, 2, 1)], 6, categories=list("abcdef"), input_size=4)
    votes = one_unit.Votes(toy.target(("conv1", 0)), values, torch.zeros(1, 6))
    assert one_unit._ranked(values[0], 4) == ([2, 4], [1])
    picture = np.asarray(one_unit.votes_picture(votes, toy)).astype(int)
    raised = (picture[..., 0] > picture[..., 2] + 100).any(0).nonzero()[0]
    lowered = (picture[..., 2] > picture[..., 0] + 100).any(0).nonzero()[0]
    assert raised.min() > lowered.max() > 0  # red to the right of zero, blue to the left


# A network without classes


@pytest.fixture(scope="module")
def alexnet():
    return networks.load("alexnet")


def test_a_layer_is_seen_after_its_relu_and_without_classes_a_unit_is_named(alexnet, koala, opened):
    panel = opened(lab.live_panel("koala", network="alexnet", layer="relu5", unit=3))
    offered = [title.split()[0] for title, _ in panel.controls["layer"].source.options]
    assert "relu5" in offered
    assert "conv5" not in offered  # what has not passed the ReLU fires nowhere
    means = alexnet.activations(koala, ["relu5"])["relu5"][0].mean((1, 2))
    largest = f"{int(means.argmax())}: {mosaics.short(means.max())}."
    assert panel.words.endswith(f"The unit with the largest mean is {largest}")


def test_where_there_are_no_classes_all_views_but_the_votes_are_shown(alexnet, pictures, koala):
    views = activations.unit_views(alexnet, koala, ("relu5", 3), pictures, recipe=QUICK)
    maps = alexnet.activations(koala, ["relu5"])["relu5"][0]
    frame = one_unit.UnitFrame(alexnet, alexnet.layer("relu5"), maps, views)
    assert "alexnet comes without its classes" in one_unit.views_words(frame)
    high = one_unit.views_picture(frame, pictures).height
    assert high < 4.5 * mosaics.TILE  # of three rows of tiles, the last is left out
    after = activations.similarity(alexnet, koala, Distortion(right=4), ["conv1", "relu5", "pool5"])
    assert invariance._titles(alexnet, after) == ["conv1", "relu5", "pool5"]


# Invariance, and two pictures


def test_the_curves_are_the_similarities(network, koala):
    after = activations.similarity(
        network, koala, Distortion(right=4), ["conv1", "fire9", "flatten"]
    )
    assert invariance._titles(network, after) == ["conv1", "fire9", "scores"]
    words = invariance.depth_words(network, after, "moved")
    for name in invariance.MEASURES:
        assert f"{float(getattr(after, name)[0]):.2f} and" in words
    assert invariance.depth_picture(network, after, "moved").size == (620, 320)
    # every kind and strength is a distortion
    for kind in invariance.KINDS.values():
        assert kind(0.0) == Distortion()
        assert kind(0.5) != kind(1.0) != Distortion()


def test_the_units_that_changed_are_shown_with_their_signs(network, koala, monkeypatch):
    pair = [koala, images.standard(images.sample("red_panda"))]
    maps = list(network.activations(torch.cat(pair), ["fire9"])["fire9"])
    between = activations.unit_changes(network, *pair, "fire9")
    words = invariance.changes_words(between, "fire9")
    up, down = int(between.change.argmax()), int(between.change.argmin())
    assert f"unit {up} rose most" in words
    assert f"unit {down} fell most" in words
    narrow, wide = (invariance.changes_picture(pair, maps, between, count=n).width for n in (2, 6))
    assert wide > 2.5 * narrow
    shown = []
    monkeypatch.setattr(figures, "mosaic", lambda tiles, **labels: shown.append(labels))
    invariance.changes_picture(pair, maps, between, count=6)
    for title, unit in zip(shown[0]["titles"], between.order[:6].tolist(), strict=False):
        assert title == f"{'▼▲'[bool(between.change[unit] > 0)]} unit {unit}"
