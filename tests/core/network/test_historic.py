"""LeNet-5 of 1998, AlexNet of 2012 and ZFNet: the papers' shapes and their arithmetic."""

import pytest
import torch
from torch.nn import functional as F

from labsupport.core.network import blueprints
from labsupport.core.network.architectures import lenet1998
from labsupport.core.network.architectures.alexnet import AlexNet2012, response_normalization
from labsupport.core.network.architectures.lenet1998 import (
    C3_TABLE,
    LeNet5Of1998,
    ScaledTanh,
    digit_bitmaps,
)

SHAPES = {
    "lenet5_1998": {"c1": (6, 28, 28), "s2": (6, 14, 14), "c3": (16, 10, 10), "s4": (16, 5, 5),
                    "c5": (120, 1, 1), "f6": (84,)},
    "alexnet_2012": {"conv1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27),
                     "pool2": (256, 13, 13), "conv3": (384, 13, 13), "conv5": (256, 13, 13),
                     "pool5": (256, 6, 6), "fc6": (4096,), "fc8": (1000,)},
    "zfnet": {"conv1": (96, 110, 110), "pool1": (96, 55, 55), "conv2": (256, 26, 26),
              "pool2": (256, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6)},
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_maps_have_the_papers_sizes(name):
    network = blueprints.blueprint(name)
    assert {layer: network.layer(layer).shape for layer in SHAPES[name]} == SHAPES[name]


@pytest.fixture(scope="module")
def lenet():
    torch.manual_seed(0)
    return LeNet5Of1998().eval()


def test_c3_reads_what_table_1_says(lenet):
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert [sum(source in row for row in C3_TABLE) for source in range(6)] == [10] * 6
    weight = lenet.c3.weight
    for row, sources in enumerate(C3_TABLE):
        read = weight[row].abs().sum((1, 2)) > 0
        assert read.nonzero().flatten().tolist() == sorted(sources)
    counts = {name: sum(p.numel() for p in part.parameters())
              for name, part in lenet.named_children()}  # fmt: skip
    papers = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert {name: counts[name] for name in papers} == papers
    assert sum(counts.values()) == 60_000


def test_lenets_scores_equal_the_same_arithmetic_by_hand(lenet):
    image = torch.rand(3, 3, 28, 28)

    def squash(x):
        return 1.7159 * torch.tanh(2 * x / 3)

    def halve(x, layer):
        four = x.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5))
        coefficient = layer.weight[:, 0, 0, 0]
        return four * coefficient[:, None, None] + layer.bias[:, None, None]

    with torch.no_grad():
        x = squash(F.conv2d(image.mean(1, keepdim=True), lenet.c1.weight, lenet.c1.bias, padding=2))
        x = squash(halve(x, lenet.s2))
        maps = [sum(F.conv2d(x[:, [s]], lenet.c3.weight[row, s][None, None]) for s in sources)
                for row, sources in enumerate(C3_TABLE)]  # fmt: skip
        x = squash(torch.cat(maps, 1) + lenet.c3.bias[:, None, None])
        x = squash(halve(x, lenet.s4)).flatten(1)
        x = squash(x @ lenet.c5.weight.flatten(1).T + lenet.c5.bias)
        x = squash(x @ lenet.f6.weight.T + lenet.f6.bias)
        expected = -torch.stack([(row - digit_bitmaps()).square().sum(1) for row in x])
        assert torch.allclose(lenet(image), expected, atol=1e-3)


def test_squashing_keeps_one():
    assert ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0])).tolist() == pytest.approx(
        [-1, 0, 1], abs=1e-3
    )


def test_the_drawn_digits_are_ten_different_pictures():
    digits = digit_bitmaps()
    assert digits.shape == (10, 84)
    assert set(digits.flatten().tolist()) == {-1.0, 1.0}
    apart = torch.cdist(digits, digits, p=0) + 84 * torch.eye(10)
    assert apart.min() >= 6


def test_only_the_allowed_weights_learn():
    module = LeNet5Of1998()
    module(torch.rand(2, 3, 28, 28)).sum().backward()
    connections = module.c3.parametrizations["weight"]
    assert connections.original.shape == (60, 5, 5)
    assert connections.original.grad.abs().sum() > 0
    assert isinstance(connections[0], lenet1998.Connections)


def test_the_response_normalization_is_the_papers_formula():
    maps = 30 * torch.rand(1, 9, 2, 2)
    squares = F.pad(maps.square(), (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
    expected = maps / (2 + 1e-4 * squares) ** 0.75
    assert torch.allclose(response_normalization()(maps), expected, atol=1e-5)


def test_alexnets_columns_do_not_see_each_other():
    module = AlexNet2012(classes=3)
    for layer, inputs in ((module.conv2, 48), (module.conv4, 192), (module.conv5, 192)):
        assert layer.weight.shape[1] == inputs
        maps = torch.zeros(1, 2 * inputs, 5, 5)
        maps[:, :inputs] = 1.0  # the upper column alone
        answer = layer(maps) - layer(torch.zeros_like(maps))
        half = layer.out_channels // 2
        assert answer[:, :half].abs().max() > 0
        assert answer[:, half:].abs().max() == 0
