"""Every panel of every notebook is walked: each control through its values, each button.

The notebooks' code runs here, in this process and in the student's state, and every panel that
it makes is recorded. What may idle is listed below with its reason.
"""

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from leftovers import MORE, grown
from PIL import Image

from labsupport.commands.notebooks import read, tags, text_of, write
from labsupport.ui import Panel, controls
from labsupport.ui.board import Board
from labsupport.ui.walks import WalkFailed, walk

HERE = Path(__file__).parent
NOTEBOOKS = sorted((HERE.parents[1] / "notebooks").glob("*.ipynb"))
TEMPLATES = [HERE / "template.ipynb", HERE / "template_short.ipynb"]

# (notebook, panel's title): controls that may change nothing at the others' default setting,
# and controls whose values may bring up a message. Each line needs its reason.
MAY_IDLE: dict[tuple[str, str], tuple[str, ...]] = {
    # at the first zoom the whole map is there: nothing to move over
    ("04_representation", "Atlas"): ("across", "down"),
    # the plain gradient, which is the default, has no noisy copies
    ("08_optimization", "Saliency map"): ("noise",),
    # a second layer counts as soon as it has a share, which is none by default
    ("10_deepdream", "Dream"): ("second",),
    # the log-probabilities are kept by default: a layer counts when its activations are kept
    ("09_reconstruction", "All the same to the network"): ("layer",),
    # the painting begins at the content: there is no noise, and no distance to it at first
    ("11_style", "Painting"): ("seed",),
    ("11_style", "Layers and weights"): ("alpha",),
    # before a network has learned there is nothing to count or to show
    ("12_fooling", "Szegedy's tables"): ("pictures", "epochs", "show", "columns"),
    # a layer and a channel count when a unit is asked about, and a class is the default
    ("14_summary", "Every method, one question"): ("layer", "channel"),
}
MAY_COMPLAIN: dict[tuple[str, str], tuple[str, ...]] = {
    # where the image is used up before the last layer: the message is what it is there for
    ("01_case_studies", "Build a network"): ("image", "depth"),
}


@contextmanager
def recorded_panels() -> Iterator[list[Board]]:
    """The panels that are made meanwhile, in order; they are closed at the end."""
    made: list[Board] = []
    plain = Board.__init__

    def recording(self, *arguments, **keywords):
        plain(self, *arguments, **keywords)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Board, "__init__", recording)
        try:
            yield made
        finally:
            for panel in made:
                panel.close()


def run_cell(code: str, namespace: dict, name: str) -> object:
    """Run a cell and give the value of its last line, as a notebook would show it."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace) if last else None


def run_notebook(path: Path) -> dict:
    """Run all code cells in a fresh namespace; the setup cell once more, for it must not mind."""
    namespace: dict = {"__name__": "__main__", "display": lambda *shown: None}
    for cell in read(path)["cells"]:
        if cell["cell_type"] != "code":
            continue
        for _ in range(2 if "setup" in tags(cell) else 1):
            run_cell(text_of(cell), namespace, f"{path.stem}: {cell['id']}")
    return namespace


def walked(path: Path, measured: Callable[[str], None]) -> list[str]:
    """Run a notebook and walk its panels; gives a line for each, and its failures."""
    lines = []
    with recorded_panels() as panels:
        run_notebook(path)
        for panel in panels:
            key = (path.stem, panel.title)
            try:
                report = walk(
                    panel, may_idle=MAY_IDLE.get(key, ()), may_complain=MAY_COMPLAIN.get(key, ())
                )
            except WalkFailed as error:
                lines.append(str(error))
            else:
                left = grown(panel)
                lines += [f"{panel.title}: from run to run there is more: {left}"] if left else []
                slowest = max(report.callbacks, key=lambda step: step.milliseconds)
                measured(
                    f"{path.stem}, {panel.title}: {len(report.callbacks)} steps, slowest "
                    f"{slowest.milliseconds:.0f} ms ({slowest.words})"
                )
        assert panels, "the notebook has no panel"
    return lines


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", [*TEMPLATES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_every_panel_is_walked(path: Path, measured, monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert walked(path, measured) == []


def test_what_may_idle_is_there():
    known = {path.stem for path in [*TEMPLATES, *NOTEBOOKS]}
    assert {notebook for notebook, _ in [*MAY_IDLE, *MAY_COMPLAIN]} <= known


# ---- the gate can fail ----------------------------------------------------------------------

DEAD = """
from PIL import Image
from labsupport.ui import Panel, controls
def draw(side, shade):
    return Image.new("L", (40, 40), side)
Panel(draw, {"side": controls.whole("side", 3, 1, 9), "shade": controls.toggle("shade")}, title="D")
"""
FAULTY = """
from PIL import Image
from labsupport.ui import Panel, controls
def draw(side):
    return Image.new("L", (40, 40), 90 // (9 - side))
Panel(draw, {"side": controls.whole("side", 3, 1, 9)}, title="F")
"""
UNSEEN = "x = 1"


def notebook_of(folder: Path, code: str) -> Path:
    path = folder / "05_tiny.ipynb"
    template = read(TEMPLATES[0])
    setup = next(cell for cell in template["cells"] if "setup" in tags(cell))
    write(template | {"cells": [setup | {"source": code, "metadata": {}}]}, path)
    return path


@pytest.mark.parametrize(
    ("code", "words"),
    [(DEAD, "none of its values changes the picture"), (FAULTY, "ZeroDivisionError")],
)
def test_a_panel_with_a_fault_is_found_out(code, words, tmp_path, measured):
    (found,) = walked(notebook_of(tmp_path, code), measured)
    assert words in found


def test_a_notebook_without_panels_is_found_out(tmp_path, measured):
    with pytest.raises(AssertionError, match="has no panel"):
        walked(notebook_of(tmp_path, UNSEEN), measured)


def test_a_cell_that_raises_is_found_out(tmp_path, measured):
    with pytest.raises(ZeroDivisionError):
        walked(notebook_of(tmp_path, "1 / 0"), measured)


def test_the_setup_cell_runs_twice(tmp_path):
    path = notebook_of(tmp_path, "runs = globals().get('runs', 0) + 1")
    content = read(path)
    content["cells"][0]["metadata"] = {"tags": ["setup"]}
    write(content, path)
    assert run_notebook(path)["runs"] == 2


def test_panels_that_only_a_cell_shows_are_recorded(tmp_path):
    with recorded_panels() as panels:
        run_notebook(notebook_of(tmp_path, DEAD))
    assert [panel.title for panel in panels] == ["D"]


@pytest.mark.parametrize("leaks", [True, False])
def test_a_panel_that_keeps_something_from_run_to_run_is_noticed(leaks):
    kept = []

    def draw(side: int) -> Image.Image:
        kept.append(torch.zeros(3, side, side)) if leaks else None
        return Image.new("RGB", (side, side))

    panel = Panel(draw, {"side": controls.whole("side", 9, 1, 90)}, title="tensors")
    assert grown(panel) == ({"tensors": MORE, "bytes": MORE * 3 * 9 * 9 * 4} if leaks else {})
    panel.close()
