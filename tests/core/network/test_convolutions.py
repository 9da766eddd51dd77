"""AlexNet and VGG-16 as they come with the course: up to their last pooling, without classes."""

import copy
import pickle

import pytest
import safetensors.torch
import torch
import toys

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.errors import NoClasses

LAST = {"alexnet": ((256, 6, 6), 195), "vgg16": ((512, 7, 7), 212)}


@pytest.fixture(scope="module", params=LAST)
def network(request):
    return networks.load(request.param)


def test_they_are_bundled_and_have_the_names_of_the_slides(network):
    shape, field = LAST[network.name]
    assert network.source == f"bundled (weights/{network.name}_features.safetensors)"
    assert network.categories == ()
    assert network.name in networks.offline_names()
    assert [layer.title for layer in network.layers][-1] == "pool5"
    last = network.layer("pool5")
    assert (last.shape, last.receptive_field, last.stride) == (shape, (field, field), (32, 32))
    assert network.layer("conv5" if network.name == "alexnet" else "conv5_3").kind == "conv"
    image = toys.image(96, 128)
    assert network.activations(image, ["pool5"])["pool5"].shape[1] == shape[0]


def test_they_are_torchvisions_whole_ones_up_to_there():
    """With the bundled weights in it, the whole module gives the same maps."""
    for name in LAST:
        short, whole = networks.load(name), networks.load(name, weights="random")
        assert len(whole.categories) == 1000
        own, there = short.graph.state_dict(), whole.graph.state_dict()
        shared = {key for key in there if key in own and key.endswith(("weight", "bias"))}
        assert len(shared) == 2 * sum(layer.kind == "conv" for layer in short.layers)
        changed = whole.copy(source="with the bundled convolutions")
        changed.graph.load_state_dict({key: own[key] for key in shared}, strict=False)
        image = toys.image(224, 224)
        maps = [one.activations(image, ["pool5"])["pool5"] for one in (short, changed)]
        assert torch.allclose(*maps, atol=1e-5 * float(maps[1].abs().max()))


def test_whole_numbers_become_kernels_by_their_scales():
    held = safetensors.torch.load_file(bundled.path("weights/vgg16_features.safetensors"))
    kernels = networks.load("vgg16").graph.state_dict()
    for place, kind in (("features.10", torch.float16), ("features.28", torch.int8)):
        kept = held[f"{place}.weight"]
        assert kept.dtype == kind
        scale = held.get(f"{place}.weight.scale", torch.ones(1))
        expected = kept.double() * scale.double().view(-1, 1, 1, 1)
        assert torch.allclose(kernels[f"{place}.weight"].double(), expected, rtol=1e-6, atol=0)


def test_what_needs_a_class_says_what_can_be_had_instead(network):
    image = toys.image(64, 64)
    for ask in (
        lambda: network(image),
        lambda: network.predict(image),
        lambda: network.class_index("goldfish"),
        lambda: network.target(3),
    ):
        with pytest.raises(NoClasses, match=r"ends at pool5.*'pool5', 0.*weights='torchvision'"):
            ask()
    assert str(network.target(("pool5", 3))) == "pool5, channel 3"


def test_they_are_copied_and_pickled_like_others(network):
    image = toys.image(64, 64)
    expected = network.activations(image, ["pool5"])["pool5"]
    for other in (network.copy(), copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert other.categories == ()
        assert torch.equal(other.activations(image, ["pool5"])["pool5"], expected)


def test_the_weights_are_trained_ones():
    """By the mean of its last maps, more neighbours are of one kind than with random weights."""
    things = images.cutouts()[::3]
    seen = torch.cat([images.standard(thing.image) for thing in things])
    kinds = torch.tensor([sorted(set(things.categories)).index(one) for one in things.categories])
    shares = []
    for weights in ("bundled", "random"):
        maps = networks.load("alexnet", weights=weights).activations(seen, ["pool5"])["pool5"]
        codes = maps.mean((2, 3)) - maps.mean((0, 2, 3))
        codes = torch.nn.functional.normalize(codes)
        nearest = (codes @ codes.T).fill_diagonal_(-2).topk(3).indices
        shares.append(float((kinds[nearest] == kinds[:, None]).float().mean()))
    assert shares[0] > shares[1] + 0.15, shares
