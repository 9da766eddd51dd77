"""The border of a class in the space of pictures, and the way along it to its nearest point.

Where scores are linear, the pictures that a network takes for a class lie between planes, and the
nearest of them is a projection. Elsewhere the border is taken for a plane where one stands,
projected upon, and found again on the line from the picture to there: Moosavi-Dezfooli, Fawzi and
Frossard, "DeepFool", 2016; Croce and Hein, "Minimally distorted adversarial examples with a fast
adaptive boundary attack", 2020. Here the last few planes count together, for the corners where
three classes meet and the edges that ReLUs make.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsupport.core.network import Network, gradients
from labsupport.methods.fooling import results
from labsupport.methods.fooling.results import AttackResult, Targets

Flat = np.ndarray[Any, Any]  # one image's pixels (D,) in double precision, as scipy wants them

_MARGIN = 1e-4  # of the first gap: so far beyond the border a point is surely beyond it
_NEAR = 20  # margins beyond the border are on it
_ROUNDING = 1e-6  # of the largest score: what single precision does not tell apart
_PLANES = 6  # that count at a time
_TRIES = 4  # to find the border on a line
_GAIN = 1e-3  # a shorter change by this share is worth another step
_IDLE = 5  # steps without that gain are the last


@dataclass(frozen=True)
class Border:
    """The border of the class that one image, (1, 3, H, W), is to reach.

    Pictures are flat here. The `lead` of the wanted class, its score minus the best other one, is
    `before` at the image itself, zero on the border and positive beyond it.
    """

    network: Network
    targets: Targets
    before: Tensor  # scores (1, classes)

    @cached_property
    def origin(self) -> Flat:
        """The image itself."""
        return flat(self.targets.images)

    @cached_property
    def gap(self) -> float:
        """The lead that has to be won, above 0."""
        least = _ROUNDING * float(self.before.abs().amax())
        return max(-float(self.lead(self.before)), least)

    @cached_property
    def price(self) -> float:
        """The largest c whose minimum fools if scores were linear and there were two classes."""
        _, gradient = self.with_gradient(self.origin, self.lead)
        return float(gradient @ gradient) / (4 * self.gap)

    @cached_property
    def margin(self) -> float:
        """The least lead of a point that counts as beyond the border."""
        return max(_MARGIN * self.gap, _ROUNDING * float(self.before.abs().amax()))

    def lead(self, scores: Tensor) -> Tensor:
        """What the wanted class of one image is ahead of all others."""
        wanted = int(self.targets.wanted)
        others = torch.cat([scores[0, :wanted], scores[0, wanted + 1 :]])
        return scores[0, wanted] - others.amax()

    def image(self, pixels: Flat) -> Tensor:
        """(1, 3, H, W) on the network's device."""
        image = torch.from_numpy(pixels.astype(np.float32)).view(self.targets.images.shape)
        return self.network.send(image)

    def result(self, pixels: Flat) -> AttackResult:
        image = self.image(pixels)
        return self.targets.result(image, self.before, results.scores_of(self.network, image))

    def lead_at(self, pixels: Flat) -> float:
        return float(self.lead(results.scores_of(self.network, self.image(pixels))))

    def with_gradient(self, pixels: Flat, value: Callable[[Tensor], Tensor]) -> tuple[float, Flat]:
        """A number made of the scores, and its gradient."""
        with torch.enable_grad():
            image = self.image(pixels).requires_grad_(True)
            number = value(self.network.scores(image))
            gradient = gradients.gradient_of(number, image)
        return float(number.detach()), flat(gradient)


def flat(images: Tensor) -> Flat:
    return np.asarray(images.detach().cpu().double().contiguous().numpy().ravel())


