"""A panel's controls as a page has them: so many positions, each in words, and a way to each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import ipywidgets as widgets

from labsupport.ui.board import MOST_IN_SIGHT, Board
from labsupport.ui.control import Control, spaced
from labsupport.ui.controls import ClassBox, ImageMenu, LoadingMenu

Setting = Mapping[int, int]  # a control's place to its position, where that is not its default
Kind = Literal["range", "menu", "check"]

STOPS = 17  # positions of a slider, at most
COARSE = 5  # positions of each control to begin with, and along a side of the grid
SEEDS = 3
LONGEST_WORDS = 40


@dataclass
class Dial:
    """A control: its positions in words, what takes it to each, the one that it stands at.

    `total` is how many positions it has in the notebook. `says` gives its words as it stands, by
    which a position is known again; where those of a position are too long, it is empty.
    """

    control: Control
    kind: Kind
    words: list[str]
    acts: Sequence[Callable[[], None]]
    default: int
    total: int
    says: Callable[[], str]
    heavy: set[int] = field(default_factory=set)  # positions that would take too long

    @property
    def label(self) -> str:
        """What the control is called, with its unit."""
        return str(getattr(self.control.source, "description", "") or self.control.label)


def dial_of(control: Control, board: Board) -> Dial:
    """The positions of a control of that panel that a page may store."""
    source = control.source
    if isinstance(source, widgets.Checkbox):
        return _dial(control, "check", {False: "off", True: "on"}, 2)
    if isinstance(control, ClassBox):
        named = {raw: _class_words(control, raw) for raw in _classes(control, board)}
        known = {words: raw for raw, words in reversed(named.items())}  # a class once
        return _dial(control, "menu", {known[words]: words for words in named.values()}, len(known))
    if source.has_trait("options"):
        titles = {raw: words for words, raw in source.options if not str(raw).startswith("\0")}
        here = titles.keys() - _elsewhere(control)
        return _dial(control, "menu", {raw: titles[raw] for raw in titles if raw in here},
                     len(titles))  # fmt: skip
    if source.has_trait("readout_format"):
        count = round((source.max - source.min) / source.step) + 1
        return _dial(control, "range", {raw: _number(source, raw) for raw in _stops(source)}, count)
    if source.has_trait("min"):  # a number to type, such as a seed
        raws = [min(source.value + more, source.max) for more in range(SEEDS)]
        return _dial(control, "menu", {raw: str(raw) for raw in raws}, SEEDS)
    return _typed(control)


def _dial(control: Control, kind: Kind, words: Mapping[Any, str], total: int) -> Dial:
    raws = list(words)
    acts = [partial(control.put, raw) for raw in raws]
    default = raws.index(control.source.value)
    return Dial(control, kind, list(words.values()), acts, default, total, partial(_says, control))


def _typed(control: Control) -> Dial:
    """What is typed into stands as it is, or takes one of the steps of a walk."""
    now, words = control.source.value, str(control.words)
    steps = [step for step in control.steps() if not step.complains]
    first = words if len(words) <= LONGEST_WORDS else "as in the notebook"
    others = [step.words.removeprefix(control.label).lstrip(" ,=") for step in steps]
    acts: list[Callable[[], None]] = [partial(control.put, now), *(step.act for step in steps)]
    return Dial(control, "menu", [first, *others], acts, 0, len(acts), lambda: "")


def _says(control: Control) -> str:
    """The words of a control's present value."""
    source, now = control.source, control.source.value
    if isinstance(source, widgets.Checkbox):
        return "on" if now else "off"
    if isinstance(control, ClassBox):
        return _class_words(control, now)
    if source.has_trait("options"):
        return next((words for words, raw in source.options if raw == now), str(now))
    return _number(source, now)


def _number(source: Any, raw: Any) -> str:
    return format(raw, getattr(source, "readout_format", ""))


