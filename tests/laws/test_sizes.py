"""A network whose last layers take one size alone: up to any other layer it is as good as another.

The law: its methods give for a layer what they give for the same network with a head that takes
every size; what needs the head is refused in words, and nothing else is.
"""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import BadImage
from labsupport.methods import dream, inversion, optimize, style, twins


def _body() -> nn.Sequential:
    first, second = nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 12, 3)
    return nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(4), second, nn.ReLU())


def _network(head: nn.Module) -> networks.Network:
    return networks.wrap(nn.Sequential(*toys.seeded(_body), head), input_size=32)


def _numbers(by_name: Mapping[str, Any]) -> torch.Tensor:
    return torch.cat([torch.as_tensor(one).reshape(-1) for one in by_name.values()])


@pytest.fixture(scope="module")
def fixed():
    return _network(nn.Sequential(nn.Flatten(), nn.Linear(12 * 36, 10)))


@pytest.fixture(scope="module")
def free():
    return _network(nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(12 * 36, 10)))


IMAGE = toys.image(48, 64)
SQUARE, OTHER = toys.image(48), toys.image(48, seed=1)
LARGE = (toys.image(64), toys.image(64, seed=1))
STEPS: dict[str, Any] = {"steps": 3}
UP_TO_A_LAYER = {
    "dream": lambda n: dream.dream(n, IMAGE, "4").image,
    "dream in tiles": lambda n: (
        dream.dream(n, IMAGE, "4", recipe=dream.DreamRecipe(octaves=2, iterations=2, tile=32)).image
    ),
    "guided dream": lambda n: dream.Guided.by(n, "4", IMAGE).features,
    "balanced weights": lambda n: torch.tensor(
        list(dream.balanced_weights(n, IMAGE, ["1", "4"]).values())
    ),
    "inversion": lambda n: inversion.invert(n, inversion.encode(n, IMAGE, "4"), **STEPS).image,
    "code distance": lambda n: inversion.code_distance(
        n, IMAGE, inversion.encode(n, IMAGE[..., ::1], "4")
    ),
    "an image for a channel": lambda n: optimize.visualize(n, ("4", 3), size=48, **STEPS).image,
    "an image for a unit": lambda n: (
        optimize.visualize(n, ("4", 3, (2, 2)), size=48, **STEPS).image
    ),
    "from an image": lambda n: optimize.visualize(n, ("4", 3), start=IMAGE, **STEPS).image,
    "style": lambda n: _numbers(style.style_losses(n, SQUARE, OTHER, ["1", "4"])),
    "content": lambda n: _numbers(style.content_losses(n, SQUARE, OTHER, ["4"])),
    "largest size": lambda n: torch.tensor(style.largest_size(n, ["4"], (90, 70))),
    "receptive box": lambda n: torch.tensor(
        networks.receptive_box(n, "4", (3, 3), image_size=(48, 64))
    ),
    "twin": lambda n: twins.twin(n, SQUARE, OTHER, "4", **STEPS).image,
    "twin by HOG": lambda n: twins.twin(n, *LARGE, twins.HOG16, **STEPS).image,
}
WITH_THE_SCORES = {
    "dream": lambda n: dream.dream(n, IMAGE, optimize.TargetValue(0)),
    "code": lambda n: inversion.encode(n, IMAGE, "scores"),
    "visualize": lambda n: optimize.visualize(n, 0, size=48),
    "from an image": lambda n: optimize.visualize(n, 0, start=IMAGE),
    "predict": lambda n: n.predict(IMAGE),
    "twin": lambda n: twins.twin(n, SQUARE, OTHER, "scores"),
}


@pytest.mark.parametrize("name", UP_TO_A_LAYER)
def test_up_to_a_layer_the_size_that_the_head_takes_does_not_matter(name, fixed, free):
    method = UP_TO_A_LAYER[name]
    assert torch.equal(method(fixed), method(free))


@pytest.mark.parametrize("name", WITH_THE_SCORES)
def test_what_needs_the_scores_is_refused_in_words(name, fixed):
    with pytest.raises(BadImage, match=r"does not fit .* cannot take it.* 32 x 32"):
        WITH_THE_SCORES[name](fixed)


def test_shapes_up_to_a_layer_are_those_of_what_it_needs(fixed, free):
    node = fixed.node("3")
    shapes = fixed.shapes((48, 64), [node])
    assert shapes[node] == free.shapes((48, 64))[free.node("3")]
    assert fixed.node("4") not in shapes
    assert fixed.shapes((48, 64), []) == {}
    with pytest.raises(BadImage):
        fixed.shapes((48, 64))
    with pytest.raises(BadImage, match="'3' cannot take it"):
        fixed.shapes((8, 8), [node])
