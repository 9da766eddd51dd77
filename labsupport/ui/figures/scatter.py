"""Points on a sheet: as dots in the colours of their groups, or as pictures at their places."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageChops, ImageColor, ImageDraw

from labsupport.ui import ink
from labsupport.ui.figures.charts import legend
from labsupport.ui.figures.colours import Picture, as_array, blank
from labsupport.ui.figures.tiles import side_by_side

Window: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom, each 0 to 1
WHOLE: Window = (0, 0, 1, 1)

_CELL = 6  # pixels: how finely pictures are kept apart


def group_colour(group: int) -> ink.Colour:
    """The colour of a group by its number; after ten groups they come again."""
    red, green, blue = ImageColor.getrgb(ink.CATEGORIES[group % len(ink.CATEGORIES)])[:3]
    return red, green, blue


def dots(
    points: ArrayLike,
    labels: ArrayLike,
    names: Sequence[str],
    *,
    size: int = 720,
    radius: float = 3.0,
    counted: bool = True,
) -> Picture:
    """Points (N, 2) as dots in the colour of their group, each group's name at its middle.

    `labels` are places in `names`. With `counted` a legend on the right has the number of points.
    """
    groups, twice = np.asarray(labels), 2 * size
    places = on_sheet(points, twice, 40)
    sheet = np.full((twice, twice, 3), 255, np.uint8)
    order = np.random.default_rng(0).permutation(len(places))  # no group lies on top of all
    columns, rows = places[order].round().astype(int).T
    colours = np.array([group_colour(group) for group in range(len(names))], np.uint8)
    painted = colours[groups[order]]
    reach = range(-math.ceil(2 * radius), math.ceil(2 * radius) + 1)
    for down, across in ((down, across) for down in reach for across in reach):
        if down**2 + across**2 <= (2 * radius) ** 2:
            sheet[(rows + down) % twice, (columns + across) % twice] = painted
    picture = Image.fromarray(sheet).reduce(2)
    _name_groups(picture, places / 2, groups, names)
    return group_legend(picture, groups, names) if counted else picture


def _name_groups(
    picture: Picture, places: NDArray[np.float64], groups: NDArray[np.int_], names: Sequence[str]
) -> None:
    """Each name where its group is densest: the member with the smallest median distance."""
    for group, name in enumerate(names):
        own = places[groups == group]
        if len(own) == 0:
            continue
        few = own[:: max(1, len(own) // 60)]
        apart = np.linalg.norm(few[:, None] - few[None], axis=2)
        across, down = few[np.quantile(apart, 0.3, axis=1).argmin()].tolist()
        half = ink.measure(name, 14, bold=True) / 2 + 4
        place = (min(max(across, half), picture.width - half), down)
        ImageDraw.Draw(picture).text(
            place,
            name,
            fill=group_colour(group),
            font=ink.face(14, bold=True),
            anchor="mm",
            stroke_width=3,
            stroke_fill=ink.GROUND,
        )


def group_legend(picture: Picture, labels: ArrayLike, names: Sequence[str]) -> Picture:
    """The picture, and on its right each group's colour, name and number of points."""
    groups = np.asarray(labels)
    words = [f"{name} ({int((groups == group).sum())})" for group, name in enumerate(names)]
    known = legend((line, group_colour(group)) for group, line in enumerate(words))
    return side_by_side([picture, known], gap=12)


def pictures_at(
    points: ArrayLike,
    picture: Callable[[int], Picture],
    *,
    size: int,
    tile: int,
    window: Window = WHOLE,
    chosen: int | None = None,
    numbered: Sequence[int] = (),
    apart: bool = False,
) -> Picture:
    """Pictures at the places (N, 2) of their points, on a square sheet of `size` pixels.

    `picture(number)` gives one of at most `tile` pixels, with its opacity. `window` shows a part;
    `chosen` is framed in blue, and those that are `numbered` have their place in that list. With
    `apart` a picture that would cover one that is there is left out.
    """
    places = on_sheet(points, size, tile, window)
    sheet = blank(size, size)
    last = [*numbered, *([] if chosen is None else [chosen])]
    taken = np.zeros((size // _CELL + 1, size // _CELL + 1), dtype=bool)
    first = sorted(set(range(len(places))).difference(last))
    for number in [*first, *last]:
        if apart and not _claimed(taken, places[number], tile):
            continue
        one = picture(number)
        left, top = (places[number] - np.array(one.size) / 2).round().astype(int).tolist()
        if -tile < left < size and -tile < top < size:
            sheet.paste(one, (left, top), one)
    _mark(sheet, places, tile, chosen, numbered)
    return sheet


def _claimed(taken: NDArray[np.bool_], place: NDArray[np.float64], tile: int) -> bool:
    """Whether nothing is near this place yet; from now on it is taken."""
    left, top = ((place - tile / 2) // _CELL).astype(int).clip(0).tolist()
    side = math.ceil(tile / _CELL)
    cells = (slice(top, top + side), slice(left, left + side))
    if taken[cells].any():
        return False
    taken[cells] = True
    return True


def trimmed(sheet: Picture, margin: int = 8) -> Picture:
    """The sheet without its white margins, but for so many pixels."""
    box = ImageChops.invert(sheet).getbbox() or (0, 0, *sheet.size)
    left, top = (max(edge - margin, 0) for edge in box[:2])
    right, bottom = (min(edge + margin, end) for edge, end in zip(box[2:], sheet.size, strict=True))
    return sheet.crop((left, top, right, bottom))


def on_sheet(
    points: ArrayLike, size: int, tile: int, window: Window = WHOLE
) -> NDArray[np.float64]:
    """Places in pixels (N, 2): one scale for both axes, the map in the middle of the sheet."""
    values = as_array(points).astype(np.float64)
    low, high = values.min(0), values.max(0)
    span = max(float((high - low).max()), 1e-9)
    inside = (values - (low + high) / 2) / span + 0.5  # the longer axis from 0 to 1
    zoom = 1 / (window[2] - window[0])
    room = size - 1.2 * tile
    return np.asarray((inside - np.array(window[:2])) * zoom * room + 0.6 * tile)


def _mark(
    sheet: Picture,
    places: NDArray[np.float64],
    tile: int,
    chosen: int | None,
    numbered: Collection[int],
) -> None:
    pen = ImageDraw.Draw(sheet)
    if chosen is not None:
        across, down = places[chosen].tolist()
        half = tile / 2 + 3
        edges = (across - half, down - half, across + half, down + half)
        pen.rounded_rectangle(edges, radius=6, outline=ink.ACCENT, width=4)
    for place, number in enumerate(numbered, start=1):
        across, down = places[number].tolist()
        pen.ellipse((across - 10, down - 10, across + 10, down + 10), fill=ink.ACCENT)
        ink.write(sheet, (across, down), str(place), bold=True, colour=ink.GROUND, anchor="mm")
