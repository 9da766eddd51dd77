"""What each layer of a traced network costs and sees, and what each block of layers does."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from labsupport.core.network import Network, Pair, graphs, layers
from labsupport.core.network.operations import Operation, Size

BYTES = 4  # a number in single precision
WEIGHTED = frozenset({"conv", "linear"})


@dataclass(frozen=True)
class LayerCost:
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
    """A network laid open: what each layer costs, in execution order.

    `depth` is the number of convolutions and linear layers on the longest path through it.
    """

    network: str
    image_size: Pair
    layers: tuple[LayerCost, ...]
    depth: int

    @property
    def parameters(self) -> int:
        """All numbers that were learned."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiplications, each with its addition, that one image takes."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def memory(self) -> int:
        """Bytes of all activations of one image, as training has to keep them."""
        return sum(layer.memory for layer in self.layers)

    @property
    def blocks(self) -> tuple[LayerCost, ...]:
        """The lines that a reader wants: a module with branches is one, and what follows a layer
        without changing its size (ReLU, normalization, dropout) is part of that layer."""
        grouped = itertools.groupby(self.layers, key=lambda layer: _block_name(layer.module))
        blocks: list[LayerCost] = []
        for name, layers_ in grouped:
            block = _merged(name, list(layers_))
            if blocks and _is_part_of(block, blocks[-1]):
                blocks[-1] = _with_costs_of(blocks[-1], block)
            else:
                blocks.append(block)
        return tuple(blocks)


def anatomy(network: Network, image_size: Pair | None = None) -> Anatomy:
    """Every layer of a network with its shape, costs and receptive field.

    A convolution of k x k from C to C' channels with g groups has C' (k k C / g + 1) parameters,
    bias included, and does C' k k C / g multiply-adds at each output position; a linear layer is
    one position. Pools, ReLUs, normalizations and additions count as no multiply-adds, as in
    torchvision's own figures. `image_size` (height, width) is the network's standard by default.

    Errors: `BadImage` for a size that the network cannot take.

    >>> from labsupport.core.network import blueprints
    >>> vgg = anatomy(blueprints.blueprint("vgg16"))
    >>> vgg.depth, vgg.parameters, round(vgg.multiply_adds / 1e9, 2)
    (16, 138357544, 15.47)
    """
    size = network.input_size if image_size is None else image_size
    network.need_graph("the costs of its layers")
    network = network.at(size)
    shapes = network.shapes(size)
    fields = layers.fields(network.operations, shapes, network.reads)
    counted = _counted(network, size)
    seen: set[int] = set()
    costs = list(_free_parameters(network))
    for one in network.operations:
        if one.node not in fields or one.kind in {"placeholder", "normalize"}:
            continue
        if len(shapes[one.node]) < 2 and not (one.module and list(one.module.parameters())):
            continue
        costs.append(_layer_cost(network, one, shapes, fields[one.node][1], counted, seen))
    return Anatomy(network.name, size, tuple(costs), depth_of(network))


# The cost of a layer


