"""What comes in is looked at once: refused, put right and noted, or good."""

import copy
import random

import numpy as np
import pytest
import torch
import toys
from students import built
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.errors import CannotTrace
from labsupport.core.network import catalog, checkup
from labsupport.methods import fooling

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (16, 16)


def wrapped(module: nn.Module, **settings) -> networks.Network:
    return networks.wrap(module, input_size=SIZE, **{**toys.PLAIN, **settings})


def one_unit():
    return {"fc": nn.Linear(8, 1)}


def by_hand(net, x):
    raised = net.end(net.conv(x)).exp()
    return raised / raised.sum(1, keepdim=True)


ENDS = {
    "scores": (lambda net, x: net.end(net.conv(x)), dict, []),
    "softmax": (lambda net, x: F.softmax(net.end(net.conv(x)), dim=1), dict, ["softmax"]),
    "layer": (
        lambda net, x: net.last(net.end(net.conv(x))),
        lambda: {"last": nn.Softmax(1)},
        ["softmax"],
    ),
    "then dropout": (
        lambda net, x: net.drop(net.end(net.conv(x)).softmax(-1)),
        lambda: {"drop": nn.Dropout()},
        ["softmax"],
    ),
    "sigmoid": (lambda net, x: torch.sigmoid(net.end(net.conv(x))), dict, ["sigmoid"]),
    "by hand": (by_hand, dict, ["logarithms"]),
    "one logit": (lambda net, x: net.end(net.conv(x)), one_unit, ["one logit"]),
    "one in a row": (lambda net, x: net.end(net.conv(x))[:, 0], one_unit, ["one logit"]),
    "one probability": (
        lambda net, x: net.end(net.conv(x)).sigmoid().squeeze(1),
        one_unit,
        ["sigmoid", "one logit"],
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_is_no_score_becomes_one_and_is_noted(name):
    forward, parts, words = ENDS[name]
    module, image = built(forward, parts), toys.image(*SIZE)
    network = wrapped(module)
    assert len(network.notes) == len(words)
    assert all(word in note for word, note in zip(words, network.notes, strict=True))
    own, scores = module(image), network(image)
    z = module.end(module.conv(image))
    if z.shape[1] == 1:
        torch.testing.assert_close(scores, torch.cat([torch.zeros(1, 1), z], 1))
        assert network.categories == ("class 0", "class 1")
        p = z.sigmoid().item()
    else:
        torch.testing.assert_close(scores.softmax(1), z.softmax(1))
        p = float(z.softmax(1).max())
        assert torch.equal(own.argmax(1), scores.argmax(1))
    told = {line.name: line.probability for line in network.predict(image)[0]}
    assert (
        told["class 1"] == pytest.approx(p)
        if z.shape[1] == 1
        else max(told.values()) == pytest.approx(p)
    )


def test_a_saturated_softmax_does_not_keep_an_attack_from_moving_the_picture():
    """What goes into the softmax is attacked, so it is the attack on the network without it."""
    plain = toys.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 3)))
    plain[1].weight.data *= 300
    image = toys.image(*SIZE)
    found = [
        fooling.fgsm(wrapped(module), image, eps=4 / 255)
        for module in (plain, nn.Sequential(plain, nn.Softmax(1)))
    ]
    torch.testing.assert_close(found[0].images, found[1].images)


# Held against the module itself


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, above):
        return 1.2 * above


def test_a_graph_that_differs_is_not_used(monkeypatch):
    """The network is opaque, then. Scores and gradient, each by itself, at the module's own size or
    at another one alone."""
    module = built(ENDS["scores"][0])

    def spoilt(change, size=None):
        real = checkup._recorded

        def changed(traced, at):
            way = real(traced, at)
            return (lambda images: change(way(images))) if size in (None, at) else way

        monkeypatch.setattr(checkup, "_recorded", changed)
        reason = wrapped(module).opaque
        monkeypatch.setattr(checkup, "_recorded", real)
        return reason

    other = (22, 20)
    assert spoilt(lambda scores: scores) == ""
    assert "other scores" in spoilt(lambda scores: 1.01 * scores, SIZE)
    assert "other scores" in spoilt(lambda scores: 1.01 * scores, other)
    assert "other scores" in spoilt(lambda s: 1.01 * s if len(s) == 1 else s)
    assert "another gradient" in spoilt(Scaled.apply)
    assert "another gradient" in spoilt(lambda s: Scaled.apply(s) if len(s) == 1 else s)
    assert "another gradient" in spoilt(torch.detach)


def test_check_false_leaves_the_comparison_out_and_says_so(monkeypatch):
    monkeypatch.setattr(checkup, "examined", None)
    network = wrapped(built(ENDS["softmax"][0]), check=False)
    assert network.notes == (
        "it ends in a softmax: what goes into that are its scores here",
        "not compared with the module (check=False)",
    )


def test_what_it_cannot_put_right_it_notes():
    batch = built(lambda net, x: net.end(net.conv(x - x.mean(0, keepdim=True))))
    torn = built(lambda net, x: net.end(net.conv(x).relu_().sub_(0.1)))
    dead = built(torch.no_grad()(lambda net, x: net.end(net.conv(x))))
    for module, words in (
        (batch, "others beside it"),
        (torn, "no gradient of it as it is written"),
        (dead, "no gradient leads"),
    ):
        assert words in wrapped(module).notes[-1]


@pytest.mark.filterwarnings("ignore")
def test_a_quantized_network_answers_without_a_gradient():
    plain = toys.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 4)))
    module = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear})
    network, image = wrapped(module), toys.image(*SIZE)
    torch.testing.assert_close(network(image), module(image))
    assert [note[:12] for note in network.notes] == ["what it says", "no gradient "]


def test_what_is_made_in_inference_mode_is_of_use_outside():
    with torch.inference_mode():
        network = wrapped(built(ENDS["scores"][0]))
    image = toys.image(*SIZE).requires_grad_()
    assert torch.autograd.grad(network(image)[0, 0], image)[0].any()


def test_random_numbers_go_on_as_if_nothing_had_been_wrapped():
    def drawn() -> tuple[float, ...]:
        numbers = np.random.rand()  # noqa: NPY002, the one that students use
        return random.random(), numbers, float(torch.rand(1))

    def drawing(net, x):
        drawn()
        return net.end(net.conv(x))

    module, before = built(drawing), (random.getstate(), np.random.get_state())  # noqa: NPY002
    state = torch.get_rng_state()
    expected = drawn()
    random.setstate(before[0])
    np.random.set_state(before[1])  # noqa: NPY002
    torch.set_rng_state(state)
    wrapped(module)
    assert drawn() == expected


def test_weights_from_a_file_go_through_the_same_door(tmp_path):
    recipe = catalog.recipe("lenet5")
    state = copy.deepcopy(catalog.build(recipe, *catalog.state(recipe, "bundled")).state_dict())
    torch.save(state, tmp_path / "good.pt")
    image = toys.image(28)
    network = networks.load("lenet5", weights=tmp_path / "good.pt")
    assert torch.equal(network(image), networks.load("lenet5")(image))
    state["fc3.weight"][0, 0] = torch.nan
    torch.save(state, tmp_path / "damaged.pt")
    with pytest.raises(CannotTrace, match="LeNet5 gives scores that are no numbers"):
        networks.load("lenet5", weights=tmp_path / "damaged.pt")
