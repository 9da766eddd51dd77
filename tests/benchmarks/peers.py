"""What the peers are given: torchvision's bare SqueezeNet 1.1 with our weights, and the panda."""

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from labsupport.core import device, images
from labsupport.core.network import Network, catalog
from labsupport.core.network.operations import Normalize

GIANT_PANDA = 388  # in every ImageNet network
_RECIPE = catalog.recipe("squeezenet1_1")
normalize = Normalize(_RECIPE.mean, _RECIPE.std)


@cache
def panda() -> torch.Tensor:
    """The giant panda, (1, 3, 224, 224) in [0, 1]."""
    return images.standard(images.sample("giant_panda"))


def normalized_panda() -> torch.Tensor:
    """The giant panda as the bare module takes it, on its device."""
    return normalize(panda()).to(device.pick())


def black_like(normalized: torch.Tensor) -> torch.Tensor:
    """A black image as the bare module takes it."""
    return normalize(torch.zeros(1, 3, 1, 1)).to(normalized.device).expand_as(normalized)


def bare_module() -> nn.Module:
    """torchvision's module, frozen, which takes normalized images."""
    module = catalog.build(_RECIPE, *catalog.state(_RECIPE, "auto"))
    return module.eval().requires_grad_(False).to(device.pick())


def normalizing_module() -> nn.Module:
    """torchvision's module behind its normalization: it takes images."""
    return nn.Sequential(Normalize(_RECIPE.mean, _RECIPE.std).to(device.pick()), bare_module())


def passes(network: Network, layer: str, image: torch.Tensor, steps: int) -> None:
    """So many forward and backward passes to the layer, channels-last, and nothing else."""
    up_to = network.up_to(layer)
    for _ in range(steps):
        moving = network.send(image).detach().requires_grad_(True)
        torch.autograd.grad(up_to(moving).sum(), moving)


def at_first_call(build: Callable[[], Callable[[], object]]) -> Callable[[], object]:
    """The contender that `build` makes at its first call: to warm up, which is not timed."""
    built = cache(build)
    return lambda: built()()
