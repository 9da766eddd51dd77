"""Lab 07's pictures and panels: what they show is what was computed."""

import numpy as np
import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.labs import lab07_deconv as lab
from labsupport.methods import backprop
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


def test_a_dead_neuron_is_said_to_be_dead(tiny):
    dead = lab._unit_gradients(spot(0, 0) * 0, tiny, "relu1", 0, "strongest")
    _, words = lab.rules_panel.function(dead, "colours", False)
    assert "no pixel can change that" in words
    alive = lab._unit_gradients(spot(1, 1), tiny, "relu1", 0, "channel")
    assert alive[2] is None
    assert "The gradient passes 1 ReLU." in lab.rules_panel.function(alive, "signed", False)[1]


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


def test_smoothgrad_draws_each_frame(tiny):
    settings = {"network": tiny, "target": None, "rule": "guided", "noise": 0.1, "samples": 6}
    views = list(lab.smooth_panel.function(spot(1, 2), **settings))
    assert [one.progress for one in views][-1] == 1.0
    picture, words = lab._draw_smooth(views[-1], "magnitude")
    assert "the mean of 6 gradients" in words
    assert picture.width > 2 * 32


def test_the_cascade_is_measured_and_drawn(tiny):
    views = list(lab.cascade_panel.function(spot(4, 4), tiny, 1, seed=2))
    assert [len(one.steps) for one in views] == [1, 2, 3, 4]
    assert views[-1].progress == 1.0
    picture, words = lab._draw_cascade(views[0], "magnitude", "rank_correlation")
    assert "as learned" in words
    _, words = lab._draw_cascade(views[-1], "magnitude", "ssim")
    assert "random down to conv1 (3 layers)" in words
    rows = lab.cascade_rows(views[-1].steps, (0, 3))
    assert rows.width > 40
    assert picture.height > 100
    strips = np.asarray(lab.similarity_strips(views[1], "ssim"))
    assert lab.similarity_picture(views[-1].steps).height == 300
    unknown = (strips == (200, 200, 200)).all(2).sum() / (3 * 23 * 23)
    assert unknown == pytest.approx(2, abs=0.3)  # of four fields in each strip, two are known


def test_the_cascade_explains_a_score_with_no_relu_after_it(tiny, network):
    koala = images.sample("koala")
    for known, image, layer in ((tiny, spot(4, 4), "fc3"), (network, koala, "conv10")):
        first = next(lab.cascade_panel.function(image, known, 1, seed=0))
        target = first.frame.gradients["backprop"].targets[0]
        assert known.layer(target.layer) is known.layer(layer)
        assert target.index == 1
