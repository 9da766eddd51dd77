"""Units that a ReLU silences: their value before it, which still has a gradient."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from labsupport.core.network import Network
from labsupport.core.network.layers import Size
from labsupport.core.network.operations import Operation, Pair
from labsupport.core.network.targets import Target

_HANDING_ON = frozenset({"dropout", "identity"})
_POOLING = frozenset({"adaptive_pool", "avg_pool", "max_pool"})


@dataclass(frozen=True)
class Unit:
    """Where a unit's value lies before its ReLU: a layer, a channel, and perhaps a position."""

    layer: str
    channel: int
    position: Pair | None


def before_relu(network: Network, target: Target) -> Unit | None:
    """The value before a target's last ReLU; None where no ReLU can silence it."""
    by_node = {one.node: one for one in network.operations}
    shapes = network.shapes(network.input_size)
    node, channel, pooled = network.node_of(target), target.index, False
    while True:
        operation = by_node[node]
        if operation.kind in ("relu", "relu6"):
            layer = network.layer_of(operation.inputs[0]).name
            return None if pooled and target.position else Unit(layer, channel, target.position)
        if operation.kind == "concat":
            node, channel = _part(operation, channel, shapes)
            continue
        pooled = pooled or operation.kind in _POOLING
        flat = operation.kind == "flatten" and shapes[operation.inputs[0]][2:] in ((), (1, 1))
        if not (flat or operation.kind in _HANDING_ON | _POOLING):
            return None
        node = operation.inputs[0]


def _part(
    operation: Operation, channel: int, shapes: Mapping[fx.Node, Size]
) -> tuple[fx.Node, int]:
    """Which input of a concatenation a channel comes from, and its number there."""
    for source in operation.inputs:
        count = shapes[source][1]
        if channel < count:
            break
        channel -= count
    return source, channel
