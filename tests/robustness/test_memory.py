"""What is alive after a few runs of a panel, and nothing else, is alive after more of them."""

from __future__ import annotations

import gc
import threading
import types
from typing import Any

import ipywidgets
import torch
from PIL import Image

from labsupport.ui import Panel, controls
from labsupport.ui.board import Board
from labsupport.ui.live import Live

WARM, MORE = 3, 5


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
    """What five more runs have left, after three that fill what may be remembered."""
    for _ in range(WARM):
        once(panel)
    before = alive()
    for _ in range(MORE):
        once(panel)
    after = alive()
    return {kind: after[kind] - before[kind] for kind in before if after[kind] > before[kind]}


def tensor_panel(keep: list[Any]) -> Panel:
    def draw(side: int) -> Image.Image:
        keep.append(torch.zeros(3, side, side)) if keep else None
        return Image.new("RGB", (side, side))

    return Panel(draw, {"side": controls.whole("side", 9, 1, 90)}, title="tensors")


def test_a_leak_is_noticed():
    panel = tensor_panel([None])
    assert grown(panel) == {"tensors": MORE, "bytes": MORE * 3 * 9 * 9 * 4}
    panel.close()


def test_a_panel_that_keeps_nothing_passes():
    panel = tensor_panel([])
    assert grown(panel) == {}
    panel.close()
