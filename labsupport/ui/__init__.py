"""What a person sees and touches: figures, controls and panels; the checks of exercises.

Names are looked up when they are first used, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import Any

from labsupport.ui.memory import after_each_cell

_HOMES = {
    "labsupport.ui.figures": (
        "bars",
        "boxes",
        "curve",
        "drawn",
        "enlarge",
        "heat_map",
        "mosaic",
        "overlay",
        "paint",
        "show",
        "side_by_side",
        "spread",
    ),
    "labsupport.ui.controls": (
        "channel_slider",
        "choice",
        "class_box",
        "image_menu",
        "layer_menu",
        "logarithmic",
        "network_menu",
        "number",
        "real",
        "seed",
        "toggle",
        "whole",
    ),
    "labsupport.ui.panel": ("Live", "Panel", "walk"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


after_each_cell()
