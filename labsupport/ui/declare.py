"""Panels declared as functions: a parameter is a control, and its default says which one.

    @panel("Hide a part", cost="instant")
    def hide_panel(image=photo("giant_panda"), side=whole(64, 16, 160, step=8, unit="px")):
        ...  # draws: gives a picture, or a picture and words about it

    hide_panel(side=32)  # that panel, with another start

A control's label is its parameter's name unless the default says otherwise. A parameter whose
default declares no control is settled when the panel is made.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import ipywidgets as widgets

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadImage, BadSetting, nearest
from labsupport.ui import controls
from labsupport.ui.board import Board
from labsupport.ui.control import Control, built_of
from labsupport.ui.control import Declared as Declared
from labsupport.ui.control import Made as Made
from labsupport.ui.panel import Cost, Live, Panel

if TYPE_CHECKING:
    import torch

Built = TypeVar("Built", bound=Board)
LOOKS = ("title", "autostart")  # of a panel's settings, those that a call may give otherwise
SMALL = ("lenet5", "convnetjs")  # networks that do not answer about photographs


def whole(
    start: int, low: int, high: int, *, step: int = 1, unit: str = "", label: str = ""
) -> Any:
    """A slider over whole numbers."""
    return _number(widgets.IntSlider, start, (low, high), label, unit, step=step)


def real(
    start: float, low: float, high: float, *, step: float = 0.05, unit: str = "", label: str = ""
) -> Any:
    """A slider over real numbers, shown with as many digits as its step has."""
    digits = len(f"{step:.9f}".rstrip("0").partition(".")[2])
    shown = {"step": step, "readout_format": f".{digits}f"}
    return _number(widgets.FloatSlider, start, (low, high), label, unit, **shown)


def logarithmic(start: float, low: float, high: float, *, steps: int = 40, label: str = "") -> Any:
    """A slider whose equal moves multiply: for learning rates, weights of penalties, strengths."""
    if low <= 0:
        raise BadSetting(f"A logarithmic slider starts above zero, not at {low}.")
    ends = {"min": math.log10(low), "max": math.log10(high)}
    shown = {"step": (ends["max"] - ends["min"]) / steps, "readout_format": ".2g"}
    return _number(widgets.FloatLogSlider, start, (low, high), label, "", **ends, **shown)


def seed(start: int = 0) -> Any:
    """The number that a random start grows from: the same seed, the same result."""
    return _number(widgets.BoundedIntText, start, (0, 9999), "seed", "", step=1)


def _number(
    kind: Any, start: float, ends: tuple[float, float], label: str, unit: str, **shown: Any
) -> Declared:
    low, high = ends

    def build(name: str, at: float, _: Made) -> Control:
        if not low <= at <= high:
            raise BadSetting(f"{name}: {at} does not lie between {low} and {high}.")
        look = {"min": low, "max": high} | shown | controls.look(name, unit)
        return Control(kind(value=at, **look))

    return Declared(build, start, label)


def choice(
    options: Sequence[str] | Mapping[str, Any],
    start: Any = None,
    *,
    label: str = "",
    asked: Mapping[str, Any] | None = None,
) -> Any:
    """A menu; with a mapping, the keys are what is read and the values what the function gets.

    Those that are `asked`, such as downloads, are offered only to who begins with one of them.
    """
    plain = options if isinstance(options, Mapping) else {one: one for one in options}

    def build(name: str, at: Any, _: Made) -> Control:
        more = {words: value for words, value in (asked or {}).items() if value == at}
        pairs = list({**plain, **more}.items())
        if not pairs:
            raise BadSetting(f"{name}: a menu needs at least one option.")
        values = [value for _, value in pairs]
        if None in values:
            raise BadSetting(
                f"{name}: the value None would be shown as an empty menu; take another."
            )
        chosen = values[0] if at is None else at
        if chosen not in values:
            close = ", ".join(nearest(str(chosen), map(str, values)))
            raise BadSetting(f"{name}: {chosen!r} is not among its options. Nearest: {close}.")
        return Control(widgets.Dropdown(options=pairs, value=chosen, **controls.look(name)))

    return Declared(build, start, label)


def toggle(start: bool = False, *, label: str = "") -> Any:
    """A switch that is on or off."""
    return Declared(
        lambda name, at, _: Control(widgets.Checkbox(at, indent=True, **controls.look(name))),
        start,
        label,
    )


def photo(
    start: str,
    among: Callable[[], images.ImageSet[Any]] = images.photos,
    *,
    label: str = "",
    square: bool = True,
) -> Any:
    """A menu over a bundled set of pictures; `square` as in `controls.ImageMenu`."""
    return Declared(
        lambda name, at, _: controls.ImageMenu(among(), at, label=name, square=square), start, label
    )


def photograph_networks() -> list[str]:
    """The course's networks that answer about photographs: all but the two small ones."""
    return [name for name in networks.names() if name not in SMALL]


