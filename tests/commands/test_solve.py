"""`solve` and `handout`: what is written, and what is refused."""

import ast
import json
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from labsupport.commands import faults, solve

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "tests" / "notebooks" / "template.ipynb"

STUB = '''def double(row, times=2):
    """Twice a row."""
    raise NotImplementedError'''
ANSWER = '''"""A solution."""
import torch


def helper():
    return 0


def double(row, times=2):
    """Other words."""
    # a reason
    wide = row * times

    return wide
'''


def test_the_body_of_the_solution_stands_under_the_words_of_the_notebook():
    assert solve.solved_cell(STUB, ANSWER, "77.1") == (
        'def double(row, times=2):\n    """Twice a row."""\n'
        "    # a reason\n    wide = row * times\n\n    return wide"
    )


def test_what_follows_the_function_stays():
    cell = STUB + "\n\n\nprint(double)"
    assert solve.solved_cell(cell, ANSWER, "77.1").endswith("    return wide\n\n\nprint(double)")


@pytest.mark.parametrize(
    ("stub", "answer", "words"),
    [
        (STUB, ANSWER.replace("times=2", "times=3"), "Make them the same"),
        (STUB, ANSWER.replace("def double", "def triple"), "must be the function double"),
        ("x = 1", ANSWER, "exactly one function"),
        (STUB + "\ndef other(): ...", ANSWER, "exactly one function"),
    ],
)
def test_a_solution_that_does_not_fit_is_refused(stub, answer, words):
    with pytest.raises(faults.Fault, match=words):
        solve.solved_cell(stub, answer, "77.1")


@pytest.mark.parametrize(
    ("code", "stub"),
    [
        (STUB, True),
        ("def f(x):\n    raise NotImplementedError('write me')", True),
        ("def f(x):\n    'words'\n    return x", False),
        ("def f(x):\n    x += 1\n    raise NotImplementedError", False),
    ],
)
def test_stubs_are_known(code, stub):
    assert solve.is_stub(code) is stub


