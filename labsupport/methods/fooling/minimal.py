"""The smallest change that fools: L-BFGS inside the box [0, 1], a search for its price c, and the
last bit of the way along the border of the class.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.frames import framed, last_of
from labsupport.core.network import Network
from labsupport.methods.fooling import results
from labsupport.methods.fooling.borders import Border, Flat, flat, nearest
from labsupport.methods.fooling.gradient_signs import pgd
from labsupport.methods.fooling.results import AttackResult, Classes, Targets

_FACTOR = 8.0  # how far apart the tried ones are, until one fools and another does not
_LIMITS = (1e-9, 1e6)
_SETTLED = 3e-3  # of the lead that is to be won: a step that gains less has found a minimum
_CLOSE = 2.0  # ends of the search for c closer than this factor are one
_RANGES = (1.0, 0.25, 1 / 16, 1 / 64)  # the largest changes of a pixel that PGD is tried with


@dataclass(frozen=True)
class SearchFrame:
    """A search for the smallest change on its way.

    It is at image `number` of `count`, counted from 0; `finished` are the results of those before.
    `now` is the change that is tried at present, with the price `c` on its length; `best` the
    shortest so far that fools, or None; after the last c it is the one found from there along the
    border. `round` counts the values of c, 1 to `rounds`.
    """

    round: int
    rounds: int
    c: float
    now: AttackResult
    best: AttackResult | None
    number: int = 0
    count: int = 1
    finished: tuple[AttackResult, ...] = ()

    @property
    def progress(self) -> float:
        """The share of all rounds that is done, 0 to 1."""
        return (self.number + self.round / self.rounds) / self.count

    @property
    def result(self) -> AttackResult:
        """The best change of each image so far; where none fools, the last one that was tried."""
        return results.concatenate([*self.finished, self.now if self.best is None else self.best])


def _result(frames: Iterator[SearchFrame]) -> AttackResult:
    return last_of(frames).result


@framed(result=_result)
def minimal_perturbation(
    network: Network,
    images: Tensor,
    target: Classes | None = None,
    *,
    label: Classes | None = None,
    rounds: int = 12,
    steps: int = 50,
) -> Iterator[SearchFrame]:
    """The smallest change that brings each image into its target, by box-constrained L-BFGS.

    Szegedy et al. 2013: minimize c ||r||² + loss(x + r, target) with x + r in [0, 1], and search
    for the largest c whose minimum still fools (at most `rounds` values of c, each with at most
    `steps` steps of L-BFGS-B, in double precision). Cross-entropy minds all classes, a shortest
    change only those that it meets: from the best minimum, at most `steps` more steps lead along
    the border of the class to the nearest point there (as in DeepFool and FAB). Where no c fools,
    `pgd` looks for a start, also from random pictures.

    Without a `target` it is the class that comes second, or one that PGD reaches if that cannot be
    had. The result is the shortest change that was met; where nothing fools, `success` says so. The
    call gives an `AttackResult`; `.frames` give one for each c that is tried.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    for name, value in (("rounds", rounds), ("steps", steps)):
        if not 1 <= value < math.inf or value != int(value):
            raise BadSetting(f"{name} is a whole number from 1 upwards, not {value}")
    targets = results.targets_of(network, images, label, target)
    if target is None:
        targets = replace(targets, target=_second_class(network, targets))
    search = _Search(network, int(rounds), int(steps), any_other=target is None)
    return _one_by_one(search, targets.split(1))


def _second_class(network: Network, targets: Targets) -> Tensor:
    scores = results.scores_of(network, targets.images)
    mine = torch.nn.functional.one_hot(targets.label, scores.shape[1]).bool()
    return scores.masked_fill(mine, -math.inf).argmax(1)


def _one_by_one(search: _Search, parts: Sequence[Targets]) -> Iterator[SearchFrame]:
    finished: tuple[AttackResult, ...] = ()
    for number, part in enumerate(parts):
        for frame in search.frames(part):
            frame = replace(frame, number=number, count=len(parts), finished=finished)
            yield frame
        finished = (*finished, frame.now if frame.best is None else frame.best)


