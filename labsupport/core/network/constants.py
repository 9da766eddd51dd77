"""What is the same for every image is worked out once: masks, standardized weights, sizes."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import fx

from labsupport.core.network.graphs import (
    LAYER_NAME,
    Names,
    asks_for_device,
    subgraph,
    without_computing,
)
from labsupport.core.network.sizes import READ

Values = dict[str, Any]  # modules and tensors, by the names that a graph calls them


def fold(graph: fx.Graph, values: Values, shape: tuple[int, ...]) -> None:
    """Replace what does not depend on the images by its value, in place.

    `shape` (N, 3, H, W) is that of the recorded example, but with another number of images: a size
    that stays with it is a number from now on, and its node a guard, which keeps `node.meta[READ]`.
    """
    device = next((v.device for v in values.values() if isinstance(v, torch.Tensor)), None)
    known: dict[fx.Node, Any] = _fixed_sizes(graph, values, shape, device)
    folded = list(known)
    for node in graph.nodes:
        if node.op == "get_attr":
            known[node] = values[str(node.target)]
        elif asks_for_device(node):
            known[node] = device
        elif node not in known and _is_constant(node, known):
            known[node] = _value(node, values, known)
            folded.append(node)
    for node in folded:
        _replace(node, known[node], values, [one for one in node.users if one not in known])
    drop_unread(graph)


def drop_unread(graph: fx.Graph, parts: Collection[str] = ("getitem",)) -> None:
    """Erase what nobody reads: weights, what is worked out from them, parts of a result.

    A layer that works on the images stays, unless it is one of the `parts`, by the name of its
    function; and so does the guard of a size.
    """
    seeing = _seeing(graph)
    for node in reversed(graph.nodes):
        layer = LAYER_NAME in node.meta and node in seeing and node.op != "get_attr"
        part = getattr(node.target, "__name__", node.target) in parts
        kept = node.op in {"placeholder", "output"} or READ in node.meta or (layer and not part)
        if not node.users and not kept:
            graph.erase_node(node)


def _seeing(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that depend on the numbers in the images."""
    seeing: set[fx.Node] = set()
    for node in graph.nodes:
        reads = not asks_for_device(node) and not seeing.isdisjoint(node.all_input_nodes)
        if node.op == "placeholder" or reads:
            seeing.add(node)
    return seeing


def _fixed_sizes(
    graph: fx.Graph, values: Values, shape: tuple[int, ...], device: torch.device | None
) -> dict[fx.Node, int]:
    """The sizes that the module was told and that do not depend on how many images there are."""
    sizes = [node for node in graph.nodes if READ in node.meta]
    if not sizes:
        return {}
    whole, seeing = fx.GraphModule(values, graph), _seeing(graph)
    try:
        found = without_computing(whole, sizes, shape)
    except Exception:  # not every operation can do without numbers
        part = subgraph(whole, sizes)  # not called, for that would print where it fails
        found = part.forward(torch.rand(shape, device=device))
    graph.owning_module = None  # its modules and names still change
    fixed = {}
    for node, size in zip(sizes, found, strict=True):
        if size == node.meta[READ]:
            fixed[node] = size
        if node not in fixed or node not in seeing:
            del node.meta[READ]
    return fixed


def _is_constant(node: fx.Node, known: Mapping[fx.Node, Any]) -> bool:
    inside = node.op not in {"placeholder", "output"}
    return inside and all(source in known for source in node.all_input_nodes)


def _value(node: fx.Node, values: Values, known: dict[fx.Node, Any]) -> Any:
    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
    with torch.no_grad():
        if node.op == "call_module":
            return values[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _replace(node: fx.Node, value: Any, values: Values, readers: Iterable[fx.Node]) -> None:
    """Let these readers have the value in place of the node."""
    new = value
    for reader in readers:
        if isinstance(value, torch.Tensor) and new is value:
            name = Names(values).new("constant")
            values[name] = value
            with node.graph.inserting_before(node):
                new = node.graph.get_attr(name)

        def exchanged(one: fx.Node, new: Any = new) -> Any:
            return new if one is node else one

        reader.args = fx.node.map_arg(reader.args, exchanged)
        reader.kwargs = fx.node.map_arg(reader.kwargs, exchanged)
