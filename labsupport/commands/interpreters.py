"""Python interpreters: which one there is, how old it is, what it lacks, how to hand over to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.commands import faults, requirements
from labsupport.commands.faults import Fault
from labsupport.commands.requirements import ROOT, Requirement, order, unmet, wanted

# Understood by any Python 3, so that one that is too old can still say how old it is.
QUESTION = """
import importlib.util, json, platform, struct, sys, sysconfig
there = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
kind = "musl" if "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")) else platform.machine()
kind = sysconfig.get_platform() if sys.platform == "win32" else sys.platform + "-" + kind
kind = kind if struct.calcsize("P") == 8 else "32 bits"
print(json.dumps({"version": "%d.%d.%d" % sys.version_info[:3], "venv": there, "system": kind}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that starts, its version, whether it can make environments, and for which system it
    is, such as linux-x86_64, linux-musl, darwin-arm64, win-arm64 or 32 bits."""

    path: Path
    version: str
    can_make_environments: bool
    system: str = ""

    @classmethod
    def at(cls, path: Path | str) -> Interpreter | None:
        """The interpreter at that path, or None when nothing there starts as a Python 3."""
        try:
            reply = subprocess.run(
                [str(path), "-c", QUESTION], capture_output=True, text=True, timeout=60, check=True
            )
            facts = json.loads(reply.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        return cls(Path(path), facts["version"], facts["venv"], facts["system"])

    @classmethod
    def named(cls, name: str | None = None) -> Interpreter:
        """The interpreter that a person names, or the running one; too old or absent: a `Fault`."""
        path = shutil.which(name) if name else base_executable()
        interpreter = cls.at(path) if path else None
        if interpreter is None:
            raise Fault(faults.NO_SUCH_PYTHON, python=name or sys.executable)
        version, needed = interpreter.version, requirements.oldest_python()
        if order(version) < order(needed):
            raise Fault(faults.PYTHON_TOO_OLD, python=path, version=version, needed=needed)
        return interpreter

    @property
    def feature_version(self) -> str:
        """The part of the version that compiled packages depend on, such as 3.11."""
        return ".".join(self.version.split(".")[:2])

    def lacking(self, *extras: str) -> list[Requirement]:
        """What its environment lacks of pyproject.toml's list."""
        if self.path.absolute() == Path(sys.executable).absolute():
            return unmet(wanted(*extras))
        question = [str(self.path), "-m", "labsupport.commands.requirements", *extras]
        reply = subprocess.run(question, cwd=ROOT, capture_output=True, text=True, check=False)
        if reply.returncode:
            return wanted(*extras)
        return [Requirement.parse(line) for line in json.loads(reply.stdout)]


def running() -> Interpreter:
    """The interpreter that executes this."""
    return Interpreter(Path(sys.executable), "{}.{}.{}".format(*sys.version_info[:3]), True)


def base_executable() -> str:
    """The running interpreter, or the one that its virtual environment was made from."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def inside(home: Path) -> Path:
    """Where a virtual environment keeps its interpreter.

    >>> inside(Path("/labs/.venv")).name.startswith("python")
    True
    """
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def environment_variables(**more: str) -> dict[str, str]:
    """Environment variables for what the commands start: our folder is importable, kernels ours.

    PyTorch's threads spin for microseconds while they wait for each other, and then sleep. Left
    alone they spin for milliseconds, and as soon as the cores are shared, by a second kernel or
    anything else, a pass takes thirty times as long; if they only sleep, half as long again.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settled = {"PYTHONPATH": os.pathsep.join(paths), "JUPYTER_PREFER_ENV_PATH": "1"}
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
    if waiting.keys() & os.environ.keys():
        waiting = {}
    return {**waiting, **os.environ, **settled, **more}


def exec_program(command: Sequence[str | Path], **variables: str) -> int:
    """Go on as another program, in the workbook's folder; its exit status is ours.

    Where the system allows it, it takes our place, so that Ctrl-C reaches it alone. Windows has
    no such thing: there it is waited for, and Ctrl-C is left to it.
    """
    words, environment = [str(word) for word in command], environment_variables(**variables)
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        os.chdir(ROOT)
        os.execve(words[0], words, environment)
    return wait_for(words, environment)


def wait_for(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status of a program that answers to Ctrl-C itself."""
    with subprocess.Popen(words, cwd=ROOT, env=dict(environment)) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue


def in_interpreter(python: Path, act: Callable[[], int]) -> int:
    """Act here if that is the running interpreter; else give the whole command to that one."""
    if python.absolute() == Path(sys.executable).absolute():
        return act()
    return exec_program([python, "-m", "labsupport", *sys.argv[1:]])
