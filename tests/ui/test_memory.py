"""What a cell has freed goes back to the system, once after each cell."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
from IPython.core.events import EventManager, available_events

from labsupport import ui

HOLES = """
from labsupport.ui import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

blocks = [bytearray(100_000) for _ in range(3000)]
del blocks[::2]  # holes between blocks that stay
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_what_was_freed_between_what_stays_goes_back():
    command = [sys.executable, "-c", HOLES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100e6


def test_it_happens_once_after_each_cell(monkeypatch):
    shell, done = SimpleNamespace(), []
    shell.events = EventManager(shell, available_events)
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr(ui, "give_back", done.append)
    for _ in range(2):
        ui.after_each_cell()
    for cell in ("first", "second"):
        shell.events.trigger("post_run_cell", cell)
    assert done == ["first", "second"]
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    ui.after_each_cell()  # outside of a notebook nothing happens
