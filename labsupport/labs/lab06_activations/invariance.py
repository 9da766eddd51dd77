"""Lab 06: what stays the same when the picture is distorted, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.labs.lab06_activations.mosaics import tile_of
from labsupport.methods.activations import Distortion, Similarity, distort, similarity
from labsupport.ui import figures, ink
from labsupport.ui.declare import choice, network_of, panel, photo, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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

    ends = unit_layers(network, count)[1:]
    first = next(layer.name for layer in network.layers if layer.kind == "conv")
    scores = network.layers[-1].name
    return list(dict.fromkeys([first, *ends, scores]))


@dataclass(frozen=True)
class SimilarityByDepth:
    """How similar activations are, layer by layer: to those before a distortion, and to those of
    unrelated pictures."""

    titles: tuple[str, ...]
    after: Similarity
    unrelated: Similarity | None
    words: str


def similarity_by_depth(
    network: Network,
    shown: torch.Tensor,
    distortion: Distortion,
    unrelated: Similarity | None = None,
    layers: Sequence[str] | None = None,
) -> SimilarityByDepth:
    """`similarity` through the network, averaged over pictures (N, 3, H, W) later on."""
    layers = depth_layers(network) if layers is None else list(layers)
    titles = [network.layer(name).title for name in layers]
    if layers[-1] == network.layers[-1].name:
        titles[-1] = "scores"
    after = similarity(network, shown, distortion, layers)
    return SimilarityByDepth(tuple(titles), after, unrelated, distortion.words)


def depth_picture(curves: SimilarityByDepth, size: tuple[int, int] = (620, 320)) -> Image.Image:
    """Three correlations over depth; dotted, what two different pictures have in common."""
    places = np.arange(len(curves.titles))

    def plot(axes: Axes) -> None:
        for place, name in enumerate(MEASURES):
            axes.plot(places, getattr(curves.after, name).nanmean(1).numpy(), **_LOOKS[place])
            if curves.unrelated is not None and name != "aligned":
                floor = getattr(curves.unrelated, name).nanmean(1).numpy()
                axes.plot(places, floor, color=ink.SERIES[place], linestyle=":", linewidth=1.5)
        axes.set_xticks(places, curves.titles, rotation=35, ha="right")
        axes.set_ylim(-0.08, 1.05)
        axes.set_ylabel("correlation")
        axes.set_title(curves.words, fontsize=10, loc="left")

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


@panel("What stays the same", cost="quick")
def depth_panel(
    image: torch.Tensor = photo("koala"),
    network: Network = network_of(),
    kind: str = choice(list(KINDS), label="distortion"),
    strength: int = whole(10, 0, 100, step=5, unit="%"),
) -> tuple[Image.Image, str]:
    """Choose a distortion and its strength: how similar is each layer to what it was?"""
    standard = images.standard(image, network.input_size[0])
    change = KINDS[kind](strength / 100)
    curves = similarity_by_depth(network, standard, change, _unrelated(network))
    drawn = figures.side_by_side([depth_picture(curves), depth_key()], columns=1, gap=2)
    picture = figures.side_by_side([tile_of(distort(standard, change)), drawn])
    return picture, depth_words(curves)


_UNRELATED = ("giant_panda", "macaw", "taj_mahal", "coffee")


@lru_cache(maxsize=2)
def _unrelated(network: Network) -> Similarity:
    """What two pictures of different things have in common at each layer."""
    size = network.input_size[0]
    some = torch.cat([images.standard(images.sample(name), size) for name in _UNRELATED])
    return similarity(network, some, some.roll(1, 0), depth_layers(network))


def depth_words(curves: SimilarityByDepth) -> str:
    """The first layer against the last with maps, in a sentence."""
    after = curves.after
    last = len(curves.titles) - 2
    parts = []
    for name, words in MEASURES.items():
        numbers = getattr(after, name).nanmean(1)
        parts.append(f"{words} {float(numbers[0]):.2f} and {float(numbers[last]):.2f}")
    return (
        f"The picture is {curves.words}. Correlation with the undistorted one at "
        f"{curves.titles[0]} and at {curves.titles[last]}: {'; '.join(parts)}."
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
    unrelated = _unrelated(network)
    all_curves = [similarity_by_depth(network, shown, one, unrelated) for one in distortions]
    curves = figures.side_by_side([depth_picture(one, size) for one in all_curves], columns=columns)
    return figures.side_by_side([curves, depth_key(curves.width)], columns=1, gap=4)
