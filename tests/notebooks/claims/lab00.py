"""What lab 00 says of the network's answers."""

import pytest
import torch
import torchvision
from claiming import Claims

from labsupport import images


def given(names):
    """SqueezeNet as torchvision has it, with the bundled weights, and the koala."""
    network = names["network"]
    module = torchvision.models.squeezenet1_1(weights=None)
    known = network.graph.state_dict()
    module.load_state_dict({name: known[name].cpu() for name in module.state_dict()})
    image = images.standard(images.sample("koala"))
    return {"module": module, "image": image, "categories": network.categories}


claims = Claims(given=given)


def first(network, name):
    [[answer]] = network.predict(images.standard(images.sample(name)), k=1)
    return answer


@claims.claim("looks at a picture and answers koala, 99.8 %.")
def _koala(network):
    answer = first(network, "koala")
    assert answer.name == "koala"
    assert round(100 * answer.probability, 1) == 99.8, answer.probability


@claims.claim("Below the panel is a wall of twelve answers. Some of them are wrong.")
def _wall(network, names):
    assert len(names) == 12
    assert first(network, "macaw").name == "macaw"
    for name in ("gosling", "owl", "cheetah"):
        answer = first(network, name).name
        assert name not in answer, answer
        assert "goose" not in answer, answer


@claims.claim("There is no class person, so it names a barbell with 59 %.")
def _astronaut(network, answers):
    assert not [name for name in network.categories if "person" in name]
    assert answers[0].name == "barbell"
    assert round(100 * answers[0].probability) == 59, answers[0].probability


@claims.claim("its probabilities always add up to 1.")
def _sum(scores, probabilities):
    assert float(probabilities(scores).sum()) == pytest.approx(1, abs=1e-5)


@claims.claim("You have torchvision's squeezenet1_1 with its weights as module")
def _plain(plain, network):
    expected = network(plain["image"])[0].softmax(0).cpu()
    assert torch.allclose(plain["probabilities"], expected, atol=1e-5)
