"""From nothing, half done or outdated: `.venv` ends whole, or a sentence says why not."""

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from labsupport.commands import environment, faults, installation, interpreters
from labsupport.commands.environment import ready
from labsupport.commands.faults import Fault

INSTALL = ("-m", "pip", "install")


def test_an_environment_that_has_everything_is_used_and_none_is_made(workbook):
    workbook.set(lacking=[])
    assert ready() == workbook.python
    assert not workbook.home.exists()


def test_the_first_start_makes_the_environment_and_the_second_makes_nothing(workbook, capsys):
    assert ready() == workbook.home / "bin" / "python"
    words = capsys.readouterr().out
    assert "once; later starts take seconds" in words
    assert "to download" in words
    assert workbook.stamp is not None
    assert workbook.stamp.finished
    assert workbook.stamp.python == "3.12"
    assert workbook.calls(*INSTALL)[0][-2:] == ["--editable", "."]
    assert ready() == workbook.home / "bin" / "python"
    assert capsys.readouterr().out == ""
    assert len(workbook.calls(*INSTALL)) == 1
    for damaged in ("", "[]", '{"python": "3.12"}', '{"extras": 3}'):
        (workbook.home / "workbook.json").write_text(damaged)
        assert workbook.stamp is None, damaged


def test_the_tests_bring_their_extra_and_the_labs_keep_it(workbook, capsys):
    lacking = workbook.plan["lacking"]
    workbook.set(lacking=[lack for lack in lacking if not lack.startswith("pytest>")])
    ready()
    workbook.set(lacking=lacking)
    ready("test")
    assert "what the tests need" in capsys.readouterr().out
    assert workbook.calls(*INSTALL)[-1][-1] == ".[test]"
    assert workbook.stamp.extras == ("test",)


@pytest.mark.parametrize(
    ("plan", "words"),
    [({"killed": True}, "."), ({"interrupted": True}, "The next start finishes it")],
)
def test_an_install_that_was_killed_or_stopped_by_ctrl_c_is_found_and_finished(
    workbook, capsys, plan, words
):
    # a run in the background may ignore Ctrl-C from its start
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    workbook.set(**plan)
    with pytest.raises(Fault, match=words):
        ready()
    signal.signal(signal.SIGINT, before)
    assert not workbook.stamp.finished
    workbook.set(**dict.fromkeys(plan, False))
    assert ready() == workbook.home / "bin" / "python"
    assert "was interrupted; finishing it now" in capsys.readouterr().out
    assert workbook.stamp.finished


def test_half_installed_packages_are_forgotten_before_pip_looks(workbook):
    ready()
    site = workbook.home / "lib" / "python3.12" / "site-packages"
    for name, marks in (("torch-2.14.dist-info", ()), ("numpy-2.4.dist-info", ("INSTALLER",))):
        (site / name).mkdir(parents=True)
        for mark in ("METADATA", *marks):
            (site / name / mark).touch()
    installation.discard_half_installed(workbook.home)
    assert [path.name for path in site.iterdir()] == ["numpy-2.4.dist-info"]


@pytest.mark.parametrize(
    ("stamp", "file", "words", "anew"),
    [
        ({}, "installed", "Packages are missing from .venv, or too old", False),
        ({"fingerprint": "another list"}, "", "pyproject.toml lists something new", False),
        ({"python": "3.11"}, "", "another Python", True),
        ({}, "bin/python", "making .venv anew", True),
        ({"finished": False}, "", "was interrupted; finishing it now", False),
    ],
)
def test_an_environment_that_does_not_fit_is_brought_up_to_date(
    workbook, capsys, stamp, file, words, anew
):
    """Its stamp says something else, or a file is gone."""
    ready()
    (workbook.home / "of the old one").touch()
    replace(workbook.stamp, **stamp).write(workbook.home)
    if "fingerprint" in stamp:
        workbook.set(lacking=[*workbook.plan["lacking"], "new>=1"])
    if file:
        (workbook.home / file).unlink()
    ready(python=str(workbook.python))
    assert words in capsys.readouterr().out
    assert (workbook.home / "of the old one").exists() != anew
    assert workbook.stamp.finished
    assert len(workbook.calls(*INSTALL)) == 2


def test_a_folder_that_is_not_ours_is_never_deleted(workbook):
    workbook.home.mkdir()
    (workbook.home / "precious").touch()
    with pytest.raises(Fault, match="the workbook did not make it"):
        ready()
    assert (workbook.home / "precious").exists()


def constrained(workbook) -> list[bool]:
    return ["--constraint" in call for call in workbook.calls(*INSTALL)]


def test_the_tested_versions_are_installed_unless_the_newest_are_asked_for(workbook):
    ready()
    call = workbook.calls(*INSTALL)[0]
    assert call[call.index("--constraint") + 1] == str(installation.CONSTRAINTS)
    (workbook.home / "installed").unlink()
    ready(newest=True)
    assert constrained(workbook) == [True, False]


def test_a_python_without_wheels_of_the_tested_versions_gets_the_newest(workbook, capsys):
    workbook.set(pinned_pip=["ERROR: No matching distribution found for numpy==2.4.6"])
    ready()
    assert "do not all fit this Python; taking the newest" in capsys.readouterr().out
    assert constrained(workbook) == [True, False]
    assert workbook.stamp.finished


@pytest.mark.parametrize("words", ["[Errno 28] No space left on device", "ReadTimeoutError"])
def test_what_other_versions_would_not_mend_is_not_tried_twice(workbook, words):
    workbook.set(pip=[words])
    with pytest.raises(Fault):
        ready()
    assert constrained(workbook) == [True]


