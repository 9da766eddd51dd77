"""How a gradient passes a ReLU in the backward pass: the lecture's three rules.

With f what came into the ReLU and R' the gradient that arrives from above, "backprop" lets
(f > 0) R' through, "deconvnet" (R' > 0) R', and "guided" what both let through. A network's graph
says where its ReLUs are, so modules, functions, methods and one module used twice are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from labsupport.core.errors import BadSetting, one_of
from labsupport.core.network import copies, graphs, rewrites
from labsupport.core.network.network import Network
from labsupport.core.network.opaque import RuledReLUs
from labsupport.core.network.operations import Pair, argument, operation

RULES = ("backprop", "deconvnet", "guided")

_CLAMPS = {"clamp", "clamp_min", torch.clamp, torch.clamp_min}


class GradientRule:
    """The rule that the ReLUs of one call follow; each reads it when the gradient comes by.

    So one forward pass serves several rules, one backward pass each.
    """

    def __init__(self, name: str = RULES[0]) -> None:
        self.name = name


@dataclass(frozen=True)
class PartWithRules:
    """What leads from images to one node, (images, rule) -> (activations,), and how many ReLUs."""

    module: nn.Module
    relus: int
    elsewhere: Callable[[Pair], PartWithRules]  # the part that leads there for another image size

    def __call__(self, images: torch.Tensor, rule: GradientRule) -> torch.Tensor:
        """The node's activations, on the network's device, their gradient under the rule."""
        part = self.elsewhere((images.shape[-2], images.shape[-1]))
        return part.module(images, rule)[0]  # type: ignore[no-any-return]


def part_with_rules(network: Network, node: fx.Node, rules: Sequence[str]) -> PartWithRules:
    """The part of a network up to a node, its ReLUs made to follow a `GradientRule`.

    Errors: `BadSetting` for an unknown rule, and where a rule has no ReLU to act on.
    """
    _check_rules(rules)
    plain = set(rules) == {RULES[0]}
    key = ("ruled part", node, plain)

    def build() -> PartWithRules:
        if network.opaque:
            whole = _RuledRun(network.part((node,)))
            return PartWithRules(whole, whole.count(network), elsewhere)
        part = rewrites.optimized(graphs.subgraph(network.graph, (node,)), reorder=plain)
        ruled, relus = _with_rules(part, plain)
        run = graphs.OneByOne(ruled) if network.one_by_one else ruled
        return PartWithRules(run, relus, elsewhere)

    def elsewhere(size: Pair) -> PartWithRules:
        there = network.at(size)
        if there is network:
            return part
        return part_with_rules(there, there.same_layers((node,), network)[0], rules)

    part = network.remember(key, build, keep=32)
    if not plain:
        _check_relus(network, part)
    return part


def relu(x: torch.Tensor, rule: str = "backprop") -> torch.Tensor:
    """max(x, 0), whose gradient follows a rule.

    >>> f = torch.tensor([1.0, -1.0, 5.0], requires_grad=True)
    >>> relu(f, "guided").backward(torch.tensor([-2.0, 3.0, 4.0]))
    >>> f.grad
    tensor([0., 0., 4.])
    """
    _check_rules([rule])
    return _relu_with_rule(x, None, GradientRule(rule))


def _check_rules(rules: Sequence[str]) -> None:
    if isinstance(rules, str) or not rules:
        raise BadSetting(f"name at least one rule: rules=({', '.join(map(repr, RULES))})")
    for rule in rules:
        one_of(rule, RULES, "a rule")


def _check_relus(network: Network, part: PartWithRules) -> None:
    graphs_ = [one.graph for one in part.module.modules() if isinstance(one, fx.GraphModule)]
    nodes = [node for graph in graphs_ for node in graph.nodes]
    called = {str(node.target) for node in network.graph.graph.nodes if node.op == "call_module"}
    for node in nodes:
        if node.op == "call_module" and _hides_relu(network.graph, str(node.target), called):
            raise BadSetting(
                f"{network.name}: the layer {node.target!r} has a ReLU inside that cannot be "
                "reached, so 'deconvnet' and 'guided' would be wrong: use rule='backprop'"
            )
    if part.relus == 0:
        raise BadSetting(
            f"{network.name} has no ReLU before this target, and the rules 'deconvnet' and "
            "'guided' are about ReLUs: use rule='backprop', or a target after a ReLU"
        )


def _hides_relu(graph: fx.GraphModule, layer: str, called: Collection[str]) -> bool:
    """Whether a ReLU works inside a module that the graph keeps whole, as in a transformer.

    Those that are `called` by the graph lie inside by their names alone.
    """
    named = graph.get_submodule(layer).named_modules(prefix=layer)
    inner = [part for name, part in named if name == layer or name not in called]
    own = [getattr(part, "activation", None) for part in inner]
    return any(isinstance(part, nn.ReLU | nn.ReLU6) for part in inner[1:]) or F.relu in own


class _RuledRun(nn.Module):
    """A part of an opaque network: its ReLUs are met while it runs."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, images: torch.Tensor, rule: GradientRule) -> tuple[torch.Tensor, ...]:
        with RuledReLUs(lambda x, ceiling: _relu_with_rule(x, ceiling, rule)):
            result: tuple[torch.Tensor, ...] = self.part(images)
        return result

    def count(self, network: Network) -> int:
        """How many ReLUs an image of the network's own size meets."""
        size = (1, 3, *network.input_size)
        image = torch.rand(size, generator=torch.Generator().manual_seed(0))
        met = RuledReLUs(lambda x, ceiling: x.clamp(0, ceiling))
        with torch.no_grad(), copies.undisturbed(), met:
            self.part(network.send(image))
        return met.count


