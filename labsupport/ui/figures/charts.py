"""Numbers as bars, curves, tables and matrices; legends for what has colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ImageColor, ImageDraw

from labsupport.core.errors import BadSetting
from labsupport.ui import curves, ink
from labsupport.ui.figures.colours import Bytes, Limits, Picture, as_array, blank, enlarge

if TYPE_CHECKING:
    from labsupport.core.network import Prediction

Cell: TypeAlias = tuple[str, float | None]  # words, and the share of the longest bar (None: none)

_ROW = 21  # pixels from row to row of a table or a legend
_BAR = 92  # the longest bar of a table


def bars(
    predictions: Sequence[Prediction], *, width: int = 360, highlight: str | None = None
) -> Picture:
    """A row for each prediction: name, bar from 0 to 1, and the probability in per cent.

    The row named `highlight` (the first one if there is none) has the accent colour and bold type.
    """
    if not predictions:
        raise BadSetting("There are no predictions to draw.")
    number = ink.measure("> 99.9 %", bold=True) + 4
    names = 2 * width // 5  # for any names: bars of two pictures can be compared by eye
    room = width - names - number - 16
    strong = highlight or predictions[0].name
    rows = [ink.wrap(bar.name, names, bold=bar.name == strong) for bar in predictions]
    heights = [ink.LINE * max(len(row), 1) + 8 for row in rows]
    sheet = blank(width, sum(heights))
    pen = ImageDraw.Draw(sheet)
    for place, (bar, row) in enumerate(zip(predictions, rows, strict=True)):
        bold = bar.name == strong
        middle = sum(heights[:place]) + heights[place] / 2
        for line, words in enumerate(row):
            level = middle + (line - (len(row) - 1) / 2) * ink.LINE
            ink.write(sheet, (names, level), words, bold=bold, anchor="rm")
        left, right = names + 8, names + 8 + room
        pen.rectangle((left, middle - 7, right, middle + 6), fill=(240, 240, 240))
        end = left + round(room * min(max(bar.probability, 0.0), 1.0))
        if end > left:
            colour = ink.ACCENT if bold else (140, 140, 140)
            pen.rectangle((left, middle - 7, end, middle + 6), fill=colour)
        words = per_cent(bar.probability)
        ink.write(sheet, (width - 1, middle), words, bold=bold, anchor="rm")
    return sheet


def per_cent(share: float) -> str:
    """A probability, or another share, in words that never say 100 % or 0 % of what is not.

    >>> per_cent(0.9649), per_cent(0.99999), per_cent(0.0000001), per_cent(1.0), per_cent(2.5)
    ('96.5 %', '> 99.9 %', '< 0.1 %', '100 %', '250 %')
    """
    if share >= 1 or share <= 0:
        return f"{max(share, 0):.0%}".replace("%", " %")
    if share > 0.9995:
        return "> 99.9 %"
    return f"{share:.1%}".replace("%", " %") if share >= 0.0005 else "< 0.1 %"


def curve(
    lines: Mapping[str, ArrayLike | tuple[ArrayLike, ArrayLike]],
    *,
    across: str,
    up: str,
    size: tuple[int, int] = (480, 300),
    limits: Limits | None = None,
    reach: float | None = None,
    log: bool = False,
    points: bool = False,
) -> Picture:
    """Named lines over one pair of axes; each is a row of numbers, or a pair (x, y) of rows.

    `across` and `up` are the axes' labels, `limits` those of the upward axis, `reach` the right end
    of the other one, `log` makes the upward axis logarithmic, `points` marks each number. Colours
    and dashes both tell the lines apart. The axes are kept: while the limits stay the same, a
    picture costs a few milliseconds.
    """
    pairs = {name: _pair(line) for name, line in lines.items()}
    kept = curves.curve_for(across=across, up=up, size=size, log=log, points=points)
    return kept.draw(pairs, limits=limits, reach=reach)


def _pair(line: ArrayLike | tuple[ArrayLike, ArrayLike]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both rows of a line; one row of numbers is counted from zero."""
    if isinstance(line, tuple) and len(line) == 2 and np.ndim(line[0]) == 1:
        return as_array(line[0]), as_array(line[1])
    row = as_array(line)
    return np.arange(len(row)), row


