"""Parts of a graph, and what its nodes are without computing them."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import fx, nn

LAYER_NAME = "layer_name"  # in the meta of a node: the name of its layer


class Names:
    """Names of layers, none of them given twice: relu, relu_1, relu_2.

    >>> names = Names(["relu"])
    >>> names.new("relu"), names.new("relu"), names.new("pool")
    ('relu_1', 'relu_2', 'pool')
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def new(self, name: str) -> str:
        """The name, or with a number where it is taken."""
        title, number = name, 0
        while title in self._taken:
            number += 1
            title = f"{name}_{number}"
        self._taken.add(title)
        return title

    def free(self, name: str) -> None:
        """The name may be given again."""
        self._taken.discard(name)


def needed_for(wanted: Iterable[fx.Node], besides: Iterable[fx.Node] = ()) -> set[fx.Node]:
    """These nodes and all that their values are computed from, `besides` those that are there."""
    there = set(besides)
    needed: set[fx.Node] = set()
    waiting = list(wanted)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(one for one in node.all_input_nodes if one not in there)
    return needed


def asks_for_device(node: fx.Node) -> bool:
    """Whether the node gives the device of a tensor: of its numbers, that tells nothing."""
    return node.target is getattr and bool(node.args[1] == "device")


def subgraph(whole: fx.GraphModule, wanted: Sequence[fx.Node]) -> fx.GraphModule:
    """A module that computes the wanted nodes' values, as a tuple, and nothing that they do not
    need."""
    needed = needed_for(wanted)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in whole.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in wanted))
    return fx.GraphModule(whole, graph)


def between(whole: fx.GraphModule, given: Sequence[fx.Node], wanted: fx.Node) -> fx.GraphModule:
    """A module that computes one node from the values of others, which are its arguments.

    Errors: `ValueError` where the node needs something else of the images.
    """
    graph = fx.Graph()
    copies = {node: graph.placeholder(f"given_{place}") for place, node in enumerate(given)}
    needed = needed_for([wanted], besides=given)
    for node in whole.graph.nodes:
        if node in needed and node not in copies:
            if node.op == "placeholder":
                raise ValueError(f"{wanted} needs the images themselves")
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[wanted])
    return fx.GraphModule(whole, graph)


class OneByOne(nn.Module):
    """A part that gets one image at a time: its answer would depend on the others beside it."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, images: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, ...]:
        each = [self.part(one, *rest) for one in torch.split(images, 1)]
        if len(each) == 1:  # concatenated, the values would not lead to each other any more
            return tuple(each[0])
        return tuple(torch.cat(values) for values in zip(*each, strict=True))


class _Quietly(nn.Module):
    """A part whose errors are not printed: a graph module that is called would show its code."""

    def __init__(self, part: fx.GraphModule) -> None:
        super().__init__()
        self.part = part

    def forward(self, images: torch.Tensor) -> Any:
        return self.part.forward(images)


def without_computing(
    whole: fx.GraphModule, wanted: Sequence[fx.Node], shape: Sequence[int]
) -> Sequence[Any]:
    """What the wanted nodes give for images of this shape (N, 3, H, W), in shape alone."""
    part = _Quietly(subgraph(whole, wanted))
    weights = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    empty = {name: torch.empty_like(w, device="meta") for name, w in weights.items()}
    images = torch.empty(tuple(shape), device="meta")
    result: Sequence[Any]
    try:
        result = torch.func.functional_call(part, empty, (images,))
    except NotImplementedError:  # an operation that there is for numbers alone
        device = next((weight.device for weight in weights.values()), None)
        with torch.no_grad():
            result = part(torch.zeros(tuple(shape), device=device))
    return result
