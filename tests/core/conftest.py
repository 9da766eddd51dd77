"""The core's tests, the methods' tests and the laws share their toy networks."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def one_thread():
    """For thousands of tiny operations: two threads would mostly wait for each other, above all
    on a machine that has other work."""
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(cores)
