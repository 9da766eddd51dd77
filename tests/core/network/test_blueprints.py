"""Architectures without weights: the papers' counts, in next to no memory."""

import pytest
import torch

from labsupport.core import network as networks
from labsupport.core.errors import UnknownNetwork
from labsupport.core.network import blueprints, catalog


def parameters(network):
    return sum(weights.numel() for weights in network.graph.parameters())


def test_every_network_of_the_lecture_is_there_in_order():
    years = [int(title[-5:-1]) for title in blueprints.TITLES.values() if title[-5:-1].isdigit()]
    assert years == sorted(years)
    assert set(blueprints.names()) == set(blueprints.TITLES)


@pytest.mark.parametrize("name", ["vgg19", "squeezenet1_1"])
def test_a_blueprint_has_the_layers_of_the_network_and_no_weights(name):
    drawn, real = blueprints.blueprint(name), networks.load(name, weights="random")
    assert drawn.layers == real.layers
    assert drawn.input_size == real.input_size
    assert parameters(drawn) == parameters(real)
    storages = {w.untyped_storage().data_ptr(): w.untyped_storage().nbytes()
                for w in drawn.graph.parameters()}  # fmt: skip
    assert sum(storages.values()) <= 4 * len(list(drawn.graph.parameters()))


def test_it_can_be_asked_though_the_answer_means_nothing():
    before = torch.get_rng_state()
    drawn = blueprints.blueprint("lenet5")
    assert drawn(torch.rand(2, 3, 28, 28, generator=torch.Generator())).shape == (2, 10)
    assert torch.equal(before, torch.get_rng_state())
    drawn = blueprints.blueprint("resnet18")  # its batch norms had no statistics
    assert drawn(torch.rand(1, 3, 64, 64)).isfinite().all()
    with pytest.raises(UnknownNetwork, match="alexnet_2012"):
        blueprints.blueprint("alexnet2012")


def test_the_skeleton_has_what_only_training_needs():
    whole = list(blueprints.skeleton("googlenet").parameters())
    words = catalog.recipe("googlenet").published.meta["num_params"]
    assert parameters(blueprints.blueprint("googlenet")) == words
    assert sum(weights.numel() for weights in whole) > words
    assert all(weights.is_meta for weights in whole)
