"""What a panel leaves behind from run to run: nothing more may be alive after many of them."""

import gc
import threading
import types

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


def grown(panel: Board) -> dict[str, int]:
    """What two more runs have left, and two more again, after two that fill what may be
    remembered; a leak grows each time."""
    for _ in range(WARM):
        once(panel)
    first = _more(panel)
    return {kind: count for kind, count in _more(panel).items() if kind in first} if first else {}


def _more(panel: Board) -> dict[str, int]:
    before = alive()
    for _ in range(MORE):
        once(panel)
    after = alive()
    return {kind: after[kind] - before[kind] for kind in before if after[kind] > before[kind]}