# Each of the ways in which it cannot work: a sentence, and the way out.


OFFLINE, FULL = "no package index answered", "the disk became full"


@pytest.mark.parametrize(
    ("plan", "python", "words"),
    [
        ({"version": "3.8.18"}, "", r"needs Python 3\.11 or newer, and .* is Python 3\.8\.18"),
        ({}, "python9", "no Python that starts as 'python9'"),
        ({"venv": False}, "", r"apt install python3-venv \(or python3\.12-venv\)"),
        ({"venv_words": "Error: out of luck"}, "", "out of luck"),
        ({"pip": "WARNING: Retrying after 'NewConnectionError(..)'"}, "", OFFLINE),
        ({"pip": "[Errno -3] Temporary failure in name resolution"}, "", OFFLINE),
        ({"pip": "socket.gaierror: [Errno 11001] getaddrinfo failed"}, "", OFFLINE),
        ({"pip": "ReadTimeoutError: Read timed out."}, "", OFFLINE),
        ({"pip": "HTTPSConnectionPool(host='x'): Max retries exceeded with url: /s"}, "", OFFLINE),
        ({"pip": "ERROR: OSError: [Errno 28] No space left on device"}, "", FULL),
        ({"pip": "OSError: [Errno 122] Disk quota exceeded"}, "", FULL),
        ({"pip": "OSError: [WinError 112] There is not enough space on the disk"}, "", FULL),
        ({"pip": "anything else"}, "", r"pip: No matching thing.*install\.log"),
        ({"forgotten": "torch"}, "", "no torch>="),
    ],
)
def test_what_cannot_be_installed_is_said_and_stays_unfinished(workbook, plan, python, words):
    if "pip" in plan:
        lines = (plan["pip"], "ERROR: No matching thing")
        plan = {"pip": [f"2026-01-01T10:00:00,123 {line}" for line in lines]}
    workbook.set(**plan)
    with pytest.raises(Fault, match=words):
        ready(python=python or str(workbook.python))
    assert workbook.stamp is None or not workbook.stamp.finished


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("darwin-x86_64", "Intel processor ended with version 2.2"),
        ("win-arm64", "no packages of PyTorch and OpenCV for a Python for Windows on ARM"),
        ("linux-musl", "this system has musl"),
        ("32 bits", "64-bit Python"),
    ],
)
def test_a_system_without_pytorch_is_told_the_way_out_before_anything_is_made(
    workbook, system, words
):
    workbook.set(system=system)
    with pytest.raises(Fault, match=re.escape(words)) as told:
        ready()
    assert str(told.value).endswith(faults.OTHER_WAYS)
    assert not workbook.home.exists()
    assert workbook.calls("-m", "venv") == workbook.calls("-m", "pip") == []
    workbook.set(lacking=[])  # where all is there, however it came there, it is used
    assert ready() == workbook.python


def test_the_disk_is_too_full_to_begin(workbook, monkeypatch):
    full = os.statvfs_result((4096, 4096, 10, 10, 10, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(Fault, match="are needed and 0 MB are free"):
        ready()
    assert workbook.calls(*INSTALL) == []


def test_a_folder_that_cannot_be_written_to(workbook, monkeypatch):
    monkeypatch.setattr(Path, "open", Mock(side_effect=OSError(30, "Read-only file system")))
    with pytest.raises(Fault, match=r"cannot be written to.*Copy the workbook"):
        ready()
    # and an error that means something else is not called so
    with pytest.raises(FileNotFoundError), environment.writable():
        Path("/no/such/file").stat()


def test_a_child_that_ignores_ctrl_c_is_ended(monkeypatch):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], text=True)
    with monkeypatch.context() as patch:
        patch.setattr(sleeper, "wait", Mock(side_effect=subprocess.TimeoutExpired("sleeper", 1)))
        installation.end(sleeper)
    assert sleeper.wait(timeout=10) == -signal.SIGKILL


def test_two_starts_at_once_install_once(workbook, capsys, monkeypatch):
    order: list[str] = []
    tried, real = threading.Event(), environment.lock

    def lock(file, *, wait: bool) -> bool:
        if wait:
            tried.set()
        return real(file, wait=wait)

    monkeypatch.setattr(environment, "lock", lock)

    def second() -> None:
        with environment.install_lock():
            order.append("second")

    with environment.install_lock():
        thread = threading.Thread(target=second)
        thread.start()
        assert tried.wait(20)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "Another start is installing; waiting" in capsys.readouterr().out


def test_small_builds_come_from_their_index_which_costs_only_time_where_it_fails(
    workbook, small_index, capsys
):
    ready()
    torch, rest = workbook.calls(*INSTALL)
    assert torch[torch.index("--index-url") + 1] == small_index
    assert any(word.startswith("torch>=") for word in torch)
    assert "--index-url" not in rest
    (workbook.home / "installed").unlink()
    workbook.set(index_pip=["ERROR: No matching distribution found for torch"])
    ready()
    assert "the usual build is taken instead" in capsys.readouterr().out
    assert workbook.stamp.finished


def test_pip_is_not_led_astray_by_the_environment(workbook, monkeypatch):
    seen: list[dict[str, str]] = []
    real = subprocess.Popen

    def watch(command: list[str], **settings: object) -> object:
        seen.append(settings.get("env") or {})
        return real(command, **settings)

    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setattr(installation.subprocess, "Popen", watch)
    installation.run_child([sys.executable, "-c", ""], quiet=True)
    assert seen[0]["PIP_USER"] == "0"
    assert "PYTHONPATH" not in seen[0]
    assert interpreters.environment_variables()["PYTHONPATH"].endswith("/somewhere/else")