def network_of(
    start: str = "squeezenet1_1",
    names: Callable[[], Sequence[str]] = photograph_networks,
    *,
    label: str = "",
) -> Any:
    """A menu of networks, one's own and the bundled ones first."""
    return Declared(
        lambda name, at, _: controls.network_menu(at, names=names(), label=name), start, label
    )


def class_of(
    network: str = "network", start: str = "", *, label: str = "class", **empty: str
) -> Any:
    """A box to type a class into, of the network of that name: a control, or settled. `empty` says
    what an empty box means, if not the network's own answer."""
    return Declared(
        lambda name, at, made: controls.ClassBox(made[network], at, label=name, **empty),
        start,
        label,
    )


def layer_of(network: str, start: str | None = None, *, label: str = "", keep: Any = None) -> Any:
    """A menu of the layers (those that `keep` wants) of the network of that name: a control's, or
    a settled one."""
    return Declared(
        lambda name, at, made: controls.LayerMenu(made[network], at, label=name, keep=keep),
        start,
        label,
    )


def channel_of(layer: str, start: int = 0) -> Any:
    """A slider over the channels of the layer that the control of that name has chosen."""
    return Declared(
        lambda name, at, made: controls.ChannelSlider(made[layer], at, label=name), start
    )


def seen_and_class(
    image: torch.Tensor, network: networks.Network, target: int | controls.Unit | None
) -> tuple[torch.Tensor, int | controls.Unit]:
    """The image as the network sees it, and the class (or, of a network without classes, the unit)
    that a box of `class_of` names: where it is empty, `own_answer`."""
    seen = images.standard(image, network.input_size[0])
    return seen, own_answer(network, seen) if target is None else target


def own_answer(network: networks.Network, seen: torch.Tensor) -> int | controls.Unit:
    """The class that the network sees in an image; where it ends before its classes, the unit of
    its last layer with the largest activation."""
    if network.categories:
        return network.predict(seen, k=1)[0][0].index
    last = network.layers[-1].name
    return last, int(network.activations(seen, [last])[last][0].flatten(1).amax(1).argmax())


def side_for(network: networks.Network, side: int) -> int:
    """The side of a square picture: `side`, or the network's own where it takes no other."""

    def taken() -> int:
        try:
            network.shapes((side, side))
        except BadImage:
            return network.input_size[0]
        return side

    return network.remember(("side", side), taken)


def side_words(network: networks.Network, side: int) -> str:
    """What is said where `side_for` is not the side that was asked for."""
    own = side_for(network, side)
    if own == side:
        return ""
    return f" {network.name} takes pictures of {own} x {own} pixels alone, so that is their size."


class _Together(dict[str, Declared]):
    """Controls whose values a function gets as one mapping."""


