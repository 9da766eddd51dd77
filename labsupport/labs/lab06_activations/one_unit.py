"""Lab 06: one unit from every side, beside the mosaic in which it is chosen."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.core.streams import Images, network_fingerprint
from labsupport.labs.lab02_patches import field_side, unit_tiles
from labsupport.labs.lab06_activations import mosaics
from labsupport.labs.lab06_activations.mosaics import NARROW, TILE, short
from labsupport.labs.lab07_deconv import RULE_WORDS, gradient_image
from labsupport.methods.activations import PictureCache, UnitViews, Votes, unit_views
from labsupport.methods.optimize import CLEAR, Recipe
from labsupport.methods.patches import TopPatches
from labsupport.ui import declare, figures, ink
from labsupport.ui.panel import Live


class DrawingCache:
    """The last drawings, each with what it shows: drawn anew when that is another object."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[tuple[Any, ...], Image.Image]] = {}

    def get(self, name: str, of: tuple[Any, ...], draw: Callable[[], Image.Image]) -> Image.Image:
        """The part `name`, which shows the objects `of`."""
        last, picture = self._last.get(name, ((), None))
        if picture is None or list(map(id, last)) != list(map(id, of)):
            picture = draw()
            self._last[name] = (of, picture)
        return picture


@dataclass
class Known:
    """What a panel keeps of the units that it has shown."""

    cache: PictureCache = field(default_factory=PictureCache)
    drawings: DrawingCache = field(default_factory=DrawingCache)
    scans: dict[tuple[str, str], TopPatches] = field(default_factory=dict)
    whole: set[tuple[Any, ...]] = field(default_factory=set)  # what was asked, and is all there
    moved: bool = False  # whether a control was, since the last run

    def keep_scan(self, of: tuple[str, str], patches: TopPatches) -> None:
        """The last four searches are kept."""
        while len(self.scans) >= 4:
            self.scans.pop(next(iter(self.scans)), None)
        self.scans[of] = patches


@dataclass(frozen=True)
class UnitFrame:
    """What is known of a unit so far, and its layer's maps."""

    network: Network
    layer: Layer
    maps: torch.Tensor
    views: UnitViews
    drawings: DrawingCache = field(default_factory=DrawingCache)

    @property
    def progress(self) -> float:
        return self.views.progress


class UnitPanel(Live):
    """The views of one unit, the quick ones at once. What is known already is shown again without
    a search, unless *Run again* is pressed where all of it is there already."""

    def __init__(self, frames: Callable[..., Iterator[UnitFrame]], **how: Any) -> None:
        self._known = Known()
        super().__init__(partial(frames, known=self._known), **how)

    def changed(self) -> None:
        self._known.moved = True
        super().changed()


def _draw(frame: UnitFrame, pictures: Images) -> tuple[Image.Image, str]:
    return views_picture(frame, pictures), views_words(frame)


_UNIT = mosaics.picked(NARROW)


@declare.live("One unit, every view", draw=_draw, kind=UnitPanel)
def unit_panel(
    pictures: Images,
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire8", keep=mosaics.has_maps),
    unit: int = _UNIT,
    recipe: Recipe = CLEAR,
    cache: PictureCache | None = None,
    known: Known | None = None,
) -> Iterator[UnitFrame]:
    """Every view of one unit beside the mosaic in which it is chosen.

    `pictures` are scanned for top patches. The pictures that excite units are grown by the
    `recipe`, and kept in a `cache`. `known` is the panel's own.
    """
    known = known or Known()
    moved, known.moved = known.moved, False
    asked = (id(image), network, layer, unit)
    remake = asked in known.whole and not moved
    scan = (network_fingerprint(network, layer), layer)
    searched = pictures if remake else known.scans.get(scan, pictures)
    standard = images.standard(image, network.input_size[0])
    maps = network.activations(standard, [layer])[layer][0]
    how: dict[str, Any] = {"recipe": recipe, "cache": cache or known.cache, "remake": remake}
    for views in unit_views.frames(network, standard, (layer, unit), searched, **how):
        if views.patches is not None and views.scanned == views.pictures:
            known.keep_scan(scan, views.patches)
        if views.progress >= 1:
            known.whole.add(asked)
        yield UnitFrame(network, network.layer(layer), maps, views, known.drawings)


