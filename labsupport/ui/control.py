"""A control: a widget, the value that a drawing function gets from it, and who follows it.

A control may follow others, as a menu of layers follows the menu of networks. The mechanism is one
list: when a control changes, it refreshes its followers (and theirs) first, and then tells
everybody who listens, each listener once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from labsupport.core.errors import LabError

MANY = 12


@dataclass(frozen=True)
class Step:
    """One thing that a person can do with a control; `complains`: a message is the answer."""

    words: str
    act: Callable[[], None]
    complains: bool = False


class Control:
    """A widget, the value it stands for, and who follows and listens to it.

    `source` is the widget whose `value` trait is watched, `shown` the one that a panel displays.
    """

    def __init__(self, source: Any, *, shown: Any = None, words: str = "") -> None:
        self.source = source
        self.shown = source if shown is None else shown
        self.label = words or str(source.description)
        self._quiet = False
        self._kept = source.value
        self._leaders: list[Control] = []
        self._followers: list[Control] = []
        self._listeners: list[Callable[[], None]] = []
        self._hearers: list[Callable[[str, str], None]] = []
        source.observe(self._moved, "value")

    @property
    def value(self) -> Any:
        """What a drawing function gets; raises a `LabError` if what was typed means nothing."""
        return self.source.value

    @property
    def key(self) -> Hashable:
        """What tells two values apart: results are remembered under it."""
        key: Hashable = self.source.value
        return key

    @property
    def words(self) -> Any:
        """The value as it is written into the settings of a saved picture."""
        return self.source.value

    def steps(self) -> list[Step]:
        """What a walk does with this control: smallest, middle and largest, or each option."""
        return [self._step(raw) for raw in self._stops()]

    def walking(self) -> AbstractContextManager[None]:
        """Entered while a walk drives this control."""
        return nullcontext()

    def follow(self, leader: Control) -> None:
        """Be refreshed whenever `leader` changes."""
        self._leaders.append(leader)
        leader._followers.append(self)

    def listen(self, changed: Callable[[], None], hear: Callable[[str, str], None]) -> None:
        """`changed()` after each change; `hear(words, kind)` when the control has a say."""
        self._listeners.append(changed)
        self._hearers.append(hear)

    def unlisten(self, changed: Callable[[], None], hear: Callable[[str, str], None]) -> None:
        """Undo `listen`; the last one to go closes the widget."""
        self._listeners.remove(changed)
        self._hearers.remove(hear)
        if not self._listeners and not self._followers:
            for leader in self._leaders:
                leader._followers.remove(self)
            self._leaders.clear()
            self._close()

    def redraw_while_moving(self, wanted: bool) -> None:
        """Whether a slider reports each value on its way, or only the one it is left at."""
        if self.source.has_trait("continuous_update") and not isinstance(
            self.source, widgets.Combobox
        ):
            self.source.continuous_update = wanted

    def _refresh(self) -> None:
        """Adapt to the leaders' new values."""

    def _accept(self) -> None:
        """Look at the new value before anybody is told; a `LabError` sends it back."""

    def _stops(self) -> Sequence[Any]:
        return _stops_of(self.source)

    def _step(self, raw: Any, *, complains: bool = False) -> Step:
        return Step(f"{self.label} = {raw}", lambda: self.put(raw), complains)

    def put(self, raw: Any) -> None:
        """Move the widget, as a person would."""
        self.source.value = raw

    def _close(self) -> None:
        shut(self.source)
        if self.shown is not self.source:
            shut(self.shown)

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _moved(self, _change: Any) -> None:
        if self._quiet:
            return
        self._say("")
        try:
            self._accept()
        except Exception as error:
            with self._silence():
                self.source.value = self._kept
            if not isinstance(error, LabError):
                raise
            self._say(str(error))
            return
        self._kept = self.source.value
        self._tell()

    def _tell(self) -> None:
        listeners = list(self._listeners)
        for follower in self._all_followers():
            with follower._silence():
                try:
                    follower._refresh()
                except LabError as error:
                    follower._say(str(error))
            follower._kept = follower.source.value
            listeners += follower._listeners
        for changed in dict.fromkeys(listeners):
            changed()

    def _all_followers(self) -> list[Control]:
        followers = list(self._followers)
        for follower in self._followers:
            followers += follower._all_followers()
        return list(dict.fromkeys(followers))

    def _say(self, words: str, kind: str = "control") -> None:
        """Words for the panel's message line: a problem, or calmly a "note"; "" takes it back."""
        for hear in dict.fromkeys(self._hearers):
            hear(words, kind)


class Remembered:
    """The last `size` results by key; the one that was not asked for longest goes first."""

    def __init__(self, size: int) -> None:
        self.size, self.hits = size, 0
        self._kept: dict[Hashable, Any] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept under `key`; made and kept if there is nothing."""
        if key in self._kept:
            self.hits += 1
            self._kept[key] = self._kept.pop(key)
            return self._kept[key]
        made = make()
        while self._kept and len(self._kept) >= self.size:
            del self._kept[next(iter(self._kept))]
        if self.size:
            self._kept[key] = made
        return made

    def clear(self) -> None:
        self._kept.clear()


def shut(widget: Any) -> None:
    """Close a widget with its layout and style, which are widgets too and would stay otherwise."""
    parts = [getattr(widget, name, None) for name in ("layout", "style")]
    for part in (widget, *parts):
        if part is not None:
            part.unobserve_all()
            part.close()


def _stops_of(source: Any) -> list[Any]:
    if source.has_trait("options"):
        return spaced([_option_value(option) for option in source.options])
    if isinstance(source, widgets.Checkbox):
        return [not source.value, source.value]
    if isinstance(source, widgets.FloatLogSlider):
        low, high = float(source.min), float(source.max)
        return [source.base**low, source.base ** ((low + high) / 2), source.base**high]
    if source.has_trait("min") and source.has_trait("max"):
        steps = round((source.max - source.min) / (source.step or 1))
        return [source.min, source.min + steps // 2 * source.step, source.max]
    return [source.value]


def _option_value(option: Any) -> Any:
    return option[1] if isinstance(option, tuple) else option


def spaced(options: Sequence[Any], most: int = MANY) -> list[Any]:
    """All options, or `most` of them evenly spaced, the first and the last among them."""
    if len(options) <= most:
        return list(options)
    return [options[round(place * (len(options) - 1) / (most - 1))] for place in range(most)]
