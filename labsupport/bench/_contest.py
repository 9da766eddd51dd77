"""Contenders that take turns, and the table of their ratios."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torchvision

Contender = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """One task: our way, the peers' ways at their best settings, and the ratio that we want.

    `prepare` runs before each of our turns and is not timed. `equal` compares the results of our
    way and of a peer's, so that nobody is fast at something else.
    """

    task: str
    ours: Contender
    peers: Mapping[str, Contender]
    wanted: Mapping[str, float]
    rounds: int = 5
    prepare: Callable[[], object] = lambda: None
    equal: Callable[[object, object], bool] | None = None


@dataclass(frozen=True)
class Line:
    """A row of the table: seconds are medians, `spread` the smallest and largest ratio."""

    task: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    spread: tuple[float, float]
    wanted: float

    @property
    def reached(self) -> bool:
        return self.ratio >= self.wanted


def hold(contest: Contest) -> list[Line]:
    """One uncounted round to warm up, then the rounds."""
    contest.prepare()
    result = contest.ours()
    for name, peer in contest.peers.items():
        answer = peer()
        if contest.equal is not None and not contest.equal(result, answer):
            raise ValueError(f"{contest.task}: our result is not that of {name}")
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in contest.peers}
    for _ in range(contest.rounds):
        contest.prepare()
        ours.append(_seconds(contest.ours))
        for name, peer in contest.peers.items():
            theirs[name].append(_seconds(peer))
    return [_line(contest, name, ours, seconds) for name, seconds in theirs.items()]


def _seconds(contender: Contender) -> float:
    start = time.perf_counter()
    contender()
    return time.perf_counter() - start


def _line(contest: Contest, peer: str, ours: list[float], theirs: list[float]) -> Line:
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return Line(
        contest.task,
        peer,
        statistics.median(ours),
        statistics.median(theirs),
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        contest.wanted[peer],
    )


HEADING = (
    f"{'task':<44} {'against':<38} {'ours':>8} {'theirs':>8} "
    f"{'ratio':>7} {'spread':>13} {'wanted':>7}"
)


def machine() -> str:
    """What computes here, for the line above a table."""
    return (
        f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"Python {platform.python_version()}"
    )


def text(line: Line) -> str:
    """One row of the table."""
    spread = f"{line.spread[0]:.2f}-{line.spread[1]:.2f}"
    verdict = "" if line.reached else "  below"
    return (
        f"{line.task:<44} {line.peer:<38} {line.ours:>7.3f}s {line.theirs:>7.3f}s "
        f"{line.ratio:>6.2f}x {spread:>13} {line.wanted:>6.2f}x{verdict}"
    )
