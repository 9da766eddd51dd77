"""A part that was rewritten gives the numbers of the network as it was traced."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.network import graphs, rewrites

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_as_traced(network: networks.Network, images: torch.Tensor) -> None:
    """Scores to the last bit. The gradient: in double precision to nine digits, and in single
    precision as near to that as the traced network's own is."""
    whole = graphs.subgraph(network.graph, (network.output,))
    part = network.part((network.output,))
    assert torch.equal(network.scores(images), whole(images)[0])
    exact, result = (
        gradient(copy.deepcopy(one).double(), images.double()) for one in (whole, part)
    )
    peak = float(exact.abs().max())
    assert peak > 0
    # Some twenty layers of sums over thousands of products stay under 1e-12 of the peak in double
    # precision; a wrong border or a dropped term is larger than 1e-9 by far.
    torch.testing.assert_close(result, exact, rtol=1e-9, atol=1e-9 * peak)
    traced, rewritten = gradient(whole, images), gradient(network.scores, images)
    # Single precision: another order of the same sums, so the traced network's own error, times
    # four, or a few units in the last place (6e-8) where that one happens to have none.
    rounding = float((traced - exact).abs().max())
    assert float((rewritten - exact).abs().max()) <= 4 * rounding + 1e-6 * peak


def gradient(scores: Callable[[torch.Tensor], Any], images: torch.Tensor) -> torch.Tensor:
    """Of the sum of squared scores, at the images."""
    images = images.detach().clone().requires_grad_(True)
    result = scores(images)
    result = result if isinstance(result, torch.Tensor) else result[0]
    return torch.autograd.grad(result.square().sum(), images)[0]


# ReLUs in place


