"""Lab 02: what makes a unit fire most, as rows of regions, and a panel to leaf through units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.core.layers import Box, Layer
from labsupport.core.networks import Network
from labsupport.core.streams import Images, image_of
from labsupport.methods.patches import TopPatches, UnitActivations, top_patches
from labsupport.ui import controls, figures, ink
from labsupport.ui.labs.occlusion import photographs
from labsupport.ui.panels import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILE = 112  # pixels, about: half of the networks' 224
_ORDERS = {"the largest activations": "most", "the smallest activations": "least"}


def squares(shown: images.ImageSet[images.Picture], size: int = 224) -> list[torch.Tensor]:
    """Every picture of a set as the network expects it, decoded once."""
    return [images.standard(one, size) for one in shown]


# Regions


def region(image: torch.Tensor, box: Box, side: int, context: float = 0.0) -> Image.Image:
    """A square of about `TILE` pixels around a box of an image, the box in white.

    `side` is the side of a whole receptive field in pixels. With `context` 0.5 half as much again
    is shown. The square stays inside the image, so at its border the box is off the middle.
    """
    height, width = image.shape[2:]
    if context < 0:
        raise BadSetting(f"context is a share of the box from 0 on, not {context}")
    window = max(1, min(height, width, round(side * (1 + context))))
    left, top, right, bottom = box
    first = [
        min(max(round((low + high - window) / 2), 0), length - window)
        for low, high, length in ((left, right, width), (top, bottom, height))
    ]
    cut = image[:, :, first[1] : first[1] + window, first[0] : first[0] + window]
    edges = (left - first[0], top - first[1], right - first[0], bottom - first[1])
    inside = [float(min(max(edge, 0), window)) for edge in edges]
    if window > TILE:
        cut, inside = images.resize(cut, TILE), [edge * TILE / window for edge in inside]
    times = max(1, TILE // cut.shape[2])
    whole = inside == [0, 0, window, window]
    return figures.boxes(cut, [] if whole else [inside], enlarge=times)


def unit_rows(
    patches: TopPatches,
    shown: Images,
    units: Mapping[int, str] | Sequence[int],
    *,
    side: int,
    context: float = 0.0,
    count: int | None = None,
) -> Image.Image:
    """A row of regions for each unit, as in Girshick's figure 4: the value in white on each.

    `units` are channels, or channels with a name each; `side` is the receptive field's, in pixels.
    """
    names = units if isinstance(units, Mapping) else dict.fromkeys(units, "")
    count = min(count or patches.k, patches.k)
    tiles, values = [], []
    for unit in names:
        row = patches.row(unit)
        for place in range(count):
            tiles.append(_tile(patches, shown, row, place, side, context))
            missing = int(patches.images[row, place]) < 0
            values.append("" if missing else ink.number(float(patches.values[row, place])))
    titles = [name or f"unit {unit}" for unit, name in names.items()]
    return figures.mosaic(tiles, columns=count, values=values, rows=titles)


def _tile(
    patches: TopPatches, shown: Images, row: int, place: int, side: int, context: float
) -> Image.Image:
    number = int(patches.images[row, place])
    if number < 0:
        return Image.new("RGB", (TILE, TILE), "white")
    left, top, right, bottom = patches.boxes[row, place].tolist()
    return region(image_of(shown, number), (left, top, right, bottom), side, context)


def mean_region(patches: TopPatches, shown: Images, unit: int, *, side: int) -> torch.Tensor:
    """The average of a unit's top patches, (1, 3, S, S): what all of them share stays sharp.

    Each patch is the square of a whole receptive field around its box, moved into the image.
    """
    row, cuts = patches.row(unit), []
    for place in range(patches.k):
        number = int(patches.images[row, place])
        if number < 0:
            continue
        image = image_of(shown, number)
        window = min(side, *image.shape[2:])
        left, top, right, bottom = patches.boxes[row, place].tolist()
        x = min(max((left + right - window) // 2, 0), image.shape[3] - window)
        y = min(max((top + bottom - window) // 2, 0), image.shape[2] - window)
        cuts.append(images.resize(image[:, :, y : y + window, x : x + window], (side, side)))
    return torch.cat(cuts).mean(0, keepdim=True)


def field_side(network: Network, layer: str, limit: int = 224) -> int:
    """The side of a layer's receptive field in pixels, at most `limit`."""
    field = network.layer(layer).receptive_field
    return min(max(field), limit) if field else limit


