"""The folder for a class: what it needs, and no solution."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from labsupport.commands import COMMANDS, doctor, faults, handout, notebooks, update
from labsupport.commands.notebooks import text_of
from labsupport.commands.requirements import ROOT

TEMPLATE = ROOT / "tests" / "notebooks" / "template.ipynb"
HANDED = [
    "labsupport/core/a.py",
    "labsupport/labs/__init__.py",
    "data/weights.bin",
    "data/build/recipe.py",
]
HANDED += ["notebooks/glossary.md", "pyproject.toml", "constraints.txt"]
PRIVATE = ["labsupport/__pycache__/a.pyc", "notebooks/solutions/90_1_a.py", "tests/test_a.py"]
PRIVATE += ["notebooks/pictures/a.png", "notebooks/teaching.md", "data/gallery/a.jpg", "README.md"]
MADE = {"README.md", update.MARK, update.RECORD}


@pytest.fixture
def course(tmp_path) -> Path:
    """A small tree like this one's."""
    root = tmp_path / "course"
    for name in [*HANDED, *PRIVATE]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}")
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
    assert files(tmp_path / "class") == {*HANDED, *MADE, "notebooks/90_a.ipynb"}
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
    assert "11 files" in capsys.readouterr().out


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
    assert files(there) == {"91_b.ipynb", "92_c.ipynb", "glossary.md"}
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


def body_of(path: Path) -> list[ast.stmt]:
    """What a solution's function does, its docstring left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    function = [one for one in tree.body if isinstance(one, ast.FunctionDef)][-1]
    return [one for one in function.body if not isinstance(getattr(one, "value", 0), ast.Constant)]


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
    answer = bare("\n".join(map(ast.unparse, body_of(path))))
    assert not any(answer in code for code in handed_code)


# What is in it leads somewhere.

BEGINNINGS = ["labsupport", "notebooks", "data", "tests", "build"]
FENCES = re.compile(r"```.*?```", re.DOTALL)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("handout") / "two"
    handout.hand_out(ROOT, folder, ["09", "7"])
    return folder


def prose_of(path: Path) -> str:
    """What a file tells its reader: a notebook's text, a module's docstrings, else all of it."""
    if path.suffix == ".ipynb":
        cells = notebooks.read(path)["cells"]
        return "\n".join(text_of(cell) for cell in cells if cell["cell_type"] == "markdown")
    if path.suffix == ".py":
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        return "\n".join(ast.get_docstring(one) or "" for one in nodes if isinstance(one, kinds))
    return path.read_text(encoding="utf-8")


def told_places(text: str) -> list[str]:
    """The addresses of links and pictures, and the paths in code style, web pages left out."""
    text = FENCES.sub("", text)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", text)
    paths = re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:md|ipynb|toml))`", text)
    paths = [one for one in paths if "." in one or one.split("/")[0] in BEGINNINGS]
    return [one for one in [*map("".join, links), *paths] if "://" not in one]


def dead(folder: Path) -> list[str]:
    """Each place that a file of the folder names and that is not there.

    A recipe of the data (data/build) names what it makes, which need not be there.
    """
    files = [path for path in folder.rglob("*") if path.suffix in (".md", ".ipynb", ".py")]
    files = [path for path in files if path.parent != folder / "data" / "build"]
    assert len(files) > 100
    told = [(path, place) for path in files for place in told_places(prose_of(path))]
    assert len(told) > 20
    starts = (folder, folder / "data", folder / "labsupport")
    return [
        f"{path.relative_to(folder)}: {place}"
        for path, place in told
        if not any((start / place).exists() for start in (path.parent, *starts))
    ]


@pytest.mark.parametrize("which", ["class_folder", "of_two"])
def test_every_link_and_path_of_a_handout_leads_somewhere(which, request):
    assert dead(request.getfixturevalue(which)) == []


def test_a_dead_link_or_path_is_seen(of_two, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(of_two, copy, ignore=shutil.ignore_patterns("photos", "weights", "cutouts"))
    before = set(dead(copy))
    text = "See [a](b.md), ![c](drawings/c.svg), `labsupport/d.py`, [e](https://f.org), `g/h`."
    (copy / "notebooks" / "glossary.md").write_text(text)
    new = sorted(set(dead(copy)) - before)
    named = [f"notebooks/glossary.md: {one}" for one in ("b.md", "drawings/c.svg")]
    assert new == [*named, "notebooks/glossary.md: labsupport/d.py"]


@pytest.mark.parametrize("which", ["class_folder", "of_two"])
def test_a_handout_names_no_command_that_it_has_not(which, request):
    folder = request.getfixturevalue(which)
    texts = [prose_of(path) for path in folder.rglob("*") if path.suffix in (".md", ".ipynb")]
    told = set(re.findall(r"-m labsupport (\w+)", "\n".join(texts)))
    homes = {name: home for name, (home, _) in COMMANDS.items()}
    assert {"lab", "test", "doctor", "solve"} <= told
    assert [
        one for one in told if not (folder / f"labsupport/commands/{homes[one]}.py").exists()
    ] == []


def test_the_readme_is_for_the_student_and_lists_the_labs(of_two):
    text = (of_two / "README.md").read_text(encoding="utf-8")
    assert text.count(".ipynb)") == 2
    assert re.search(
        r"\| \[Lab 07: [\w ]+\]\(notebooks/07_deconv\.ipynb\) \| \d+ minutes \|\n", text
    )
    assert "contribut" not in text.lower()
    assert "{" not in text


def test_drawings_that_a_notebook_shows_travel_along_and_others_stay(course, tmp_path):
    (course / "notebooks" / "drawings").mkdir()
    for name in ("shown.svg", "other.svg"):
        (course / "notebooks" / "drawings" / name).write_text("<svg/>")
    path = course / "notebooks" / "90_a.ipynb"
    content = notebooks.read(path)
    content["cells"][0]["source"] += ["\n\n![A drawing](drawings/shown.svg)"]
    notebooks.write(content, path)
    handout.hand_out(course, tmp_path / "class")
    there = tmp_path / "class" / "notebooks" / "drawings"
    assert files(there) == {"shown.svg"}


# Only what the labs need


def test_other_labs_exercises_and_finished_pictures_stay_here(of_two, class_folder):
    names = {path.stem for path in (of_two / "labsupport" / "labs").glob("lab*")}
    # lab 07 shows patches as lab 02 does, and lab 09 has a panel's part from lab 08
    assert {"lab07_deconv", "lab09_reconstruction"} <= names
    assert not names & {"lab05_occlusion", "lab10_deepdream", "lab14_summary"}
    exercises = {path.stem for path in (of_two / "labsupport/labs/exercises").glob("lab*")}
    assert exercises == {"lab07_deconv", "lab09_reconstruction"}
    assert (of_two / "data" / "reconstruction").is_dir()
    assert not (of_two / "data" / "dreams").exists()
    assert "`dreams/`" in (class_folder / "data" / "README.md").read_text(encoding="utf-8")
    assert "`dreams/`" not in (of_two / "data" / "README.md").read_text(encoding="utf-8")
    assert not (class_folder / "data" / "gallery").exists()


def said_in(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What Python says there, with nothing else to import the workbook from."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**plain, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_all_that_is_handed_out_can_be_loaded_and_its_data_are_whole(of_two):
    modules = [
        ".".join(path.relative_to(of_two).with_suffix("").parts)
        for path in (of_two / "labsupport").rglob("*.py")
    ]
    imports = "; ".join(f"import {name}" for name in modules if not name.endswith("__main__"))
    whole = (
        "from labsupport.core import bundled; print(len(list(map(bundled.path, bundled.names()))))"
    )
    said = said_in(of_two, "-c", f"{imports}; {whole}")
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) > 400


@pytest.mark.slow
def test_solve_says_that_the_solutions_are_elsewhere_and_grade_that_it_is_for_others(class_folder):
    for words, told in (
        (["solve", "05"], "The solutions are not in this folder; your instructor has them."),
        (["grade", "."], "'grade' is for instructors"),
    ):
        said = said_in(class_folder, "-m", "labsupport", *words)
        assert (said.returncode, "Traceback" in said.stderr) == (1, False)
        assert told in said.stderr
    listed = said_in(class_folder, "-m", "labsupport").stdout
    assert "doctor" in listed
    assert "render" not in listed


@pytest.mark.slow
def test_the_installation_is_checked_there_and_a_lab_that_does_not_start_is_named(of_two, tmp_path):
    said = said_in(of_two, "-m", "labsupport", "test", "--lab", "7")
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.search(r"07_deconv: starts, \d+ s\n\Z", said.stdout)
    assert "data/photos" in said.stdout
    broken = tmp_path / "broken.ipynb"
    cell = {"cell_type": "code", "metadata": {"tags": ["setup"]}, "source": "import nothing_here"}
    notebooks.write({"cells": [cell]}, broken)
    assert "No module named 'nothing_here'" in doctor.setup_error(broken)


# A hub: the package in one place, a student's notebooks in another

ASK = """
import contextlib, importlib, inspect, io, json, pkgutil
import labsupport
from labsupport.labs import checks, exercises

