"""Gradients by the three rules against a ReLU written by hand, Captum, and closed forms."""

import copy
import functools
import math
import threading
from dataclasses import replace

import pytest
import students
import torch
import toys
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.images.similarity import rank_correlation
from labsupport.core.network.rules import RULES
from labsupport.methods import backprop as b
from labsupport.methods import tasks

pytestmark = pytest.mark.usefixtures("one_thread")


# A reference that knows no graph: every call of a ReLU is caught while the plain module runs


class SlideReLU(torch.autograd.Function):
    """The slide's formulas, letter by letter."""

    @staticmethod
    def forward(ctx, f, rule):
        ctx.save_for_backward(f)
        ctx.rule = rule
        return f.clamp(min=0)

    @staticmethod
    def backward(ctx, above):
        (f,) = ctx.saved_tensors
        below = {
            "backprop": (f > 0) * above,
            "deconvnet": (above > 0) * above,
            "guided": (f > 0) * (above > 0) * above,
        }
        return below[ctx.rule], None


class EveryReLU(TorchFunctionMode):
    """While it is entered, each ReLU is a `SlideReLU`, and counted."""

    CALLS = frozenset({F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_})

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule, self.count = rule, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in self.CALLS:
            self.count += 1
            return SlideReLU.apply(args[0], self.rule)
        return function(*args, **(kwargs or {}))


def by_hand(name, network, image, rule, index):
    """The gradient of a score, and how many ReLUs were met."""
    google = name in ("googlenet", "inception_v3")
    settings = {"transform_input": False, "init_weights": False} if google else {}
    if name == "inception_v3":
        settings["aux_logits"] = True
    module = toys.bare(name, network, **settings)
    pixels = image.clone(memory_format=torch.channels_last).requires_grad_()
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (network.mean, network.std))
    with EveryReLU(rule) as mode:
        score = module((pixels - mean) / std)[:, index].sum()
    return torch.autograd.grad(score, pixels)[0], mode.count


# name: (image size, ReLUs counted in the papers' tables: one for each convolution and each fully
# connected layer but the last; in DenseNet one before each convolution but the first, and the
# first's and the last norm's)
FAMILIES = {
    "alexnet": ((80, 72), 5 + 2),
    "vgg16": ((48, 40), 13 + 2),
    "resnet18": ((64, 72), 1 + 8 * 2),
    "squeezenet1_1": ((72, 64), 1 + 8 * 3 + 1),
    "googlenet": ((64, 72), 3 + 9 * 6),
    "inception_v3": ((80, 90), 94),
    "densenet121": ((64, 48), 1 + 58 * 2 + 3 + 1),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_rules_are_those_of_the_slide_on(name):
    network, (size, count) = toys.random(name), FAMILIES[name]
    image = toys.image(*size)
    ours = b.gradients(network, image, 7)
    torch.testing.assert_close(ours["guided"].scores, network(image)[:, 7].detach())
    for rule in RULES:
        expected, met = by_hand(name, network, image, rule, 7)
        assert met == ours[rule].relus == count
        assert expected.any()
        toys.assert_close_but_for_kinks(ours[rule].values, expected)
    plain, guided = ours["backprop"].values, ours["guided"].values
    assert (plain - guided).abs().max() > 0.1 * plain.abs().max()


# Captum: right where every ReLU is a module, silently wrong where it is a function


def captums(name, network, image, rule, index):
    from captum.attr import Deconvolution, GuidedBackprop, Saliency

    module = copy.deepcopy(toys.bare(name, network))
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (network.mean, network.std))
    normalized = ((image - mean) / std).requires_grad_()
    if rule == "backprop":
        return Saliency(module).attribute(normalized, index, abs=False) / std
    method = {"guided": GuidedBackprop, "deconvnet": Deconvolution}[rule](module)
    return method.attribute(normalized, index) / std


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1"])
def test_the_rules_are_captums_where_relus_are_modules(name, rule):
    network, image = toys.random(name), toys.image(*FAMILIES[name][0])
    expected = captums(name, network, image, rule, 7)
    ours = b.gradient(network, image, 7, rule=rule).values
    toys.assert_close_but_for_kinks(ours, expected)


