"""What students write is recorded right at every size, or refused with their own line."""

import concurrent.futures
import copy
import pickle
import re
from dataclasses import dataclass, replace

import pytest
import torch
import toys
from students import RIGHT, built
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import BadImage
from labsupport.methods import activations, anatomy, backprop, weights
from labsupport.methods.occlusion import occlusion_map

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, OTHER = (16, 16), (20, 18)


def wrapped(module: nn.Module, **settings) -> networks.Network:
    return networks.wrap(module, input_size=SIZE, **{**toys.PLAIN, **settings})


def assert_right(module: nn.Module, network: networks.Network, sizes=(SIZE, OTHER)) -> None:
    """The module's own scores and gradient, for one image and for three, in two sizes."""
    for size in sizes:
        for count in (1, 3):
            own, ours = (toys.image(*size, count=count).requires_grad_() for _ in range(2))
            expected, scores = module(own), network(ours)
            torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
            weights = torch.linspace(-1, 1, 4)
            (wanted,) = torch.autograd.grad((expected * weights).sum(), own)
            (found,) = torch.autograd.grad((scores * weights).sum(), ours)
            assert float((found - wanted).norm()) <= 1e-3 * float(wanted.norm())


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_what_students_write_gives_the_modules_own_scores_and_gradient(name):
    module = built(*RIGHT[name])
    assert_right(module, wrapped(module))


def test_a_network_that_looks_at_sizes_is_another_one_at_another_size():
    network = wrapped(built(*RIGHT["resized"]))
    there, image = network.at(OTHER), toys.image(*OTHER)
    assert network.at(SIZE) is network
    assert "interpolate" in [layer.name for layer in there.layers]
    assert "interpolate" not in [layer.name for layer in network.layers]
    assert network.activations(image, ["conv"])["conv"].shape == (1, 8, 16, 16)
    assert network.shapes(OTHER)[network.node("conv")] == (1, 8, 16, 16)
    assert network.placed(network.target(("conv", 0, (15, 15))), OTHER)
    assert networks.receptive_box(network, "conv", (0, 0), SIZE) == (0, 0, 2, 2)
    assert networks.receptive_box(network, "conv", (8, 8), OTHER) == (7, 8, 11, 12)
    plain = wrapped(built(*RIGHT["squeeze and excite"]))
    assert plain.at(OTHER) is plain  # it was told other sizes and did the same
    only = there.copy(graph=there.graph)
    with pytest.raises(BadImage, match="one size alone"):
        only(toys.image(*SIZE))


def test_methods_follow_a_network_to_another_size():
    """As if it had been wrapped for that size."""
    module, image = built(*RIGHT["SAME padding"]), toys.image(17, 18)
    found = []
    for network in (wrapped(module), networks.wrap(module, input_size=(17, 18), **toys.PLAIN)):
        assert any(layer.name == "pad" for layer in network.at((17, 18)).layers)
        found.append(
            (
                *(one.values for one in backprop.gradients(network, image, 1).values()),
                occlusion_map(network, image, 1, window=5, stride=4).values["score"],
                activations.class_votes(network, image, ("relu", 1)).values,
                torch.tensor(anatomy.anatomy(network, (17, 18)).multiply_adds),
                torch.tensor(networks.receptive_box(network, "relu", (2, 2), (17, 18))),
            )
        )
    for one, other in zip(*found, strict=True):
        assert one.any()
        torch.testing.assert_close(one, other)


