"""What each panel of a notebook shows at many settings, for a page that answers without a kernel.

This works in the notebook's own kernel: `record()` before the first cell notes the panels that are
made, and `write(...)` after the last one drives a panel through the positions of its controls, the
most telling ones first, until its share of time and room is used up.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from traitlets import TraitError

from labsupport.commands.dials import COARSE, Dial, Setting, asked, dial_of, main_two
from labsupport.commands.packing import as_data, packed, size_of
from labsupport.core.errors import LabError
from labsupport.core.network import Network
from labsupport.ui import ink, screen
from labsupport.ui.board import MOST_IN_SIGHT, Board
from labsupport.ui.control import spaced
from labsupport.ui.controls import LoadingMenu
from labsupport.ui.live import Live
from labsupport.ui.panel import Panel

FRAMES = 24  # of a run
FEWEST, FRAMES_SHARE = 6, 0.8  # frames of large pictures: part of the room is for settings
LONGEST_RUN = 60.0  # seconds; what comes later is not stored
LONGEST = 3.0  # seconds for a picture of a network that is slower than the panel's own

made: list[Board] = []  # since `record()`, in order
_seconds: dict[str, float] = {}  # that networks take for one picture, by their names in menus


def record() -> None:
    """Note every panel that is made from now on."""
    plain = Board.__init__

    def recording(self: Board, *arguments: Any, **keywords: Any) -> None:
        plain(self, *arguments, **keywords)
        made.append(self)

    Board.__init__ = recording  # type: ignore[method-assign]


def write(model: str, place: str, seconds: float, size: float) -> None:
    """Drive the panel whose widget is `model`, and write what it showed to a file, as JSON.

    It takes about so many `seconds` of a processor, or `size` bytes, at most. A widget that is no
    panel of this notebook writes nothing.
    """
    for board in made:
        if board.controls and board.widget.model_id == model:
            with _unheard():
                stored = Recorder(board, Budget(seconds, size)).stored()
            Path(place).write_text(json.dumps(stored), encoding="utf-8")


@contextmanager
def _unheard() -> Iterator[None]:
    """No page shows the panels meanwhile: what they would tell it is not sent."""
    from ipykernel.comm.comm import BaseComm

    plain = BaseComm.publish_msg
    BaseComm.publish_msg = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        BaseComm.publish_msg = plain  # type: ignore[method-assign]


@dataclass
class Budget:
    """Seconds of a processor, and bytes, that a panel may use."""

    seconds: float
    size: float
    used: int = 0
    begun: float = field(default_factory=time.process_time)

    def allows(self, more: float = 0.0) -> bool:
        """Whether there is room, and time for what takes so many seconds `more`."""
        return self.used < self.size and self.spent + more < self.seconds

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.process_time() - self.begun


@dataclass(frozen=True)
class State:
    """What a panel shows: a picture by its number, and words. `said` has the words of the controls
    that followed another one, by their places."""

    picture: int
    words: str
    said: Mapping[int, str]


class Recorder:
    """Drives one panel, and keeps each picture once."""

    def __init__(self, board: Board, budget: Budget) -> None:
        self._board, self._budget = board, budget
        self.dials = [dial_of(control, board) for control in board.controls.values()]
        self.states: dict[tuple[tuple[int, int], ...], State] = {}
        self.frames: list[tuple[str, State]] = []
        self.pictures: list[bytes] = []
        self._known: dict[str, int] = {}
        self._seconds = self._longest = 0.0  # that one more state takes, or the first one took
        self._whole = True
        self._begun = isinstance(board, Live) and board.state != "finished"

    def stored(self) -> dict[str, Any] | None:
        """All that a page needs; None where the panel has no picture."""
        self._first()
        if not self.states:
            return None
        for dial in self.dials:
            self._find_heavy(dial)
        for setting in self._wanted():
            if not self._budget.allows(self._seconds):
                break
            self.keep(setting)
        self._move({})
        if isinstance(self._board, Panel):
            self._board.redraw()
        return _as_page(self) | {"seconds": self._budget.spent}

    def keep(self, setting: Setting) -> None:
        """Bring the panel to a setting, and keep what it shows, unless it refuses."""
        key = tuple(setting.items())
        if key in self.states or any(at in self.dials[i].heavy for i, at in key):
            return
        board, why = self._board, ""
        board.say("", "control")
        try:
            self._move(setting)
            refused = any(self.dials[i].says() not in ("", self.dials[i].words[at])
                          for i, at in key)  # fmt: skip
            why = "" if refused else self._draw()
        except TraitError:  # such as a layer that the network of this setting has not
            return
        if refused or board.picture is None:
            return
        said = {i: dial.says() for i, dial in enumerate(self.dials) if i not in setting}
        followed = {i: words for i, words in said.items()
                    if words not in ("", self.dials[i].words[self.dials[i].default])}  # fmt: skip
        if why:
            if self.states:
                self.states[key] = State(self.states[()].picture, f"Problem: {why}", followed)
            return
        words = " ".join(filter(None, (board.words, board.complaint)))
        self.states[key] = State(self._picture(), words, followed)

    def _first(self) -> None:
        """The default setting, drawn anew to see how long it takes; with frames, if it has any."""
        if isinstance(self._board, Live):
            self._board.autostart = False
            self._record_run(self._board)
        elif isinstance(self._board, Panel):
            self._board.results.clear()
            self._board.pictures.clear()
        start = time.process_time()
        self.keep({})
        self._longest = max(self._seconds, time.process_time() - start)

    def _record_run(self, live: Live) -> None:
        """The default run, of which evenly spaced frames are drawn and kept."""
        every, start = 1, time.process_time()
        drawn: dict[int, tuple[str, bytes, str]] = {}

        def wanted(count: int) -> bool:
            if time.process_time() - start > LONGEST_RUN:
                self._whole = False
                live.stop()
            return count == 1 or count % every == 0

        def keep(count: int) -> None:
            nonlocal every
            drawn[count] = (_how_far(live, count), *self._shown())
            if len(drawn) >= 2 * FRAMES:
                every *= 2
                for one in [one for one in drawn if one > 1 and one % every]:
                    del drawn[one]

        aside = self._run(live, wanted, keep)
        self._seconds = time.process_time() - start - aside
        words, png, said = (_how_far(live, max(drawn)), *self._shown())
        last = (words, State(self._picture(png), said, {}))
        room = FRAMES_SHARE * self._budget.size / self._budget.used  # for so many pictures
        few = spaced([*drawn.values()], max(FEWEST, min(FRAMES, round(room))))[:-1]
        frames = [(words, State(self._picture(png), said, {})) for words, png, said in few]
        self.frames = [*frames, last]

    def _run(self, live: Live, wanted: Callable[[int], bool], keep: Callable[[int], None]) -> float:
        """Run to the end, drawing the frames whose numbers are `wanted`; gives the seconds that
        drawing and keeping them took."""
        arrived, aside = live.arrived, 0.0

        def heard(work: Any, frame: Any) -> None:
            nonlocal aside
            drawn, start = wanted(work.count), time.process_time()
            work.next_picture = 0.0 if drawn else math.inf
            arrived(work, frame)
            if drawn:
                keep(work.count)
            aside += time.process_time() - start

        live.arrived = heard  # type: ignore[method-assign]
        try:
            live.run()
        finally:
            del live.arrived
        return aside

    def _wanted(self) -> Iterator[Setting]:
        """The settings to ask for; first those that need no new run."""
        counts = [len(dial.words) for dial in self.dials]
        defaults = [dial.default for dial in self.dials]
        if isinstance(self._board, Live):
            seconds, self._seconds = self._seconds, 0.0
            quick = [self._only_draws(dial, self._board) for dial in self.dials]
            few = [count if draws else 1 for count, draws in zip(counts, quick, strict=True)]
            least = [at if draws else 0 for at, draws in zip(defaults, quick, strict=True)]
            yield from asked(few, least, [])[: 1 + COARSE * sum(quick)]  # the coarse ones
            self._seconds = seconds
        yield from asked(counts, defaults, main_two(self.dials))

    def _only_draws(self, dial: Dial, live: Live) -> bool:
        """Whether a control changes the picture of a run that is there."""
        other = 0 if dial.default else len(dial.acts) - 1
        if other in dial.heavy:
            return False
        dial.acts[other]()
        same = live.has_run
        self._move({})
        return same

    def _find_heavy(self, dial: Dial) -> None:
        """Note the networks that take far longer than the panel's own."""
        if not isinstance(dial.control, LoadingMenu) or not isinstance(dial.control.value, Network):
            return
        place = self.dials.index(dial)
        # what a slow panel shows first may be remembered, and tells nothing of another network
        slow = isinstance(self._board, Panel) and self._board.cost == "slow"
        for at, words in enumerate(dial.words):
            if words not in _seconds:
                self._move({place: at})
                _seconds[words] = _forward(dial.control.value)
        self._move({})
        for at, words in enumerate(dial.words):
            slower = _seconds[words] / _seconds[dial.words[dial.default]]
            if slower > 1.5 and (slow or slower * self._longest > LONGEST):
                dial.heavy.add(at)

    def _move(self, setting: Setting) -> None:
        """Put all controls, those that lead others first; a panel draws nothing meanwhile."""
        still = self._board.lock if isinstance(self._board, Panel) else nullcontext()
        with still:
            for dial in self.dials:
                dial.acts[dial.default]()
            for i, at in setting.items():
                self.dials[i].acts[at]()

    def _draw(self) -> str:
        """Bring the picture up to date; gives what is wrong."""
        board = self._board
        try:
            if isinstance(board, Panel):
                board.redraw()
            elif isinstance(board, Live) and not board.has_run:
                start = time.process_time()
                self._run(board, lambda _: False, lambda _: None)
                self._seconds = time.process_time() - start
        except LabError as error:
            return str(error)
        return ""

    def _shown(self) -> tuple[bytes, str]:
        return bytes(self._board.image.value), self._board.words

    def _picture(self, png: bytes | None = None) -> int:
        """The number of a picture (the one that is shown now), which is kept once."""
        png = png or bytes(self._board.image.value)
        key = hashlib.sha256(png).hexdigest()
        if key not in self._known:
            self._known[key] = len(self.pictures)
            self.pictures.append(packed(png))
            self._budget.used += len(self.pictures[-1]) * 4 // 3  # as base64
        return self._known[key]


