"""The gates that are programs of their own: lint, format, types, imports, notebooks without output.

.pre-commit-config.yaml has the very same commands.
"""

import itertools
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("notebooks", "tests")
    for path in (ROOT / folder).rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
GATES = {
    "lint": ["python", "-m", "ruff", "check", "."],
    "format": ["python", "-m", "ruff", "format", "--check", "."],
    "types": ["python", "-m", "mypy", "--strict", "labsupport"],
    "no outputs in notebooks": ["python", "-m", "nbstripout", "--verify", "--keep-id"],
    "imports": ["lint-imports"],
}


def judged(words: list[str], *files: str) -> subprocess.CompletedProcess[str]:
    """What the tool says, called with this Python or from this environment's folder of programs."""
    scripts = Path(sysconfig.get_path("scripts"))
    program = sys.executable if words[0] == "python" else str(scripts / words[0])
    plain = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [program, *words[1:], *files],
        cwd=ROOT,
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("gate", GATES)
def test_gate(gate: str):
    files = NOTEBOOKS if "notebooks" in gate else []
    verdict = judged(GATES[gate], *files)
    assert verdict.returncode == 0, f"\n{verdict.stdout}{verdict.stderr}"


def test_before_a_commit_the_same_commands_are_run():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    names = re.findall(r"^ +name: (.+)$", text, re.MULTILINE)
    entries = re.findall(r"^ +entry: (.+)$", text, re.MULTILINE)
    gates = {name: " ".join(words) for name, words in GATES.items()}
    assert dict(zip(names, entries, strict=True)) == gates


# The gates can fail.

OUTPUT = """{"cells": [{"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {},
"outputs": [{"name": "stdout", "output_type": "stream", "text": ["1"]}], "source": ["print(1)"]}],
"metadata": {}, "nbformat": 4, "nbformat_minor": 5}"""


@pytest.mark.parametrize(
    ("gate", "name", "content"),
    [
        ("lint", "bad.py", "import os\n"),
        ("lint", "bad.ipynb", OUTPUT.replace("print(1)", "import os")),
        ("format", "bad.py", "x = {  'a':1 }\n"),
        ("types", "bad.py", "def f(x): return x\n"),
        ("no outputs in notebooks", "bad.ipynb", OUTPUT),
    ],
)
def test_gate_refuses(gate: str, name: str, content: str, tmp_path: Path):
    bad = tmp_path / name
    bad.write_text(content, encoding="utf-8")
    words = [word for word in GATES[gate] if word not in (".", "labsupport")]
    if gate == "lint":
        words += ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    assert judged(words, str(bad)).returncode != 0


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_process_begins_with_what_takes_long(processes: int, request: pytest.FixtureRequest):
    conftest = request.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    names = [f"a.py::test_{i}" for i in range(40)]
    names[10:10] = [f"n.py::test_notebook_runs_whole[{i}]" for i in range(6)]
    names[30:30] = ["tests/browser/b.py::test_b", "tests/test_gates.py::test_gate[lint]"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    ordered = [item.nodeid for item in conftest.in_order(items, processes)]
    assert sorted(ordered) == sorted(names)
    bounds = [len(names) * number // processes for number in range(processes + 1)]
    for first, end in itertools.pairwise(bounds):
        row = ["::test_" in name and name[0] == "a" for name in ordered[first:end]]
        assert row == sorted(row)  # the long ones, then the others
        assert not all(row)
