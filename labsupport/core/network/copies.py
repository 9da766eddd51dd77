"""A student's module, copied so that nothing that is done to the copy is seen in the module.

Weights and modes are the copy's own, and so is what hooks store: a hook that writes activations
into a dictionary writes into a copy of that dictionary.
"""

import contextlib
import copy
import inspect
import random
import types
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from labsupport.core.errors import CannotTrace

_FORWARD_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
# What `nn.Module` itself keeps of each module
_BOOKKEEPING = frozenset(vars(nn.Module())) - {"training"}
_ALL_HOOKS = (*_FORWARD_HOOKS, "_backward_pre_hooks", "_backward_hooks")


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """While a student's code runs: random numbers go on afterwards as if it had not."""
    own, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002, it is theirs
    gpus = range(torch.cuda.device_count())
    try:
        with (
            torch.random.fork_rng(gpus, device_type="cuda"),
            torch.inference_mode(False),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(own)
        np.random.set_state(numpys)  # noqa: NPY002


def unwrapped(module: nn.Module) -> nn.Module:
    """The module that `nn.DataParallel` or `torch.compile` was given."""
    while True:
        inside = getattr(module, "_orig_mod", None)
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inside = module.module
        if not isinstance(inside, nn.Module):
            return module
        module = inside


def refuse_unusable(module: nn.Module, *, computing: bool) -> None:
    """Raise `CannotTrace` for a module that no copy of could be run."""
    title = type(module).__name__
    for name, part in module.named_modules():
        place = f"{title}, its layer {name!r}," if name else title
        if part._backward_hooks or part._backward_pre_hooks:
            raise CannotTrace(
                f"{place} has a backward hook, which changes gradients here as well: remove it "
                "first (handle.remove())"
            )
    for name, weights in module.named_parameters():
        if is_lazy(weights):
            raise CannotTrace(
                f"{title} has no weights in {name} yet, it is lazy: call it once with a batch of "
                "images"
            )
        if computing and weights.is_meta:
            raise CannotTrace(f"{title} has no numbers in {name}: it is on the meta device")
    _refuse_arguments(module, title)


def _refuse_arguments(module: nn.Module, title: str) -> None:
    if isinstance(module, torch.jit.ScriptModule):  # which does not tell its arguments
        return
    parameters = inspect.signature(module.forward).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not places:
        raise CannotTrace(f"{title}.forward takes no image: it needs one tensor argument")
    required = [one.name for one in places if one.default is one.empty]
    if len(required) > 1:
        raise CannotTrace(
            f"{title}.forward wants {len(required)} tensors ({required[1]} has no default); "
            "a classifier here takes one: the images"
        )


def own_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode, its weights frozen.

    Errors: `CannotTrace` for what cannot be copied.
    """
    # An activation that the module keeps from its last call cannot be copied with its gradient.
    kept = (value for part in module.modules() for value in vars(part).values())
    memo: dict[int, Any] = {
        id(v): v.detach() for v in kept if isinstance(v, torch.Tensor) and v.grad_fn is not None
    }
    try:
        own = copy.deepcopy(module, memo)
    except Exception as error:
        raise CannotTrace(_no_copy(module, error)) from error
    stores: dict[int, Any] = {}
    for part in own.modules():
        for name, child in part._modules.items():
            if child is not None and unwrapped(child) is not child:
                part._modules[name] = unwrapped(child)
        for kind in _FORWARD_HOOKS:
            hooks = getattr(part, kind)
            hooks.update({key: _apart(hook, stores) for key, hook in hooks.items()})
    for weights in own.parameters():
        if weights.is_leaf:
            weights.requires_grad_(False)
        else:
            weights.detach_()
    return own.eval()


def _no_copy(module: nn.Module, error: Exception) -> str:
    """In words: which attribute stands in the way of a copy."""
    title, place = type(module).__name__, "something in it"
    for name, value in attributes(module).items():
        try:
            copy.deepcopy(value)
        except Exception as own:
            place, error = f"its attribute {name} (a {type(value).__name__})", own
    return (
        f"{title} cannot be copied, and your own module is never touched here: {place} stands in "
        f"the way ({error}). Set it to None while you wrap the module, or make it in forward"
    )


def attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes and buffers of a module and of its parts, by name."""
    named: dict[str, Any] = {}
    for place, part in module.named_modules():
        own = {key: value for key, value in vars(part).items() if key not in _BOOKKEEPING}
        for key, value in {**own, **part._buffers}.items():
            named[f"{place}.{key}".removeprefix(".")] = value
    return named


Kept = dict[str, tuple[Any, Any]]  # attributes, each with what changes when it is worked on


def kept(module: nn.Module) -> Kept:
    """What a module has at hand from one call to the next, to be compared later."""

    def mark(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value._version
        return len(value) if isinstance(value, list | dict | set | deque) else None

    return {name: (value, mark(value)) for name, value in attributes(module).items()}


def changed(module: nn.Module, before: Kept) -> str:
    """The names of what a module has changed since then, as it would write them."""
    found = []
    for name, (value, mark) in kept(module).items():
        then, mark_then = before.get(name, (before, None))
        same = value is then or (isinstance(value, int | float | str) and value == then)
        if not same or mark != mark_then:
            found.append(f"self.{name}")
    return " and ".join(found[:3])


def _apart(hook: Any, stores: dict[int, Any]) -> Any:
    """The hook with copies of the lists and dictionaries that it may write into."""
    if not isinstance(hook, types.FunctionType):
        return hook

    def own(value: Any) -> Any:
        if isinstance(value, list | dict | set):
            return stores.setdefault(id(value), copy.copy(value))
        return value

    names = {name: own(hook.__globals__.get(name)) for name in hook.__code__.co_names}
    inside = {
        **hook.__globals__,
        **{name: value for name, value in names.items() if value is not None},
    }
    cells = tuple(types.CellType(own(cell.cell_contents)) for cell in hook.__closure__ or ())
    defaults = tuple(map(own, hook.__defaults__ or ()))
    twin = types.FunctionType(hook.__code__, inside, hook.__name__, defaults, cells)
    twin.__kwdefaults__ = {name: own(value) for name, value in (hook.__kwdefaults__ or {}).items()}
    return twin


def without_hooks(layer: nn.Module) -> nn.Module:
    """The same layer, its weights shared, that works out of place and calls no hooks.

    They were recorded; the layer of the copy itself keeps them for another recording.
    """
    bare = type(layer).__new__(type(layer))
    vars(bare).update(vars(layer))
    vars(bare).update({kind: OrderedDict() for kind in _ALL_HOOKS})
    vars(bare)["_modules"] = dict(layer._modules)
    if "inplace" in vars(bare):
        vars(bare)["inplace"] = False
    return bare
