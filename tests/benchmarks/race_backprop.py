"""Gradients by the three rules against Captum, and one forward pass for all against three calls."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from contest import Contest, Peer, race
from peers import (
    GIANT_PANDA,
    at_first_call,
    bare_module,
    black_like,
    normalize,
    normalized_panda,
    panda,
)
from torch import nn

from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.core.network.rules import RULES
from labsupport.methods.backprop import gradient, gradients, integrated_gradients

_WANTED = {"backprop": 1.3, "guided": 1.1, "deconvnet": 1.4}


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    race(_contests(networks.load()))


def _contests(network: Network) -> Iterator[Contest]:
    for rule, wanted in _WANTED.items():
        yield Contest(
            f"squeezenet1_1, {rule}",
            partial(_ours, network, rule),
            {"Captum, weights frozen": Peer(at_first_call(partial(_captum, rule)), wanted)},
            rounds=15,
            equal=_same,
        )
    yield Contest(
        "the three rules from one forward pass",
        partial(_together, network),
        {"three calls": Peer(partial(_apart, network), 1.3)},
        rounds=15,
        equal=_same,
    )
    yield Contest(
        "integrated gradients, completeness within 1 %",
        lambda: integrated_gradients(network, panda(), GIANT_PANDA).values,
        {"Captum, 50 steps, 8 at a time": Peer(at_first_call(_captums_integral), 1.5)},
        rounds=3,
    )


def _ours(network: Network, rule: str) -> torch.Tensor:
    return gradient(network, panda(), GIANT_PANDA, rule=rule).values


def _together(network: Network) -> torch.Tensor:
    by_rule = gradients(network, panda(), GIANT_PANDA)
    return torch.cat([by_rule[rule].values for rule in RULES])


def _apart(network: Network) -> torch.Tensor:
    return torch.cat([_ours(network, rule) for rule in RULES])


def _captum(rule: str) -> Callable[[], torch.Tensor]:
    """Captum on the bare module, whose ReLUs are all modules; in place would stop its hooks."""
    from captum.attr import Deconvolution, GuidedBackprop, Saliency

    module = bare_module()
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    kinds = {"backprop": Saliency, "guided": GuidedBackprop, "deconvnet": Deconvolution}
    method = kinds[rule](module)
    settings = {"abs": False} if rule == "backprop" else {}

    def attribute() -> torch.Tensor:
        pixels = normalized_panda().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it sets hooks
            attributions: torch.Tensor = method.attribute(pixels, GIANT_PANDA, **settings)
        return attributions.detach().cpu() / normalize.std

    return attribute


def _captums_integral() -> Callable[[], object]:
    from captum.attr import IntegratedGradients

    pixels = normalized_panda()
    return partial(
        IntegratedGradients(bare_module()).attribute,
        pixels,
        black_like(pixels),
        GIANT_PANDA,
        n_steps=50,
        internal_batch_size=8,
    )


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= 1e-3 * theirs.abs().max())
