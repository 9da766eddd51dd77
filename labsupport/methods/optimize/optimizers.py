"""How a picture moves along its gradient: optimizers as values, their memory in plain tensors.

Nothing is changed in place, so a frame can keep the state that it was made with for nothing.
Every optimizer treats the images of a batch apart: each moves as it would alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting, one_of

Memory = Mapping[str, Tensor]
Update = tuple[Tensor, Memory]
Schedule = str | tuple[float, ...]
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Gradient:
    """What a step is made from: the gradient's `values`, (N, ...) like the parameters, the
    `objective` (N,) that is to rise, and the share of the run that is done, 0 to 1."""

    values: Tensor
    objective: Tensor
    share: float


class Optimizer(ABC):
    """From parameters (N, ...) and their gradient to new parameters.

    `learning_rate` is the size of a step, `schedule` how it changes: "constant", "cosine" (falls
    to zero), or factors that follow each other, such as (1, 0.1, 0.01).
    """

    learning_rate: float
    schedule: Schedule = "constant"

    def __post_init__(self) -> None:
        name, rate = type(self).__name__, self.learning_rate
        if not rate > 0 or not math.isfinite(rate):
            raise BadSetting(f"{name}: learning_rate is a number above 0, not {rate}")
        if isinstance(self.schedule, str):
            one_of(self.schedule, SCHEDULES, "schedule", " Or give factors: (1, 0.1, 0.01)")
        if not self.schedule:
            raise BadSetting("a schedule of factors has one at least")

    @abstractmethod
    def step(self, parameters: Tensor, gradient: Gradient, memory: Memory) -> Update:
        """The new parameters and what to remember; the first memory is empty."""

    def learning_rate_at(self, share: float) -> float:
        """The learning rate when this share of the run is done."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        if isinstance(self.schedule, tuple):
            place = min(int(share * len(self.schedule)), len(self.schedule) - 1)
            return self.learning_rate * self.schedule[place]
        return self.learning_rate


@dataclass(frozen=True)
class Plain(Optimizer):
    """Along the gradient: x + learning_rate * g."""

    learning_rate: float = 1.0
    schedule: Schedule = "constant"

    def step(self, parameters: Tensor, gradient: Gradient, _memory: Memory) -> Update:
        rate = self.learning_rate_at(gradient.share)
        return torch.add(parameters, gradient.values, alpha=rate), {}


