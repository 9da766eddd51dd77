"""Every notebook runs in a kernel of its own: as a student meets it, and with its exercises solved.

nbval runs one notebook at a time, in a kernel of this very Python, on a copy. A cell that raises
is a failed test there. LABS_STRICT makes each `check` raise unless it comes out as expected: still
to be done in the student's state, right in the solved one. The network is cut off meanwhile.

The student's run is whole, takes two threads, asserts what the lab's text claims (claiming.py) and
walks every panel behind the last cell. The solved one takes one thread and leaves out the cells
that no exercise can change: those have run already (`python -m labsupport test --all` runs them
again, and the claims with one thread).
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dependence import dependent
from notebook_rules import HERE, NOTEBOOKS, TEMPLATES

from labsupport.commands.notebooks import Cell, exercise_cells, read, tags, text_of, write
from labsupport.commands.solve import is_stub, solve

ROOT = HERE.parents[1]
THREADS = {"student": 2, "solved": 1}  # rounding must not decide what a student reads
WHOLE = os.environ.get("LABS_TESTS") == "all"
LONGEST_CELL = 900  # seconds; all panels are walked in one
WALKED = "walked.txt"
# nbformat's schemas would compile a grammar of web addresses, for two seconds
PYTEST = "import sys; sys.modules['rfc3987_syntax'] = None; import pytest; sys.exit(pytest.main())"


def runs() -> Iterator[tuple[Path, str]]:
    """The notebooks with their states; the longest labs first, so that nobody waits for them."""
    slow = ("12", "10", "11", "08", "06", "09", "04")
    order = [*(p for key in slow for p in NOTEBOOKS if p.stem.startswith(key)), *NOTEBOOKS]
    for state in THREADS:
        for path in [*dict.fromkeys(order), *TEMPLATES]:
            if state == "student" or any(exercise_cells(read(path))):
                yield path, state


def prepared(source: Path, state: str, folder: Path, *, whole: bool = WHOLE) -> Path:
    """A copy of the notebook in a folder, as that run takes it."""
    copy = folder / source.name
    if state == "solved":
        solve(source, copy)
    notebook = read(copy if state == "solved" else source)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if state == "student":
        code = with_walk(code, source)
    elif whole:
        code = [*code, claims_cell(source)]
    else:
        code = dependent(code)
    write({**notebook, "cells": code}, copy)
    return copy


def with_walk(code: list[Cell], source: Path) -> list[Cell]:
    """The cells, the setup once more, for it must not mind; their claims; their panels' walk."""
    walk = f"import walking\n\nwalking.walk_all({source.stem!r}, walking.Path({WALKED!r}))"
    twice = [again for cell in code for again in [cell] * (2 if "setup" in tags(cell) else 1)]
    return [code_cell("record", "import walking\n\nwalking.record()"), *twice,
            claims_cell(source), code_cell("walk", walk)]  # fmt: skip


def claims_cell(source: Path) -> Cell:
    """What asserts the notebook's claims on the variables that the cells before have left."""
    check = f"claiming.check_all({source.stem!r}, claiming.Path({str(source)!r}), globals())"
    return code_cell("claims", f"import claiming\n\n{check}")


def code_cell(name: str, code: str) -> Cell:
    return {"cell_type": "code", "id": name, "metadata": {}, "outputs": [],
            "execution_count": None, "source": code}  # fmt: skip


def run(notebook: Path, state: str) -> tuple[int, str, float]:
    """Run the notebook under nbval; gives pytest's exit status, its words, the seconds."""
    command = [sys.executable, "-c", PYTEST, "--nbval-lax", "--nbval-current-env", "-q"]
    command += [f"--nbval-cell-timeout={LONGEST_CELL}", "-p", "no:cacheprovider", "--durations=3"]
    command += ["-p", "no:xdist", "-c", os.devnull]
    command += ["--rootdir", str(notebook.parent), str(notebook)]
    # Python reaches this machine alone and writes other attempts down
    folders = (str(HERE / "offline"), str(HERE), str(ROOT), os.environ.get("PYTHONPATH"))
    surroundings = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
        "LABS_OFFLINE_LOG": str(notebook.parent / "attempts.txt"),
        "LABS_STRICT": state,
        "LABS_STATE": str(notebook.parent / "state"),
        "OMP_NUM_THREADS": str(THREADS[state]),
    }
    start = time.perf_counter()
    done = subprocess.run(
        command, env=surroundings, cwd=notebook.parent, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr, time.perf_counter() - start


def attempts(notebook: Path) -> list[str]:
    """The hosts that a notebook's run tried to reach."""
    log = notebook.parent / "attempts.txt"
    return log.read_text(encoding="utf-8").split() if log.exists() else []


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("notebook", "state"), list(runs()), ids=lambda one: getattr(one, "stem", one)
)
def test_notebook_runs_whole(notebook: Path, state: str, tmp_path: Path, measured):
    copy = prepared(notebook, state, tmp_path)
    status, words, seconds = run(copy, state)
    measured(f"{notebook.stem}, {state}: {seconds:.1f} s")
    if state == "student" and (tmp_path / WALKED).exists():
        measured((tmp_path / WALKED).read_text(encoding="utf-8").strip())
    assert status == 0, words[-6000:]
    assert f"{len(read(copy)['cells'])} passed" in words
    assert attempts(copy) == []


