"""Curves that grow while a panel works: drawn by hand in two or three milliseconds.

A frame may come ten times a second, and matplotlib's axes take thirty milliseconds or more. For
a picture that is drawn once, `figures.curve` is the better one: it has a scale on both axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from labsupport.ui import ink

Limits = tuple[float, float]
_LEFT, _HEAD, _FOOT, _GAP = 44, 12, 22, 14  # pixels: the scale, above, below, before the names


def traces(
    lines: Mapping[str, Sequence[float]],
    *,
    across: str,
    up: str,
    limits: Limits,
    log: bool = False,
    size: tuple[int, int] = (360, 200),
) -> Image.Image:
    """Named rows of numbers as lines, each with its name at its end.

    `up` stands below the scale, from `limits[0]` to `limits[1]`; values beyond lie on its edge.
    `log` makes each step of the scale a factor of ten. `across` tells how far the lines reach.
    """
    sheet = Image.new("RGB", size, ink.GROUND)
    pen = ImageDraw.Draw(sheet)
    names = {name: ink.fit(name, size[0] // 3) for name in lines}
    right = size[0] - _GAP - max(ink.measure(name) for name in names.values()) - 4
    bottom = size[1] - _FOOT
    low, high = (math.log10(end) for end in limits) if log else limits

    def level(value: float) -> float:
        value = math.log10(max(value, limits[0])) if log else value
        return bottom - (bottom - _HEAD) * min(max((value - low) / (high - low), 0.0), 1.0)

    for value, words in _scale(limits, log):
        pen.line((_LEFT, level(value), right, level(value)), fill=ink.RULE)
        ink.write(sheet, (_LEFT - 6, level(value)), words, anchor="rm")
    ink.write(sheet, (right, size[1] - 2), across, anchor="rs")
    ink.write(sheet, (_LEFT, size[1] - 2), up, anchor="ls")
    ends = {name: level(line[-1]) for name, line in lines.items()}
    places = apart(ends, _HEAD, bottom)
    for place, (name, line) in enumerate(lines.items()):
        colour = ink.SERIES[place % len(ink.SERIES)]
        step = (right - _LEFT) / max(1, len(line) - 1)
        points = [(_LEFT + step * k, level(value)) for k, value in enumerate(line)]
        pen.line(points if len(points) > 1 else points * 2, fill=colour, width=2)
        pen.line((right, ends[name], right + _GAP - 4, places[name]), fill=colour, width=1)
        ink.write(sheet, (right + _GAP, places[name]), names[name], anchor="lm")
    return sheet


def _scale(limits: Limits, log: bool) -> list[tuple[float, str]]:
    if not log:
        return ink.ticks(*limits)
    powers = range(math.ceil(math.log10(limits[0])), math.floor(math.log10(limits[1])) + 1)
    return [(10.0**power, f"{10.0**power:g}") for power in powers]


def apart(levels: Mapping[str, float], top: float, bottom: float) -> dict[str, float]:
    """Where names stand beside their lines' ends: at least a line of text apart."""
    names = sorted(levels, key=lambda name: levels[name])
    found: dict[str, float] = {}
    last = top - ink.LINE
    for place, name in enumerate(names):
        after = len(names) - 1 - place
        last = max(last + ink.LINE, min(levels[name], bottom - after * ink.LINE))
        found[name] = last
    return found
