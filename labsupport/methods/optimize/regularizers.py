"""What keeps an optimized picture a picture: penalties in the loss, corrections after each step.

Corrections are those of Yosinski et al. 2015 ("Understanding neural networks through deep
visualization"); they pull towards the network's mean colour, which it sees as zero.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from labsupport.core.errors import BadSetting
from labsupport.methods.optimize.transforms import Step


class Penalty(ABC):
    """A number (N,) for images (N, 3, H, W) that is lowered, times its `weight`."""

    weight: float

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called among the loss terms."""

    @abstractmethod
    def __call__(self, images: Tensor, step: Step) -> Tensor: ...


class Correction(ABC):
    """A change of images (N, 3, H, W) after each step, given the gradient that the step took."""

    @abstractmethod
    def __call__(self, images: Tensor, gradient: Tensor, step: Step) -> Tensor: ...


Regularizer = Penalty | Correction


# Penalties


@dataclass(frozen=True)
class L2(Penalty):
    """The mean squared distance of the pixels from the mean colour (Simonyan's lambda times the
    squared norm, per pixel value)."""

    weight: float = 1.0
    name = "L2"

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        return (images - step.mean).square().flatten(1).mean(1)


@dataclass(frozen=True)
class TotalVariation(Penalty):
    """The mean over the pixels of (squared step right + squared step down) to the power beta / 2.

    Mahendran and Vedaldi 2015 take beta 2; beta 1 keeps edges and flattens what lies between.
    """

    weight: float = 1.0
    beta: float = 2.0
    name = "total variation"

    def __call__(self, images: Tensor, _step: Step) -> Tensor:
        corner = images[:, :, :-1, :-1]
        right = images[:, :, :-1, 1:] - corner
        down = images[:, :, 1:, :-1] - corner
        squares = right.square() + down.square()
        if self.beta != 2:
            squares = (squares + 1e-8) ** (self.beta / 2)  # the root of 0 has no gradient
        return squares.flatten(1).mean(1)


@dataclass(frozen=True)
class AlphaNorm(Penalty):
    """The mean of |pixel - mean colour| to the power alpha: extreme values are dear.

    Mahendran and Vedaldi 2015 take alpha 6.
    """

    weight: float = 1.0
    alpha: float = 6.0
    name = "alpha-norm"

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        return (images - step.mean).abs().pow(self.alpha).flatten(1).mean(1)


@dataclass(frozen=True)
class Range(Penalty):
    """How far pixels come into the outer `edge` of the range [0, 1], squared, on average."""

    weight: float = 1.0
    edge: float = 0.05
    name = "range"

    def __call__(self, images: Tensor, _step: Step) -> Tensor:
        over = (images - (1 - self.edge)).clamp_min(0) + (self.edge - images).clamp_min(0)
        return over.square().flatten(1).mean(1)


# Corrections


@dataclass(frozen=True)
class _Share(Correction):
    """A correction of a share of something."""

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            name = type(self).__name__
            raise BadSetting(f"{name}: a share is from 0 to below 1, not {self.share}")


@dataclass(frozen=True)
class Decay(_Share):
    """Each step, every pixel loses this share of its distance from the mean colour."""

    share: float = 0.01

    def __call__(self, images: Tensor, _gradient: Tensor, step: Step) -> Tensor:
        return torch.lerp(images, step.mean, self.share)


@dataclass(frozen=True)
class Blur(Correction):
    """Each `every` steps, a Gaussian blur of `sd` pixels: high frequencies do not build up."""

    sd: float = 0.5
    every: int = 4

    def __post_init__(self) -> None:
        if not self.sd > 0 or self.every < 1:
            raise BadSetting(
                f"Blur: sd is above 0 and every from 1 on, not {self.sd}, {self.every}"
            )

    def __call__(self, images: Tensor, _gradient: Tensor, step: Step) -> Tensor:
        return images if (step.number + 1) % self.every else blurred(images, self.sd)


@dataclass(frozen=True)
class ClipNorm(_Share):
    """Pixels whose distance from the mean colour is among the smallest `share` become it."""

    share: float = 0.5

    def __call__(self, images: Tensor, _gradient: Tensor, step: Step) -> Tensor:
        norms = (images - step.mean).square().sum(1, keepdim=True)
        return torch.where(_among_smallest(norms, self.share), step.mean, images)


@dataclass(frozen=True)
class ClipContribution(_Share):
    """Pixels that contribute least become the mean colour: the smallest `share` of
    abs(sum over colours of (pixel - mean) * gradient)."""

    share: float = 0.5

    def __call__(self, images: Tensor, gradient: Tensor, step: Step) -> Tensor:
        given = ((images - step.mean) * gradient).sum(1, keepdim=True).abs()
        return torch.where(_among_smallest(given, self.share), step.mean, images)


def blurred(images: Tensor, sd: float) -> Tensor:
    """Images after a Gaussian of `sd` pixels; the border is repeated outwards."""
    radius = min(max(1, math.ceil(3 * sd)), images.shape[2] - 1, images.shape[3] - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    bell = torch.exp(-0.5 * (offsets / sd) ** 2)
    taps: list[float] = (bell / bell.sum()).tolist()
    for axis in (2, 3):
        edges = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        padded = functional.pad(images, edges, mode="replicate")
        length = images.shape[axis]
        images = taps[0] * padded.narrow(axis, 0, length)
        for place, tap in enumerate(taps[1:], start=1):
            images.add_(padded.narrow(axis, place, length), alpha=tap)
    return images


def _among_smallest(values: Tensor, share: float) -> Tensor:
    """Which of the values (N, 1, H, W) of each image are its smallest `share`."""
    flat = values.flatten(1)
    count = round(share * flat.shape[1])
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    return values <= flat.kthvalue(count, dim=1).values.view(-1, 1, 1, 1)
