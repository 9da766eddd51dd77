"""LeNet-5 has the paper's shape, and reads the digits as well as data/README.md says."""

import re

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.network.architectures.lenet import CATEGORIES, INPUT_SIZE, LeNet5


@pytest.fixture(scope="module")
def trained() -> LeNet5:
    network = LeNet5().eval()
    network.load_state_dict(load_file(bundled.path("weights/lenet5.safetensors")))
    return network


def test_parameters_and_shapes():
    network = LeNet5()
    assert sum(parameter.numel() for parameter in network.parameters()) == 61_706
    shapes = {"conv1": (6, 28, 28), "pool1": (6, 14, 14),
              "conv2": (16, 10, 10), "pool2": (16, 5, 5), "fc1": (120,), "fc2": (84,),
              "fc3": (10,)}  # fmt: skip
    result = create_feature_extractor(network, list(shapes))(torch.rand(2, 3, *INPUT_SIZE))
    assert {name: tuple(value.shape[1:]) for name, value in result.items()} == shapes


def test_receptive_fields_are_counted_by_hand():
    network = networks.load("lenet5")
    fields = {name: network.layer(name).receptive_field for name in ("conv1", "pool1", "conv2")}
    assert fields == {"conv1": (5, 5), "pool1": (6, 6), "conv2": (14, 14)}
    # a place that reads the padding: rows and columns -2 to 11, clipped
    assert networks.receptive_box(network, "conv2", (0, 0), (28, 28)) == (0, 0, 12, 12)
    assert networks.receptive_box(network, "pool2", (4, 4), (28, 28)) == (14, 14, 28, 28)


def test_the_trace_has_the_slides_names_in_order():
    _, nodes = get_graph_node_names(LeNet5())
    named = [node for node in nodes if re.fullmatch(r"(conv|relu|pool|flatten|fc)\d?", node)]
    assert named == [
        "conv1", "relu1", "pool1", "conv2", "relu2", "pool2",
        "flatten", "fc1", "relu3", "fc2", "relu4", "fc3",
    ]  # fmt: skip


def test_scores_equal_the_same_arithmetic_by_hand(trained):
    image = images.digits("test").images[:5]
    weight = dict(trained.named_parameters())
    x = functional.pad(image.sum(1, keepdim=True) / 3, (2, 2, 2, 2))
    for name in ("conv1", "conv2"):
        x = functional.conv2d(x, weight[f"{name}.weight"], weight[f"{name}.bias"])
        x = functional.max_pool2d(x.clamp(min=0), 2)
    x = x.reshape(5, 400)
    for name in ("fc1", "fc2", "fc3"):
        x = x @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]
        x = x if name == "fc3" else x.clamp(min=0)
    assert torch.allclose(trained(image), x, atol=1e-4)


def test_colour_does_not_matter(trained):
    image = torch.rand(3, 3, *INPUT_SIZE)
    grey = image.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.allclose(trained(image), trained(grey), atol=1e-5)


def test_accuracy_is_what_the_readme_states(trained):
    digits = images.digits("test")
    with torch.no_grad():
        right = trained(digits.images).argmax(1) == digits.labels
    accuracy = 100 * float(right.float().mean())
    assert accuracy >= 98.5
    readme = (bundled.folder() / "README.md").read_text("utf-8")
    stated = re.search(r"([\d.]+) % of the 2 000 test digits", readme)
    assert stated
    assert accuracy == pytest.approx(float(stated[1]), abs=0.051)
    assert digits.categories == CATEGORIES


def test_shifted_digits_are_still_read(trained):
    digits = images.digits("test")
    moved = torch.roll(digits.images[:, :1], (2, -2), (2, 3)).expand(-1, 3, -1, -1)
    with torch.no_grad():
        right = trained(moved).argmax(1) == digits.labels
    assert float(right.float().mean()) > 0.97
