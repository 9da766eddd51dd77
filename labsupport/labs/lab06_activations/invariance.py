"""Lab 06: what stays the same, layer by layer, when the picture is distorted; which units change
most from one picture to another."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.labs.lab06_activations.mosaics import TILE, has_maps, short, unit_over
from labsupport.methods import activations
from labsupport.methods.activations import Distortion, Similarity, UnitChanges
from labsupport.ui import declare, figures, ink

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


def depth_layers(network: Network) -> list[str]:
    """The layers that a curve over depth goes through: the ends of blocks, and the scores."""
    from labsupport.labs.lab08_optimization.visualization import unit_layers

    ends = unit_layers(network, 10)[1:]
    first = next(layer.name for layer in network.layers if layer.kind == "conv")
    scores = network.layers[-1].name
    return list(dict.fromkeys([first, *ends, scores]))


def _titles(network: Network, after: Similarity) -> list[str]:
    """The layers' titles; the last layer of all gives the scores, where there are classes."""
    scores = network.layers[-1].name if network.categories else None
    return ["scores" if name == scores else network.layer(name).title for name in after.layers]


def depth_picture(
    network: Network, after: Similarity, words: str, size: tuple[int, int] = (620, 320)
) -> Image.Image:
    """Three correlations over depth, each averaged over pictures, under the `words` for what was
    done to them; dotted, what two different pictures have in common at the same layers."""
    places, unrelated = range(len(after.layers)), _unrelated(network, after.layers)

    def plot(axes: figures.Axes) -> None:
        for place, name in enumerate(MEASURES):
            axes.plot(places, getattr(after, name).nanmean(1).numpy(), **_LOOKS[place])
            if name != "aligned":
                floor = getattr(unrelated, name).nanmean(1).numpy()
                axes.plot(places, floor, color=ink.SERIES[place], linestyle=":", linewidth=1.5)
        axes.set_xticks(places, _titles(network, after), rotation=35, ha="right")
        axes.set_ylim(-0.08, 1.05)
        axes.set_title(words, fontsize=10, loc="left")

    return figures.drawn(plot, size=size, up="correlation")


_LOOKS: list[dict[str, Any]] = [
    {"color": colour, "linestyle": dash, "marker": marker, "linewidth": 2}
    for colour, dash, marker in zip(ink.SERIES, ink.DASHES, "os^", strict=False)
]


def depth_key(width: int = 620) -> Image.Image:
    """Which line is which, to stand below the curves."""

    def plot(axes: figures.Axes) -> None:
        for look, words in zip(_LOOKS, MEASURES.values(), strict=True):
            axes.plot([], [], label=words, **look)
        axes.plot([], [], color="#555555", linestyle=":", label="the same for unrelated pictures")
        axes.set_axis_off()
        axes.legend(frameon=False, fontsize=9, loc="center", ncols=2, columnspacing=2)

    return figures.drawn(plot, size=(width, 54))


@declare.panel("What stays the same", cost="quick")
def depth_panel(
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    kind: str = declare.choice(list(KINDS), label="distortion"),
    strength: int = declare.whole(10, 0, 100, step=5, unit="%"),
) -> tuple[Image.Image, str]:
    """Choose a distortion and its strength: how similar is each layer to what it was?"""
    standard = images.standard(image, network.input_size[0])
    change = KINDS[kind](strength / 100)
    after = activations.similarity(network, standard, change, depth_layers(network))
    curves = depth_picture(network, after, change.words)
    drawn = figures.side_by_side([curves, depth_key()], columns=1, gap=2)
    seen = figures.fitted(activations.distort(standard, change), TILE)
    return figures.side_by_side([seen, drawn]), depth_words(network, after, change.words)


_UNRELATED = ("giant_panda", "macaw", "taj_mahal", "coffee")


@lru_cache(maxsize=2)
def _unrelated(network: Network, layers: Sequence[str]) -> Similarity:
    """What two pictures of different things have in common at each of the layers."""
    size = network.input_size[0]
    some = torch.cat([images.standard(images.sample(name), size) for name in _UNRELATED])
    return activations.similarity(network, some[:2], some[2:], layers)


def depth_words(network: Network, after: Similarity, words: str) -> str:
    """The first layer against the last with maps, in a sentence."""
    first, *_, last, _ = _titles(network, after)
    parts = []
    for name, measure in MEASURES.items():
        numbers = getattr(after, name).nanmean(1)
        parts.append(f"{measure} {float(numbers[0]):.2f} and {float(numbers[-2]):.2f}")
    return (
        f"The picture is {words}. Correlation with the undistorted one at {first} and at {last}: "
        f"{'; '.join(parts)}."
    )


def depths_picture(
    network: Network, shown: torch.Tensor, distortions: Sequence[Distortion]
) -> Image.Image:
    """The curves over depth for several distortions, each averaged over pictures (N, 3, H, W)."""
    layers = depth_layers(network)
    pictures = [
        depth_picture(
            network, activations.similarity(network, shown, one, layers), one.words, (412, 280)
        )
        for one in distortions
    ]
    two_wide = figures.side_by_side(pictures, columns=2)
    return figures.side_by_side([two_wide, depth_key(two_wide.width)], columns=1, gap=4)


# The units that change most

_Changed = tuple[list[torch.Tensor], list[torch.Tensor], UnitChanges, str]


def _changes(
    first: torch.Tensor = declare.photo("koala", label="picture A"),
    second: torch.Tensor = declare.photo("red_panda", label="picture B"),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire9", keep=has_maps),
) -> _Changed:
    one, other = (images.standard(image, network.input_size[0]) for image in (first, second))
    maps = list(network.activations(torch.cat([one, other]), [layer])[layer])
    changes = activations.unit_changes(network, one, other, layer)
    return [one, other], maps, changes, network.layer(layer).title


@declare.panel("What changed from A to B?", compute=_changes, cost="quick")
def changes_panel(
    changed: _Changed, count: int = declare.whole(6, 2, 7, label="units")
) -> tuple[Image.Image, str]:
    """Which units of a layer change most between picture A and picture B?"""
    pair, maps, changes, title = changed
    return changes_picture(pair, maps, changes, count), changes_words(changes, title)


def changes_picture(
    pair: Sequence[torch.Tensor], maps: Sequence[torch.Tensor], changes: UnitChanges, count: int
) -> Image.Image:
    """The units that changed most, in columns: each over picture A and over picture B, its mean
    in white, and its name above with the sign of the change."""
    units = changes.order[:count].tolist()
    tiles, values = [], []
    for image, own, means in zip(pair, maps, (changes.first, changes.second), strict=True):
        for unit in units:
            most = max(float(one[unit].abs().max()) for one in maps)
            tiles.append(unit_over(image, own[unit], 96, most=most))
            values.append(short(means[unit]))
    titles = [f"{'▲' if changes.change[unit] > 0 else '▼'} unit {unit}" for unit in units]
    return figures.mosaic(
        tiles,
        columns=len(units),
        titles=[*titles, *[""] * len(units)],
        values=values,
        rows=["A", "B"],
        gap=6,
    )


def changes_words(changes: UnitChanges, title: str) -> str:
    """The unit that rose most and the one that fell most, in words."""
    change = changes.change
    up, down = int(change.argmax()), int(change.argmin())
    return (
        f"{title}: unit {up} rose most, from {short(changes.first[up])} to "
        f"{short(changes.second[up])}; unit {down} fell most, from {short(changes.first[down])} "
        f"to {short(changes.second[down])}."
    )
