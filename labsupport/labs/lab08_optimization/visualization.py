"""Lab 08 and those after it: pictures that grow under a gradient, live and kept ones."""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from labsupport.core import bundled, images
from labsupport.core.frames import Beside
from labsupport.core.network import Network, Pair, Target, TargetLike
from labsupport.core.network.layers import Layer
from labsupport.methods import optimize
from labsupport.methods.optimize import (
    CLEAR,
    COARSE,
    MACO,
    YOSINSKI,
    Frame,
    LogOdds,
    Objective,
    TargetValue,
)
from labsupport.ui import declare, figures, ink
from labsupport.ui.controls import block_ends

# The lecture's class images: Simonyan's two rows, then Yosinski's.
LECTURE = (
    "dumbbell",
    "cup",
    "dalmatian",
    "bell pepper",
    "lemon",
    "Siberian husky",
    "washer",
    "computer keyboard",
    "kit fox",
    "goose",
    "ostrich",
    "limousine",
    "flamingo",
    "pelican",
    "hartebeest",
    "pool table",
    "ground beetle",
    "Indian cobra",
    "beach wagon",
    "black swan",
)
# What the slides call some of them, where ImageNet's name is another.
SLIDE_NAMES = {
    "Siberian husky": "husky",
    "washer": "washing machine",
    "pool table": "billiard table",
    "beach wagon": "station wagon",
}
RECIPES = {recipe.name: recipe for recipe in (CLEAR, COARSE, MACO, optimize.SIMONYAN, *YOSINSKI)}
_STARTS = {"as the setting has it": ""} | {one: one for one in optimize.STARTS if one != "mean"}
_RAISED = {"score and log-odds": "both", "the score alone (Simonyan)": "score"}
_EXTENTS = {"the whole map": "map", "one neuron in the middle": "neuron"}
KEPT_COLUMNS = {"classes": 5, "units": 6}  # of the sheets that data/build/optimized.py made


def class_objective(names: str | int | Sequence[str | int]) -> Objective:
    """What shows a class best: its score, and its log-odds, so that colours are the class's own.

    A sequence has a class for each image of a batch.
    """
    several = list(names) if not isinstance(names, str | int) else names
    return TargetValue(several) + LogOdds(several)


# Live


