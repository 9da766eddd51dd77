"""Lab 07's pictures and panels: what they show is what was computed."""

import numpy as np
import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.labs import lab07_deconv as lab
from labsupport.methods import backprop, faithfulness
from labsupport.methods.patches import top_patches


@pytest.fixture(scope="module")
def tiny():
    """A bright-spot detector of 4 x 4 windows, a second layer, two classes."""

    def layers():
        first = nn.Conv2d(3, 2, 4, stride=4)
        first.weight.data[0], first.bias.data[0] = 1 / 48, 0.0
        return [first, nn.ReLU(), nn.Conv2d(2, 2, 1), nn.ReLU()]

    return toys.chain(layers, 2, input_size=32, **toys.PLAIN)


def spot(row: int, column: int) -> torch.Tensor:
    """A dark image (1, 3, 32, 32) with one bright window of 4 x 4."""
    image = torch.full((1, 3, 32, 32), 0.1)
    image[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0.9
    return image


# A gradient as an image


def test_zero_is_grey_and_the_strongest_has_full_contrast():
    values = torch.zeros(3, 20, 20)
    values[0, 3, 4], values[1, 5, 6], values[2, 7, 8] = 2.0, -2.0, 1.0
    image = lab.gradient_image(values)[0]
    assert image[:, 0, 0].tolist() == [0.5, 0.5, 0.5]
    assert image[:, 3, 4].tolist() == [1.0, 0.5, 0.5]
    assert image[:, 5, 6].tolist() == [0.5, 0.0, 0.5]
    assert image[2, 7, 8] == pytest.approx(0.75, abs=0.01)


def test_signs_are_red_and_blue_and_magnitudes_have_none():
    values = torch.zeros(3, 20, 20)
    values[:, 3, 4], values[:, 5, 6] = 1.0, -1.0
    signed = lab.gradient_image(values, "signed")[0]
    assert signed[0, 3, 4] > signed[2, 3, 4] + 0.2
    assert signed[2, 5, 6] > signed[0, 5, 6] + 0.2
    strength = lab.gradient_image(values, "magnitude")[0]
    assert torch.equal(strength[:, 3, 4], strength[:, 5, 6])
    assert strength[:, 0, 0].max() < 0.02


def test_an_empty_gradient_is_a_picture_all_the_same():
    for view in lab.VIEWS.values():
        assert lab.gradient_image(torch.zeros(3, 8, 8), view).isfinite().all()
    with pytest.raises(BadSetting, match="'signed'"):
        lab.gradient_image(torch.zeros(3, 8, 8), "sign")


# Rules


def test_the_slides_panel_says_what_gets_through():
    panel = lab.matrix_panel()
    assert "backprop 5, deconvnet 5, guided 2 of 9" in panel.words
    before = panel.picture
    panel.controls["f"].put([1.0] * 9)
    assert "backprop 9, deconvnet 5, guided 5 of 9" in panel.words
    assert panel.picture.tobytes() != before.tobytes()
    panel.controls["above"].cells[1].value = -3.0
    assert "backprop 9, deconvnet 4, guided 4 of 9" in panel.words
    cells = panel.controls["f"].cells
    panel.close()
    assert [cell.comm for cell in cells] == [None] * 9


def test_a_matrix_marks_what_is_blocked():
    numbers = torch.tensor([[1.0, 0.0]])
    plain = np.asarray(lab.matrix_picture(numbers))
    marked = np.asarray(lab.matrix_picture(numbers, torch.tensor([[False, True]])))
    half = plain.shape[1] // 2
    assert (plain[:, :half] == marked[:, :half]).all()
    assert (plain[:, half:] != marked[:, half:]).any()


def test_the_picture_of_the_rules_zooms_to_the_box(tiny):
    image = spot(2, 5)
    place = lab.strongest(tiny, image, "relu1", 0)
    assert place == (2, 5)
    gradients = backprop.gradients(tiny, image, ("relu1", 0, place))
    box = lab.receptive_box(tiny, "relu1", place, (32, 32))
    assert box == (20, 8, 24, 12)
    whole = lab.rules_picture(image, gradients, box=box)
    close = lab.rules_picture(image, gradients, box=box, zoom=True)
    assert whole.size != close.size or whole.tobytes() != close.tobytes()
    zoomed = np.asarray(close)[-200:, 260:400]  # the first gradient: the filter, one colour
    assert len(np.unique(zoomed.reshape(-1, 3), axis=0)) <= 2


def test_half_of_a_gradient_lies_in_few_pixels():
    values = torch.zeros(3, 10, 10)
    values[0, 0, 0], values[1, 0, 1] = -3.0, 2.0
    assert lab.half_share(values) == 0.01
    assert lab.half_share(torch.ones(3, 10, 10)) == 0.5


def test_a_dead_neuron_is_said_to_be_dead(tiny):
    dead = lab._unit_gradients(spot(0, 0) * 0, tiny, "relu1", 0, "strongest")
    _, words = lab.rules_panel.function(dead, "colours", False)
    assert "no pixel can change that" in words
    alive = lab._unit_gradients(spot(1, 1), tiny, "relu1", 0, "channel")
    assert alive[2] is None
    assert "It passes 1 ReLU." in lab.rules_panel.function(alive, "signed", False)[1]


# What units look for


def test_reconstructions_and_crops_show_the_same_window(tiny):
    shown = [spot(2, 5), spot(7, 0), spot(0, 7)]
    patches = top_patches(tiny, "relu1", shown, k=3, channels=[0], suppress="picture")
    gradient = lab.unit_gradients(tiny, patches, shown, 0, rule="guided")
    for values, number, position in zip(
        gradient.values, patches.images[0].tolist(), patches.positions[0].tolist(), strict=True
    ):
        row, column = position
        assert spot(row, column).equal(shown[number])
        inside = values[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert (inside > 0).all()
        assert float(values.abs().sum()) == pytest.approx(float(inside.abs().sum()))
    rows = lab.pattern_rows(tiny, patches, shown, [0], rule="guided", count=2, tile=8)
    assert rows.height < 16  # one row of tiles
    crops = np.asarray(rows)[-10:-2, -20:]  # on the right: two tiles of eight pixels, gaps of two
    for left in (0, 10):
        assert (crops[:, left : left + 8] == round(0.9 * 255)).mean() > 0.9  # the bright window
    both = top_patches(tiny, "relu1", shown, k=3, suppress="picture")
    figure = lab.zeiler_figure(tiny, {"relu1": both}, shown, {"relu1": (0, 1)})
    assert figure.width > 2 * 3 * 96  # three gradients beside three crops, enlarged
    assert 2 * 96 < figure.height < 3 * 96


def test_a_softened_gradient_keeps_its_signs_and_loses_its_neon():
    values = torch.zeros(3, 6, 6)
    values[:, 0, 0], values[:, 0, 1] = 1.0, -1.0
    values[:, 1, 0] = torch.tensor([1.0, -1.0, 0.3])
    image = lab.softened(values)
    assert (image.shape, float(image.min()) >= 0, float(image.max()) <= 1) == (
        (1, 3, 6, 6),
        True,
        True,
    )
    assert (image[0, :, 3, 3] == 0.5).all()
    assert float(image[0, :, 0, 0].min()) > 0.8
    assert float(image[0, :, 0, 1].max()) < 0.2
    spread = image[0, :, 1, 0]
    assert 0.02 < float(spread.max() - spread.min()) < 0.3
    assert (lab.softened(torch.zeros(3, 4, 4)) == 0.5).all()


def test_a_cut_is_moved_into_the_image_and_made_smaller():
    image = torch.arange(100.0).view(1, 1, 10, 10) / 100
    assert torch.equal(lab._cut(image, (0, 0, 1, 1), 3, 8), image[:, :, :3, :3])
    assert torch.equal(lab._cut(image, (9, 4, 10, 5), 3, 8), image[:, :, 3:6, 7:])
    assert lab._cut(image, (2, 2, 8, 8), 6, 3).shape == (1, 1, 3, 3)


# What people use today


def test_the_words_of_integrated_gradients_are_its_numbers(tiny):
    image = spot(3, 3)
    attribution = backprop.integrated_gradients(tiny, image, 1)
    words = lab.attribution_words(attribution)
    with torch.no_grad():
        assert f"{float(tiny(image)[0, 1]):.2f} at the image" in words
    assert f"{float(attribution.error[0]):.1%}" in words


def test_the_cascade_is_measured_and_drawn(tiny):
    views = list(lab.cascade_panel.function(spot(4, 4), tiny, 1, seed=2))
    assert [len(one.steps) for one in views] == [1, 2, 3, 4]
    assert views[-1].progress == 1.0
    _, words = lab._draw_cascade(views[0], 1.0, "magnitude", "rank_correlation")
    assert words.startswith("As learned.")
    last, words = lab._draw_cascade(views[-1], 1.0, "magnitude", "ssim")
    assert words.startswith("Random down to conv1, 3 random layers.")
    assert f"backprop {views[-1].frame.ssim['backprop']:.2f}" in words
    middle, words = lab._draw_cascade(views[-1], 0.3, "magnitude", "ssim")
    assert "1 random layer." in words
    assert middle.size == last.size
    assert middle.tobytes() != last.tobytes()
    strips = np.asarray(lab.similarity_strips(views[1], "ssim", views[1].steps[1]))
    unknown = (strips == (200, 200, 200)).all(2).sum() / (3 * 23 * 23)
    assert unknown == pytest.approx(2, abs=0.3)  # of four fields in each strip, two are known


def test_the_cascade_explains_a_score_with_no_relu_after_it(tiny, network):
    koala = images.sample("koala")
    for known, image, layer in ((tiny, spot(4, 4), "fc3"), (network, koala, "conv10")):
        first = next(lab.cascade_panel.function(image, known, 1, seed=0))
        target = first.frame.gradients["backprop"].targets[0]
        assert known.layer(target.layer) is known.layer(layer)
        assert target.index == 1


# Which map to believe


@pytest.fixture(scope="module")
def brightest():
    """The brightest window of 4 x 4 speaks for class 0."""
    first, last = nn.Conv2d(3, 1, 4, stride=4), nn.Linear(1, 2)
    first.weight.data[:], first.bias.data[:] = 1 / 48, 0.0
    last.weight.data = torch.tensor([[4.0], [-4.0]])
    layers = [first, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), last]
    return networks.wrap(nn.Sequential(*layers).eval(), input_size=32, **toys.PLAIN)


@pytest.fixture(scope="module")
def judged(brightest):
    return list(lab.judged_maps(brightest, spot(2, 5), 0, steps=4))


def test_all_maps_are_there_before_the_first_is_judged(judged, brightest):
    names = list(lab.maps_of(brightest, spot(2, 5), 0))
    assert names[-2:] == ["random", "the center"]
    assert [one.progress for one in judged] == pytest.approx([(n + 1) / 24 for n in range(24)])
    assert list(judged[7].maps) == names
    assert not any(judged[7].curves.values())
    for curves in judged[-1].curves.values():
        assert list(curves) == names


def test_what_is_judged_is_what_the_method_measures(judged, brightest):
    last, image = judged[-1], spot(2, 5)
    right = last.maps["Grad-CAM"]
    assert torch.equal(right, backprop.grad_cam(brightest, image, 0).values[0])
    for way, curves in last.curves.items():
        curve = faithfulness.pixel_curve(brightest, image, 0, right, way=way, steps=4)
        assert torch.equal(curves["Grad-CAM"].values, curve.values)
    inside = (..., slice(8, 12), slice(20, 24))
    for name in ("gradient", "guided", "SmoothGrad", "integrated", "occlusion"):
        map_ = last.maps[name]
        assert float(map_[inside].sum()) > 0.2 * float(map_.clamp(min=0).sum()), name
        assert float(map_[inside].mean()) > 5 * float(map_.mean()), name


def test_the_words_name_the_best_of_both_ways(judged):
    assert "Press Run" in lab.areas_in_words(judged[0])
    words = lab.areas_in_words(judged[-1])
    for way, best in (("deletion", min), ("insertion", max)):
        areas = {name: one.area for name, one in judged[-1].curves[way].items()}
        winner = best(areas, key=areas.get)
        assert f"for {way}: {winner}, {areas[winner]:.2f}" in words


def test_the_tiles_show_a_share_of_the_pixels_exchanged(judged):
    last = judged[-1]
    tiles = [np.asarray(lab.judged_tiles(last, share, side=32)) for share in (0.0, 0.5, 1.0)]
    assert (
        tiles[0].shape
        == tiles[1].shape
        == np.asarray(lab.judged_tiles(judged[0], 0.5, side=32)).shape
    )
    assert (tiles[0] != tiles[1]).any()
    assert (tiles[1] != tiles[2]).any()
    for shown, show in ((judged[0], "pictures"), (judged[0], "curves"), (last, "curves")):
        picture, _ = lab._draw_judged(shown, show, 0.1)
        assert picture.width > 100


def test_a_map_that_a_network_has_not_is_named_and_the_others_are_judged():
    """Without a ReLU there is no guided gradient, without a convolution no Grad-CAM."""
    network = toys.linear(toys.image(24, count=2))
    *_, last = lab.judged_maps(network, toys.image(24), 1, steps=2)
    assert list(last.refused) == ["guided", "Grad-CAM"]
    assert last.progress == 1.0
    _, words = lab._draw_judged(last, "pictures", 0.1)
    assert "no map by guided: " in words
    assert "no map by Grad-CAM: " in words
    assert len(last.curves["deletion"]) == 6
