"""Every notebook runs whole, as a student meets it and with every exercise solved.

nbval runs one notebook at a time, in a kernel of this very Python, on a copy. A cell that raises
is a failed test there. LABS_STRICT makes each `check` raise unless it comes out as expected: still
to be done in the student's state, right in the solved one. The network is cut off meanwhile.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labsupport.commands.notebooks import exercise_cells, read, text_of
from labsupport.commands.solve import is_stub, solve

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEMPLATES = [HERE / "template.ipynb", HERE / "template_short.ipynb"]
STATES = ("student", "solved")
LONGEST_CELL = 300  # seconds


def prepared(source: Path, state: str, folder: Path) -> Path:
    """A copy of the notebook in a folder, with its exercises as they are or solved."""
    copy = folder / source.name
    if state == "solved":
        solve(source, copy)
    else:
        copy.write_bytes(source.read_bytes())
    return copy


def run(notebook: Path, state: str) -> tuple[int, str, float]:
    """Run the notebook under nbval; gives pytest's exit status, its words, the seconds."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q"]
    command += [f"--nbval-cell-timeout={LONGEST_CELL}", "-p", "no:cacheprovider", "--durations=3"]
    command += [
        "-p",
        "no:xdist",
        "-c",
        os.devnull,
        "--rootdir",
        str(notebook.parent),
        str(notebook),
    ]
    surroundings = offline(notebook.parent / "attempts.txt") | {
        "LABS_STRICT": state,
        "LABS_STATE": str(notebook.parent / "state"),
    }
    start = time.perf_counter()
    done = subprocess.run(
        command, env=surroundings, cwd=notebook.parent, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr, time.perf_counter() - start


def offline(log: Path) -> dict[str, str]:
    """Surroundings in which Python reaches this machine alone and writes other attempts down."""
    folders = (str(HERE / "offline"), str(ROOT), os.environ.get("PYTHONPATH"))
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
        "LABS_OFFLINE_LOG": str(log),
    }


def attempts(notebook: Path) -> list[str]:
    """The hosts that a notebook's run tried to reach."""
    log = notebook.parent / "attempts.txt"
    return log.read_text(encoding="utf-8").split() if log.exists() else []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("notebook", [*TEMPLATES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_notebook_runs_whole(notebook: Path, state: str, tmp_path: Path, measured):
    copy = prepared(notebook, state, tmp_path)
    status, words, seconds = run(copy, state)
    measured(f"{notebook.stem}, {state}: {seconds:.1f} s")
    assert status == 0, words[-6000:]
    assert f"{count_of_code_cells(notebook)} passed" in words
    assert attempts(copy) == []


def count_of_code_cells(notebook: Path) -> int:
    return sum(cell["cell_type"] == "code" for cell in read(notebook)["cells"])


@pytest.mark.parametrize("notebook", [*TEMPLATES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_every_exercise_is_still_to_be_done_and_becomes_solved(notebook: Path, tmp_path: Path):
    assert all(is_stub(text_of(cell)) for _, cell in exercise_cells(read(notebook)))
    solved = list(exercise_cells(read(prepared(notebook, "solved", tmp_path))))
    assert not any(is_stub(text_of(cell)) for _, cell in solved)


# ---- the gate can fail ----------------------------------------------------------------------


def tiny(folder: Path, *cells: str) -> Path:
    """A notebook of a few code cells."""
    parts = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None,
         "source": code} for i, code in enumerate(cells)
    ]  # fmt: skip
    frame = json.loads(TEMPLATES[0].read_text(encoding="utf-8"))
    path = folder / "tiny.ipynb"
    path.write_text(json.dumps(frame | {"cells": parts}), encoding="utf-8")
    return path


IMPORT = "from labsupport.ui import check, use"
RIGHT = "def strongest(x):\n    return divmod(int(x.argmax()), x.shape[1])"
STUB = "def strongest(x):\n    raise NotImplementedError"
CHECK = 'check("90.2", strongest)'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "cells", "words"),
    [
        ("student", ["1 / 0"], "ZeroDivisionError"),
        ("student", ["raise SystemExit(3)"], "SystemExit"),
        ("solved", [IMPORT, STUB, CHECK], "NotAsExpected"),
        ("solved", [IMPORT, "def strongest(x):\n    return 0, 0", CHECK], "NotAsExpected"),
        ("student", [IMPORT, RIGHT, CHECK], "NotAsExpected"),
        ("student", [IMPORT, STUB, "strongest(0)"], "NotImplementedError"),
    ],
)  # fmt: skip
def test_a_notebook_with_a_fault_fails(state: str, cells: list[str], words: str, tmp_path: Path):
    status, said, _ = run(tiny(tmp_path, *cells), state)
    assert status != 0
    assert words in said


REACHES_OUT = """
from urllib.request import urlopen
try:
    urlopen("http://{host}/", timeout=2)
except OSError as error:
    print(error)
"""


@pytest.mark.slow
def test_an_attempt_to_reach_the_network_is_noticed(tmp_path: Path):
    cells = [REACHES_OUT.format(host=host) for host in ("weights.invalid", "192.0.2.7")]
    path = tiny(tmp_path, *cells)
    assert run(path, "student")[0] == 0
    assert attempts(path) == ["weights.invalid", "192.0.2.7"]


@pytest.mark.slow
def test_a_sound_notebook_passes_with_one_test_for_each_cell(tmp_path: Path):
    status, said, _ = run(tiny(tmp_path, IMPORT, RIGHT, CHECK), "solved")
    assert status == 0, said
    assert re.search(r"3 passed", said)
