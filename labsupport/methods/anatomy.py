"""Anatomy: what a network is made of, where its parameters sit, and where its work is done.

The networks of the lecture, from LeCun et al. 1998 to He et al. 2015, measured layer by layer.
Every number is read off the traced network: nothing here is a table that somebody typed.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torchvision
from torch import fx, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from labsupport.core import blueprints, layers, tracing
from labsupport.core.errors import BadSetting
from labsupport.core.layers import Size
from labsupport.core.networks import Network
from labsupport.core.operations import Operation, Pair

Padding = Literal["same", "none"]
Head = Literal["fully connected", "average"]

BYTES = 4  # a number in single precision
WEIGHTED = frozenset({"conv", "linear"})
_MOST_CHANNELS = 512  # of a design: where VGG stops doubling, too
_HIDDEN = 4096


@dataclass(frozen=True)
class Row:
    """One layer, or one block of them.

    `name` is the lecture's, `module` the place in the network. `shape` is (C, H, W), or (units,);
    `kernel` and `stride` (rows, columns) are the layer's own, None where it slides no window.
    `multiply_adds` are for one image. `memory` is what keeping the layer's activations takes, in
    bytes, in single precision. `receptive_field` (rows, columns) is in image pixels and not
    clipped to the image; None where the layer does not see the image.
    """

    name: str
    module: str
    kind: str
    shape: Size
    kernel: Pair | None
    stride: Pair | None
    parameters: int
    multiply_adds: int
    memory: int
    receptive_field: Pair | None


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
        grouped = itertools.groupby(self.rows, key=lambda row: _block_name(row.module))
        found: list[Row] = []
        for name, rows in grouped:
            row = _joined(name, list(rows))
            last = found[-1] if found else None
            if last is not None and _belongs(row, last):
                found[-1] = _extended(last, row)
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


@dataclass(frozen=True)
class Design:
    """A plain chain of convolutions, to be changed.

    `image` is the side of the image. The first convolution has its own kernel and stride; `depth`
    counts the convolutions. After every second one a 2 x 2 pool halves the map, and the channels
    double, up to 512. "same" padding is half the kernel. The head is "fully connected" (two layers
    of 4096 and the scores) or an "average" over all positions and the scores.
    """

    image: int = 224
    depth: int = 8
    first_kernel: int = 7
    first_stride: int = 2
    kernel: int = 3
    padding: Padding = "same"
    channels: int = 64
    head: Head = "fully connected"
    classes: int = 1000


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
    measured = _measured(network, size)
    seen: set[int] = set()
    rows = list(_loose(network))
    for one in network.operations:
        if one.node not in fields or one.kind in {"placeholder", "normalize"}:
            continue
        if len(shapes[one.node]) < 2 and not (one.module and list(one.module.parameters())):
            continue
        rows.append(_row(network, one, shapes, fields[one.node][1], measured, seen))
    return Anatomy(network.name, size, tuple(rows), _depth(network))


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
    heads = [f"{_depth(one)} weight layers" for one in networks.values()]
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
    sides = _sides(plan)
    name = f"{plan.depth} convolutions, {plan.head}"
    size = (plan.image, plan.image)
    return blueprints.drawn(lambda: _chain(plan, sides[-1]), name=name, input_size=size)


# Rows


def _row(
    network: Network,
    one: Operation,
    shapes: Mapping[fx.Node, Size],
    field: Pair | None,
    measured: Mapping[fx.Node, int],
    seen: set[int],
) -> Row:
    shape = shapes[one.node][1:]
    windowed = one.kind in {"conv", "max_pool", "avg_pool"}
    own = list(one.module.parameters()) if one.module is not None else []
    new = [weights for weights in own if id(weights) not in seen]  # a module may be used twice
    seen.update(map(id, new))
    work = _multiply_adds(one, shape) if one.kind in WEIGHTED else measured.get(one.node, 0)
    return Row(
        name=_title(network, one.node),
        module=str(one.node.meta[tracing.LAYER_NAME]),
        kind=one.kind,
        shape=shape,
        kernel=one.kernel if windowed else None,
        stride=one.stride if windowed else None,
        parameters=sum(weights.numel() for weights in new),
        multiply_adds=work,
        memory=BYTES * math.prod(shape),
        receptive_field=field,
    )


def _title(network: Network, node: fx.Node) -> str:
    """The name in the module where it is a word, as in c1 or fc6; else the lecture's."""
    name = str(node.meta[tracing.LAYER_NAME])
    known = len(network.shapes(network.input_size)[node]) > 1
    return network.layer_of(node).title if known and "." in name else name


