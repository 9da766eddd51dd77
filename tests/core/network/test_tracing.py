"""Tracing takes in-place operations out, keeps every number, and leaves the module alone."""

import operator
import re

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.errors import CannotTrace

pytestmark = pytest.mark.usefixtures("one_thread")


class Toy(nn.Module):
    """conv1, then what `middle(self, x)` says, conv2, mean over the map, linear."""

    def __init__(self, middle):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(inplace=True)
        self.same = nn.Identity()
        self.fc = nn.Linear(4, 3)
        self.middle = middle

    def forward(self, x):
        return self.fc(self.middle(self, self.conv1(x)).mean((2, 3)))


def alone(change):
    """The result captured, the old name not used again."""

    def middle(net, x):
        return net.conv2(change(net, x))

    return middle


def forgotten(change):
    """In place, the result not captured: the old name means the new value from here on."""

    def middle(net, x):
        change(net, x)
        return net.conv2(x) + x

    return middle


def captured(change):
    def middle(net, x):
        y = change(net, x)
        return net.conv2(y) + x

    return middle


IN_PLACE = {
    "module": lambda net, x: net.relu(x),
    "functional": lambda net, x: F.relu(x, inplace=True),
    "functional, by place": lambda net, x: F.relu(x, True),
    "function with _": lambda net, x: F.relu_(x),
    "torch function with _": lambda net, x: torch.relu_(x),
    "method": lambda net, x: x.relu_(),
    "leaky function with _": lambda net, x: F.leaky_relu_(x, 0.2),
    "elu function with _": lambda net, x: F.elu_(x),
    "tanh function with _": lambda net, x: torch.tanh_(x),
    "hardtanh function with _": lambda net, x: F.hardtanh_(x),
    "relu6": lambda net, x: F.relu6(x, True),
    "silu": lambda net, x: F.silu(x, inplace=True),
    "clamp method": lambda net, x: x.clamp_(min=0.1),
    "add method": lambda net, x: x.add_(1),
    "twice": lambda net, x: net.relu(net.relu(x).sub_(0.1)),
}


def wrapped(module: nn.Module) -> networks.Network:
    return networks.wrap(module, input_size=12, **toys.PLAIN)


def assert_same_scores(module: nn.Module) -> networks.Network:
    network, images = wrapped(module), toys.image(12, count=2)
    with torch.no_grad():
        torch.testing.assert_close(network(images), module(images))
    return network


@pytest.mark.parametrize("style", [alone, captured, forgotten])
@pytest.mark.parametrize("change", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_in_place_operations_give_the_same_scores_and_do_not_overwrite(change, style):
    module = toys.seeded(lambda: Toy(style(change)))
    network, images = assert_same_scores(module), toys.image(12, count=2)
    # Asked for together with what comes after it, the convolution must still be its own self.
    result = network.activations(images, ["conv1", network.layers[-1].name])
    with torch.no_grad():
        torch.testing.assert_close(result["conv1"], module.conv1(images))


ALIASES = {
    "identity": lambda net, x: net.same(x),
    "dropout in eval mode": lambda net, x: net.drop(x),
    "functional dropout": lambda net, x: F.dropout(x, training=False),
}


@pytest.mark.parametrize("alias", ALIASES.values(), ids=ALIASES.keys())
@pytest.mark.parametrize("which", ["the alias is changed", "the original is changed"])
def test_another_name_for_the_same_tensor_changes_with_it(alias, which):
    def middle(net, x):
        y = alias(net, x)
        net.relu(y if which == "the alias is changed" else x)
        return net.conv2(x) + y

    assert_same_scores(toys.seeded(lambda: Toy(middle)))


AUGMENTED = {
    "-=": lambda net, x: operator.isub(x, 0.3),
    "*=": lambda net, x: operator.imul(x, 2),
    "/=": lambda net, x: operator.itruediv(x, 3),
    "+= another map": lambda net, x: operator.iadd(x, net.conv2(x)),
}


@pytest.mark.parametrize("change", AUGMENTED.values(), ids=AUGMENTED.keys())
def test_augmented_assignment_gives_the_same_scores_or_is_refused(change):
    """Never silently another result: where it has another name, at least a word about it."""
    assert_same_scores(toys.seeded(lambda: Toy(alone(change))))
    for style in (captured, forgotten):
        module = toys.seeded(lambda style=style: Toy(style(change)))
        refusal = toys.refusal(wrapped, module)
        if refusal:
            assert re.match("CannotTrace: .*in-place", refusal)
        else:
            assert_same_scores(module)


def test_a_reused_module_is_a_layer_each_time():
    def middle(net, x):
        return net.relu(net.conv2(net.relu(net.conv2(x))))

    module = toys.seeded(lambda: Toy(middle))
    network, images = wrapped(module), toys.image(12)
    names = [layer.name for layer in network.layers]
    assert names.count("relu") == names.count("relu_1") == names.count("conv2_1") == 1
    with torch.no_grad():
        first = module.conv2(module.conv1(images)).relu()
        second = module.conv2(first).relu()
        result = network.activations(images, ["relu", "relu_1"])
    torch.testing.assert_close(result["relu"], first)
    torch.testing.assert_close(result["relu_1"], second)


# The user's module


def snapshot(module: nn.Module) -> dict[str, object]:
    """Everything about a module that a method could leave changed."""
    parts, own = dict(module.named_modules()), dict(module.named_parameters())
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "state": {name: value.tolist() for name, value in module.state_dict().items()},
        "same": {name: id(value) for name, value in own.items()},
        "modes": {name: part.training for name, part in parts.items()},
        "inplace": {name: getattr(part, "inplace", None) for name, part in parts.items()},
        "hooks": {name: [len(getattr(part, k)) for k in kinds] for name, part in parts.items()},
        "asks": {name: p.requires_grad for name, p in own.items()},
        "grad": {name: None if p.grad is None else p.grad.tolist() for name, p in own.items()},
        "parts": list(parts),
    }