def _layer_cost(
    network: Network,
    one: Operation,
    shapes: Mapping[fx.Node, Size],
    field: Pair | None,
    counted: Mapping[fx.Node, int],
    seen: set[int],
) -> LayerCost:
    shape = shapes[one.node][1:]
    windowed = one.kind in {"conv", "max_pool", "avg_pool"}
    own = list(one.module.parameters()) if one.module is not None else []
    new = [weights for weights in own if id(weights) not in seen]  # a module may be used twice
    seen.update(map(id, new))
    work = _multiply_adds(one, shape) if one.kind in WEIGHTED else counted.get(one.node, 0)
    return LayerCost(
        name=_title(network, one.node),
        module=str(one.node.meta[graphs.LAYER_NAME]),
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
    name = str(node.meta[graphs.LAYER_NAME])
    known = len(network.shapes(network.input_size)[node]) > 1
    return network.layer_of(node).title if known and "." in name else name


def _free_parameters(network: Network) -> Iterator[LayerCost]:
    """Parameters that belong to no layer, such as the places of a transformer's patches."""
    own = dict(network.graph.named_parameters())
    read = [str(node.target) for node in network.graph.graph.nodes if node.op == "get_attr"]
    for name in own.keys() & dict.fromkeys(read):
        shape, count = tuple(own[name].shape), own[name].numel()
        yield LayerCost(name, name, "parameter", shape, None, None, count, 0, 0, None)


def _multiply_adds(one: Operation, shape: Size) -> int:
    """Connections of one output position times the number of positions."""
    if one.module is None:
        return 0  # a functional layer, whose weights are no part of the graph's modules
    positions = math.prod(shape[1:]) if one.kind == "conv" else math.prod(shape[:-1])
    return _connections(one.module) * positions


def _connections(module: nn.Module) -> int:
    """How many of a layer's weights are not zero by construction."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    if not parametrize.is_parametrized(module, "weight"):
        return weight.numel()
    made: Any = module.parametrizations["weight"]  # type: ignore[index]
    if not hasattr(made, "original"):  # put together from several tensors, as in weight norm
        return weight.numel()
    return int(made[0](torch.ones_like(made.original)).count_nonzero())


def _counted(network: Network, size: Pair) -> Mapping[fx.Node, int]:
    """Multiply-adds of what is neither convolution nor linear layer: attention, for example."""
    if all(one.kind != "other" for one in network.operations):
        return {}
    values: dict[fx.Node, Any] = {}
    counted = {}
    image = torch.empty((1, 3, *size), device="meta")
    # with gradients: without, attention takes a way in one step, in which nothing can be counted
    with torch.enable_grad():
        for node in network.graph.graph.nodes:
            given = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with FlopCounterMode(display=False) as work:
                values[node] = image if node.op == "placeholder" else _value(network, node, *given)
            counted[node] = work.get_total_flops() // 2
    return counted


def _value(network: Network, node: fx.Node, given: Any, named: Any) -> Any:
    """What one node gives, in shape alone."""
    if node.op == "output":
        return None
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        return getattr(network.graph.get_submodule(owner), name).to("meta")
    if node.op == "call_module":
        part = network.graph.get_submodule(str(node.target))
        return torch.func.functional_call(part, _on_meta(part), given, named)
    if node.op == "call_method":
        return getattr(given[0], str(node.target))(*given[1:], **named)
    return node.target(*given, **named)  # type: ignore[operator]


def _on_meta(part: nn.Module) -> dict[str, Tensor]:
    """A module's weights and buffers without their values."""
    weights = {n: torch.empty_like(v, device="meta") for n, v in part.named_parameters()}
    buffers = {n: torch.empty_like(v, device="meta") for n, v in part.named_buffers()}
    return {**{name: value.requires_grad_() for name, value in weights.items()}, **buffers}


def depth_of(network: Network) -> int:
    """The number of convolutions and linear layers on the longest path."""
    deep: dict[fx.Node, int] = {}
    for one in network.operations:
        before = max((deep.get(source, 0) for source in one.inputs), default=0)
        deep[one.node] = before + (one.kind in WEIGHTED)
    return deep[network.output]


# Blocks


def _block_name(name: str) -> str:
    """The module that a layer belongs to: `layer1.0`, `inception3a`, `features.3`."""
    parts = name.split(".")
    two = parts[0] == "features" or (len(parts) > 1 and parts[1].isdigit())
    return ".".join(parts[: 2 if two else 1])


def _merged(name: str, layers_: Sequence[LayerCost]) -> LayerCost:
    """The layers of one module as one: the last one's shape, the sum of the costs."""
    first, last = layers_[0], layers_[-1]
    whole = len([layer for layer in layers_ if layer.kind in WEIGHTED]) > 1
    titles = [layer.name for layer in layers_ if layer.name != layer.module]
    title = titles[-1].partition("/")[0] if "." in name and titles else name
    return replace(
        _with_costs_of(first, *layers_[1:]),
        name=title,
        module=name,
        kind="block" if whole else first.kind,
        shape=last.shape,
        kernel=None if whole else first.kernel,
        stride=None if whole else first.stride,
        receptive_field=last.receptive_field,
    )


def _with_costs_of(layer: LayerCost, *others: LayerCost) -> LayerCost:
    """A layer that bears the costs of others, too."""
    return replace(
        layer,
        parameters=layer.parameters + sum(other.parameters for other in others),
        multiply_adds=layer.multiply_adds + sum(other.multiply_adds for other in others),
        memory=layer.memory + sum(other.memory for other in others),
    )


def _is_part_of(layer: LayerCost, before: LayerCost) -> bool:
    """Whether a reader takes a layer as a part of the one before it."""
    if "pool" in layer.kind or layer.kind in WEIGHTED or layer.kind == "block":
        return False
    return math.prod(layer.shape) == math.prod(before.shape)
