"""What CONTRIBUTING tells is true: a lab added by its lists, from the template, is whole."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import labsupport
from labsupport.commands import COMMANDS
from labsupport.commands.installation import CPU_INDEX
from labsupport.commands.requirements import Requirement, wanted

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}


def listed(heading: str, mark: str) -> list[str]:
    """The files that a section's list names at the beginning of its items."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^{mark} `([^`]+)`", section, re.MULTILINE)


@pytest.mark.parametrize("heading", ["How to add a lab", "How to add a method"])
def test_the_lists_are_counted_right_and_what_they_change_is_there(heading):
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines, kinds = listed(heading, "-"), listed(heading, r"\d\.")
    told = re.search(r"And lines in (\w+) files", section)
    assert NUMBERS[told[1]] == len(lines)
    assert [path for path in lines if not (ROOT / path).is_file()] == []
    assert len(kinds) == (5 if "lab" in heading else 2)
    for path in kinds:
        assert (ROOT / path).parent.is_dir(), path


def test_it_names_only_paths_and_commands_that_are_there():
    paths = re.findall(r"`([\w./]+/[\w./]*)`", TEXT)
    real = [path for path in paths if "NN" not in path and "word" not in path]
    assert len(real) > 8
    assert [path for path in real if not (ROOT / path).exists()] == []
    assert set(re.findall(r"python3 -m labsupport (\w+)", TEXT)) <= set(COMMANDS)


# A lab from the template, number 15


def numbered(text: str) -> str:
    """The template's text with the new number."""
    return text.replace("Lab 90", "Lab 15").replace("90.", "15.")


def add_notebook(root: Path) -> None:
    text = (root / "tests/notebooks/template.ipynb").read_text(encoding="utf-8")
    (root / "notebooks/15_word.ipynb").write_text(numbered(text), encoding="utf-8")


def add_module(root: Path) -> None:
    words = '"""Lab 15: what only this lab shows."""\n'
    (root / "labsupport/labs/lab15_word.py").write_text(words, encoding="utf-8")


def add_exercises(root: Path) -> None:
    text = (root / "tests/notebooks/lab90_template.py").read_text(encoding="utf-8")
    (root / "labsupport/labs/exercises/lab15_word.py").write_text(numbered(text), encoding="utf-8")


def add_solutions(root: Path) -> None:
    for path in (root / "tests/notebooks/solutions").glob("90_*.py"):
        shutil.copy2(path, root / "notebooks/solutions" / path.name.replace("90", "15"))


def add_picture(root: Path) -> None:
    shutil.copy2(root / "data/gallery/05_occlusion.jpg", root / "data/gallery/15_word.jpg")


def put_into(path: Path, before: str, line: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, line + before), encoding="utf-8")


def add_wrong_answers(root: Path) -> None:
    answers = (
        '    ("15.1", lambda row, width: row.unfold(0, width, 1).sum(1), "the sum of each"),\n'
        '    ("15.2", lambda r: divmod(int(r.argmax()), r.shape[1])[::-1], "row comes first"),\n'
    )
    path = root / "tests/labs/exercises/wrong_answers.py"
    text = path.read_text(encoding="utf-8").rstrip()
    assert text.endswith((")", "]"))
    path.write_text(f"{text[:-1]}{answers}{text[-1]}\n", encoding="utf-8")


def add_cell_of_the_gallery(root: Path) -> None:
    path = root / "labsupport/commands/gallery.py"
    put_into(path, "}\nWIDEST", '    "15_word": "warm-up-panel",\n')


def add_to_the_readme(root: Path) -> None:
    words = (
        "![A filter slides over a row of numbers, and its answers](data/gallery/15_word.jpg)\n\n"
    )
    put_into(root / "README.md", "## The labs\n", words)


