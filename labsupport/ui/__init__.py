"""What a person sees and touches: figures, controls and panels; the checks of exercises.

Panels are looked up when they are first used, so that importing this package costs nothing. In a
notebook, memory that a cell needed goes back to the system when the cell is done: the C library of
Linux keeps what PyTorch has freed, for the next time. A kernel that ran a whole lab holds half a
gigabyte of such memory, and a class has many kernels on one machine.
"""

import ctypes
import sys
from importlib import import_module
from typing import Any

__all__ = ["Live", "Panel", "walk"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("labsupport.ui.panel"), name)


def __dir__() -> list[str]:
    return __all__


def give_back(_cell: Any = None) -> None:
    """Hand freed memory back to the system; only glibc has a way to ask for it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def after_each_cell() -> None:
    """In a notebook: `give_back` whenever a cell is done (some ten milliseconds); else nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        shell.events.register("post_run_cell", give_back)


after_each_cell()
