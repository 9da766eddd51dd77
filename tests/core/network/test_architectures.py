"""The networks that are written here: the papers' shapes, their arithmetic, what they can read."""

import re

import pytest
import torch
import toys
from torch.nn import functional as F

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.images import crops
from labsupport.core.network import blueprints
from labsupport.core.network.architectures import convnetjs, lenet
from labsupport.core.network.architectures.alexnet import response_normalization
from labsupport.core.network.architectures.lenet import C3_TABLE, LeNet5Of1998, digit_bitmaps

SHAPES = {
    "lenet5_1998": {"c1": (6, 28, 28), "s2": (6, 14, 14), "c3": (16, 10, 10), "s4": (16, 5, 5),
                    "c5": (120, 1, 1), "f6": (84,)},
    "lenet5": {"conv1": (6, 28, 28), "relu1": (6, 28, 28), "pool1": (6, 14, 14),
               "conv2": (16, 10, 10), "relu2": (16, 10, 10), "pool2": (16, 5, 5), "fc1": (120,),
               "relu3": (120,), "fc2": (84,), "relu4": (84,), "fc3": (10,)},
    "convnetjs": {"conv1": (16, 32, 32), "pool1": (16, 16, 16), "conv2": (20, 16, 16),
                  "pool2": (20, 8, 8), "conv3": (20, 8, 8), "pool3": (20, 4, 4), "fc4": (7,)},
    "alexnet_2012": {"conv1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27),
                     "pool2": (256, 13, 13), "conv3": (384, 13, 13), "conv5": (256, 13, 13),
                     "pool5": (256, 6, 6), "fc6": (4096,), "fc8": (1000,)},
    "zfnet": {"conv1": (96, 110, 110), "pool1": (96, 55, 55), "conv2": (256, 26, 26),
              "pool2": (256, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6)},
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_maps_have_the_papers_sizes(name):
    layers = [blueprints.blueprint(name).layer(layer) for layer in SHAPES[name]]
    assert {layer.name: layer.shape for layer in layers} == SHAPES[name]


# LeNet-5 and the ConvNetJS network, trained here


@pytest.fixture(scope="module")
def digits() -> networks.Network:
    return networks.load("lenet5")


@pytest.fixture(scope="module")
def pictures() -> networks.Network:
    return networks.load("convnetjs")


def test_they_have_the_papers_weights_and_settings(digits, pictures):
    assert sum(value.numel() for value in digits.graph.parameters()) == 61_706
    filters = 3 * 16 * 25 + 16 + 16 * 20 * 25 + 20 + 20 * 20 * 25 + 20
    assert sum(value.numel() for value in convnetjs.ConvNetJS(10).parameters()) == filters + 3210
    assert pictures.input_size == convnetjs.INPUT_SIZE
    assert (pictures.mean, pictures.std) == (convnetjs.MEAN, convnetjs.STD)
    assert (digits.categories, pictures.categories) == (lenet.CATEGORIES, crops.CATEGORIES)


def by_hand(network: networks.Network, x: torch.Tensor, **padding: int) -> torch.Tensor:
    """Convolutions, each with its ReLU and max-pool, then linear layers with ReLUs between."""
    state, names = network.graph.state_dict(), [layer.name for layer in network.layers]
    for name in [name for name in names if name.startswith("conv")]:
        x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **padding)
        x = F.max_pool2d(x.clamp(min=0), 2)
    x = x.reshape(len(x), -1)
    linear = [name for name in names if name.startswith("fc")]
    for name in linear:
        x = x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        x = x if name == linear[-1] else x.clamp(min=0)
    return x


def test_scores_equal_the_same_arithmetic_by_hand(digits, pictures):
    shown = images.digits("test").images[:5].clone()
    shown[:, 0] = shown[:, 0].flip(1)  # colours: the network reads their mean
    grey = F.pad(shown.sum(1, keepdim=True) / 3, (2, 2, 2, 2))
    assert torch.allclose(digits(shown), by_hand(digits, grey), atol=1e-4)
    cut = crops.crops("test", per_class=1).images
    expected = by_hand(pictures, (cut - 0.5) / 0.25, padding=2)
    assert torch.allclose(pictures(cut), expected, atol=1e-4)