class Crossroads(nn.Module):
    """ReLUs behind all that may be overwritten, and behind all that may not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        once = F.relu(self.first(x))
        twice = self.second(once)
        both = twice + torch.relu(twice)  # read again: stays
        curved = F.relu(torch.sigmoid(self.norm(both)))  # sigmoid's way back reads its result
        joined = torch.relu(torch.cat([curved, F.relu(both + once), once], 1))
        return F.relu(self.head(joined.mean((2, 3))))


def test_relus_overwrite_only_what_nobody_reads():
    module = toys.seeded(Crossroads)
    network = networks.wrap(module, input_size=6, **toys.PLAIN)
    part = network.part((network.output,))
    quick = [node.name for node in part.graph.nodes if node.target is torch.relu_]
    assert len(quick) == 4
    assert not [node for node in network.graph.graph.nodes if node.target is torch.relu_]
    images, slopes = toys.image(6, 6, count=2).requires_grad_(True), []
    for way in (module.eval(), network):
        scores = way(images)
        slopes.append((scores, *torch.autograd.grad(scores.square().sum(), images)))
    for one, other in zip(*slopes, strict=True):
        assert torch.allclose(one, other, atol=1e-7)


@pytest.mark.parametrize(
    ("build", "size", "kept"),
    [(lambda: Crossroads(), 6, ["first", "head"]), (lambda: Pooled(), 27, ["first"])],
)
def test_what_is_asked_for_is_not_overwritten_and_stays_where_it_was(build, size, kept):
    network = networks.wrap(toys.seeded(build), input_size=size, **toys.PLAIN)
    names, image = [layer.name for layer in network.layers], toys.image(size)
    together = network.activations(image, names)
    assert len(names) > 8
    for name in names:
        assert torch.equal(network.activations(image, [name])[name], together[name]), name
    for name in kept:
        assert float(together[name].min()) < 0, name
    assert float(together["relu"].min()) == 0.0
    assert together["relu"].shape[2:] == (size, size)  # before its max-pool


# ReLUs behind max-pools


class Pooled(nn.Module):
    """ReLUs before max-pools: one that may go behind it, and those that may not."""

    def __init__(self, **pool: object) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.third = nn.Conv2d(5, 2, 1)
        self.pool = nn.MaxPool2d(3, **pool)
        self.head = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        once = self.pool(F.relu(self.first(x)))
        read_twice = F.relu(self.second(once))
        twice = self.pool(read_twice) + read_twice.mean((1, 2, 3), keepdim=True)
        pools_alone = F.max_pool2d(self.third(twice), 2, 1)
        parts = (twice.mean((2, 3)), pools_alone.relu().mean((2, 3)))
        return self.head(torch.cat(parts, 1))


def order(part: torch.fx.GraphModule) -> list[str]:
    kinds = [rewrites.operation(n, part).kind for n in part.graph.nodes if n.op != "output"]
    return [kind for kind in kinds if kind in {"conv", "relu", "max_pool"}]


@pytest.mark.parametrize("pool", [{}, {"stride": 2}, {"stride": 1, "padding": 1}])
def test_a_relu_that_only_a_max_pool_reads_goes_behind_it(pool):
    network = networks.wrap(toys.seeded(lambda: Pooled(**pool)), input_size=27, **toys.PLAIN)
    part = network.part((network.output,))
    assert order(part)[:6] == ["conv", "max_pool", "relu", "conv", "relu", "max_pool"]
    assert order(network.graph)[:3] == ["conv", "relu", "max_pool"]
    assert_as_traced(network, toys.image(27, count=2))


def test_windows_without_a_positive_number_pass_nothing_on():
    """And windows with several equal ones pass the gradient to the same place as before."""
    network = networks.wrap(toys.seeded(lambda: Pooled(stride=2)), input_size=16, **toys.PLAIN)
    with torch.no_grad():
        network.graph.first.weight.copy_((network.graph.first.weight * 4).round() / 4)
        network.graph.first.bias.copy_(torch.tensor([-9.0, 0.0, 0.5, -0.5]))
    images = (toys.image(16, 16, count=2) * 2).round() / 2
    first = network.activations(images, ["first"])["first"]
    assert bool((first[:, 0] < 0).all())
    windows = F.unfold(first[:, 2:3], 3, stride=2)
    assert bool(((windows == windows.amax(1, keepdim=True)).sum(1) > 1).any())
    assert_as_traced(network, images)


# Means for pools


@pytest.mark.parametrize(("size", "means"), [(1, 2), ((1, 1), 2), ((1, 3), 1), (2, 1)])
def test_a_pool_that_averages_whole_maps_is_their_mean_and_no_other(size, means):
    pool = toys.Applied(lambda x: F.adaptive_avg_pool2d(x, size))  # another one is a chain's end
    network = toys.chain(lambda: [nn.Conv2d(3, 4, 3), pool], input_size=9, **toys.PLAIN)
    calls = [node.target for node in network.part((network.output,)).graph.nodes]
    assert calls.count(torch.mean) == means
    assert_as_traced(network, toys.image(9, 9, count=2))


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(16), toys.Applied(F.instance_norm)])
def test_instance_norms_take_a_gradient_in_any_order_of_memory(norm):
    """PyTorch's own gives another one to a single image where it lies channels-last."""
    network = toys.chain(lambda: [nn.Conv2d(3, 16, 3, padding=1), norm], input_size=32)
    layer = next(one.name for one in network.layers if "norm" in one.name or one.name == "1")
    part, image = network.part((network.node(layer),)), toys.image(32).requires_grad_(True)
    above = toys.image(32).expand(1, 3, 32, 32).repeat(1, 6, 1, 1)[:, :16].contiguous()
    usual, last = (
        torch.autograd.grad(part(image)[0], image, above.contiguous(memory_format=order))[0]
        for order in (torch.contiguous_format, torch.channels_last)
    )
    torch.testing.assert_close(last, usual)


# The convolution that reads the image


@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (7, 7), (1, 1)])
@pytest.mark.parametrize("stride", [(2, 2), (3, 1), (4, 4)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)])
def test_by_phases_is_the_convolutions_own_gradient(kernel, stride, padding):
    images, weight = numbers(2, 3, 9, 12).requires_grad_(), numbers(5, 3, *kernel)
    result = F.conv2d(images, weight, stride=stride, padding=padding)
    above = numbers(*result.shape)
    (expected,) = torch.autograd.grad(result, images, above)
    found = rewrites.by_phases(above, weight, (9, 12), stride, padding)
    assert found.shape == images.shape
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def own(*given: torch.Tensor | None) -> torch.Tensor:
    return rewrites.image_convolution(*given, (2, 3), (1, 0))


