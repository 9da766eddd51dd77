"""Curves: where a value lies, what lies beyond, and that what is kept is never seen again."""

import numpy as np
import pytest
from PIL import ImageColor

from labsupport.ui import figures, ink
from labsupport.ui.curves import Curve

HOW = {"across": "step", "up": "value", "size": (300, 160)}


def rows(picture, place=0, *, columns=False):
    """The rows (top to bottom) in which a line's colour stands, or the columns."""
    colour = np.array(ImageColor.getrgb(ink.SERIES[place]))
    near = np.abs(np.asarray(picture).astype(int) - colour).max(2) < 12
    return np.flatnonzero(near.any(0 if columns else 1))


def level(value, **how):
    """The row of a flat line at that value."""
    return rows(figures.curve({"one": [value, value]}, **HOW, reach=1, **how)).mean()


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_value_lies_where_the_scale_says(share):
    low, middle, high = (level(v, limits=(0.0, 1.0)) for v in (0.1, 0.1 + 0.8 * share, 0.9))
    assert middle == pytest.approx(low + share * (high - low), abs=1.5)


def test_on_a_logarithmic_scale_factors_are_distances_and_values_beyond_lie_on_the_edge():
    how = {"limits": (0.001, 10.0), "log": True}
    levels = [level(10.0**power, **how) for power in (-2, -1, 0)]
    assert levels[0] - levels[1] == pytest.approx(levels[1] - levels[2], abs=1.5)
    assert rows(figures.curve({"one": [0.0, 0.0]}, **HOW, reach=1, **how)).max() > levels[0]


def test_reach_leaves_room_for_what_is_to_come():
    def right_end(reach):
        return rows(figures.curve({"one": [1.0, 2.0]}, **HOW, reach=reach), columns=True).max()

    assert right_end(10) < 0.3 * right_end(1)
    # one number is seen, and each line has its colour
    picture = figures.curve({"one": [0.1], "other": [0.9]}, **HOW, limits=(0, 1), reach=5)
    assert picture.size == HOW["size"]
    assert all(len(rows(picture, place)) for place in (0, 1))


def test_a_kept_background_gives_the_same_picture_as_a_fresh_one():
    lines = {"a": (np.arange(9), np.arange(9.0) % 4), "b": (np.arange(9), np.arange(9.0))}
    short = {name: (x[:3], y[:3]) for name, (x, y) in lines.items()}
    kept = Curve(**HOW)
    before = [kept.draw(one, limits=(0, 9), reach=8) for one in (lines, short, lines)]
    kept.draw({"c": lines["a"]})
    kept.draw(lines)
    fresh = Curve(**HOW).draw(lines, limits=(0, 9), reach=8)
    for one in (before[0], before[2], kept.draw(lines, limits=(0, 9), reach=8)):
        assert one.tobytes() == fresh.tobytes()
    assert before[1].tobytes() != fresh.tobytes()


def test_a_frame_does_not_draw_the_axes_again(monkeypatch):
    kept, drawn = Curve(**HOW), []
    real = kept._canvas.draw
    monkeypatch.setattr(kept._canvas, "draw", lambda: (drawn.append(1), real()))
    for count in range(1, 6):
        kept.draw({"a": (np.arange(count), np.ones(count))}, limits=(0, 2), reach=5)
    assert len(drawn) == 1


def test_a_line_is_a_row_of_any_kind_or_a_pair_of_rows():
    wanted = figures.curve({"a": [1.0, 3.0]}, **HOW)
    for row in ((1.0, 3.0), np.array([1.0, 3.0]), ([0, 1], [1.0, 3.0])):
        assert figures.curve({"a": row}, **HOW).tobytes() == wanted.tobytes(), row
