"""A module's computation, written down by running it once.

The module runs on an example while a `TorchFunctionMode` sees every call of PyTorch: each becomes
a node of a `torch.fx` graph, and layers of `torch.nn` stay modules. Control flow, sizes and slices
are the module's own affair, for it really runs. In-place operations become plain ones.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from labsupport.core.errors import CannotRecord
from labsupport.core.network.graphs import LAYER_NAME, Names, asks_for_device, needed_for
from labsupport.core.network.sizes import READ, SizeNumber, SizeTuple
from labsupport.core.network.students_lines import students_line

SHAPE = "shape"  # in the meta of a node: its tensor's shape in the recorded run
TYPE = "type"  # and the type of its numbers
LINE = "line"  # and the student's line that calls it

_DECISIONS = {"__bool__", "__contains__", "equal", "allclose", "is_nonzero"}
_VIEWS = {"view", "squeeze", "unsqueeze", torch.flatten, torch.squeeze, torch.unsqueeze}
_FACTORIES = {  # of tensors out of nothing, on the device "cpu" where none is named
    *("zeros", "ones", "full", "empty", "rand", "randn", "arange", "linspace", "eye", "tensor"),
}
# Into as many parts as a side says; where the dimension stands among the arguments
_CUTTING = {"unbind": 1, "split": 2, "chunk": 2}
# Whose results have as many sides, or numbers, as the numbers in a tensor say
_SELECTING = {"nonzero", "argwhere", "masked_select", "bincount", "nms", "batched_nms"}
_TAKING = {"getitem", "index_select", "gather", "take", "take_along_dim", "cat", "concat", "stack"}
_LAYOUT = {"stride", "storage_offset", "is_contiguous"}  # what follows from all of a tensor's sides
_NUMBERS = {"item", "tolist", "numpy", "__array__", "__float__", "__int__", "__index__"}
_OPERATORS = {
    getattr(torch.Tensor, name): name
    for name in dir(torch.Tensor)
    if name.startswith("__") and isinstance(getattr(torch.Tensor, name), types.FunctionType)
}
# A subclass that defines no more than these is still the layer that it inherits from.
_HARMLESS = {"__init__", "extra_repr", "reset_parameters", "__repr__"}


def record(
    module: nn.Module, example: torch.Tensor, weights: Mapping[str, torch.Tensor], first: str
) -> tuple[Recorder, Any]:
    """What the module did to an example (N, C, H, W), and its answer.

    `weights` are the module's parameters and buffers by their names, on the example's device;
    `first` is the name of the layer that the example comes from.

    Errors: `CannotRecord` where the module decides by numbers in a tensor; the module's own, which
    tell the layer that raised them as `failed_in`.
    """
    recorder = Recorder(example, weights, first)
    with contextlib.ExitStack() as stack:
        for name, part in module.named_modules():
            stack.enter_context(_watched(recorder, part, name))
        stack.enter_context(_own_functions(recorder))
        stack.enter_context(torch.enable_grad())  # else every operation would be one without
        stack.enter_context(recorder)
        return recorder, torch.func.functional_call(module, dict(weights), (example,))


Changed = tuple[torch.Tensor, fx.Node]  # a tensor that was changed in place, and its node before


class Recorder(TorchFunctionMode):
    """Writes down what a module does to an example.

    `graph` is what was written; `constants` are the tensors in it that are no weights, by name.
    """

    def __init__(
        self, example: torch.Tensor, weights: Mapping[str, torch.Tensor], first: str
    ) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.constants: dict[str, torch.Tensor] = {}
        self._weights = {id(weight): name for name, weight in weights.items()}
        self._nodes: dict[int, fx.Node] = {}  # by the id of a tensor
        self._tensors: dict[int, torch.Tensor] = {}  # held, so that no id is used again
        self._stale: dict[int, str] = {}  # whose memory another one has changed, and where
        self._selections: set[fx.Node] = set()  # whose size depends on numbers, see that module
        self._names = Names()
        self._scopes = [""]  # the modules that are running, by name
        self.busy = False  # inside a call that is one node already
        self._device = example.device
        self._images = self.graph.placeholder("images")
        self._keep(example, self.graph.call_module(first, (self._images,)))
        self._name(self._nodes[id(example)], first)

    def node(self, tensor: torch.Tensor) -> fx.Node:
        """The node that computes a tensor; one that was there before the run is a constant."""
        key = id(tensor)
        if key in self._stale:
            raise CannotRecord(
                "an in-place operation changes a tensor that is read again under another name "
                f"{self._stale[key]}(write x = x + ..., inplace=False, relu in place of relu_)"
            )
        if key not in self._nodes:
            name = self._weights.get(key)
            if name is None:
                if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
                    raise CannotRecord(
                        "its forward calls torch.vmap or another function of torch.func, inside "
                        f"which a recorder sees no numbers {students_line()}(work on the whole "
                        "batch at once)"
                    )
                name = self._names.new("constant")
                self.constants[name] = tensor.detach()
            self._keep(tensor, self.graph.get_attr(name))
        return self._nodes[key]

    # Calls

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.busy:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "__get__":  # of a property, as x.shape
            name = func.__self__.__name__
        if name in {"shape", "size"}:
            return self._sizes(args[0], *args[1:], *kwargs.values())
        if name == "__len__":
            return self._sizes(args[0], 0)
        if name in _CUTTING:
            self._read_side(args, kwargs, _CUTTING[name])
        if name in _DECISIONS | _NUMBERS:
            self._refuse_numbers(name, args)
        if name in {"numel", "nelement", "nbytes"}:
            count = self._sizes(args[0]).numel()
            return count * args[0].element_size() if name == "nbytes" else count
        if name in _LAYOUT:
            list(self._sizes(args[0]))
            with self.unseen():
                return func(*args, **kwargs)
        return self._written(
            func, args, kwargs, name.strip("_"), functools.partial(self._call, func, name)
        )

    def layer(self, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A layer of `torch.nn`, as one node."""
        return self._written(
            forward, args, kwargs, "", functools.partial(self.graph.call_module, name)
        )

    def has_weights_of(self, module: nn.Module) -> bool:
        """Whether a module works with its own weights, and not with those of a functional call."""
        return all(id(one) in self._weights for one in (*module.parameters(), *module.buffers()))

    def function(self, kind: type, apply: Callable[..., Any], args: Any) -> Any:
        """A student's own `autograd.Function`, with its own backward pass, as one node."""
        if kind.__module__ == "torch.utils.checkpoint":  # saves memory in training, no more
            return args[0](*args[2:])
        write = functools.partial(self.graph.call_function, OwnFunction(kind))
        return self._written(apply, args, {}, kind.__name__, write)

    def _written(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        name: str,
        write: Callable[..., fx.Node],
    ) -> Any:
        """What a call gives, after `write` has made a node of its arguments."""
        mixed = any(map(torch.is_autocast_enabled, ("cpu", "cuda", "mps")))
        if function is torch.autograd.grad or mixed:
            what = "takes a gradient itself" if name == "grad" else "works in torch.autocast"
            raise CannotRecord(f"its forward {what} {students_line()}".rstrip())
        given, named = self._nodes_in(args), self._nodes_in(kwargs)
        with self.unseen():
            before = [(one, _version(one)) for one in _tensors((args, kwargs))]
            result = function(*args, **kwargs)
            changed = [one for one, version in before if _version(one) != version]
        old = [(one, self.node(one)) for one in changed]
        target = args[0] if name == "setitem" else result
        if _tensors(target):
            self._bind(target, write(given, named), name)
        self._overwritten(old, target)
        return result

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """A module runs."""
        self._scopes.append(name)
        try:
            yield
        except Exception as error:
            if not hasattr(error, "failed_in"):
                error.failed_in = name  # type: ignore[attr-defined]
            raise
        finally:
            self._scopes.pop()

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Calls that are not written down."""
        before, self.busy = self.busy, True
        try:
            yield
        finally:
            self.busy = before

    def _call(self, func: Any, name: str, given: Any, named: dict[str, Any]) -> fx.Node:
        named = {key: value for key, value in named.items() if key not in {"inplace", "out"}}
        if name in _FACTORIES and str(named.get("device")) in {"None", str(self._device)}:
            named["device"] = self._nodes_in(self._device)
        if name == "squeeze" and len(given) == 1 and not named:
            # Of one image alone the batch would go as well.
            given = (*given, tuple(dim for dim, side in enumerate(_sides(given[0])) if side == 1))
        if func.__name__ == "__get__":
            return self.graph.call_function(getattr, (given[0], name))
        if name == "__getitem__":
            return self.graph.call_function(operator.getitem, given)
        method = getattr(torch.Tensor, name, None) is func
        if not method and func in _OPERATORS:  # x ** 2 calls itself pow, which is another function
            name, method = _OPERATORS[func], True
        if name == "__setitem__" or (name.endswith("_") and not name.startswith("_")):
            places = (torch.Tensor,) if method else (F, torch)
            plain = next((getattr(at, name[:-1]) for at in places if hasattr(at, name[:-1])), None)
            if plain is None:
                return self.graph.call_function(in_a_copy, (given[0], name, *given[1:]), named)
            name, func = name[:-1], plain
        if method:
            return self.graph.call_method(name, given, named)
        return self.graph.call_function(func, given, named)

    def _refuse_numbers(self, name: str, args: Any) -> None:
        known = [self.node(one) for one in _tensors(args)]
        told = [node for node in self.graph.nodes if asks_for_device(node)]
        if name == "size":
            told += [node for node in self.graph.nodes if READ in node.meta]
        if self._images not in needed_for(known, besides=told):
            return  # a weight's numbers are the same for every image
        raise CannotRecord(
            f"its forward pass must not depend on the values in a tensor {students_line()}"
            f"({_way_out(name)})"
        )

    # Sizes, arguments and results

    def _sizes(self, tensor: torch.Tensor, dim: int | None = None) -> Any:
        if self._nodes.get(id(tensor)) in self._selections:
            self._refuse_numbers("size", [tensor])
        with self.unseen():
            shape = tuple(tensor.shape)

        def read(dim: int) -> int:
            node = self.graph.call_method("size", (self.node(tensor), dim))
            node.meta[READ] = shape[dim]
            return SizeNumber.of(shape[dim], node)

        sides = SizeTuple.of(shape, range(len(shape)), read)
        return sides if dim is None else sides[dim]

    def _read_side(self, args: Any, kwargs: Mapping[str, Any], place: int) -> None:
        """A tensor is cut along a side, which decides how much is done after it."""
        tensor = _tensors((args, kwargs))[0]
        dim = kwargs.get("dim", args[place] if len(args) > place else 0)
        if tensor.ndim != 4 or dim not in {1, -3}:  # there are as many channels at every size
            self._sizes(tensor, dim)

    def _nodes_in(self, value: Any) -> Any:
        """Arguments as a graph has them: nodes in place of tensors and sizes."""
        if isinstance(value, torch.Tensor):
            return self.node(value)
        if isinstance(value, SizeNumber):
            return value.node if value.node.graph is self.graph else int(value)
        if isinstance(value, torch.device) and value == self._device:
            return self.graph.call_function(getattr, (self._images, "device"))
        if isinstance(value, slice):
            return slice(*map(self._nodes_in, (value.start, value.stop, value.step)))
        if isinstance(value, dict):
            return {key: self._nodes_in(one) for key, one in value.items()}
        if isinstance(value, tuple | list):
            parts = [self._nodes_in(one) for one in value]
            return parts if isinstance(value, list) else tuple(parts)
        if value is None or value is Ellipsis or isinstance(value, fx.node.base_types):
            return value
        if isinstance(value, np.generic):
            return value.item()
        raise CannotRecord(f"a {type(value).__name__} cannot be written down {students_line()}")

    def _bind(self, result: Any, node: fx.Node, name: str) -> None:
        """A result's tensors belong to its node from now on."""
        self._name(node, name)
        with self.unseen():
            shape = tuple(result.shape) if isinstance(result, torch.Tensor) else None
        if _is_selection(node, shape, self._selections):
            self._selections.add(node)
        if not isinstance(result, torch.Tensor):
            for key, one in _parts(result):
                if _tensors(one):
                    part = self.graph.call_function(operator.getitem, (node, key))
                    self._bind(one, part, "getitem")
            return
        if not torch.is_grad_enabled():  # a region of no_grad inside the forward pass
            selected = node in self._selections
            node = self.graph.call_method("detach", (node,))
            self._selections |= {node} if selected else set()
            self._name(node, "detach")
        self._stale.pop(id(result), None)
        self._keep(result, node)

    def _keep(self, tensor: torch.Tensor, node: fx.Node) -> None:
        self._tensors[id(tensor)], self._nodes[id(tensor)] = tensor, node
        with self.unseen():
            node.meta[SHAPE] = tuple(tensor.shape)
            node.meta[TYPE] = tensor.dtype

    def _name(self, node: fx.Node, name: str) -> None:
        node.meta[LAYER_NAME] = self._names.new(".".join(filter(None, [self._scopes[-1], name])))
        node.meta[LINE] = students_line()

    def _overwritten(self, changed: list[Changed], result: Any) -> None:
        """The same memory under other names: the very tensor, a view, what it is a view of, or
        something that is not to be read any more."""
        results = {id(one) for one in _tensors(result)}
        with self.unseen():
            # A tensor and its views count their changes together.
            first = [one for one in changed if id(one[0]) in results]
            for tensor, before in first or changed:
                if not first and self._images in needed_for([before]):
                    self._stale[id(tensor)] = students_line()
                for key, other in list(self._tensors.items()):
                    if other is not tensor and _overlap(tensor, other):
                        self._overwrite(key, self._nodes[id(tensor)], before, tensor)

    def _overwrite(self, key: int, node: fx.Node, before: fx.Node, tensor: torch.Tensor) -> None:
        """Another tensor (by its id) now that this one, which was the node `before`, is `node`."""
        other, old = self._tensors[key], self._nodes[key]
        if _place(other) == _place(tensor):
            self._nodes[key] = node
        elif before.target is operator.getitem and before.args[0] is old:
            change = (old, "__setitem__", before.args[1], node)
            self._bind(other, self.graph.call_function(in_a_copy, change), "setitem")
        elif before.target in _VIEWS and before.args[0] is old:
            self._bind(other, self.graph.call_method("reshape_as", (node, old)), "reshape_as")
        elif old.target in {operator.getitem, *_VIEWS} and old.args[0] is before:
            args = (node, *old.args[1:])
            view = self.graph.create_node(old.op, old.target, args, dict(old.kwargs))
            self._bind(other, view, "view")
        else:
            self._stale[key] = students_line()


