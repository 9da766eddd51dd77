"""All maps of a layer as one picture: each map has its place in it, the chosen one a frame."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from labsupport.core.network.layers import Box
from labsupport.methods import activations
from labsupport.ui import figures, ink

DARK: ink.Colour = (22, 24, 29)
WIDE = 688  # the widest mosaic that leaves room for a thumbnail beside it
_QUIET: ink.Colour = (150, 154, 162)
_WARM, _COLD = np.array([255, 176, 64]), np.array([86, 160, 255])  # above and below zero
_SIDE, _EDGE, _HEAD, _FOOT = 34, 6, 22, 24  # pixels around the mosaic, for numbers and scale


@dataclass(frozen=True)
class MosaicPlan:
    """How a mosaic is drawn: the tiles' layout in map pixels, each map shrunk so many times or
    enlarged so many times, with numbers at the left and above."""

    tiles: activations.Layout
    shrink: int
    times: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.tiles.size
        return width * self.times + _SIDE + _EDGE, height * self.times + _HEAD + _FOOT

    def unit_at(self, x: float, y: float) -> int | None:
        """The unit whose map lies at a point of the picture."""
        return self.tiles.channel_at((x - _SIDE) / self.times, (y - _HEAD) / self.times)

    def box(self, unit: int) -> Box:
        """A unit's map in the picture, (left, top, right, bottom)."""
        left, top, right, bottom = (edge * self.times for edge in self.tiles.box(unit))
        return (left + _SIDE, top + _HEAD, right + _SIDE, bottom + _HEAD)


@lru_cache(maxsize=64)
def mosaic_plan(shape: tuple[int, ...], wide: int = WIDE) -> MosaicPlan:
    """The mosaic of a layer of this shape (C, H, W), at most `wide` pixels wide.

    Maps are enlarged by whole numbers, or, where they would not fit, averaged over squares.
    """
    count, height, width = (*shape, 1, 1)[:3]
    for shrink in range(1, max(height, width) + 1):
        tiles = activations.layout(count, math.ceil(height / shrink), math.ceil(width / shrink))
        times = (wide - _SIDE - _EDGE) // tiles.size[1]
        if times:
            return MosaicPlan(tiles, shrink, min(times, 24))
    return MosaicPlan(tiles, shrink, 1)


def mosaic_picture(
    maps: torch.Tensor,
    unit: int | None = None,
    *,
    shared: bool = False,
    reference: torch.Tensor | None = None,
    wide: int = WIDE,
) -> Image.Image:
    """All maps (C, H, W) of a layer on a dark ground, the chosen unit framed and pointed at.

    Black is zero and the brightest colour a map's largest value (`shared`: the largest of all);
    where a layer has values below zero, they are blue and those above orange. The `reference`
    (say, the undistorted maps) counts for the largest values too, so that they stay comparable.
    """
    maps = maps.reshape(*maps.shape, *[1] * (3 - maps.ndim))
    plan = mosaic_plan(tuple(maps.shape), wide)
    largest = _largest(maps, shared)
    if reference is not None:
        largest = torch.maximum(largest, _largest(reference.reshape(maps.shape), shared))
    scaled = maps / torch.where(largest > 0, largest, 1)
    if plan.shrink > 1:
        scaled = functional.avg_pool2d(scaled[None], plan.shrink, ceil_mode=True)[0]
    signed = bool((maps < 0).any())
    values = activations.mosaic(scaled, columns=plan.tiles.columns).numpy()
    cells = figures.enlarge(_glow(values, signed), plan.times)
    picture = Image.new("RGB", plan.size, DARK)
    picture.paste(cells, (_SIDE, _HEAD))
    _number(picture, plan, unit)
    _legend(picture, float(largest.max()), shared, signed)
    if unit is not None:
        _mark(picture, plan.box(unit))
    return picture


