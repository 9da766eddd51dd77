"""The methods' tests use the toy networks of the core's tests, and one trained network."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))


@pytest.fixture(scope="session")
def squeezenet():
    from labsupport.core import network as networks

    return networks.load()