# The deconvnet as it was built, without a gradient


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "resnet18", "googlenet"])
def test_the_deconvnet_with_switches_is_the_gradient_with_its_rule(name):
    network, image = toys.random(name), toys.image(*FAMILIES[name][0], count=2)
    expected = b.gradient(network, image, 7, rule="deconvnet")
    built = b.deconvnet(network, image, 7)
    toys.assert_close_but_for_kinks(built.values, expected.values)
    torch.testing.assert_close(built.scores, expected.scores)
    assert (built.rule, built.relus) == ("deconvnet", expected.relus)


class Mixed(nn.Module):
    """Strides, dilation, groups, pools of all kinds, with and without padding and ceil_mode."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=3, padding=(2, 1))
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.wide = nn.Conv2d(8, 8, 3, dilation=2, groups=2, padding="same")
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(16 * 3, 4)

    def forward(self, x):
        x = self.pool(F.relu(self.first(x)))
        x = torch.cat([F.relu6(self.norm(self.wide(x))), F.avg_pool2d(x, 3, 1, 1)], 1)
        x = F.avg_pool2d(x, 2, padding=1, ceil_mode=True, count_include_pad=False)
        x = F.avg_pool2d(x + F.max_pool2d(x, 3, 1, 1), 3, 2, 1, ceil_mode=True)
        return self.head(F.adaptive_avg_pool2d(x, (3, 1)).flatten(1))


def mixed(size=(40, 33)) -> networks.Network:
    return networks.wrap(toys.shake(toys.seeded(Mixed)), input_size=size)


@pytest.mark.parametrize("size", [(40, 33), (31, 50)])
def test_every_layer_with_a_transpose_has_the_right_one(size):
    network, image = mixed(), toys.image(*size, count=2)
    for target in (2, ("pool", 3)):
        expected = b.gradient(network, image, target, rule="deconvnet").values
        built = b.deconvnet(network, image, target).values
        torch.testing.assert_close(built, expected, rtol=1e-4, atol=1e-6)


@functools.cache
def small() -> networks.Network:
    module = toys.seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(4 * 5 * 4, 3),
        )
    )  # fmt: skip
    return networks.wrap(module, input_size=(13, 11), categories=["a", "b", "c"])


def test_a_list_has_a_target_for_each_image():
    network, batch = small(), toys.image(13, 11, count=3)
    units = [("2", 0, (1, 2)), ("2", 3, (0, 0)), ("2", 1)]
    together = b.gradients(network, batch, units)
    for place, unit in enumerate(units):
        alone = b.gradients(network, batch[place : place + 1], unit)
        for rule in RULES:
            torch.testing.assert_close(together[rule].values[place : place + 1], alone[rule].values)
            torch.testing.assert_close(together[rule].scores[place : place + 1], alone[rule].scores)
    assert [one.index for one in together["guided"].targets] == [0, 3, 1]
    plain = b.deconvnet(network, batch, units)
    torch.testing.assert_close(plain.values, together["deconvnet"].values)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_two_cores_find_what_one_finds(count, one_thread):
    network, images = small(), toys.image(13, 11, count=count)
    targets = [("3", place % 4, (1, 2)) for place in range(count)]
    results, threads = [], threading.active_count()
    for cores in (2, 1):
        torch.set_num_threads(cores)
        results.append(b.gradients(network, images, targets))
        results[-1]["way"] = b.integrated_gradients(network, images, 1, steps=5)
        assert threading.active_count() == threads
    for one, other in zip(*(each.values() for each in results), strict=True):
        assert torch.allclose(one.values, other.values, atol=1e-6)


def test_only_what_the_target_needs_is_computed(monkeypatch):
    network, image = small(), toys.image(13, 11)
    b.gradient(network, image, ("0", 1))
    monkeypatch.setattr(F, "linear", None)  # a later layer would stop here
    assert b.gradient(network, image, ("3", 1), rule="guided").relus == 2


def test_what_cannot_work_says_why():
    network, three = small(), toys.image(13, 11, count=3)
    guided, smooth, summed = {"rule": "guided"}, b.smooth_gradient.frames, b.integrated_gradients
    squeezed = networks.wrap(toys.seeded(lambda: toys.Squeezed(3)), input_size=24)
    no_transpose, noise = r"knows no transpose.*rule='deconvnet'", "samples is 1 or more"
    toys.assert_refused(
        ("'guided'", b.gradient, network, three, 1, {"rule": "guidance"}),
        ("UnknownClass: .*nearest", b.gradient, network, three, "d", guided),
        ("UnknownLayer: .*nearest", b.gradient, network, three, ("9", 1), guided),
        ("no ReLU before", b.gradient, network, three, ("0", 1), guided),
        ("no ReLU", b.deconvnet, mixed(), toys.image(40, 33), ("first", 1, (2, 3))),
        ("0 to 3", b.gradient, network, three, ("3", 9), guided),
        ("map is 5 x 4", b.gradient, network, three, ("3", 1, (5, 0)), guided),
        ("one for each", b.gradient, network, three, [1, 2], guided),
        ("one layer", b.gradient, network, three, [1, ("0", 1), 2]),
        (no_transpose, b.deconvnet, squeezed, toys.image(24), 1),
        *(
            (noise, smooth, network, three, 1, wrong)
            for wrong in ({"samples": 0}, {"noise": -0.1}, {"noise": math.nan})
        ),
        ("steps is 1", summed, network, three, 1, {"steps": 0}),
        ("steps is 1", summed, network, three, 1, {"steps": 9, "max_steps": 8}),
    )


# SmoothGrad


def one_neuron(bias: float) -> networks.Network:
    """relu(w . colour + bias) at every pixel; its mean over the map is the score."""
    module = nn.Sequential(
        nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    module[0].weight.data = torch.tensor([[3.0, -2, 1], [0, 0, 0]]).view(2, 3, 1, 1)
    module[0].bias.data.fill_(bias)
    return networks.wrap(module, input_size=64, **toys.PLAIN)


def test_smoothgrad_of_a_relu_is_the_share_of_noise_that_opens_it():
    """The gradient of E relu(w (x + noise) + b) is w P(w (x + noise) + b > 0): a normal share."""
    image = torch.full((1, 3, 64, 64), 0.5)
    image[0, :, 0, 0], image[0, :, 0, 1] = 0.0, 0.8  # the range is 0.8
    noise, weights = 0.25, torch.tensor([3.0, -2, 1])
    smooth = b.smooth_gradient(one_neuron(-0.7), image, ("1", 0), noise=noise, samples=12).values[0]
    margin = (0.5 * float(weights.sum()) - 0.7) / (noise * 0.8 * float(weights.norm()))
    share = 0.5 * (1 + math.erf(margin / math.sqrt(2)))
    expected = weights * share
    torch.testing.assert_close(smooth.sum((1, 2)), expected, rtol=0.01, atol=0)


def test_without_noise_smoothgrad_is_the_gradient():
    network, image = small(), toys.image(13, 11, count=2)
    for rule in RULES:
        smooth = b.smooth_gradient(network, image, 2, rule=rule, noise=0, samples=5)
        plain = b.gradient(network, image, 2, rule=rule)
        torch.testing.assert_close(smooth.values, plain.values)
        torch.testing.assert_close(smooth.scores, plain.scores)


def test_the_frames_of_smoothgrad_are_its_means_so_far():
    network, image = small(), toys.image(13, 11)
    frames = list(b.smooth_gradient.frames(network, image, 2, samples=10, seed=3))
    assert [frame.samples for frame in frames] == [2, 4, 6, 8, 10]
    assert [frame.progress for frame in frames] == [0.2, 0.4, 0.6, 0.8, 1.0]
    whole = b.smooth_gradient(network, image, 2, samples=10, seed=3)
    assert torch.equal(frames[-1].gradient.values, whole.values)
    first = b.smooth_gradient(network, image, 2, samples=4, seed=3)
    torch.testing.assert_close(frames[1].gradient.values, first.values)
    assert not torch.equal(first.values, b.smooth_gradient(network, image, 2, samples=4).values)
    assert frames[0].noisy.min() >= 0
    assert not torch.equal(frames[0].noisy, image)


# Integrated gradients


def test_integrated_gradients_is_the_sum_over_equal_parts_where_nothing_is_refined():
    network, image = small(), toys.image(13, 11)
    settings = {"baseline": (0.2, 0.4, 0.6), "steps": 5, "tolerance": None}
    summed = b.integrated_gradients(network, image, 0, **settings)
    base = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1).expand_as(image)
    total = torch.zeros_like(image)
    for place in (0.1, 0.3, 0.5, 0.7, 0.9):
        total += b.gradient(network, base + place * (image - base), 0).values / 5
    torch.testing.assert_close(summed.values, total * (image - base))
    assert summed.steps.tolist() == [5]
    with torch.no_grad():
        torch.testing.assert_close(summed.start, network(base)[:, 0])
        torch.testing.assert_close(summed.end, network(image)[:, 0])
    change = float(summed.end - summed.start)
    missed = abs(float(summed.values.sum()) - change) / abs(change)
    assert float(summed.error) == pytest.approx(missed, rel=1e-3)


def test_a_kink_is_found_by_halving():
    """One ReLU opens at 0.37 of the way: equal parts miss it, halves close in on it."""
    module = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1, 2))
    module[0].weight.data.fill_(1.0)
    module[0].bias.data.fill_(-0.37 * 3)
    module[3].weight.data, module[3].bias.data = torch.tensor([[0.0], [1.0]]), torch.zeros(2)
    network = networks.wrap(module, input_size=1, **toys.PLAIN)
    image = torch.ones(1, 3, 1, 1)
    equal = b.integrated_gradients(network, image, 1, steps=4, tolerance=None)
    summed = b.integrated_gradients(network, image, 1, steps=4, tolerance=1e-3)
    assert float(equal.error) > 0.02
    assert float(summed.error) <= 1e-3
    assert 4 < int(summed.steps) < 60
    torch.testing.assert_close(summed.values, torch.full_like(image, 0.63), rtol=2e-3, atol=0)
    short = b.integrated_gradients(network, image, 1, steps=4, tolerance=0.0, max_steps=9)
    assert int(short.steps) <= 9


def test_where_the_score_does_not_change_nothing_is_missed_and_no_more_is_spent():
    network, image, weights = small(), toys.image(13, 11), torch.zeros(2, 3, 13, 11)
    constant, even = toys.linear(weights.clone()), torch.full_like(image, 0.25)
    weights[1, :, 0, 0] = torch.tensor([0.1, 0.2, -0.3])
    for one, images_, baseline, steps, change in (
        (network, image, image, 0, 0),  # the baseline itself
        (network, 0 * image, "black", 0, 0),
        (constant, image, "black", 16, 0),
        (toys.linear(weights), even, "black", 16, 0.075),  # what two pixels add cancels
    ):
        summed = b.integrated_gradients(one, images_, 1, baseline=baseline)
        assert (int(summed.steps), float(summed.error)) == (steps, 0)
        assert float(summed.values.abs().amax()) == pytest.approx(change)
    assert float(replace(summed, values=even).error) > 1e6  # something is missed


@pytest.mark.parametrize("name", ["giant_panda", "macaw", "coffee"])
def test_completeness_holds_within_one_per_cent_on_photos(name):
    network, shares = networks.load(), []
    image = images.standard(images.sample(name))
    best = network.predict(image, k=1)[0][0].index
    summed = b.integrated_gradients(network, image, best, progress=shares.append)
    assert float(summed.error) <= 0.01
    assert int(summed.steps) <= 64
    assert shares == [1.0]


def weights_of(network: networks.Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.graph.state_dict().items()}


# Grad-CAM


def cam_by_hand(network, image, layer, value):
    """The paper's two formulas, map by map; `value(maps)` is what is explained."""
    maps = network.activations(image, [layer])[layer].requires_grad_()
    (gradient,) = torch.autograd.grad(value(maps), maps)
    cam = torch.zeros(maps.shape[2:])
    for slopes, map_ in zip(gradient[0], maps[0].detach(), strict=True):
        cam += slopes.mean() * map_
    return cam.clamp(min=0)


