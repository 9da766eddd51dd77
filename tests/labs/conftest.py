"""What several labs' tests need: the bundled network, and patience for a panel's frames."""

import time

import pytest

from labsupport.core import network as networks


@pytest.fixture(scope="module")
def network():
    return networks.load()


@pytest.fixture
def opened():
    """`opened(panel)` is the panel, which is closed at the test's end."""
    panels = []

    def keep(panel):
        panels.append(panel)
        return panel

    yield keep
    for panel in panels:
        panel.close()


@pytest.fixture
def wait_for_frames():
    """Call it with a live panel and a number of frames: it returns when so many were computed."""

    def wait(live, count, patience=60.0):
        end = time.perf_counter() + patience
        while time.perf_counter() < end:
            if live._work is not None and live._work.count >= count:
                return
            time.sleep(0.005)
        raise AssertionError(f"no {count} frames in {patience} s")

    return wait
