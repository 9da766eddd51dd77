"""How a picture moves along its gradient: step rules as values, their memory in plain tensors.

Nothing is changed in place, so a frame can keep the state that it was made with for nothing.
Every rule treats the images of a batch apart: each moves as it would alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting, nearest

Memory = Mapping[str, Tensor]
Schedule = str | tuple[float, ...]
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Slope:
    """What a step is made from: the gradient of the value (N,) that is to rise, and how much of
    the run is done, 0 to 1."""

    gradient: Tensor
    value: Tensor
    share: float


class StepRule(ABC):
    """From parameters (N, ...) and their slope to new parameters.

    `rate` is the size of a step, `schedule` how it changes: "constant", "cosine" (falls to zero),
    or factors that follow each other, such as (1, 0.1, 0.01).
    """

    rate: float
    schedule: Schedule = "constant"

    def __post_init__(self) -> None:
        if not self.rate > 0 or not math.isfinite(self.rate):
            raise BadSetting(f"{type(self).__name__}: rate is a number above 0, not {self.rate}")
        if isinstance(self.schedule, str) and self.schedule not in SCHEDULES:
            raise BadSetting(
                f"no schedule {self.schedule!r}; the nearest is "
                f"{nearest(self.schedule, SCHEDULES, 1)[0]!r} (or give factors: (1, 0.1, 0.01))"
            )
        if not self.schedule:
            raise BadSetting("a schedule of factors has one at least")

    @abstractmethod
    def step(
        self, parameters: Tensor, slope: Slope, memory: Memory
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The new parameters and what to remember; the first memory is empty."""

    def rate_at(self, share: float) -> float:
        """The rate when this share of the run is done."""
        if self.schedule == "cosine":
            return self.rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        if isinstance(self.schedule, tuple):
            place = min(int(share * len(self.schedule)), len(self.schedule) - 1)
            return self.rate * self.schedule[place]
        return self.rate