def views_picture(frame: UnitFrame, pictures: Images) -> Image.Image:
    """All views of a unit; what is not there yet is an empty frame that says so."""
    views, unit, drawn = frame.views, frame.views.target.index, frame.drawings.get
    # the mosaic stands at the upper left, where clicks are counted from
    of = (frame.maps, views.map)
    tiles = drawn("mosaic", of, lambda: mosaics.mosaic_picture(frame.maps, unit, wide=NARROW))
    of = (views.image, views.map)
    over = drawn("over", of, lambda: mosaics.unit_over(views.image, views.map))
    best = views.picture
    grown = _empty("growing ...") if best is None else figures.tile(best.image, TILE)
    titles = [f"unit {unit} over the picture", "what excites it most"]
    above = figures.side_by_side([over, grown], titles)
    bars = drawn("histogram", (views.map, views.patches), lambda: histogram(frame))
    below = figures.side_by_side([bars], ["how often it fires how strongly, here"])
    beside = figures.side_by_side([above, below], columns=1, gap=10)
    first = figures.side_by_side([tiles, beside])
    second = drawn("second", (views.patches, views.gradients), lambda: _second(frame, pictures))
    votes = drawn("votes", (views.votes,), lambda: votes_picture(views.votes, frame.network))
    third = figures.side_by_side(
        [votes], ["the classes that it speaks for here (+) and against (−)"]
    )
    return figures.side_by_side([first, second, third], columns=1, gap=12)


def _second(frame: UnitFrame, pictures: Images) -> Image.Image:
    """The top patches, and the gradient by each rule."""
    found = frame.views.gradients
    if found is None:
        gradients = [_empty("going back ...") for _ in RULE_WORDS]
    else:
        gradients = [figures.tile(gradient_image(one.values[0]), TILE) for one in found.values()]
    titles = ["top patches", *(RULE_WORDS[rule] for rule in found or RULE_WORDS)]
    return figures.side_by_side([_patches(frame, pictures), *gradients], titles)


def _empty(words: str, side: int = TILE) -> Image.Image:
    blank = Image.new("RGB", (side, side), (244, 244, 244))
    ink.write(blank, (side / 2, side / 2), words, colour=ink.QUIET, anchor="mm")
    return blank


def _patches(frame: UnitFrame, pictures: Images) -> Image.Image:
    patches = frame.views.patches
    if patches is None:
        return _empty("searching ...")
    unit, side = frame.views.target.index, field_side(frame.network, frame.layer.name)
    count = min(9, int((~patches.values[patches.row(unit)].isnan()).sum()))
    block = unit_tiles(patches, pictures, unit, side=side, context=0.25, count=count)
    if block.width > TILE:
        block = block.resize((TILE, round(block.height * TILE / block.width)), Image.Resampling.BOX)
    return block


def histogram(frame: UnitFrame) -> Image.Image:
    """How often the unit answers how strongly in this picture, on a logarithmic scale; a dashed
    line marks the best of all pictures."""
    values, patches = frame.views.map.flatten().numpy(), frame.views.patches
    best = math.nan
    if patches is not None:
        best = float(patches.values[patches.row(frame.views.target.index), 0])
    ends = [float(values.min()), float(values.max()), *([best] if math.isfinite(best) else [])]
    low, high = min(0.0, *ends), max(*ends, 1e-6)
    counts, edges = np.histogram(values, bins=40, range=(low, high))
    axes = _Axes((NARROW, 150), (low, high), math.log10(2 * max(1, counts.max())))
    for count, first, last in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            box = (axes.x(first), axes.y(math.log10(2 * count)), axes.x(last) - 1, axes.foot)
            axes.pen.rectangle(box, fill=ink.SERIES[0])
    if math.isfinite(best):
        axes.dashed(best, f"best of {frame.views.scanned} pictures: {short(best)}")
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


def votes_picture(votes: Votes | None, network: Network) -> Image.Image:
    """The classes that a unit speaks for most, and against most: bars right and left of zero."""
    if votes is None:
        return _empty("...")
    values = votes.values[0]
    best, worst = _ranked(values, 4)
    rows, width = [*best, *worst], 2 * NARROW + 16
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
        ink.write(sheet, (end + side[1], level), short(value), anchor=side[0])
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


def views_words(frame: UnitFrame) -> str:
    """What is known of a unit, in sentences."""
    views = frame.views
    words = (
        f"{frame.layer.title}, unit {views.target.index}: largest {short(views.map.max())} in "
        "this picture"
    )
    if views.patches is not None:
        row = views.patches.row(views.target.index)
        best = short(views.patches.values[row, 0])
        words += f", {best} in the best of {views.scanned} of {views.pictures} pictures"
    if views.votes is not None:
        values = views.votes.values[0]
        if float(values.max()) > 0:
            name = frame.network.categories[int(values.argmax())]
            words += f". Here it speaks most for {name} ({short(values.max())})"
        else:
            words += ". Here it is silent and speaks for no class"
    if views.picture is not None:
        one = views.picture
        how = "kept from before" if one.cached else f"step {one.step} of {one.steps}"
        words += f". The picture that excites it: mean {short(one.score)}, {how}"
    return f"{words}."