@pytest.mark.parametrize("training", [True, False])
def test_the_users_module_is_left_alone_and_answers_as_in_eval_mode(training):
    module = toys.seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
    ).train(training)
    module[1].eval()  # a mixture of modes
    module[0].weight.requires_grad_(False)
    module[0].register_forward_hook(lambda *_: None)
    images = toys.image(12, count=2)
    module(images).sum().backward()
    before = snapshot(module)
    network = wrapped(module)
    scores = network(images)
    network.predict(images, k=1)
    network.activations(images, [layer.name for layer in network.layers])
    assert snapshot(module) == before
    torch.testing.assert_close(scores, module.eval()(images))
    module[6].weight.data.zero_()
    assert network.graph.get_submodule("6").weight.abs().sum() > 0  # a copy, not a view


class Conv(nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        for name, part in parts.items():
            setattr(self, name, part)


def conv(forward, name: str = "Own", **parts) -> nn.Module:
    """A convolution and other parts in a class of that name with that forward pass."""
    return toys.seeded(lambda: type(name, (Conv,), {"forward": forward})(parts))


def test_a_module_that_keeps_an_activation_is_wrapped_and_what_cannot_be_copied_says_so():
    def keeping(net, x):
        net.last = net.conv(x)
        return net.last.mean((2, 3))

    module = conv(keeping)
    scores = module(toys.image(12))  # with its graph, which cannot be copied
    torch.testing.assert_close(wrapped(module)(toys.image(12)), scores)
    assert module.last.grad_fn is not None
    module.history = [module.conv.weight * 2]
    with pytest.raises(CannotTrace, match="cannot be copied"):
        wrapped(module)


# Ways to write a forward pass


@pytest.mark.parametrize(
    "flat",
    [
        lambda x: x.view(x.size(0), -1),
        lambda x: x.view(x.shape[0], -1),
        lambda x: x.view(-1, 2 * 10 * 10),
        lambda x: x.reshape(x.size(0), -1),
        lambda x: torch.flatten(x, 1),
        lambda x: x.flatten(1),
    ],
)
def test_every_way_to_flatten(flat):
    last = toys.seeded(lambda: nn.Linear(200, 3))
    assert_same_scores(conv(lambda net, x: net.fc(flat(net.conv(x).relu())), fc=last))


def with_defaults(net, x, scale=3.0, mask=None):
    return net.conv(x).mean((2, 3)) * scale


def with_constants(net, x):
    return net.conv(x).mean((2, 3)) * net.weights + torch.ones(2)


def normalized_by_itself(net, x):
    """Its own module called normalize is not lost."""
    return net.conv(net.normalize(x)).mean((2, 3))


@pytest.mark.parametrize("forward", [with_defaults, with_constants, normalized_by_itself])
def test_ways_to_write_a_forward_pass(forward):
    module = conv(forward, weights=torch.tensor([1.0, -2.0]), normalize=nn.BatchNorm2d(3))
    assert_same_scores(toys.shake(module))


NOT_TRACED = {
    "TwoInputs": (lambda net, x, mask: net.conv(x * mask).mean((2, 3)), ["2 tensors", "mask"]),
    "NoScores": (lambda net, x: {"out": net.conv(x)}, ["dict", "one tensor"]),
    "NoInput": (lambda net: net.conv.weight, ["no image"]),
    "Map": (lambda net, x: net.conv(x), ["(N, classes)"]),
}


@pytest.mark.parametrize("name", NOT_TRACED)
def test_what_cannot_be_traced_says_why(name):
    forward, words = NOT_TRACED[name]
    module = conv(forward, name)
    before, refusal = snapshot(module), toys.refusal(wrapped, module)
    assert refusal.startswith("CannotTrace")
    assert [word for word in [*words, name] if word not in refusal] == []
    assert snapshot(module) == before