# The whole of a unit


def histogram(found: UnitActivations, marks: Sequence[float] = (), bins: int = 60) -> Image.Image:
    """How often a unit answers how strongly, on a logarithmic axis; lines at the `marks`."""
    counts, edges = np.histogram(found.values.numpy(), bins=bins)
    middles = (edges[:-1] + edges[1:]) / 2

    def plot(axes: Axes) -> None:
        axes.bar(middles, counts, width=np.diff(edges), color="#0072B2")
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)
        for mark in marks:
            axes.axvline(mark, color="#D55E00", linestyle="--", linewidth=2)
        axes.set_xlabel(f"activation of channel {found.channel}")
        axes.set_ylabel("number of positions")

    return figures.drawn(plot)


# The panel


def _is_shown(layer: Layer) -> bool:
    """Layers with maps whose values have passed a ReLU or a pool: those that a unit's fire means.

    A concatenation is the end of a SqueezeNet's fire module.
    """
    return (
        layer.has_map and min(layer.shape[1:]) > 1 and layer.kind in ("relu", "concat", "max_pool")
    )


def leaf_panel(
    shown: Images, layer: str = "fire8", unit: int = 0, network: str = "squeezenet1_1"
) -> Panel:
    """Leaf through the units of any layer: each one's top patches among these images.

    The search for all units of a layer takes seconds, then a unit is there at once.
    """
    menu = controls.network_menu(network, names=photographs())
    layers = controls.layer_menu(menu, layer, keep=_is_shown)

    def search(network: Network, layer: str, order: str) -> tuple[TopPatches, int, str]:
        found = top_patches(network, layer, shown, k=16, suppress="picture", order=order)
        return found, field_side(network, layer), network.layer(layer).title

    def draw(
        found: tuple[TopPatches, int, str], unit: int, count: int, context: float
    ) -> tuple[Image.Image, str]:
        patches, side, title = found
        tiles = unit_tiles(patches, shown, unit, side=side, context=context, count=count)
        return tiles, unit_words(patches, unit, side, title)

    shown_controls = {
        "network": menu,
        "layer": layers,
        "unit": controls.channel_slider(layers, unit, label="unit"),
        "order": controls.choice("order", _ORDERS),
        "count": controls.whole("patches", 9, 1, 16),
        "context": controls.real("context", 0.25, 0.0, 1.0, step=0.25),
    }
    return Panel(draw, shown_controls, title="What a unit likes", compute=search, cost="slow")


def unit_tiles(
    patches: TopPatches,
    shown: Images,
    unit: int,
    *,
    side: int,
    context: float = 0.0,
    count: int = 9,
) -> Image.Image:
    """One unit's top patches as a block, the best at the upper left."""
    row = patches.row(unit)
    tiles = [_tile(patches, shown, row, place, side, context) for place in range(count)]
    values = ["" if math.isnan(v) else ink.number(v) for v in patches.values[row, :count].tolist()]
    return figures.mosaic(tiles, columns=math.ceil(math.sqrt(count)), values=values)


def unit_words(patches: TopPatches, unit: int, side: int, title: str = "") -> str:
    """What the block shows, in a sentence; `title` is the layer's name for people."""
    values = patches.values[patches.row(unit)]
    known = values[~values.isnan()]
    which = "largest" if patches.order == "most" else "smallest"
    first, last = (ink.number(float(value)) for value in (known[0], known[-1]))
    return (
        f"{title or patches.layer}, unit {unit}: the {which} activations, {first} to {last} over "
        f"{len(known)} pictures; it sees {side} x {side} pixels."
    )
