"""Lab 02: what makes a unit fire most, as rows of regions; panels to leaf through units and to
put a name to the test."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.network import Network
from labsupport.core.network.layers import Box, Layer
from labsupport.core.streams import Images, image_of, network_fingerprint
from labsupport.methods import codes
from labsupport.methods.patches import TopPatches, precision_at_k, top_patches, units_for
from labsupport.ui import controls, declare, figures, ink
from labsupport.ui.control import Control, Step

TILE = 112  # pixels, about: half of the networks' 224
ROW_TILE, SMALL_TILE = 84, 72  # nine or sixteen in a row fit into a notebook beside their name


def squares(shown: images.ImageSet[images.Picture]) -> list[torch.Tensor]:
    """Every picture of a set as the network expects it, decoded once."""
    return [images.standard(one) for one in shown]


def fitting(network: Network, shown: Images) -> Images:
    """The images; made small where the network takes none of their size."""
    first = image_of(shown, 0)
    try:
        network.check(first)
    except BadImage:
        return network.remember(("fitting", id(shown)), lambda: _small(network, shown))
    return shown


def _small(network: Network, shown: Images) -> list[torch.Tensor]:
    return [codes.fitted(image_of(shown, one), network.input_size) for one in range(len(shown))]


# Regions


def region(
    image: torch.Tensor, box: Box, side: int, context: float = 0.0, *, tile: int = TILE
) -> Image.Image:
    """A square of about `tile` pixels around a box of an image, the box in white.

    `side` is the side of a whole receptive field in pixels. With `context` 0.5 half as much again
    is shown. The square stays inside the image, so at its border the box is off the middle.
    """
    if context < 0:
        raise BadSetting(f"context is a share of the box from 0 on, not {context}")
    window = max(1, min(*image.shape[2:], round(side * (1 + context))))
    cut, (left, top) = cut_around(image, box, window)
    edges = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    inside = [float(min(max(edge, 0), window)) for edge in edges]
    whole = inside == [0, 0, window, window]
    if window > tile:
        cut, inside = images.resize(cut, tile), [edge * tile / window for edge in inside]
    times = max(1, tile // cut.shape[2])
    return figures.boxes(cut, [] if whole else [inside], enlarge=times)


def cut_around(pixels: torch.Tensor, box: Box, side: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """The square of `side` pixels around a box, moved into (N, C, H, W), and its (left, top).

    Where the image is smaller than the square, the whole of it.
    """
    middles = ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
    size = [min(side, length) for length in pixels.shape[2:]]
    top, left = (
        min(max(round(middle - length / 2), 0), whole - length)
        for middle, length, whole in zip(middles, size, pixels.shape[2:], strict=True)
    )
    return pixels[:, :, top : top + size[0], left : left + size[1]], (left, top)


def unit_rows(
    patches: TopPatches,
    shown: Images,
    units: Mapping[int, str] | Sequence[int],
    *,
    side: int,
    context: float = 0.0,
    count: int | None = None,
    tile: int = ROW_TILE,
) -> Image.Image:
    """A row of regions for each unit, as in Girshick's figure 4: the value in white on each.

    `units` are channels (or numbers of directions), or these with a name each; `side` is the
    receptive field's, in pixels.
    """
    names = units if isinstance(units, Mapping) else dict.fromkeys(units, "")
    count = min(count or patches.k, patches.k)
    how: dict[str, Any] = {"side": side, "context": context, "tile": tile}
    tiles: list[figures.Pixels] = []
    values: list[str] = []
    titles: list[str] = []
    for unit, name in names.items():
        regions, words = _tiles(patches, shown, unit, count, **how)
        tiles, values = tiles + regions, values + words
        titles.append(name or f"unit {unit}")
    return figures.mosaic(tiles, columns=count, values=values, rows=titles)


def _tiles(
    patches: TopPatches, shown: Images, unit: int, count: int, *, tile: int, **how: Any
) -> tuple[list[figures.Pixels], list[str]]:
    """The regions of a unit's best patches, white where there are no more, and their values."""
    row = patches.row(unit)
    numbers, boxes, values = (
        every[row, :count].tolist() for every in (patches.images, patches.boxes, patches.values)
    )
    tiles: list[figures.Pixels] = [
        torch.ones(3, tile, tile)
        if number < 0
        else region(image_of(shown, number), box, tile=tile, **how)
        for number, box in zip(numbers, boxes, strict=True)
    ]
    return tiles, ["" if math.isnan(value) else _number(value) for value in values]


