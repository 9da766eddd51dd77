"""What several labs' tests need: networks, a photo, panels that are closed."""

import sys
from pathlib import Path

import pytest

from labsupport.core import images
from labsupport.core import network as networks

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))  # the toy networks


@pytest.fixture(scope="module")
def network():
    return networks.load()


@pytest.fixture(scope="module")
def koala():
    return images.standard(images.sample("koala"))


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
