"""Lab 08's saliency pictures and panels: what they show is what was computed."""

import numpy as np
import pytest
import torch

from labsupport.core import images, networks
from labsupport.methods.saliency import Localization, Segmentation, saliency_map, scenes
from labsupport.ui.labs import saliency as lab


@pytest.fixture(scope="module")
def network():
    return networks.load()


@pytest.fixture(scope="module")
def koala():
    return images.standard(images.sample("koala"))


def half() -> torch.Tensor:
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[:, 15:] = True
    return mask


def test_a_map_is_white_on_black_and_a_signed_one_red_and_blue():
    map_ = torch.zeros(20, 30)
    map_[:, 15:], map_[:, :5] = 1.0, -1.0
    plain = np.asarray(lab.map_picture(map_.clamp(min=0)))
    assert plain[10, 20].tolist() == [255] * 3
    assert plain[10, 8].tolist() == [0] * 3
    signed = np.asarray(lab.map_picture(map_, signed=True)).astype(int)
    assert signed[10, 20, 0] > signed[10, 20, 2] + 40
    assert signed[10, 2, 2] > signed[10, 2, 0] + 40
    assert signed[10, 8].min() > 230


def test_an_empty_map_is_black_and_no_error():
    assert not np.asarray(lab.map_picture(torch.zeros(8, 8))).any()


def test_the_spotlight_keeps_the_object_and_pales_the_rest():
    image = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0)) * 0.5
    shown = np.asarray(lab.spotlight(image, half())).astype(int)
    kept = (image[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(int)
    assert np.array_equal(shown[:, 15:], kept[:, 15:])
    assert shown[:, :15].min() >= 190
    assert np.ptp(shown[:, :15], axis=2).max() == 0


def test_seeds_are_told_apart_by_more_than_colour():
    seeds = torch.zeros(24, 36, dtype=torch.int8)
    seeds[:, :12], seeds[:, 24:] = 1, -1
    image = torch.full((1, 3, 24, 36), 0.5)
    shown = np.asarray(lab.seeds_picture(image, seeds)).astype(int)
    plain = shown[12, 18]
    dots = (shown[:, :12] != plain).any(2)
    stripes = (shown[:, 24:] != plain).any(2)
    assert float(dots.mean()) == pytest.approx(1 / 4, abs=0.02)
    assert float(stripes.mean()) == pytest.approx(1 / 3, abs=0.03)
    assert not (shown[:, 12:24] != plain).any()


def test_the_readout_says_where_half_of_the_map_lies():
    map_ = torch.zeros(10, 10)
    map_[0, :5] = 1.0
    assert lab._concentration(map_) == pytest.approx(0.02, abs=0.011)
    assert lab._concentration(torch.ones(10, 10)) == pytest.approx(0.5, abs=0.011)


def test_the_map_panel_shows_the_networks_own_class_and_any_other():
    panel = lab.map_panel("koala")
    assert "koala has 99.8 %" in panel.words
    before = panel.picture
    panel.controls["target"].put("tabby")
    assert "tabby has < 0.1 %" in panel.words
    panel.controls["target"].put("")
    panel.controls["reduce"].put("signed")
    assert panel.picture != before
    panel.close()


def test_the_object_panel_follows_its_quantiles():
    panel = lab.segment_panel("koala")
    before, words = panel.picture, panel.words
    panel.controls["foreground"].put(0.7)
    assert panel.words != words
    assert panel.picture != before
    panel.close()


def test_the_scene_panel_holds_what_was_found_against_the_truth():
    panel = lab.scene_panel(3)
    said = []
    for place in range(3):
        panel.controls["scene"].put(place)
        said.append(panel.words)
    assert len(set(said)) == 3
    assert all("overlap of the masks" in words for words in said)
    panel.close()


def test_all_ways_from_three_to_one_stand_beside_the_picture(network, koala):
    picture = lab.reductions(network, koala, "koala")
    assert picture.width > 3 * 224
    assert picture.height > 2 * 224


def test_true_and_found_stand_under_each_other():
    some = scenes(2, size=64)
    found = Localization(0.0, 1.0, tuple(s.box for s in some), tuple(s.mask for s in some))
    picture = np.asarray(lab.scenes_picture(some, found))
    assert picture.shape[0] > 128
    table = lab.table({"GrabCut": found, "the box in the middle": found})
    assert [line.count("0%") for line in table.splitlines()] == [0, 1, 1]
    assert len({len(line) for line in table.splitlines()}) == 1


def test_the_object_is_lit_with_its_box(network, koala):
    map_ = saliency_map(network, koala, "koala")[0]
    mask = torch.zeros(224, 224, dtype=torch.bool)
    mask[40:100, 60:160] = True
    cut = Segmentation(mask, (60, 40, 160, 100), torch.zeros(224, 224, dtype=torch.int8))
    picture = lab.object_picture(lab.Found(koala, map_, "koala", cut))
    assert picture.width > 448 + 224


@pytest.mark.parametrize("view", lab.VIEWS)
def test_every_view_is_an_image_of_the_same_size(koala, view):
    seen = lab.seen_otherwise(koala, view)
    images.check(seen)
    assert seen.shape == koala.shape
    assert torch.equal(seen, koala) == (view == "as it is")


def test_a_photo_is_recognised_in_every_view(network, koala):
    for view in lab.VIEWS:
        [answers] = network.predict(lab.seen_otherwise(koala, view), k=1)
        assert answers[0].name == "koala", view
    picture = lab.opinions(network, {"a photo": koala, "grey": koala * 0 + 0.5}, "koala")
    assert picture.width > 6 * 224
    assert picture.height > 2 * 224


def test_the_second_opinion_is_about_the_picture_and_view_that_are_chosen(koala):
    pictures = torch.cat([koala, koala * 0 + 0.5])
    panel = lab.opinion_panel(pictures, ["koala", "lemon"])
    assert "on the picture of koala, as it is: 99.8 %" in panel.words
    panel.controls["picture"].put(1)
    assert "on the picture of lemon, as it is: " in panel.words
    panel.controls["picture"].put(0)
    panel.controls["view"].put("mirrored")
    assert "koala, mirrored: " in panel.words
    panel.close()
