"""Pictures for a notebook. Every function returns a new RGB picture; none shows or saves it.

All of them take images in any of these forms: a tensor or array (3, H, W), (1, 3, H, W) or (H, W)
in [0, 1], an array (H, W, 3) of bytes, or a Pillow picture. Pixels are only ever enlarged by whole
numbers, so what is seen is what was computed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from labsupport.core.errors import BadImage, BadSetting, nearest
from labsupport.ui import curves, ink

if TYPE_CHECKING:
    import torch
    from IPython.display import Image as ShownImage

    from labsupport.core.network import Prediction

Picture: TypeAlias = Image.Image
Pixels: TypeAlias = "Picture | NDArray[Any] | torch.Tensor"
Bytes: TypeAlias = NDArray[np.uint8]
Limits: TypeAlias = tuple[float, float]
Words: TypeAlias = Sequence[str] | None

COLOURS = ("viridis", "magma", "signed", "grey")
BAR_WIDTH = 12
PLAIN_SIZE = 224


# ---------------------------------------------------------------- pixels


def pixels(picture: Pixels) -> Bytes:
    """The picture as bytes (H, W, 3); `BadImage` if it is none, not finite, or not in [0, 1].

    >>> pixels(np.array([[0.0, 0.5, 1.0]]))[0, :, 0].tolist()
    [0, 128, 255]
    """
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    values = as_array(picture)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.dtype != np.uint8:
        values = values.transpose(1, 2, 0)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or 0 in values.shape:
        raise BadImage(
            f"This is no picture: its shape is {np.shape(picture)}. "
            "One picture has the shape (3, height, width), or (height, width) if it is grey."
        )
    return np.ascontiguousarray(np.broadcast_to(_to_bytes(values), (*values.shape[:2], 3)))


def as_array(values: Any) -> NDArray[Any]:
    """A tensor (from any device, with or without a gradient) or a list as a numpy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    return np.asarray(values)


def _to_bytes(values: NDArray[Any]) -> Bytes:
    if values.dtype == np.uint8:
        return np.asarray(values, dtype=np.uint8)
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadImage("The picture holds values that are not finite (NaN or infinity).")
    if low < -1e-3 or high > 1 + 1e-3:
        raise BadImage(
            f"The picture's values run from {low:.3g} to {high:.3g}; a picture lives in [0, 1]. "
            "Weights and gradients go through figures.spread(values) first."
        )
    return np.asarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8))


def enlarge(picture: Pixels, times: int) -> Picture:
    """Every pixel becomes a square of `times` x `times` pixels."""
    _whole("times", times)
    return Image.fromarray(_repeat(pixels(picture), times))


def tile(image: torch.Tensor, side: int) -> Picture:
    """An image (1, 3, H, W) with its longer side of about `side` pixels.

    A small one is enlarged by a whole number, a large one made smaller.
    """
    from labsupport.core import images

    height, width = image.shape[2:]
    share = side / max(height, width)
    if share < 1:
        image = images.resize(image, (max(1, round(height * share)), max(1, round(width * share))))
    return enlarge(image, max(1, int(share)))


def _repeat(values: NDArray[Any], times: int) -> NDArray[Any]:
    """(..., H, W, 3) -> (..., H * times, W * times, 3)"""
    return values if times == 1 else values.repeat(times, axis=-3).repeat(times, axis=-2)


def _whole(name: str, value: int) -> None:
    if value != int(value) or value < 1:
        raise BadSetting(f"{name} is {value}; it must be a whole number from 1 upwards.")


# ---------------------------------------------------------------- numbers as colours


def paint(
    values: Pixels | ArrayLike, *, colours: str = "viridis", limits: Limits | None = None
) -> Bytes:
    """Numbers (...) as colours (..., 3); what is not finite turns grey.

    "signed" is blue below zero, white at zero and red above, and always symmetric around zero;
    "viridis", "magma" and "grey" run from the smallest to the largest value, or over `limits`.
    """
    numbers = np.asarray(as_array(values), dtype=np.float64)
    low, high = scale_of(numbers, colours=colours, limits=limits)
    known = np.isfinite(numbers)
    places = np.where(known, (numbers - low) / (high - low), 0.0)
    steps = _palette(colours)
    painted: Bytes = steps[np.rint(np.clip(places, 0, 1) * (len(steps) - 1)).astype(np.intp)]
    painted[~known] = ink.MISSING
    return painted


