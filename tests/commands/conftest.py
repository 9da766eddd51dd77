"""A stand-in for Python and pip that does in milliseconds what they do, or fails as they do."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labsupport.commands import environment, installation, interpreters
from labsupport.commands.interpreters import Interpreter
from labsupport.commands.requirements import wanted

# Called as the interpreter it stands for; its behaviour is in the JSON file beside it.
STAND_IN = """
import json, os, pathlib, re, shutil, signal, sys, time
me, words = pathlib.Path(sys.argv[1]), sys.argv[2:]
plan = json.loads(pathlib.Path(os.environ["STAND_IN_PLAN"]).read_text())
name_of = lambda lack: re.split("[<>=!]", lack)[0]
with open(os.environ["STAND_IN_PLAN"] + ".calls", "a") as calls:
    calls.write(json.dumps(words) + "\\n")
if words[0] == "-c":
    print(json.dumps({"version": plan["version"], "venv": plan["venv"], "system": plan["system"]}))
elif words[:2] == ["-m", "venv"]:
    home = pathlib.Path(words[2])
    if plan.get("venv_words"):
        print(plan["venv_words"])
        sys.exit(1)
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("version = " + plan["version"])
    shutil.copy2(me, home / "bin" / "python")
elif words[:2] == ["-m", "labsupport.commands.requirements"]:
    done = me.parents[1] / "installed"
    have = done.read_text().split() if done.exists() else []
    print(json.dumps([lack for lack in plan["lacking"] if name_of(lack) not in have]))
elif words[:3] == ["-m", "pip", "install"]:
    failing = plan["pip"] if "--index-url" not in words else plan.get("index_pip", [])
    if "--constraint" in words:
        failing = plan.get("pinned_pip", failing)
    pathlib.Path(words[words.index("--log") + 1]).write_text("\\n".join(failing))
    if plan.get("interrupted"):
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(0.5)
    if plan.get("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if failing:
        sys.exit(1)
    names = [name_of(lack) for lack in plan["lacking"] if name_of(lack) != plan.get("forgotten")]
    if "--index-url" in words:
        names = ["torch", "torchvision"]
    with open(me.parents[1] / "installed", "a") as done:
        done.write("\\n".join(names) + "\\n")
"""


class Workbook:
    """A workbook's folder in which only the stand-in for Python is ever called."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root / "work book", root / "work book" / ".venv"
        self.home.parent.mkdir()
        self.plan_file = root / "plan.json"
        self.plan: dict[str, object] = {
            "version": "3.12.4",
            "venv": True,
            "system": "linux-x86_64",
            "lacking": [str(one) for one in wanted("test")],
            "pip": [],
        }
        (root / "stand_in.py").write_text(STAND_IN)
        self.python = self.interpreter(root / "bin" / "python3")
        self.set()

    def interpreter(self, path: Path) -> Path:
        """One more stand-in, at that path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        script = self.plan_file.parent / "stand_in.py"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{script}" "$0" "$@"\n')
        path.chmod(0o755)
        return path

    def set(self, **plan: object) -> None:
        """Change how the stand-in behaves."""
        self.plan |= plan
        self.plan_file.write_text(json.dumps(self.plan))

    def calls(self, *beginning: str) -> list[list[str]]:
        """What the stand-in was called with."""
        file = Path(f"{self.plan_file}.calls")
        lines = file.read_text().splitlines() if file.exists() else []
        calls: list[list[str]] = [json.loads(line) for line in lines]
        return [call for call in calls if call[: len(beginning)] == list(beginning)]

    @property
    def stamp(self) -> environment.Stamp | None:
        return environment.Stamp.read(self.home)


@pytest.fixture
def workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbook:
    if os.name == "nt":
        pytest.skip("the stand-in for Python is a shell script, and this is Windows")
    made = Workbook(tmp_path)
    monkeypatch.setenv("STAND_IN_PLAN", str(made.plan_file))
    for module in (environment, installation):
        monkeypatch.setattr(module, "ROOT", made.root)
    monkeypatch.setattr(environment, "HOME", made.home)
    monkeypatch.setattr(environment, "running", lambda: Interpreter.at(made.python))
    monkeypatch.setattr(interpreters, "base_executable", lambda: str(made.python))
    source = installation.TorchSource(None, "PyTorch: a stand-in", 10, 0.0)
    monkeypatch.setattr(installation, "choose_torch", lambda python: source)
    return made


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> str:
    """An index of small builds that answers."""
    source = installation.TorchSource("https://small.invalid/cpu", "PyTorch: a small one", 10, 0.0)
    monkeypatch.setattr(installation, "choose_torch", lambda python: source)
    return "https://small.invalid/cpu"


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[list[str], dict[str, str]]]:
    """Catches the program that a command would become: its words and its own variables."""
    caught: list[tuple[list[str], dict[str, str]]] = []

    def keep(command: list[object], **variables: str) -> int:
        caught.append(([str(word) for word in command], variables))
        return 0

    monkeypatch.setattr(interpreters, "exec_program", keep)
    return lambda: caught[-1]


@pytest.fixture
def ready_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python has all that any command needs."""
    monkeypatch.setattr(environment, "ready", lambda *_, **__: Path(sys.executable))
