"""Lab 05's pictures and panels: what they show is what was computed."""

import numpy as np
import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import own
from labsupport.labs import lab05_occlusion as lab
from labsupport.methods.occlusion import VIEWS, occlusion_map
from labsupport.ui import ink


@pytest.fixture(scope="module")
def bright():
    """Two classes, "left" and "right": the brighter half wins; a feature map that sees it."""
    head = nn.Linear(16, 2, bias=False)
    half = torch.zeros(2, 4, 4)
    half[0, :, :2], half[1, :, 2:] = 1.0, 1.0
    head.weight.data = half.flatten(1)
    spread = nn.Conv2d(3, 1, 4, stride=4, bias=False)
    nn.init.constant_(spread.weight, 1 / 48)
    module = nn.Sequential(spread, nn.ReLU(), nn.Flatten(), head)
    return networks.wrap(module, categories=["left", "right"], input_size=16, **toys.PLAIN)


@pytest.fixture(scope="module")
def left_image():
    image = torch.full((1, 3, 16, 16), 0.2)
    image[..., :8] = 0.8
    return image


@pytest.fixture(scope="module")
def occluded(bright, left_image):
    settings = {"window": 8, "stride": 4, "fill": "black", "views": VIEWS}
    return occlusion_map(bright, left_image, "left", **settings)


def test_the_hidden_part_lies_on_the_sharp_picture(opened):
    panel = opened(lab.hide_panel("koala", left=64, top=32, side=48, fill="black"))
    shown = np.asarray(panel.picture).astype(int)
    sharp = np.asarray(images.to_pil(images.standard(images.sample("koala"), 448))).astype(int)
    places = [place for place in range(60) if (shown[place : place + 20, :448] == sharp[:20]).all()]
    assert len(places) == 1, "the picture itself, at twice the network's size ({top})"
    assert (shown[places[0] + 70 : places[0] + 154, 134:218] == 0).all()


def test_the_sliders_cover_a_small_image_as_they_cover_a_large_one(opened, monkeypatch):
    monkeypatch.setattr(own, "_registered", {})
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    networks.register("mine", linear, input_size=32, **toys.PLAIN)
    panel = opened(lab.map_panel("koala"))
    panel.controls["network"].put("mine")
    panel.run()
    first, *_ = panel.frame.columns
    assert first == (0, 5)  # 32 of 224 pixels
    assert len(panel.frame.columns) == 28  # at every pixel, until the end is reached
    assert "pixels of 224; this network's image has 32" in panel.words
    square = opened(lab.hide_panel("koala", side=112))
    square.controls["network"].put("mine")
    assert "has 32" in square.words


def test_blue_lies_where_hiding_hurts(bright, left_image, occluded):
    picture = np.asarray(lab.map_picture(left_image, occluded, "score", bright)).astype(int)
    hurt, untouched = picture[8, 2], picture[8, 14]
    assert hurt[2] > hurt[0] + 40
    assert abs(untouched[2] - untouched[0]) < 10


def test_the_words_name_the_worst_place(bright, occluded):
    words = lab.map_words(occluded, "score", bright)
    left, top, right, bottom = occluded.box(*occluded.lowest("score"))
    assert f"columns {left} to {right} and rows {top} to {bottom}" in words
    assert "6.4 untouched" in words  # 8 cells of 0.8
    assert "9 of 9 positions, incremental" in words


def test_the_class_map_has_a_colour_for_each_class_that_wins(bright, left_image, occluded):
    wins = set(occluded.values["best_class"].flatten().tolist())
    assert wins == {0}
    dark = left_image * 0.3
    settings = {"window": 8, "stride": 4, "fill": "white", "views": VIEWS}
    flipped = occlusion_map(bright, dark, "left", **settings)
    assert set(flipped.values["best_class"].flatten().tolist()) == {0, 1}
    colours = lab.class_colours([flipped])
    assert len(set(colours.values())) == len(colours) == 2
    picture = np.asarray(lab.value_picture(flipped, "best_class", bright))
    for row, column in ((0, 0), (2, 2)):
        left, top, right, bottom = flipped.box(row, column)
        shown = picture[(top + bottom) // 2, (left + right) // 2]
        wanted = colours[int(flipped.values["best_class"][row, column])]
        assert "#{:02x}{:02x}{:02x}".format(*shown) == wanted


def test_a_saturated_map_has_a_scale_too_and_three_views_a_line_of_text(
    bright, left_image, occluded
):
    flat = occlusion_map(bright, left_image * 0, "left", window=8, fill="black", views=VIEWS)
    for view in VIEWS:
        assert lab.map_picture(left_image, flat, view, bright).width > 16
    assert lab.three_views(left_image, occluded, bright).height >= 16 + ink.TEXT


def test_maps_together_share_one_scale(bright, left_image):
    maps = {
        fill: occlusion_map(bright, left_image, "left", window=8, stride=4, fill=fill)
        for fill in ("black", "grey")
    }
    together = np.asarray(lab.maps_together(left_image, maps)).astype(int)
    apart = np.asarray(lab.maps_together(left_image, maps, shared=False)).astype(int)
    assert together.shape[1] < apart.shape[1]  # one scale, or one each


def test_a_faces_boxes_lie_on_its_parts():
    photo = torch.zeros(1, 3, 300, 400)
    spots = {"left eye": (150, 120), "right eye": (210, 122), "nose": (180, 160)}
    for place, (column, row) in enumerate(spots.values()):
        photo[0, place, row - 3 : row + 4, column - 3 : column + 4] = 1.0
    face = lab.face(photo, *spots.values())
    assert face.image.shape == (1, 3, 224, 224)
    for place, box in enumerate(face.boxes.values()):
        left, top, right, bottom = box
        inside = face.image[0, place, top:bottom, left:right].sum()
        assert inside > 0.99 * face.image[0, place].sum()
        rows, columns = torch.where(face.image[0, place] > 0.5)
        centre = (float(columns.float().mean()), float(rows.float().mean()))
        assert centre == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=3)


def test_a_part_changes_only_what_it_is_asked_for(bright):
    photo = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0))
    faces = [lab.face(photo, (150, 120), (210, 122), (180, 160)) for _ in range(2)]
    small = [lab.Face(images.resize(f.image, 16), {"nose": (0, 0, 8, 8)}) for f in faces]
    signs = lab.part_signs(bright, small, "nose", layer="conv1")
    map_ = signs[0].view(4, 4)
    assert (map_[:2, :2] != 0).all()
    assert (map_[2:] == 0).all()
    assert (map_[:, 2:] == 0).all()


def test_random_places_differ_between_faces_and_repeat_with_the_seed():
    network = networks.load()
    photo = images.sample("kitten")
    faces = [lab.face(photo, (234, 154), (289, 153), (263, 177))] * 2
    first = lab.part_signs(network, faces, "random", layer="conv1", seed=3)
    assert not torch.equal(first[0], first[1])
    again = lab.part_signs(network, faces, "random", layer="conv1", seed=3)
    assert torch.equal(first, again)
