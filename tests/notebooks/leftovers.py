"""What a panel leaves behind from run to run: nothing more may be alive after many of them."""

import gc
import threading
import types
from collections.abc import Callable

import ipywidgets
import torch
from PIL import Image

from labsupport.ui import Panel
from labsupport.ui.board import Board
from labsupport.ui.live import Live

WARM, MORE = 2, 2


def alive() -> dict[str, int]:
    """Tensors, their bytes, pictures, widgets, running generators and threads, as they are now."""
    gc.collect()
    found = dict.fromkeys(("tensors", "bytes", "pictures", "generators"), 0)
    for one in gc.get_objects():
        kind = type(one)
        if issubclass(kind, torch.Tensor):
            found["tensors"] += 1
            found["bytes"] += 0 if one.is_meta else one.numel() * one.element_size()
        found["pictures"] += issubclass(kind, Image.Image)
        found["generators"] += kind is types.GeneratorType
    widgets = len(ipywidgets.widgets.widget._instances)
    return found | {"threads": threading.active_count(), "widgets": widgets}


def once(panel: Board) -> None:
    """One run: nothing that was remembered is taken for it."""
    if isinstance(panel, Live):
        panel.run(limit=2)
    elif isinstance(panel, Panel):
        panel.results.clear()
        panel.pictures.clear()
        panel.redraw()


def grown(act: Callable[[], object], *, warm: int = WARM, more: int = MORE) -> dict[str, int]:
    """What so many more acts have left, and as many again, after some that fill what may be
    remembered; a leak grows each time."""

    def left(times: int) -> dict[str, int]:
        before = alive()
        for _ in range(times):
            act()
        after = alive()
        return {kind: after[kind] - before[kind] for kind in before if after[kind] > before[kind]}

    left(warm)
    first = left(more)
    return {kind: count for kind, count in left(more).items() if kind in first} if first else {}