# The rewritten graph


def _with_rules(part: fx.GraphModule, plain: bool) -> tuple[fx.GraphModule, int]:
    """A module that shares the part's weights, its second argument the rule; how many ReLUs.

    Where only the `plain` gradient is wanted, PyTorch's own ReLUs stay: they are faster.
    """
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    rule: fx.Node | None = None
    relus = 0
    for node in part.graph.nodes:
        ceiling = _ceiling(node, part)
        if node.op == "output":
            graph.output(tuple(copies[one] for one in node.args[0]))
        elif ceiling is _NO_RELU or (plain and node.target not in _CLAMPS):
            copies[node] = graph.node_copy(node, copies.__getitem__)
        else:
            x, overwrite = copies[node.all_input_nodes[0]], node.target is torch.relu_
            copies[node] = graph.call_function(_relu_with_rule, (x, ceiling, rule, overwrite))
        relus += ceiling is not _NO_RELU
        if node.op == "placeholder":
            rule = graph.placeholder("rule")
    return fx.GraphModule(part, graph), relus


_NO_RELU = object()


def _ceiling(node: fx.Node, root: nn.Module) -> Any:
    """Where a ReLU ends: 6 for a ReLU6, None for one without an end; `_NO_RELU` for other nodes."""
    if node.op in {"placeholder", "get_attr", "output"}:
        return _NO_RELU
    kind = operation(node, root).kind
    if kind in {"relu", "relu6"}:
        return None if kind == "relu" else 6.0
    clamps = node.op != "call_module" and node.target in _CLAMPS
    if clamps and argument(node, 1, "min", None) == 0:
        top = argument(node, 2, "max", None)
        return top if top is None or isinstance(top, int | float) else _NO_RELU
    return _NO_RELU


def _relu_with_rule(
    x: torch.Tensor, ceiling: float | None, rule: GradientRule, overwrite: bool = False
) -> torch.Tensor:
    """min(max(x, 0), ceiling), whose gradient obeys the rule; in x's place, if asked for."""
    return _ReLUWithRule.apply(x, ceiling, rule, overwrite)  # type: ignore[no-any-return]


class _ReLUWithRule(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: torch.Tensor, ceiling: float | None, _: GradientRule, overwrite: bool
    ) -> torch.Tensor:
        if overwrite:
            return x.relu_()
        return x.relu() if ceiling is None else x.clamp(0, ceiling)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], result: torch.Tensor) -> None:
        x, ctx.ceiling, ctx.rule, overwrite = inputs
        if overwrite:
            ctx.mark_dirty(x)
        ctx.save_for_backward(result)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (result,), rule = ctx.saved_tensors, ctx.rule.name
        if rule == "deconvnet":
            return above.relu(), None, None, None
        passed = torch.ops.aten.threshold_backward(above, result, 0)  # (f > 0) R'
        if ctx.ceiling is not None:
            passed = passed.masked_fill(result >= ctx.ceiling, 0)
        return passed.relu_() if rule == "guided" else passed, None, None, None
