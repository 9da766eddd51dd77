"""Lab 01's tables, towers and panels: what they show is what was measured."""

import numpy as np
import pytest

from labsupport.core.network import blueprints
from labsupport.labs.lab01_case_studies import anatomy as lab
from labsupport.methods.anatomy import anatomy, published
from labsupport.ui import ink


def coloured(picture, colour):
    """How many pixels have exactly this colour."""
    return int((np.asarray(picture) == colour).all(-1).sum())


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (999, "999"), (61_706, "61.7 k"), (138_357_544, "138 M"), (15.47e9, "15.5 G")],
)
def test_large_numbers_are_said_as_people_say_them(number, words):
    assert lab.count(number) == words


def test_a_bar_is_as_long_as_its_share():
    rows = [[("a", None), ("x", share)] for share in (1.0, 0.5, 0.0)]
    picture = np.asarray(lab.figures.table(("name", "value"), rows))
    lengths = sorted((picture == ink.ACCENT).all(-1).sum(1).tolist(), reverse=True)
    longest, half = lengths[0], next(n for n in lengths if 0 < n < 0.9 * lengths[0])
    assert half == pytest.approx(longest / 2, abs=2)
    none = lab.figures.table(("name", "value"), rows[2:])
    assert coloured(none, ink.ACCENT) == 0


def test_the_layer_table_has_a_line_for_each_block():
    small, large = (lab.layer_table(anatomy(blueprints.blueprint(n))) for n in ("lenet5", "vgg19"))
    blocks = [len(anatomy(blueprints.blueprint(n)).blocks) for n in ("lenet5", "vgg19")]
    assert large.height - small.height == 21 * (blocks[1] - blocks[0])


@pytest.mark.parametrize("name", blueprints.names())
def test_a_tower_fits_its_width_and_shrinks_with_the_map(name):
    result = anatomy(blueprints.blueprint(name))
    picture = lab.tower(result)
    assert picture.width == 760
    edge = np.asarray(picture)[:, -2:]
    assert (edge == 255).all()
    assert coloured(picture, lab.KIND_COLOURS["conv"]) > 500
    rows = [row for row in result.blocks if row.kind == "conv"]
    inside = (np.asarray(picture)[:154] == lab.KIND_COLOURS["conv"]).all(-1).sum(0)
    heights = [int(n) for n in inside[inside > 5]]
    assert heights[0] == max(heights)
    assert heights[-1] == min(heights)
    assert len(set(heights)) <= len({row.shape[1] for row in rows}) + 1


def test_the_sentence_names_where_things_are():
    words = lab.totals(anatomy(blueprints.blueprint("alexnet_2012")))
    assert "8 layers" in words
    assert "60 965 224" in words
    assert "Most parameters: fc6 (62%)" in words


def test_the_first_and_the_best_recipe_differ_where_there_are_two():
    first, best = ({one.network: one for one in lab._chosen(which)} for which in (1, 9))
    assert set(first) == set(best) == {one.network for one in published()}
    assert first["resnet50"].top1 < best["resnet50"].top1
    assert all(best[name].top1 >= first[name].top1 for name in first)
    picture, words = lab.accuracy_panel.function("parameters", 9, "top5")
    assert picture.size == (680, 440)
    assert max(one.top5 for one in best.values()) == pytest.approx(98.7, abs=0.1)
    assert "98.7 %" in words


def test_the_layers_panel_refuses_a_size_in_words(opened):
    panel = opened(lab.layers_panel("vgg16"))
    panel.controls["network"].source.value = "alexnet_2012"
    panel.controls["scale"].source.value = 50
    assert "alexnet_2012" in panel.message
    assert "fc6" in panel.message or "flatten" in panel.message


def test_the_design_panel_says_where_shapes_no_longer_fit(opened):
    panel = opened(lab.design_panel())
    before = panel.picture
    panel.controls["depth"].source.value = 14
    assert "pool14" in panel.message
    assert panel.picture is before
    panel.controls["depth"].source.value = 6
    assert panel.message == ""
    assert "conv" in panel.words
