"""Lab 04: what stands in its pictures is where the codes say, and t-SNE can be stopped."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.labs import lab04_representation as lab
from labsupport.labs.lab04_representation import atlas, maps, tsne
from labsupport.methods import codes as c
from labsupport.ui import figures

SET = [*range(0, 283, 7)]


@pytest.fixture(scope="module")
def things(network):
    """Forty-one cut-outs, a few of each category."""
    every = images.cutouts()
    some = images.ImageSet([every[number] for number in SET], "some")
    return lab.collection(network, some, layers=["relu1", "fire4"])


@pytest.fixture(scope="module")
def points(things):
    return c.embed(things.code, perplexity=8, steps=200).points


def inked(picture) -> np.ndarray:
    """Where a picture is not white."""
    return np.asarray(picture).min(axis=2) < 250


# The collection


def test_every_picture_is_decoded_once_and_gives_what_the_method_gives(network, monkeypatch):
    some = images.cutouts()[:5]
    calls = []
    plain = maps.decoded
    monkeypatch.setattr(maps, "decoded", lambda one: calls.append(one.name) or plain(one))
    result = lab.collection(network, some, layers=["fire2"])
    assert calls == some.names
    assert list(result.codes) == ["pixels", "fire2", "fire9"]
    assert torch.allclose(result.code, c.codes(network, some), atol=1e-3)
    assert torch.allclose(result.codes["pixels"], c.pixel_codes(some), atol=1e-3)
    assert result.layer == "fire9"
    # photographs may be collected too
    result = lab.collection(network, images.photos()[:2], layers=[])
    assert max(result.shown[0].size) == 224
    assert result.titles == [one.title for one in images.photos()[:2]]


def test_layers_run_from_the_first_to_the_code(network):
    assert maps.map_layers(network) == ["relu1", *(f"fire{n}" for n in range(2, 10))]
    other = networks.load("lenet5")
    assert maps.map_layers(other)[-1] == c.code_layer(other)


def test_a_small_picture_keeps_its_shape_and_opacity(things):
    for number in (0, 11):
        small, large = things.small(number, 40), things.shown[number]
        assert max(small.size) == 40
        assert small.width / small.height == pytest.approx(large.width / large.height, rel=0.1)
        assert small.mode == "RGBA"


# Maps


def test_each_picture_lies_at_its_place(things):
    count = len(things)
    spots = torch.tensor([[float(n % 7), float(n // 7)] for n in range(count)])
    sheet = lab.image_map(things, spots, size=700, tile=60, square=True)
    assert sheet.size == (700, 700)
    places = maps.figures.on_sheet(spots, 700, 60)
    for number in (0, 6, 20, 40):
        left, top = (places[number] - 32).round().astype(int)
        right, bottom = (places[number] + 32).round().astype(int)
        part = inked(sheet)[max(top, 0) : bottom, max(left, 0) : right]
        alpha = np.asarray(things.small(number, 60))[..., 3] > 128
        assert part.sum() == pytest.approx(alpha.sum(), rel=0.35)


def test_the_axes_share_one_scale_y_runs_down_and_a_window_enlarges_a_part(things, points):
    places = maps.figures.on_sheet(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), 500, 50)
    assert places[1, 0] - places[0, 0] == pytest.approx(2 * (places[2, 1] - places[0, 1]))
    assert places[2, 1] > places[0, 1]
    assert (places >= 25).all()
    assert (places <= 475).all()
    places = maps.figures.on_sheet(points, 600, 40, (0.25, 0.25, 0.75, 0.75))
    whole = maps.figures.on_sheet(points, 600, 40)
    apart = np.linalg.norm(places[0] - places[1]) / np.linalg.norm(whole[0] - whole[1])
    assert apart == pytest.approx(2, rel=1e-6)


def test_a_map_that_is_flat_gives_a_flat_sheet(things):
    line = torch.stack([torch.arange(41.0), torch.zeros(41)], 1)
    sheet = lab.image_map(things, line, size=600, tile=30)
    assert sheet.height < 60
    assert sheet.width == pytest.approx(600, abs=2)


def test_the_chosen_one_is_framed_and_its_neighbours_are_numbered(things, points):
    plain = lab.image_map(things, points, size=500, tile=40)
    marked = lab.image_map(things, points, size=500, tile=40, chosen=3, numbered=[5, 6])
    blue = (np.asarray(marked) == (0, 114, 178)).all(2)
    assert blue.sum() > 500
    assert (np.asarray(plain) == (0, 114, 178)).all(2).sum() < 20


def test_dots_have_the_colour_of_their_group_and_a_legend_with_counts():
    spots = torch.tensor([[0.0, 0.0], [10.0, 10.0]])
    picture = np.asarray(maps.figures.dots(spots, [0, 1], ["a", "b"], size=200, radius=5))
    for number, corner in ((0, (20, 20)), (1, (180, 180))):
        rows, columns = (slice(edge - 14, edge + 14) for edge in corner)
        part = picture[rows, columns].reshape(-1, 3).tolist()
        assert list(maps.figures.group_colour(number)) in part
        assert list(maps.figures.group_colour(1 - number)) not in part
    assert picture.shape[1] > 200


def test_a_map_is_turned_onto_another_and_no_distance_changes():
    one = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    turn = torch.tensor([[math.cos(2.0), -math.sin(2.0)], [math.sin(2.0), math.cos(2.0)]])
    mirrored = (one @ turn) * torch.tensor([1.0, -1.0]) + 5
    back = tsne.procrustes(mirrored, one)
    assert torch.allclose(back, one - one.mean(0), atol=1e-4)


# Grids


def test_each_cell_shows_its_picture(things, points):
    grid = c.grid(points)
    picture = lab.grid_picture(things, grid, tile=40)
    rows, columns = grid.cells.shape
    assert picture.size == (columns * 43 + 3, rows * 43 + 3)
    for row, column in ((0, 0), (rows - 1, columns - 1)):
        part = picture.crop((3 + column * 43, 3 + row * 43, 43 + column * 43, 43 + row * 43))
        small = things.small(int(grid.cells[row, column]), 40)
        top, left = (40 - small.height) // 2, (40 - small.width) // 2
        sheet = Image.new("RGB", (40, 40), "white")
        sheet.paste(small, (left, top), small)
        assert np.array_equal(np.asarray(part), np.asarray(sheet))


def test_the_widest_gap_has_the_reddest_border(things):
    cells = torch.arange(6).view(2, 3)
    right = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    borders = c.UMatrix(right, torch.zeros(1, 3))
    picture = np.asarray(
        lab.grid_picture(things, c.Grid(cells, 0.0, ()), tile=40, borders=borders)
    ).astype(int)
    middle = 8 + 2 * 48 - 4  # between the second and the third column
    top, bottom = picture[28, middle], picture[76, middle]
    assert top[0] - top[1] > 150
    assert bottom.min() > 200


# Words


def test_the_words_say_what_was_measured(things, points):
    words = lab.map_words(things.code, points, things.categories)
    trusted = c.trustworthiness(things.code, points)
    share = c.label_agreement(points, things.categories, metric="euclidean")
    assert f"Trustworthiness {trusted:.3f}" in words
    assert f"nearest in the map {share:.0%}" in words


# Panels


def test_the_image_itself_is_not_its_own_neighbour(things):
    for layer in ("pixels", "fire9"):
        rows = things.codes[layer]
        number, result = atlas.nearest_others(rows, rows[4:5])
        assert number == 4
        assert 4 not in result
        assert result == list(c.neighbours(rows, 4, k=5).numbers)
        stranger = rows[4:5] + 0.3 * rows[9:10]
        number, result = atlas.nearest_others(rows, stranger)
        assert number is None
        assert 4 in result


def test_the_atlas_knows_its_own_and_places_a_stranger(things, points, opened):
    name = things.pictures.names[8]
    panel = opened(lab.atlas_panel(things, points, name))
    assert panel.words.startswith(things.titles[8])
    seen = maps.codes_of(things, things.pictures[8].image)
    near = list(c.neighbours(things.code, 8, k=5).numbers)
    assert atlas.nearest_others(things.code, seen) == (8, near)
    content = figures.to_png(images.to_pil(images.sample("giant_panda")))
    panel.controls["image"].open_files([("panda.png", content)])
    assert panel.words.startswith("Your picture")
    blue = (np.asarray(panel.picture) == (0, 114, 178)).all(2)
    assert blue.sum() > 600  # its frame, at the place where it belongs
    panel.controls["view"].put("borders")
    panel.controls["zoom"].put(3)
    before = np.asarray(panel.picture)
    panel.controls["across"].put(0.9)
    assert not np.array_equal(before, np.asarray(panel.picture))


def test_new_pictures_come_last_in_blue_frames(things, points):
    both, places = lab.with_new_pictures(things, points, images.photos()[:3])
    assert len(both) == len(things) + 3
    assert torch.equal(places[: len(things)], points)
    assert both.shown[-1].getpixel((0, 0)) == (0, 114, 178, 255)
    low, high = points.min(0).values, points.max(0).values
    assert ((places >= low) & (places <= high)).all()


def test_the_digits_are_there_in_all_sets_and_drawn_where_they_lie():
    counts = {data: len(tsne.digits(data).labels) for data in tsne.DIGITS.values()}
    expected = {"small": 1797, "test": 2000, "all": 10_000, "computed": 10_000, "fashion": 2000}
    assert counts == expected
    assert tsne.digit_codes("small").shape == (1797, 64)
    assert tsne.digit_codes("test", "lenet5").shape == (2000, 84)
    result = tsne.digits("small")
    assert 0 <= float(result.images.min()) < float(result.images.max()) <= 1
    # they are drawn where they lie, and never over each other
    places = torch.stack([torch.arange(1797.0) % 3, torch.zeros(1797)], 1)
    picture = np.asarray(tsne.digit_map(places, result, size=300, tile=18))
    inside = inked(Image.fromarray(picture))[:, :300]
    columns = np.flatnonzero(inside.any(0))
    assert len(np.split(columns, np.flatnonzero(np.diff(columns) > 20) + 1)) == 3


def test_ten_thousand_digits_give_frames_soon_enough_to_stop():
    """Every frame but the first must come well before half a second on a quiet machine."""
    rows = tsne.digit_codes("all")
    frames = c.embed.frames(rows, metric="euclidean", steps=6, every=2)
    next(frames)
    stages = [next(frames).stage for _ in range(3)]
    frames.close()
    assert stages == [f"looking for neighbours, {share}%" for share in (5, 10, 15)]


@pytest.mark.parametrize(("source", "least"), [("pixels", 0.9), ("lenet5", 0.97)])
def test_the_maps_that_were_made_before_are_of_these_digits(source, least):
    result = lab.bundled_map(source)
    assert result.points.shape == (10_000, 2)
    labels = tsne.digits("computed").labels
    share = c.label_agreement(result.points, labels, metric="euclidean", sample=500)
    assert share > least
    rows = tsne.digit_codes("computed", source)
    assert c.trustworthiness(rows, result.points, metric="euclidean", sample=300) > 0.97


def test_toys_are_what_their_names_say_and_maps_hide_their_sizes_as_the_notebook_says():
    wide, groups, _ = tsne.toy("two groups, one ten times as wide")
    spread = [float(wide[groups == g].std(0).mean()) for g in (0, 1)]
    assert spread[1] / spread[0] == pytest.approx(10, rel=0.1)
    points = c.embed(wide, perplexity=30, metric="euclidean").points
    parts = [points[groups == g] for g in (0, 1)]
    near, far = [float((part - part.mean(0)).norm(dim=1).mean()) for part in parts]
    assert far / near == pytest.approx(1, rel=0.35)
    three, groups, _ = tsne.toy("three groups, one far away")
    middles = torch.stack([three[groups == g].mean(0)[0] for g in range(3)])
    assert torch.allclose(middles - middles[0], torch.tensor([0.0, 10.0, 60.0]), atol=1)
    ring, _, _ = tsne.toy("a ring")
    assert torch.allclose(ring.norm(dim=1), torch.ones(150), atol=0.1)
