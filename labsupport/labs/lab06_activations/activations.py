"""Lab 06: a layer's maps as a mosaic to click in, distorted live; one unit from every side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.core.network.layers import Box, Layer
from labsupport.core.streams import Images, network_fingerprint
from labsupport.labs.lab02_patches import field_side, unit_tiles
from labsupport.labs.lab05_occlusion import photographs
from labsupport.labs.lab06_activations.pointing import UnitPicker
from labsupport.labs.lab07_deconv import RULE_WORDS, gradient_image
from labsupport.methods.activations import (
    Distortion,
    Layout,
    PictureCache,
    Similarity,
    UnitChanges,
    UnitViews,
    Votes,
    correlation,
    distort,
    layout,
    mosaic,
    similarity,
    unit_changes,
    unit_views,
)
from labsupport.methods.optimize import CLEAR, Recipe
from labsupport.methods.patches import TopPatches
from labsupport.ui import controls, figures, ink
from labsupport.ui.control import Control
from labsupport.ui.panel import Live, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK: ink.Colour = (22, 24, 29)
_QUIET: ink.Colour = (150, 154, 162)
_SIDE, _EDGE, _HEAD, _FOOT = 34, 6, 22, 24  # pixels around the mosaic, for numbers and scale
WIDE, NARROW = 688, 416  # the widest mosaic in the two panels
TILE, THUMB = 200, 144  # four tiles fit into a notebook side by side
SCALES = {"each map its own": False, "one for all maps": True}
_WARM, _COLD = np.array([255, 176, 64]), np.array([86, 160, 255])


# The mosaic


@dataclass(frozen=True)
class Sheet:
    """A mosaic as it is drawn: the tiles' layout in map pixels, each map shrunk so many times or
    enlarged so many times, with numbers at the left and above."""

    tiles: Layout
    shrink: int
    times: int

    @property
    def columns(self) -> int:
        return self.tiles.columns

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
def sheet_of(shape: tuple[int, ...], wide: int = WIDE) -> Sheet:
    """The mosaic of a layer of this shape (C, H, W), at most `wide` pixels wide.

    Maps are enlarged by whole numbers, or, where they would not fit, averaged over squares.
    """
    count, height, width = (*shape, 1, 1)[:3]
    for shrink in range(1, max(height, width) + 1):
        tiles = layout(count, math.ceil(height / shrink), math.ceil(width / shrink))
        times = (wide - _SIDE - _EDGE) // tiles.size[1]
        if times:
            return Sheet(tiles, shrink, min(times, 24))
    return Sheet(tiles, shrink, 1)


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
    sheet = sheet_of(tuple(maps.shape), wide)
    largest = _largest(maps, shared)
    if reference is not None:
        largest = torch.maximum(largest, _largest(reference.reshape(maps.shape), shared))
    scaled = maps / torch.where(largest > 0, largest, 1)
    if sheet.shrink > 1:
        scaled = functional.avg_pool2d(scaled[None], sheet.shrink, ceil_mode=True)[0]
    signed = bool((maps < 0).any())
    values = mosaic(scaled, columns=sheet.columns).numpy()
    cells = figures.enlarge(_glow(values, signed), sheet.times)
    picture = Image.new("RGB", sheet.size, DARK)
    picture.paste(cells, (_SIDE, _HEAD))
    _number(picture, sheet, unit)
    _legend(picture, float(largest.max()), shared, signed)
    if unit is not None:
        _mark(picture, sheet.box(unit))
    return picture


def _largest(maps: torch.Tensor, shared: bool) -> torch.Tensor:
    """The scale of each map, (C, 1, 1) or (1, 1, 1)."""
    largest = maps.abs().amax((1, 2), keepdim=True)
    return largest.amax(0, keepdim=True) if shared else largest


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


def _number(picture: Image.Image, sheet: Sheet, unit: int | None) -> None:
    """The first unit of each row at the left, the columns above; the chosen ones white."""
    row, column = sheet.tiles.place(unit) if unit is not None else (-1, -1)
    pitch = (sheet.tiles.height + sheet.tiles.gap) * sheet.times
    every = max(1, math.ceil(14 / pitch))
    for place in range(sheet.tiles.rows):
        near = place != row and abs(place - row) * pitch < 14
        if (place % every and place != row) or (near and unit is not None):
            continue
        _, top, _, bottom = sheet.box(place * sheet.columns)
        colour = ink.GROUND if place == row else _QUIET
        at: tuple[float, float] = (_SIDE - 9, (top + bottom) / 2)
        words = str(place * sheet.columns)
        ink.write(picture, at, words, size=11, bold=place == row, colour=colour, anchor="rm")
    across = (sheet.tiles.width + sheet.tiles.gap) * sheet.times
    each = max(1, math.ceil(30 / across))
    for place in range(sheet.columns):
        near = place != column and abs(place - column) * across < 30
        if (place % each and place != column) or (near and unit is not None):
            continue
        left, _, right, _ = sheet.box(place)
        colour = ink.GROUND if place == column else _QUIET
        at = ((left + right) / 2, 8)
        words = f"+{place}"
        ink.write(picture, at, words, size=11, bold=place == column, colour=colour, anchor="mm")


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
    ink.write(picture, (_SIDE, top + 5), low, size=11, colour=_QUIET, anchor="lm")
    left = _SIDE + ink.measure(low, 11) + 6
    picture.paste(Image.fromarray(_glow(ends, signed)), (left, top))
    outline = (left - 1, top - 1, left + 96, top + 10)
    ImageDraw.Draw(picture).rectangle(outline, outline=_QUIET)
    ink.write(picture, (left + 102, top + 5), high, size=11, colour=_QUIET, anchor="lm")


def unit_over(image: torch.Tensor, map_: torch.Tensor, side: int = TILE) -> Image.Image:
    """A unit's map enlarged over the picture (1, 3, H, W): bright where it fires.

    The picture stays as it is where the unit is silent.
    """
    shown = images.resize(image, (side, side)) if max(image.shape[2:]) != side else image
    colours = "signed" if bool((map_ < 0).any()) else "magma"
    most = max(float(map_.abs().max()), 1e-6)
    settings: dict[str, Any] = {"opacity": 0.85, "fade": True, "bar": False}
    limits = (-most, most) if colours == "signed" else (0.0, most)
    return figures.overlay(shown, map_, colours=colours, limits=limits, **settings)


# The layer, live


@dataclass(frozen=True)
class Seen:
    """A picture as it was and as it is distorted, and what a layer answers to each."""

    network: Network
    layer: Layer
    image: torch.Tensor
    maps: torch.Tensor
    clean: torch.Tensor
    scores: torch.Tensor
    distortion: Distortion


class _Eye:
    """Looks at distorted pictures; what it saw last of the undistorted one is kept."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] = ()
        self._kept: tuple[torch.Tensor, torch.Tensor] | None = None

    def look(
        self, image: torch.Tensor, network: Network, layer: str, distortion: Distortion
    ) -> Seen:
        key = (image, network, layer)
        if self._kept is None or any(a is not b for a, b in zip(key, self._last, strict=True)):
            standard = images.standard(image, network.input_size[0])
            self._last, self._kept = key, (standard, _answer(network, standard, layer)[0])
        standard, clean = self._kept
        changed = distort(standard, distortion)
        maps, scores = _answer(network, changed, layer)
        return Seen(network, network.layer(layer), changed, maps, clean, scores, distortion)


