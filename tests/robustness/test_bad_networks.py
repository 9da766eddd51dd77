"""A student's own module with something wrong: refused in words, or answered rightly."""

import math
from collections.abc import Callable

import pytest
import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import CannotTrace

SIZE = (20, 24)


def with_layer(*layers: nn.Module, classes: int = 3) -> nn.Sequential:
    ends = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers, *ends)


def with_weight(value: float) -> nn.Module:
    module = with_layer()
    with torch.no_grad():
        module[0].weight[0] = value
    return module


class Raising(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("boom")


class Times(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * math.nan


class Noise(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + 0.1 * torch.randn_like(images)


class Dropped(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(images)


BAD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "NaN weights": (lambda: with_weight(math.nan), "no numbers .*training has run away"),
    "infinite weights": (lambda: with_weight(math.inf), "no numbers .*training has run away"),
    "a layer that gives NaN": (lambda: with_layer(Times()), "no numbers"),
    "a layer that raises": (lambda: with_layer(Raising()), "boom"),
    "no class": (lambda: with_layer(classes=0), "no scores at all"),
    "no channel": (
        lambda: nn.Sequential(nn.Conv2d(3, 0, 3), nn.Flatten(), nn.Linear(1, 3)),
        "does not take RGB images",
    ),
    "noise": (lambda: with_layer(Noise()), "two answers .*if self.training"),
    "dropout that is always on": (lambda: with_layer(Dropped()), "two answers"),
    "lazy layers": (lambda: with_layer(nn.LazyConv2d(4, 1)), "call it once"),
    "no numbers": (lambda: with_layer().to("meta"), "meta device"),
}


@pytest.mark.parametrize(("build", "words"), BAD.values(), ids=BAD)
@pytest.mark.filterwarnings("ignore")
def test_a_bad_network_is_refused_in_our_words(build, words):
    with pytest.raises(CannotTrace, match=words):
        networks.wrap(build(), input_size=SIZE)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(4), nn.Dropout(0.9)], ids=["norm", "dropout"])
def test_a_network_in_training_mode_answers_as_in_eval_mode(layer):
    module, image = with_layer(layer).train(), toys.image(*SIZE)
    network = networks.wrap(module, input_size=SIZE)
    assert module.training
    before = {name: value.clone() for name, value in network.graph.state_dict().items()}
    assert torch.equal(network(image), network(image))
    assert all(torch.equal(v, before[n]) for n, v in network.graph.state_dict().items())
