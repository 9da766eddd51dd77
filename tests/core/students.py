"""Networks in the manners in which students write them: `built(*RIGHT[name])`."""

import math

import torch
import toys
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    """Two convolutions, a linear layer, other parts, and a forward pass to be tried."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.fc = nn.Linear(8, 4)
        self.written = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.written(self, x)

    def end(self, x):
        return self.fc(x.mean((2, 3)))


def built(forward, parts=dict) -> nn.Module:
    return toys.shake(toys.seeded(lambda: Net(forward, **parts())))


# Gradients that a forward pass speaks of


class Sign(torch.autograd.Function):
    """A straight-through estimator."""

    @staticmethod
    def forward(_, x):
        return x.sign()

    @staticmethod
    def backward(_, above):
        return above.clamp(-1, 1)


def no_grad_region(net, x):
    with torch.no_grad():
        gate = net.second(net.conv(x)).mean((2, 3), keepdim=True)
    return net.end(net.second(net.conv(x)) * gate)


# Sizes


def resized(net, x):
    if x.shape[-1] != 16:
        x = F.interpolate(x, size=(16, 16))
    return net.wide(torch.flatten(net.conv(x), 1))


def asserting(net, x):
    assert x.shape[1] == 3
    assert x.size(2) > 4
    return net.end(net.conv(x if x.dim() == 4 else x[None]).relu())


def tensorflows_same(net, x):
    height, width = x.shape[-2:]
    down = max((math.ceil(height / 2) - 1) * 2 + 3 - height, 0)
    across = max((math.ceil(width / 2) - 1) * 2 + 3 - width, 0)
    if down > 0 or across > 0:
        x = F.pad(x, [across // 2, across - across // 2, down // 2, down - down // 2])
    return net.end(F.conv2d(x, net.weight, None, 2).relu())


def squeezed(net, x):
    x = net.conv(x).relu()
    count, channels, _, _ = x.size()
    return net.end(x * net.gate(x.mean((2, 3))).sigmoid().view(count, channels, 1, 1))


def attending(net, x):
    x = net.second(net.conv(x))
    count, channels, height, width = x.shape
    each = x.view(count, channels, height * width).permute(0, 2, 1)
    mixed = (each @ each.transpose(1, 2) / channels**0.5).softmax(-1) @ each
    return net.end(mixed.permute(0, 2, 1).reshape(count, channels, height, width))


def row_by_row(net, x):
    x, result = net.conv(x), 0
    for row in range(x.shape[2]):
        result = result + x[:, :, row] * (row + 1) / x.shape[2]
    return net.fc(result.mean(2))


def with_places(net, x):
    """CoordConv, and maps of zeros as many as there are images."""
    x = net.conv(x)
    height, width = x.shape[2:]
    places = torch.linspace(-1, 1, height)[:, None].expand(x.size(0), 1, height, width)
    empty = torch.zeros(x.size(0), 1, *x.shape[2:], device=x.device)
    return net.more(torch.cat([x, places, empty], 1).mean((2, 3)))


def batch_second(net, x):
    each = net.second(net.conv(x)).flatten(2).permute(2, 0, 1)
    places, count, channels = each.shape
    return net.fc(net.attention(each, each, each)[0].view(places, count, channels).mean(0))


# Work in place


def slices(net, x):
    x = net.conv(x)
    x[:, :2] += 1
    x[:, 0] = 0
    x[:, 3:5].relu_()
    return net.end(x)


def through_a_view(net, x):
    x = net.conv(x)
    flat = x.view(x.size(0), -1)
    x.mul_(2)
    flat.relu_()
    return net.end(x) + flat.mean(1, keepdim=True)


def weight(*shape):
    return lambda: {"weight": nn.Parameter(torch.randn(*shape))}


class Standardized(nn.Conv2d):
    def forward(self, x):
        filters = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        filters = filters / (filters.std((1, 2, 3), keepdim=True) + 1e-5)
        return self._conv_forward(x, filters, self.bias)


class Doubled(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, 2 * weight, bias)


def layer(build):
    """A third layer between the two."""
    return (
        lambda net, x: net.end(net.second(F.relu(net.layer(net.conv(x))))),
        lambda: {"layer": build()},
    )


def hooked() -> nn.Module:
    part = nn.Conv2d(8, 8, 3, stride=2)
    part.register_forward_pre_hook(lambda _, given: (given[0] + 1,))
    part.register_forward_hook(lambda _, __, result: 2 * result.relu() + 1)
    return part


def norm_by_hand(net, x):
    norm = net.norm
    x = F.batch_norm(
        net.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, 1e-3
    )
    return net.end(x.relu())


RIGHT = {
    "own function": (lambda net, x: net.end(Sign.apply(net.second(net.conv(x).relu()))), dict),
    "no_grad region": (no_grad_region, dict),
    "instance norm": layer(lambda: nn.InstanceNorm2d(8, affine=True)),
    "F.instance_norm": (lambda net, x: net.end(F.instance_norm(net.conv(x)).relu()), dict),
    "checkpoint": (
        lambda net, x: net.end(checkpoint(lambda y: net.conv(y).relu(), x, use_reentrant=False)),
        dict,
    ),
    "resized": (resized, lambda: {"wide": nn.Linear(8 * 256, 4)}),
    "asserting": (asserting, dict),
    "SAME padding": (tensorflows_same, weight(8, 3, 3, 3)),
    "squeeze and excite": (squeezed, lambda: {"gate": nn.Linear(8, 8)}),
    "attention": (attending, dict),
    "row by row": (row_by_row, dict),
    "places": (with_places, lambda: {"more": nn.Linear(10, 4)}),
    "batch second": (batch_second, lambda: {"attention": nn.MultiheadAttention(8, 2)}),
    "whole pool": (
        lambda net, x: net.fc(F.avg_pool2d(net.conv(x), x.size()[2:]).view(x.size(0), -1)),
        dict,
    ),
    "len": (lambda net, x: net.fc(net.conv(x).mean((2, 3)).view(len(x), -1)), dict),
    "part of a chain": (
        lambda net, x: net.end(net.chain[:2](x)),
        lambda: {"chain": nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))},
    ),
    "slices in place": (slices, dict),
    "through a view": (through_a_view, dict),
    "own weight": (lambda net, x: net.end(F.conv2d(x, net.weight).relu()), weight(8, 3, 3, 3)),
    "weight's number": (lambda net, x: net.end(net.conv(x) * net.fc.weight.max().item()), dict),
    "layer scale": (lambda net, x: net.end(net.conv(x) * net.weight), weight(8, 1, 1)),
    "batch norm by hand": (norm_by_hand, lambda: {"norm": nn.BatchNorm2d(8)}),
    "subclass": layer(lambda: type("Own", (nn.Conv2d,), {})(8, 8, 3)),
    "standardized": layer(lambda: Standardized(8, 8, 3)),
    "doubled": layer(lambda: Doubled(8, 8, 3)),
    "weight norm": layer(lambda: parametrizations.weight_norm(nn.Conv2d(8, 8, 3))),
    "old weight norm": layer(lambda: nn.utils.weight_norm(nn.Conv2d(8, 8, 3))),
    "in a list": (
        lambda net, x: net.end(net.layers[0](net.conv(x))),
        lambda: {"layers": [nn.Conv2d(8, 8, 3)]},
    ),
    "hooked": layer(hooked),
    "hooked image": (
        lambda net, x: net.end(net.layer(x.repeat(1, 3, 1, 1)[:, :8])),
        lambda: {"layer": hooked()},
    ),
    "conv3d": (
        lambda net, x: net.end(net.layer(x.unsqueeze(2)).squeeze(2)),
        lambda: {"layer": nn.Conv3d(3, 8, (1, 3, 3))},
    ),
    "said": (lambda net, x: net.end(net.conv(x)) if f"{x.mean():.3f} {x}" else x, dict),
}
