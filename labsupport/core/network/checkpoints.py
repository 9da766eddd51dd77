"""Weights as people save them: state dicts, alone or with much around them, their names prefixed.

Nothing is ever unpickled into anything but numbers, texts, lists and dictionaries: whatever else a
file holds is passed over, and a file that is a whole module is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from labsupport.core.errors import WeightsUnavailable

State = dict[str, torch.Tensor]

_WRAPPERS = {"_orig_mod"}  # parts of names that `torch.compile` puts in
# Buffers that older versions did not save, and what tools that count operations leave behind
_MAY_MISS, _MAY_BE_LEFT = ("num_batches_tracked",), ("total_ops", "total_params")
_DEPTH = 3  # dictionaries in dictionaries
_OTHERS = {
    ".h5": "Keras",
    ".keras": "Keras",
    ".onnx": "ONNX",
    ".pb": "TensorFlow",
    ".tflite": "TensorFlow",
    ".msgpack": "Flax",
    ".npz": "NumPy",
    ".npy": "NumPy",
}


@dataclass(frozen=True)
class Fitted:
    """Weights by a module's own names, and in words what was done to get them."""

    state: State
    notes: tuple[str, ...] = ()


def read(path: Path) -> Any:
    """What a file holds: a state dict, or whatever it lies in.

    Errors: `WeightsUnavailable` says what the file is instead, and the way out.
    """
    if path.suffix in _OTHERS:
        raise WeightsUnavailable(
            f"{path.name} is a file of {_OTHERS[path.suffix]}'s; weights for PyTorch come as "
            "safetensors or from torch.save(module.state_dict(), path)"
        )
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise WeightsUnavailable(f"{path} is empty: save or copy it once more")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsUnavailable(
            f"{path} is a pointer of Git LFS and not the file itself: git lfs pull gets that"
        )
    if start.startswith(b"\x1f\x8b"):
        raise WeightsUnavailable(f"{path} is compressed: gunzip unpacks the file in it")
    if start.lstrip()[:1] == b"<":
        raise WeightsUnavailable(f"{path} is a web page: download the file that it links to")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return _load(path)
    except WeightsUnavailable:
        raise
    except Exception as error:  # each damage has its own error
        if type(error).__name__ == "UnpicklingError":
            raise WeightsUnavailable(
                f"{path} holds more than weights: such a file can run any code, and is not opened. "
                "Where it was made, save its weights alone: torch.save(module.state_dict(), path)"
            ) from None
        first = str(error).partition("\n")[0].partition(" Please ")[0][:120]
        raise WeightsUnavailable(
            f"{path} cannot be read as weights ({first}): it is cut off, damaged or of another "
            "kind. Copy or download it once more, or save it anew with "
            "torch.save(module.state_dict(), path)"
        ) from None


class _PassedOver:
    """In the place of an object that is no weight: a scaler, a logger, a whole module."""

    def __new__(cls, *_: Any, **__: Any) -> "_PassedOver":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...


def _load(path: Path) -> Any:
    """A file of torch.save; classes that PyTorch does not know are not even imported."""
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except ValueError as error:
        if "torchscript" in str(error):
            raise WeightsUnavailable(
                _rescue(path, "a TorchScript archive", "jit.load({})")
            ) from None
        unknown = []  # the format of before 2020
    with torch.serialization.safe_globals([(_PassedOver, name) for name in unknown]):
        held = torch.load(path, map_location="cpu", weights_only=True)
    if any("numpy" in name for name in unknown) and not list(_states(held)):
        raise WeightsUnavailable(
            f"{path.name} holds NumPy arrays. Where it was made, save tensors: torch.save({{name: "
            "torch.from_numpy(array) for name, array in weights.items()}, path)"
        )
    if isinstance(held, _PassedOver):
        whole = "load({}, weights_only=False)"
        raise WeightsUnavailable(_rescue(path, "a whole pickled module", whole))
    return held


def _rescue(path: Path, what: str, opened: str) -> str:
    """How to get the weights out of a file that is not opened here."""
    return (
        f"{path.name} holds {what}, which is not opened here: it can run any code. Where it was "
        f"made, run\n    import torch\n    module = torch.{opened.format(repr(path.name))}\n    "
        'torch.save(module.state_dict(), "weights.pth")\nand load weights.pth'
    )


def fitted(held: Any, own: Mapping[str, torch.Tensor], path: Path) -> Fitted:
    """The weights in what a file holds, by the names that a module of `own` weights has.

    They may lie in dictionaries, and their names may all begin with something else.

    Errors: `WeightsUnavailable` where there are none.
    """
    found = {place: _named(state, own, place) for place, state in _states(held)}
    if not found:
        modules = [key for key, one in _items(held) if isinstance(one, _PassedOver)]
        if modules:
            whole = f"load({{}}, weights_only=False)[{modules[0]!r}]"
            raise WeightsUnavailable(_rescue(path, "whole pickled objects", whole))
        keys = ", ".join(str(key) for key, _ in _items(held)[:6])
        raise WeightsUnavailable(
            f"{path.name} holds no weights: it is a {type(held).__name__}"
            + (f" of {keys}" if keys else "")
            + "; save them with torch.save(module.state_dict(), path)"
        )
    count = {place: sum(name in one.state for name in own) for place, one in found.items()}
    taken = max(count, key=count.__getitem__)
    same = [place for place in found if place != taken and count[place] == count[taken] > 0]
    return replace(found[taken], notes=(*found[taken].notes, *_others(same, path)))


