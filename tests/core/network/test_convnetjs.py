"""The ConvNetJS network has the demo's shape, and sees as well as data/README.md says."""

import re

import pytest
import torch
from torch.nn import functional

from labsupport.core import bundled
from labsupport.core import network as networks
from labsupport.core.images.crops import CATEGORIES, crops
from labsupport.core.network.architectures.convnetjs import INPUT_SIZE, MEAN, STD, ConvNetJS


@pytest.fixture(scope="module")
def trained() -> networks.Network:
    return networks.load("convnetjs")


def test_parameters_and_shapes(trained):
    filters = 3 * 16 * 25 + 16 + 16 * 20 * 25 + 20 + 20 * 20 * 25 + 20
    assert sum(value.numel() for value in ConvNetJS(10).parameters()) == filters + 3210
    shapes = {"conv1": (16, 32, 32), "pool1": (16, 16, 16), "conv2": (20, 16, 16),
              "pool2": (20, 8, 8), "conv3": (20, 8, 8), "pool3": (20, 4, 4),
              "fc4": (7,)}  # fmt: skip
    assert {name: trained.layer(name).shape for name in shapes} == shapes
    assert trained.input_size == INPUT_SIZE
    assert (trained.mean, trained.std, trained.categories) == (MEAN, STD, CATEGORIES)


def test_scores_equal_the_same_arithmetic_by_hand(trained):
    images = crops("test", per_class=1).images
    state = trained.graph.state_dict()
    x = (images - 0.5) / 0.25
    for name in ("conv1", "conv2", "conv3"):
        x = functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=2)
        x = functional.max_pool2d(x.clamp(min=0), 2)
    x = x.reshape(len(x), 320) @ state["fc4.weight"].T + state["fc4.bias"]
    with torch.no_grad():
        assert torch.allclose(trained(images).cpu(), x.cpu(), atol=1e-4)


def test_accuracy_is_what_the_readme_states(trained):
    data = crops("test", per_class=200)
    with torch.no_grad():
        right = trained(data.images).argmax(1).cpu() == data.labels
    accuracy = 100 * float(right.float().mean())
    readme = (bundled.folder() / "README.md").read_text("utf-8")
    stated = re.search(r"([\d.]+) % of 1 400 held-out crops", readme)
    assert stated
    assert accuracy == pytest.approx(float(stated[1]), abs=0.15)
    assert accuracy > 2 * 100 / 7  # twice as good as guessing