class OwnFunction:
    """A class of `torch.autograd.Function`, as a function for a graph's node."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.__name__, self.__module__ = kind.__name__, __name__

    def __call__(self, *args: Any) -> Any:
        """What it gives, with memory of its own: it may work in place."""
        args = tuple(one.clone() if isinstance(one, torch.Tensor) else one for one in args)
        return self.kind.apply(*args)  # type: ignore[attr-defined]


def in_a_copy(x: torch.Tensor, method: str, *args: Any, **kwargs: Any) -> torch.Tensor:
    """An in-place method's result, in new memory.

    >>> in_a_copy(torch.zeros(3), "__setitem__", 0, 1.0)
    tensor([1., 0., 0.])
    """
    x = x.clone()
    getattr(x, method)(*args, **kwargs)
    return x


# What a recorder is told of


@contextlib.contextmanager
def _watched(recorder: Recorder, module: nn.Module, name: str) -> Iterator[None]:
    """A module whose forward passes by the recorder."""
    before, forward, layer = vars(module).get("forward"), module.forward, is_layer(module)

    def call(*args: Any, **kwargs: Any) -> Any:
        with recorder.scope(name):
            if layer and not recorder.busy and recorder.has_weights_of(module):
                return recorder.layer(name, forward, args, kwargs)
            return forward(*args, **kwargs)

    vars(module)["forward"] = call
    try:
        yield
    finally:
        del vars(module)["forward"]
        if before is not None:
            vars(module)["forward"] = before


def is_layer(module: nn.Module) -> bool:
    """Whether the module computes what a layer of `torch.nn` computes, and no more."""
    if isinstance(module, nn.Sequential) or "forward" in vars(module):
        return False
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch.nn.utils"):  # a class made for a parametrization
            continue
        if kind.__module__.startswith(("torch.nn.", "torch.ao.")):
            return True
        if any(callable(part) and name not in _HARMLESS for name, part in vars(kind).items()):
            return False
    return False


_LOCK = threading.Lock()


@contextlib.contextmanager
def _own_functions(recorder: Recorder) -> Iterator[None]:
    """Applied functions of autograd pass by the recorder, those of this thread."""
    base, thread = torch.autograd.Function, threading.get_ident()
    with _LOCK:
        before = vars(base)["apply"]

        def apply(kind: type, *args: Any, **kwargs: Any) -> Any:
            plain = before.__get__(None, kind)
            if threading.get_ident() != thread or recorder.busy or kwargs:
                return plain(*args, **kwargs)
            return recorder.function(kind, plain, args)

        base.apply = classmethod(apply)
        try:
            yield
        finally:
            base.apply = before


def _parts(value: Any) -> list[tuple[Any, Any]]:
    """What a tuple, list or dictionary holds, by index or key; nothing for anything else."""
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, tuple | list) else []


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, SizeTuple):
        return []
    return [tensor for _, part in _parts(value) for tensor in _tensors(part)]


def _way_out(name: str) -> str:
    """What to write in place of a method that reads the numbers in a tensor."""
    if name == "size":
        return (
            "how many numbers are selected depends on them: sum over a mask, (x * (x > 1)).sum(), "
            "in place of x[x > 1], and (x > 1).sum() in place of a length"
        )
    if name in _DECISIONS:
        return (
            "move such a decision out of forward, or let a tensor decide: torch.where(condition, "
            "one, other)"
        )
    return (
        "keep numbers in tensors: x.mean() in place of x.mean().item(), PyTorch's functions in "
        "place of NumPy's"
    )


def _is_selection(node: fx.Node, shape: tuple[int, ...] | None, known: set[fx.Node]) -> bool:
    """Whether a result's size depends on numbers, as those of the `known` nodes do.

    `shape` is that of its tensor, None where it holds several.
    """
    word = getattr(node.target, "__name__", str(node.target)).strip("_")
    given = [one for one in node.all_input_nodes if SHAPE in one.meta]
    if word in _SELECTING or "unique" in word or (word == "where" and len(given) == 1):
        return True
    masks = [one for one in given[1:] if one.meta[TYPE] in (torch.bool, torch.uint8)]
    if (word == "getitem" and masks) or (word == "repeat_interleave" and len(given) > 1):
        return True
    if known.isdisjoint(node.all_input_nodes) or shape == ():
        return False
    others = [one.meta[SHAPE] for one in given if one not in known]
    return word in _TAKING or shape not in others


def _sides(node: fx.Node) -> tuple[int, ...]:
    sides: tuple[int, ...] = node.meta[SHAPE]
    return sides


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Where in its memory a tensor lies."""
    return tensor.shape, tensor.stride(), tensor.storage_offset()


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have a number in common."""
    memory = one.untyped_storage()
    if memory._cdata != other.untyped_storage()._cdata:
        return False
    marks = torch.zeros(memory.nbytes() // one.element_size(), dtype=torch.bool)
    marks.as_strided(*_place(one)).fill_(True)
    return bool(marks.as_strided(*_place(other)).any())
