"""A Network answers as the bare module does, in words where it cannot, and computes no more."""

import copy
import functools
import pickle
import re
import socket
import threading
import urllib.request

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import network as networks
from labsupport.core.errors import BadImage, BadSetting, UnknownLayer, WeightsUnavailable
from labsupport.core.network import catalog, operations
from labsupport.core.network.layers import Target
from labsupport.methods import backprop, fooling
from labsupport.methods.occlusion import occlusion_map
from labsupport.methods.optimize import SIMONYAN, visualize


@pytest.fixture(scope="module")
def trained() -> networks.Network:
    return networks.load()


# Scores

# torchvision's trained ones take its usual normalization, and shift it in their forward
GOOGLES = {"transform_input": True, "init_weights": False, "aux_logits": True}
FAMILIES = {
    # name: image size, and how torchvision builds the one that it trained
    "squeezenet1_1": ((97, 75), {}),
    "alexnet": ((96, 70), {}),
    "vgg16": ((64, 48), {}),
    "resnet18": ((64, 80), {}),
    "densenet121": ((64, 70), {}),
    "googlenet": ((64, 80), GOOGLES),
    "inception_v3": ((90, 80), GOOGLES),
}


def hooked(module: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The scores, and what every leaf module gives, copied by a forward hook before anything
    changes it."""
    found: dict[str, torch.Tensor] = {}
    for name, part in module.named_modules():
        if not list(part.children()) and not name.startswith("aux"):

            def note(_module, _given, result, name=name):
                found.setdefault(name, result.clone())

            part.register_forward_hook(note)
    with torch.no_grad():
        return module(batch), found


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_and_activations_are_the_bare_modules_on_normalized_images(name):
    network, (size, settings) = toys.random(name), FAMILIES[name]
    batch = toys.image(*size, count=2)
    normal = transforms.normalize(batch, operations.IMAGENET_MEAN, operations.IMAGENET_STD)
    scores, expected = hooked(toys.bare(name, network, **settings), normal)
    torch.testing.assert_close(network(batch), scores, rtol=1e-4, atol=1e-5)
    names = [layer.name for layer in network.layers if layer.name in expected]
    assert len(names) > 10
    result = network.activations(batch, names)
    assert list(result) == names
    for layer in names:
        torch.testing.assert_close(result[layer], expected[layer], rtol=1e-3, atol=1e-5)
    if settings is GOOGLES:
        assert network.mean == network.std == (0.5, 0.5, 0.5)


def test_a_batch_is_its_images_and_gradients_reach_them_and_not_the_weights(trained):
    batch = toys.image(64, count=4).requires_grad_(True)
    scores = trained(batch)
    assert torch.equal(scores, trained(batch.double()))
    one_by_one = torch.cat([trained(batch[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(scores, one_by_one, rtol=1e-4, atol=1e-4)
    for number in (scores[0, 1], trained.up_to("fire5")(batch).sum()):
        assert torch.autograd.grad(number, batch)[0].abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in trained.graph.parameters())


def test_predictions_are_the_softmax_best_first(trained):
    batch = toys.image(64, count=3)
    scores = trained(batch)
    answers = trained.predict(batch, k=7)
    assert [len(answer) for answer in answers] == [7, 7, 7]
    for row, answer in zip(scores, answers, strict=True):
        assert [line.index for line in answer] == row.argsort(descending=True)[:7].tolist()
        for line in answer:
            assert line.probability == pytest.approx(float(row.softmax(0)[line.index]), abs=1e-5)
            assert line.score == pytest.approx(float(row[line.index]), abs=1e-4)
            assert line.name == trained.categories[line.index]
    assert len(networks.load("lenet5").predict(toys.image(28), k=50)[0]) == 10


# Classes


@functools.cache
def birds() -> networks.Network:
    names = ["crane", "tiger cat", "crane", "black-footed ferret", "Eskimo dog"]
    return networks.wrap(five_classes(), categories=names, input_size=16, name="birds")


def five_classes() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))


def test_class_names_are_found_as_people_type_them():
    for index, ways in (
        (1, ["tiger cat", "Tiger_Cat", "TIGER-CAT", " tiger cat ", 1]),
        (3, ["black footed ferret", "black-footed_ferret"]),
        (4, ["eskimo dog", 4]),
        (0, [0]),
    ):
        assert [birds().class_index(typed) for typed in ways] == [index] * len(ways)
        assert [birds().target(typed).index for typed in ways] == [index] * len(ways)


UNCLEAR_CLASSES = [
    ("crane", "2 classes.*0 or 2"),
    ("tigercat", "'tiger cat'"),
    ("shark", "birds.*nearest"),
    ("", "nearest"),
    (5, "0 to 4, not 5"),
    (-1, "0 to 4, not -1"),
    (("conv1", 0), "no class.*0 to 4"),
    (1.5, "1.5 is no class"),
    (None, "no class"),
]
NO_TARGETS = [
    ("gold fish swarm", "UnknownClass: .*goldfish"),
    (1000, "UnknownClass: .*0 to 999"),
    (("fire55", 0), "UnknownLayer: .*fire5"),
    (("fire5", 256), "BadSetting: .*0 to 255, not 256"),
    (("fire5", -1), "BadSetting: .*0 to 255, not -1"),
    (("fire5", "3"), "BadSetting: .*0 to 255, not '3'"),
    (("fire5", 1.5), "BadSetting: .*0 to 255, not 1.5"),
    (("fire5", 1, 3), r"BadSetting: .*\(row, column\)"),
    (("fire5", 1, (3,)), r"BadSetting: .*\(row, column\)"),
    (("fire5", 1, (-1, 3)), r"BadSetting: .*\(row, column\)"),
    ((7, 1), "UnknownLayer: .*nearest"),
    (None, r"BadSetting: .*\(layer, channel\)"),
    (1.0, r"BadSetting: .*\(layer, channel\)"),
    ((), r"BadSetting: .*\(layer, channel\)"),
]


def test_what_is_no_class_no_target_and_no_layer_is_refused_in_words(trained):
    classes, alexnet = birds().class_index, toys.random("alexnet")
    toys.assert_refused(
        *((f"UnknownClass: .*{words}", classes, typed) for typed, words in UNCLEAR_CLASSES),
        *((words, trained.target, wanted) for wanted, words in NO_TARGETS),
        ("BadSetting: .*no map", alexnet.target, ("fc7", 1, (0, 0))),
        (r"UnknownLayer: .*fire5.*network\.layers", trained.layer, "fire 5"),
    )


# Targets


def test_targets(trained):
    assert trained.target("goldfish") == Target(None, 1, None, "goldfish")
    assert trained.target(1) == trained.target("goldfish")
    assert trained.target(("fire5", 3)) == Target("features.7.cat", 3, None, "fire5, channel 3")
    neuron = trained.target(("fire5", 3, (4, 5)))
    assert (neuron.layer, neuron.index, neuron.position) == ("features.7.cat", 3, (4, 5))
    assert str(neuron) == "fire5, channel 3 at (4, 5)"
    assert trained.target(neuron) is neuron
    assert trained.node_of(trained.target(1)) is trained.output
    assert trained.node_of(neuron) is trained.node("fire5")
    maps = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2)
    assert Target("x", 1, None, "").value(maps).tolist() == [5.5, 17.5]
    assert Target("x", 1, (1, 0), "").value(maps).tolist() == [6.0, 18.0]
    assert Target(None, 2, None, "").value(maps[:, :, 0, 0]).tolist() == [8.0, 20.0]


# Layers


def test_activations_come_by_the_names_that_were_asked_for(trained):
    batch = toys.image(64, 80)
    result = trained.activations(batch, ["fire5", "features.7.cat", "conv10"])
    assert list(result) == ["fire5", "features.7.cat", "conv10"]
    assert torch.equal(result["fire5"], result["features.7.cat"])
    assert trained.activations(batch, "fire5")["fire5"].shape == result["fire5"].shape
    assert not result["fire5"].requires_grad
    with pytest.raises(UnknownLayer):
        trained.activations(batch, ["fire5", "fire99"])


def test_nothing_behind_a_layer_is_computed(trained, monkeypatch):
    batch, real = toys.image(64), F.conv2d
    trained.check(batch)  # finding the shapes is not computing
    squeeze, early = trained.up_to("fire3/squeeze1x1"), trained.up_to("fire2/expand1x1")
    calls: list[int] = []  # the number of kernels of every convolution

    def counted(given, weight, *rest, **named):
        calls.append(len(weight))
        return real(given, weight, *rest, **named)

    monkeypatch.setattr(F, "conv2d", counted)
    for compute, kernels in (
        (squeeze, [64, 16, 64, 64, 16]),
        (early, [64, 16, 64]),  # not even the branch beside it
        (lambda x: trained.activations(x, ["conv1", "fire2/squeeze1x1"]), [64, 16]),
    ):
        calls.clear()
        compute(batch)
        assert calls == kernels
    calls.clear()
    trained(batch)
    assert len(calls) == 26


# Images that do not fit


class OneSize(nn.Module):
    """Refuses other sizes as torchvision's vision transformers do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 2)

    def forward(self, x):
        torch._assert(x.shape[2] == 32, "wrong height")
        return self.layer(x.flatten(1))


def test_each_way_in_refuses_what_is_no_image_and_names_the_layer_that_it_does_not_fit(trained):
    lenet, one_size = networks.load("lenet5"), networks.wrap(OneSize(), input_size=32)
    assert one_size(toys.image(32)).shape == (1, 2)
    for network, size, layer in (
        (trained, (3, 3), "'features.2'"),
        (toys.random("alexnet"), (24, 224), "'features.5'"),
        (lenet, (224, 224), "'fc1'"),
        (lenet, (27, 32), "'fc1'"),
        (one_size, (40, 40), 'says: wrong height \n    torch._assert(x.shape[2] == 32, "wrong'),
    ):
        refusal = toys.refusal(network, toys.image(*size))
        sizes = [f"{height} x {width}" for height, width in (size, network.input_size)]
        for word in ("BadImage", layer, *sizes, "images.resize"):
            assert word in refusal
    for use in (trained, trained.predict, lambda x: trained.activations(x, ["conv1"])):
        with pytest.raises(BadImage, match=r"\[0, 1\]"):
            use(torch.rand(1, 3, 32, 32) * 255)


# A network of one's own


@pytest.mark.parametrize(
    ("module", "settings", "words"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3)),
            {"input_size": 28},
            r"CannotTrace: .*'0' says.*x\.mean\(1, keepdim=True\)",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3)),
            {},
            "CannotTrace: .*224 x 224.*'2' says.*input_size=",
        ),
        (five_classes(), {"mean": (0.5,)}, "BadSetting"),
        (five_classes(), {"std": (1.0, 1.0)}, "BadSetting"),
        (five_classes(), {"std": (1.0, 0.0, 1.0)}, "BadSetting"),
        (five_classes(), {"std": (1.0, -1.0, 1.0)}, "BadSetting"),
        (five_classes(), {"categories": ["one", "two"]}, "BadSetting"),
    ],
)
def test_modules_and_settings_that_cannot_be_wrapped(module, settings, words):
    assert re.search(words, toys.refusal(networks.wrap, module, **settings), re.S)