def accuracy(network: networks.Network, shown: torch.Tensor, labels: torch.Tensor) -> float:
    """In per cent."""
    with torch.no_grad():
        return 100 * float((network(shown).argmax(1) == labels).float().mean())


def test_accuracy_is_what_the_readme_states(digits, pictures):
    readme = (bundled.folder() / "README.md").read_text("utf-8")
    shown, cut = images.digits("test"), crops.crops("test", per_class=200)
    moved = torch.roll(shown.images[:, :1], (2, -2), (2, 3)).expand(-1, 3, -1, -1)
    assert accuracy(digits, moved, shown.labels) > 97
    for network, data, words, least, rounding in (
        (digits, shown, "2 000 test digits", 98.5, 0.051),
        (pictures, cut, "1 400 held-out crops", 2 * 100 / 7, 0.15),  # twice as good as guessing
    ):
        stated = re.search(rf"([\d.]+) % of (?:the )?{words}", readme)
        assert stated, words
        right = accuracy(network, data.images, data.labels)
        assert right >= least
        assert right == pytest.approx(float(stated[1]), abs=rounding)


# LeNet-5 of 1998


@pytest.fixture(scope="module")
def of_1998():
    return toys.seeded(LeNet5Of1998)


def test_c3_reads_what_table_1_says(of_1998):
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert [sum(source in row for row in C3_TABLE) for source in range(6)] == [10] * 6
    weight = of_1998.c3.weight
    for row, sources in enumerate(C3_TABLE):
        read = weight[row].abs().sum((1, 2)) > 0
        assert read.nonzero().flatten().tolist() == sorted(sources)
    counts = {name: sum(p.numel() for p in part.parameters())
              for name, part in of_1998.named_children()}  # fmt: skip
    papers = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert {name: counts[name] for name in papers} == papers
    assert sum(counts.values()) == 60_000
    # and only the allowed weights learn
    module = LeNet5Of1998()
    module(torch.rand(2, 3, 28, 28)).sum().backward()
    connections = module.c3.parametrizations["weight"]
    assert connections.original.shape == (60, 5, 5)
    assert connections.original.grad.abs().sum() > 0
    assert isinstance(connections[0], lenet.Connections)


def test_lenets_scores_equal_the_same_arithmetic_by_hand(of_1998):
    image = torch.rand(3, 3, 28, 28)

    def squash(x):
        return 1.7159 * torch.tanh(2 * x / 3)

    def halve(x, layer):
        four = x.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5))
        coefficient = layer.weight[:, 0, 0, 0]
        return four * coefficient[:, None, None] + layer.bias[:, None, None]

    with torch.no_grad():
        grey, c1 = image.mean(1, keepdim=True), of_1998.c1
        x = squash(F.conv2d(grey, c1.weight, c1.bias, padding=2))
        x = squash(halve(x, of_1998.s2))
        maps = [sum(F.conv2d(x[:, [s]], of_1998.c3.weight[row, s][None, None]) for s in sources)
                for row, sources in enumerate(C3_TABLE)]  # fmt: skip
        x = squash(torch.cat(maps, 1) + of_1998.c3.bias[:, None, None])
        x = squash(halve(x, of_1998.s4)).flatten(1)
        x = squash(x @ of_1998.c5.weight.flatten(1).T + of_1998.c5.bias)
        x = squash(x @ of_1998.f6.weight.T + of_1998.f6.bias)
        expected = -torch.stack([(row - digit_bitmaps()).square().sum(1) for row in x])
        assert torch.allclose(of_1998(image), expected, atol=1e-3)


def test_the_drawn_digits_are_ten_different_pictures():
    digits = digit_bitmaps()
    assert digits.shape == (10, 84)
    assert set(digits.flatten().tolist()) == {-1.0, 1.0}
    apart = torch.cdist(digits, digits, p=0) + 84 * torch.eye(10)
    assert apart.min() >= 6


def test_the_response_normalization_is_the_papers_formula():
    maps = 30 * torch.rand(1, 9, 2, 2)
    squares = F.pad(maps.square(), (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
    expected = maps / (2 + 1e-4 * squares) ** 0.75
    assert torch.allclose(response_normalization()(maps), expected, atol=1e-5)