def _answer(network: Network, image: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's activations (C, ...) and the scores (1, classes), from one pass."""
    with torch.no_grad():
        part = network.part((network.node(layer), network.output))
        maps, scores = part(network.send(image))
    return maps[0].cpu().contiguous(), scores.cpu()


def has_maps(layer: Layer) -> bool:
    """Whether there is a mosaic to look at: maps of more than one position."""
    return layer.has_map and min(layer.shape[1:]) > 1 and layer.kind not in ("dropout", "identity")


def live_panel(image: str = "koala", layer: str = "fire8", unit: int = 0) -> Panel:
    """A layer's whole mosaic, which follows while the picture is turned, moved or dimmed.

    A click in the mosaic chooses a unit; the arrow keys move from there.
    """
    network = controls.network_menu(names=photographs())
    layers = controls.layer_menu(network, layer, keep=has_maps)
    eye = _Eye()

    def look(
        image: torch.Tensor,
        network: Network,
        layer: str,
        rotate: float,
        right: float,
        scale: float,
        brightness: float,
        noise: float,
    ) -> Seen:
        change = Distortion(rotate, right, 0.0, scale, brightness, noise)
        return eye.look(image, network, layer, change)

    shown: dict[str, Control] = {
        "image": controls.image_menu(images.photos(), image),
        "network": network,
        "layer": layers,
        "unit": UnitPicker(layers, unit, lambda one: sheet_of(one.shape)),
        "shared": controls.choice("scale", SCALES),
        "rotate": controls.whole("rotate", 0, -180, 180, step=5, unit="°"),
        "right": controls.whole("to the right", 0, -64, 64, step=2, unit="px"),
        "scale": controls.real("size", 1.0, 0.5, 2.0),
        "brightness": controls.real("brightness", 1.0, 0.2, 2.0),
        "noise": controls.real("noise", 0.0, 0.0, 0.4, step=0.02),
    }
    return Panel(_draw_seen, shown, title="A layer, live", compute=look, cost="instant")


def _draw_seen(seen: Seen, unit: int, shared: bool) -> tuple[Image.Image, str]:
    tiles = mosaic_picture(seen.maps, unit, shared=shared, reference=seen.clean)
    side = figures.side_by_side(
        [
            figures.enlarge(images.resize(seen.image, (THUMB, THUMB)), 1),
            unit_over(seen.image, seen.maps[unit], THUMB),
            _alone(seen.maps[unit]),
        ],
        ["the picture", f"unit {unit} over it", f"unit {unit} alone"],
        columns=1,
        gap=10,
    )
    # the mosaic stands at the upper left, where clicks are counted from
    picture = figures.side_by_side([tiles, side])
    return picture, seen_words(seen, unit)


def _alone(map_: torch.Tensor) -> Image.Image:
    """A unit's map by itself, as large as a thumbnail may be."""
    size = max(map_.shape)
    if size > THUMB:
        map_ = functional.adaptive_avg_pool2d(map_[None], THUMB)[0]
    values = (map_ / map_.abs().max().clamp_min(1e-9)).numpy()
    return figures.enlarge(_glow(values, bool((map_ < 0).any())), max(1, THUMB // size))


def seen_words(seen: Seen, unit: int) -> str:
    """What a unit answers, and how far the layer has moved from the undistorted picture."""
    now, before = seen.maps[unit], seen.clean[unit]
    words = (
        f"{seen.layer.title}, unit {unit} of {len(seen.maps)}: mean {_short(now.mean())}, "
        f"largest {_short(now.max())}."
    )
    silent = int((seen.maps.flatten(1).amax(1) <= 0).sum())
    if silent:
        words += f" {silent} {'unit is' if silent == 1 else 'units are'} silent."
    [[first]] = seen.network.ranking(seen.scores, k=1)
    words += f" The network says {first.name}, {figures.per_cent(first.probability)}."
    if seen.distortion.words == "untouched":
        return words
    strict = float(correlation(seen.clean[None], seen.maps[None]))
    pooled = float(
        correlation(seen.clean.flatten(1).mean(1)[None], seen.maps.flatten(1).mean(1)[None])
    )
    return (
        f"{words} The picture is {seen.distortion.words}; before, the unit's mean was "
        f"{_short(before.mean())}. All maps together correlate {strict:.2f} with those before, "
        f"their means {pooled:.2f}."
    )


def _short(value: torch.Tensor | float) -> str:
    """A number for eyes: two digits after the point, none from 100 on."""
    number = float(value)
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.2f}".replace("-", "−")


# One unit from every side


class UnitPanel(Live):
    """The views of one unit, the quick ones at once. What was found before is shown again without
    a search, unless *Run again* is pressed where all of it is there already."""

    def __init__(
        self, pictures: Images, cache: PictureCache, recipe: Recipe, shown: Mapping[str, Control]
    ) -> None:
        self._pictures, self._cache, self._recipe = pictures, cache, recipe
        self._scans: dict[tuple[str, str], TopPatches] = {}
        self._whole: set[tuple[Any, ...]] = set()
        self._moved, self._drawn = False, Kept()
        super().__init__(
            self._look,
            shown,
            draw=self._picture_of,
            title="One unit, every view",
            autostart=True,
        )

    def changed(self) -> None:
        self._moved = True
        super().changed()

    def _look(
        self, image: torch.Tensor, network: Network, layer: str, unit: int
    ) -> Iterator[Known]:
        moved, self._moved = self._moved, False
        asked = (id(image), network, layer, unit)
        remake = asked in self._whole and not moved
        scan = (network_fingerprint(network, layer), layer)
        known = None if remake else self._scans.get(scan)
        standard = images.standard(image, network.input_size[0])
        maps = network.activations(standard, [layer])[layer][0]
        for views in unit_views.frames(
            network,
            standard,
            (layer, unit),
            self._pictures if known is None else known,
            recipe=self._recipe,
            cache=self._cache,
            remake=remake,
        ):
            if views.patches is not None and views.scanned == views.pictures:
                while len(self._scans) >= 4:
                    self._scans.pop(next(iter(self._scans)), None)
                self._scans[scan] = views.patches
            if views.progress >= 1:
                self._whole.add(asked)
            yield Known(network, network.layer(layer), maps, views)

    def _picture_of(self, known: Known) -> tuple[Image.Image, str]:
        return views_picture(known, self._pictures, self._drawn), views_words(known)


@dataclass(frozen=True)
class Known:
    """What is known of a unit so far, and its layer's maps."""

    network: Network
    layer: Layer
    maps: torch.Tensor
    views: UnitViews

    @property
    def progress(self) -> float:
        return self.views.progress


def unit_panel(
    pictures: Images,
    image: str = "koala",
    layer: str = "fire8",
    unit: int = 0,
    *,
    recipe: Recipe = CLEAR,
    cache: PictureCache | None = None,
) -> UnitPanel:
    """Every view of one unit beside the mosaic in which it is chosen.

    `pictures` are scanned for top patches. The pictures that excite units are grown by the
    `recipe`, and kept in a `cache`.
    """
    network = controls.network_menu(names=photographs())
    layers = controls.layer_menu(network, layer, keep=has_maps)
    shown: dict[str, Control] = {
        "image": controls.image_menu(images.photos(), image),
        "network": network,
        "layer": layers,
        "unit": UnitPicker(layers, unit, lambda one: sheet_of(one.shape, NARROW)),
    }
    return UnitPanel(pictures, cache or PictureCache(), recipe, shown)


class Kept:
    """The last drawing of each part of a picture: it is drawn anew when what it shows is another
    object than before."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[tuple[Any, ...], Image.Image]] = {}

    def get(self, name: str, of: tuple[Any, ...], draw: Callable[[], Image.Image]) -> Image.Image:
        """The part `name`, which shows the objects `of`."""
        known, picture = self._last.get(name, ((), None))
        same = len(known) == len(of) and all(a is b for a, b in zip(known, of, strict=True))
        if picture is None or not same:
            picture = draw()
            self._last[name] = (of, picture)
        return picture


def views_picture(known: Known, pictures: Images, kept: Kept | None = None) -> Image.Image:
    """All views of a unit; what is not there yet is an empty frame that says so."""
    views, unit, kept = known.views, known.views.target.index, kept or Kept()
    # the mosaic stands at the upper left, where clicks are counted from
    tiles = kept.get(
        "mosaic", (known.maps, views.map), lambda: mosaic_picture(known.maps, unit, wide=NARROW)
    )
    over = kept.get("over", (views.image, views.map), lambda: unit_over(views.image, views.map))
    grown = _empty("growing ...") if views.picture is None else _tile(views.picture.image)
    above = figures.side_by_side(
        [over, grown], [f"unit {unit} over the picture", "what excites it most"]
    )
    below = kept.get("histogram", (views.map, views.patches), lambda: _below(known))
    beside = figures.side_by_side([above, below], columns=1, gap=10)
    first = figures.side_by_side([tiles, beside])
    second = kept.get("second", (views.patches, views.gradients), lambda: _second(known, pictures))
    third = kept.get("third", (views.votes,), lambda: _third(known))
    return figures.side_by_side([first, second, third], columns=1, gap=12)


def _below(known: Known) -> Image.Image:
    return figures.side_by_side([histogram(known)], ["how often it fires how strongly, here"])


def _second(known: Known, pictures: Images) -> Image.Image:
    rules = known.views.gradients or RULE_WORDS
    return figures.side_by_side(
        [_patches(known, pictures), *_slopes(known.views)],
        ["top patches", *[RULE_WORDS[rule] for rule in rules]],
    )


def _third(known: Known) -> Image.Image:
    return figures.side_by_side(
        [votes_picture(known.views.votes, known.network)],
        ["the classes that it speaks for here (+) and against (−)"],
    )


def _empty(words: str, side: int = TILE) -> Image.Image:
    blank = Image.new("RGB", (side, side), (244, 244, 244))
    ink.write(blank, (side / 2, side / 2), words, colour=ink.QUIET, anchor="mm")
    return blank


def _tile(image: torch.Tensor) -> Image.Image:
    """An image as a tile: enlarged by a whole number, or made smaller."""
    if max(image.shape[2:]) > TILE:
        image = images.resize(image, (TILE, TILE))
    return figures.enlarge(image, max(1, TILE // max(image.shape[2:])))


def _patches(known: Known, pictures: Images) -> Image.Image:
    found = known.views.patches
    if found is None:
        return _empty("searching ...")
    side = field_side(known.network, known.layer.name)
    count = int((~found.values[found.row(known.views.target.index)].isnan()).sum())
    block = unit_tiles(
        found, pictures, known.views.target.index, side=side, context=0.25, count=min(9, count)
    )
    if block.width > TILE:
        block = block.resize((TILE, round(block.height * TILE / block.width)), Image.Resampling.BOX)
    return block


def _slopes(views: UnitViews) -> list[Image.Image]:
    if views.gradients is None:
        return [_empty("going back ...") for _ in RULE_WORDS]
    return [_tile(gradient_image(one.values[0])) for one in views.gradients.values()]


def histogram(known: Known, size: tuple[int, int] = (NARROW, 150), bins: int = 40) -> Image.Image:
    """How often the unit answers how strongly in this picture, on a logarithmic scale; a dashed
    line marks the best of all pictures."""
    values, found = known.views.map.flatten().numpy(), known.views.patches
    best = math.nan
    if found is not None:
        best = float(found.values[found.row(known.views.target.index), 0])
    ends = [float(values.min()), float(values.max()), *([best] if math.isfinite(best) else [])]
    low, high = min(0.0, *ends), max(*ends, 1e-6)
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    axes = _Axes(size, (low, high), math.log10(2 * max(1, counts.max())))
    for count, first, last in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            box = (axes.x(first), axes.y(math.log10(2 * count)), axes.x(last) - 1, axes.foot)
            axes.pen.rectangle(box, fill=ink.SERIES[0])
    if math.isfinite(best):
        axes.dashed(best, f"best of {known.views.scanned} pictures: {_short(best)}")
    return axes.sheet


class _Axes:
    """A small pair of axes, drawn in a few milliseconds: a frame may come ten times a second."""

    def __init__(self, size: tuple[int, int], ends: tuple[float, float], top: float) -> None:
        self.sheet = Image.new("RGB", size, ink.GROUND)
        self.pen = ImageDraw.Draw(self.sheet)
        self.left, self.right, self.head, self.foot = 44, size[0] - 14, 18, size[1] - 34
        self._ends, self._top = ends, top
        for power in range(int(top) + 1):
            level = self.y(power + math.log10(2))
            self.pen.line((self.left, level, self.right, level), fill=ink.RULE)
            ink.write(self.sheet, (self.left - 6, level), str(10**power), size=11, anchor="rm")
        for value, words in ink.ticks(*ends, count=6):
            ink.write(self.sheet, (self.x(value), self.foot + 5), words, size=11, anchor="ma")
        middle = (self.left + self.right) / 2
        ink.write(self.sheet, (middle, size[1] - 1), "activation", size=11, anchor="md")
        ink.write(self.sheet, (0, 0), "positions", size=11)
        self.pen.line((self.left, self.foot, self.right, self.foot), fill=ink.INK)

    def x(self, value: float) -> float:
        low, high = self._ends
        return self.left + (self.right - self.left) * (value - low) / (high - low)

    def y(self, level: float) -> float:
        """Half a count is the foot, so that a single one can be seen."""
        return self.foot - (self.foot - self.head) * level / self._top

    def dashed(self, value: float, words: str) -> None:
        across = self.x(value)
        for level in range(self.head, self.foot, 8):
            self.pen.line((across, level, across, level + 4), fill=ink.SERIES[1], width=2)
        anchor, gap = ("ra", -6) if across > (self.left + self.right) / 2 else ("la", 6)
        place = (across + gap, self.head)
        ink.write(self.sheet, place, words, size=11, colour=(168, 72, 0), anchor=anchor)


def votes_picture(
    votes: Votes | None, network: Network, count: int = 4, *, width: int = 2 * NARROW + 16
) -> Image.Image:
    """The classes that a unit speaks for most, and against most: bars right and left of zero."""
    if votes is None:
        return _empty("...")
    values = votes.values[0]
    best, worst = _ranked(values, count)
    rows = [*best, *worst]
    sheet = Image.new("RGB", (width, max(1, len(rows)) * (ink.LINE + 4)), ink.GROUND)
    names, number = 240, 64
    most = max((abs(float(values[n])) for n in rows), default=1.0)
    reach = (width - names - 2 * number) / 2
    middle = names + number + reach
    pen = ImageDraw.Draw(sheet)
    for place, n in enumerate(rows):
        level, value = place * (ink.LINE + 4) + ink.LINE / 2 + 2, float(values[n])
        words = f"{'+' if value > 0 else '−'} {ink.fit(network.categories[n], names - 30)}"
        ink.write(sheet, (names, level), words, anchor="rm")
        end = middle + reach * value / most
        colour = ink.SERIES[0] if value > 0 else ink.SERIES[1]
        pen.rectangle((min(middle, end), level - 7, max(middle, end), level + 6), fill=colour)
        side = ("lm", 6) if value > 0 else ("rm", -6)
        ink.write(sheet, (end + side[1], level), _short(value), anchor=side[0])
    if rows:
        pen.line((middle, 0, middle, sheet.height), fill=ink.INK)
    else:
        ink.write(sheet, (0, 2), "The unit is silent here: no score changes.", colour=ink.QUIET)
    return sheet


def _ranked(values: torch.Tensor, count: int) -> tuple[list[int], list[int]]:
    """The largest above zero and the smallest below it, from the largest down."""
    order = values.argsort(descending=True)
    best = [n for n in order[:count].tolist() if values[n] > 0]
    return best, [n for n in order[-count:].tolist() if values[n] < 0]


def views_words(known: Known) -> str:
    """What is known of a unit, in sentences."""
    views = known.views
    words = (
        f"{known.layer.title}, unit {views.target.index}: largest {_short(views.map.max())} in "
        "this picture"
    )
    if views.patches is not None:
        row = views.patches.row(views.target.index)
        best = _short(views.patches.values[row, 0])
        words += f", {best} in the best of {views.scanned} of {views.pictures} pictures"
    if views.votes is not None:
        values = views.votes.values[0]
        if float(values.max()) > 0:
            name = known.network.categories[int(values.argmax())]
            words += f". Here it speaks most for {name} ({_short(values.max())})"
        else:
            words += ". Here it is silent and speaks for no class"
    if views.picture is not None:
        one = views.picture
        how = "kept from before" if one.cached else f"step {one.step} of {one.steps}"
        words += f". The picture that excites it: mean {_short(one.score)}, {how}"
    return f"{words}."


# Invariance and equivariance

MEASURES = {
    "maps": "each position with itself",
    "aligned": "maps carried along",
    "pooled": "means of the maps",
}
KINDS: dict[str, Callable[[float], Distortion]] = {
    "shift": lambda share: Distortion(right=round(40 * share)),
    "rotate": lambda share: Distortion(rotate=round(90 * share)),
    "scale": lambda share: Distortion(scale=round(1 + share, 2)),
    "brightness": lambda share: Distortion(brightness=round(1 - 0.8 * share, 2)),
    "noise": lambda share: Distortion(noise=round(0.3 * share, 3)),
}


def depth_layers(network: Network, count: int = 10) -> list[str]:
    """The layers that a curve over depth goes through: the ends of blocks, and the scores."""
    from labsupport.labs.lab08_optimization.visualization import unit_layers

    found = unit_layers(network, count)[1:]
    first = next(layer.name for layer in network.layers if layer.kind == "conv")
    scores = network.layers[-1].name
    return list(dict.fromkeys([first, *found, scores]))


@dataclass(frozen=True)
class Depth:
    """How alike activations are, layer by layer, after a distortion and between strangers."""

    titles: tuple[str, ...]
    after: Similarity
    strangers: Similarity | None
    words: str


def depth(
    network: Network,
    shown: torch.Tensor,
    distortion: Distortion,
    strangers: Similarity | None = None,
    layers: Sequence[str] | None = None,
) -> Depth:
    """`similarity` through the network, averaged over pictures (N, 3, H, W) later on."""
    layers = depth_layers(network) if layers is None else list(layers)
    titles = [network.layer(name).title for name in layers]
    if layers[-1] == network.layers[-1].name:
        titles[-1] = "scores"
    after = similarity(network, shown, distortion, layers)
    return Depth(tuple(titles), after, strangers, distortion.words)


def depth_picture(found: Depth, size: tuple[int, int] = (620, 320)) -> Image.Image:
    """Three correlations over depth; dotted, what two different pictures have in common."""
    places = np.arange(len(found.titles))

    def plot(axes: Axes) -> None:
        for place, name in enumerate(MEASURES):
            axes.plot(places, getattr(found.after, name).nanmean(1).numpy(), **_LOOKS[place])
            if found.strangers is not None and name != "aligned":
                floor = getattr(found.strangers, name).nanmean(1).numpy()
                axes.plot(places, floor, color=ink.SERIES[place], linestyle=":", linewidth=1.5)
        axes.set_xticks(places, found.titles, rotation=35, ha="right")
        axes.set_ylim(-0.08, 1.05)
        axes.set_ylabel("correlation")
        axes.set_title(found.words, fontsize=10, loc="left")

    return figures.drawn(plot, size=size)


_LOOKS: list[dict[str, Any]] = [
    {"color": colour, "linestyle": dash, "marker": marker, "linewidth": 2}
    for colour, dash, marker in zip(ink.SERIES, ink.DASHES, "os^", strict=False)
]


def depth_key(width: int = 620) -> Image.Image:
    """Which line is which, to stand below the curves."""

    def plot(axes: Axes) -> None:
        for look, words in zip(_LOOKS, MEASURES.values(), strict=True):
            axes.plot([], [], label=words, **look)
        axes.plot([], [], color="#555555", linestyle=":", label="the same for two strangers")
        axes.set_axis_off()
        axes.legend(frameon=False, fontsize=9, loc="center", ncols=2, columnspacing=2)

    return figures.drawn(plot, size=(width, 54))


def depth_panel(image: str = "koala") -> Panel:
    """Choose a distortion and its strength: how alike is each layer to what it was?"""
    network = controls.network_menu(names=photographs())

    def look(
        image: torch.Tensor, network: Network, kind: str, strength: float
    ) -> tuple[torch.Tensor, Depth]:
        standard, change = (
            images.standard(image, network.input_size[0]),
            KINDS[kind](strength / 100),
        )
        return distort(standard, change), depth(network, standard, change, _strangers(network))

    def draw(found: tuple[torch.Tensor, Depth]) -> tuple[Image.Image, str]:
        changed, numbers = found
        curves = figures.side_by_side([depth_picture(numbers), depth_key()], columns=1, gap=2)
        return figures.side_by_side([_tile(changed), curves]), depth_words(numbers)

    controls_shown: dict[str, Control] = {
        "image": controls.image_menu(images.photos(), image),
        "network": network,
        "kind": controls.choice("distortion", list(KINDS)),
        "strength": controls.whole("strength", 10, 0, 100, step=5, unit="%"),
    }
    return Panel(draw, controls_shown, title="What stays the same", compute=look, cost="quick")


_STRANGERS = ("giant_panda", "macaw", "taj_mahal", "coffee")


@lru_cache(maxsize=2)
def _strangers(network: Network) -> Similarity:
    """What two pictures of different things have in common at each layer."""
    size = network.input_size[0]
    some = torch.cat([images.standard(images.sample(name), size) for name in _STRANGERS])
    return similarity(network, some, some.roll(1, 0), depth_layers(network))


def depth_words(found: Depth) -> str:
    """The first layer against the last with maps, in a sentence."""
    after = found.after
    last = len(found.titles) - 2
    parts = []
    for name, words in MEASURES.items():
        numbers = getattr(after, name).nanmean(1)
        parts.append(f"{words} {float(numbers[0]):.2f} and {float(numbers[last]):.2f}")
    return (
        f"The picture is {found.words}. Correlation with the undistorted one at "
        f"{found.titles[0]} and at {found.titles[last]}: {'; '.join(parts)}."
    )


# Two pictures


def changes_panel(first: str = "koala", second: str = "red_panda", layer: str = "fire9") -> Panel:
    """Which units of a layer change most between picture A and picture B?"""
    network = controls.network_menu(names=photographs())
    layers = controls.layer_menu(network, layer, keep=has_maps)

    def look(
        first: torch.Tensor, second: torch.Tensor, network: Network, layer: str
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], UnitChanges, str]:
        size = network.input_size[0]
        one, other = images.standard(first, size), images.standard(second, size)
        maps = list(network.activations(torch.cat([one, other]), [layer])[layer])
        changes = unit_changes(network, one, other, layer)
        return [one, other], maps, changes, network.layer(layer).title

    def draw(
        found: tuple[list[torch.Tensor], list[torch.Tensor], UnitChanges, str], count: int
    ) -> tuple[Image.Image, str]:
        pair, maps, changes, title = found
        picture = changes_picture(pair, maps, changes, count=count)
        return picture, changes_words(changes, title)

    shown: dict[str, Control] = {
        "first": controls.image_menu(images.photos(), first, label="picture A"),
        "second": controls.image_menu(images.photos(), second, label="picture B"),
        "network": network,
        "layer": layers,
        "count": controls.whole("units", 6, 2, 7),
    }
    return Panel(draw, shown, title="What changed from A to B?", compute=look, cost="quick")


def changes_picture(
    pair: Sequence[torch.Tensor],
    maps: Sequence[torch.Tensor],
    changes: UnitChanges,
    *,
    count: int = 6,
) -> Image.Image:
    """The units that changed most, in columns: each over picture A and over picture B, its mean
    in white, and its name above with the sign of the change."""
    units = changes.order[:count].tolist()
    tiles, values = [], []
    for image, own, means in zip(pair, maps, (changes.first, changes.second), strict=True):
        for unit in units:
            most = max(float(one[unit].abs().max()) for one in maps)
            tiles.append(_over_small(image, own[unit], most))
            values.append(_short(means[unit]))
    titles = [f"{'▲' if changes.change[unit] > 0 else '▼'} unit {unit}" for unit in units]
    return figures.mosaic(
        tiles,
        columns=len(units),
        titles=[*titles, *[""] * len(units)],
        values=values,
        rows=["A", "B"],
        gap=6,
    )


def _over_small(image: torch.Tensor, map_: torch.Tensor, most: float) -> Image.Image:
    shown = images.resize(image, (96, 96))
    limits = (-most, most) if bool((map_ < 0).any()) else (0.0, max(most, 1e-6))
    colours = "signed" if limits[0] < 0 else "magma"
    settings: dict[str, Any] = {"opacity": 0.85, "fade": True, "bar": False}
    return figures.overlay(shown, map_, colours=colours, limits=limits, **settings)


def changes_words(changes: UnitChanges, title: str) -> str:
    """The unit that rose most and the one that fell most, in words."""
    change = changes.change
    up, down = int(change.argmax()), int(change.argmin())
    return (
        f"{title}: unit {up} rose most, from {_short(changes.first[up])} to "
        f"{_short(changes.second[up])}; unit {down} fell most, from {_short(changes.first[down])} "
        f"to {_short(changes.second[down])}."
    )


def depths_picture(
    network: Network,
    shown: torch.Tensor,
    distortions: Sequence[Distortion],
    *,
    columns: int = 2,
    size: tuple[int, int] = (412, 280),
) -> Image.Image:
    """The curves over depth for several distortions, each averaged over pictures (N, 3, H, W)."""
    strangers = _strangers(network)
    found = [depth(network, shown, one, strangers) for one in distortions]
    curves = figures.side_by_side([depth_picture(one, size) for one in found], columns=columns)
    return figures.side_by_side([curves, depth_key(curves.width)], columns=1, gap=4)