def _how_far(live: Live, count: int) -> str:
    done = getattr(live.frame, "progress", None)
    return f"frame {count}" if done is None else f"{float(done):.0%}"


def _forward(network: Network) -> float:
    """The seconds that a network takes for one picture, after a first time."""
    blank = torch.full((1, 3, *network.input_size), 0.5)
    last = [network.layers[-1].name]
    network.activations(blank, last)
    start = time.process_time()
    network.activations(blank, last)
    return time.process_time() - start


# ---------------------------------------------------------------- for the page


def _as_page(recorder: Recorder) -> dict[str, Any]:
    """What the page's script reads. A position that is not stored by itself is left out."""
    board, dials, frames = recorder._board, recorder.dials, recorder.frames
    alone = [{dict(key).get(i, dial.default) for key in recorder.states if {*dict(key)} <= {i}}
             for i, dial in enumerate(dials)]  # fmt: skip
    shown = [i for i, places in enumerate(alone) if len(places) > 1]
    order = {i: sorted(alone[i]) for i in shown}
    time_dial = [_time_dial(frames, begun=recorder._begun)] if len(frames) > 1 else []
    last = [len(frames) - 1] * len(time_dial)
    states = []
    for key, state in recorder.states.items():
        setting = dict(key)
        if all(i in order and at in order[i] for i, at in key):
            at = [order[i].index(setting.get(i, dials[i].default)) for i in shown]
            said = {len(last) + shown.index(i): words for i, words in state.said.items()
                    if i in shown}  # fmt: skip
            states.append([last + at, state.picture, state.words, said])
    middle = [order[i].index(dials[i].default) for i in shown]
    for place, (_, state) in enumerate(frames[:-1]):
        states.append([[place, *middle], state.picture, state.words, {}])
    return {
        "title": board.title,
        "wide": screen.goes_below(*size_of(recorder.pictures[0]), None),
        "dials": time_dial + [_page_dial(dials[i], i, order[i]) for i in shown],
        "states": states,
        "pictures": [_picture(one) for one in recorder.pictures],
        "stored": _stored(recorder, order, len(states)),
    }


