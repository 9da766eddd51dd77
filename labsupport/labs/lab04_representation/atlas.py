"""Lab 04: the nearest pictures of one, and an atlas to zoom in, where new pictures find places."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.images.sets import ImageSet
from labsupport.labs.lab04_representation import maps
from labsupport.labs.lab04_representation.maps import PIXELS, Collection, codes_of, squared
from labsupport.methods import codes as c
from labsupport.ui import declare, figures

_VIEWS = {"map": "map", "grid": "grid", "grid with red borders": "borders"}
_grid_of = lru_cache(maxsize=2)(c.grid)  # not anew for each zoom: of 2000 points it takes seconds
_LAYERS = maps.layer_menu(pixels=False)


@declare.panel("Nearest pictures", cost="quick")
def neighbours_panel(
    things: Collection,
    image: torch.Tensor = maps.PICTURE,
    layer: str = _LAYERS,
    metric: str = declare.choice(c.METRICS, label="distance"),
    k: int = 5,
) -> tuple[Image.Image, str]:
    """A picture, or one of your own, and its nearest pictures by code and by pixels."""
    seen = c.fitted(image, things.network.input_size)
    own = {layer: c.codes(things.network, seen, layer), PIXELS: c.pixel_codes(seen)}
    rows = {name: nearest_others(things.codes[name], own[name], k, metric)[1] for name in own}
    numbers = [number for near in rows.values() for number in near]
    tiles = [squared(things, number, 100) for number in numbers]
    titles = [things.titles[number] for number in numbers]
    names = [f"by code ({layer})", "by pixels"]
    nearest = figures.mosaic(tiles, columns=k, titles=titles, rows=names)
    asked = images.resize(seen, 144, crop=144)
    words = [
        f"{name}: {_counted([things.categories[n] for n in near])}"
        for name, near in zip(names, rows.values(), strict=True)
    ]
    return figures.side_by_side([asked, nearest], ["asked", ""]), ". ".join(words) + "."


def nearest_others(
    codes: torch.Tensor, asked: torch.Tensor, k: int = 5, metric: str = "cosine"
) -> tuple[int | None, list[int]]:
    """Which of the codes is the one asked for, if it is among them, and the k nearest others."""
    near = c.neighbours(torch.cat([codes, asked]), len(codes), k=k + 1, metric=metric)
    if near.distances[0] < 1e-3 * max(near.distances[-1], 1e-9):
        return near.numbers[0], list(near.numbers[1:])
    return None, list(near.numbers[:k])


def _counted(categories: list[str]) -> str:
    """How often each one is there, the most frequent first, and those alike in alphabetic order."""
    counts = Counter(sorted(categories)).most_common()
    return ", ".join(f"{name} {count}" for name, count in counts)


# The map, explored


@declare.panel("Atlas", cost="quick")
def atlas_panel(
    things: Collection,
    points: torch.Tensor,
    image: torch.Tensor = maps.PICTURE,
    view: str = declare.choice(_VIEWS),
    zoom: int = declare.whole(1, 1, 5, unit="×"),
    across: float = declare.real(0.5, 0.0, 1.0, label="from left to right"),
    down: float = declare.real(0.5, 0.0, 1.0, label="from top to bottom"),
) -> tuple[Image.Image, str]:
    """Zoom and pan over the map or the grid, and a picture with its neighbours.

    A picture of your own is put where its nearest pictures lie.
    """
    seen = c.fitted(image, things.network.input_size)
    number, near = nearest_others(things.code, codes_of(things, seen))
    if view == "map":
        shown, spots, at = things, points, number
        if at is None:
            at, picture = len(things), images.to_pil(seen)
            shown, spots = _with_more(things, points, [picture], codes_of(things, seen))
        window = _window(zoom, across, down)
        how: dict[str, Any] = {"size": 640, "tile": round(44 * zoom**0.75), "square": True}
        left = maps.image_map(shown, spots, window=window, chosen=at, numbered=near, **how)
    else:
        grid = _grid_of(points)
        borders = c.u_matrix(grid, things.code) if view == "borders" else None
        drawn = maps.grid_picture(things, grid, tile=28 * zoom, borders=borders, chosen=number)
        left = _part(drawn, zoom, across, down)
    who = "Your picture" if number is None else things.titles[number]
    words = f"{who}; nearest by code: {', '.join(things.titles[n] for n in near)}."
    return figures.side_by_side([left, _column(things, seen, near)], gap=12), words


def _window(zoom: int, across: float, down: float) -> figures.Window:
    """The part of the map around a place (0 to 1), moved so that it lies inside."""
    half = 0.5 / zoom
    left, top = (min(max(value, half), 1 - half) - half for value in (across, down))
    return (left, top, left + 2 * half, top + 2 * half)


def _part(whole: Image.Image, zoom: int, across: float, down: float) -> Image.Image:
    """A window of the first zoom's size on the whole picture."""
    width, height = whole.width // zoom, whole.height // zoom
    left, top = round((whole.width - width) * across), round((whole.height - height) * down)
    return whole.crop((left, top, left + width, top + height))


def _column(things: Collection, seen: torch.Tensor, near: Sequence[int]) -> Image.Image:
    _, by_pixels = nearest_others(things.codes[PIXELS], c.pixel_codes(seen))
    tiles = [squared(things, n, 72) for pair in zip(near, by_pixels, strict=True) for n in pair]
    titles = ["by code", "by pixels", *[""] * 8]
    asked = images.resize(seen, 160, crop=160)
    return figures.side_by_side([asked, figures.mosaic(tiles, columns=2, titles=titles)], columns=1)


def with_new_pictures(
    things: Collection, points: torch.Tensor, pictures: ImageSet[Any]
) -> tuple[Collection, torch.Tensor]:
    """A collection to show and its map, with further pictures where their nearest ones lie."""
    shown = [maps.decoded(picture)[1] for picture in pictures]
    return _with_more(things, points, shown, codes_of(things, pictures))


def _with_more(
    things: Collection, points: torch.Tensor, shown: Sequence[Image.Image], codes: torch.Tensor
) -> tuple[Collection, torch.Tensor]:
    """The collection and its map with further pictures, framed, at the end."""
    framed = tuple(figures.framed(picture) for picture in shown)
    both = {things.layer: torch.cat([things.code, codes])}
    small = {key: one for key, one in things._small.items() if key[0] < len(things)}
    more = replace(things, shown=things.shown + framed, codes=both, _small=small)
    return more, torch.cat([points, c.place_in_map(things.code, points, codes)])