def _others(places: Sequence[str], path: Path) -> list[str]:
    """What is to be said of the places of a file that hold weights of the same names as those that
    were taken."""
    if not places:
        return []
    alone = f"torch.save(torch.load({path.name!r}){places[0]}, 'other.pth')"
    return [f"{' and '.join(places)} of the file would fit as well: to load that, {alone}"]


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _states(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """The dictionaries of tensors in what a file holds, each with its place in words."""
    items = _items(value)
    tensors = {key: one for key, one in items if isinstance(one, torch.Tensor)}
    if tensors and all(isinstance(key, str) for key in tensors):
        yield place, tensors
    if depth < _DEPTH:
        for key, one in items:
            yield from _states(one, f"{place}[{key!r}]", depth + 1)


def _named(state: State, own: Mapping[str, torch.Tensor], place: str) -> Fitted:
    """The state with the names of the module's own."""
    notes = [f"its weights were taken from {place} of the file"] if place else []
    if not any(_WRAPPERS.intersection(name.split(".")) for name in own):
        state = {_unwrapped(name): value for name, value in state.items()}
    prefix, *same = _prefixes(state, own)
    if same:
        notes.append(f"names that begin with {' or '.join(map(repr, same))} would fit as well")
    if prefix:
        others = [name for name in state if not name.startswith(prefix)]
        left = f"; {len(others)} other{'s' * (len(others) > 1)} left out" if others else ""
        notes.append(f"the names of its weights begin with {prefix!r} in the file{left}")
        state = {n.removeprefix(prefix): one for n, one in state.items() if n.startswith(prefix)}
    state = {n: one for n, one in state.items() if not n.endswith(_MAY_BE_LEFT)}
    missing = {n: one for n, one in own.items() if n not in state and n.endswith(_MAY_MISS)}
    return Fitted({**state, **missing}, tuple(notes))


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefixes(state: State, own: Mapping[str, torch.Tensor]) -> list[str]:
    """What stands before most of a module's own names: the one that is taken, then its equals."""
    tried = {""}
    for name in list(own)[:1] + list(own)[-1:]:
        tried |= {one.removesuffix(name) for one in state if one.endswith(f".{name}")}
    count = {start: sum(start + name in state for name in own) for start in sorted(tried)}
    most = max(count.values())
    return [start for start in count if count[start] == most and (most or not start)]


def classes_in(state: State, own: Mapping[str, torch.Tensor]) -> int | None:
    """How many classes weights are made for, where only the rows of the last layer differ from the
    module's own."""
    other = [name for name in own if name in state and state[name].shape != own[name].shape]
    rows = {len(state[name]) for name in other if state[name].ndim}
    alike = all(state[name].shape[1:] == own[name].shape[1:] for name in other)
    same = len({len(own[name]) for name in other if own[name].ndim}) == 1
    return rows.pop() if len(rows) == 1 and alike and same else None


def put_into(module: nn.Module, fitted_: Fitted, whose: str, source: str) -> None:
    """Give a module these weights, each as the kind of number that the module has there.

    Errors: `WeightsUnavailable` says what does not fit.
    """
    for name, value in fitted_.state.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "an empty" if value.is_meta else "a sparse"
            kind = "a quantized" if value.is_quantized else kind
            raise WeightsUnavailable(
                f"{name} in {source} is {kind} tensor, which is not read here: save the module's "
                "weights as plain tensors, dense and on the CPU"
            )
    try:
        module.load_state_dict(fitted_.state)
    except RuntimeError as error:
        reasons = _misfits(module.state_dict(), fitted_.state) or [str(error)[:300]]
        raise WeightsUnavailable(
            f"the weights from {source} do not fit {whose}: {'; '.join(reasons)}"
        ) from None


def _misfits(own: State, given: State) -> list[str]:
    """What is wrong with a state dict, the first example of each kind."""
    missing = [name for name in own if name not in given]
    extra = [name for name in given if name not in own]
    shapes = [name for name in own if name in given and own[name].shape != given[name].shape]
    reasons = [f"{len(missing)} names are missing, such as {missing[0]}"] if missing else []
    if extra:
        reasons.append(f"{len(extra)} names are unknown, such as {extra[0]}")
    if shapes:
        first = shapes[0]
        shape, wanted = tuple(given[first].shape), tuple(own[first].shape)
        reasons.append(f"{len(shapes)} have another shape: {first} is {shape}, not {wanted}")
    return reasons
