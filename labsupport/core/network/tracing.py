"""A module's computation as a graph that no method has to be afraid of.

`trace` copies the module, writes its forward pass down as a `torch.fx` graph with torchvision's
node names, and takes every in-place operation out of it. The module itself is left alone.
"""

import copy
import operator
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import NodePathTracer

from labsupport.core.errors import CannotTrace
from labsupport.core.network.operations import Normalize, operation

LAYER_NAME = "layer_name"  # the key in node.meta

_OUT_OF_PLACE: dict[Any, Any] = {
    F.relu_: F.relu,
    torch.relu_: torch.relu,
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def trace(
    module: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    example: torch.Tensor | None = None,
) -> fx.GraphModule:
    """The graph of a copy of `module` in eval mode, its weights frozen, after a `Normalize`.

    Every node knows its layer's name as `node.meta[LAYER_NAME]`. With an `example`, images
    (N, 3, H, W), the graph is held against the module's own scores for it.

    Errors: `CannotTrace` says why the forward pass cannot be written down.
    """
    own = _own_copy(module).eval().requires_grad_(False)
    normalize = Normalize(mean, std)
    if example is not None:
        _check_type(own, type(module).__name__)
    expected = None if example is None else _scores(own, normalize(example))
    if expected is not None:
        _check_numbers(expected, type(module).__name__)
    tracer = NodePathTracer()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = tracer.trace(own)
    except Exception as error:
        raise CannotTrace(
            f"{type(module).__name__} cannot be traced: {error} "
            "(its forward pass must not depend on the values in a tensor; "
            "move such a decision out of forward, or into a module of its own)"
        ) from error
    names = _placeholders_and_names(graph, tracer, type(module).__name__)
    for node, name in names.items():
        node.meta[LAYER_NAME] = name
    _remove_in_place(graph, own)
    _reshape_for_view(graph)
    traced = _after_normalize(own, graph, normalize)
    if expected is not None and example is not None:
        _check_same_scores(expected, _scores(traced, example), type(module).__name__)
    return traced


def _own_copy(module: nn.Module) -> nn.Module:
    # An activation that the module keeps from its last call cannot be copied with its gradient.
    kept = (value for part in module.modules() for value in vars(part).values())
    memo = {
        id(v): v.detach() for v in kept if isinstance(v, torch.Tensor) and v.grad_fn is not None
    }
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise CannotTrace(f"{type(module).__name__} cannot be copied: {error}") from error


def _scores(module: nn.Module, images: torch.Tensor) -> torch.Tensor | None:
    """What the module answers, None where it cannot take these images."""
    weights = next(module.parameters(), images)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            result = module.to(weights.device)(images.to(weights.device))
        except Exception:  # the network's own check of sizes says it in a student's words
            return None
    return result if isinstance(result, torch.Tensor) else None


def _check_type(module: nn.Module, title: str) -> None:
    for name, weights in module.named_parameters():
        if weights.is_meta:
            raise CannotTrace(f"{title} has no numbers in {name}: it is on the meta device")
        if weights.is_floating_point() and weights.dtype != torch.float32:
            raise CannotTrace(
                f"{title} computes in {str(weights.dtype).removeprefix('torch.')} ({name}), images "
                "here are in single precision: give module.float()"
            )


def _check_numbers(scores: torch.Tensor, title: str) -> None:
    if not scores.numel():
        raise CannotTrace(f"{title} gives no scores at all: it needs one class at least")
    if not scores.isfinite().all():
        raise CannotTrace(
            f"{title} gives scores that are no numbers (NaN or infinite) for a picture of chance "
            "colours: its weights are damaged, or its training has run away (a smaller learning "
            "rate helps); load good weights and wrap it again"
        )


def _check_same_scores(expected: torch.Tensor, scores: torch.Tensor | None, title: str) -> None:
    close = 1e-4 * float(expected.abs().max())
    if scores is None or not torch.allclose(scores, expected, 1e-4, close, equal_nan=True):
        raise CannotTrace(
            f"{title} cannot be traced: its graph gives other scores than {title} itself. Probably "
            "an in-place operation (x += ..., inplace=True, relu_) changes a tensor that is read "
            "again under another name: write it as x = x + ..., inplace=False, relu"
        )


def needed_for(wanted: Iterable[fx.Node]) -> set[fx.Node]:
    """These nodes and all that their values are computed from."""
    needed: set[fx.Node] = set()
    waiting = list(wanted)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return needed


def subgraph(whole: fx.GraphModule, wanted: tuple[fx.Node, ...]) -> fx.GraphModule:
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


def _placeholders_and_names(
    graph: fx.Graph, tracer: NodePathTracer, title: str
) -> dict[fx.Node, str]:
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if not inputs:
        raise CannotTrace(f"{title}.forward takes no image: it needs one tensor argument")
    for extra in inputs[1:]:
        if extra.args == ():
            raise CannotTrace(
                f"{title}.forward wants {len(inputs)} tensors ({extra.target} has no default); "
                "a classifier here takes one: the images"
            )
        extra.replace_all_uses_with(extra.args[0])
        graph.erase_node(extra)
    _only_scores(graph, title)
    kept = set(graph.nodes)
    return {node: name for node, name in tracer.node_to_qualname.items() if node in kept}


def _only_scores(graph: fx.Graph, title: str) -> None:
    (result,) = next(node for node in graph.nodes if node.op == "output").args
    if not isinstance(result, fx.Node):
        raise CannotTrace(
            f"{title}.forward gives back a {type(result).__name__}; "
            "a classifier here gives back one tensor: the scores (N, classes)"
        )


def _remove_in_place(graph: fx.Graph, root: nn.Module) -> None:
    for node in list(graph.nodes):
        if not node.args or not isinstance(node.args[0], fx.Node):
            continue
        if not _make_out_of_place(node, root):
            continue
        # After an in-place operation, the tensor's old names mean the new value.
        old = _names_of(node.args[0], graph, root)
        later = False
        for user in list(graph.nodes):
            for name in old.intersection(user.all_input_nodes) if later else ():
                user.replace_input_with(name, node)
            later = later or user is node
    for module in root.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]