@dataclass(frozen=True)
class Normalized(Optimizer):
    """Along the gradient divided by its mean absolute value: pixels move by `learning_rate` on
    average. DeepDream (2015) moves by 1.5 of 255."""

    learning_rate: float = 1.5 / 255
    schedule: Schedule = "constant"

    def step(self, parameters: Tensor, gradient: Gradient, _memory: Memory) -> Update:
        size = mean_absolute(gradient.values).view(-1, *[1] * (parameters.ndim - 1))
        direction = gradient.values / size.clamp_min(torch.finfo(size.dtype).tiny)
        rate = self.learning_rate_at(gradient.share)
        return torch.add(parameters, direction, alpha=rate), {}


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Along a velocity: v = momentum * v + learning_rate * g, x + v. Mahendran and Vedaldi's
    momentum is 0.9."""

    learning_rate: float = 1.0
    momentum: float = 0.9
    schedule: Schedule = "constant"

    def step(self, parameters: Tensor, gradient: Gradient, memory: Memory) -> Update:
        push = self.learning_rate_at(gradient.share) * gradient.values
        velocity = self.momentum * memory["velocity"] + push if memory else push
        return parameters + velocity, {"velocity": velocity}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Each number by about `learning_rate`, whatever the size of its gradient (Kingma and Ba,
    2015)."""

    learning_rate: float = 0.05
    schedule: Schedule = "constant"
    beta1: float = 0.9
    beta2: float = 0.999

    def step(self, parameters: Tensor, gradient: Gradient, memory: Memory) -> Update:
        values = gradient.values
        if not memory:
            zero = torch.zeros_like(values)
            memory = {"first": zero, "second": zero, "count": torch.zeros(())}
        count = memory["count"] + 1
        first = torch.lerp(memory["first"], values, 1 - self.beta1)
        second = torch.addcmul(memory["second"] * self.beta2, values, values, value=1 - self.beta2)
        bias = math.sqrt(1 - self.beta2 ** float(count))
        rate = self.learning_rate_at(gradient.share) / (1 - self.beta1 ** float(count))
        root = second.sqrt().div_(bias).add_(1e-8)
        moved = torch.addcdiv(parameters, first, root, value=rate)
        return moved, {"first": first, "second": second, "count": count}


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Quasi-Newton steps: the last `history` steps tell the curvature (Liu and Nocedal, 1989).

    One evaluation a step: a step that raised the objective too little is taken back to half its
    length by the next one. `learning_rate` is how far the first step moves a parameter on average.
    """

    learning_rate: float = 0.01
    schedule: Schedule = "constant"
    history: int = 10

    def step(self, parameters: Tensor, gradient: Gradient, memory: Memory) -> Update:
        here = _Point(parameters.flatten(1), gradient.values.flatten(1), gradient.objective)
        if not memory:
            moved, known = self._first(here)
        else:
            moved, known = self._next(here, memory, gradient.share)
        return moved.view_as(parameters), known

    def _first(self, here: _Point) -> Update:
        count, size = here.place.shape
        empty = here.place.new_zeros(self.history, count, size)
        known = here.kept() | {
            "steps": empty,
            "changes": empty,
            "weights": here.place.new_zeros(self.history, count),
            "halved": here.place.new_zeros(count),
        }
        return here.place + self._along(here), known

    def _along(self, here: _Point) -> Tensor:
        size = here.gradient.abs().mean(1, keepdim=True)
        tiny = torch.finfo(size.dtype).tiny
        return self.learning_rate * here.gradient / size.clamp_min(tiny)

    def _next(self, here: _Point, known: Memory, share: float) -> Update:
        moved = here.place - known["place"]
        promised = (known["gradient"] * moved).sum(1)
        slack = 1e-6 * known["value"].abs()
        enough = here.value >= known["value"] + 1e-4 * promised - slack
        taken = enough | (known["halved"] >= _HALVINGS)
        # Where it was too far: half the way from the last good place, which stays the good one.
        halfway = known["place"] + 0.5 * moved
        history = self._learned(here, known, moved, taken)
        ahead = here.place + self._direction(here, history) * (
            self.learning_rate_at(share) / self.learning_rate
        )
        row = taken[:, None]
        good = {
            "place": torch.where(row, here.place, known["place"]),
            "gradient": torch.where(row, here.gradient, known["gradient"]),
            "value": torch.where(taken, here.value, known["value"]),
            "halved": torch.where(taken, torch.zeros_like(known["halved"]), known["halved"] + 1),
        }
        return torch.where(row, ahead, halfway), good | history

    def _learned(
        self, here: _Point, known: Memory, moved: Tensor, taken: Tensor
    ) -> dict[str, Tensor]:
        """The last steps and how they changed the gradient, the newest first."""
        change = known["gradient"] - here.gradient
        curve = (moved * change).sum(1)
        sizes = moved.norm(dim=1) * change.norm(dim=1)
        useful = taken & (curve > 1e-8 * sizes)  # what did not move or curve tells nothing
        weight = 1 / torch.where(useful, curve, torch.ones_like(curve))
        return {
            "steps": _with_newest(known["steps"], moved, useful),
            "changes": _with_newest(known["changes"], change, useful),
            "weights": _with_newest(known["weights"], weight, useful),
        }

    def _direction(self, here: _Point, history: Memory) -> Tensor:
        """The two loops over the history, the newest first; a pair of weight 0 is none."""
        pairs = list(zip(history["steps"], history["changes"], history["weights"], strict=True))
        rest, shares = here.gradient, []
        for step, change, weight in pairs:
            share = (weight * (step * rest).sum(1))[:, None]
            rest = rest - share * change
            shares.append(share)
        tiny = torch.finfo(rest.dtype).tiny
        _, newest, weight = pairs[0]
        curvature = newest.square().sum(1).clamp_min(tiny) * weight.clamp_min(tiny)
        rest = torch.where((weight > 0)[:, None], rest / curvature[:, None], self._along(here))
        for (step, change, weight), share in zip(reversed(pairs), reversed(shares), strict=True):
            back = (weight * (change * rest).sum(1))[:, None]
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


def _with_newest(kept: Tensor, newest: Tensor, useful: Tensor) -> Tensor:
    """What is kept, (M, N, ...), with the newest (N, ...) before it where that is useful (N,)."""
    row = useful.view(-1, *[1] * (newest.ndim - 1))
    return torch.where(row, torch.cat([newest[None], kept[:-1]]), kept)


def mean_absolute(gradient: Tensor) -> Tensor:
    """The mean absolute value (N,) of each image's gradient (N, ...), in one pass over it."""
    dims = tuple(range(1, gradient.ndim))
    total: Tensor = torch.linalg.vector_norm(gradient, 1, dims)
    return total / gradient[0].numel()
