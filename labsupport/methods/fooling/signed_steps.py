"""The loop of many small steps along the signs of the slope, kept inside a ball and [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.images.perturbations import perturbed
from labsupport.core.network import Network
from labsupport.methods.fooling.attacks import Aim, scores_of, slope


@dataclass(frozen=True)
class Ball:
    """All pictures that differ by at most `eps` a pixel and lie in [0, 1]: from `low` to `high`.

    Both ends keep that promise to the last bit, so whatever lies between them does.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, images: Tensor, eps: float) -> Ball:
        one = torch.ones((), device=images.device)
        return cls(perturbed(images, -one, eps), perturbed(images, one, eps))

    def random(self, seed: int) -> Tensor:
        """A picture drawn evenly from the ball; image n of a batch does not depend on the rest."""
        random = torch.Generator().manual_seed(seed)
        share = torch.rand(self.low.shape[1:], generator=random).to(self.low)
        return (self.low + share * (self.high - self.low)).clamp(self.low, self.high)


@dataclass(frozen=True)
class Pace:
    """Settings of the loop: the ball's size, each step's, how many, and where it starts."""

    eps: float
    step: float
    steps: int
    random_start: bool
    seed: int


def pace(eps: float, step: float | None, steps: int, random_start: bool, seed: int) -> Pace:
    """The checked settings; without a step it is a tenth of the ball, at least its size / steps."""
    if not eps >= 0 or not math.isfinite(eps):
        raise BadSetting(f"eps is the largest change of a pixel, such as 8/255, not {eps}")
    if not 1 <= steps < math.inf or steps != int(steps):
        raise BadSetting(f"steps is a whole number from 1 upwards, not {steps}")
    step = max(eps / 10, eps / steps) if step is None else step
    if not step >= 0 or not math.isfinite(step):
        raise BadSetting(f"step is how far a pixel moves at a time, such as 2/255, not {step}")
    return Pace(eps, step, int(steps), random_start, seed)


def climb(network: Network, asked: Aim, how: Pace) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """After each step its number, the images, and the scores before all and now; 0 is the start."""
    ball = Ball.around(asked.images, how.eps)
    images = asked.images
    if how.random_start:
        images, before = ball.random(how.seed), scores_of(network, images)
    for step in range(how.steps):
        direction, scores = slope(network, images, asked.wanted)
        if not step and not how.random_start:
            before = scores
        yield step, images, before, scores
        way = asked.towards * how.step * direction.sign()
        images = torch.clamp(images + way, ball.low, ball.high)
    yield how.steps, images, before, scores_of(network, images)
