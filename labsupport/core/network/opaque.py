"""A network that runs, but whose computation cannot be written down as a graph.

Its forward pass goes by the values in its images, or is TorchScript. Scores and gradients are the
module's own, and so is what its modules give, which is read while it runs.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode

from labsupport.core.errors import BadImage
from labsupport.core.network import copies, endings
from labsupport.core.network.graphs import LAYER_NAME
from labsupport.core.network.operations import Pair, module_kind
from labsupport.core.network.recorder import SHAPE
from labsupport.core.network.tracing import BATCH, Origin, Traced

KIND = "kind"  # in the meta of a node: its layer's kind, which its module has
_LOCK = threading.RLock()  # the hooks of a run are in the module that all runs share

Wanted = tuple[str, int] | None  # a module's name and which of its calls; None: the scores


def opaque(origin: Origin, size: Pair, reason: str) -> Traced:
    """The module behind nodes for what its modules give to images of a size (H, W), each of which
    is computed from the normalized images; and the reason in its notes.

    Errors: `CannotTrace` where it does not run.
    """
    with copies.undisturbed(), torch.no_grad():
        example = origin.example(size)
        given = _given(origin, example)
        origin.answer = origin.run(example)
        origin.probabilities = endings.are_probabilities(origin.answer)
    origin.ending = endings.ending_of(origin.answer, probabilities=origin.probabilities)
    graph = fx.Graph()
    modules: dict[str, nn.Module] = {"normalize": origin.normalize, "network": Whole(origin)}
    images = graph.call_module("normalize", (graph.placeholder("images"),))
    images.meta[LAYER_NAME] = "normalize"
    for number, (wanted, kind, shape) in enumerate(given):
        modules[f"inside_{number}"] = Inside(origin, wanted)
        node = graph.call_module(f"inside_{number}", (images,))
        name = wanted[0] + (f"_{wanted[1]}" if wanted[1] else "")
        node.meta.update({LAYER_NAME: name, KIND: kind, SHAPE: shape})
    scores = graph.call_module("network", (images,))
    scores.meta.update({LAYER_NAME: "scores", SHAPE: tuple(origin.answer.shape)})
    graph.output(scores)
    note = (
        f"{reason.rstrip()}. So it is opaque: scores, gradients and what its modules give are its "
        "own, but what leads from one layer to the next is not known, and each image is computed "
        "alone"
    )
    notes = (*origin.notes, *origin.ending.notes(), note)
    return Traced(fx.GraphModule(modules, graph), origin, notes, reason)


def _given(origin: Origin, images: torch.Tensor) -> list[tuple[tuple[str, int], str, Any]]:
    """The modules that give a tensor with a row for each image, in the order in which they are done
    with it: name and call, kind, shape."""
    given: list[tuple[tuple[str, int], str, Any]] = []
    calls: Counter[str] = Counter()

    def seen(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, result: Any) -> None:
            call = calls[name]
            calls[name] += 1
            if not isinstance(result, torch.Tensor) or not result.is_floating_point():
                return
            if result.ndim > 1 and len(result) == BATCH:
                given.append(((name, call), module_kind(module), tuple(result.shape)))

        return hook

    with contextlib.ExitStack() as stack:
        for name, module in origin.module.named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
                stack.enter_context(_hooked(module, seen(name)))
        origin.run(images)
    return given


@contextlib.contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class Whole(nn.Module):
    """From normalized images to scores (N, classes)."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self.origin = origin

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        return values(self.origin, (None,), normalized)[0]


class Inside(nn.Module):
    """From normalized images to what one of the modules gives; nothing after it is computed."""

    def __init__(self, origin: Origin, wanted: tuple[str, int]) -> None:
        super().__init__()
        self.wanted = wanted
        self._origin = (origin,)  # its weights are those of the whole network

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        return values(self._origin[0], (self.wanted,), normalized)[0]


class _Enough(Exception):
    """All that is wanted is there."""


def values(
    origin: Origin, wanted: Sequence[Wanted], normalized: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """What modules give, and the scores for None, in one run that ends with the last of them.

    The scores' gradient at what a module gives is that of this run.
    """
    inside = {one for one in wanted if one is not None}
    found: dict[Wanted, torch.Tensor] = {}
    calls: Counter[str] = Counter()

    def watch(name: str) -> Callable[..., Any]:
        def hook(_: nn.Module, __: Any, result: Any) -> Any:
            key = (name, calls[name])
            calls[name] += 1
            if key not in inside:
                return None
            found[key] = result
            if len(found) == len(inside) and None not in wanted:
                raise _Enough
            return result.clone()  # what comes next may work in place

        return hook

    if not wanted:
        return ()
    with contextlib.ExitStack() as stack:
        if inside:
            stack.enter_context(_LOCK)
        for name in {one[0] for one in inside}:
            stack.enter_context(_hooked(origin.module.get_submodule(name), watch(name)))
        stack.enter_context(contextlib.suppress(_Enough))
        # In the usual order of memory, as its maker gives it images
        answer = origin.after_normalization(normalized.contiguous())
        found[None] = origin.ending.scores(answer)
    missing = [one[0] for one in wanted if one is not None and one not in found]
    if missing:
        raise BadImage(
            f"{origin.title}: the layer {missing[0]!r} is not computed for these images, whose "
            "numbers lead its forward pass another way"
        )
    return tuple(found[one] for one in wanted)


class OpaquePart(nn.Module):
    """From images to some nodes of an opaque network, in one run."""

    def __init__(self, graph: fx.GraphModule, nodes: Sequence[fx.Node]) -> None:
        super().__init__()
        whole: Any = graph.get_submodule("network")
        origin: Origin = whole.origin
        self._origin, self._nodes = (origin,), tuple(nodes)
        self._wanted: dict[fx.Node, Wanted] = {}
        for node in nodes:
            part = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
            if isinstance(part, Inside | Whole):
                self._wanted[node] = part.wanted if isinstance(part, Inside) else None

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        normalized = self._origin[0].normalize(images)
        given = values(self._origin[0], list(self._wanted.values()), normalized)
        known = dict(zip(self._wanted, given, strict=True))
        before = {"placeholder": images, "call_module": normalized}
        return tuple(known[node] if node in known else before[node.op] for node in self._nodes)


class RuledReLUs(TorchFunctionMode):
    """While it is entered, `relu(x, ceiling)` computes min(max(x, 0), ceiling); `count` tells how
    many it has met."""

    def __init__(self, relu: Callable[[torch.Tensor, float | None], torch.Tensor]) -> None:
        super().__init__()
        self.relu, self.count = relu, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        plain = name.rstrip("_")
        ceiling = _ceiling(plain, args, kwargs)
        if ceiling is _NO_RELU:
            return func(*args, **kwargs)
        self.count += 1
        x = args[0] if args else kwargs["input"]
        result = self.relu(x, ceiling)
        told = kwargs.get("inplace") or (plain.startswith("relu") and args[1:] == (True,))
        return x.copy_(result) if told or name != plain else result


_NO_RELU = object()


def _ceiling(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Where a function's ReLU ends, None for one without an end; `_NO_RELU` for others."""
    if name in {"relu", "relu6"}:
        return 6.0 if name == "relu6" else None
    if name not in {"clamp", "clamp_min", "clip"}:
        return _NO_RELU
    low, high = (
        args[place] if len(args) > place else kwargs.get(word)
        for place, word in ((1, "min"), (2, "max"))
    )
    zero = isinstance(low, int | float) and low == 0
    return high if zero and (high is None or isinstance(high, int | float)) else _NO_RELU
