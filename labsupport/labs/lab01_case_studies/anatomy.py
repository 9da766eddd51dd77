"""Lab 01: networks as tables and towers, a chain to rebuild, accuracy against cost."""

import math
from collections.abc import Sequence

from PIL import Image

from labsupport.core.network import blueprints
from labsupport.methods import anatomy as costs
from labsupport.methods.anatomy import Anatomy, LayerCost, Published, anatomy
from labsupport.methods.anatomy.designs import Head, Padding
from labsupport.ui import declare, figures, ink

KIND_COLOURS = {
    "conv": (0, 114, 178),
    "block": (86, 180, 233),
    "max_pool": (230, 159, 0),
    "avg_pool": (230, 159, 0),
    "adaptive_pool": (230, 159, 0),
    "linear": (0, 158, 115),
}
KIND_WORDS = {
    "convolution": KIND_COLOURS["conv"],
    "block of convolutions": KIND_COLOURS["block"],
    "pooling": KIND_COLOURS["max_pool"],
    "fully connected": KIND_COLOURS["linear"],
}


# Numbers in words


def count(number: float) -> str:
    """A large number as people say it.

    >>> count(60_965_224), count(9_408), count(15.47e9), count(0)
    ('61.0 M', '9.4 k', '15.5 G', '0')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            digits = 1 if number < 100 * size else 0
            return f"{number / size:.{digits}f} {unit}"
    return f"{number:.0f}"


def _window(layer: LayerCost) -> str:
    if layer.kernel is None or layer.stride is None:
        return ""
    words = f"{layer.kernel[0]} × {layer.kernel[1]}"
    return words if layer.stride == (1, 1) else f"{words} / {layer.stride[0]}"


def _field(layer: LayerCost, image_size: tuple[int, int]) -> str:
    if layer.receptive_field is None:
        return ""
    seen = [min(field, side) for field, side in zip(layer.receptive_field, image_size, strict=True)]
    return "whole image" if tuple(seen) == image_size else f"{layer.receptive_field[0]} px"


# Tables with bars


def layer_table(measured: Anatomy) -> Image.Image:
    """The blocks of a network: what each gives, what it costs, what it sees."""
    blocks = measured.blocks
    heads = ("layer", "window", "output", *_COSTS, "sees")
    cells: list[list[figures.Cell]] = [
        [
            (layer.name, None),
            (_window(layer), None),
            (" × ".join(map(str, layer.shape)), None),
            *barred,
            (_field(layer, measured.image_size), None),
        ]
        for layer, barred in zip(blocks, _costs(blocks), strict=True)
    ]
    return figures.table(heads, cells, [_colour(layer) for layer in blocks])


_COSTS = {
    "parameters": ("parameters", ""),
    "multiply-adds": ("multiply_adds", ""),
    "memory": ("memory", "B"),
}


def _costs(measured: Sequence[Anatomy | LayerCost]) -> list[tuple[figures.Cell, ...]]:
    """What each of these costs; the bars are shares of the most that one of them does."""
    columns: list[list[figures.Cell]] = []
    for key, unit in _COSTS.values():
        values = [getattr(one, key) for one in measured]
        most = max(values) or 1
        columns.append([(f"{count(v)}{unit}" if v else "", v / most) for v in values])
    return list(zip(*columns, strict=True))


def _colour(layer: LayerCost) -> ink.Colour:
    return KIND_COLOURS.get(layer.kind, (140, 140, 140))


def tower(measured: Anatomy) -> Image.Image:
    """The network as a row of slabs: the higher, the larger the map; the wider, the more channels.

    Colours and a line of words below tell convolutions, pools and fully connected layers apart.
    """
    blocks = [layer for layer in measured.blocks if layer.kind in KIND_COLOURS]
    parts = [
        (layer.name, 4 + 3 * math.log2(layer.shape[0]), _height(layer, measured), _colour(layer))
        for layer in blocks
    ]
    used = {_colour(layer) for layer in blocks}
    names = [(words, colour) for words, colour in KIND_WORDS.items() if colour in used]
    return figures.side_by_side(
        [figures.slabs(parts), figures.legend(names, row=True)], columns=1, gap=0
    )


def _height(layer: LayerCost, measured: Anatomy) -> float:
    """0 to 1: the root of the map's side, of the image's."""
    side = layer.shape[1] if len(layer.shape) == 3 else 1
    return math.sqrt(side / max(measured.image_size))


def totals(measured: Anatomy) -> str:
    """A network in one sentence."""
    top = max(measured.blocks, key=lambda layer: layer.parameters)
    busy = max(measured.blocks, key=lambda layer: layer.multiply_adds)
    exactly = f"{measured.parameters:,}".replace(",", " ")
    return (
        f"{measured.depth} layers with weights on the longest way; {count(measured.parameters)} "
        f"parameters ({exactly}), {count(measured.multiply_adds)} multiply-adds, "
        f"{count(measured.memory)}B of activations. Most parameters: {top.name} "
        f"({top.parameters / max(measured.parameters, 1):.0%}); most work: {busy.name} "
        f"({busy.multiply_adds / max(measured.multiply_adds, 1):.0%})."
    )


# Panels over networks


_BY_TITLE = {title: name for name, title in blueprints.TITLES.items()}


@declare.panel("Layer by layer", cost="instant")
def layers_panel(
    network: str = declare.choice(_BY_TITLE, "alexnet_2012"),
    scale: int = declare.whole(100, 50, 200, step=25, unit="%", label="image size"),
) -> tuple[Image.Image, str]:
    """Any network of the lecture, layer by layer."""
    blueprint = blueprints.blueprint(network)
    height, width = (side * scale // 100 for side in blueprint.input_size)
    measured = anatomy(blueprint, (height, width))
    words = f"{blueprints.TITLES[network]}, image {height} × {width}: {totals(measured)}"
    return _laid_open(measured), words


def _laid_open(measured: Anatomy) -> Image.Image:
    return figures.side_by_side([tower(measured), layer_table(measured)], columns=1, gap=8)


@declare.panel("Build a network", cost="instant")
def design_panel(
    image: int = declare.whole(224, 16, 320, step=16, unit="px", label="image side"),
    depth: int = declare.whole(8, 1, 14, label="convolutions"),
    first_kernel: int = declare.whole(7, 1, 13, unit="px", label="conv1 kernel"),
    first_stride: int = declare.whole(2, 1, 4, unit="px", label="conv1 stride"),
    kernel: int = declare.whole(3, 1, 7, unit="px", label="other kernels"),
    padding: Padding = declare.choice({"half the kernel": "same", "none": "none"}),
    channels: int = declare.whole(64, 8, 128, step=8, label="conv1 channels"),
    head: Head = declare.choice(["fully connected", "average"]),
) -> tuple[Image.Image, str]:
    """A chain to rebuild: each slider changes shapes, costs and receptive fields at once."""
    plan = costs.Design(image, depth, first_kernel, first_stride, kernel, padding, channels, head)
    measured = anatomy(costs.design(plan))
    return _laid_open(measured), totals(measured)


# What torchvision's networks reach


ACROSS = {"multiply-adds": "multiply_adds", "parameters": "parameters"}
RECIPES = {"as first published": 1, "the best there are": 9}
# where each name stands beside its point, so that no two names meet
_NAMED = {
    "alexnet": (8, -4),
    "squeezenet1_1": (8, -4),
    "vgg16": (6, -13),
    "vgg19": (6, 5),
    "googlenet": (-58, -12),
    "resnet18": (6, -12),
    "resnet50": (-54, 6),
    "densenet121": (-66, 6),
    "mobilenet_v2": (-70, 6),
    "efficientnet_b0": (-46, 9),
    "vit_b_16": (8, 2),
}


@declare.panel("Accuracy and cost", cost="quick")
def accuracy_panel(
    across: str = declare.choice(ACROSS, label="cost"),
    recipe: int = declare.choice(RECIPES, label="weights"),
    up: str = declare.choice({"top-1": "top1", "top-5": "top5"}, label="accuracy"),
) -> tuple[Image.Image, str]:
    """Accuracy against cost of torchvision's classifiers: each is a point, and the lecture's and a
    few others have their names."""
    shown = _chosen(recipe)

    def plot(axes: figures.Axes) -> None:
        for one in shown:
            x, y = getattr(one, across), getattr(one, up)
            beside = _NAMED.get(one.network)
            colour, size = (ink.SERIES[0], 7) if beside else ("#bbbbbb", 4)
            axes.plot(x, y, "o", color=colour, markersize=size, zorder=3 if beside else 2)
            if beside:
                words = one.network
                axes.annotate(words, (x, y), beside, textcoords="offset points", fontsize=9)
        axes.set_xscale("log")

    best = max(shown, key=lambda one: getattr(one, up))
    cheap = [one for one in shown if one.network in _NAMED]
    least = min(cheap, key=lambda one: getattr(one, across))
    words = (
        f"{len(shown)} networks. Best: {best.network}, {getattr(best, up):.1f} %. "
        f"Of those with a name here {least.network} costs least, {getattr(least, up):.1f} %."
    )
    cost = "multiply-adds for one image" if across == "multiply_adds" else across
    reached = f"{up.replace('top', 'top-')} accuracy on ImageNet (%)"
    return figures.drawn(plot, size=(680, 440), across=cost, up=reached), words


def _chosen(recipe: int) -> list[Published]:
    """One entry for each network: its first recipe, or its best."""
    by_name: dict[str, Published] = {}
    for one in costs.published():
        before = by_name.get(one.network)
        if before is None or (recipe > 1 and one.top1 > before.top1):
            by_name[one.network] = one
    return list(by_name.values())
