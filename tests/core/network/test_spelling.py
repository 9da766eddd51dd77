"""One network in several spellings is one network: the same layers, the same maps."""

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.network.incremental import Output, Plan
from labsupport.methods import backprop

pytestmark = pytest.mark.usefixtures("one_thread")


class Spelt(nn.Module):
    """conv, ReLU, a sum, a pool to 1 x 1, flattening, linear: each written in some way."""

    def __init__(self, relu=F.relu, add=torch.add, pool=None, flat=None, conv=None):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 6, 3, padding=1)
        self.relu, self.pool, self.fc = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4)
        self.ways = (relu, add, pool or (lambda net, x: net.pool(x)), flat, conv)

    def forward(self, x):
        relu, add, pool, flat, conv = self.ways
        x = relu(self.first(x))
        x = pool(self, add(x, conv(self, x) if conv else self.second(x)))
        return self.fc(flat(x) if flat else torch.flatten(x, 1))


def averaged(x):
    return x.flatten(2).mean(2)


def functional(net, x):
    return F.conv2d(x, net.second.weight, net.second.bias, padding=1)


def flattened_already(x):
    return x


SPELLINGS = {
    **{
        f"ReLU {number}": {"relu": way}
        for number, way in enumerate(
            [torch.relu, F.relu_, lambda x: x.relu(), lambda x: x.relu_(), lambda x: x.clamp(min=0)]
        )
    },
    **{
        f"sum {number}": {"add": way}
        for number, way in enumerate(
            [lambda x, y: x + y, lambda x, y: x.add(y), lambda x, y: torch.add(x, y, alpha=1)]
        )
    },
    **{
        f"flattening {number}": {"flat": way}
        for number, way in enumerate(
            [
                lambda x: x.view(x.size(0), -1),
                lambda x: x.view(len(x), -1),
                lambda x: x.reshape(x.shape[0], 6),
                lambda x: x.view(-1, 6),
                lambda x: x.flatten(1),
                lambda x: x.squeeze(3).squeeze(2),
                lambda x: x.squeeze(),
                lambda x: x[:, :, 0, 0],
            ]
        )
    },
    **{
        f"pool {number}": {"pool": way, "flat": flat}
        for number, (way, flat) in enumerate(
            [
                (lambda _, x: F.adaptive_avg_pool2d(x, 1), None),
                (lambda _, x: F.adaptive_avg_pool2d(x, (1, 1)), None),
                (lambda _, x: x.mean((2, 3)), flattened_already),
                (lambda _, x: x.mean(dim=[-1, -2]), flattened_already),
                (lambda _, x: torch.mean(x, (2, 3), keepdim=True), None),
                (lambda _, x: averaged(x), flattened_already),
            ]
        )
    },
    "convolution": {"conv": functional},
}


def spelt(**ways) -> networks.Network:
    return networks.wrap(toys.seeded(lambda: Spelt(**ways)), input_size=17, **toys.PLAIN)


@pytest.mark.parametrize("name", SPELLINGS)
def test_one_network_in_two_spellings_gives_one_result(name):
    plain, other, image = spelt(), spelt(**SPELLINGS[name]), toys.image(17, 21)
    assert [layer.kind for layer in other.layers] == [layer.kind for layer in plain.layers]
    for one, layer in zip(plain.layers, other.layers, strict=True):
        assert (layer.shape, layer.stride) == (one.shape, one.stride)
        assert layer.receptive_field == one.receptive_field
        values = plain.activations(image, [one.name]), other.activations(image, [layer.name])
        torch.testing.assert_close(values[1][layer.name], values[0][one.name])
    names = [one.name for one in other.layers if one.name not in ("pool", "second", "conv2d")]
    usual = ["first", "relu", "add", "adaptive_avg_pool2d", "flatten", "fc"]
    assert [name for name in names if name.removesuffix("_1") not in usual] == []
    rules = [backprop.gradients(one, image, 1) for one in (plain, other)]
    for rule in rules[0]:
        torch.testing.assert_close(rules[1][rule].values, rules[0][rule].values)
    signals = [backprop.deconvnet(one, image, ("fc", 1)) for one in (plain, other)]
    torch.testing.assert_close(signals[1].values, signals[0].values)
    assert Plan(other, (Output(other.output),), (17, 21)).possible
