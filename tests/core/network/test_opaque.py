"""A network that cannot be recorded answers as its module does, or says what is missing."""

import concurrent.futures
import copy

import pytest
import torch
import toys
from students import built
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.errors import BadImage
from labsupport.core.network.incremental import Output, Plan
from labsupport.methods import activations, anatomy, backprop, codes, tasks, weights
from labsupport.methods.occlusion import occlusion_map
from labsupport.methods.style import with_average_pooling

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (16, 14)


def branching(net, x):
    """Dark images go another way; the ReLU works in place."""
    if x.mean() < 0.2:
        return net.end(net.conv(x))
    x = net.act(net.conv(x))
    return net.end(F.relu(net.second(net.act(2 * x)), inplace=True).clamp(min=0, max=0.4))


MODULE = built(branching, lambda: {"act": nn.ReLU(inplace=True)})


@pytest.fixture(scope="module")
def network():
    return networks.wrap(MODULE, input_size=SIZE, **toys.PLAIN)


def test_scores_gradients_and_what_modules_give_are_the_modules_own(network):
    images = toys.image(*SIZE, count=2)
    torch.testing.assert_close(network(images), MODULE(images))
    own = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(MODULE(own)[:, 1].sum(), own)
    torch.testing.assert_close(backprop.gradient(network, images, 1).values, expected)
    assert [(one.name, one.kind) for one in network.layers] == [
        *(("conv", "conv"), ("act", "relu"), ("act_1", "relu"), ("second", "conv")),
        *(("fc", "linear"), ("scores", "other")),
    ]
    maps = MODULE.conv(images).detach()
    found = network.activations(images, ["second", "conv", "act"])
    torch.testing.assert_close(found["conv"], maps)  # not what the ReLU makes of it in place
    torch.testing.assert_close(found["act"], maps.relu())
    torch.testing.assert_close(found["second"], MODULE.second(2 * maps.relu()).detach())


def test_a_run_ends_with_what_is_wanted(network, monkeypatch):
    own = network.graph.get_submodule("network").origin.module
    monkeypatch.setattr(own.second, "forward", lambda _: pytest.fail("it goes on"))
    network.activations(toys.image(*SIZE), ["act", "conv"])
    network.up_to("act_1")(toys.image(*SIZE))


def test_scores_have_a_gradient_at_what_a_module_gives(network):
    image = toys.image(*SIZE)
    maps, scores = network.part((network.node("conv"), network.output))(image.requires_grad_())
    (found,) = torch.autograd.grad(scores[0, 1], maps)
    own = maps.detach().requires_grad_()
    scores = MODULE.end(F.relu(MODULE.second(2 * own.relu())).clamp(max=0.4))
    (expected,) = torch.autograd.grad(scores[0, 1], own)
    torch.testing.assert_close(found, expected)


class Rule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, rule, ceiling):
        ctx.save_for_backward(x)
        ctx.rule, ctx.ceiling = rule, ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx, above):
        (x,) = ctx.saved_tensors
        inside = (x > 0) & (x < (ctx.ceiling or float("inf")))
        return {"guided": above.relu() * inside, "deconvnet": above.relu()}[ctx.rule], None, None


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_rules_meet_its_relus_while_it_runs(network, rule):
    image = toys.image(*SIZE)
    own = image.clone().requires_grad_()
    maps = Rule.apply(2 * Rule.apply(MODULE.conv(own), rule, None), rule, None)
    maps = Rule.apply(Rule.apply(MODULE.second(maps), rule, None), rule, 0.4)
    (expected,) = torch.autograd.grad(MODULE.end(maps)[0, 1], own)
    torch.testing.assert_close(backprop.gradient(network, image, 1, rule=rule).values, expected)


@pytest.mark.parametrize("rule", ["backprop", "guided", "deconvnet"])
def test_rules_meet_a_relu_that_is_mapped_over_images(rule):
    def mapped(net, x):
        act = torch.vmap(torch.relu) if x.mean() < 9 else torch.relu
        return net.end(act(net.second(net.conv(x))))

    module = built(mapped)
    network = networks.wrap(module, input_size=SIZE, **toys.PLAIN)
    image = toys.image(*SIZE)
    own = image.clone().requires_grad_()
    maps = module.second(module.conv(own))
    act = maps.relu() if rule == "backprop" else Rule.apply(maps, rule, None)
    (expected,) = torch.autograd.grad(module.end(act)[0, 1], own)
    torch.testing.assert_close(backprop.gradient(network, image, 1, rule=rule).values, expected)


def test_boxes_are_measured_and_occlusion_computes_plainly(network):
    assert network.layer("conv").receptive_field is None
    assert networks.receptive_box(network, "conv", (4, 5)) == (4, 3, 7, 6)
    assert networks.receptive_box(network, "second", (0, 1)) == (0, 0, 5, 3)
    assert not Plan(network, (Output(network.output),), SIZE).possible
    image = toys.image(*SIZE)
    result = occlusion_map(network, image, 1, window=5, stride=5, fill="black")
    hidden = image.clone()
    hidden[..., 5:10, :5] = 0
    expected = MODULE(hidden)[0, 1].detach()
    torch.testing.assert_close(result.values["score"][1, 0], expected)


def test_what_needs_the_graph_says_why_there_is_none(network):
    image = toys.image(*SIZE)
    toys.assert_refused(
        *(
            (rf"BadSetting: .*x\.mean\(\) < 0\.2.*{words}", *call)
            for words, *call in (
                ("filters", weights.filters, network, "conv"),
                ("transposes", backprop.deconvnet, network, image, ("second", 1)),
                ("random weights", backprop.randomized, network, "second"),
                ("random weights", backprop.cascading_randomization, network, image, 1),
                ("votes", activations.class_votes, network, image, ("conv", 1)),
                ("pools", with_average_pooling, network),
                ("costs", anatomy.anatomy, network),
                ("class maps", tasks.class_map, network, image, 1),
            )
        ),
        ("BadSetting: .*name the layer", codes.code_layer, network),
        ("BadImage: .*'act' is not computed", network.activations, 0 * image, ["act"]),
    )


def test_it_is_copied_and_runs_in_several_threads(network):
    images = [toys.image(*SIZE, seed=seed) for seed in range(6)]
    other = copy.deepcopy(network)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda one: other.activations(one, ["second"])["second"], images))
    for image, maps in zip(images, found, strict=True):
        torch.testing.assert_close(maps, network.activations(image, ["second"])["second"])
    next(other.graph.get_submodule("network").origin.module.parameters()).data.zero_()
    assert not torch.equal(other(images[0]), network(images[0]))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_gives_scores_and_gradients():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    scripted = networks.wrap(torch.jit.script(plain), input_size=SIZE, **toys.PLAIN)
    image = toys.image(*SIZE)
    assert "TorchScript" in scripted.opaque
    torch.testing.assert_close(scripted(image), plain(image))
    expected = backprop.gradient(networks.wrap(plain, input_size=SIZE, **toys.PLAIN), image, 1)
    found = backprop.gradient(scripted, image, 1)
    torch.testing.assert_close(found.values, expected.values)
    toys.assert_refused(("no ReLU", backprop.gradient, scripted, image, 1, {"rule": "guided"}))
    logits = nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    one = networks.wrap(torch.jit.script(logits), input_size=SIZE)
    assert one.categories == ("class 0", "class 1")
    with pytest.raises(BadImage, match="does not fit"):
        scripted(toys.image(2))
