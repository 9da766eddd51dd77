"""Szegedy's search for the smallest change: L-BFGS inside the box [0, 1], and a search for c."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsupport.core.network import Network
from labsupport.methods.fooling.attacks import Aim

_START = 0.1  # the first c that is tried
_FACTOR = 8.0  # how far apart the tried ones are, until one fools and another does not
_LIMITS = (1e-9, 1e6)
_SETTLED = 1e-4  # a relative gain of a step below which a minimum is found
_CLOSE = 1.05  # ends of the search for c closer than this factor are one


@dataclass(frozen=True)
class Tried:
    """The minimum for one c: the changed image, its scores, and whether it is in its target."""

    c: float
    image: Tensor
    scores: Tensor
    fools: bool


@dataclass
class _Bracket:
    """The search for the largest c whose minimum still fools, on a logarithmic scale."""

    fooling: float = 0.0
    honest: float = math.inf

    def next(self) -> float:
        if self.fooling and math.isfinite(self.honest):
            return math.sqrt(self.fooling * self.honest)
        if self.fooling:
            return self.fooling * _FACTOR
        return self.honest / _FACTOR if math.isfinite(self.honest) else _START

    def learn(self, c: float, fools: bool) -> None:
        if fools:
            self.fooling = max(self.fooling, c)
        else:
            self.honest = min(self.honest, c)

    @property
    def closed(self) -> bool:
        if self.honest < _LIMITS[0] or self.fooling > _LIMITS[1]:
            return True
        return bool(self.fooling) and self.honest / self.fooling < _CLOSE


def search(network: Network, asked: Aim, rounds: int, steps: int) -> Iterator[Tried]:
    """For one image: the minimum for each c that is tried, each from the best one so far."""
    bracket, start = _Bracket(), asked.images
    for _ in range(rounds):
        found = minimum(_Problem(network, asked, bracket.next()), start, steps)
        yield found
        bracket.learn(found.c, found.fools)
        if found.fools:
            start = found.image
        if bracket.closed:
            return


def minimum(problem: _Problem, start: Tensor, steps: int) -> Tried:
    """Minimize c ||r||² + cross-entropy(x + r, target) with x + r in [0, 1]."""
    from scipy.optimize import Bounds, minimize

    count = start.numel()
    found = minimize(
        problem.value_and_slope,
        _flat(start),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(np.zeros(count), np.ones(count)),
        options={"maxiter": steps, "maxcor": 10, "ftol": _SETTLED},
    )
    return problem.tried(found.x)


class _Problem:
    """One image, one target and one c, as scipy wants it: flat, in double precision."""

    def __init__(self, network: Network, asked: Aim, c: float) -> None:
        self._network, self._asked, self._c = network, asked, c
        self._x = _flat(asked.images)

    def value_and_slope(self, flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        change = flat - self._x
        with torch.enable_grad():
            image = self._image(flat).requires_grad_(True)
            scores = self._network.scores(image)
            loss = torch.nn.functional.cross_entropy(scores, self._asked.wanted)
            (slope,) = torch.autograd.grad(loss, image)
        value = self._c * float(change @ change) + float(loss.detach())
        return value, 2 * self._c * change + _flat(slope)

    def tried(self, flat: np.ndarray[Any, Any]) -> Tried:
        image = self._image(flat)
        with torch.no_grad():
            scores = self._network.scores(image)
        fools = bool((scores.argmax(1) == self._asked.wanted).all())
        return Tried(self._c, image, scores, fools)

    def _image(self, flat: np.ndarray[Any, Any]) -> Tensor:
        found = torch.from_numpy(flat.astype(np.float32)).view(self._asked.images.shape)
        return self._network.send(found)


def _flat(images: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(images.detach().cpu().double().contiguous().numpy().ravel())