def test_grad_cam_weighs_each_map_by_its_mean_gradient():
    """After a ReLU of a convolution in the middle the rest is run by hand."""

    def parts():
        last = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5 * 49, 3)]
        return [nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), *last)]

    first, rest = toys.seeded(lambda: nn.ModuleList(parts()))
    module = nn.Sequential(first, nn.ReLU(), rest).eval()
    network = networks.wrap(module, input_size=16, **toys.PLAIN)
    tail = rest[2:]
    for image in toys.image(16, count=3).split(1):
        found = b.grad_cam(network, image, 2, layer="relu1")
        expected = cam_by_hand(network, image, "relu1", lambda maps: rest(maps)[0, 2])
        assert expected.any()
        torch.testing.assert_close(found.coarse[0], expected, rtol=1e-4, atol=1e-6)
        assert (found.layer, found.values.shape) == ("relu1", (1, 16, 16))
        after = b.grad_cam(network, image, 2)
        expected = cam_by_hand(network, image, "relu2", lambda maps: tail(maps)[0, 2])
        torch.testing.assert_close(after.coarse[0], expected, rtol=1e-4, atol=1e-6)
        assert after.layer == "relu2"


def test_grad_cam_is_the_class_map_where_the_head_is_an_average(squeezenet):
    """SqueezeNet: the mean of relu10's maps are its scores, so each of 13 x 13 positions weighs
    1 / 169. ResNet's linear layer after the average weighs by its own weights (Zhou et al.)."""
    image = images.standard(images.sample("koala"))
    cam = b.grad_cam(squeezenet, image, "koala")
    expected = tasks.class_map(squeezenet, image, "koala") / 169
    assert cam.layer == "relu10"
    torch.testing.assert_close(cam.coarse, expected, rtol=1e-4, atol=1e-5)
    score = float(squeezenet.predict(image, k=1)[0][0].score)
    assert float(cam.coarse.sum()) == pytest.approx(score, rel=1e-4)
    assert float(cam.values.amax()) > 0.5 * float(cam.coarse.amax())
    resnet, small = toys.random("resnet18"), toys.image(64, 96)
    found = b.grad_cam(resnet, small, 3)
    with torch.no_grad():
        maps = resnet.activations(small, [found.layer])[found.layer]
        module = resnet.graph.get_submodule("fc")
        expected = (module.weight[3, None, :, None, None] * maps).sum(1).relu() / (2 * 3)
    assert resnet.layer(found.layer).shape == (512, 7, 7)
    torch.testing.assert_close(found.coarse, expected, rtol=1e-4, atol=1e-6)


