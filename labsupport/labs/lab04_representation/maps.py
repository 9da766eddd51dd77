"""Lab 04: maps and grids as pictures, and words on how good a map is."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw

from labsupport.labs.lab04_representation.pictures import Collection
from labsupport.methods import codes as c
from labsupport.ui import figures, ink

# every group has its name on the map, too
COLOURS = tuple(ImageColor.getrgb(colour)[:3] for colour in ink.CATEGORIES)
VIEWS = {"pictures": "pictures", "dots, coloured by category": "dots"}
Window = tuple[float, float, float, float]  # left, top, right, bottom, each from 0 to 1
WHOLE: Window = (0, 0, 1, 1)


def image_map(
    things: Collection,
    points: torch.Tensor,
    *,
    size: int = 1000,
    tile: int = 64,
    window: Window = WHOLE,
    chosen: int | None = None,
    near: Sequence[int] = (),
    square: bool = False,
) -> Image.Image:
    """The pictures at their true places (N, 2) on a sheet whose longer side is `size` pixels.

    The sheet is as high or as wide as the map needs, or `square`.

    `window` (left, top, right, bottom, 0 to 1) shows a part of the map; `chosen` is framed in
    blue, and those in `near` are numbered.
    """
    places = on_sheet(points, size, tile, window)
    sheet = Image.new("RGB", (size, size), "white")
    last = [*near, *([] if chosen is None else [chosen])]
    for number in [n for n in range(len(things)) if n not in last] + last:
        small = things.small(number, tile)
        left, top = (places[number] - np.array(small.size) / 2).round().astype(int).tolist()
        if -tile < left < size and -tile < top < size:
            sheet.paste(small, (left, top), small)
    marks = {number: str(place + 1) for place, number in enumerate(near)}
    _mark(sheet, places, tile, chosen, marks)
    return sheet if square or window != WHOLE else _trimmed(sheet, places, tile)


def _trimmed(sheet: Image.Image, places: np.ndarray, tile: int) -> Image.Image:
    """Without the empty margins of the shorter axis."""
    low, high = places.min(0) - 0.6 * tile, places.max(0) + 0.6 * tile
    left, top = np.maximum(low, 0).round().astype(int).tolist()
    right, bottom = np.minimum(high, sheet.width).round().astype(int).tolist()
    return sheet.crop((left, top, right, bottom))


def on_sheet(
    points: torch.Tensor,
    size: int,
    tile: int,
    window: Window = WHOLE,
) -> np.ndarray:
    """Places in pixels (N, 2): one scale for both axes, the map in the middle of the sheet."""
    values = points.double().numpy()
    low, high = values.min(0), values.max(0)
    span = max(float((high - low).max()), 1e-9)
    inside = (values - (low + high) / 2) / span + 0.5  # the longer axis from 0 to 1
    zoom = 1 / (window[2] - window[0])
    corner = np.array(window[:2])
    room = size - 1.2 * tile
    return np.asarray((inside - corner) * zoom * room + 0.6 * tile)


def _mark(
    sheet: Image.Image,
    places: np.ndarray,
    tile: int,
    chosen: int | None,
    marks: Mapping[int, str],
) -> None:
    pen = ImageDraw.Draw(sheet)
    if chosen is not None:
        across, down = places[chosen].tolist()
        half = tile / 2 + 3
        edges = (across - half, down - half, across + half, down + half)
        pen.rounded_rectangle(edges, radius=6, outline=ink.ACCENT, width=4)
    for number, words in marks.items():
        across, down = places[number].tolist()
        pen.ellipse((across - 10, down - 10, across + 10, down + 10), fill=ink.ACCENT)
        ink.write(sheet, (across, down), words, bold=True, colour=ink.GROUND, anchor="mm")


def dots(
    points: torch.Tensor,
    labels: Sequence[int],
    names: Sequence[str],
    *,
    size: int = 720,
    radius: float = 3.0,
    legend: bool = True,
) -> Image.Image:
    """Points (N, 2) as dots in the colour of their group, each group's name at its middle.

    `labels` are places in `names`. A `legend` with the number of points stands on the right.
    """
    groups = np.asarray(labels)
    twice = 2 * size
    places = on_sheet(points, twice, 40)
    sheet = np.full((twice, twice, 3), 255, np.uint8)
    spread = math.ceil(2 * radius)
    order = np.random.default_rng(0).permutation(len(places))  # no group lies on top of all
    columns, rows = places[order].round().astype(int).T
    colours = np.array([COLOURS[g % len(COLOURS)] for g in range(len(names))], np.uint8)
    painted = colours[groups[order]]
    for down in range(-spread, spread + 1):
        for across in range(-spread, spread + 1):
            if down**2 + across**2 <= (2 * radius) ** 2:
                sheet[(rows + down) % twice, (columns + across) % twice] = painted
    picture = Image.fromarray(sheet).reduce(2)
    _name_groups(picture, places / 2, groups, names)
    return with_legend(picture, groups, names) if legend else picture


def _name_groups(
    picture: Image.Image, places: np.ndarray, groups: np.ndarray, names: Sequence[str]
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
        font = ink.face(14, bold=True)
        ImageDraw.Draw(picture).text(
            place, name, fill=COLOURS[group % len(COLOURS)], font=font, anchor="mm",
            stroke_width=3, stroke_fill=ink.GROUND,
        )  # fmt: skip


def with_legend(picture: Image.Image, groups: np.ndarray, names: Sequence[str]) -> Image.Image:
    """The picture, and on its right each group's colour, name and number of points."""
    words = [f"{name} ({int((groups == group).sum())})" for group, name in enumerate(names)]
    width = max(ink.measure(line) for line in words) + 26
    sheet = Image.new("RGB", (width, max(picture.height, 22 * len(words) + 8)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, line in enumerate(words):
        middle = 14 + 22 * place
        pen.ellipse((2, middle - 6, 14, middle + 6), fill=COLOURS[place % len(COLOURS)])
        ink.write(sheet, (22, middle), line, anchor="lm")
    return figures.side_by_side([picture, sheet], gap=12)


def map_picture(
    things: Collection, points: torch.Tensor, view: str, *, size: int, tile: int
) -> Image.Image:
    """A map as one of `VIEWS`: the pictures themselves on a square sheet, or dots."""
    if view == "dots":
        return category_dots(things, points, size=size)
    return image_map(things, points, size=size, tile=tile, square=True)


def category_dots(things: Collection, points: torch.Tensor, *, size: int = 720) -> Image.Image:
    """The same map as dots in the colours of the categories."""
    names = sorted(set(things.categories))
    return dots(points, [names.index(one) for one in things.categories], names, size=size, radius=4)


def grid_picture(
    things: Collection,
    grid: c.Grid,
    *,
    tile: int = 56,
    borders: c.UMatrix | None = None,
    chosen: int | None = None,
) -> Image.Image:
    """A picture in each cell; with `borders`, red lines between cells whose codes lie far apart.

    A border is the redder and the wider the farther: white at the distance that 35 % of all
    touching pairs fall below, full at the one that 95 % do.
    """
    rows, columns = grid.cells.shape
    gap = 8 if borders is not None else 3
    step = tile + gap
    sheet = Image.new("RGB", (columns * step + gap, rows * step + gap), "white")
    for place, number in enumerate(grid.cells.flatten().tolist()):
        if number >= 0:
            left, top = gap + place % columns * step, gap + place // columns * step
            small = things.small(number, tile)
            corner = (left + (tile - small.width) // 2, top + (tile - small.height) // 2)
            sheet.paste(small, corner, small)
    if borders is not None:
        _draw_borders(sheet, borders, tile, gap)
    if chosen is not None:
        for row, column in (grid.cells == chosen).nonzero().tolist():
            left, top = gap + column * step - 2, gap + row * step - 2
            edges = (left, top, left + tile + 3, top + tile + 3)
            ImageDraw.Draw(sheet).rectangle(edges, outline=ink.ACCENT, width=4)
    return sheet


def _draw_borders(sheet: Image.Image, borders: c.UMatrix, tile: int, gap: int) -> None:
    known = torch.cat([borders.right.flatten(), borders.below.flatten()])
    known = known[known.isfinite()]
    low, high = torch.quantile(known, torch.tensor([0.35, 0.95])).tolist()
    pen, step = ImageDraw.Draw(sheet), tile + gap
    for table, sideways in ((borders.right, True), (borders.below, False)):
        for row, column in table.isfinite().nonzero().tolist():
            strength = (float(table[row, column]) - low) / max(high - low, 1e-9)
            strength = min(max(strength, 0.0), 1.0)
            pale = round(255 * (1 - strength) ** 1.5)
            width = max(1, round(gap * strength))
            begin = (column + sideways) * step + gap / 2, (row + (not sideways)) * step + gap / 2
            end = begin[0] + step * (not sideways), begin[1] + step * sideways
            red = (255 - round(40 * strength), pale, pale)
            pen.line((*begin, *end), fill=red, width=width)


def map_words(
    codes: torch.Tensor,
    points: torch.Tensor,
    labels: Sequence[Any],
    *,
    metric: str = "cosine",
    what: str = "category",
) -> str:
    """How far a map can be trusted, and how pure its neighbourhoods are, in a sentence."""
    sample = None if len(codes) <= 2000 else 1000
    trusted = c.trustworthiness(codes, points, metric=metric, sample=sample)
    here = c.label_agreement(points, labels, metric="euclidean", sample=sample)
    there = c.label_agreement(codes, labels, metric=metric, sample=sample)
    return (
        f"Trustworthiness {trusted:.3f} (1: all neighbours in the map are neighbours in code). "
        f"Of the 5 nearest in the map {here:.0%} share the {what}, of the 5 nearest in code "
        f"{there:.0%}."
    )