def _loose(network: Network) -> Iterator[Row]:
    """Parameters that belong to no layer, such as the places of a transformer's patches."""
    own = dict(network.graph.named_parameters())
    read = [str(node.target) for node in network.graph.graph.nodes if node.op == "get_attr"]
    for name in own.keys() & dict.fromkeys(read):
        shape, count = tuple(own[name].shape), own[name].numel()
        yield Row(name, name, "parameter", shape, None, None, count, 0, 0, None)


def _multiply_adds(one: Operation, shape: Size) -> int:
    """Connections of one output position times the number of positions."""
    if one.module is None:
        return 0  # a functional layer, whose weights are no part of the graph's modules
    positions = math.prod(shape[1:]) if one.kind == "conv" else math.prod(shape[:-1])
    return _connections(one.module) * positions


def _connections(module: nn.Module) -> int:
    """How many of a layer's weights are not zero by construction."""
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    if not parametrize.is_parametrized(module, "weight"):
        return weight.numel()
    made: Any = module.parametrizations["weight"]  # type: ignore[index]
    return int(made[0](torch.ones_like(made.original)).count_nonzero())


def _measured(network: Network, size: Pair) -> Mapping[fx.Node, int]:
    """Multiply-adds of what is neither convolution nor linear layer: attention, for example."""
    if all(one.kind != "other" for one in network.operations):
        return {}
    values: dict[fx.Node, Any] = {}
    found = {}
    image = torch.empty((1, 3, *size), device="meta")
    # with gradients: without, attention takes a way in one step, in which nothing can be counted
    with torch.enable_grad():
        for node in network.graph.graph.nodes:
            given = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with _Work() as work:
                values[node] = image if node.op == "placeholder" else _value(network, node, *given)
            found[node] = work.flops // 2
    return found


def _value(network: Network, node: fx.Node, given: Any, named: Any) -> Any:
    """What one node gives, in shape alone."""
    if node.op == "output":
        return None
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        return getattr(network.graph.get_submodule(owner), name).to("meta")
    if node.op == "call_module":
        part = network.graph.get_submodule(str(node.target))
        return torch.func.functional_call(part, _sketched(part), given, named)
    if node.op == "call_method":
        return getattr(given[0], str(node.target))(*given[1:], **named)
    return node.target(*given, **named)  # type: ignore[operator]


def _sketched(part: nn.Module) -> dict[str, torch.Tensor]:
    """A module's weights and buffers without their values."""
    weights = {n: torch.empty_like(v, device="meta") for n, v in part.named_parameters()}
    buffers = {n: torch.empty_like(v, device="meta") for n, v in part.named_buffers()}
    return {**{name: value.requires_grad_() for name, value in weights.items()}, **buffers}