def test_grad_cam_of_a_unit_is_its_own_map_or_an_earlier_layers():
    alexnet, image = networks.load("alexnet"), images.standard(images.sample("koala"))
    own = b.grad_cam(alexnet, image, ("relu5", 3))
    maps = alexnet.activations(image, ["relu5"])["relu5"][:, 3]
    assert own.layer == "relu5"
    torch.testing.assert_close(own.coarse, maps / maps[0].numel())
    assert maps.any()
    for unit, layer in ((("pool5", 3), "relu5"), (("conv4", 7, (2, 5)), "conv4")):
        cam = b.grad_cam(alexnet, image, unit)
        assert (cam.layer, cam.values.shape) == (layer, (1, 224, 224))
    earlier = b.grad_cam(alexnet, image, ("relu5", 3), layer="relu3")
    assert earlier.coarse.shape == (1, 13, 13)
    assert rank_correlation(earlier.values[0], own.values[0]) < 0.99


def test_grad_cam_of_a_network_without_a_graph_is_that_of_the_module():
    module = students.built(lambda net, x: net.end(net.conv(x).relu()) if x.mean() < 9 else x)
    image = toys.image(16)
    opaque = networks.wrap(module, input_size=16, **toys.PLAIN)
    assert opaque.opaque
    expected = cam_by_hand(opaque, image, "conv", lambda maps: module.end(maps.relu())[0, 1])
    found = b.grad_cam(opaque, image, 1)
    assert (found.layer, bool(expected.any())) == ("conv", True)
    torch.testing.assert_close(found.coarse[0], expected, rtol=1e-4, atol=1e-6)


