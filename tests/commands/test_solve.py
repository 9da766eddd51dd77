"""`solve`: what is written, and what is refused."""

import ast
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from labsupport.commands import faults, notebooks, solve

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


@pytest.mark.parametrize("rest", ["", "\n\n\nprint(double)"])
def test_the_solutions_body_stands_under_the_notebooks_words_and_what_follows_stays(rest):
    assert solve.solved_cell(STUB + rest, ANSWER, "77.1") == (
        'def double(row, times=2):\n    """Twice a row."""\n'
        "    # a reason\n    wide = row * times\n\n    return wide" + rest
    )


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
    before, after = notebooks.read(TEMPLATE)["cells"], notebooks.read(tmp_path / "t.ipynb")["cells"]
    changed = [old["id"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["exercise-1-cell", "exercise-2-cell"]
    for _, cell in solve.exercise_cells(notebooks.read(tmp_path / "t.ipynb")):
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
    (_, first), _ = solve.exercise_cells(notebooks.read(tmp_path / "out" / "90_a.ipynb"))
    assert solve.text_of(first).startswith("from itertools import combinations\n\n\ndef moving_")
    assert "import torch" not in solve.text_of(first)


def test_a_notebook_is_written_as_jupyter_writes_it(tmp_path):
    notebooks.write(notebooks.read(TEMPLATE), tmp_path / "same.ipynb")
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
        notebooks.read(tmp_path / "text.ipynb")


def test_solve_needs_nothing_but_the_standard_library():
    code = "import sys, labsupport.commands.solve; print(*sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert not {"torch", "numpy", "nbformat", "IPython"} & set(said.stdout.split())


def test_the_command_writes_where_it_is_told(tmp_path, capsys):
    parser = ArgumentParser()
    solve.add_arguments(parser)
    options = parser.parse_args([str(TEMPLATE), "--to", str(tmp_path / "solved")])
    assert solve.main(options) == 0
    assert (tmp_path / "solved" / "template.ipynb").is_file()
    assert "2 exercises solved" in capsys.readouterr().out


def test_labs_are_named_by_number_or_name_and_come_once_in_order_and_all_by_default():
    for lab in ("5", "05", "05_occlusion", "notebooks/05_occlusion.ipynb"):
        assert [path.stem for path in notebooks.chosen([lab])] == ["05_occlusion"], lab
    assert [path.stem[:2] for path in notebooks.chosen(["5", "3", "05"])] == ["03", "05"]
    assert notebooks.chosen([]) == sorted(notebooks.FOLDER.glob("*.ipynb"))
    with pytest.raises(faults.Fault, match=r"no lab '77'. There is: 00_start_here, "):
        notebooks.chosen(["77"])
