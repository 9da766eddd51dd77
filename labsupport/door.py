"""What `from labsupport import ...` finds: each name is looked up when it is first used."""

from importlib import import_module
from typing import Any

# What a student types, and so what tab completion shows.
__all__ = [
    "activations",
    "anatomy",
    "backprop",
    "check",
    "codes",
    "dream",
    "evolution",
    "faithfulness",
    "figures",
    "fooling",
    "images",
    "inversion",
    "linear",
    "networks",
    "occlusion",
    "optimize",
    "patches",
    "saliency",
    "style",
    "tasks",
    "twins",
    "weights",
]
_ELSEWHERE = {
    "networks": "labsupport.core.network",
    "images": "labsupport.core.images",
    "figures": "labsupport.ui.figures",
    # what single labs use
    "blueprints": "labsupport.core.network.blueprints",
    "crops": "labsupport.core.images.crops",
    "device": "labsupport.core.device",
    "doctor": "labsupport.commands.doctor",
    "films": "labsupport.core.images.films",
    "rules": "labsupport.core.network.rules",
    "training": "labsupport.core.training",
    "transposes": "labsupport.core.network.transposes",
}
_OF_LABS = ("check", "hint", "predict", "progress", "solution", "use")


def __getattr__(name: str) -> Any:
    if name in _OF_LABS:
        return getattr(import_module("labsupport.labs"), name)
    home = _ELSEWHERE.get(name)
    if home is None and name in __all__:
        home = f"labsupport.methods.{name}"
    if home is None:
        raise AttributeError(f"module 'labsupport' has no attribute {name!r}")
    return import_module(home)


def __dir__() -> list[str]:
    return __all__