def scale_of(
    values: NDArray[Any], *, colours: str = "viridis", limits: Limits | None = None
) -> Limits:
    """The two values at the ends of the colour scale; they always differ."""
    known = values[np.isfinite(values)]
    if limits is None:
        limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise BadSetting(
            f"limits are {limits}; they must be two finite numbers, the smaller first."
        )
    if colours == "signed":
        high = max(abs(low), abs(high))
        low = -high
    if high > low:
        return low, high
    return (
        (low - 0.5, high + 0.5) if colours == "signed" else (low, low + max(abs(low), 1.0) * 1e-6)
    )


@cache
def _palette(name: str) -> Bytes:
    """The colour map's steps (257, 3): an odd number, so that zero is one of them."""
    import matplotlib

    if name not in COLOURS:
        raise BadSetting(
            f"There is no colour map {name!r} here. Nearest: {', '.join(nearest(name, COLOURS))}."
        )
    shipped = {"signed": "RdBu_r", "grey": "gray"}.get(name, name)
    colours = matplotlib.colormaps[shipped].resampled(257)(np.arange(257), bytes=True)
    steps = np.array(colours[:, :3], dtype=np.uint8)
    steps.setflags(write=False)
    return steps


def spread(values: Pixels | ArrayLike, *, shared: bool = False) -> NDArray[Any]:
    """Weights or gradients (N, ...) moved into [0, 1] for showing: zero becomes 0.5, middle grey.

    Each of the N is divided by its own largest absolute value, or all by one, if `shared`.

    >>> spread(np.array([[-2.0, 0.0, 1.0]])).tolist()
    [[0.0, 0.5, 0.75]]
    """
    numbers = np.asarray(as_array(values), dtype=np.float32)
    axes = None if shared else tuple(range(1, numbers.ndim))
    largest = np.abs(numbers).max(axis=axes, keepdims=True)
    return np.asarray(0.5 + numbers / np.where(largest > 0, 2 * largest, 1))


# ---------------------------------------------------------------- many tiles


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
    _whole("enlarge", enlarge)
    arrays = [_repeat(tile, enlarge) for tile in _tiles(tiles)]
    columns = columns or _columns(len(arrays))
    _whole("columns", columns)
    _same_count("titles", titles, len(arrays))
    _same_count("values", values, len(arrays))
    _same_count("rows", rows, math.ceil(len(arrays) / columns))
    grid = _Grid(arrays, columns, gap, titles, rows)
    sheet = grid.sheet()
    for index, words in enumerate(_in_words(values)):
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
        shown = list(np.broadcast_to(_to_bytes(stack), (*stack.shape[:3], 3))) if stack.size else []
    if not shown:
        raise BadImage("A mosaic needs at least one tile; there are none.")
    return shown


def _columns(count: int) -> int:
    """Nearly a square, a little wider than high, with a full last row where that is possible."""
    root = math.ceil(math.sqrt(count))
    full = [n for n in range(root, min(2 * root, count) + 1) if count % n == 0]
    return full[0] if full else root


def _same_count(name: str, given: Sequence[Any] | None, count: int) -> None:
    if given is not None and len(given) != count:
        raise BadSetting(f"{name} has {len(given)} entries; this picture needs {count}.")


def _in_words(values: Sequence[float | str] | None) -> list[str]:
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
        sheet = _blank(right, self.corner(count - 1)[1] + self.height + self.gap)
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
    _same_count("titles", titles, len(pictures))
    if not pictures:
        raise BadImage("There is no picture to put side by side.")
    parts = [Image.fromarray(pixels(picture)) for picture in pictures]
    if titles:
        parts = _titled(parts, titles)
    columns = columns or len(parts)
    lines = [parts[start : start + columns] for start in range(0, len(parts), columns)]
    widths = [max(p.width for p in parts[place::columns]) for place in range(len(lines[0]))]
    heights = [max(p.height for p in line) for line in lines]
    sheet = _blank(sum(widths) + gap * (len(widths) - 1), sum(heights) + gap * (len(lines) - 1))
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
        sheets.append(_blank(widest, part.height + most * high + 4))
        for row, line in enumerate(lines, start=most - len(lines)):
            ink.write(sheets[-1], (0, row * high), line, **look)
        sheets[-1].paste(part, (0, most * high + 4))
    return sheets