@dataclass(frozen=True)
class _Search:
    """What is asked for each image; with `any_other` another class than the second will do."""

    network: Network
    rounds: int
    steps: int
    any_other: bool

    def frames(self, targets: Targets) -> Iterator[SearchFrame]:
        """For one image: a minimum for each c that is tried, each from the best one so far."""
        before = results.scores_of(self.network, targets.images)
        if bool((before.argmax(1) == targets.wanted).all()):  # it is there already
            same = targets.result(targets.images, before, before)
            yield SearchFrame(self.rounds, self.rounds, math.inf, same, same)
            return
        border = Border(self.network, targets, before)
        bracket, start, best = _bracket(border), border.origin, None
        for done in range(1, self.rounds + 1):
            c = bracket.next()
            change = _minimum(border, c, start, self.steps)
            now = border.result(change)
            if bool(now.success):
                start, best = change, _shorter(now, best)
            bracket.narrow(c, bool(now.success))
            if bracket.closed or done == self.rounds:
                break
            yield SearchFrame(done, self.rounds, c, now, best)
        yield SearchFrame(done, self.rounds, c, now, self._along_the_border(border, best))

    def _along_the_border(self, border: Border, best: AttackResult | None) -> AttackResult | None:
        """The shortest change on the way along the border from the best one, or from PGD's."""
        if best is None:
            found = self._elsewhere(border)
            if found is None:
                return None
            border, best = found
        return _shorter(border.result(nearest(border, flat(best.images), self.steps)), best)

    def _elsewhere(self, border: Border) -> tuple[Border, AttackResult] | None:
        """A change that fools, if PGD finds one, and the border of the class that it reaches."""
        targets = border.targets
        wanted = None if self.any_other else targets.target
        for eps, random_start in itertools.product(_RANGES, (False, True)):
            frames = pgd.frames(
                self.network,
                targets.images,
                wanted,
                eps=eps,
                steps=self.steps,
                random_start=random_start,
                label=targets.label,
            )
            for frame in frames:
                if bool(frame.result.success):
                    reached = frame.result.after.argmax(1).to(targets.label)
                    border = replace(border, targets=replace(targets, target=reached))
                    return border, border.result(flat(frame.result.images))
        return None


def _shorter(one: AttackResult, other: AttackResult | None) -> AttackResult:
    return one if other is None or float(one.length) < float(other.length) else other


def _bracket(border: Border) -> _Bracket:
    """From the c that would do if scores were linear and there were two classes, down to where
    the price of the largest change that there is no longer counts."""
    least = max(_LIMITS[0], _SETTLED * border.gap / len(border.origin))
    return _Bracket(min(max(border.price, least), _LIMITS[1]), least)


@dataclass
class _Bracket:
    """The search for the largest c whose minimum still fools, on a logarithmic scale."""

    start: float
    least: float
    fooling: float = 0.0
    honest: float = math.inf

    def next(self) -> float:
        if self.fooling and math.isfinite(self.honest):
            return math.sqrt(self.fooling * self.honest)
        if self.fooling:
            return self.fooling * _FACTOR
        return self.honest / _FACTOR if math.isfinite(self.honest) else self.start

    def narrow(self, c: float, fools: bool) -> None:
        if fools:
            self.fooling = max(self.fooling, c)
        else:
            self.honest = min(self.honest, c)

    @property
    def closed(self) -> bool:
        if self.honest <= self.least or self.fooling > _LIMITS[1]:
            return True
        return bool(self.fooling) and self.honest / self.fooling < _CLOSE


def _minimum(border: Border, c: float, start: Flat, steps: int) -> Flat:
    """Minimize c ||r||² + cross-entropy(x + r, target) with x + r in [0, 1]."""
    from scipy.optimize import Bounds, minimize

    def loss(scores: Tensor) -> Tensor:
        # single precision does not tell losses apart where all scores are nearly equal
        precise, wanted = scores.cpu().double(), border.targets.wanted.cpu()
        return torch.nn.functional.cross_entropy(precise, wanted)

    def value_and_gradient(pixels: Flat) -> tuple[float, Flat]:
        change = pixels - border.origin
        lost, gradient = border.with_gradient(pixels, loss)
        value = c * float(change @ change) + lost
        return scale * value, scale * (2 * c * change + gradient)

    # scipy's first step is the gradient: in this scale it is about as long as the whole way
    scale = 1 / (4 * border.price) if border.price else 1.0
    # and its tolerance is a share of the value, or of 1 where that is more
    tolerance = _SETTLED * border.gap * scale / max(1.0, scale * float(loss(border.before)))
    solution = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(np.zeros(len(start)), np.ones(len(start))),
        options={"maxiter": steps, "maxcor": 10, "ftol": tolerance, "gtol": 0.0},
    )
    return np.asarray(solution.x)
