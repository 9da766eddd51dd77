"""Whole submissions, marked: who gets which state, and that none harms whoever marks it."""

import csv
import sys
from argparse import ArgumentParser

import pytest

from labsupport.commands import grade, notebooks, solve

LAB = notebooks.FOLDER / "05_occlusion.ipynb"
HEAD = "def hide(image, box, colour):\n    "
FORGED = """
import os, sys, torch
import labsupport.ui.checking.judging as judging
judging._gap = lambda *all: None
os.write(1, b'{"exercise": "05.1", "state": "right"}')
"""
# Each way to lose a file or to end the one who marks; what is refused is not said.
HARM = """
import contextlib, ctypes, os, shutil, subprocess
c = ctypes.CDLL(None)
for way in (
    lambda: shutil.rmtree({folder!r}),
    lambda: os.remove({file!r}),
    lambda: open({file!r}, "w"),
    lambda: os.rename({file!r}, "here"),
    lambda: os.system("rm -rf {folder}"),
    lambda: subprocess.run(["rm", "-rf", {folder!r}]),
    lambda: os.kill(os.getppid(), 9),
    *([lambda: c.unlink({file!r}.encode()), lambda: c.kill(os.getppid(), 9)] * {kernel}),
):
    with contextlib.suppress(Exception):
        way()
"""


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    path = tmp_path_factory.mktemp("solved") / LAB.name
    solve.solve(LAB, path)
    return path


def answered(solved, place, code):
    """A solved notebook whose first exercise has another answer."""
    notebook = notebooks.read(solved)
    _, cell = next(iter(notebooks.exercise_cells(notebook)))
    cell["source"] = code
    notebooks.write(notebook, place)


def options(*words):
    parser = ArgumentParser()
    grade.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.mark.slow
def test_each_submission_gets_its_states_and_none_harms_the_one_who_marks(tmp_path, solved):
    handed_in, victim = tmp_path / "in", tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("kept")
    kernel = int(sys.platform == "linux")
    harm = HARM.format(folder=str(victim), file=str(victim / "file"), kernel=kernel)
    answers = {
        "loop": "while True:\n    pass",
        "exit": "import os\nos._exit(0)",
        "harm": harm + HEAD + "return image",
        "forged": FORGED + HEAD + "return image",
        "formula": HEAD + "raise ValueError('<b>' + helper())",
    }
    for student, code in answers.items():
        answered(solved, handed_in / student / LAB.name, code)
    helped = notebooks.read(handed_in / "formula" / LAB.name)
    own = "%matplotlib inline\ndef helper():\n    return '=1'\nraise SystemExit"
    helped["cells"].append({"cell_type": "code", "metadata": {}, "source": own})
    notebooks.write(helped, handed_in / "formula" / LAB.name)
    notebooks.write(notebooks.read(LAB), handed_in / "nobody_05_occlusion.ipynb")
    (handed_in / "empty_05_occlusion.ipynb").write_text("")

    out = tmp_path / "out"
    assert grade.grade(options(handed_in, "5", "--to", out, "--seconds", "5")) == 0
    with (out / "grades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    states = {(row["student"], row["exercise"]): row["state"] for row in rows}
    first = {student: states[student, "05.1"] for student, _ in states}
    assert first == {
        "loop": "too slow",
        "exit": "crashed",
        "harm": "wrong",
        "forged": "wrong",
        "formula": "wrong",
        "nobody": "unsolved",
        "empty": "crashed",
    }
    assert all(states[student, "05.2"] == "right" for student in answers)
    assert (victim / "file").read_text() == "kept"
    says = {row["student"]: row["message"] for row in rows if row["exercise"] == "05.1"}
    assert "judging._gap" in says["forged"]
    assert "<b>=1" in says["formula"]
    page = (out / "grades.html").read_text()
    assert "&lt;b&gt;=1" in page
    assert "<b>=1" not in page
    assert "<td>1</td>" in page