def note(words: str, side: int, *, size: int = 20) -> Picture:
    """A pale square with words in its middle, in letters of `size` pixels: a picture's place."""
    sheet = Image.new("RGB", (side, side), ink.PAPER)
    lines = ink.wrap(words, side - 2 * size, size, lines=max(1, side // (2 * size)))
    for row, line in enumerate(lines):
        level = side / 2 + (row - (len(lines) - 1) / 2) * 1.3 * size
        ink.write(sheet, (side / 2, level), line, size=size, colour=ink.QUIET, anchor="mm")
    return sheet


def _blank(width: int, height: int) -> Picture:
    return Image.new("RGB", (max(width, 1), max(height, 1)), ink.GROUND)


# ---------------------------------------------------------------- maps of numbers


def heat_map(
    values: Pixels | ArrayLike,
    *,
    colours: str = "viridis",
    limits: Limits | None = None,
    enlarge: int | None = None,
    label: str = "",
    bar: bool = True,
) -> Picture:
    """Numbers (H, W) as colours, with the scale beside them.

    Without `enlarge`, a small map is enlarged by the whole number that brings it nearest to 224
    pixels. Values that are not finite are grey: nothing was computed there.
    """
    numbers = _map(values)
    times = enlarge or max(1, round(PLAIN_SIZE / max(numbers.shape)))
    _whole("enlarge", times)
    painted = paint(numbers, colours=colours, limits=limits)
    picture = Image.fromarray(_repeat(painted, times))
    if not bar:
        return picture
    ends = scale_of(numbers, colours=colours, limits=limits)
    return _with_bar(picture, ends, colours=colours, words=label)


def overlay(
    image: Pixels,
    heat: Pixels | ArrayLike,
    *,
    opacity: float = 0.6,
    colours: str = "viridis",
    limits: Limits | None = None,
    label: str = "",
    bar: bool = True,
    fade: bool = False,
) -> Picture:
    """A map of numbers laid over the image it belongs to, with the scale beside them.

    `opacity` runs from 0 (the image alone) to 1 (the map alone). A coarser map is spread over the
    image's pixels, each number a rectangle. Where the map is not finite, the image stays as it is.
    With `fade` the map is the clearer the nearer its numbers are to zero, so that the image is
    seen where nothing happens.
    """
    if not 0 <= opacity <= 1:
        raise BadSetting(f"opacity is {opacity}; it runs from 0 (image alone) to 1 (map alone).")
    ground = pixels(image).astype(np.float32)
    numbers = _map(heat)
    spots = stretched(numbers, ground.shape[0], ground.shape[1])
    painted = paint(spots, colours=colours, limits=limits).astype(np.float32)
    share = np.where(np.isfinite(spots), opacity, 0.0).astype(np.float32)[..., None]
    # the image turns grey as the map covers it: its own colours would be read as values
    grey = ground @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    ground = ground + (grey[..., None] - ground) * np.minimum(1.0, 2 * share)
    ends = scale_of(numbers, colours=colours, limits=limits)
    if fade:
        share = share * _strength(spots, ends)[..., None]
    picture = Image.fromarray((ground + (painted - ground) * share + 0.5).astype(np.uint8))
    return _with_bar(picture, ends, colours=colours, words=label) if bar else picture


def _strength(numbers: NDArray[Any], ends: Limits) -> NDArray[np.float32]:
    """How far each number is from zero, 0 to 1; even a small one leaves a trace."""
    most = max(abs(ends[0]), abs(ends[1]))
    size = np.minimum(np.abs(np.nan_to_num(numbers)) / most, 1.0)
    strength: NDArray[np.float32] = np.sqrt(size).astype(np.float32)
    return strength


def _map(values: Pixels | ArrayLike) -> NDArray[Any]:
    numbers = as_array(values).astype(np.float64)
    shape = numbers.shape
    while numbers.ndim > 2 and len(numbers) == 1:
        numbers = numbers[0]
    if numbers.ndim != 2 or not numbers.size:
        raise BadImage(f"A heat map has the shape (height, width); this one is {shape}.")
    return numbers


def stretched(numbers: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The map's nearest value at each of height x width pixels."""
    rows = np.arange(height) * numbers.shape[0] // height
    columns = np.arange(width) * numbers.shape[1] // width
    spread_out: NDArray[Any] = numbers[rows[:, None], columns]
    return spread_out


def _with_bar(picture: Picture, ends: Limits, *, colours: str, words: str) -> Picture:
    """The picture with its colour scale at the right: the top edges stay aligned."""
    height = max(picture.height, 96)
    low, high = ends
    marks = ink.ticks(low, high, count=max(2, min(9, height // 40)))
    name = ink.upright(words, height) if words else None
    numbers = max(ink.measure(text) for _, text in marks)
    bar_left = picture.width + 10
    name_left = bar_left + BAR_WIDTH + 8 + numbers + 4
    sheet = _blank(name_left + (name.width + 2 if name else 0), height)
    sheet.paste(picture, (0, 0))
    steps = paint(np.linspace(high, low, height)[:, None], colours=colours, limits=ends)
    sheet.paste(Image.fromarray(steps.repeat(BAR_WIDTH, axis=1)), (bar_left, 0))
    for value, text in marks:
        level = (high - value) / (high - low) * (height - 1)
        edge = bar_left + BAR_WIDTH
        ImageDraw.Draw(sheet).line((edge, level, edge + 3, level), fill=ink.INK)
        place = (edge + 6, min(max(level, 6), height - 7))
        ink.write(sheet, place, text, anchor="lm")
    if name:
        sheet.paste(name, (name_left, (height - name.height) // 2))
    return sheet


def boxes(
    image: Pixels,
    boxes: Sequence[Sequence[float]],
    values: Sequence[float | str] | None = None,
    *,
    enlarge: int = 1,
) -> Picture:
    """Boxes (left, top, right, bottom), in image pixels, drawn in white, each with its value.

    A dark line on either side of the white one keeps a box readable on any ground.
    """
    _same_count("values", values, len(boxes))
    picture = Image.fromarray(_repeat(pixels(image), enlarge))
    words = _in_words(values)
    pen = ImageDraw.Draw(picture)
    for place, box in enumerate(boxes):
        left, top, right, bottom = (float(edge) * enlarge for edge in box)
        if not (left < right and top < bottom):
            raise BadSetting(
                f"A box is (left, top, right, bottom), left < right; not {tuple(box)}."
            )
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, picture.width) - 1, min(bottom, picture.height) - 1
        for inset, colour, width in ((0, ink.INK, 4), (1, ink.GROUND, 2)):
            edges = (left + inset, top + inset, right - inset, bottom - inset)
            if edges[0] <= edges[2] and edges[1] <= edges[3]:
                pen.rectangle(edges, outline=colour, width=width)
        if words:
            _write_inside(picture, (left + 7, bottom - 7), words[place])
    return picture


def _write_inside(picture: Picture, place: tuple[float, float], words: str) -> None:
    """White words from `place` on, moved so that they stay on the picture."""
    left = min(place[0], picture.width - ink.measure(words) - 3)
    ink.write_over(picture, (max(left, 3), max(place[1], 14)), words, anchor="ls")


# ---------------------------------------------------------------- bars and curves


def bars(
    predictions: Sequence[Prediction], *, width: int = 360, highlight: str | None = None
) -> Picture:
    """A row for each prediction: name, bar from 0 to 1, and the probability in per cent.

    The row named `highlight` (the first one if there is none) has the accent colour and bold type.
    """
    if not predictions:
        raise BadSetting("There are no predictions to draw.")
    number = ink.measure("> 99.9 %", bold=True) + 4
    longest = max(ink.measure(bar.name, bold=True) for bar in predictions)
    names = min(longest, width // 2)
    room = width - names - number - 16
    strong = highlight or predictions[0].name
    rows = [ink.wrap(bar.name, names, bold=bar.name == strong) for bar in predictions]
    heights = [ink.LINE * max(len(row), 1) + 8 for row in rows]
    sheet = _blank(width, sum(heights))
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


Axes: TypeAlias = curves.Axes
drawn = curves.drawn


# ---------------------------------------------------------------- out of here


def show(picture: Pixels, alt: str, scale: int = 1) -> ShownImage:
    """What a notebook cell ends with: the picture as PNG, with words for who cannot see it.

    `alt` says what there is to see; `scale` enlarges by a whole number.
    """
    from IPython.display import Image as Shown

    if not alt.strip():
        raise BadSetting("A picture needs alt: one sentence that says what there is to see.")
    shown = enlarge(picture, scale)
    return Shown(  # type: ignore[no-untyped-call]  # IPython's Image has no annotations
        data=to_png(shown), format="png", width=shown.width, alt=alt
    )


def to_png(picture: Picture) -> bytes:
    """The picture as a PNG file's bytes; `images.save` writes a file, with its settings."""
    file = io.BytesIO()
    # level 1: a third of the time for a fifth more bytes; a panel redraws while a slider moves
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
