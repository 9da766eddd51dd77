"""Lab 04: t-SNE while it works, of the codes of one layer, and a finished map for each layer."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from PIL import Image

from labsupport.labs.lab04_representation.maps import VIEWS, map_picture, map_words
from labsupport.labs.lab04_representation.pictures import Collection, layer_menu
from labsupport.methods import codes as c
from labsupport.ui import controls, figures, ink
from labsupport.ui.control import Control
from labsupport.ui.declare import Declared, choice, live, panel, together, whole

STARTS = {
    "principal components": -1,
    "random, seed 0": 0,
    "random, seed 1": 1,
    "random, seed 2": 2,
}
RATES = {"by the number of points": 0.0, "1": 1.0, "10": 10.0, "200": 200.0, "5000": 5000.0}
_WATCHED = 2.5  # seconds that a map takes at least, to be seen growing


def descent(*, perplexity: int) -> Any:
    """The controls of t-SNE, which `descend` takes."""
    return together(
        perplexity=whole(perplexity, 2, 100),
        learning_rate=choice(RATES),
        seed=choice(STARTS, label="start"),
        steps=whole(750, 50, 1500, step=50),
    )


def descend(
    rows: torch.Tensor, *, learning_rate: float, seed: int, **how: Any
) -> Iterator[c.Embedding]:
    """The frames of t-SNE for the values of `descent`, and `embed`'s further settings.

    They are held back where the whole would be over before an eye has followed it.
    """
    start = time.perf_counter()
    begin = None if seed < 0 else seed
    for frame in c.embed.frames(rows, learning_rate=learning_rate or None, seed=begin, **how):
        yield frame
        ahead = frame.progress * _WATCHED - (time.perf_counter() - start)
        time.sleep(min(max(ahead, 0.0), 0.1))


def step_words(frame: c.Embedding, perplexity: int) -> str:
    """How far t-SNE is, in two sentences."""
    cost = "" if math.isnan(frame.cost) else f", divergence {frame.cost:.2f}"
    return f"Step {frame.step} of {frame.steps} ({frame.stage}){cost}. Perplexity {perplexity}."


# The map, live


def _draw_map(
    frame: c.Embedding,
    things: Collection,
    layer: str,
    perplexity: int,
    view: str = choice(VIEWS),
    tile: int = whole(52, 24, 96, step=4, unit="px", label="picture size"),
    size: int = 760,
) -> tuple[Image.Image, str]:
    quality = map_words(things.codes[layer], frame.points, things.categories)
    picture = map_picture(things, frame.points, view, size=size, tile=tile)
    return picture, f"{step_words(frame, perplexity)} {quality}"


_LAYERS, _DESCENT = layer_menu(pixels=True), descent(perplexity=12)


@live("t-SNE of the codes", draw=_draw_map)
def map_panel(
    things: Collection, layer: str = _LAYERS, how: Mapping[str, Any] = _DESCENT
) -> Iterator[c.Embedding]:
    """t-SNE of the codes while it works: any layer, perplexity, learning rate, start."""
    return descend(things.codes[layer], **how)


# A map for each layer


def _depth_slider(label: str, depth: int | None, made: Mapping[str, Any]) -> Control:
    last = len(made["things"].codes) - 1
    return controls.whole(label, last if depth is None else depth, 0, last)


_DEPTH: Any = Declared(_depth_slider, None, "depth (0: pixels)")


def _layer_map(things: Collection, depth: int = _DEPTH) -> torch.Tensor:
    """The map of one layer, turned onto the one of the last."""
    codes = list(things.codes.values())[depth]
    points = c.embed(codes, perplexity=12, steps=300).points
    return procrustes(points, things.own_map)


@panel("Layer by layer", compute=_layer_map, cost="quick")
def layers_panel(
    points: torch.Tensor,
    things: Collection,
    depth: int,
    view: str = choice(VIEWS, "dots"),
    size: int = 390,
) -> tuple[Image.Image, str]:
    """How the categories come apart from the pixels to the last layer: a map for each layer."""
    name = list(things.codes)[depth]
    left = map_picture(things, points, view, size=size, tile=34)
    right = _agreement_curve(things.agreement, depth)
    words = f"{name}: {things.agreement[name]:.0%} of the 5 nearest pictures share the category."
    return figures.side_by_side([left, right], [f"map of {name}", ""]), words


def procrustes(points: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The same map, turned and mirrored to lie as near to another as it can (Procrustes).

    A map has no up or down; turned alike, two maps of the same images are easier to compare.
    """
    own, other = points - points.mean(0), reference - reference.mean(0)
    left, _, right = torch.linalg.svd(own.double().T @ other.double())
    turned: torch.Tensor = own.double() @ left @ right
    return turned.float()


def _agreement_curve(agreement: Mapping[str, float], depth: int) -> Image.Image:
    def plot(axes: Any) -> None:
        shares = [100 * share for share in agreement.values()]
        axes.plot(range(len(shares)), shares, color=ink.SERIES[0], linewidth=2, marker="o")
        axes.plot([depth], [shares[depth]], "o", color=ink.SERIES[1], markersize=12)
        axes.set_xticks(range(len(shares)), list(agreement), rotation=60)
        axes.set_ylim(0, 100)
        axes.set_ylabel("5 nearest of the same category (%)")

    return figures.drawn(plot, size=(300, 300))
