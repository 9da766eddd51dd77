"""The door: any old Python is told so, a wrong word finds the nearest, a fault is one sentence."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from labsupport import commands
from labsupport.commands import (
    dispatch,
    gallery,
    gates,
    grade,
    handout,
    main,
    notebooks,
    present,
    render,
    solve,
)
from labsupport.commands.requirements import ROOT, oldest_python
from labsupport.core.errors import LabError

OLD = [f"python3.{minor}" for minor in range(6, 11)] + ["python2.7"]


def replied(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("minor", [6, 8, 10])
@pytest.mark.parametrize("file", ["__main__.py", "__init__.py"])
def test_an_old_python_can_read_the_door(file: str, minor: int):
    text = (ROOT / "labsupport" / file).read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, minor))
    newer = (ast.AnnAssign, ast.JoinedStr, ast.NamedExpr, ast.AsyncFunctionDef, ast.FunctionDef)
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
    assert "__future__" not in text


def test_an_old_python_is_told_what_is_needed():
    pretence = (
        "import runpy, sys; sys.version_info = (3, 10, 2, 'final', 0); "
        "runpy.run_module('labsupport', run_name='__main__')"
    )
    reply = replied(sys.executable, "-c", pretence)
    assert reply.returncode == 1
    assert "needs Python 3.11 or newer, and this is Python 3.10.2" in reply.stderr
    assert "Traceback" not in reply.stderr
    assert len(reply.stderr.splitlines()) == 1
    for name in filter(shutil.which, OLD):  # real ones, if this machine has any
        reply = replied(name, "-m", "labsupport", "lab")
        if "shim" in reply.stderr or reply.returncode == 127:  # a name without a Python behind it
            continue
        assert reply.returncode == 1
        assert "needs Python 3.11 or newer" in reply.stderr
    # the door and pyproject.toml agree on the oldest one
    door = (ROOT / "labsupport" / "__main__.py").read_text(encoding="utf-8")
    assert f"< ({', '.join(oldest_python().split('.'))})" in door
    assert f"Python {oldest_python()} or newer" in door


def test_every_command_can_be_loaded_and_explains_itself(capsys):
    for name in commands.COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"labsupport {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_all_are_listed(words: list[str], capsys):
    assert main(words) == 0
    words = capsys.readouterr().out
    assert all(f"  {name} " in words for name in commands.COMMANDS)


def test_an_unknown_command_or_option_is_refused(capsys):
    assert main(["docter"]) == 1
    assert "python3 -m labsupport doctor" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["lab", "--noisy"])
    assert end.value.code == 2
    assert "what is --noisy?" in capsys.readouterr().err


def test_a_fault_is_one_sentence_without_a_traceback_and_a_mistake_of_ours_not_hidden(
    monkeypatch, capsys
):
    command = SimpleNamespace(add_arguments=Mock(), main=Mock())
    monkeypatch.setattr(commands.importlib, "import_module", lambda _: command)
    words = "This is wrong. Do that."
    for error, status, said in (LabError(words), 1, words), (KeyboardInterrupt(), 130, "Stopped."):
        command.main.side_effect = error
        assert main(["lab"]) == status
        assert capsys.readouterr().err.strip() == said
    command.main.side_effect = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["lab"])


def test_the_commands_start_with_nothing_but_the_standard_library(tmp_path: Path):
    """-S leaves out everything that is installed; -I everything that the environment adds."""
    names = sorted({module for module, _ in commands.COMMANDS.values()})
    question = (
        f"import importlib, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"for name in {names}: importlib.import_module('labsupport.commands.' + name)"
    )
    reply = replied(sys.executable, "-I", "-S", "-c", question, cwd=tmp_path)
    assert reply.returncode == 0, reply.stderr


# The names of labs

LAB_NAMES = ["05", "5", "05_occlusion", "05_occlusion.ipynb", "notebooks/05_occlusion.ipynb"]
# a command, the module and the function that it hands the lab to, and where that stands there
TAKING_LABS = {
    "solve": (solve, "solve", 0),
    "handout": (handout, "hand_out", 2),
    "render": (render, "make", 0),
    "present": (present, "show", 0),
    "gallery": (gallery, "make", 0),
    "grade": (grade.Lab, "of", 0),
}


class Taken(Exception):
    """A command has come as far as to the lab."""


@pytest.mark.parametrize("name", LAB_NAMES)
@pytest.mark.parametrize("command", TAKING_LABS)
def test_all_commands_take_the_same_names_of_labs(command, name, ready_here, monkeypatch, tmp_path):
    home, function, place = TAKING_LABS[command]
    taken = []

    def take(*arguments, **_):
        taken.append(arguments[place])
        raise Taken

    monkeypatch.setattr(home, function, take)
    words = [command, *([str(tmp_path)] if command == "grade" else []), name]
    with pytest.raises(Taken):
        dispatch(words)
    (labs,) = taken
    paths = [labs] if isinstance(labs, Path) else notebooks.chosen([*map(str, labs)])
    assert [path.resolve() for path in paths] == [notebooks.FOLDER / "05_occlusion.ipynb"]
    assert gates.words_of(name) == gates.words_of("05")