def test_what_a_wrapped_network_says_of_itself():
    module, mean, std = five_classes(), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    network = networks.wrap(module, input_size=(16, 20), mean=mean, std=std)
    assert network.categories == tuple(f"class {i}" for i in range(5))
    assert (network.name, network.source) == ("Sequential", "your own module")
    assert (network.input_size, network.mean, network.std) == ((16, 20), mean, std)
    assert repr(network) == "Network(Sequential, 5 classes, your own module, cpu)"


def test_remembered_results_are_built_once_and_the_oldest_go():
    network = networks.wrap(five_classes(), input_size=16)
    built: list[int] = []

    def build(number):
        return lambda: built.append(number) or number

    for number in (1, 2, 1, 3, 1, 2):
        assert network.remember(number, build(number), keep=2) == number
    assert built == [1, 2, 3, 2]  # 2 was the least recently used when 3 came


# Where weights come from


def test_the_names_of_networks_and_weights_and_what_is_none_of_them(trained):
    assert networks.names()[:2] == ("squeezenet1_1", "lenet5")
    assert {"alexnet", "vgg16", "vgg19", "googlenet", "resnet50"} <= set(networks.names())
    no_file, load = "BadSetting: .*auto.*nor a file", networks.load
    assert load("mnasnet0_5", weights="random")(toys.image(64)).shape == (1, 1000)
    toys.assert_refused(
        (r"UnknownNetwork: .*alexnet.*networks\.names", load, "alexnett"),
        (r"UnknownNetwork: .*resnet18.*networks\.names", load, "resnet 18"),
        ("bundled.*offline: squeezenet1_1, lenet5", load, "vgg19", {"weights": "bundled"}),
        *((no_file, load, {"weights": x}) for x in ("pretrained", "no/such/file.pt", "", ".")),
    )
    assert trained.source == "bundled (weights/squeezenet1_1.safetensors)"
    assert load(weights="bundled").source == trained.source


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and an empty cache; a list of the addresses that were tried."""
    tried: list[object] = []

    def refuse(*address, **_):
        tried.append(address)
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: refuse(address))
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tried


@pytest.mark.parametrize("weights", ["auto", "torchvision"])
def test_without_a_network_the_way_out_is_told(offline, tmp_path, weights, monkeypatch):
    refusal = toys.refusal(networks.load, "resnet18", weights=weights)
    for word in (
        *("WeightsUnavailable", "resnet18", "unreachable", "lenet5, convnetjs, alexnet"),
        *("resnet18-f37072fd.pth", str(tmp_path / "hub" / "checkpoints"), "weights='random'"),
    ):
        assert word in refusal
    assert len(offline) == 1
    assert not list(tmp_path.rglob("*.pth"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://127.0.0.1:9"})
    with pytest.raises(WeightsUnavailable, match="could not be downloaded"):
        networks.load("resnet18", weights=weights)
    with pytest.raises(WeightsUnavailable, match="torchvision has no weights for lenet5"):
        networks.load("lenet5", weights="torchvision")


def test_what_is_bundled_or_in_the_cache_needs_no_network(offline):
    bundled = ["squeezenet1_1", "lenet5", "convnetjs", "alexnet", "vgg16"]
    for name in bundled:
        networks.load(name)
    assert networks.offline_names() == bundled
    path = catalog.cached(catalog.recipe("resnet18"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert networks.offline_names() == [*bundled, "resnet18"]
    assert offline == []


def test_a_cached_file_is_used_and_a_damaged_one_is_named(offline, tmp_path):
    module, folder = catalog.build(catalog.recipe("squeezenet1_1"), None, "random"), tmp_path
    torch.nn.init.constant_(module.features[0].bias, 7)
    path = catalog.cached(catalog.recipe("squeezenet1_1"))
    assert path.is_relative_to(folder)
    path.parent.mkdir(parents=True)
    torch.save(module.state_dict(), path)
    network = networks.load(weights="torchvision")
    assert network.graph.get_submodule("features.0").bias[0] == 7
    assert network.source.startswith("torchvision (SqueezeNet1_1_Weights")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsUnavailable, match=r"damaged.*delete it") as caught:
        networks.load(weights="torchvision")
    assert str(path) in str(caught.value)
    assert offline == []


def test_a_position_outside_the_map_of_an_image_is_refused():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(60, 2))
    network = networks.wrap(module, input_size=(8, 7))
    inside = network.target(("1", 1, (5, 4)))
    assert network.placed(inside, (8, 7)) is inside
    assert network.placed(network.target(1), (8, 7)).position is None
    words = "BadSetting: .*8 x 7 pixels the layer's map is 6 x 5"
    outside = [network.target(("1", 1, place)) for place in ((6, 4), (5, 5))]
    toys.assert_refused(*((words, network.placed, target, (8, 7)) for target in outside))


WAYS_TO_COPY = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "copy": lambda network: network.copy(source="all zeros"),
}


@pytest.mark.parametrize("way", WAYS_TO_COPY)
def test_a_copy_is_the_same_network_with_weights_of_its_own(way):
    network = networks.load("lenet5")
    network.remember("what is worked out", lambda: threading.Lock())  # which no pickle holds
    other = WAYS_TO_COPY[way](network)
    assert other.source == ("all zeros" if way == "copy" else network.source)
    assert other.layers == network.layers
    for name in ("name", "categories", "input_size", "device", "mean", "std"):
        assert getattr(other, name) == getattr(network, name)
    picture = toys.image(28)
    assert torch.equal(other(picture), network(picture))
    with torch.no_grad():
        for weights in other.graph.parameters():
            weights.zero_()
    assert not other(picture).any()
    assert network(picture).any()


class Standardized(nn.Module):
    """It divides by an image's own standard deviation, as students do."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        return self.fc(self.conv(x).relu().mean((2, 3)))


def test_an_image_without_a_number_for_an_answer_is_refused_by_each_method():
    network = networks.wrap(toys.seeded(Standardized), input_size=12, **toys.PLAIN)
    black = torch.zeros(1, 3, 12, 12)
    for method in (
        network,
        network.predict,
        lambda image: backprop.gradient(network, image, 1),
        lambda image: backprop.gradient(network, image, 1, rule="guided"),
        lambda image: occlusion_map(network, image, 1, window=6, stride=6),
        lambda image: fooling.fgsm(network, image),
        lambda image: fooling.pgd(network, image),
    ):
        method(toys.image(12))
        with pytest.raises(BadImage, match="gives no number"):
            method(black)
    with pytest.raises(BadSetting, match="another start"):
        visualize(network, 1, recipe=SIMONYAN, steps=2)
