"""Curves drawn by hand: where a value lies, what lies beyond, and names that stay readable."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import ImageColor

from labsupport.ui import ink
from labsupport.ui.traces import _FOOT, _HEAD, _LEFT, apart, traces

SIZE = (300, 160)


def rows(picture, place=0):
    """The rows (top to bottom) in which a line's colour stands, at its first column."""
    colour = ImageColor.getrgb(ink.SERIES[place])
    column = np.asarray(picture)[:, _LEFT + 1]
    return np.flatnonzero((column == colour).all(1))


def drawn(first, **how):
    line = [first, first]
    return traces({"one": line}, across="step 1", up="value", size=SIZE, **how)


@pytest.mark.parametrize(("value", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (7.0, 1.0)])
def test_a_value_lies_where_the_scale_says_and_on_its_edge_beyond(value, share):
    inside = SIZE[1] - _FOOT - _HEAD
    found = rows(drawn(value, limits=(0.0, 1.0))).mean()
    assert found == pytest.approx(_HEAD + inside * (1 - share), abs=1.5)


def test_a_logarithmic_scale_has_factors_of_ten():
    heights = [rows(drawn(10.0**power, limits=(0.01, 10.0), log=True)).mean() for power in (-2, -1)]
    third = (SIZE[1] - _FOOT - _HEAD) / 3
    assert heights[0] - heights[1] == pytest.approx(third, abs=1.5)
    assert rows(drawn(0.0, limits=(0.01, 10.0), log=True)).mean() == heights[0]


def test_each_line_has_its_colour_and_one_number_is_a_line_too():
    lines = {"one": [0.1], "other": [0.9]}
    found = traces(lines, across="step 0", up="value", size=SIZE, limits=(0.0, 1.0))
    shown = {tuple(colour) for colour in np.asarray(found).reshape(-1, 3)}
    assert {ImageColor.getrgb(colour) for colour in ink.SERIES[:2]} <= shown


def test_no_name_stands_upon_another():
    places = apart({"a": 100.0, "b": 101.0, "c": 178.0, "d": 178.0}, 12, 178)
    heights = sorted(places.values())
    assert all(b - a >= ink.LINE for a, b in itertools.pairwise(heights))
    assert heights[0] >= 12
    assert heights[-1] <= 178