def test_the_template_is_solved_and_changed_nowhere_else(tmp_path):
    assert solve.solve(TEMPLATE, tmp_path / "t.ipynb") == 2
    before, after = solve.read(TEMPLATE)["cells"], solve.read(tmp_path / "t.ipynb")["cells"]
    changed = [old["id"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["exercise-1-cell", "exercise-2-cell"]
    for _, cell in solve.exercise_cells(solve.read(tmp_path / "t.ipynb")):
        ast.parse(solve.text_of(cell))


def test_imports_that_the_notebook_lacks_come_with_the_solution(tmp_path):
    solutions = tmp_path / "solutions"
    solutions.mkdir()
    for path in (TEMPLATE.parent / "solutions").glob("*.py"):
        extra = "from itertools import combinations\n"
        (solutions / path.name).write_text(extra + path.read_text())
    copy = tmp_path / "90_a.ipynb"
    copy.write_bytes(TEMPLATE.read_bytes())
    solve.solve(copy, tmp_path / "out" / "90_a.ipynb")
    (_, first), _ = solve.exercise_cells(solve.read(tmp_path / "out" / "90_a.ipynb"))
    assert solve.text_of(first).startswith("from itertools import combinations\n\n\ndef moving_")
    assert "import torch" not in solve.text_of(first)


def test_a_notebook_is_written_as_jupyter_writes_it(tmp_path):
    solve.write(solve.read(TEMPLATE), tmp_path / "same.ipynb")
    assert (tmp_path / "same.ipynb").read_bytes() == TEMPLATE.read_bytes()


def test_missing_files_are_told_in_a_sentence(tmp_path):
    copy = tmp_path / "90_alone.ipynb"
    copy.write_bytes(TEMPLATE.read_bytes())
    with pytest.raises(faults.Fault, match=r"90_1_\*\.py, and there is none"):
        solve.solve(copy, tmp_path / "out.ipynb")
    with pytest.raises(faults.Fault, match="There is no notebook"):
        solve.solve(tmp_path / "nothing.ipynb", tmp_path / "out.ipynb")
    (tmp_path / "text.ipynb").write_text("no JSON")
    with pytest.raises(faults.Fault, match="is not a notebook"):
        solve.read(tmp_path / "text.ipynb")


def test_solve_needs_nothing_but_the_standard_library():
    code = "import sys, labsupport.commands.solve; print(*sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert not {"torch", "numpy", "nbformat", "IPython"} & set(said.stdout.split())


def test_the_command_writes_where_it_is_told(tmp_path, capsys):
    parser = ArgumentParser()
    solve.solve_add_arguments(parser)
    options = parser.parse_args([str(TEMPLATE), "--to", str(tmp_path / "solved")])
    assert solve.solve_main(options) == 0
    assert (tmp_path / "solved" / "template.ipynb").is_file()
    assert "2 exercises solved" in capsys.readouterr().out


# ---- handing out ----------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path) -> Path:
    """A small tree like this one's."""
    root = tmp_path / "course"
    for name in ("labsupport/__pycache__", "notebooks/solutions", "data/build", "tests"):
        (root / name).mkdir(parents=True)
    for name in (
        "labsupport/a.py",
        "labsupport/__pycache__/a.pyc",
        "notebooks/solutions/90_1_a.py",
        "data/build/recipe.py",
        "data/weights.bin",
        "tests/test_a.py",
        "README.md",
        "pyproject.toml",
    ):
        (root / name).write_text(name)
    (root / "notebooks" / "90_a.ipynb").write_bytes(TEMPLATE.read_bytes())
    return root


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_class_gets_what_it_needs_and_no_solutions(course, tmp_path):
    solve.hand_out(course, tmp_path / "class")
    assert files(tmp_path / "class") == {
        solve.MARK,
        "labsupport/a.py",
        "data/weights.bin",
        "notebooks/90_a.ipynb",
        "README.md",
        "pyproject.toml",
    }


def test_outputs_and_the_instructors_cells_are_left_out(course, tmp_path):
    path = course / "notebooks" / "90_a.ipynb"
    content = solve.read(path)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = 3
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "secret"}]
    solve.write(content, path)
    solve.hand_out(course, tmp_path / "class")
    handed = (tmp_path / "class" / "notebooks" / "90_a.ipynb").read_text()
    assert "secret" not in handed
    assert "For the instructor" not in handed
    assert json.loads(handed)["cells"][3]["execution_count"] is None
    solve.hand_out(course, tmp_path / "class", presenter=True)
    assert "For the instructor" in (tmp_path / "class" / "notebooks" / "90_a.ipynb").read_text()


def test_answers_are_not_handed_out(course, tmp_path):
    path = course / "notebooks" / "90_a.ipynb"
    solve.write(
        json.loads(path.read_text().replace("raise NotImplementedError", "return row")), path
    )
    with pytest.raises(faults.Fault, match=r"has an answer to exercise 90\.1"):
        solve.hand_out(course, tmp_path / "class")
    assert not (tmp_path / "class").exists()


def test_a_folder_of_somebody_else_is_left_alone(course, tmp_path):
    target = tmp_path / "class"
    target.mkdir()
    (target / "thesis.txt").write_text("three years")
    with pytest.raises(faults.Fault, match="was not made by this command"):
        solve.hand_out(course, target)
    assert files(target) == {"thesis.txt"}


def test_a_folder_made_before_is_replaced(course, tmp_path):
    solve.hand_out(course, tmp_path / "class")
    (tmp_path / "class" / "old.txt").write_text("old")
    solve.hand_out(course, tmp_path / "class")
    assert "old.txt" not in files(tmp_path / "class")


def test_the_handout_is_also_a_zip(course, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(solve, "ROOT", course)
    parser = ArgumentParser()
    solve.handout_add_arguments(parser)
    options = parser.parse_args(["--zip", "--to", str(tmp_path / "class")])
    assert solve.handout_main(options) == 0
    assert (tmp_path / "class.zip").is_file()
    assert "6 files" in capsys.readouterr().out