def _reshape_for_view(graph: fx.Graph) -> None:
    """`x.view(n, -1)` refuses maps that lie channels-last in memory; `reshape` does not."""
    for node in graph.nodes:
        other_type = any(isinstance(part, torch.dtype) for part in node.args)
        if node.op == "call_method" and node.target == "view" and not other_type:
            node.target = "reshape"


def _names_of(node: fx.Node, graph: fx.Graph, root: nn.Module) -> set[fx.Node]:
    """The nodes that are this node's very tensor: an identity or a dropout hands it on."""
    handing_on = {n for n in graph.nodes if operation(n, root).kind in {"identity", "dropout"}}
    while node in handing_on:
        node = node.all_input_nodes[0]
    names = {node}
    for other in graph.nodes:
        if other in handing_on and names.intersection(other.all_input_nodes):
            names.add(other)
    return names


def _make_out_of_place(node: fx.Node, root: nn.Module) -> bool:
    """Rewrite the node where it works in place; say whether it did."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_function":
        plain = _OUT_OF_PLACE.get(node.target) or _plain_function(node.target)
        if plain is not None:
            node.target = plain
            return True
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
            return True
        if node.target is F.relu and len(node.args) > 1 and node.args[1]:
            node.args = node.args[:1]
            return True
    if node.op == "call_method" and str(node.target).endswith("_"):
        plain = str(node.target).rstrip("_")
        if not str(node.target).startswith("_") and hasattr(torch.Tensor, plain):
            node.target = plain
            return True
    return False


def _plain_function(function: Any) -> Any:
    """`torch.tanh` for `torch.tanh_`, `F.elu` for `F.elu_`; None for what has no underscore."""
    name = getattr(function, "__name__", "")
    if not name.endswith("_") or name.endswith("__"):
        return None
    return getattr(F, name[:-1], None) or getattr(torch, name[:-1], None)


def _after_normalize(root: nn.Module, graph: fx.Graph, normalize: Normalize) -> fx.GraphModule:
    images = next(node for node in graph.nodes if node.op == "placeholder")
    name = "normalize"
    while hasattr(root, name):
        name = f"{name}_"
    root.add_module(name, normalize)
    with graph.inserting_after(images):
        first = graph.call_module(name, (images,))
    first.meta[LAYER_NAME] = name
    images.replace_all_uses_with(first, delete_user_cb=lambda user: user is not first)
    graph.lint()
    return fx.GraphModule(root, graph)
