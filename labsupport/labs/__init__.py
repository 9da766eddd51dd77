"""What the notebooks show: each lab's panels and pictures, and the exercises that it checks.

A lab's module has the name of its notebook (`lab05_occlusion`), and a short one: `lab05`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labsupport.labs.checks import check, hint, predict, progress, solution, use

_LABS = {one.stem[:5]: one.stem for one in sorted(Path(__file__).parent.glob("lab[0-9][0-9]_*"))}

__all__ = ["check", "hint", "predict", "progress", "solution", "use"]


def __getattr__(name: str) -> Any:
    if name in _LABS:
        return import_module(f"{__name__}.{_LABS[name]}")
    if name in __all__:
        return getattr(import_module(f"{__name__}.checks"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_LABS, *__all__]
