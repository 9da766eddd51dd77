"""What every panel is made of: controls, a picture, its readout in words, messages, and saving."""

from __future__ import annotations

import html
import inspect
import itertools
import re
import sys
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from labsupport.core.errors import BadSetting, LabError
from labsupport.ui import figures, screen
from labsupport.ui.control import Control, Declared, built_of, shut
from labsupport.ui.figures import Picture

Drawn = Picture | tuple[Picture, str]
Values = dict[str, Any]

MOST_IN_SIGHT = 5  # controls; the others are folded
# the older of two panels that the same cell made, which is what running a cell again leaves behind
_by_cell: weakref.WeakValueDictionary[tuple[str, str], Board] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class Reading:
    """The controls at one moment: what tells values apart, the values, and their words."""

    keys: dict[str, Hashable]
    values: Values
    words: Values

    def key(self, names: Iterable[str]) -> tuple[Hashable, ...]:
        """What results that depend on these controls are remembered under."""
        return tuple((name, self.keys[name]) for name in names)

    def some(self, names: Iterable[str]) -> Values:
        """The values of these controls."""
        return {name: self.values[name] for name in names}


class Board:
    """A title, controls, one picture with fixed pixels, a readout, a message line, *Save picture*.

    `work` and `draw` get the controls that they name as parameters; `draw` has what the work gave
    as its first. `picture` and `words` are what is shown now, `settings` the values in words that
    made it, which a saved file keeps; `error` is the last exception that a callback met. `slug` is
    the title as a file name and a CSS class.
    """

    folder = "pictures"  # where pictures are saved

    def __init__(
        self,
        work: Callable[..., Any],
        draw: Callable[..., Drawn],
        controls: Mapping[str, Control | Declared],
        title: str,
    ) -> None:
        self.title, self.controls = title, built_of(controls, {})
        self._work_by, self._draw = work, draw
        self._worked_from = self._names_of(work)
        self._drawn_from = self._names_of(draw, skip=1)
        self._check_all_used()
        self.picture: Picture | None = None
        self.words = ""
        self.error: Exception | None = None
        self.lock = threading.Lock()
        self.slug = re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-") or "panel"
        self.settings: Values = {"panel": title}
        self._said = {"control": "", "error": "", "note": ""}
        self._below: bool | None = None
        self.image = widgets.Image(format="png", layout={"display": "none"})
        self.image.add_class("lab-picture")
        self._readout = _html("lab-readout")
        self._message = _html("lab-message")
        self._complaints = {name: _html("lab-message") for name in self.controls}
        self.run_button = button("Run", "play", 104, button_style="primary")
        self.buttons = widgets.HBox()
        self.save_button = button("Save picture", "download", 124)
        self.more_button = widgets.ToggleButton(
            description="More", icon="chevron-down", layout={"width": "104px"}
        )
        self.place = widgets.Text(
            placeholder=f"{self.folder}/", description="save to", tooltip="a file or a folder"
        )
        self.save_button.on_click(lambda _: self.answer(self._save_pressed))
        self.widget = self._layout()
        self._tellers = {name: partial(self.say, name=name) for name in self.controls}
        for name, control in self.controls.items():
            control.listen(self.changed, self._tellers[name])
        self._replace_older()

    def _names_of(self, function: Callable[..., Any], *, skip: int = 0) -> list[str]:
        """The controls that a function takes by name; all of them, if it takes **anything."""
        parameters = list(inspect.signature(function).parameters.values())[skip:]
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return list(self.controls)
        taken = {parameter.name for parameter in parameters}
        return [name for name in self.controls if name in taken]

    def _check_all_used(self) -> None:
        """Refuse a control that no function takes: moving it would change nothing."""
        idle = set(self.controls).difference(self._worked_from, self._drawn_from)
        if idle:
            raise BadSetting(
                f"Nothing uses the control {', '.join(sorted(idle))}: the drawing function needs a "
                "parameter of that name."
            )

    # -- what a notebook uses

    @property
    def message(self) -> str:
        """What the message line says now, in words."""
        return " ".join(part for part in self._said.values() if part)

    @property
    def complaint(self) -> str:
        """The message line without its notes: empty when all is well."""
        return " ".join(part for part in (self._said["control"], self._said["error"]) if part)

    @property
    def alt(self) -> str:
        """The picture in words."""
        return f"{self.title}. {self.words}".strip()

    def save(self, place: str | Path | None = None) -> Path:
        """Write the picture with its settings: to a file, or numbered into a folder.

        Nothing is overwritten. `BadSetting` when there is no picture or the place cannot be
        written to.
        """
        from labsupport.core import images

        if self.picture is None:
            raise BadSetting(f"{self.title}: there is no picture yet. Press Run first.")
        return images.save(self.picture, self.free_place(str(place or "")), self.settings)

    def close(self) -> None:
        """Let go of the controls and take the panel off the page."""
        for name, control in reversed(self.controls.items()):  # followers before their leaders
            control.unlisten(self.changed, self._tellers[name])
        shut(self.widget, keep=[control.shown for control in self.controls.values()])
        self.controls = {}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The panel; and for pages that have no widgets, its picture as it is now."""
        data: dict[str, Any] = self.widget._repr_mimebundle_(**kwargs)
        if self.picture is None:
            return data, {}
        shown = figures.show(self.picture, self.alt)
        still, words = shown._repr_mimebundle_()  # type: ignore[no-untyped-call]
        return still | data, words

    # -- what the two kinds of panel use

    def changed(self) -> None:
        """A control has moved."""
        raise NotImplementedError

    def settle(self) -> None:
        """Bring the picture up to date with the controls, now."""
        raise NotImplementedError

    def say(self, words: str, kind: str, *, name: str = "") -> None:
        """Show a message; each kind ("control", "error", "note") has one, "" removes it.

        What a control has to say stands at the control of that `name`.
        """
        self._said[kind] = words
        if kind != "control":
            lines = [_message_html(kind, self._said[kind]) for kind in ("error", "note")]
            self._message.value = "".join(lines)
            return
        for one, line in self._complaints.items():
            line.value = _message_html("error", words) if one == name else ""
        if words and name in self._folded:
            self.more_button.value = True

    def read(self) -> Reading:
        """What the controls say now, all at one moment; a `LabError` if one makes no sense."""
        while True:
            keys = {name: control.key for name, control in self.controls.items()}
            values = {name: control.value for name, control in self.controls.items()}
            words = {name: control.words for name, control in self.controls.items()}
            if keys == {name: control.key for name, control in self.controls.items()}:
                return Reading(keys, values, words)

    def put(self, drawn: Drawn, settings: Values, *, aloud: bool = True) -> None:
        """Show a picture, its words, and keep what made it.

        It is shown at its own pixels, a very small one enlarged by a whole number, below the
        controls or beside them, wherever it is seen larger.
        """
        picture, words = drawn if isinstance(drawn, tuple) else (drawn, "")
        self.picture, self.words = picture, words
        self.settings = {"panel": self.title, **settings}
        shown = figures.enlarge(picture, screen.times_of(*picture.size))
        width = screen.width_of(*shown.size)
        if self.image.layout.width != width or self.image.layout.display:
            self.image.layout.width = width
            self.image.layout.display = None
            below = screen.goes_below(*shown.size, self._below)
            if below != self._below:
                self._below = below
                (self.widget.add_class if below else self.widget.remove_class)("lab-wide")
        self.image.value = figures.to_png(shown)
        self.read_out(aloud=aloud)

    def read_out(self, *, aloud: bool) -> None:
        """The picture's words below it; `aloud` lets a screen reader speak them."""
        live, words = "polite" if aloud else "off", html.escape(self.words)
        text = f'<div role="status" aria-live="{live}">{words}</div>' if words else ""
        self._readout.value = text

    def answer(self, act: Callable[[], None]) -> None:
        """Do what a button asks for; an error is shown in words, and raised if it is a fault."""
        try:
            act()
        except Exception as error:
            self.show_error(error)
            if not isinstance(error, LabError):
                raise

    def show_error(self, error: Exception) -> None:
        """Show what a callback met; what is nobody's typing mistake with its kind, and kept."""
        if isinstance(error, LabError):
            self.say(str(error), "error")
        else:
            self.error = error
            self.say(f"{type(error).__name__}: {error}", "error")

    def _layout(self) -> Any:
        heading = widgets.HTML(
            f'{screen.STYLE}<div class="lab-title" role="heading" aria-level="3">'
            f"{html.escape(self.title)}</div>"
        )
        rows = [
            _box("lab-control", control.shown, self._complaints[name])
            for name, control in self.controls.items()
        ]
        self._folded = list(self.controls)[MOST_IN_SIGHT:]
        more = _box("lab-more", *rows[MOST_IN_SIGHT:], self.place)
        more.layout.display = "none"
        self.more_button.observe(lambda change: self._unfold(more, change["new"]), "value")
        last = widgets.HBox([self.more_button, self.save_button])
        seen = rows[:MOST_IN_SIGHT]
        left = _box("lab-controls", *seen, self.buttons, self._message, last, more)
        self._right = _box("lab-shown", self.image)
        body = _box("lab-body", left, self._right, self._readout)
        panel = _box("lab-panel", heading, body, screen.Screen())
        panel.add_class(f"lab-{self.slug}")
        return panel

    def _unfold(self, more: Any, wanted: bool) -> None:
        more.layout.display = None if wanted else "none"
        self.more_button.description = "Less" if wanted else "More"
        self.more_button.icon = "chevron-up" if wanted else "chevron-down"

    def _replace_older(self) -> None:
        cell = _current_cell()
        if cell:
            older = _by_cell.get((cell, self.title))
            if older is not None:
                older.close()
            _by_cell[cell, self.title] = self

    def _save_pressed(self) -> None:
        self.say("", "error")
        self.say(f"Saved as {self.save(self.place.value.strip())}.", "note")

    def free_place(self, typed: str, ending: str = ".png") -> Path:
        """The file that `typed` means; in a folder, the first number that is free. The folder is
        made, or `BadSetting` says why not."""
        place = Path(typed or self.folder).expanduser()
        if typed and not typed.endswith(("/", "\\")) and not place.is_dir():
            place = place if place.suffix else place.with_suffix(ending)
            if place.exists():
                raise BadSetting(f"{place} is there already. Type another name.")
        else:
            numbered = (place / f"{self.slug}-{number}{ending}" for number in itertools.count(1))
            place = next(file for file in numbered if not file.exists())
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadSetting(f"The folder {place.parent} cannot be made: {error}.") from error
        return place


def button(words: str, icon: str, width: int, **look: Any) -> Any:
    """A button so many pixels wide."""
    layout = {"width": f"{width}px"}
    return widgets.Button(description=words, icon=icon, layout=layout, **look)


def _html(name: str) -> Any:
    line = widgets.HTML()
    line.add_class(name)
    return line


def _box(name: str, *children: Any) -> Any:
    """A column of widgets with a CSS class."""
    box = widgets.VBox(children)
    box.add_class(name)
    return box


def _message_html(kind: str, words: str) -> str:
    if not words:
        return ""
    if kind == "note":
        return f'<div class="note" role="status">ℹ <b>Note:</b> {html.escape(words)}</div>'
    return f'<div class="error" role="alert">⚠ <b>Problem:</b> {html.escape(words)}</div>'


def _current_cell() -> str | None:
    """The id of the notebook cell that is being run, where the front end tells it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    parent = kernel.get_parent("shell") or {}
    cell = parent.get("metadata", {}).get("cellId")
    return str(cell) if cell else None