told = []
with contextlib.redirect_stdout(io.StringIO()) as shown:
    for one in exercises.all_exercises():
        for _ in range(len(one.hints) + 1):
            checks.hint(one.id)
        checks.solution(one.id)
        checks.solution(one.id, anyway=True)
        checks.use(one.id)
        checks.check(one.id, one.reference)
        checks.solution(one.id, anyway=True)
        told.append(inspect.getsource(one.reference))
        assert exercises.solution_file(one) is None
    checks.progress()
for found in pkgutil.walk_packages(labsupport.__path__, "labsupport."):
    if not found.name.endswith("__main__"):
        module = importlib.import_module(found.name)
        told.append(inspect.getsource(module))
        told += [repr(value) for name, value in vars(module).items() if name[0] != "_"]
print(json.dumps([shown.getvalue(), *told]))
"""


@pytest.mark.slow
def test_on_a_hub_no_solution_is_to_be_had(class_folder, tmp_path):
    """All that a student can call or read there, asked for everything that it tells."""
    site, home = tmp_path / "site", tmp_path / "home"
    shutil.copytree(class_folder / "labsupport", site / "labsupport")
    shutil.copytree(class_folder / "notebooks", home / "notebooks")
    around = {"PYTHONPATH": str(site), "LABS_DATA": str(class_folder / "data")}
    around |= {"LABS_STATE": str(tmp_path / "state"), "LABS_EXERCISES": ""}
    said = said_in(home / "notebooks", "-c", ASK, **around)
    assert said.returncode == 0, said.stderr
    shown, *told = json.loads(said.stdout)
    assert shown.count("No solution here") == 3 * len(SOLUTIONS)
    everything = [" ".join(text.split()) for text in (shown, *told)]
    for path in SOLUTIONS:
        answer = " ".join("\n".join(map(ast.unparse, body_of(path))).split())
        assert not any(answer in text for text in everything), path.name
    for command in (["solve", "05", "--to", str(tmp_path / "s")], ["render", "--solved"]):
        assert said_in(home, "-m", "labsupport", *command, **around).returncode == 1
    assert not (tmp_path / "s").exists()