@pytest.mark.parametrize("notebook", [*TEMPLATES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_every_exercise_is_still_to_be_done_and_becomes_solved(notebook: Path, tmp_path: Path):
    assert all(is_stub(text_of(cell)) for _, cell in exercise_cells(read(notebook)))
    solved = read(prepared(notebook, "solved", tmp_path, whole=False))
    assert not any(is_stub(text_of(cell)) for _, cell in exercise_cells(solved))
    asked = {name for name, _ in exercise_cells(read(notebook))}
    checked = re.findall(r'check\("([\d.]+)"', "\n".join(map(text_of, solved["cells"])))
    assert set(checked) == asked, "each exercise comes with its check"


# ---- the gate can fail ----------------------------------------------------------------------


def tiny(folder: Path, *cells: str) -> Path:
    """A notebook of a few code cells."""
    path = folder / "tiny.ipynb"
    parts = [code_cell(f"c{i}", code) for i, code in enumerate(cells)]
    write({**read(TEMPLATES[0]), "cells": parts}, path)
    return path


IMPORT = "from labsupport.labs import check, use\nfrom labsupport.ui import Panel, declare"
RIGHT = "def strongest(x):\n    return divmod(int(x.argmax()), x.shape[1])"
WRONG = "def strongest(x):\n    return 0, 0"
STUB = "def strongest(x):\n    raise NotImplementedError"
CHECK = 'check("90.2", strongest)'
DEAD = """
from PIL import Image
def draw(side, shade):
    return Image.new("L", (40, 40), side)
Panel(draw, {"side": declare.whole(3, 1, 9), "shade": declare.toggle()}, title="D")
"""
REACHES_OUT = """
from urllib.request import urlopen
try:
    urlopen("http://{host}/", timeout=2)
except OSError as error:
    print(error)
"""
HOSTS = ["weights.invalid", "192.0.2.7"]


FAULTY = {
    "student": [IMPORT, "1 / 0", RIGHT, CHECK, STUB, CHECK, "strongest(0)", DEAD],
    "solved": [IMPORT, STUB, CHECK, WRONG, CHECK, RIGHT, CHECK, "raise SystemExit(3)"],
}
FAULTS = {
    "student": "4 failed, 9 passed|ZeroDivision|NotAsExpected|NotImplemented|none of its values",
    "solved": "3 failed, 7 passed|NotAsExpected|SystemExit",
}


@pytest.mark.slow
@pytest.mark.parametrize("state", FAULTY)
def test_every_fault_of_a_run_is_noticed(state: str, tmp_path: Path):
    reaching = [REACHES_OUT.format(host=host) for host in HOSTS]
    copy = tiny(tmp_path, *FAULTY[state], *reaching)
    if state == "student":
        copy = prepared(copy, state, tmp_path)
    status, said, _ = run(copy, state)
    assert status != 0
    for words in FAULTS[state].split("|"):
        assert words in said, words
    assert attempts(copy) == HOSTS


def test_the_students_run_has_every_cell_and_the_setup_twice(tmp_path: Path):
    code = [cell for cell in read(TEMPLATES[0])["cells"] if cell["cell_type"] == "code"]
    taken = [cell["id"] for cell in read(prepared(TEMPLATES[0], "student", tmp_path))["cells"]]
    assert taken == ["record", "setup", *(cell["id"] for cell in code), "claims", "walk"]


# ---- what depends on an exercise ------------------------------------------------------------


def ids(*cells: str) -> list[str]:
    """The cells that depend on the exercise, which is the cell that begins with "def"."""
    code = [code_cell(f"c{i}", one) for i, one in enumerate(cells)]
    for cell in code:
        cell["metadata"]["tags"] = ["exercise:90.1"] * cell["source"].startswith("def")
    return [cell["id"] for cell in dependent(code)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a = 1", "def f(): ...", "f()"], "c1 c2"),
        (["a = 1", "b = 2", "def f(): ...", "f(a)"], "c0 c2 c3"),  # what it needs
        (["a = 1", "b = a", "a = 3", "def f(): ...", "f(b)"], "c0 c1 c3 c4"),  # and that in turn
        (["def f(): ...", "g = use(f)", "h = g(1)", "print(h)", "1"], "c0 c1 c2 c3"),
        (["def f(): ...", "g = f", "g = 1", "print(g)"], "c0 c1"),  # no longer the exercise's
        (["def f(): ...", "a = f(); b = 1", "b", "a"], "c0 c1 c3"),  # one statement of a cell
        (["def f(): ...", "for x in f(): y = x", "y"], "c0 c1 c2"),
        (["import t", "t.manual_seed(1)", "t.show(1)", "def f(): ...", "f(t.rand())"],
         "c0 c1 c3 c4"),
        (["a = []", "a.append(1)", "a[0] = 2", "len(a)", "def f(): ...", "f(a)"],
         "c0 c1 c2 c4 c5"),
        (["def f(): ...", "a = {}", "a[1] = f()", "def g(): return a", "g()"], "c0 c1 c2 c3 c4"),
        (["def f(): ...", "[f for f in [1]]", "progress()", "a = lambda: f", "a()"],
         "c0 c1 c2 c3 c4"),
    ],
)  # fmt: skip
def test_what_depends_on_an_exercise_is_run(cells: list[str], expected: str):
    assert ids(*cells) == expected.split()
