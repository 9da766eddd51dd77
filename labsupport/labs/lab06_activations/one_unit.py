"""Lab 06: one unit from every side, beside the mosaic in which it is chosen."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.core.streams import Images, network_fingerprint
from labsupport.labs.lab02_patches import field_side, fitting, unit_tiles
from labsupport.labs.lab06_activations import mosaics
from labsupport.labs.lab06_activations.mosaics import NARROW, TILE, short
from labsupport.labs.lab07_deconv import RULE_WORDS, gradient_image
from labsupport.methods.activations import PictureCache, UnitViews, Votes, unit_views
from labsupport.methods.optimize import CLEAR, Recipe
from labsupport.methods.patches import TopPatches
from labsupport.ui import declare, figures, ink
from labsupport.ui.control import Remembered
from labsupport.ui.mosaics import mosaic_picture
from labsupport.ui.panel import Live


@dataclass
class Known:
    """What a panel keeps of the units that it has shown."""

    cache: PictureCache = field(default_factory=PictureCache)
    drawings: Remembered = field(default_factory=lambda: Remembered(8))
    scans: dict[tuple[str, str], TopPatches] = field(default_factory=dict)
    whole: set[tuple[Any, ...]] = field(default_factory=set)  # what was asked, and is all there
    moved: bool = False  # whether a control was, since the last run


@dataclass(frozen=True)
class UnitFrame:
    """What is known of a unit so far, and its layer's maps."""

    network: Network
    layer: Layer
    maps: torch.Tensor
    views: UnitViews
    drawings: Remembered = field(default_factory=lambda: Remembered(8))

    @property
    def progress(self) -> float:
        return self.views.progress

    @property
    def best(self) -> float:
        """The unit's largest activation in the pictures that were searched; NaN before that."""
        patches = self.views.patches
        if patches is None:
            return math.nan
        return float(patches.values[patches.row(self.views.target.index), 0])

    def drawn(self, name: str, of: tuple[Any, ...], draw: Callable[[], Image.Image]) -> Image.Image:
        """The part `name`, which shows the objects `of`: drawn anew where one of them is new."""
        # the objects are kept with it, so that no new one gets the identity of an old one
        key = (name, *map(id, of))
        picture: Image.Image = self.drawings.get(key, lambda: (of, draw()))[1]
        return picture


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
    pictures = fitting(network, pictures)
    searched = pictures if remake else known.scans.get(scan, pictures)
    standard = images.standard(image, network.input_size[0])
    maps = network.activations(standard, [layer])[layer][0]
    how: dict[str, Any] = {"recipe": recipe, "cache": cache or known.cache, "remake": remake}
    for views in unit_views.frames(network, standard, (layer, unit), searched, **how):
        if views.patches is not None and views.scanned == views.pictures:
            known.scans[scan] = views.patches
        if views.progress >= 1:
            known.whole.add(asked)
        yield UnitFrame(network, network.layer(layer), maps, views, known.drawings)


def views_picture(frame: UnitFrame, pictures: Images) -> Image.Image:
    """All views of a unit; what is not there yet is an empty frame that says so."""
    views, unit, drawn = frame.views, frame.views.target.index, frame.drawn
    # the mosaic stands at the upper left, where clicks are counted from
    of = (frame.maps, views.map)
    tiles = drawn("mosaic", of, lambda: mosaic_picture(frame.maps, unit, wide=NARROW))
    of = (views.image, views.map)
    over = drawn("over", of, lambda: mosaics.unit_over(views.image, views.map))
    best = views.picture
    grown = figures.note("growing ...", TILE) if best is None else figures.fitted(best.image, TILE)
    titles = [f"unit {unit} over the picture", "what excites it most"]
    above = figures.side_by_side([over, grown], titles)
    below = drawn("histogram", (views.map, views.patches), lambda: histogram(frame))
    beside = figures.side_by_side([above, below], columns=1, gap=10)
    first = figures.side_by_side([tiles, beside])
    second = drawn("second", (views.patches, views.gradients), lambda: _second(frame, pictures))
    if not frame.network.categories:
        return figures.side_by_side([first, second], columns=1, gap=12)
    votes = drawn("votes", (views.votes,), lambda: votes_picture(views.votes, frame.network))
    third = figures.side_by_side([votes], ["the classes whose score it raises and lowers here"])
    return figures.side_by_side([first, second, third], columns=1, gap=12)


