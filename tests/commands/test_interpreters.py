"""Which Python, and how a command becomes another program on each system."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from labsupport.commands import interpreters
from labsupport.commands.interpreters import Interpreter


def test_this_very_interpreter_is_understood():
    found = Interpreter.at(sys.executable)
    assert found is not None
    assert found.version == "{}.{}.{}".format(*sys.version_info[:3])
    assert found.feature_version == "{}.{}".format(*sys.version_info[:2])
    assert found.lacking("test") == []


@pytest.mark.parametrize(
    ("platform", "machine", "build", "libc", "size", "system"),
    [
        ("linux", "x86_64", "linux-x86_64", "x86_64-pc-linux-gnu", 8, "linux-x86_64"),
        ("linux", "aarch64", "linux-aarch64", "aarch64-unknown-linux-gnu", 8, "linux-aarch64"),
        ("linux", "x86_64", "linux-x86_64", "x86_64-alpine-linux-musl", 8, "linux-musl"),
        ("linux", "i686", "linux-i686", "i686-pc-linux-gnu", 4, "32 bits"),
        ("darwin", "arm64", "macosx-11.0-universal2", "", 8, "darwin-arm64"),
        ("darwin", "x86_64", "macosx-10.13-universal2", "", 8, "darwin-x86_64"),
        ("win32", "AMD64", "win-amd64", None, 8, "win-amd64"),
        ("win32", "ARM64", "win-arm64", None, 8, "win-arm64"),
        ("win32", "ARM64", "win-amd64", None, 8, "win-amd64"),  # x86-64 emulated on ARM
        ("win32", "AMD64", "win32", None, 4, "32 bits"),
    ],
)
def test_each_system_has_its_name(
    platform, machine, build, libc, size, system, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sysconfig.get_platform", lambda: build)
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: libc)
    monkeypatch.setattr("struct.calcsize", lambda kind: size)
    exec(interpreters.QUESTION, {})
    assert json.loads(capsys.readouterr().out)["system"] == system


def test_what_is_no_python_is_no_interpreter_and_one_that_cannot_answer_lacks_all(workbook):
    for path in ("/no/such/python", os.devnull, sys.prefix, shutil.which("echo")):
        assert Interpreter.at(path) is None, path
    (workbook.root / "stand_in.py").write_text("import sys; sys.exit(3)")
    lacking = Interpreter(workbook.python, "3.12.4", True).lacking("test")
    assert {"torch", "pytest"} <= {lack.name for lack in lacking}


def test_each_system_keeps_the_interpreter_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert interpreters.inside(Path("x")) == Path("x/bin/python")
    monkeypatch.setattr(sys, "platform", "win32")
    assert interpreters.inside(Path("x")) == Path("x/Scripts/python.exe")


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_where_there_is_exec_the_command_becomes_the_program(
    system: str, monkeypatch: pytest.MonkeyPatch
):
    def execve(path: str, words: list[str], environment: dict[str, str]) -> None:
        assert (path, words[1:], environment["A"]) == ("/python", ["-m", "x"], "b")
        assert Path.cwd() == interpreters.ROOT
        raise SystemExit

    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(os, "execve", execve)
    with pytest.raises(SystemExit):
        interpreters.exec_program([Path("/python"), "-m", "x"], A="b")


def test_on_windows_the_program_is_waited_for_and_ctrl_c_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sys, "platform", "win32")
    words = [sys.executable, "-c", "import os, sys; sys.exit(int(os.environ['STATUS']))"]
    assert interpreters.exec_program(words, STATUS="5") == 5
    answers = iter([KeyboardInterrupt(), KeyboardInterrupt(), 7])
    real = interpreters.subprocess.Popen.wait

    def wait(self, timeout=None):
        answer = next(answers, None)
        if isinstance(answer, BaseException):
            raise answer
        return real(self, timeout) if answer is None else answer

    monkeypatch.setattr(interpreters.subprocess.Popen, "wait", wait)
    assert interpreters.wait_for([sys.executable, "-c", ""], os.environ) == 7


def test_kernels_come_from_our_environment_and_find_the_package(monkeypatch: pytest.MonkeyPatch):
    for name in ("PYTHONPATH", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    variables = interpreters.environment_variables(JUPYTER_TOKEN="secret")
    assert variables["PYTHONPATH"] == str(interpreters.ROOT)
    assert variables["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert variables["JUPYTER_TOKEN"] == "secret"
    # many kernels share the cores: threads that wait spin little, unless somebody wants them to
    assert (variables["OMP_WAIT_POLICY"], variables["GOMP_SPINCOUNT"]) == ("PASSIVE", "1000")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    variables = interpreters.environment_variables()
    waiting = [variables.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")]
    assert waiting == ["ACTIVE", None]


def test_a_command_is_carried_out_here_or_given_on_whole(executed, monkeypatch):
    assert interpreters.in_interpreter(Path(sys.executable), lambda: 3) == 3
    monkeypatch.setattr(sys, "argv", ["labsupport", "render", "05"])
    interpreters.in_interpreter(Path("/other/python"), lambda: 1)
    assert executed()[0] == ["/other/python", "-m", "labsupport", "render", "05"]
