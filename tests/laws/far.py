"""A second device where there is none: tensors that say they are on it and compute on the CPU.

A tensor there does what a GPU's does: it meets no tensor of the CPU but a single number (or an
index), it comes back by `.cpu()` or `.to("cpu")` only, it gives no array, and no generator of the
CPU fills it. A method that makes a constant on the wrong device raises here as it would there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "far"
_aten = torch.ops.aten
# What may see both sides: copies, and an index, which a GPU takes from the CPU as well.
_CROSSINGS = {_aten._to_copy, _aten.copy_}
_INDEXING = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
_JOINING = {_aten.cat, _aten.stack}  # here not even a single number may be elsewhere


class WrongDevice(RuntimeError):
    """What torch raises on a GPU: the tensors of an operation are not all there."""


class Far(torch.Tensor):
    """A tensor on the second device; `here` is the one that it computes with."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> Far:
        there = torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=torch.device(NAME, 0),
        )
        there.here = here
        return there

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), keywords=None):
        return _answer(function, arguments, keywords or {})

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self) -> str:
        return f"Far({self.here!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()


class _Makers(TorchDispatchMode):
    """Tensors that are made with `device=` are made there."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        return _answer(function, arguments, keywords or {})


def _answer(function: Any, arguments: Any, keywords: dict[str, Any]) -> Any:
    tensors = [x for x in pytree.tree_leaves((arguments, keywords)) if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, Far)]
    packet = function.overloadpacket
    if there and packet not in _CROSSINGS:
        _check(packet, arguments, tensors)
    leads_there = bool(there)
    if keywords.get("device") is not None:
        leads_there = torch.device(keywords["device"]).type == NAME
        keywords = keywords | {"device": torch.device("cpu")}
    if leads_there and keywords.get("generator") is not None:
        raise WrongDevice(f"{packet}: the generator is one of the CPU, the tensor is not")
    inner = [x.here if isinstance(x, Far) else x for x in tensors]
    given = iter(inner)
    plain = pytree.tree_map_only(torch.Tensor, lambda _: next(given), (arguments, keywords))
    found = function(*plain[0], **plain[1])
    outer = {id(one): whole for one, whole in zip(inner, tensors, strict=True)}

    def back(value: torch.Tensor) -> torch.Tensor:
        return outer[id(value)] if id(value) in outer else Far(value) if leads_there else value

    return pytree.tree_map_only(torch.Tensor, back, found)


def _check(packet: Any, arguments: Any, tensors: list[torch.Tensor]) -> None:
    """Raise as a GPU does for a tensor of the CPU that is not a single number."""
    if packet in _INDEXING and isinstance(arguments[0], Far):
        tensors = [x for x in tensors if not any(x is one for one in arguments[1] or ())]
    strangers = [x for x in tensors if not isinstance(x, Far) and (x.ndim or packet in _JOINING)]
    if strangers:
        shapes = ", ".join(str(tuple(x.shape)) for x in strangers)
        raise WrongDevice(f"{packet}: on the CPU lies a tensor of {shapes}, the others do not")


_kernels: list[torch.library.Library] = []


def _prepare() -> None:
    """Tell torch of the device, once in a process; `torch.tensor` and lists as indices pass by
    every mode and ask the device itself for memory and for a copy."""

    def empty(size: Any, stride: Any, *, dtype: Any = None, **rest: Any) -> Far:
        return Far(torch.empty_strided(size, stride, dtype=dtype))

    def copy(source: torch.Tensor, target: Far, non_blocking: bool = False) -> Far:
        target.here.copy_(source)
        return target

    _setup_privateuseone_for_python_backend(NAME)
    kernels = torch.library.Library("aten", "IMPL")
    kernels.impl("empty_strided", empty, "PrivateUse1")
    kernels.impl("_copy_from", copy, "PrivateUse1")
    _kernels.append(kernels)


@contextmanager
def second_device() -> Iterator[torch.device]:
    """While it lasts there is a device called "far" to make tensors on."""
    if not _kernels:
        _prepare()
    with _Makers():
        yield torch.device(NAME, 0)
