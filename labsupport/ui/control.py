"""A control: a widget, the value that a drawing function gets from it, and who follows it.

A control may follow others, as a menu of layers follows the menu of networks. The mechanism is one
list: when a control changes, it refreshes its followers (and theirs) first, and then tells
everybody who listens, each listener once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from labsupport.core.errors import LabError

MANY = 12
Made = Mapping[str, Any]  # the settled values, and the controls that come before


@dataclass(frozen=True)
class Step:
    """One thing that a person can do with a control; `complains`: a message is the answer."""

    words: str
    act: Callable[[], None]
    complains: bool = False


class Control:
    """A widget, the value it stands for, and who follows and listens to it.

    `source` is the widget whose `value` trait is watched, `shown` the one that a panel displays.
    `leader` is what the control goes by: another control, by which it is refreshed, or a thing.
    """

    def __init__(
        self, source: Any, *, shown: Any = None, words: str = "", leader: Any = None
    ) -> None:
        self.source = source
        self.shown = source if shown is None else shown
        self.label = words or str(source.description)
        self._quiet = False
        self._kept = source.value
        self._leader = leader
        self._followers: list[Control] = []
        self._listeners: list[tuple[Callable[[], None], Callable[[str, str], None]]] = []
        source.observe(self._moved, "value")
        if isinstance(leader, Control):
            leader._followers.append(self)

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
        return [self._step(raw) for raw in _stops(self.source)]

    def listen(self, changed: Callable[[], None], hear: Callable[[str, str], None]) -> None:
        """`changed()` after each change; `hear(words, kind)` when the control has a say."""
        self._listeners.append((changed, hear))

    def unlisten(self, changed: Callable[[], None], hear: Callable[[str, str], None]) -> None:
        """Undo `listen`; the last one to go closes the widget."""
        self._listeners.remove((changed, hear))
        if not self._listeners and not self._followers:
            if isinstance(self._leader, Control):
                self._leader._followers.remove(self)
            shut(self.shown)
            shut(self.source)

    def redraw_while_moving(self, wanted: bool) -> None:
        """Whether a slider reports each value on its way, or only the one it is left at."""
        if self.source.has_trait("continuous_update") and not isinstance(self.source, widgets.Text):
            self.source.continuous_update = wanted

    def _refresh(self) -> None:
        """Adapt to the leaders' new values."""

    def _accept(self) -> None:
        """Look at the new value before anybody is told; a `LabError` sends it back."""

    def _step(self, raw: Any, *, complains: bool = False) -> Step:
        return Step(f"{self.label} = {raw}", lambda: self.put(raw), complains)

    def put(self, raw: Any) -> None:
        """Move the widget, as a person would."""
        self.source.value = raw

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
        for changed in dict.fromkeys(changed for changed, _ in listeners):
            changed()

    def _all_followers(self) -> list[Control]:
        followers = list(self._followers)
        for follower in self._followers:
            followers += follower._all_followers()
        return list(dict.fromkeys(followers))

    def _say(self, words: str, kind: str = "control") -> None:
        """Words for the panel's message line: a problem, or calmly a "note"; "" takes it back."""
        for _, hear in self._listeners:
            hear(words, kind)


@dataclass(frozen=True)
class Declared:
    """A control to be: `build(label, start, made)` makes it, or declares it in more detail; `made`
    has what comes before it."""

    build: Callable[[str, Any, Made], Control | Declared]
    start: Any
    label: str = ""

    def named(self, name: str, made: Made) -> Control:
        """The control, whose label is its name unless it has another."""
        label = self.label or name.replace("_", " ")
        built = self.build(label, self.start, made)
        return built.named(label, made) if isinstance(built, Declared) else built


def built_of(controls: Mapping[str, Control | Declared], settled: Made) -> dict[str, Control]:
    """The controls by name, each made of the settled values and of the controls before it."""
    built: dict[str, Control] = {}
    for name, one in controls.items():
        built[name] = one.named(name, {**settled, **built}) if isinstance(one, Declared) else one
    return built


class Remembered:
    """The last `size` results by key; the one that was not asked for longest goes first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: dict[Hashable, Any] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept under `key`; made and kept if there is nothing."""
        if key in self._kept:
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


def value_of(thing: Any) -> Any:
    """A control's value; anything else is a value already."""
    return thing.value if isinstance(thing, Control) else thing


def shut(widget: Any, keep: Collection[Any] = ()) -> None:
    """Close a widget, all that is in it but what to `keep`, and their layouts and styles, which
    are widgets too and would stay otherwise."""
    for child in getattr(widget, "children", ()):
        if child not in keep:
            shut(child, keep)
    for part in (widget, getattr(widget, "layout", None), getattr(widget, "style", None)):
        if part is not None:
            part.unobserve_all()
            part.close()


def _stops(source: Any) -> list[Any]:
    if source.has_trait("options"):
        return spaced([value for _, value in source.options])
    if isinstance(source, widgets.Checkbox):
        return [not source.value, source.value]
    if isinstance(source, widgets.FloatLogSlider):
        low, high = float(source.min), float(source.max)
        return [source.base ** ((1 - share) * low + share * high) for share in (0, 0.5, 1)]
    if source.has_trait("min") and source.has_trait("max"):
        steps = round((source.max - source.min) / source.step)
        return [source.min, source.min + steps // 2 * source.step, source.max]
    return [source.value]


def spaced(options: Sequence[Any], most: int = MANY) -> list[Any]:
    """All options, or `most` of them evenly spaced, the first and the last among them."""
    if len(options) <= most:
        return list(options)
    return [options[round(place * (len(options) - 1) / (most - 1))] for place in range(most)]