def unit_target(network: Network, layer: str, channel: int, *, neuron: bool = False) -> TargetLike:
    """A channel as a target; with `neuron`, the one in the middle of its map, if it has one."""
    shape = network.layer(layer).shape
    if neuron and len(shape) == 3:
        return (layer, channel, (shape[1] // 2, shape[2] // 2))
    return (layer, channel)


def unit_size(network: Network, layer: str) -> Pair:
    """The network's own size; half of it where a unit sees less than a quarter of the side. Such a
    picture shows the unit's theme larger, and a step costs a quarter."""
    height, width = network.input_size
    field = network.layer(layer).receptive_field
    small = field is not None and 4 * max(field) < min(height, width)
    return (height // 2, width // 2) if small else (height, width)


def has_channels(layer: Layer) -> bool:
    """Whether a layer says anything that the one before it has not said."""
    return layer.kind not in ("dropout", "flatten", "identity")


@dataclass(frozen=True)
class PanelFrame(Beside[Frame]):
    """A frame, what stands beside it, and how long it took."""

    title: str
    seconds: float  # since the start


def _panel_frames(
    network: Network,
    objective: Objective,
    title: str,
    *,
    recipe: str = "ours",
    start: str = "",
    **how: Any,
) -> Iterator[PanelFrame]:
    begun, how = time.perf_counter(), {**how, "recipe": RECIPES[recipe], "start": start or None}
    for frame in optimize.visualize.frames(network, objective, **how):
        yield PanelFrame(frame, title, time.perf_counter() - begun)


def _draw_class(shown: PanelFrame, network: Network) -> tuple[Image.Image, str]:
    if not network.categories:
        return _draw_unit(shown)
    frame, name = shown.frame, shown.title
    [answers] = network.predict(frame.image)
    chance = next((one.probability for one in answers if one.name == name), 0.0)
    picture = figures.side_by_side(
        [figures.enlarge(frame.image, 2), figures.bars(answers, highlight=name)],
        [name, "what the network says about it"],
    )
    (term, value), *_ = frame.terms.items()
    raised = "score" if term == name else term
    words = f"{name}: {raised} {float(value):.1f}, probability {figures.per_cent(chance)}"
    return picture, f"{words}. {_so_far(shown)}"


def _draw_unit(shown: PanelFrame) -> tuple[Image.Image, str]:
    frame, image, seen = shown.frame, shown.frame.image, ""
    if frame.box is not None:
        left, top, right, bottom = frame.box
        image = image[:, :, top:bottom, left:right]
    times = max(1, round(448 / max(image.shape[2:])))
    if frame.box is not None:
        seen = f" It sees {image.shape[3]} x {image.shape[2]} pixels, shown {times} times as large."
    if float(frame.score) < 0 < float(frame.gradient_size):
        seen += " A ReLU still silences it: this is its value before the ReLU."
    words = f"{shown.title}: {ink.number(float(frame.score))}. {_so_far(shown)}{seen}"
    return figures.enlarge(image, times), words


def _so_far(shown: PanelFrame) -> str:
    frame = shown.frame
    words = f"Step {frame.step} of {frame.steps}, {shown.seconds:.1f} s."
    if float(frame.gradient_size) == 0:
        words += (
            " The gradient is zero everywhere: the unit is silent on this image, and no step can "
            "change it. Start from noise, or with another seed."
        )
    return words


SETTING = declare.together(
    recipe=declare.choice(list(RECIPES), "ours", label="setting"),
    start=declare.choice(_STARTS),
    steps=declare.whole(60, 20, 400, step=20),
    seed=declare.seed(),
)


@declare.live("An image for a class", draw=_draw_class, autostart=False)
def class_panel(
    network: Network = declare.network_of(),
    target: int | None = declare.class_of(start="flamingo"),
    raised: str = declare.choice(_RAISED, "both", label="what is raised"),
    how: Mapping[str, Any] = SETTING,
) -> Iterator[PanelFrame]:
    """An image for any class, network and setting, step by step.

    `raised` is "both", see `class_objective`, or "score".
    """
    wanted, objective = _asked(network, target, raised)
    return _panel_frames(network, objective, wanted.title, **how)


def _asked(network: Network, target: TargetLike | None, raised: str) -> tuple[Target, Objective]:
    """What a class box asks for (where it is empty, the first class or unit), and its objective."""
    first = 0 if network.categories else (network.layers[-1].name, 0)
    wanted = network.target(first if target is None else target)
    of_class = raised == "both" and wanted.layer is None
    return wanted, class_objective(wanted.index) if of_class else TargetValue(wanted)


def on_white(frame: Frame) -> torch.Tensor:
    """The images (N, 3, H, W) of a frame, white where its mask is 0."""
    return frame.image * frame.mask + (1 - frame.mask)


@declare.live("An image for a unit", draw=_draw_unit, autostart=False)
def unit_panel(
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire8", keep=has_channels),
    channel: int = declare.channel_of("layer"),
    extent: str = declare.choice(_EXTENTS, label="of the channel"),
    how: Mapping[str, Any] = SETTING,
) -> Iterator[PanelFrame]:
    """An image for any channel of any layer, or for one neuron in the middle of its map."""
    neuron = extent == "neuron"
    target = unit_target(network, layer, channel, neuron=neuron)
    size = network.input_size if neuron else unit_size(network, layer)
    title = network.target(target).title
    return _panel_frames(network, TargetValue(target), title, size=size, **how)


# Galleries, and what was made before


def kept(name: str) -> tuple[list[dict[str, str]], torch.Tensor]:
    """A kept sheet, "classes" or "units": a row of its table for each tile (N, 3, S, S).

    `data/build/optimized.py` made them. Errors: `DamagedData`.
    """
    with bundled.path(f"optimized/{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sheet = images.load(bundled.path(f"optimized/{name}.webp"))[0]
    side = sheet.shape[2] // KEPT_COLUMNS[name]
    tiles = sheet.unfold(1, side, side).unfold(2, side, side)  # (3, rows, columns, S, S)
    return rows, tiles.permute(1, 2, 0, 3, 4).flatten(0, 1)[: len(rows)]


def kept_gallery(network: Network) -> Image.Image:
    """The slides' twenty classes, each by the best of three settings, as a network sees them."""
    rows, tiles = kept("classes")
    names = [row["class"] for row in rows]
    wanted = torch.tensor([network.class_index(name) for name in names])
    chances = network(tiles).softmax(1).gather(1, wanted[:, None])[:, 0].tolist()
    shown: dict[str, Any] = {"titles": [SLIDE_NAMES.get(name, name) for name in names]}
    shown["values"] = [
        f"{row['setting']}, {figures.per_cent(chance)}"
        for row, chance in zip(rows, chances, strict=True)
    ]
    return figures.mosaic(tiles, columns=KEPT_COLUMNS["classes"], gap=8, **shown)


def kept_units() -> Image.Image:
    """Six units for each of some layers of AlexNet and VGG-16, with their channels' numbers."""
    rows, tiles = kept("units")
    columns, sheets = KEPT_COLUMNS["units"], []
    for network in ("alexnet", "vgg16"):
        own = [place for place, row in enumerate(rows) if row["network"] == network]
        layers = [rows[place]["layer"] for place in own[::columns]]
        values = [rows[place]["channel"] for place in own]
        sheets.append(figures.mosaic(tiles[own], columns=columns, rows=layers, values=values))
    return figures.side_by_side(sheets, ["AlexNet", "VGG-16"], columns=1)


# Units of every layer


def unit_layers(network: Network, count: int = 8) -> list[str]:
    """So many layers evenly from the first to the last, as the slides' layers 1 to 8."""
    blocks = [layer for layer in network.layers if layer.kind in ("relu", "concat")]
    return [layer.name for layer in block_ends(blocks or network.layers, count)]