def legend(
    entries: Iterable[tuple[str, ink.Colour | str]], *, width: int | None = None, row: bool = False
) -> Picture:
    """Each (name, colour) as a square and words, one below the other, or in a `row`.

    The sheet is as wide as the names; in `width` pixels longer ones end in an ellipsis.
    """
    known = [(ink.fit(name, (width or 10_000) - 24), colour) for name, colour in entries]
    wide = [20 + ink.measure(name) for name, _ in known]
    places = [(sum(wide[:i]) + 24 * i, 0) if row else (0, _ROW * i) for i in range(len(known))]
    right = max((left + one for (left, _), one in zip(places, wide, strict=True)), default=0)
    sheet = blank(width or right + 4, _ROW * (1 if row else len(known)))
    for (name, colour), (left, top) in zip(known, places, strict=True):
        shade = ImageColor.getrgb(colour) if isinstance(colour, str) else colour
        sheet.paste(shade, (left, top + 3, left + 14, top + 17))
        ink.write(sheet, (left + 20, top + 10), name, anchor="lm")
    return sheet


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    colours: Sequence[ink.Colour] | None = None,
) -> Picture:
    """A table whose cells may carry a bar beside their words.

    `colours` are those of the bars, row by row.
    """
    columns = list(zip(*rows, strict=True))
    barred = [any(share is not None for _, share in column) for column in columns]
    widths = [
        max(ink.measure(words) for words, _ in column) + (_BAR + 6 if has_bar else 0)
        for column, has_bar in zip(columns, barred, strict=True)
    ]
    widths = [max(w, ink.measure(h, bold=True)) + 20 for w, h in zip(widths, heads, strict=True)]
    sheet = blank(sum(widths), _ROW * (len(rows) + 1) + 6)
    pen = ImageDraw.Draw(sheet)
    lefts = [sum(widths[:place]) for place in range(len(widths))]
    for left, head in zip(lefts, heads, strict=True):
        ink.write(sheet, (left, _ROW / 2), head, bold=True, anchor="lm")
    pen.line((0, _ROW, sheet.width, _ROW), fill=ink.RULE)
    for number, row in enumerate(rows):
        middle = _ROW * (number + 1.5) + 3
        colour = colours[number] if colours else ink.ACCENT
        for place, (words, share) in enumerate(row):
            left = lefts[place]
            if share:
                length = round(_BAR * share)
                pen.rectangle((left, middle - 6, left + max(length, 1), middle + 5), fill=colour)
            if barred[place]:
                left += _BAR + 6
            ink.write(sheet, (left, middle), words, anchor="lm")
    return sheet


def slabs(
    parts: Sequence[tuple[str, float, float, ink.Colour]], *, size: tuple[int, int] = (760, 150)
) -> Picture:
    """A row of slabs on one middle line: (name, width, height from 0 to 1, colour) of each.

    The widths are shares of what there is, and none is wider than 2.5 pixels for each unit. A
    name stands below its slab where there is room for it.
    """
    wide = sum(width for _, width, _, _ in parts)
    gap = 3.0 if len(parts) > 20 else 8.0
    squeeze = min(2.5, (size[0] - gap * (len(parts) + 1)) / wide)
    sheet = blank(size[0], size[1] + 66)
    pen, left, middle = ImageDraw.Draw(sheet), gap, 4 + size[1] / 2
    for name, width, share, colour in parts:
        right, half = left + width * squeeze, (6 + (size[1] - 6) * share) / 2
        box = (left, middle - half, right, middle + half)
        pen.rectangle(box, fill=colour, outline=ink.INK)
        if right - left + gap >= 11:
            line = ink.upright(name, 52, size=10)
            sheet.paste(line, (round((left + right) / 2 - line.width / 2), size[1] + 8))
        left = right + gap
    return sheet


def matrix(
    colours: Bytes,
    words: Sequence[Sequence[str]],
    *,
    cell: int = 34,
    size: int = ink.TEXT,
    crossed: NDArray[np.bool_] | None = None,
    named: tuple[str, str, Sequence[str]] | None = None,
) -> Picture:
    """Squares of `cell` pixels in these colours (rows, columns, 3), each with its words.

    A cross marks those that are `crossed`. `named` says what a row is, what a column is, and what
    each of them is called, where both are called alike.
    """
    sheet = enlarge(colours, cell)
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(words):
        for column, text in enumerate(line):
            left, top = column * cell, row * cell
            pen.rectangle((left, top, left + cell - 1, top + cell - 1), outline=ink.RULE)
            if crossed is not None and crossed[row, column]:
                _cross(pen, left + cell - 16, top + 6)
            shade = ink.INK if colours[row, column].mean() > 110 else ink.GROUND
            middle = (left + cell / 2, top + cell / 2)
            ink.write(sheet, middle, text, size=size, colour=shade, anchor="mm")
    return sheet if named is None else _with_names(sheet, cell, *named)


def _cross(pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
    pen.line((left, top, left + 9, top + 9), fill=ink.QUIET, width=2)
    pen.line((left, top + 9, left + 9, top), fill=ink.QUIET, width=2)


def _with_names(
    squares: Picture, cell: int, down: str, across: str, names: Sequence[str]
) -> Picture:
    """The squares with a name at each row and each column, and what these are."""
    edge = max(map(ink.measure, names)) + 36
    sheet = blank(edge + squares.width, 44 + squares.height)
    sheet.paste(squares, (edge, 44))
    ink.write(sheet, (edge + squares.width / 2, 10), across, bold=True, anchor="mm")
    sheet.paste(ink.upright(down, squares.height), (4, 44 + squares.height // 2 - 20))
    for place, name in enumerate(names):
        middle = (place + 0.5) * cell
        ink.write(sheet, (edge - 8, 44 + middle), name, anchor="rm")
        ink.write(sheet, (edge + middle, 32), name, anchor="mm")
    return sheet