def test_networks_are_recorded_in_several_threads_at_once():
    module, apply = built(*RIGHT["own function"]), vars(torch.autograd.Function)["apply"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        networks_ = list(pool.map(lambda _: wrapped(module), range(8)))
    assert vars(torch.autograd.Function)["apply"] is apply
    assert len({str(network.graph.graph) for network in networks_}) == 1


def test_a_recorded_network_is_pickled_as_it_is():
    """Not traced anew: what was recorded may be what no tracer understands."""
    for forward in (RIGHT["own function"][0], RIGHT["places"][0]):
        network, image = wrapped(built(forward, RIGHT["places"][1])), toys.image(*SIZE)
        vars(network)["_traced"] = replace(network._traced, origin=None)  # a test's own lambda
        other = pickle.loads(pickle.dumps(network))
        assert torch.equal(other(image), network(image))
        assert [layer.name for layer in other.layers] == [layer.name for layer in network.layers]


# Opaque, or refused, with the line


def branching(net, x):
    if x.mean() > 0.5:
        x = x * 2
    return net.end(net.conv(x))


def overwriting(net, x):
    x = net.conv(x)
    turned = x.transpose(1, 2)
    turned.relu_()
    return net.end(x)


def watched(kind: str) -> nn.Module:
    module = built(lambda net, x: net.end(net.conv(x)))
    getattr(module.conv, f"register_full_backward_{kind}")(lambda *_: None)
    return module


OPAQUE = {
    "branch": (
        branching,
        r"    if x\.mean\(\) > 0\.5:\n\(line \d+ of test_recorder\.py, in branching\)",
    ),
    "number": (lambda net, x: net.end(net.conv(x) * x.max().item()), r"x\.max\(\)\.item\(\)"),
    "NumPy": (lambda net, x: net.end(net.conv(torch.tensor(x.numpy()))), "NumPy"),
    "in place": (overwriting, r"in-place .*    turned\.relu_\(\)\n\(line"),
    "one by one": (
        lambda net, x: torch.stack([net.end(net.conv(i[None]))[0] for i in x]),
        "image by",
    ),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_what_cannot_be_recorded_is_opaque_and_names_the_students_line(name):
    forward, words = OPAQUE[name]
    module, image = built(forward), toys.image(*SIZE)
    network = wrapped(module)
    assert re.search(words, network.opaque, re.DOTALL)
    assert network.opaque in "".join(network.notes)
    torch.testing.assert_close(network(image), module(image))
    toys.assert_refused((f"BadSetting: .*{words}.*filters", weights.filters, network))


def test_what_does_not_run_or_hides_gradients_is_refused():
    failing = built(lambda net, x: net.end(net.conv(x) @ net.fc.weight))
    toys.assert_refused(
        (r"CannotTrace: .*says: .*    failing = built", wrapped, failing),
        ("CannotTrace: .*'conv'.*backward hook.*remove", wrapped, watched("hook")),
        ("CannotTrace: .*'conv'.*backward hook.*remove", wrapped, watched("pre_hook")),
    )


# What is put around a module, and what it gives


@dataclass
class Output:
    hidden: torch.Tensor
    logits: torch.Tensor


def test_wrappers_are_taken_off_and_results_are_searched_for_scores():
    plain = built(lambda net, x: net.end(net.conv(x)))
    parts = built(
        lambda net, x: {"maps": net.conv(x), "aux": x[:, 0, 0], "logits": net.end(net.conv(x))}
    )
    pair = built(lambda net, x: (net.conv(x), [net.end(net.conv(x)), 2 * net.end(net.conv(x))]))
    named = built(lambda net, x: Output(net.conv(x), net.end(net.conv(x))))
    expected, image = plain(toys.image(16)), toys.image(16)
    for module, note in (
        (nn.DataParallel(plain), ()),
        (torch.compile(plain), ()),
        (nn.Sequential(nn.DataParallel(plain)), ()),
        (parts, ("of the dict that its forward gives, ['logits'] are the scores",)),
        (named, ("of the Output that its forward gives, ['logits'] are the scores",)),
        (pair, ("of the tuple that its forward gives, [1][0] are the scores",)),
    ):
        network = wrapped(module)
        torch.testing.assert_close(network(image), expected)
        assert network.notes == note
    assert wrapped(nn.DataParallel(plain)).name == "Net"


def test_other_precisions_are_cast_and_grey_networks_get_grey_images():
    image = toys.image(*SIZE, count=2)
    plain = built(lambda net, x: net.end(net.conv(x)))
    for kind in (torch.float64, torch.bfloat16):
        module = copy.deepcopy(plain).to(kind)
        network = wrapped(module)
        assert "single precision" in network.notes[0]
        assert next(module.parameters()).dtype == kind
        torch.testing.assert_close(network(image), module.float()(image))
    grey = built(lambda net, x: net.end(net.one(x)), lambda: {"one": nn.Conv2d(1, 8, 3)})
    network = wrapped(grey, mean=(0.25,), std=(0.5,))
    expected = grey((image.mean(1, keepdim=True) - 0.25) / 0.5)
    torch.testing.assert_close(network(image), expected)
    assert (network.mean, network.std) == ((0.25,) * 3, (0.5,) * 3)


# The user's module and its hooks


def test_hooks_that_store_keep_to_themselves():
    kept, order = {}, []

    def storing(module, given, result, seen=order):
        kept[type(module).__name__] = result
        LAST.append(result)
        seen.append(1)

    module = built(
        lambda net, x: net.end(net.chain(x)), lambda: {"chain": nn.Sequential(nn.Conv2d(3, 8, 3))}
    )
    module.chain.register_forward_hook(storing)
    module.chain[0].register_forward_hook(storing)
    assert_right(copy.deepcopy(module), wrapped(module))
    kept.clear(), order.clear(), LAST.clear()
    network = wrapped(module)
    network.predict(toys.image(*SIZE))
    assert (kept, order, LAST) == ({}, [], [])


LAST: list[torch.Tensor] = []
