"""Gradients by the three rules against Captum, and one forward pass for all against three calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial

import torch
from contest import Contest, race
from torch import nn

from labsupport.core import device, images
from labsupport.core import network as networks
from labsupport.core.network import Network, catalog
from labsupport.core.network.rules import RULES
from labsupport.methods.backprop import gradient, gradients, integrated_gradients

_CLASS = 388  # giant panda, in every ImageNet network
_WANTED = {"backprop": 1.3, "guided": 1.1, "deconvnet": 1.4}


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    race(_contests(networks.load()))


def _contests(network: Network) -> Iterator[Contest]:
    for rule, wanted in _WANTED.items():
        yield Contest(
            f"squeezenet1_1, {rule}",
            partial(_ours, network, rule),
            {"Captum, weights frozen": partial(_captum, rule)},
            {"Captum, weights frozen": wanted},
            rounds=15,
            equal=_same,
        )
    yield Contest(
        "the three rules from one forward pass",
        partial(_together, network),
        {"three calls": partial(_apart, network)},
        {"three calls": 1.3},
        rounds=15,
        equal=_same,
    )
    yield Contest(
        "integrated gradients, completeness within 1 %",
        partial(_integrated, network),
        {"Captum, 50 steps, 8 at a time": _captums_integral},
        {"Captum, 50 steps, 8 at a time": 1.5},
        rounds=3,
    )


@cache
def _image() -> torch.Tensor:
    return images.standard(images.sample("giant_panda"))


def _ours(network: Network, rule: str) -> torch.Tensor:
    return gradient(network, _image(), _CLASS, rule=rule).values


def _together(network: Network) -> torch.Tensor:
    found = gradients(network, _image(), _CLASS)
    return torch.cat([found[rule].values for rule in RULES])


def _apart(network: Network) -> torch.Tensor:
    return torch.cat([_ours(network, rule) for rule in RULES])


def _integrated(network: Network) -> torch.Tensor:
    return integrated_gradients(network, _image(), _CLASS).values


def _captum(rule: str) -> torch.Tensor:
    return _captums_gradient(rule)()


@cache
def _captums_gradient(rule: str) -> Callable[[], torch.Tensor]:
    """Captum on the bare module, whose ReLUs are all modules; in place would stop its hooks."""
    from captum.attr import Deconvolution, GuidedBackprop, Saliency

    module, std = _bare()
    kinds = {"backprop": Saliency, "guided": GuidedBackprop, "deconvnet": Deconvolution}
    method = kinds[rule](module)
    settings = {"abs": False} if rule == "backprop" else {}

    def attribute() -> torch.Tensor:
        pixels = _normalized().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it sets hooks
            found: torch.Tensor = method.attribute(pixels, _CLASS, **settings)
        return found.detach().cpu() / std

    return attribute


def _captums_integral() -> torch.Tensor:
    from captum.attr import IntegratedGradients

    black = (0 - torch.tensor(catalog.IMAGENET_MEAN)) / torch.tensor(catalog.IMAGENET_STD)
    pixels = _normalized()
    base = black.view(1, 3, 1, 1).to(pixels.device).expand_as(pixels)
    found: torch.Tensor = IntegratedGradients(_bare()[0]).attribute(
        pixels, base, _CLASS, n_steps=50, internal_batch_size=8
    )
    return found.detach().cpu()


def _normalized() -> torch.Tensor:
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in _scale())
    normalized: torch.Tensor = (_image() - mean) / std
    return normalized.to(device.pick())


def _scale() -> tuple[tuple[float, ...], tuple[float, ...]]:
    recipe = catalog.recipe("squeezenet1_1")
    return recipe.mean, recipe.std


@cache
def _bare() -> tuple[nn.Module, torch.Tensor]:
    recipe = catalog.recipe("squeezenet1_1")
    state, source = catalog.state(recipe, "auto")
    module = catalog.build(recipe, state, source).eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    return module.to(device.pick()), torch.tensor(recipe.std).view(1, 3, 1, 1)


def _same(ours: object, theirs: object) -> bool:
    if not isinstance(ours, torch.Tensor) or not isinstance(theirs, torch.Tensor):
        return False
    return bool((ours - theirs).abs().max() <= 1e-3 * theirs.abs().max())
