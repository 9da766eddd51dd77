"""Gradients by the three rules against a ReLU written by hand, Captum, and closed forms."""

from __future__ import annotations

import copy
import functools
import math
import threading

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from labsupport.core import images, networks
from labsupport.core.errors import BadImage, BadSetting, UnknownClass, UnknownLayer
from labsupport.core.rules import RULES
from labsupport.methods import backprop
from labsupport.methods.backprop import (
    cascade,
    deconvnet,
    gradient,
    gradients,
    integrated_gradients,
    magnitude,
    randomized,
    smooth_frames,
    smooth_gradient,
    weighted_layers,
)

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
    found = gradients(network, image, 7)
    for rule in RULES:
        expected, met = by_hand(name, network, image, rule, 7)
        assert met == found[rule].relus == count
        close = 1e-6 * float(expected.abs().max())
        assert close > 0
        torch.testing.assert_close(found[rule].values, expected, rtol=1e-5, atol=close)
    plain, guided = found["backprop"].values, found["guided"].values
    assert (plain - guided).abs().max() > 0.1 * plain.abs().max()