def _time_dial(frames: list[tuple[str, State]], *, begun: bool) -> dict[str, Any]:
    words, last = [words for words, _ in frames], len(frames) - 1
    return {"label": "progress of the run", "kind": "time", "words": words, "default": last,
            "start": 0 if begun else last, "folded": False}  # fmt: skip


def _page_dial(dial: Dial, place: int, order: list[int]) -> dict[str, Any]:
    default = order.index(dial.default)
    return {"label": dial.label, "kind": dial.kind, "words": [dial.words[at] for at in order],
            "default": default, "start": default, "folded": place >= MOST_IN_SIGHT}  # fmt: skip


def _picture(content: bytes) -> list[Any]:
    width, height = size_of(content)
    return [width, height, screen.width_of(width, height), as_data(content)]


def _stored(recorder: Recorder, order: Mapping[int, list[int]], count: int) -> tuple[str, str]:
    """How many settings the page has, and which, in words."""
    dials = recorder.dials
    parts = [f"{dials[i].label} ({len(places)} of {dials[i].total})"
             for i, places in order.items()]  # fmt: skip
    few = f"This page has {ink.counted(count, 'setting')} of this panel."
    words = f"Each control can be moved by itself: {', '.join(parts)}." if parts else ""
    pairs = Counter(tuple(i for i, _ in key) for key in recorder.states if len(key) == 2)
    for (first, second), many in pairs.items():
        both = f"{dials[first].label} and {dials[second].label}"
        words += f" {ink.counted(many, 'combination')} of {both} can be seen."
    fixed = [f"{dial.label} ({dial.words[dial.default]})"
             for i, dial in enumerate(dials) if i not in order]  # fmt: skip
    if fixed:
        words += f" What stays as it is: {', '.join(fixed)}."
    if not recorder._whole:
        words += " The run is longer than what is stored of it."
    return few, words + " In the notebook, everything can be moved."