STEPS: dict[str, Callable[[Path], None]] = {
    "notebooks/NN_word.ipynb": add_notebook,
    "labsupport/labs/labNN_word.py": add_module,
    "labsupport/labs/exercises/labNN_word.py": add_exercises,
    "notebooks/solutions/NN_1_name.py": add_solutions,
    "data/gallery/NN_word.jpg": add_picture,
    "tests/labs/exercises/wrong_answers.py": add_wrong_answers,
    "labsupport/commands/gallery.py": add_cell_of_the_gallery,
    "README.md": add_to_the_readme,
}
GATES = (
    *("tests/notebooks/test_structure.py", "tests/notebooks/test_minutes.py", "tests/test_door.py"),
    *("tests/labs/exercises/test_every_exercise.py", "tests/commands/test_gallery.py"),
    "tests/commands/test_gates.py",
)


@pytest.fixture(scope="module")
def with_lab_15(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("added") / "course"
    passed = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "pictures", "screenshots")
    for name in ("labsupport", "notebooks", "tests", "data"):
        shutil.copytree(ROOT / name, root / name, ignore=passed)
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy2(path, root / path.name)
    assert [*listed("How to add a lab", r"\d\."), *listed("How to add a lab", "-")] == [*STEPS]
    for step in STEPS.values():
        step(root)
    return root


def said(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    left_out = ("LABS_EXERCISES", "LABS_DATA", "PYTEST_CURRENT_TEST")
    around = {name: value for name, value in os.environ.items() if name not in left_out}
    around["PYTHONPATH"] = str(root)
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=root, env=around, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lab_added_by_the_lists_alone_passes_the_gates(with_lab_15):
    chosen = "15_word or 15. or short_name or doors or every_lab or one_picture_a_lab"
    options = ["-n0", "-q", "-p", "no:cacheprovider", "-k", chosen]
    done = said(with_lab_15, "pytest", *options, *GATES)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed > 25
    for gate in (["check"], ["format", "--check"]):
        judged = said(with_lab_15, "ruff", *gate, "notebooks", "labsupport/labs", "tests/labs")
        assert judged.returncode == 0, judged.stdout


@pytest.mark.slow
def test_a_lab_without_its_line_in_the_gallery_is_told_so(with_lab_15, tmp_path):
    shutil.copytree(with_lab_15 / "labsupport", tmp_path / "labsupport")
    for name in ("notebooks", "pyproject.toml"):
        (tmp_path / name).symlink_to(with_lab_15 / name)
    table = tmp_path / "labsupport/commands/gallery.py"
    table.write_text(re.sub('    "15_word".*\n', "", table.read_text(encoding="utf-8")))
    told = said(tmp_path, "labsupport", "gallery", "15")
    assert told.returncode == 1
    assert "No cell is named whose picture stands for 15_word" in told.stderr


# What others read


def test_the_version_stands_in_one_place_and_the_changes_begin_with_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)$", changes, re.MULTILINE)[1] == labsupport.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == project["project"]["license"]
    assert citation["authors"] == project["project"]["authors"]
    assert "version" not in citation


def test_the_containers_call_our_commands_and_the_workflow_calls_the_gates():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    commands = [container["postCreateCommand"], container["postAttachCommand"]]
    assert [re.match(r"python3 -m labsupport (\w+)", one)[1] for one in commands] == ["test", "lab"]
    assert str(container["forwardPorts"][0]) in container["postAttachCommand"]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    (python,) = [step["with"]["python-version"] for step in steps if "with" in step]
    runtime = (ROOT / "binder/runtime.txt").read_text(encoding="utf-8").strip()
    assert runtime == f"python-{python}"
    assert os.access(ROOT / "binder/postBuild", os.X_OK)


def test_binder_installs_this_project_with_the_tested_versions_and_the_small_pytorch():
    lines = (ROOT / "binder/requirements.txt").read_text(encoding="utf-8").splitlines()
    words = dict(line.split() for line in lines if not line.startswith("#"))
    assert words == {
        "--extra-index-url": CPU_INDEX,
        "--constraint": "../constraints.txt",
        "--editable": ".",
    }
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in pinned if "==" in line)
    torch = next(one for one in wanted() if one.name == "torch")
    assert isinstance(torch, Requirement)
    assert torch.admits(versions["torch"])


def test_the_templates_of_issues_have_a_name_and_ask_for_something():
    paths = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.md"))
    assert len(paths) == 3
    for path in paths:
        _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
        assert {"name", "about"} <= set(yaml.safe_load(head))
        assert body.count("**") >= 6