class _Work(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of matrix products, as PyTorch's own counter knows them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        value = func(*args, **given)
        count = flop_registry.get(func._overloadpacket)
        self.flops += count(*args, **given, out_val=value) if count else 0
        return value


def _depth(network: Network) -> int:
    deep: dict[fx.Node, int] = {}
    for one in network.operations:
        before = max((deep.get(source, 0) for source in one.inputs), default=0)
        deep[one.node] = before + (one.kind in WEIGHTED)
    return deep[network.output]


# Blocks


def _word(one: Operation, units: int) -> str:
    """A layer as VGG's table writes it; nothing for those that it leaves out."""
    if one.kind == "conv":
        return f"conv{one.kernel[0]}-{units}"
    return {"max_pool": "maxpool", "avg_pool": "avgpool", "linear": f"FC-{units}"}.get(one.kind, "")


def _block_name(name: str) -> str:
    """The module that a layer belongs to: `layer1.0`, `inception3a`, `features.3`."""
    parts = name.split(".")
    two = parts[0] == "features" or (len(parts) > 1 and parts[1].isdigit())
    return ".".join(parts[: 2 if two else 1])


def _joined(name: str, rows: Sequence[Row]) -> Row:
    """The layers of one module as one row: the last one's shape, the sum of the costs."""
    first, last = rows[0], rows[-1]
    whole = len([row for row in rows if row.kind in WEIGHTED]) > 1
    titles = [row.name for row in rows if row.name != row.module]
    title = titles[-1].partition("/")[0] if "." in name and titles else name
    return replace(
        _extended(first, *rows[1:]),
        name=title,
        module=name,
        kind="block" if whole else first.kind,
        shape=last.shape,
        kernel=None if whole else first.kernel,
        stride=None if whole else first.stride,
        receptive_field=last.receptive_field,
    )


def _extended(row: Row, *others: Row) -> Row:
    """A row that bears the costs of others, too."""
    return replace(
        row,
        parameters=row.parameters + sum(other.parameters for other in others),
        multiply_adds=row.multiply_adds + sum(other.multiply_adds for other in others),
        memory=row.memory + sum(other.memory for other in others),
    )


def _belongs(row: Row, before: Row) -> bool:
    """Whether a reader takes a row as a part of the one before it."""
    if "pool" in row.kind or row.kind in WEIGHTED or row.kind == "block":
        return False
    return math.prod(row.shape) == math.prod(before.shape)


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


# Designs


def _sides(plan: Design) -> list[int]:
    """The side of the map after each convolution and its pool."""
    _check(plan)
    side, sides = plan.image, []
    for number in range(1, plan.depth + 1):
        kernel, stride, padding = _window(plan, number)
        if kernel > side + 2 * padding:
            padded = f" and {padding} pixels of padding on each side" if padding else ""
            raise BadSetting(
                f"conv{number} has a kernel of {kernel} x {kernel}, but its input is only "
                f"{side} x {side}{padded}: the window does not fit in. Take fewer layers, a "
                'larger image, a smaller kernel or stride, or padding "same".'
            )
        side = (side + 2 * padding - kernel) // stride + 1
        if _pooled(number):
            if side < 2:
                raise BadSetting(
                    f"pool{number} takes 2 x 2, but only {side} x {side} is left of the image: "
                    "nothing to pool. Take fewer layers, a larger image or a smaller stride."
                )
            side //= 2
        sides.append(side)
    return sides


def _check(plan: Design) -> None:
    whole = ("image", "depth", "first_kernel", "first_stride", "kernel", "channels", "classes")
    for name in whole:
        value = getattr(plan, name)
        if not isinstance(value, int) or value < 1:
            raise BadSetting(f"{name} is a whole number from 1 upwards, not {value!r}")
    if plan.padding not in ("same", "none"):
        raise BadSetting(f'padding is "same" or "none", not {plan.padding!r}')
    if plan.head not in ("fully connected", "average"):
        raise BadSetting(f'head is "fully connected" or "average", not {plan.head!r}')


def _window(plan: Design, number: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of a convolution, counted from 1."""
    first = number == 1
    kernel = plan.first_kernel if first else plan.kernel
    padding = kernel // 2 if plan.padding == "same" else 0
    return kernel, plan.first_stride if first else 1, padding


def _pooled(number: int) -> bool:
    return number % 2 == 0


def _chain(plan: Design, side: int) -> nn.Module:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    before, channels = 3, plan.channels
    for number in range(1, plan.depth + 1):
        kernel, stride, padding = _window(plan, number)
        parts[f"conv{number}"] = nn.Conv2d(before, channels, kernel, stride, padding)
        parts[f"relu{number}"] = nn.ReLU()
        before = channels
        if _pooled(number):
            parts[f"pool{number}"] = nn.MaxPool2d(2)
            channels = max(channels, min(2 * channels, _MOST_CHANNELS))
    parts.update(_head(plan, before, side))
    return nn.Sequential(parts)


def _head(plan: Design, channels: int, side: int) -> Iterator[tuple[str, nn.Module]]:
    number = plan.depth + 1
    if plan.head == "average":
        yield "average", nn.AdaptiveAvgPool2d(1)
        yield "flatten", nn.Flatten()
        yield f"fc{number}", nn.Linear(channels, plan.classes)
        return
    yield "flatten", nn.Flatten()
    yield f"fc{number}", nn.Linear(channels * side * side, _HIDDEN)
    yield f"relu{number}", nn.ReLU()
    yield f"fc{number + 1}", nn.Linear(_HIDDEN, _HIDDEN)
    yield f"relu{number + 1}", nn.ReLU()
    yield f"fc{number + 2}", nn.Linear(_HIDDEN, plan.classes)