def nearest(border: Border, start: Flat, steps: int) -> Flat:
    """The shortest change that is met on the way along the border, from one that fools.

    Each of at most `steps` steps goes towards the nearest point beyond all planes that are known.
    A step that finds nothing shorter has met another plane: the next one stays closer.
    """
    origin, planes = border.origin, _Planes()
    met = _crossing(border, start, None)
    point = best = start if met is None else met
    shortest, caution, idle = _length(best - origin), 0.0, 0
    for _ in range(steps):
        lead, gradient = border.with_gradient(point, border.lead)
        if not gradient.any():  # flat here: no way to tell where the border is
            break
        planes.add(point, lead - border.margin, gradient)
        goal = planes.project((origin + caution * best) / (1 + caution))
        found = _crossing(border, goal, float(gradient @ (goal - origin)))
        point = goal if found is None else found
        length = math.inf if found is None else _length(point - origin)
        idle = 0 if length < (1 - _GAIN) * shortest else idle + 1
        if length < shortest:
            best, shortest, caution = point, length, caution / 4 if caution > 0.1 else 0.0
        else:
            caution = max(0.5, 4 * caution)
        if idle == _IDLE:
            break
    return best


def _crossing(border: Border, goal: Flat, slope: float | None) -> Flat | None:
    """The point just beyond the border on the line from the image to `goal` and on.

    `slope` is how fast the lead grows at `goal`, for the whole line; None: `goal` is beyond the
    border. The result is None where no point beyond it is found.
    """
    origin, wanted, place = border.origin, 2 * border.margin, 1.0
    before = (0.0, -border.gap) if slope is None else None
    beyond: tuple[float, float] | None = None
    result = None
    for _ in range(_TRIES if slope is not None else 2 * _TRIES):
        point = np.clip(origin + place * (goal - origin), 0, 1)
        lead = border.lead_at(point)
        if lead >= border.margin:
            result, beyond = point, (place, lead)
            if lead <= _NEAR * border.margin:
                break
        else:
            before = (place, lead)
        if before is not None and beyond is not None:
            place = _between(before, beyond, wanted)
        else:
            place += 1.2 * (wanted - lead) / max(slope or 0.0, 1e-12)
            place = min(max(place, 0.3), 2.0)
    return result


def _between(before: tuple[float, float], beyond: tuple[float, float], wanted: float) -> float:
    """Where a straight line through two (place, lead) has the lead that is wanted."""
    share = (wanted - before[1]) / (beyond[1] - before[1])
    return before[0] + (beyond[0] - before[0]) * min(0.95, max(0.05, share))


class _Planes:
    """The last few planes that were met, each as a unit normal (D,) and an offset: a point p lies
    beyond a plane where normal @ p + offset >= 0."""

    def __init__(self) -> None:
        self._normals: list[Flat] = []
        self._offsets: list[float] = []

    def add(self, point: Flat, lead: float, gradient: Flat) -> None:
        """The plane where a lead would be 0 if it went on with this gradient."""
        steepness = _length(gradient)
        normal = gradient / steepness
        self._normals = [*self._normals, normal][-_PLANES:]
        self._offsets = [*self._offsets, lead / steepness - float(normal @ point)][-_PLANES:]

    def project(self, pixels: Flat) -> Flat:
        """The nearest point in [0, 1] beyond all planes: by the dual problem, a number a plane."""
        from scipy.optimize import minimize

        normals, offsets = np.stack(self._normals), np.array(self._offsets)

        def dual(weights: Flat) -> tuple[float, Flat]:
            point = np.clip(pixels + weights @ normals, 0, 1)
            beyond, change = normals @ point + offsets, point - pixels
            return float(weights @ beyond - change @ change / 2), beyond

        start = np.zeros(len(offsets))
        start[-1] = max(0.0, -float(normals[-1] @ pixels) - offsets[-1])
        found = minimize(
            dual,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * len(offsets),
            options={"gtol": 1e-9, "ftol": 1e-14},
        )
        return np.asarray(np.clip(pixels + found.x @ normals, 0, 1))


def _length(change: Flat) -> float:
    return float(np.linalg.norm(change))
