"""Memory and disk, on each system in its own way."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from labsupport.commands import machine


def test_this_computer_has_memory_and_sizes_are_for_people():
    memory = machine.total_memory()
    assert memory is None or 10**8 < memory < 10**14
    assert [machine.in_words(size) for size in (2_400_000, 10**9, 0)] == ["2 MB", "1.0 GB", "0 MB"]


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows has no sysconf")
def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "MEMORY_LIMITS", (limit, tmp_path / "absent"))
    limit.write_text("max\n")
    assert machine.memory_limits() == []
    limit.write_text("123456789\n")
    assert machine.total_memory() == 123456789


def test_windows_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch):
    def tell(reference) -> int:
        reference._obj.total = 16 * 2**30
        assert reference._obj.length == 64
        return 1

    monkeypatch.setattr(sys, "platform", "win32")
    library = SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=tell))
    monkeypatch.setattr(machine.ctypes, "windll", library, raising=False)
    assert machine.total_memory() == 16 * 2**30
    monkeypatch.delattr(machine.ctypes, "windll")
    assert machine.total_memory() is None