def together(**declared: Any) -> Any:
    """Several controls, whose values the function gets as one mapping by their names."""
    return _Together(declared)


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the controls of its `together` parameters as parameters of its own."""
    flat: list[inspect.Parameter] = []
    groups: dict[str, _Together] = {}
    for name, one in inspect.signature(function).parameters.items():
        if isinstance(one.default, _Together):
            groups[name] = one.default
            flat += [one.replace(name=key, default=start) for key, start in one.default.items()]
        else:
            flat.append(one)
    if not groups:
        return function

    @functools.wraps(function)
    def spread(*first: Any, **values: Any) -> Any:
        parts = {name: {key: values.pop(key) for key in group} for name, group in groups.items()}
        return function(*first, **values, **parts)

    spread.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return spread


class Declaration(Generic[Built]):
    """A function that makes a panel: it takes starts for the controls, and the settled values.

    `function` is the function that was declared, `kind` the class of the panel, `needs` names the
    settled values that have no default.
    """

    def __init__(
        self,
        kind: type[Built],
        function: Callable[..., Any],
        parts: Mapping[str, Callable[..., Any]],
        first: Sequence[str] = (),
        **how: Any,
    ) -> None:
        """`parts` are the functions of the panel: of two, the second draws what the first gives.

        Parameters come in their order, those named in `first` before all others.
        """
        functools.update_wrapper(self, function)
        self.kind, self.function, self._how = kind, function, how
        self._parts = {name: _spread(part) for name, part in parts.items()}
        known: dict[str, Any] = {}
        for place, part in enumerate(self._parts.values()):
            for name, one in list(inspect.signature(part).parameters.items())[place:]:
                if name not in known or isinstance(one.default, Declared):
                    known[name] = one.default
        self._known = {name: known[name] for name in (*first, *known)}
        self.needs = [n for n, start in self._known.items() if start is inspect.Parameter.empty]

    def __call__(self, *values: Any, **named: Any) -> Built:
        """The panel. `values` go to the functions' parameters in their order. `title` and
        `autostart`, where the panel has it, can be given by name as well.

        `BadSetting` where a name is no parameter, or a settled value is missing.
        """
        looks = {key: named.pop(key) for key in LOOKS if key in named and key in self._how}
        given = self._given(values, named)
        settled: dict[str, Any] = {}
        wanted: dict[str, Declared] = {}
        for name, start in self._known.items():
            if isinstance(start, Declared):
                wanted[name] = replace(start, start=given.get(name, start.start))
            else:
                settled[name] = given.get(name, start)
        parts = {name: _settle(part, settled) for name, part in self._parts.items()}
        make: Any = self.kind  # both kinds take their functions by name
        panel: Built = make(controls=built_of(wanted, settled), **parts, **self._how | looks)
        return panel

    def _given(self, values: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
        """What a call gives, by name."""
        name, there = self.function.__name__, list(self._known)
        if len(values) > len(there):
            raise BadSetting(f"{name} takes {len(there)} values, and {len(values)} were given.")
        given = dict(zip(there, values, strict=False)) | named
        for key in given:
            if key not in there:
                close = nearest(key, there, count=1)[0]
                raise BadSetting(
                    f"{name} has no control '{key}'; the nearest is '{close}'. "
                    f"It has: {', '.join(there)}."
                )
        lacking = [key for key in self.needs if key not in given]
        if lacking:
            raise BadSetting(f"{name} needs {', '.join(lacking)}.")
        return given


def _settle(function: Callable[..., Any], settled: Mapping[str, Any]) -> Callable[..., Any]:
    names = inspect.signature(function).parameters
    own = {name: value for name, value in settled.items() if name in names}
    return functools.partial(function, **own) if own else function


def panel(
    title: str,
    *,
    cost: Cost | None = None,
    compute: Callable[..., Any] | None = None,
    first: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], Declaration[Panel]]:
    """The decorated function draws; see `Panel` for `cost` and `compute`.

    The controls of `compute` stand above those of the drawing, but these `first`.
    """

    def declare(draw: Callable[..., Any]) -> Declaration[Panel]:
        parts = {"draw": draw} if compute is None else {"compute": compute, "draw": draw}
        return Declaration(Panel, draw, parts, first, title=title, cost=cost)

    return declare


def live(
    title: str, *, draw: Callable[..., Any], autostart: bool = True, kind: type[Live] = Live
) -> Callable[[Callable[..., Any]], Declaration[Live]]:
    """The decorated function yields frames, which `draw` shows; see `Live` for the rest.

    `kind` is a class of its own for a panel that does more than `Live`.
    """

    def declare(frames: Callable[..., Any]) -> Declaration[Live]:
        parts = {"frames": frames, "draw": draw}
        return Declaration(kind, frames, parts, title=title, autostart=autostart)

    return declare
