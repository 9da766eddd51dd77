"""Anatomy: what a network is made of, where its parameters sit, and where its work is done.

The networks of the lecture, from LeCun et al. 1998 to He et al. 2015, measured layer by layer.
Every number is read off the traced network: nothing here is a table that somebody typed.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torchvision

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network, blueprints, layers
from labsupport.core.network.operations import Operation, Pair
from labsupport.methods.anatomy.costs import (
    BYTES,
    WEIGHTED,
    Row,
    belongs,
    block_name,
    depth_of,
    extended,
    joined,
    loose,
    measured_work,
    row_of,
)
from labsupport.methods.anatomy.designs import (
    Design,
    Head,
    Padding,
    chain,
    sides_of,
)

__all__ = [
    "BYTES",
    "WEIGHTED",
    "Anatomy",
    "Design",
    "Head",
    "Padding",
    "Published",
    "Row",
    "anatomy",
    "configuration",
    "configuration_table",
    "design",
    "published",
]


@dataclass(frozen=True)
class Anatomy:
    """A network laid open: a `Row` for each layer, in execution order.

    `depth` is the number of convolutions and linear layers on the longest way through.
    """

    network: str
    image_size: Pair
    rows: tuple[Row, ...]
    depth: int

    @property
    def parameters(self) -> int:
        """All numbers that were learned."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiplications, each with its addition, that one image takes."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def memory(self) -> int:
        """Bytes of all activations of one image, as training has to keep them."""
        return sum(row.memory for row in self.rows)

    @property
    def blocks(self) -> tuple[Row, ...]:
        """The rows that a reader wants: a module with branches is one row, and what follows a
        layer without changing its size (ReLU, normalization, dropout) is part of that layer."""
        grouped = itertools.groupby(self.rows, key=lambda row: block_name(row.module))
        found: list[Row] = []
        for name, rows in grouped:
            row = joined(name, list(rows))
            last = found[-1] if found else None
            if last is not None and belongs(row, last):
                found[-1] = extended(last, row)
            else:
                found.append(row)
        return tuple(found)


@dataclass(frozen=True)
class Published:
    """What torchvision says about one set of weights: accuracies in per cent on ImageNet's
    validation set, at the image size that they are for.

    `recipe` counts the sets of one network: 1 is the first that was published.
    """

    network: str
    recipe: int
    parameters: int
    multiply_adds: float
    top1: float
    top5: float


def anatomy(network: Network, image_size: Pair | None = None) -> Anatomy:
    """Every layer of a network with its shape, costs and receptive field.

    A convolution of k x k from C to C' channels with g groups has C' (k k C / g + 1) parameters,
    bias included, and does C' k k C / g multiply-adds at each output position; a linear layer is
    one position. Pools, ReLUs, normalizations and additions count as no multiply-adds, as in
    torchvision's own figures. `image_size` (height, width) is the network's standard by default.

    Errors: `BadImage` for a size that the network cannot take.

    >>> vgg = anatomy(blueprints.blueprint("vgg16"))
    >>> vgg.depth, vgg.parameters, round(vgg.multiply_adds / 1e9, 2)
    (16, 138357544, 15.47)
    """
    size = network.input_size if image_size is None else image_size
    shapes = network.shapes(size)
    fields = layers.fields(network.operations, shapes)
    measured = measured_work(network, size)
    seen: set[int] = set()
    rows = list(loose(network))
    for one in network.operations:
        if one.node not in fields or one.kind in {"placeholder", "normalize"}:
            continue
        if len(shapes[one.node]) < 2 and not (one.module and list(one.module.parameters())):
            continue
        rows.append(row_of(network, one, shapes, fields[one.node][1], measured, seen))
    return Anatomy(network.name, size, tuple(rows), depth_of(network))