def test_grad_cam_says_which_layers_it_can_weigh(squeezenet):
    image = toys.image(96)
    linear, beside = toys.linear(toys.image(8, count=2)), ("fire2/expand3x3", 3)
    toys.assert_refused(
        ("no convolution", b.grad_cam, linear, toys.image(8), 1),
        ("not on the way.*fire5", b.grad_cam, squeezenet, image, ("fire5", 3), {"layer": "fire6"}),
        (
            "not on the way",
            b.grad_cam,
            squeezenet,
            image,
            beside,
            {"layer": "fire2/expand1x1"},
        ),
        ("flatten has no maps", b.grad_cam, squeezenet, image, 3, {"layer": "flatten"}),
    )


def test_layers_are_random_from_the_top_down_to_the_one_named_with_their_norms():
    network = small()
    before = weights_of(network)
    assert b.weighted_layers(network) == ("fc3", "conv2", "conv1")
    changed = weights_of(b.randomized(network, "2"))
    assert {name for name in before if not torch.equal(before[name], changed[name])} == {
        "2.weight", "2.bias", "5.weight", "5.bias",
    }  # fmt: skip
    assert changed["2.weight"].std() == pytest.approx(math.sqrt(2 / (6 * 9)), rel=0.15)
    assert (changed["2.bias"] == 0).all()
    again = weights_of(b.randomized(network, "0"))
    assert torch.equal(again["2.weight"], changed["2.weight"])
    other = weights_of(b.randomized(network, "2", seed=1))
    assert not torch.equal(other["2.weight"], changed["2.weight"])
    assert all(torch.equal(value, before[name]) for name, value in weights_of(network).items())

    network = mixed()
    changed = weights_of(b.randomized(network, "wide"))
    assert (changed["norm.weight"] == 1).all()
    assert (changed["norm.bias"] == 0).all()
    assert torch.equal(changed["first.weight"], weights_of(network)["first.weight"])


