"""Lab 08's saliency pictures and panels: what they show is what was computed."""

import types

import numpy as np
import pytest
import torch

from labsupport.core import images
from labsupport.labs.lab08_optimization import saliency as lab
from labsupport.methods import saliency
from labsupport.methods.saliency import scenes


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


def test_the_map_panel_shows_the_networks_own_class_and_any_other(opened):
    panel = opened(lab.map_panel("koala"))
    assert "koala has 99.8 %" in panel.words
    before = panel.picture
    panel.controls["target"].put("tabby")
    assert "tabby has < 0.1 %" in panel.words
    panel.controls["target"].put("")
    panel.controls["reduce"].put("signed")
    assert panel.picture != before


def test_scenes_of_the_menu_are_held_against_the_truth(network, opened):
    panel = opened(lab.segment_panel("koala"))
    assert "true mask" not in panel.words
    for place, scene in enumerate(scenes(12)[:3], start=1):
        panel.controls["image"].put(f"scene {place}")
        map_ = saliency.saliency_map(network, scene.image, scene.target)[0]
        cut = saliency.segment(scene.image, map_)
        assert panel.words.startswith(scene.target)
        assert f"true mask {saliency.mask_iou(cut.mask, scene.mask):.2f}" in panel.words
        assert f"true box {saliency.box_iou(cut.box, scene.box):.2f}" in panel.words


def test_a_scene_is_shown_whole_in_the_size_that_a_network_wants(network):
    scene = scenes(1)[0]
    known = {"class_index": network.class_index, "categories": network.categories}
    shrunk = types.SimpleNamespace(input_size=(112, 112), **known)
    seen = []

    def noted(image, large, _network, target):
        seen.extend([image.shape, large.shape])
        return lab.MappedImage(image, image[0, 0], network.categories[target], 0.5, large)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab, "_map_of", noted)
        mapped = lab._scene_map(scene, shrunk, None)
    assert seen == [(1, 3, 112, 112), (1, 3, 224, 224)]
    small = [side / 2 for side in scene.box]
    box = saliency.box_of(mapped.truth)
    assert all(abs(one - other) <= 1 for one, other in zip(box, small, strict=True))


def test_true_and_found_stand_under_each_other():
    some = scenes(2, size=64)
    boxes, masks = tuple(s.box for s in some), tuple(s.mask for s in some)
    result = saliency.Localization(0.0, 1.0, boxes, masks)
    assert lab.scenes_picture(some, result).height > 128


def test_all_ways_from_three_to_one_and_the_lit_object_stand_beside_the_picture(network, koala):
    map_ = saliency.saliency_map(network, koala, "koala")[0]
    picture = lab.reductions(koala, dict.fromkeys(lab.REDUCTION_WORDS, map_))
    assert picture.width > 3 * 224
    assert picture.height > 2 * 224
    mask = torch.zeros(224, 224, dtype=torch.bool)
    mask[40:100, 60:160] = True
    seeds = torch.zeros(224, 224, dtype=torch.int8)
    cut = saliency.Segmentation(mask, (60, 40, 160, 100), seeds)
    large = images.standard(images.sample("koala"), 448)
    picture = lab.object_picture(lab.MappedImage(koala, map_, "koala", 0.998, large), cut)
    assert picture.width > 448 + 224