def _second(frame: UnitFrame, pictures: Images) -> Image.Image:
    """The top patches, and the gradient by each rule."""
    found = frame.views.gradients
    if found is None:
        gradients = [figures.note("going back ...", TILE) for _ in RULE_WORDS]
    else:
        gradients = [figures.fitted(gradient_image(one.values[0]), TILE) for one in found.values()]
    titles = ["top patches", *(RULE_WORDS[rule] for rule in found or RULE_WORDS)]
    return figures.side_by_side([_patches(frame, pictures), *gradients], titles)


def _patches(frame: UnitFrame, pictures: Images) -> Image.Image:
    patches = frame.views.patches
    if patches is None:
        return figures.note("searching ...", TILE)
    unit, side = frame.views.target.index, field_side(frame.network, frame.layer.name)
    seen = fitting(frame.network, pictures)
    return unit_tiles(patches, seen, unit, side=side, context=0.25, tile=TILE // 3 - 2)


def histogram(frame: UnitFrame) -> Image.Image:
    """How many positions of this picture have which activation, on a logarithmic scale; a dashed
    line marks the largest activation in all pictures."""
    values, best = frame.views.map.flatten().numpy(), frame.best
    ends = [float(end) for end in (0, values.min(), values.max(), best) if math.isfinite(end)]
    counts, edges = np.histogram(values, bins=40, range=(min(ends), max(*ends, 1e-6)))
    limits = (0.5, 2.0 * counts.max())  # half a count is the foot, so that a single one is seen
    lines = {
        "in this picture": (edges.repeat(2)[1:-1], counts.repeat(2)),
        "largest of all pictures": (np.full(2, best), np.array(limits)),
    }
    how: dict[str, Any] = {"size": (NARROW, 172), "limits": limits, "log": True}
    return figures.curve(lines, across="activation of the unit", up="positions", **how)


def votes_picture(votes: Votes | None, network: Network) -> Image.Image:
    """The classes that a unit raises most, red, and lowers most, blue: bars right and left of
    zero."""
    if votes is None:
        return figures.note("...", TILE)
    best, worst = _ranked(votes.values[0], 4)
    if not best and not worst:
        return figures.note("The unit is silent here: no score changes.", TILE)
    values = votes.values[0][[*best, *worst]].numpy()
    names = [ink.fit(network.categories[n], 210) for n in (*best, *worst)]

    def plot(axes: figures.Axes) -> None:
        colours = [ink.SERIES[1] if value > 0 else ink.SERIES[0] for value in values]
        rows = axes.barh(range(len(names)), values, color=colours)
        axes.bar_label(rows, [short(value) for value in values], padding=4, fontsize=9)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.axvline(0, color=ink.SERIES[-1])
        axes.grid(False)
        axes.margins(x=0.1)
        axes.invert_yaxis()

    return figures.drawn(plot, size=(2 * NARROW + 16, 20 * len(names) + 10))


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
        found = f"{views.scanned} of {views.pictures} pictures"
        words += f", {short(frame.best)} in the best of {found}"
    if views.votes is not None:
        values = views.votes.values[0]
        if float(values.max()) > 0:
            name = frame.network.categories[int(values.argmax())]
            words += f". Here it raises the score of {name} most, by {short(values.max())}"
        else:
            words += ". Here it is silent and raises no score"
    elif not frame.network.categories:
        words += f". {frame.network.name} comes without its classes: there is no score to raise"
    if views.picture is not None:
        one = views.picture
        how = "kept from before" if one.cached else f"step {one.step} of {one.steps}"
        words += f". The picture that excites it: mean {short(one.score)}, {how}"
    return f"{words}."