def _number(value: float) -> str:
    """Three digits are enough, and 1130 is easier to read than 1.13e+03."""
    return f"{value:.0f}" if abs(value) >= 100 else ink.number(value)


def field_side(network: Network, layer: str, limit: int = 224) -> int:
    """The side of a layer's receptive field in pixels, at most `limit`."""
    field = network.layer(layer).receptive_field
    return min(max(field), limit) if field else limit


# The panels


def _is_shown(layer: Layer) -> bool:
    """Layers with maps whose values have passed a ReLU or a pool: those that a unit's fire means.

    A concatenation is the end of a SqueezeNet's fire module.
    """
    return (
        layer.has_map and min(layer.shape[1:]) > 1 and layer.kind in ("relu", "concat", "max_pool")
    )


_ORDERS = {"the largest activations": "most", "the smallest activations": "least"}


def _search(
    shown: Images,
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire8", keep=_is_shown),
    order: str = declare.choice(_ORDERS),
) -> TopPatches:
    searched = fitting(network, shown)
    return top_patches(network, layer, searched, k=16, suppress="picture", order=order)


@declare.panel(
    "What a unit likes", compute=_search, cost="slow", first=("shown", "network", "layer", "unit")
)
def leaf_panel(
    patches: TopPatches,
    shown: Images,
    network: Network,
    layer: str,
    unit: int = declare.channel_of("layer"),
    count: int = declare.whole(9, 1, 16, label="patches"),
    context: float = declare.real(0.25, 0.0, 1.0, step=0.25),
) -> tuple[Image.Image, str]:
    """Leaf through the units of any layer: each one's top patches among these images.

    The search for all units of a layer takes seconds, then a unit is there at once.
    """
    side, seen = field_side(network, layer), fitting(network, shown)
    tiles = unit_tiles(patches, seen, unit, side=side, context=context, count=count)
    return tiles, unit_words(patches, unit, side, network.layer(layer).title, count)


def _search_unless_known(
    shown: Images,
    best: TopPatches,
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire6", keep=_is_shown),
) -> TopPatches:
    known = best.fingerprints["network"] == network_fingerprint(network, layer)
    return best if known else _search(shown, network, layer, "most")


class UnitsBox(Control):
    """A box to type some of `count` units into, such as "59, 241"; the value is a tuple of them."""

    def __init__(self, count: int, start: Sequence[int], *, label: str) -> None:
        self._count = count
        typed = ", ".join(map(str, start))
        super().__init__(widgets.Text(typed, continuous_update=False, **controls.look(label)))
        self._accept()

    @property
    def value(self) -> tuple[int, ...]:
        """The units in the order in which they were typed.

        Errors: `BadSetting` where there are none, too many, or one that does not exist.
        """
        parts = re.findall(r"[^\s,;]+", self.source.value)
        known = [int(part) for part in parts if part.isdecimal() and int(part) < self._count]
        if not 1 <= len(parts) <= _MOST or len(known) < len(parts):
            raise BadSetting(
                f"Type one to {_MOST} units, each from 0 to {self._count - 1}, such as 0, 1, 2; "
                f"not {self.source.value!r}."
            )
        return tuple(known)

    def steps(self) -> list[Step]:
        return [*map(self._step, ("0", "2, 1, 0")), self._step("a unit", complains=True)]

    def _accept(self) -> None:
        self.value  # noqa: B018  # asked only whether it can be read


_MOST = 8  # rows that are seen together on a screen
_UNITS: Any = declare.Declared(
    lambda name, at, made: UnitsBox(len(made["best"].units), at, label=name), (0, 1, 2, 3, 4, 5)
)


@declare.panel("Sixteen regions for each unit", cost="quick")
def regions_panel(
    best: TopPatches, shown: Images, network: Network, units: Sequence[int] = _UNITS
) -> tuple[Image.Image, str]:
    """Girshick's figure 4: a search's best regions of some units, in white each one's receptive
    field and activation."""
    side, title = field_side(network, best.layer), network.layer(best.layer).title
    largest = ", ".join(
        f"{_number(float(best.values[best.row(u), 0]))} for unit {u}" for u in units
    )
    return unit_rows(best, shown, units, side=side, tile=SMALL_TILE), (
        f"{title}, {ink.counted(len(units), 'unit')}: the {best.k} regions with the largest "
        f"activations, the largest on the left. A white frame is what the unit sees, {side} x "
        f"{side} pixels where no border cuts it. The largest activation is {largest}."
    )


def _concepts(_: str, start: str, made: declare.Made) -> Any:
    """A menu of every label and every coarser category of the pictures."""
    words = {word for one in made["pictures"] for word in (one.label, one.category)}
    return declare.choice(sorted(words), start)


