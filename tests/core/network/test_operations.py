"""A node's kind and window are the same however the operation was written."""

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.network.operations import Operation

pytestmark = pytest.mark.usefixtures("one_thread")


def written(apply) -> networks.Network:
    """A convolution, the operation under test, and the mean of each map."""
    layer = apply if isinstance(apply, nn.Module) else toys.Applied(apply)
    return toys.chain(lambda: [nn.Conv2d(3, 4, 3, padding=1), layer], input_size=32)


def read(apply) -> Operation:
    """The operation behind the convolution."""
    operations = written(apply).operations
    return operations[[operation.kind for operation in operations].index("conv") + 1]


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("relu", [nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, lambda x: x.relu()]),
        ("relu", [F.relu_, torch.relu_, lambda x: x.relu_(), lambda x: F.relu(x, True)]),
        ("relu6", [nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, lambda x: F.relu6(x, True)]),
        ("dropout", [nn.Dropout(), nn.Dropout2d(), lambda x: F.dropout(x, training=False)]),
        ("norm", [nn.BatchNorm2d(4), nn.LocalResponseNorm(3)]),
        ("pointwise", [nn.Tanh(), torch.tanh, lambda x: x.tanh(), nn.GELU(), nn.LeakyReLU()]),
        ("pointwise", [F.leaky_relu, F.gelu, lambda x: x + 1, lambda x: x + x, lambda x: 2 - x]),
        ("pointwise", [lambda x: x * 2, lambda x: x / 2, lambda x: x.mul(2), lambda x: x * x]),
        ("pointwise", [lambda x: x**2, lambda x: 2**x, lambda x: x // 0.5, torch.exp, abs]),
        ("pointwise", [lambda x: x.clamp(0.1, 1), lambda x: x % 0.7, lambda x: -x, F.mish]),
        ("pointwise", [nn.SELU(), nn.CELU(), nn.Softsign(), nn.Threshold(0.1, 1), nn.Mish()]),
        ("channels", [nn.PReLU(4), nn.Softmax2d(), nn.ChannelShuffle(2), lambda x: x[:, ::2]]),
        ("channels", [lambda x: x * torch.ones(4, 1, 1), lambda x: x.split([1, 3], 1)[1]]),
        ("channels", [lambda x: x.chunk(2, 1)[0], lambda x: torch.split(x, 3, dim=1)[0]]),
        (
            "channel_mean",
            [lambda x: x.mean(1, True), lambda x: torch.mean(x, dim=[-3], keepdim=True)],
        ),
        ("adaptive_pool", [nn.AdaptiveAvgPool2d(3), lambda x: F.adaptive_avg_pool2d(x, 3)]),
        ("identity", [nn.Identity()]),
    ],
)
def test_kinds(kind, ways):
    assert [read(way).kind for way in ways] == [kind] * len(ways)


@pytest.mark.parametrize(
    "apply",
    [
        lambda x: x * torch.ones(32, 1),
        lambda x: x.mean((1, 2), keepdim=True),
        lambda x: x.mean(1).unsqueeze(1),
        lambda x: torch.cat([x, x], 1),
        lambda x: torch.cat([x, x.relu()], 2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 4, 3),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4),
        nn.BatchNorm2d(4, track_running_stats=False),  # looks at the whole batch
        nn.AdaptiveMaxPool2d(1),
    ],
)
def test_what_only_looks_like_a_known_kind_is_other(apply):
    assert "other" in [operation.kind for operation in written(apply).operations]


@pytest.mark.parametrize(
    "apply",
    [
        lambda x: x - x.relu(),
        lambda x: x * x.relu(),
        lambda x: torch.add(x, x.relu(), alpha=2),
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: x.masked_fill(x < 0, 0),
    ],
)
def test_maps_of_one_size_are_combined(apply):
    assert "combine" in [operation.kind for operation in written(apply).operations]


WINDOWS = [
    # apply, kind, kernel, stride, padding, dilation
    (nn.Conv2d(4, 4, (3, 5), 2, (1, 2)), "conv", (3, 5), (2, 2), (1, 2), (1, 1)),
    (nn.Conv2d(4, 4, 3, dilation=(2, 3)), "conv", (3, 3), (1, 1), (0, 0), (2, 3)),
    (nn.Conv2d(4, 4, 4, padding="same", dilation=3), "conv", (4, 4), (1, 1), (4, 4), (3, 3)),
    (nn.Conv2d(4, 4, 3, padding="valid"), "conv", (3, 3), (1, 1), (0, 0), (1, 1)),
    (nn.MaxPool2d(3), "max_pool", (3, 3), (3, 3), (0, 0), (1, 1)),
    (nn.MaxPool2d(3, 2, 1, dilation=2), "max_pool", (3, 3), (2, 2), (1, 1), (2, 2)),
    (lambda x: F.max_pool2d(x, 3, 2), "max_pool", (3, 3), (2, 2), (0, 0), (1, 1)),
    (lambda x: F.max_pool2d(x, 3, 2, 1, 2), "max_pool", (3, 3), (2, 2), (1, 1), (2, 2)),
    (lambda x: F.max_pool2d(x, kernel_size=[2, 3]), "max_pool", (2, 3), (2, 3), (0, 0), (1, 1)),
    (lambda x: F.avg_pool2d(x, 3, 2, 1), "avg_pool", (3, 3), (2, 2), (1, 1), (1, 1)),
    (nn.AvgPool2d(2, 1), "avg_pool", (2, 2), (1, 1), (0, 0), (1, 1)),
]


@pytest.mark.parametrize(("apply", "kind", "kernel", "stride", "padding", "dilation"), WINDOWS)
def test_windows(apply, kind, kernel, stride, padding, dilation):
    result = read(apply)
    assert (result.kind, result.kernel, result.stride) == (kind, kernel, stride)
    assert (result.padding, result.dilation) == (padding, dilation)


def test_reach_is_what_one_output_spans_and_whether_padding_counts():
    assert read(nn.Conv2d(4, 4, (3, 5), dilation=(2, 3))).reach == (5, 13)
    assert read(nn.AvgPool2d(3, 2, 1)).count_padding
    for apply in (
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, False, False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ):
        assert not read(apply).count_padding


class _Placing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, return_indices=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(torch.relu(self.conv(x)))[0].mean((2, 3))


def test_a_max_pool_that_gives_places_too_is_no_plain_one():
    network = networks.wrap(_Placing(), input_size=10)
    kinds = [one.kind for one in network.operations]
    head = ["adaptive_pool", "flatten"]  # the mean
    assert kinds == ["placeholder", "normalize", "conv", "relu", "other", "other", *head]
    assert network(toys.image(10)).shape == (1, 4)