OWN = {
    name: students.RIGHT[name]
    for name in ("own weight", "subclass", "standardized", "doubled", "weight norm", "layer scale")
} | {
    "matrix": (lambda net, x: net.conv(x).mean((2, 3)) @ net.weight, students.weight(8, 4)),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_weights_become_random_however_they_are_written(name):
    network = networks.wrap(students.built(*OWN[name]), input_size=16)
    first = network.layers[0].name
    changed, image = b.randomized(network, first), toys.image(16)
    before, after = (dict(one.graph.named_parameters()) for one in (network, changed))
    learned = [key for key, value in before.items() if value.ndim > 1]
    assert len(learned) >= 2
    assert [key for key in learned if torch.equal(before[key], after[key])] == []
    maps = [one.activations(image, [first])[first] for one in (network, changed)]
    assert not torch.allclose(*maps)


def test_a_cascade_goes_through_all_layers_and_compares():
    network, image = small(), toys.image(13, 11)
    frames = list(
        b.cascading_randomization.frames(network, image, "a", rules=("backprop", "guided"), seed=4)
    )
    assert [frame.layer for frame in frames] == ["", "fc3", "conv2", "conv1"]
    assert [frame.count for frame in frames] == [0, 1, 2, 3]
    assert [round(frame.progress, 3) for frame in frames] == [0, 0.333, 0.667, 1]
    first = frames[0]
    assert first.rank_correlation == first.ssim == {"backprop": 1.0, "guided": 1.0}
    for frame in frames[1:]:
        changed = b.randomized(network, frame.layer, seed=4)
        expected = b.gradient(changed, image, "a", rule="guided").values
        torch.testing.assert_close(frame.gradients["guided"].values, expected)
        assert frame.rank_correlation["backprop"] < 0.999
        pair = (b.magnitude(one.gradients["guided"]) for one in (first, frame))
        assert frame.rank_correlation["guided"] == rank_correlation(*pair)


def test_magnitude_is_the_strongest_colour_as_a_share():
    values = torch.zeros(1, 3, 20, 20)
    values[0, 1] = torch.linspace(0, 1, 400).view(20, 20)
    values[0, 2] = -values[0, 1] / 2
    given = b.Gradient(values, torch.zeros(1), (), "backprop", 0)
    shown = b.magnitude(given)[0].flatten()
    assert shown[396:].tolist() == [1, 1, 1, 1]
    assert shown[198] == pytest.approx(0.5025, abs=0.01)
    empty = b.Gradient(values * 0, torch.zeros(1), (), "backprop", 0)
    assert (b.magnitude(empty) == 0).all()
