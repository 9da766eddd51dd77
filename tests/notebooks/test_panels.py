"""The walk of a notebook's panels can fail; `test_execution.py` walks those of every notebook."""

import pytest
import torch
import walking
from leftovers import MORE, grown, once
from notebook_rules import NOTEBOOKS
from PIL import Image

from labsupport.ui import Panel, declare
from labsupport.ui.board import Board


def test_what_may_idle_is_there():
    known = {path.stem for path in NOTEBOOKS}
    assert {notebook for notebook, _ in [*walking.MAY_IDLE, *walking.MAY_COMPLAIN]} <= known


@pytest.fixture
def recorded(monkeypatch):
    """The panels that are made from now on."""
    monkeypatch.setattr(walking, "made", [])
    monkeypatch.setattr(Board, "__init__", Board.__init__)  # put back afterwards
    walking.record()
    return walking.made


def panel_of(shade_of) -> Panel:
    def draw(side: int, shade: bool) -> Image.Image:
        return Image.new("L", (40, 40), shade_of(side, shade))

    settings = {"side": declare.whole(3, 1, 9), "shade": declare.toggle()}
    return Panel(draw, settings, title="D")


@pytest.mark.parametrize(
    ("shade_of", "words"),
    [
        (lambda side, shade: side, "shade: none of its values changes the picture"),
        (lambda side, shade: 90 // (9 - side) + shade, "ZeroDivisionError"),
    ],
)
def test_a_panel_with_a_fault_is_found_out(shade_of, words, recorded, tmp_path):
    with pytest.raises(AssertionError, match="has no panel"):
        walking.walk_all("05_tiny", tmp_path / "walked.txt")
    panel_of(shade_of)
    assert [panel.title for panel in recorded] == ["D"]
    with pytest.raises(AssertionError, match=words):
        walking.walk_all("05_tiny", tmp_path / "walked.txt")


def test_a_sound_panel_is_measured(recorded, tmp_path):
    panel_of(lambda side, shade: side + 9 * shade)
    walking.walk_all("05_tiny", tmp_path / "walked.txt")
    assert "05_tiny, D: 8 steps, slowest" in (tmp_path / "walked.txt").read_text()


@pytest.mark.parametrize("leaks", [True, False])
def test_a_panel_that_keeps_something_from_run_to_run_is_noticed(leaks):
    kept = []

    def draw(side: int) -> Image.Image:
        kept.append(torch.zeros(3, side, side)) if leaks else None
        return Image.new("RGB", (side, side))

    panel = Panel(draw, {"side": declare.whole(9, 1, 90)}, title="tensors")
    assert grown(lambda: once(panel)) == (
        {"tensors": MORE, "bytes": MORE * 3 * 9 * 9 * 4} if leaks else {}
    )
    panel.close()
