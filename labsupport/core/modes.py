"""The same numbers, whatever modes of PyTorch's a user has left on.

`torch.inference_mode`, autocast, a default type and a default device are switched off while a
public function works, and are as they were when it gives its result or the next frame.
"""

import contextlib
import functools
import inspect
import sys
import threading
import types
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from labsupport.core.frames import Shortcut

_LOCK = threading.Lock()
_USED_TO = torch.float32
_inside = 0  # how many calls in all threads want the usual type
_type_before = _USED_TO


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """While numbers are computed: none of these modes."""
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if _inside or torch.get_default_dtype() != _USED_TO:
            stack.enter_context(_usual_type())
        yield


@contextlib.contextmanager
def _usual_type() -> Iterator[None]:
    """The default type belongs to the process: the last call that is done puts the user's back."""
    global _inside, _type_before
    with _LOCK:
        if not _inside:
            _type_before = torch.get_default_dtype()
            torch.set_default_dtype(_USED_TO)
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if not _inside:
                torch.set_default_dtype(_type_before)


def keep(face: str) -> None:
    """Let all functions that a module or package offers work in the usual modes.

    `face` is its name; it calls this at its end, `modes.keep(__name__)`.
    """
    offered = vars(sys.modules[face])
    package = [part for name, part in sys.modules.items() if f"{name}.".startswith(f"{face}.")]
    for name, function in list(offered.items()):
        own = str(getattr(function, "__module__", "")).startswith(face)
        if name.startswith("_") or not own or not inspect.isfunction(function):
            continue
        kept = _kept(function)
        for module in package:
            for known in [known for known, value in vars(module).items() if value is function]:
                setattr(module, known, kept)


def _kept(function: Callable[..., Any]) -> Callable[..., Any]:
    frames = getattr(function, "frames", None)
    if inspect.isgeneratorfunction(function):
        return _kept_frames(function)
    modes, normal, is_generator, in_turn = usual, _normal, inspect.isgenerator, _in_turn

    def call(*args: Any, **kwargs: Any) -> Any:
        with modes():
            result = function(*map(normal, args), **normal(kwargs))
        return in_turn(result) if is_generator(result) else result

    kept = _at_home(call, function)
    if frames is not None:
        kept.frames = _kept_frames(frames)  # type: ignore[attr-defined]
        del kept.__wrapped__  # type: ignore[attr-defined]  # its type is that of the frames
    return kept


def _kept_frames(function: Callable[..., Any]) -> Callable[..., Any]:
    modes, normal, in_turn, shortcut = usual, _normal, _in_turn, Shortcut

    def frames(*args: Any, **kwargs: Any) -> Any:
        with modes():
            made = function(*map(normal, args), **normal(kwargs))
        if isinstance(made, shortcut):
            return shortcut(in_turn(made), modes()(made.result))
        return in_turn(made)

    return _at_home(frames, function)


def _at_home(around: Any, function: Any) -> Callable[..., Any]:
    """The function around another one as if it were written in its module, where the examples of
    its docstring are looked for."""
    name, home = function.__name__, function.__globals__
    moved = types.FunctionType(around.__code__, home, name, None, around.__closure__)
    moved.__kwdefaults__ = around.__kwdefaults__
    return functools.wraps(function)(moved)


def _in_turn(made: Any) -> Generator[Any, None, Any]:
    """The same frames, each computed in the usual modes."""
    try:
        while True:
            with usual():
                try:
                    frame = next(made)
                except StopIteration as end:
                    return end.value
            yield frame
    finally:
        with usual():
            getattr(made, "close", lambda: None)()


def _normal(given: Any) -> Any:
    """An argument without tensors of `inference_mode`, which take no part in a gradient."""
    if isinstance(given, torch.Tensor) and given.is_inference():
        return given.clone()
    if type(given) in (list, tuple):
        return type(given)(map(_normal, given))
    if type(given) is dict:
        return {key: _normal(one) for key, one in given.items()}
    return given