def _stops(source: Any) -> list[Any]:
    """Positions of a slider, evenly spaced, and the one that it stands at."""
    low, step, now = source.min, source.step, source.value
    places = [low + at * step for at in spaced(range(round((source.max - low) / step) + 1), STOPS)]
    if isinstance(source, widgets.FloatLogSlider):
        raws = [float(source.base) ** place for place in places]
    else:
        raws = [type(now)(round(place, 9)) for place in places]
    others = [raw for raw in raws if not math.isclose(raw, now, rel_tol=1e-6, abs_tol=1e-9)]
    return sorted([*others, now])


def _elsewhere(control: Control) -> set[Any]:
    """The options of a menu that would have to be downloaded."""
    if not isinstance(control, LoadingMenu):
        return set()
    return {raw for _, raw in control.source.options if not control.is_here(raw)}


def _classes(box: ClassBox, board: Board) -> list[str]:
    """What stands in the box, nothing, and what the network sees in the panel's picture; where
    there is no picture, a few of all classes or units."""
    pictures = [one.value for one in board.controls.values() if isinstance(one, ImageMenu)]
    few = [str(one) for one in spaced(list(box.source.options), COARSE)]
    if box.network.categories and pictures:
        from labsupport.core import images

        seen = images.standard(pictures[0], box.network.input_size[0])
        few = [str(one.index) for one in box.network.predict(seen, k=COARSE)[0]]
    return list(dict.fromkeys([box.source.value, "", *few]))


def _class_words(box: ClassBox, raw: str) -> str:
    if not raw:
        return str(box.source.placeholder)
    if raw.isdecimal() and box.network.categories:
        return str(box.network.target(int(raw)).title)
    return raw


# ---------------------------------------------------------------- which settings


def refined(count: int) -> list[int]:
    """All positions, the coarse ones first: the ends, the middle, the quarters, and so on.

    >>> refined(9)
    [0, 8, 4, 2, 6, 1, 3, 5, 7]
    """
    order = dict.fromkeys((0, count - 1))
    parts = 2
    while len(order) < count:
        order |= dict.fromkeys(round(part * (count - 1) / parts) for part in range(parts + 1))
        parts *= 2
    return list(order)


def asked(counts: Sequence[int], defaults: Sequence[int], main: Sequence[int]) -> list[Setting]:
    """The settings of a panel that a page asks for, the most telling ones first.

    Each control is taken through a few of its positions, then the two `main` ones are set against
    each other on a grid, then each control is taken through the rest of its `counts` positions.

    >>> asked([3, 2], [1, 0], [0, 1])
    [{}, {0: 0}, {1: 1}, {0: 2}, {0: 0, 1: 1}, {0: 2, 1: 1}]
    """
    orders = [[at for at in refined(count) if at != default]
              for count, default in zip(counts, defaults, strict=True)]  # fmt: skip

    def alone(ranks: range) -> Iterator[dict[int, int]]:
        for rank in ranks:
            yield from ({i: one[rank]} for i, one in enumerate(orders) if rank < len(one))

    def grid() -> Iterator[dict[int, int]]:
        if len(main) == 2:
            first, second = (sorted(refined(counts[place])[:COARSE]) for place in main)
            yield from ({main[0]: a, main[1]: b} for a in first for b in second)

    found: dict[tuple[tuple[int, int], ...], Setting] = {(): {}}
    longest = max(counts, default=0)
    for part in (alone(range(COARSE)), grid(), alone(range(COARSE, longest))):
        for setting in part:
            other = {i: at for i, at in setting.items() if at != defaults[i]}
            found.setdefault(tuple(other.items()), other)
    return list(found.values())


def main_two(dials: Sequence[Dial]) -> list[int]:
    """The two controls to set against each other: the first two sliders that are in sight; where
    there are none, the first two that can be moved, networks last."""
    movable = [i for i, dial in enumerate(dials) if len(dial.words) > 1]
    sliders = [i for i in movable if dials[i].kind == "range" and i < MOST_IN_SIGHT]
    movable.sort(key=lambda i: isinstance(dials[i].control, LoadingMenu))
    return sliders[:2] if len(sliders) > 1 else sorted(movable[:2])