def map_picture(map_: torch.Tensor, side: int) -> Image.Image:
    """One map (H, W) by itself, averaged or enlarged by a whole number to at most `side` pixels."""
    size = max(map_.shape)
    if size > side:
        map_ = functional.adaptive_avg_pool2d(map_[None], side)[0]
    values = (map_ / map_.abs().max().clamp_min(1e-9)).numpy()
    return figures.enlarge(_glow(values, bool((map_ < 0).any())), max(1, side // size))


def _glow(values: np.ndarray, signed: bool) -> np.ndarray:
    """Numbers in [-1, 1] as light on a dark ground, (H, W, 3); NaN is the ground."""
    known = np.isfinite(values)
    numbers = np.where(known, values, 0)
    if signed:
        strength = np.sqrt(np.abs(numbers))[..., None]
        painted = (np.where(numbers[..., None] > 0, _WARM, _COLD) * strength).astype(np.uint8)
    else:
        painted = figures.paint(numbers, colours="magma", limits=(0.0, 1.0))
    painted[~known] = DARK
    return painted


def _largest(maps: torch.Tensor, shared: bool) -> torch.Tensor:
    """The scale of each map, (C, 1, 1) or (1, 1, 1)."""
    largest = maps.abs().amax((1, 2), keepdim=True)
    return largest.amax(0, keepdim=True) if shared else largest


def _number(picture: Image.Image, plan: MosaicPlan, unit: int | None) -> None:
    """The first unit of each row at the left, the columns above; the chosen ones white."""
    row, column = plan.tiles.place(unit) if unit is not None else (None, None)
    down = (plan.tiles.height + plan.tiles.gap) * plan.times
    for place in _numbered(plan.tiles.rows, row, down, room=14):
        _, top, _, bottom = plan.box(place * plan.tiles.columns)
        at: tuple[float, float] = (_SIDE - 9, (top + bottom) / 2)
        _write(picture, at, str(place * plan.tiles.columns), chosen=place == row, anchor="rm")
    across = (plan.tiles.width + plan.tiles.gap) * plan.times
    for place in _numbered(plan.tiles.columns, column, across, room=30):
        left, _, right, _ = plan.box(place)
        _write(picture, ((left + right) / 2, 8), f"+{place}", chosen=place == column, anchor="mm")


def _numbered(count: int, chosen: int | None, pitch: int, *, room: int) -> list[int]:
    """Which of the places, `pitch` pixels apart, have a number: each needs `room` pixels."""
    every = max(1, math.ceil(room / pitch))
    free = range(0, count, every)
    if chosen is None:
        return [*free]
    return [chosen, *(place for place in free if abs(place - chosen) * pitch >= room)]


def _write(
    picture: Image.Image, at: tuple[float, float], words: str, *, chosen: bool, anchor: str
) -> None:
    colour = ink.GROUND if chosen else _QUIET
    ink.write(picture, at, words, size=11, bold=chosen, colour=colour, anchor=anchor)


def _mark(picture: Image.Image, box: Box) -> None:
    """A white frame around a map, and a pointer to it at the left and above."""
    left, top, right, bottom = box
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left - 3, top - 3, right + 2, bottom + 2), outline=DARK, width=1)
    pen.rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=ink.GROUND, width=2)
    middle, level = (left + right) // 2, (top + bottom) // 2
    white = ink.GROUND
    pen.polygon([(_SIDE - 6, level - 4), (_SIDE - 6, level + 4), (_SIDE - 1, level)], fill=white)
    pen.polygon([(middle - 4, _HEAD - 6), (middle + 4, _HEAD - 6), (middle, _HEAD - 1)], fill=white)


def _legend(picture: Image.Image, largest: float, shared: bool, signed: bool) -> None:
    """What the colours mean, below the mosaic."""
    ends = np.linspace(-1 if signed else 0, 1, 96)[None].repeat(10, 0)
    top = picture.height - _FOOT + 8
    low = ("−" if signed else "0") if not shared else ink.number(-largest if signed else 0.0)
    high = ink.number(largest) if shared else "the map's largest"
    _write(picture, (_SIDE, top + 5), low, chosen=False, anchor="lm")
    left = _SIDE + ink.measure(low, 11) + 6
    picture.paste(Image.fromarray(_glow(ends, signed)), (left, top))
    outline = (left - 1, top - 1, left + 96, top + 10)
    ImageDraw.Draw(picture).rectangle(outline, outline=_QUIET)
    _write(picture, (left + 102, top + 5), high, chosen=False, anchor="lm")
