"""The folder for a class: what it needs, and no solution."""

import ast
import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from labsupport.commands import faults, handout, notebooks
from labsupport.commands.notebooks import text_of
from labsupport.commands.requirements import ROOT

TEMPLATE = ROOT / "tests" / "notebooks" / "template.ipynb"
HANDED = ["labsupport/a.py", "data/weights.bin", "notebooks/words.md"]
HANDED += ["README.md", "pyproject.toml", "constraints.txt"]


@pytest.fixture
def course(tmp_path) -> Path:
    """A small tree like this one's."""
    root = tmp_path / "course"
    for name in ("labsupport/__pycache__", "notebooks/solutions", "data/build", "tests"):
        (root / name).mkdir(parents=True)
    private = "labsupport/__pycache__/a.pyc notebooks/solutions/90_1_a.py data/build/recipe.py"
    for name in [*HANDED, *private.split(), "tests/test_a.py"]:
        (root / name).write_text(name)
    (root / "notebooks" / "90_a.ipynb").write_bytes(TEMPLATE.read_bytes())
    return root


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_outputs_and_the_instructors_cells_are_left_out(course, tmp_path):
    path = course / "notebooks" / "90_a.ipynb"
    content = notebooks.read(path)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = 3
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "secret"}]
    notebooks.write(content, path)
    handout.hand_out(course, tmp_path / "class")
    handed = (tmp_path / "class" / "notebooks" / "90_a.ipynb").read_text()
    assert "secret" not in handed
    assert "For the instructor" not in handed
    assert json.loads(handed)["cells"][3]["execution_count"] is None
    handout.hand_out(course, tmp_path / "class", presenter=True)
    assert "For the instructor" in (tmp_path / "class" / "notebooks" / "90_a.ipynb").read_text()


def test_answers_are_not_handed_out(course, tmp_path):
    path = course / "notebooks" / "90_a.ipynb"
    notebooks.write(
        json.loads(path.read_text().replace("raise NotImplementedError", "return row")), path
    )
    with pytest.raises(faults.Fault, match=r"has an answer to exercise 90\.1"):
        handout.hand_out(course, tmp_path / "class")
    assert not (tmp_path / "class").exists()


def test_a_class_gets_what_it_needs_and_the_folder_may_be_there_if_it_is_ours(course, tmp_path):
    handout.hand_out(course, tmp_path / "class")
    (tmp_path / "class" / "old.txt").write_text("old")
    handout.hand_out(course, tmp_path / "class")
    assert files(tmp_path / "class") == {*HANDED, handout.MARK, "notebooks/90_a.ipynb"}
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "thesis.txt").write_text("three years")
    with pytest.raises(faults.Fault, match="was not made by this command"):
        handout.hand_out(course, target)
    assert files(target) == {"thesis.txt"}


def test_the_handout_is_also_a_zip(course, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(handout, "ROOT", course)
    parser = ArgumentParser()
    handout.add_arguments(parser)
    options = parser.parse_args(["--zip", "--to", str(tmp_path / "class")])
    assert handout.main(options) == 0
    assert (tmp_path / "class.zip").is_file()
    assert "8 files" in capsys.readouterr().out


def test_chosen_labs_alone_are_handed_out_and_lead_nowhere_else(course, tmp_path):
    other = notebooks.read(TEMPLATE)
    words = (
        "See [the first](90_a.ipynb), [the next](91_b.ipynb#top) and [a paper](https://a.org/b)."
    )
    other["cells"].append({"cell_type": "markdown", "id": "w", "metadata": {}, "source": words})
    notebooks.write(other, course / "notebooks" / "91_b.ipynb")
    notebooks.write(other, course / "notebooks" / "92_c.ipynb")
    handout.hand_out(course, tmp_path / "class", ["91", "92_c"])
    there = tmp_path / "class" / "notebooks"
    assert files(there) == {"91_b.ipynb", "92_c.ipynb", "words.md"}
    (said,) = notebooks.read(there / "92_c.ipynb")["cells"][-1]["source"]
    assert said == "See the first, [the next](91_b.ipynb#top) and [a paper](https://a.org/b)."
    with pytest.raises(faults.Fault, match="no lab '07'"):
        handout.hand_out(course, tmp_path / "class", ["07"])


SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.py"))


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("handout") / "class"
    handout.hand_out(ROOT, folder)
    return folder


def bare(code: str) -> str:
    """Code without comments, layout and quotes' kind: what remains when somebody pastes it."""
    return ast.unparse(ast.parse(code)).replace("\n", " ").replace("  ", "")


@pytest.fixture(scope="module")
def handed_code(class_folder) -> list[str]:
    cells = [
        text_of(cell)
        for path in class_folder.rglob("*.ipynb")
        for cell in notebooks.read(path)["cells"]
        if cell["cell_type"] == "code"
    ]
    modules = [path.read_text(encoding="utf-8") for path in class_folder.rglob("*.py")]
    return [bare(code) for code in cells + modules]


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_no_solution_is_in_the_class_folder(path: Path, class_folder, handed_code):
    assert not list(class_folder.rglob(path.name))
    (function,) = [
        one for one in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(one, ast.FunctionDef)
    ][-1:]  # fmt: skip
    body = [one for one in function.body if not isinstance(getattr(one, "value", 0), ast.Constant)]
    answer = bare("\n".join(map(ast.unparse, body)))
    assert not any(answer in code for code in handed_code)


@pytest.mark.slow
def test_the_class_folder_works_by_itself(class_folder, tmp_path):
    command = [sys.executable, "-m", "labsupport", "solve", "--to", str(tmp_path / "solved")]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(
        command, cwd=class_folder, env=plain, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert "needs one solution" in said.stderr
    assert "Traceback" not in said.stderr