@dataclass(frozen=True)
class Plain(StepRule):
    """Along the gradient: x + rate * g."""

    rate: float = 1.0
    schedule: Schedule = "constant"

    def step(
        self, parameters: Tensor, slope: Slope, _memory: Memory
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.add(parameters, slope.gradient, alpha=self.rate_at(slope.share)), {}


@dataclass(frozen=True)
class Normalized(StepRule):
    """Along the gradient divided by its mean absolute value, so pixels move by `rate` on average.

    DeepDream (2015) moves by 1.5 of 255.
    """

    rate: float = 1.5 / 255
    schedule: Schedule = "constant"

    def step(
        self, parameters: Tensor, slope: Slope, _memory: Memory
    ) -> tuple[Tensor, dict[str, Tensor]]:
        size = _each(mean_size(slope.gradient), parameters)
        direction = slope.gradient / size.clamp_min(torch.finfo(size.dtype).tiny)
        return torch.add(parameters, direction, alpha=self.rate_at(slope.share)), {}


@dataclass(frozen=True)
class Momentum(StepRule):
    """Along a velocity: v = momentum * v + rate * g, x + v (Mahendran and Vedaldi: 0.9)."""

    rate: float = 1.0
    momentum: float = 0.9
    schedule: Schedule = "constant"

    def step(
        self, parameters: Tensor, slope: Slope, memory: Memory
    ) -> tuple[Tensor, dict[str, Tensor]]:
        push = self.rate_at(slope.share) * slope.gradient
        velocity = self.momentum * memory["velocity"] + push if memory else push
        return parameters + velocity, {"velocity": velocity}


@dataclass(frozen=True)
class Adam(StepRule):
    """Each number by about `rate`, whatever the size of its gradient (Kingma and Ba, 2015)."""

    rate: float = 0.05
    schedule: Schedule = "constant"
    first: float = 0.9
    second: float = 0.999

    def step(
        self, parameters: Tensor, slope: Slope, memory: Memory
    ) -> tuple[Tensor, dict[str, Tensor]]:
        gradient = slope.gradient
        if not memory:
            zero = torch.zeros_like(gradient)
            memory = {"first": zero, "second": zero, "count": torch.zeros(())}
        count = memory["count"] + 1
        first = torch.lerp(memory["first"], gradient, 1 - self.first)
        second = torch.addcmul(
            memory["second"] * self.second, gradient, gradient, value=1 - self.second
        )
        debt = math.sqrt(1 - self.second ** float(count))
        rate = self.rate_at(slope.share) / (1 - self.first ** float(count))
        root = second.sqrt().div_(debt).add_(1e-8)
        moved = torch.addcdiv(parameters, first, root, value=rate)
        return moved, {"first": first, "second": second, "count": count}


@dataclass(frozen=True)
class LBFGS(StepRule):
    """Quasi-Newton steps: the last `memory` steps tell the curvature (Liu and Nocedal, 1989).

    One evaluation a step: a step that raised the value too little is taken back to half its
    length by the next one. `rate` is how far the first step moves a parameter on average.
    """

    rate: float = 0.01
    schedule: Schedule = "constant"
    memory: int = 10

    def step(
        self, parameters: Tensor, slope: Slope, memory: Memory
    ) -> tuple[Tensor, dict[str, Tensor]]:
        here = _Point(parameters.flatten(1), slope.gradient.flatten(1), slope.value)
        if not memory:
            moved, known = self._first(here)
        else:
            moved, known = self._next(here, memory, slope.share)
        return moved.view_as(parameters), known

    def _first(self, here: _Point) -> tuple[Tensor, dict[str, Tensor]]:
        count, size = here.place.shape
        empty = here.place.new_zeros(self.memory, count, size)
        known = here.kept() | {
            "steps": empty,
            "turns": empty,
            "weights": here.place.new_zeros(self.memory, count),
            "halved": here.place.new_zeros(count),
        }
        return here.place + self._along(here), known

    def _along(self, here: _Point) -> Tensor:
        size = here.gradient.abs().mean(1, keepdim=True)
        tiny = torch.finfo(size.dtype).tiny
        return self.rate * here.gradient / size.clamp_min(tiny)

    def _next(self, here: _Point, known: Memory, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        moved = here.place - known["place"]
        promised = (known["gradient"] * moved).sum(1)
        slack = 1e-6 * known["value"].abs()
        enough = here.value >= known["value"] + 1e-4 * promised - slack
        taken = enough | (known["halved"] >= _HALVINGS)
        # Where it was too far: half the way from the last good place, which stays the good one.
        halfway = known["place"] + 0.5 * moved
        steps, turns, weights = self._learned(here, known, moved, taken)
        ahead = here.place + self._direction(here, steps, turns, weights) * (
            self.rate_at(share) / self.rate
        )
        row = taken[:, None]
        good = {
            "place": torch.where(row, here.place, known["place"]),
            "gradient": torch.where(row, here.gradient, known["gradient"]),
            "value": torch.where(taken, here.value, known["value"]),
            "halved": torch.where(taken, torch.zeros_like(known["halved"]), known["halved"] + 1),
            "steps": steps,
            "turns": turns,
            "weights": weights,
        }
        return torch.where(row, ahead, halfway), good

    def _learned(
        self, here: _Point, known: Memory, moved: Tensor, taken: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The last steps and how they turned the gradient, the newest in front."""
        turned = known["gradient"] - here.gradient
        curve = (moved * turned).sum(1)
        sizes = moved.norm(dim=1) * turned.norm(dim=1)
        useful = taken & (curve > 1e-8 * sizes)  # what did not move or curve tells nothing
        weight = 1 / torch.where(useful, curve, torch.ones_like(curve))
        row = useful[:, None]
        return (
            torch.where(row, torch.cat([moved[None], known["steps"][:-1]]), known["steps"]),
            torch.where(row, torch.cat([turned[None], known["turns"][:-1]]), known["turns"]),
            torch.where(useful, torch.cat([weight[None], known["weights"][:-1]]), known["weights"]),
        )

    def _direction(self, here: _Point, steps: Tensor, turns: Tensor, weights: Tensor) -> Tensor:
        """The two loops over the memory, the newest in front; a pair of weight 0 is none."""
        rest, shares = here.gradient, []
        for step, turn, weight in zip(steps, turns, weights, strict=True):
            share = (weight * (step * rest).sum(1))[:, None]
            rest = rest - share * turn
            shares.append(share)
        tiny = torch.finfo(rest.dtype).tiny
        newest = turns[0].square().sum(1).clamp_min(tiny) * weights[0].clamp_min(tiny)
        known = (weights[0] > 0)[:, None]
        rest = torch.where(known, rest / newest[:, None], self._along(here))
        for step, turn, weight, share in zip(
            reversed(steps), reversed(turns), reversed(weights), reversed(shares), strict=True
        ):
            back = (weight * (turn * rest).sum(1))[:, None]
            rest = rest + (share - back) * step
        return rest


_HALVINGS = 12


@dataclass(frozen=True)
class _Point:
    """Where a batch stands, each image as one row: (N, D), (N, D), (N,)."""

    place: Tensor
    gradient: Tensor
    value: Tensor

    def kept(self) -> dict[str, Tensor]:
        return {"place": self.place, "gradient": self.gradient, "value": self.value}


def mean_size(gradient: Tensor) -> Tensor:
    """The mean absolute value (N,) of each image's gradient (N, ...), in one pass over it."""
    dims = tuple(range(1, gradient.ndim))
    total: Tensor = torch.linalg.vector_norm(gradient, 1, dims)
    return total / gradient[0].numel()


def _each(values: Tensor, like: Tensor) -> Tensor:
    """(N,) as (N, 1, ...) to multiply with."""
    return values.view(-1, *[1] * (like.ndim - 1))
