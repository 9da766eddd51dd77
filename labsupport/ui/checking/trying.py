"""Calling a student's function safely: it may raise, print, change its input or never end."""

import contextlib
import copy
import functools
import io
import random
import signal
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labsupport.ui.checking.comparing import difference

MOST_PRINTED = 4000  # characters that are kept of what a function prints


class Stopped(Exception):
    """The call did not end by itself: too slow, interrupted, or the function called `exit`."""

    def __init__(self, words: str, looks_like: str = "") -> None:
        super().__init__(words)
        self.looks_like = looks_like


class _TooSlow(BaseException):
    """Not an Exception, so that an `except Exception` in the student's loop lets it through."""


@dataclass(frozen=True)
class Attempt:
    """What one call did: its value or its error, what it printed, which argument it changed."""

    value: Any = None
    error: Exception | None = None
    printed: str = ""
    changed: int = 0  # the number of the argument, from 1; 0 for none

    def answer(self) -> Any:
        """The value; the error is raised again."""
        if self.error is not None:
            raise self.error
        return self.value


def attempt(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    seconds: float | None = 20.0,
) -> Attempt:
    """Call the function on copies of its arguments, with the random numbers seeded.

    Prints are caught, and the random state, the gradient mode and the arguments stay as they
    were. After `seconds` it is stopped (on the main thread of Linux and macOS).

    >>> attempt(lambda x: 1 / x, (0,)).error
    ZeroDivisionError('division by zero')
    """
    own = copy.deepcopy(arguments)
    printed = io.StringIO()
    value: Any = None
    error: Exception | None = None
    try:
        with _seeded(), contextlib.redirect_stdout(printed), _time_limit(seconds):
            value = function(*own)
    except Exception as raised:
        error = raised
    except (_TooSlow, KeyboardInterrupt, SystemExit) as raised:
        error = _stopped(raised, seconds)
    text = printed.getvalue()[:MOST_PRINTED]
    changed = _changed(arguments, own) if error is None else 0
    return Attempt(value, error, text, changed)


def python_function(function: Any) -> types.FunctionType | None:
    """The `def` that runs when something is called; None where there is none, as in a ufunc.

    >>> python_function(functools.partial(python_function)).__name__
    'python_function'
    """
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(function, types.FunctionType | types.MethodType):
        own = vars(type(function))  # an object with `__call__`, or a network's module
        function = own.get("__call__") or own.get("forward")
    function = getattr(function, "__func__", function)
    return function if isinstance(function, types.FunctionType) else None


def _stopped(raised: BaseException, seconds: float | None) -> Stopped:
    if isinstance(raised, _TooSlow):
        guess = "a loop that never ends, or far more work than is needed."
        return Stopped(f"It gave no answer within {seconds:g} seconds.", guess)
    if isinstance(raised, KeyboardInterrupt):
        return Stopped("It was interrupted before it gave an answer.")
    return Stopped("It calls `exit()`.", "`exit` where `return` is meant.")


def _changed(before: tuple[Any, ...], after: tuple[Any, ...]) -> int:
    for count, (old, new) in enumerate(zip(before, after, strict=True), start=1):
        plain = isinstance(old, torch.Tensor | np.ndarray | list)
        if plain and difference(old, new, tolerance=(0.0, 0.0)):
            return count
    return 0


@contextlib.contextmanager
def _seeded(seed: int = 0) -> Iterator[None]:
    """Seed all random numbers; afterwards everything is as it was, the gradient mode too."""
    python, gradient = random.getstate(), torch.is_grad_enabled()
    array = np.random.get_state()  # noqa: NPY002 - students may draw from the global state
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        torch.set_grad_enabled(gradient)
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002


@contextlib.contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `_TooSlow` in the running code after `seconds`, and again each second after that."""
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or not hasattr(signal, "setitimer"):
        yield
        return

    over = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if not over.is_set():
            raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        over.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
