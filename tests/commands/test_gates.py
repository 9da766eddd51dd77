"""`test` becomes one pytest, with or without what takes long."""

from __future__ import annotations

from pathlib import Path

import pytest

from labsupport.commands import environment, gates, main
from labsupport.commands.requirements import ROOT

WORKERS = gates.workers


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The extras that the environment was asked for."""
    calls: list[tuple[str, ...]] = []

    def ready(*extras: str, python: str | None = None) -> Path:
        calls.append(extras)
        return Path("/env/bin/python")

    monkeypatch.setattr(environment, "ready", ready)
    monkeypatch.setattr(gates, "workers", lambda: 1)
    return calls


def test_all_of_it_is_one_pytest_with_the_test_tools_there(asked, handed_over):
    assert main(["test"]) == 0
    assert handed_over()[0] == ["/env/bin/python", "-m", "pytest"]
    assert asked == [("test",)]


def test_several_workers_share_the_tests(handed_over, monkeypatch):
    monkeypatch.setattr(gates, "workers", lambda: 3)
    main(["test", "-n", "0"])
    assert handed_over()[0][3:] == ["--numprocesses=3", "--dist=worksteal", "-n", "0"]


@pytest.mark.parametrize(
    ("cores", "gigabytes", "expected"),
    [(1, 64, 1), (2, 24, 2), (16, 64, 4), (8, 16, 3), (8, 8, 1), (8, None, 1), (None, 64, 1)],
)
def test_a_worker_for_each_core_that_has_memory(cores, gigabytes, expected, monkeypatch):
    memory = gigabytes and gigabytes * 2**30
    monkeypatch.setattr(gates.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(gates.machine, "total_memory", lambda: memory)
    assert WORKERS() == expected


def test_quick_leaves_out_the_notebooks_and_the_browser(handed_over):
    main(["test", "--quick"])
    assert handed_over()[0][3:] == [f"--ignore={path}" for path in gates.SLOW]


def test_what_is_left_out_is_there(asked):
    for path in gates.SLOW:
        assert (ROOT / path).exists(), path


def test_anything_else_goes_to_pytest(handed_over):
    main(["test", "-x", "tests/core", "-k", "images"])
    assert handed_over()[0][3:] == ["-x", "tests/core", "-k", "images"]
