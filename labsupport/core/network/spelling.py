"""One spelling for each operation, however it was written.

`x.view(x.size(0), -1)`, `x.squeeze()` and `torch.flatten(x, 1)` are one thing, and so are
`x.mean((2, 3))` and an average pool to 1 x 1, `torch.add(x, y)` and `x + y`, a layer of `torch.nn`
and `F.conv2d(x, self.weight)`. The methods meet one of each.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from labsupport.core.network.constants import Values, drop_unread
from labsupport.core.network.graphs import LAYER_NAME, Names
from labsupport.core.network.recorder import SHAPE

Rule = Callable[["Speller", fx.Node], None]


def spell(graph: fx.Graph, values: Values) -> None:
    """Rewrite a recorded graph, in place; `values` are its modules and tensors by their names."""
    speller = Speller(graph, values)
    for node in list(graph.nodes):
        rule = _RULES.get(word_of(node))
        if rule is not None and LAYER_NAME in node.meta:  # not what is worked out of sizes
            rule(speller, node)
    drop_unread(graph, {*_RESHAPING, "transpose", *_PARTING})


class Speller:
    """Puts calls into a graph and gives each layer a name of its own."""

    def __init__(self, graph: fx.Graph, values: Values) -> None:
        self.graph, self.values = graph, values
        self._names = Names(str(node.meta.get(LAYER_NAME)) for node in graph.nodes)
        self._last = {  # of each module that runs, its last node
            scope: node
            for node in graph.nodes
            if LAYER_NAME in node.meta
            for scope in _scopes(node)
        }

    def call(self, node: fx.Node, word: str, function: Any, *args: Any, **named: Any) -> None:
        """A function in the place of a node."""
        self._names.free(str(node.meta[LAYER_NAME]))
        self._replace(node, self.insert(node, word, function, *args, **named))

    def insert(self, node: fx.Node, word: str, function: Any, *args: Any, **named: Any) -> fx.Node:
        """A function before a node, its layer called by the word."""
        with self.graph.inserting_before(node):
            new = self.graph.call_function(function, args, named)
        name = ".".join(filter(None, [scope_of(node), word]))
        new.meta = {**node.meta, LAYER_NAME: self._names.new(name)}
        return new

    def call_module(self, node: fx.Node, name: str, source: Any, module: nn.Module) -> None:
        """A layer in the place of a node, with this name where it is free."""
        self._names.free(str(node.meta[LAYER_NAME]))
        name = self._names.new(name)
        self.values[name] = module
        with self.graph.inserting_before(node):
            new = self.graph.call_module(name, (source,))
        new.meta = {**node.meta, LAYER_NAME: name}
        self._replace(node, new)

    def ends(self, node: fx.Node, scope: str) -> bool:
        """Whether the node gives what a module gives."""
        return self._last.get(scope) is node

    def _replace(self, node: fx.Node, new: fx.Node) -> None:
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)


def scope_of(node: fx.Node) -> str:
    """The module in which a node works, by its name."""
    return str(node.meta[LAYER_NAME]).rpartition(".")[0]


def _scopes(node: fx.Node) -> list[str]:
    """All modules in which a node works, by their names."""
    parts = scope_of(node).split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def word_of(node: Any) -> str:
    """The name of the function or method that a node calls."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def given_to(node: fx.Node, *names: str) -> dict[str, Any]:
    """A call's arguments by their names, None for those that were not given."""
    return dict.fromkeys(names) | dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def _shape(node: Any) -> tuple[int, ...]:
    """That of a node's tensor in the recorded run."""
    return node.meta.get(SHAPE, ()) if isinstance(node, fx.Node) else ()


# Sums, products and ReLUs


def _arithmetic(word: str, function: Callable[..., Any], *, swapped: bool = False) -> Rule:
    def rule(speller: Speller, node: fx.Node) -> None:
        if len(node.args) == 2 and dict(node.kwargs) in ({}, {"alpha": 1}):
            speller.call(node, word, function, *(node.args[::-1] if swapped else node.args))

    return rule


def _one_to_one(word: str, function: Callable[..., Any]) -> Rule:
    def rule(speller: Speller, node: fx.Node) -> None:
        speller.call(node, word, function, given_to(node, "input")["input"])

    return rule