def configuration(network: Network) -> tuple[str, ...]:
    """A chain of layers in the words of VGG's table: conv3-64, maxpool, FC-4096, soft-max.

    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
    2014, table 1.

    Errors: `BadSetting` for a network with branches, which is no list.

    >>> configuration(blueprints.blueprint("vgg16"))[:4]
    ('conv3-64', 'conv3-64', 'maxpool', 'conv3-128')
    """
    if any(one.kind in {"concat", "add"} for one in network.operations):
        raise BadSetting(
            f"{network.name} has branches, so it is no list of layers; its table is "
            "anatomy(network).blocks"
        )
    shapes = network.shapes(network.input_size)
    rows = [_word(one, shapes[one.node][1]) for one in network.operations]
    return (*filter(None, rows), "soft-max")


def configuration_table(networks: Mapping[str, Network]) -> str:
    """Configurations side by side, as on the slide: the pools stand in one line.

    >>> two = {"D": blueprints.blueprint("vgg16"), "E": blueprints.blueprint("vgg19")}
    >>> print("\\n".join(configuration_table(two).splitlines()[:5]))
           D                 E
    16 weight layers  19 weight layers
    conv3-64          conv3-64
    conv3-64          conv3-64
                 maxpool
    """
    columns = {name: _blocks_of(configuration(one)) for name, one in networks.items()}
    heads = [f"{depth_of(one)} weight layers" for one in networks.values()]
    wide = max(len(word) for word in [*heads, "fully connected"])
    across = wide * len(heads) + 2 * (len(heads) - 1)
    lines = [
        "  ".join(name.center(wide) for name in columns),
        "  ".join(head.ljust(wide) for head in heads),
    ]
    for blocks in itertools.zip_longest(*columns.values(), fillvalue=()):
        rows = itertools.zip_longest(*blocks, fillvalue="")
        for row in rows:
            shared = len(set(row)) == 1 and not row[0].startswith("conv")
            spread = row[0].center(across) if shared else "  ".join(w.ljust(wide) for w in row)
            lines.append(spread.rstrip())
    return "\n".join(line.rstrip() for line in lines)


def published() -> tuple[Published, ...]:
    """What torchvision's classifiers cost and reach, from the data that its weights carry.

    Nothing is downloaded. Image sizes and recipes differ from entry to entry.

    >>> {one.network: one.top1 for one in published() if one.recipe == 1}["resnet50"]
    76.13
    """
    return _published()


def design(plan: Design) -> Network:
    """The network of a plan, without weights: its `anatomy` says what it would cost.

    Errors: `BadSetting` says at which layer the shapes no longer fit, and what would help.

    >>> small = Design(image=32, depth=2, first_kernel=5, first_stride=1, channels=6, classes=10)
    >>> design(small).layer("pool2").shape
    (6, 16, 16)
    """
    sides = sides_of(plan)
    name = f"{plan.depth} convolutions, {plan.head}"
    size = (plan.image, plan.image)
    return blueprints.drawn(lambda: chain(plan, sides[-1]), name=name, input_size=size)


# Blocks


def _word(one: Operation, units: int) -> str:
    """A layer as VGG's table writes it; nothing for those that it leaves out."""
    if one.kind == "conv":
        return f"conv{one.kernel[0]}-{units}"
    return {"max_pool": "maxpool", "avg_pool": "avgpool", "linear": f"FC-{units}"}.get(one.kind, "")


def _blocks_of(rows: Sequence[str]) -> list[tuple[str, ...]]:
    """The lines between the pools, and each pool by itself."""
    groups = itertools.groupby(rows, key=lambda row: "pool" in row)
    return [tuple(lines) for _, lines in groups]


# What torchvision says


@functools.cache
def _published() -> tuple[Published, ...]:
    names = torchvision.models.list_models(module=torchvision.models)
    return tuple(entry for name in names for entry in _entries(name))


def _entries(name: str) -> Iterator[Published]:
    for place, weights in enumerate(torchvision.models.get_model_weights(name), start=1):
        told = weights.meta
        found = told.get("_metrics", {}).get("ImageNet-1K")
        if found and "_ops" in told and math.isfinite(found["acc@1"]):
            yield Published(
                network=name,
                recipe=place,
                parameters=told["num_params"],
                multiply_adds=1e9 * told["_ops"],
                top1=found["acc@1"],
                top5=found["acc@5"],
            )
