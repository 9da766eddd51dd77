"""Contenders that take turns in one process, and the ratios of their times.

A machine's speed drifts, so single times say little. The contenders of a contest take turns, round
by round, and what is reported are medians over the rounds and ratios between them.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Contender = Callable[[], object]


@dataclass(frozen=True)
class Peer:
    """Another way at its best settings, and the ratio that we want against it.

    `share` is the part of the work that it does, where all of it would take too long: its seconds
    are divided by that. A way that only computes what any way must has no result: `bare`.
    """

    way: Contender
    wanted: float
    share: float = 1.0
    bare: bool = False


@dataclass(frozen=True)
class Contest:
    """One task: our way and the peers'.

    `prepare` runs before each of our turns and is not timed. `equal` compares the results of our
    way and of a peer's, so that nobody is fast at something else. A peer that cannot be imported
    is reported as missing.
    """

    task: str
    ours: Contender
    peers: Mapping[str, Peer]
    rounds: int = 5
    prepare: Callable[[], object] = lambda: None
    equal: Callable[[Any, Any], bool] | None = None


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
    def verdict(self) -> str:
        return "reached" if self.ratio >= self.wanted else "below"


@dataclass(frozen=True)
class Gap:
    """A row without times: the peer is not there, or the contest `failed`, and why."""

    task: str
    peer: str
    why: str
    failed: bool = False

    @property
    def verdict(self) -> str:
        return "failed" if self.failed else "not raced"


Row = Line | Gap


def race(
    contests: Iterable[Contest],
    about: str = "",
    *,
    after: Callable[[list[Line]], object] = lambda lines: None,
) -> None:
    """Hold the contests and print their table; `after` may print more below each contest."""
    if about:
        print(about)
    print(HEADING)
    for contest in contests:
        after(hold(contest))


def hold(contest: Contest) -> list[Line]:
    """One uncounted round to warm up, then the rounds; what goes wrong ends this contest alone."""
    try:
        peers = _ready(contest)
        ours, theirs = _rounds(contest, peers) if peers else ([], {})
    except Exception as error:  # whatever it is, the next contest can still be held
        _report(Gap(contest.task, "", f"{type(error).__name__}: {error}", failed=True))
        return []
    lines = [_line(contest, name, ours, seconds) for name, seconds in theirs.items()]
    for line in lines:
        _report(line)
    return lines


def _ready(contest: Contest) -> dict[str, Peer]:
    """The peers that are there, after the round that warms up and compares the results."""
    contest.prepare()
    result, ready = contest.ours(), {}
    for name, peer in contest.peers.items():
        try:
            answer = peer.way()
        except ImportError:
            _report(Gap(contest.task, name, "not installed here"))
            continue
        if contest.equal is not None and not peer.bare and not contest.equal(result, answer):
            raise ValueError(f"our result is not that of {name}")
        ready[name] = peer
    return ready


def _rounds(
    contest: Contest, peers: Mapping[str, Peer]
) -> tuple[list[float], dict[str, list[float]]]:
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(contest.rounds):
        contest.prepare()
        ours.append(_seconds(contest.ours))
        for name, peer in peers.items():
            theirs[name].append(_seconds(peer.way) / peer.share)
    return ours, theirs


def _seconds(contender: Contender) -> float:
    start = time.perf_counter()
    contender()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
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
        contest.peers[peer].wanted,
    )


def _report(row: Row) -> None:
    print(text(row), flush=True)


HEADING = (
    f"{'task':<48} {'against':<38} {'ours':>8} {'theirs':>8} "
    f"{'ratio':>7} {'spread':>13} {'target':>7}"
)


def text(row: Row) -> str:
    """One row of the table.

    >>> text(Gap("FGSM", "foolbox", "not installed here"))[-30:]
    ' not raced: not installed here'
    """
    begin = f"{row.task:<48} {row.peer:<38} "
    if isinstance(row, Gap):
        return f"{begin} {row.verdict}: {' '.join(row.why.split())[:200]}"
    spread = f"{row.spread[0]:.2f}-{row.spread[1]:.2f}"
    return (
        f"{begin}{row.ours:>7.3f}s {row.theirs:>7.3f}s "
        f"{row.ratio:>6.2f}x {spread:>13} {row.wanted:>6.2f}x  {row.verdict}"
    )