def usual(*given: torch.Tensor | None) -> torch.Tensor:
    return F.conv2d(*given, (2, 3), (1, 0))


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).double()


def test_second_derivatives_and_functional_transforms_pass_through():
    weight, bias, images = numbers(5, 3, 3, 3), numbers(5), numbers(2, 3, 7, 8)
    wanted = images.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: own(x, weight, bias).square().sum(), wanted)
    assert torch.autograd.gradgradcheck(lambda x: own(x, weight, None).square().sum(), wanted)
    both = [lambda x, way=way: way(x, weight, bias).square().sum() for way in (own, usual)]
    for change in (torch.func.grad, torch.func.hessian):
        torch.testing.assert_close(*(change(one)(images) for one in both))
    each = [torch.func.vmap(torch.func.grad(one))(images[:, None]) for one in both]
    torch.testing.assert_close(*each)


@pytest.mark.parametrize("trained", [0, 1])
def test_weights_that_are_trained_get_their_gradient(trained):
    weights = [numbers(5, 3, 3, 3), numbers(5)]
    weights[trained].requires_grad_(True)
    images = numbers(2, 3, 7, 8).requires_grad_(True)
    result, expected = (
        torch.autograd.grad(way(images, *weights).square().sum(), (images, weights[trained]))
        for way in (own, usual)
    )
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize(
    ("settings", "rewritten"),
    [
        ({}, True),
        ({"bias": False, "padding": 1}, True),
        ({"stride": (1, 2)}, True),
        ({"stride": 1}, False),
        ({"dilation": 2}, False),
        ({"groups": 3}, False),
        ({"padding": 1, "padding_mode": "reflect"}, False),
        ({"stride": 1, "padding": "same"}, False),
    ],
)
def test_the_strided_convolution_of_an_image_is_rewritten_and_no_other(settings, rewritten):
    network = toys.chain(
        lambda: [nn.Conv2d(3, 6, 3, **{"stride": 2, **settings}), nn.Tanh()],
        input_size=11,
        **toys.PLAIN,
    )
    part = network.part((network.output,))
    calls = [node.target for node in part.graph.nodes]
    assert (rewrites.image_convolution in calls) == rewritten
    assert_as_traced(network, toys.image(11, 11, count=2))


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "googlenet", "squeezenet1_1", "vgg11"])
def test_torchvisions_networks_keep_their_numbers(name):
    network = networks.load(name, weights="random")
    toys.narrowed(network.graph)  # twice in double precision it takes gigabytes
    assert_as_traced(network, toys.image(96, 80))


class Tokens(nn.Module):
    """Maps that were rows of channels for a while, as between convolutions and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.fc = nn.Linear(6 * 5 * 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv(x)
        rows = maps.flatten(2).transpose(1, 2).contiguous() * 1.5
        return self.fc(self.norm(rows.transpose(1, 2).reshape(maps.shape)).flatten(1))


def test_a_batch_norms_gradient_is_right_for_one_image_alone():
    """PyTorch's own is not, where the maps and the gradient lie in two orders of memory."""
    module = toys.shake(toys.seeded(Tokens))
    network, images = networks.wrap(module, input_size=(7, 6)), toys.image(7, 6, count=2)
    own = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(own)[:, 1].sum(), own)
    step = torch.zeros_like(images[:1])
    step[0, 1, 3, 3] = 1e-2
    with torch.no_grad():  # the network is linear
        slope = float((network(images[:1] + step) - network(images[:1]))[0, 1]) / 1e-2
    for count in (1, 2):
        own = images[:count].clone().requires_grad_()
        (found,) = torch.autograd.grad(network(own)[:, 1].sum(), own)
        torch.testing.assert_close(found, expected[:count])
        assert float(found[0, 1, 3, 3]) == pytest.approx(slope, rel=1e-3)
