"""Benchmarks are found by their files."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from labsupport.commands import bench, environment, main


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ready", lambda *_: Path(sys.executable))


def test_without_a_name_all_are_told(capsys):
    assert main(["bench"]) == 0
    assert "labsupport bench occlusion" in capsys.readouterr().out


def test_an_unknown_one_finds_the_nearest(capsys):
    assert main(["bench", "oclusion"]) == 1
    assert "the nearest is occlusion" in capsys.readouterr().err


def test_a_known_one_is_called(monkeypatch: pytest.MonkeyPatch):
    called = []
    module = SimpleNamespace(bench=lambda: called.append(True))
    monkeypatch.setitem(sys.modules, "labsupport.bench.occlusion", module)
    assert main(["bench", "occlusion"]) == 0
    assert called == [True]


def test_every_benchmark_has_a_function_to_call():
    for name in bench.available():
        text = (bench.ROOT / "labsupport" / "bench" / f"{name}.py").read_text(encoding="utf-8")
        assert "def bench() -> None:" in text
