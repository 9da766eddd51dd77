"""Ctrl-C, or the notebook's stop button, kept out of what must not break in the middle.

Python raises KeyboardInterrupt in the main thread between any two calls: also after a lock was
taken and before its `try`, or inside `torch.no_grad`, whose mode then stays for the whole notebook.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class deferred_interrupts:  # noqa: N801 - a context, read as words
    """Hold interrupts back until the block has ended; then the last one is raised.

    However the block ends, PyTorch's grad mode is what it was. Threads other than the main one are
    never interrupted: there only the mode is kept.

    >>> with deferred_interrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGINT)
    ...     came = interrupts.came
    ...     interrupts.forget()
    >>> came
    1
    """

    def __init__(self) -> None:
        self.came = 0  # interrupts that have had no effect yet
        self._patience = math.inf
        self._before: Any = None
        self._mode = True

    def __enter__(self) -> deferred_interrupts:
        self._mode = torch.is_grad_enabled()
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
        if self._before is not None:  # None also where it was not set by Python
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_grad_enabled(self._mode)
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            if self.came:
                self._pass_on()

    def forget(self) -> None:
        """The interrupt has had its effect: nothing is raised at the end."""
        self.came = 0

    @contextmanager
    def delivered(self, after: int = 0) -> Iterator[None]:
        """Inside, interrupts strike at once, except so many that are held back first."""
        try:
            self._patience = after
            if self.came > after:
                self._pass_on()
            yield
        finally:
            self._patience = math.inf

    def _note(self, *_: object) -> None:
        self.came += 1
        if self.came > self._patience:
            self._pass_on()

    def _pass_on(self) -> None:
        self.forget()
        if callable(self._before):  # or SIG_IGN, SIG_DFL
            self._before(signal.SIGINT, None)
