"""The smallest change that fools: L-BFGS inside the box [0, 1], and a search for its price c."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.frames import framed, last_of
from labsupport.core.network import Network
from labsupport.methods.fooling import results
from labsupport.methods.fooling.results import AttackResult, Classes, Targets

_START = 0.1  # the first c that is tried
_FACTOR = 8.0  # how far apart the tried ones are, until one fools and another does not
_LIMITS = (1e-9, 1e6)
_SETTLED = 1e-4  # a relative gain of a step below which a minimum is found
_CLOSE = 1.05  # ends of the search for c closer than this factor are one


@dataclass(frozen=True)
class SearchFrame:
    """A search for the smallest change on its way.

    It is at image `number` of `count`, counted from 0; `finished` are the results of those before.
    `now` is the change that is tried at present, with the price `c` on its length; `best` the
    shortest so far that fools, or None. `round` counts the values of c, 1 to `rounds`.
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
    `steps` steps of L-BFGS-B, in double precision). Without a `target` it is the class that comes
    second. The result is the shortest change that was met; where nothing fools, `success` says so.
    The call gives an `AttackResult`; `.frames` give one for each c that is tried.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    for name, value in (("rounds", rounds), ("steps", steps)):
        if not 1 <= value < math.inf or value != int(value):
            raise BadSetting(f"{name} is a whole number from 1 upwards, not {value}")
    targets = results.targets_of(network, images, label, target)
    if target is None:
        targets = replace(targets, target=_second_class(network, targets))
    return _one_by_one(network, targets.split(1), int(rounds), int(steps))


def _second_class(network: Network, targets: Targets) -> Tensor:
    scores = results.scores_of(network, targets.images)
    mine = torch.nn.functional.one_hot(targets.label, scores.shape[1]).bool()
    return scores.masked_fill(mine, -math.inf).argmax(1)


def _one_by_one(
    network: Network, parts: Sequence[Targets], rounds: int, steps: int
) -> Iterator[SearchFrame]:
    finished: tuple[AttackResult, ...] = ()
    for number, part in enumerate(parts):
        for frame in _search(network, part, rounds, steps):
            frame = replace(frame, number=number, count=len(parts), finished=finished)
            yield frame
        finished = (*finished, frame.now if frame.best is None else frame.best)


def _search(network: Network, targets: Targets, rounds: int, steps: int) -> Iterator[SearchFrame]:
    """For one image: a minimum for each c that is tried, each from the best one so far."""
    before = results.scores_of(network, targets.images)
    if bool((before.argmax(1) == targets.wanted).all()):  # it is there already
        same = targets.result(targets.images, before, before)
        yield SearchFrame(rounds, rounds, math.inf, same, same)
        return
    bracket, start, best = _Bracket(), targets.images, None
    for done in range(1, rounds + 1):
        c = bracket.next()
        image, scores = _minimum(network, targets, c, start, steps)
        now = targets.result(image, before, scores)
        fools = bool(now.success)
        if fools:
            start = image
            best = now if best is None or float(now.length) < float(best.length) else best
        yield SearchFrame(done, rounds, c, now, best)
        bracket.narrow(c, fools)
        if bracket.closed:
            return


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

    def narrow(self, c: float, fools: bool) -> None:
        if fools:
            self.fooling = max(self.fooling, c)
        else:
            self.honest = min(self.honest, c)

    @property
    def closed(self) -> bool:
        if self.honest < _LIMITS[0] or self.fooling > _LIMITS[1]:
            return True
        return bool(self.fooling) and self.honest / self.fooling < _CLOSE


def _minimum(
    network: Network, targets: Targets, c: float, start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Minimize c ||r||² + cross-entropy(x + r, target) with x + r in [0, 1]: image and scores.

    One image, as scipy wants it: flat, in double precision.
    """
    from scipy.optimize import Bounds, minimize

    x, count = _flat(targets.images), start.numel()

    def image_of(flat: np.ndarray[Any, Any]) -> Tensor:
        image = torch.from_numpy(flat.astype(np.float32)).view(targets.images.shape)
        return network.send(image)

    def value_and_gradient(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        change = flat - x
        with torch.enable_grad():
            image = image_of(flat).requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(network.scores(image), targets.wanted)
            (gradient,) = torch.autograd.grad(loss, image)
        value = c * float(change @ change) + float(loss.detach())
        return value, 2 * c * change + _flat(gradient)

    solution = minimize(
        value_and_gradient,
        _flat(start),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(np.zeros(count), np.ones(count)),
        options={"maxiter": steps, "maxcor": 10, "ftol": _SETTLED},
    )
    image = image_of(solution.x)
    return image, results.scores_of(network, image)


def _flat(images: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(images.detach().cpu().double().contiguous().numpy().ravel())
