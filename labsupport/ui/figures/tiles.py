"""Many pictures in one: a mosaic of tiles, and pictures of any size side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from labsupport.core.errors import BadImage, BadSetting
from labsupport.ui import ink
from labsupport.ui.figures.colours import (
    Bytes,
    Picture,
    Pixels,
    as_array,
    blank,
    check_whole,
    pixels,
    repeated,
    to_bytes,
)

Words: TypeAlias = Sequence[str] | None


def mosaic(
    tiles: Sequence[Pixels] | Pixels,
    *,
    columns: int | None = None,
    gap: int = 2,
    enlarge: int = 1,
    titles: Words = None,
    rows: Words = None,
    values: Sequence[float | str] | None = None,
    chosen: int | None = None,
) -> Picture:
    """Tiles (N, 3, H, W), (N, H, W) or a list of pictures, row by row in one picture.

    `titles` stand above the tiles, `rows` left of each row, `values` in white on each tile's lower
    left corner; the tile `chosen` is framed. Unequal tiles are centred in equal cells.
    """
    check_whole("enlarge", enlarge)
    arrays = [repeated(tile, enlarge) for tile in _tiles(tiles)]
    columns = columns or _columns(len(arrays))
    check_whole("columns", columns)
    check_count("titles", titles, len(arrays))
    check_count("values", values, len(arrays))
    check_count("rows", rows, math.ceil(len(arrays) / columns))
    grid = _Grid(arrays, columns, gap, titles, rows)
    sheet = grid.sheet()
    for index, words in enumerate(in_words(values)):
        left, _, _, bottom = grid.box(index)
        ink.write_over(sheet, (left + 4, bottom - 4), words, anchor="ls")
    if chosen is not None:
        left, top, right, bottom = grid.box(chosen)
        frame = (left - 2, top - 2, right + 1, bottom + 1)
        ImageDraw.Draw(sheet).rectangle(frame, outline=ink.ACCENT, width=2)
    return sheet


def _tiles(tiles: Sequence[Pixels] | Pixels) -> list[Bytes]:
    if isinstance(tiles, Image.Image):
        return [pixels(tiles)]
    if not hasattr(tiles, "shape"):
        shown = [pixels(tile) for tile in tiles]
    else:
        stack = as_array(tiles)
        if stack.ndim == 4 and stack.shape[1] in (1, 3) and stack.dtype != np.uint8:
            stack = stack.transpose(0, 2, 3, 1)
        elif stack.ndim == 3:
            stack = stack[..., None]
        if stack.ndim != 4 or stack.shape[3] not in (1, 3):
            raise BadImage(
                f"Tiles have the shape (N, 3, H, W) or (N, H, W); these are {stack.shape}."
            )
        shown = list(np.broadcast_to(to_bytes(stack), (*stack.shape[:3], 3))) if stack.size else []
    if not shown:
        raise BadImage("A mosaic needs at least one tile; there are none.")
    return shown


def _columns(count: int) -> int:
    """Nearly a square, a little wider than high, with a full last row where that is possible."""
    root = math.ceil(math.sqrt(count))
    full = [n for n in range(root, min(2 * root, count) + 1) if count % n == 0]
    return full[0] if full else root


def check_count(name: str, given: Sequence[Any] | None, count: int) -> None:
    if given is not None and len(given) != count:
        raise BadSetting(f"{name} has {len(given)} entries; this picture needs {count}.")


def in_words(values: Sequence[float | str] | None) -> list[str]:
    given = [] if values is None else values
    return [value if isinstance(value, str) else ink.number(float(value)) for value in given]


class _Grid:
    """Where each cell of a mosaic stands, with room for the words around it."""

    def __init__(
        self, arrays: Sequence[Bytes], columns: int, gap: int, titles: Words, rows: Words
    ) -> None:
        self.arrays, self.columns, self.rows = arrays, columns, rows or ()
        self.gap = max(gap, 8) if titles else gap
        self.height = max(array.shape[0] for array in arrays)
        longest = max((ink.measure(title) for title in titles or ()), default=0)
        self.width = max(min(longest, 88), *(array.shape[1] for array in arrays))
        self.words = [ink.wrap(title, self.width) for title in titles or ()]
        self.head = ink.LINE * max((len(lines) for lines in self.words), default=0)
        self.head += 4 if self.words else 0
        self.side = min(max((ink.measure(row) for row in rows or ()), default=-8) + 8, 140)

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top of a cell, below its title."""
        line, column = divmod(index, self.columns)
        left = self.side + self.gap + column * (self.width + self.gap)
        return left, self.gap + self.head + line * (self.height + self.head + self.gap)

    def box(self, index: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of a tile, which is centred in its cell."""
        left, top = self.corner(index)
        height, width = self.arrays[index].shape[:2]
        left, top = left + (self.width - width) // 2, top + (self.height - height) // 2
        return left, top, left + width, top + height

    def sheet(self) -> Picture:
        count = len(self.arrays)
        right = self.corner(min(self.columns, count) - 1)[0] + self.width + self.gap
        sheet = blank(right, self.corner(count - 1)[1] + self.height + self.gap)
        for index, array in enumerate(self.arrays):
            sheet.paste(Image.fromarray(array), self.box(index)[:2])
        self._label(sheet)
        return sheet

    def _label(self, sheet: Picture) -> None:
        for index, lines in enumerate(self.words):
            left, top = self.corner(index)
            first = top - 4 - ink.LINE * len(lines)
            for line, words in enumerate(lines):
                middle = (left + self.width / 2, first + ink.LINE * (line + 0.5))
                ink.write(sheet, middle, words, anchor="mm")
        for line, row in enumerate(self.rows):
            _, top = self.corner(line * self.columns)
            place = (self.side - 4, top + self.height / 2)
            ink.write(sheet, place, ink.fit(row, self.side - 4), anchor="rm")


def side_by_side(
    pictures: Sequence[Pixels],
    titles: Words = None,
    *,
    columns: int | None = None,
    gap: int = 16,
) -> Picture:
    """Pictures of any size in a row (or in rows of `columns`), tops aligned, titles above."""
    check_count("titles", titles, len(pictures))
    if not pictures:
        raise BadImage("There is no picture to put side by side.")
    parts = [Image.fromarray(pixels(picture)) for picture in pictures]
    if titles:
        parts = _titled(parts, titles)
    columns = columns or len(parts)
    lines = [parts[start : start + columns] for start in range(0, len(parts), columns)]
    widths = [max(p.width for p in parts[place::columns]) for place in range(len(lines[0]))]
    heights = [max(p.height for p in line) for line in lines]
    sheet = blank(sum(widths) + gap * (len(widths) - 1), sum(heights) + gap * (len(lines) - 1))
    for row, line in enumerate(lines):
        top = sum(heights[:row]) + gap * row
        for place, part in enumerate(line):
            sheet.paste(part, (sum(widths[:place]) + gap * place, top))
    return sheet


def _titled(parts: Sequence[Picture], titles: Sequence[str]) -> list[Picture]:
    """Each with its title above, left-aligned, which is where the eye starts; one that needs fewer
    lines than another has room above, so that the pictures' tops are aligned."""
    look: dict[str, Any] = {"size": ink.TITLE, "bold": True}
    wrapped = [
        ink.wrap(title, max(part.width, 96), **look)
        for part, title in zip(parts, titles, strict=True)
    ]
    high, most = ink.LINE + 2, max(map(len, wrapped))
    sheets = []
    for part, lines in zip(parts, wrapped, strict=True):
        widest = max(part.width, *(ink.measure(line, **look) for line in ["", *lines]))
        sheets.append(blank(widest, part.height + most * high + 4))
        for row, line in enumerate(lines, start=most - len(lines)):
            ink.write(sheets[-1], (0, row * high), line, **look)
        sheets[-1].paste(part, (0, most * high + 4))
    return sheets


def seams(sheet: Picture, right: NDArray[Any], below: NDArray[Any], *, tile: int, gap: int) -> None:
    """Red lines on a mosaic of `tile` pixels with `gap` between: right of each tile and below it.

    `right` and `below` (rows, columns) run from 0, no line, to 1, full red over the whole gap;
    what is not finite has none.
    """
    pen, step = ImageDraw.Draw(sheet), tile + gap
    for table, sideways in ((right, True), (below, False)):
        for row, column in np.argwhere(np.isfinite(table)).tolist():
            strength = float(min(max(table[row, column], 0.0), 1.0))
            pale = round(255 * (1 - strength) ** 1.5)
            begin = (column + sideways) * step + gap / 2, (row + (not sideways)) * step + gap / 2
            end = begin[0] + step * (not sideways), begin[1] + step * sideways
            red = (255 - round(40 * strength), pale, pale)
            pen.line((*begin, *end), fill=red, width=max(1, round(gap * strength)))
