"""What several labs' tests need: the bundled network."""

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
