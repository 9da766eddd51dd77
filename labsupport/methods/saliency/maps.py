"""The saliency map: one number a pixel of the gradient's three."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from labsupport.core.errors import BadSetting, nearest
from labsupport.core.network import Network, TargetLike
from labsupport.methods import backprop

# From a gradient (N, 3, H, W) to a map (N, H, W).
REDUCTIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "max": lambda gradient: gradient.abs().amax(1),
    "mean": lambda gradient: gradient.abs().mean(1),
    "L2": lambda gradient: gradient.square().sum(1).sqrt(),
    "signed": lambda gradient: gradient.mean(1),
}


def saliency_map(
    network: Network,
    images: torch.Tensor,
    target: TargetLike,
    *,
    reduce: str = "max",
    samples: int = 1,
    noise: float = 0.15,
    seed: int = 0,
) -> torch.Tensor:
    """How much each pixel of the images (N, 3, H, W) matters to the target: (N, H, W).

    The gradient w of the target's value with respect to the image has three numbers a pixel;
    `reduce` makes them one. "max" is Simonyan's M = max over channels of abs(w); "mean" and "L2"
    are the mean of the absolute values and their Euclidean length, "signed" the mean with its sign
    (positive where a brighter pixel raises the value).

    With `samples` above 1 the gradients of that many noisy copies are averaged first (SmoothGrad,
    Smilkov et al. 2017); `noise` is the noise's standard deviation, as a share of each image's
    range. The map is on the CPU.

    Errors: `BadSetting`, `BadImage`, `UnknownClass`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> linear = nn.Linear(3 * 4, 1, bias=False)
    >>> _ = nn.init.constant_(linear.weight, -2.0)
    >>> plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "categories": ["toy"], "input_size": 2}
    >>> network = networks.wrap(nn.Sequential(nn.Flatten(), linear), **plain)
    >>> saliency_map(network, torch.rand(1, 3, 2, 2), "toy")
    tensor([[[2., 2.], [2., 2.]]])
    """
    network.check(images)
    if reduce not in REDUCTIONS:
        near = nearest(str(reduce), REDUCTIONS, 1)[0]
        raise BadSetting(f"there is no reduction {reduce!r}; did you mean {near!r}?")
    if samples != int(samples):
        raise BadSetting(f"samples is {samples}; it is a whole number from 1 upwards")
    if samples == 1:
        gradient = backprop.gradient(network, images, target)
    else:
        settings: dict[str, Any] = {"noise": noise, "samples": int(samples), "seed": seed}
        gradient = backprop.smooth_gradient(network, images, target, **settings)
    return REDUCTIONS[reduce](gradient.values)