def _clamp(speller: Speller, node: fx.Node) -> None:
    given = given_to(node, "input", "min", "max")
    limits = (given["min"], given["max"])
    if limits == (0, None):
        speller.call(node, "relu", torch.relu, given["input"])
    elif limits == (0, 6):
        speller.call(node, "relu6", F.relu6, given["input"])


# Channels in parts and in another order


def _part(speller: Speller, node: fx.Node) -> None:
    """x.chunk(2, 1)[0], and all that is like it, as x[:, :8]."""
    whole: Any = node.args[0]
    place: Any = node.args[1]
    if word_of(whole) in _PARTING and isinstance(place, int):
        maps, parts, dim = given_to(whole, *_PARTING[word_of(whole)], "dim").values()
        sizes = parts if isinstance(parts, list | tuple) else [parts]
        if dim in (1, -3) and len(_shape(maps)) == 4 and all(type(one) is int for one in sizes):
            if word_of(whole) == "chunk":
                sizes = [-(-_shape(maps)[1] // parts)]
            first = sum((sizes * (place + 1) if sizes is not parts else sizes)[:place])
            index = (slice(None), slice(first, first + _shape(node)[1]))
            speller.call(node, "getitem", operator.getitem, maps, index)
            return
    _flatten(speller, node)


def _reshape(speller: Speller, node: fx.Node) -> None:
    """(N, groups, C / groups, H, W) with its groups swapped is a shuffle of channels."""
    groups, source = _shuffled(node)
    if groups:
        name = ".".join(filter(None, [scope_of(node), "channel_shuffle"]))
        speller.call_module(node, name, source, nn.ChannelShuffle(groups))
        return
    if word_of(node) == "view" and not isinstance(node.args[1], torch.dtype):
        node.target = "reshape"  # here maps lie channels-last, of which there is not every view
    _flatten(speller, node)


def _shuffled(node: fx.Node) -> tuple[int, Any]:
    """Of how many groups the channels are shuffled, and the maps; 0 where it is no shuffle."""
    swapped: Any = node.args[0]
    while word_of(swapped) == "contiguous":
        swapped = swapped.args[0]
    if word_of(swapped) != "transpose" or set(swapped.args[1:]) != {1, 2}:
        return 0, None
    grouped: Any = swapped.args[0]
    source, shape = grouped.args[0], _shape(grouped)
    regrouped = len(shape) == 5 and word_of(grouped) in _RESHAPING and shape[3:] == _shape(node)[2:]
    return (shape[1], source) if regrouped and _shape(source) == _shape(node) else (0, None)


# Flattening and averaging


def _flatten(speller: Speller, node: fx.Node) -> None:
    """(N, ...) as (N, everything else)."""
    source = _before_reshaping(node)
    shape, before = _shape(node), _shape(source)
    if source is not node and len(shape) == 2 < len(before) and shape[0] == before[0]:
        speller.call(node, "flatten", torch.flatten, source, 1)


def _before_reshaping(node: Any) -> Any:
    """The maps (N, C, H, W), or as near to them as it goes, of which a node is but another
    arrangement: all of its numbers in the same order."""
    while word_of(node) in _RESHAPING and isinstance(node.args[0], fx.Node):
        source = node.args[0]
        if math.prod(_shape(source)) != math.prod(_shape(node)) or not _cuts_plainly(node):
            break
        node = source
        if len(_shape(node)) == 4:
            break
    return node


def _cuts_plainly(node: fx.Node) -> bool:
    """Whether an index like [:, :, 0, 0] picks places, and does not list them in another order."""
    if word_of(node) != "getitem":
        return True
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    return all(isinstance(part, int | slice) for part in index)


def _mean(speller: Speller, node: fx.Node) -> None:
    """The mean over all places of a map is a pool to 1 x 1."""
    given = given_to(node, "input", "dim", "keepdim")
    source, dims = given["input"], given["dim"]
    dims = tuple(dims) if isinstance(dims, tuple | list) else (dims,)
    if len(_shape(source)) == 3 and dims in {(2,), (-1,)} and not given["keepdim"]:
        source, dims = _before_reshaping(source), (2, 3)
    kept = _shape(source)[:2] == _shape(node)[:2]
    if len(_shape(source)) != 4 or not kept or {d % 4 for d in dims if d is not None} != {2, 3}:
        speller.call(node, "mean", torch.mean, *node.args, **node.kwargs)
        return
    if given["keepdim"]:
        speller.call(node, "adaptive_avg_pool2d", F.adaptive_avg_pool2d, source, 1)
        return
    pooled = speller.insert(node, "adaptive_avg_pool2d", F.adaptive_avg_pool2d, source, 1)
    pooled.meta[SHAPE] = (*_shape(node), 1, 1)
    speller.call(node, "flatten", torch.flatten, pooled, 1)


# Layers whose weights were given to a function


def _convolution(speller: Speller, node: fx.Node) -> None:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = given_to(node, *names)
    weight, bias = _weight(speller, given["weight"]), _weight(speller, given["bias"])
    settings = {name: given[name] for name in names[3:] if given[name] is not None}
    if weight is None or any(isinstance(one, fx.Node) for one in settings.values()):
        return
    inside = weight.shape[1] * settings.get("groups", 1)
    height, width = weight.shape[2:]
    layer = nn.Conv2d(inside, len(weight), (height, width), **settings, device="meta")
    _put_layer(speller, node, layer, weight=weight, bias=bias)


def _linear(speller: Speller, node: fx.Node) -> None:
    given = given_to(node, "input", "weight", "bias")
    weight, bias = _weight(speller, given["weight"]), _weight(speller, given["bias"])
    if weight is not None:
        units, inputs = weight.shape
        layer = nn.Linear(inputs, units, device="meta")
        _put_layer(speller, node, layer, weight=weight, bias=bias)


def _batch_norm(speller: Speller, node: fx.Node) -> None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    given = given_to(node, *names, "momentum", "eps")
    own = {name: _weight(speller, given[name]) for name in names[1:5]}
    if own["running_mean"] is None or given["training"] or len(_shape(given["input"])) != 4:
        return
    layer = nn.BatchNorm2d(len(own["running_mean"]), given["eps"] or 1e-5, device="meta")
    layer.num_batches_tracked = None
    _put_layer(speller, node, layer, **own)


def _weight(speller: Speller, node: Any) -> torch.Tensor | None:
    """The tensor that a node reads, where it is a constant."""
    if isinstance(node, fx.Node) and node.op == "get_attr":
        weight: torch.Tensor = speller.values[str(node.target)]
        return weight
    return None


def _put_layer(
    speller: Speller, node: fx.Node, layer: nn.Module, **own: torch.Tensor | None
) -> None:
    """The layer with the very tensors of the module, by the name that a module's own layer has."""
    for name, value in own.items():
        if name in layer._buffers:
            layer._buffers[name] = value
        elif value is None or isinstance(value, nn.Parameter):
            layer._parameters[name] = value
        else:
            layer._parameters[name] = nn.Parameter(value, requires_grad=False)
    reads = next(one for one in node.all_input_nodes if one.op == "get_attr")
    owner, scope = str(reads.target).rpartition(".")[0], scope_of(node)
    whole = owner and owner == scope and speller.ends(node, owner)
    name = owner if whole else str(node.meta[LAYER_NAME])
    speller.call_module(node, name, given_to(node, "input")["input"], layer.eval())


_RESHAPING = {"view", "reshape", "squeeze", "unsqueeze", "flatten", "getitem", "contiguous"}
_PARTING = {"chunk": ("input", "chunks"), "split": ("tensor", "split_size_or_sections")}
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_RESHAPING, _flatten),
    **dict.fromkeys(("view", "reshape", "flatten"), _reshape),
    "getitem": _part,
    **dict.fromkeys(("clamp", "clamp_min", "clip"), _clamp),
    "add": _arithmetic("add", operator.add),
    "sub": _arithmetic("sub", operator.sub),
    "mul": _arithmetic("mul", operator.mul),
    "multiply": _arithmetic("mul", operator.mul),
    "div": _arithmetic("div", operator.truediv),
    "truediv": _arithmetic("div", operator.truediv),
    "__rsub__": _arithmetic("sub", operator.sub, swapped=True),
    "__rdiv__": _arithmetic("div", operator.truediv, swapped=True),
    "relu": _one_to_one("relu", torch.relu),
    "relu6": _one_to_one("relu6", F.relu6),
    "tanh": _one_to_one("tanh", torch.tanh),
    "sigmoid": _one_to_one("sigmoid", torch.sigmoid),
    "mean": _mean,
    "conv2d": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
}