_CONCEPT: Any = declare.Declared(_concepts, "road vehicles")


@declare.panel("Name this unit", compute=_search_unless_known, cost="slow", first=("pictures",))
def naming_panel(
    patches: TopPatches,
    pictures: Sequence[images.Picture],
    shown: Images,
    network: Network,
    layer: str,
    unit: int = declare.channel_of("layer", 318),
    concept: str = _CONCEPT,
    count: int = declare.whole(9, 1, 16, label="patches k"),
) -> tuple[Image.Image, str]:
    """Name a unit: choose a concept, and see how often the labels of its top patches agree.

    `pictures` are those that `shown` holds as images. `best` is a search that was made before
    (one patch of a picture, sixteen of them) and is not made again.
    """
    labels, side = _labels(pictures, concept), field_side(network, layer)
    seen = fitting(network, shown)
    picture = named_tiles(patches, seen, labels, unit, concept, side=side, count=count)
    words = naming_words(patches, labels, unit, concept, count)
    return picture, f"{network.layer(layer).title}, unit {unit}: {words}"


def _labels(pictures: Sequence[images.Picture], concept: str) -> list[str]:
    """Each picture's label, or its coarser category if that is what the concept is."""
    labels = [one.label for one in pictures]
    return labels if concept in labels else [one.category for one in pictures]


def named_tiles(
    patches: TopPatches,
    shown: Images,
    labels: Sequence[str],
    unit: int,
    concept: str,
    *,
    side: int,
    count: int = 9,
) -> Image.Image:
    """A unit's top patches, each under a sign (+ or -) and its label; precision at k below them.

    The dashed line is what drawing pictures by chance would reach.
    """
    row = patches.row(unit)
    numbers = patches.pictures[row, :count].tolist()
    words = ["" if number < 0 else labels[number] for number in numbers]
    titles = [f"{'+' if word == concept else '−'} {word}" for word in words]
    how: dict[str, Any] = {"context": 0.25, "count": count, "tile": 96}
    block = unit_tiles(patches, shown, unit, side=side, titles=titles, **how)
    share = precision_at_k(patches, labels, concept)[row]
    places = torch.arange(1, len(share) + 1)
    chance = torch.full_like(share, _chance(labels, concept))
    curve = figures.curve(
        {"this unit": (places, share), "by chance": (places, chance)},
        across="k",
        up=f"precision at k: {concept}",
        size=(400, 240),
        limits=(-0.03, 1.03),
        points=True,
    )
    return figures.side_by_side([block, curve], columns=1)


def _chance(labels: Sequence[str], concept: str) -> float:
    return list(labels).count(concept) / len(labels)


def naming_words(
    patches: TopPatches, labels: Sequence[str], unit: int, concept: str, count: int
) -> str:
    """How well a name fits, in words, and which units it fits best."""
    share = precision_at_k(patches, labels, concept)
    precision = float(share[patches.row(unit), count - 1])
    best = units_for(patches, labels, concept, 3)
    others = ", ".join(f"{one} ({share[patches.row(one), -1]:.2f})" for one in best)
    return (
        f"{round(precision * count)} of {count} patches come from pictures of {concept}, a "
        f"precision of {precision:.2f}; by chance it would be {_chance(labels, concept):.2f}. "
        f"The best units for {concept}, at {patches.k} patches: {others}."
    )


def unit_tiles(
    patches: TopPatches,
    shown: Images,
    unit: int,
    *,
    side: int,
    context: float = 0.0,
    count: int = 9,
    tile: int = TILE,
    titles: Sequence[str] | None = None,
) -> Image.Image:
    """One unit's top patches as a block, the best at the upper left."""
    tiles, values = _tiles(patches, shown, unit, count, side=side, context=context, tile=tile)
    columns = math.ceil(math.sqrt(count))
    return figures.mosaic(tiles, columns=columns, titles=titles, values=values)


def unit_words(patches: TopPatches, unit: int, side: int, title: str, count: int = 9) -> str:
    """What the block shows, in a sentence; `title` is the layer's name for people."""
    values = patches.values[patches.row(unit), :count]
    known = values[~values.isnan()]
    which = "largest" if patches.order == "most" else "smallest"
    first, last = (_number(float(value)) for value in (known[0], known[-1]))
    patches_shown = ink.counted(len(known), "patch")
    return (
        f"{title}, unit {unit}: {patches_shown} with the {which} activations, {first} to {last}, "
        f"each of another picture. The frame is what the unit sees: {side} x {side} pixels."
    )
