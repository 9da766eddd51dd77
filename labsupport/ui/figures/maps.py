"""Maps of numbers as colours, alone or laid over an image, with their scale; boxes on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageColor, ImageDraw

from labsupport.core.errors import BadImage, BadSetting
from labsupport.ui import ink
from labsupport.ui.figures.charts import legend
from labsupport.ui.figures.colours import (
    Limits,
    Picture,
    Pixels,
    as_array,
    blank,
    check_whole,
    paint,
    pixels,
    repeated,
    scale_of,
)
from labsupport.ui.figures.tiles import check_count, in_words, side_by_side

BAR_WIDTH = 12
PLAIN_SIZE = 224


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
    check_whole("enlarge", times)
    painted = paint(numbers, colours=colours, limits=limits)
    picture = Image.fromarray(repeated(painted, times))
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


def labelled(
    image: Pixels,
    labels: NDArray[Any],
    names: Mapping[int, tuple[str, str]],
    *,
    opacity: float = 0.8,
) -> Picture:
    """An image whose pixels have the colour of their label (H, W), with a legend beside it.

    `names` has the name and the colour of each label; those that it leaves out are grey.
    """
    others = set(labels.flatten().tolist()) - set(names)
    painted = np.full((*labels.shape, 3), ink.MISSING, dtype=np.float64)
    for label, (_, colour) in names.items():
        painted[labels == label] = ImageColor.getrgb(colour)
    ground = pixels(image).astype(np.float64)
    grey = ground.mean(2, keepdims=True)
    mixed = grey + (painted - grey) * opacity if opacity > 0 else ground
    entries: list[tuple[str, str | ink.Colour]] = list(names.values())
    if others:
        entries.append((f"{len(others)} others", ink.MISSING))
    picture = Image.fromarray(mixed.round().astype(np.uint8))
    return side_by_side([picture, legend(entries, width=200)], gap=12)


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
    sheet = blank(name_left + (name.width + 2 if name else 0), height)
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
    check_count("values", values, len(boxes))
    picture = Image.fromarray(repeated(pixels(image), enlarge))
    words = in_words(values)
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
