"""Panels: controls on the left, the network's answer on the right.

`Panel` draws once for each setting, `Live` (from `labsupport.ui.live`) shows long work while it
goes on, `walk` (from `labsupport.ui.walks`) tries every control of either.

Threads: a callback may come from the kernel's main thread or from another one. A panel has one
lock, so one drawing at a time; the latest values win. PyTorch's grad mode belongs to a thread and
does not reach a callback, so drawing functions set it themselves.

Errors: a `LabError` is a message to the student. In a callback it is shown and the lab goes on with
the picture before it. Any other exception is a fault: it is shown in words and raised again. What
code calls directly (`Panel(...)`, `redraw`, `save`, `Live.run`) raises both.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from labsupport.core.errors import LabError
from labsupport.ui.board import Board, Drawn, Reading
from labsupport.ui.control import Control, Declared, Remembered
from labsupport.ui.interrupts import deferred_interrupts
from labsupport.ui.live import Live
from labsupport.ui.walks import WalkReport, walk

__all__ = ["Cost", "Live", "Panel", "WalkReport", "walk"]

Cost = Literal["instant", "quick", "slow"]
INSTANT, QUICK = 0.15, 0.5  # seconds


class Panel(Board):
    """Controls, and a picture that follows them.

    `draw(**values)` gives a picture, or a picture and words about it. With `compute(**values)`, its
    result is `draw`'s first argument, and moving a control that only `draw` takes computes nothing
    anew. Both get the controls that they name as parameters. Results are remembered.

    `cost` says how long the work takes: "instant" (under 150 ms: redraws while a slider moves),
    "quick" (when it is let go) or "slow" (over half a second: a Run button); None measures it.

    >>> from PIL import Image
    >>> from labsupport.ui import declare
    >>> panel = Panel(
    ...     lambda side: (Image.new("RGB", (side, side)), f"{side} pixels"),
    ...     {"side": declare.whole(8, 1, 64, unit="px")},
    ...     title="A square",
    ... )
    >>> panel.controls["side"].source.value = 16
    >>> panel.words, panel.picture.size
    ('16 pixels', (16, 16))
    """

    def __init__(
        self,
        draw: Callable[..., Drawn],
        controls: Mapping[str, Control | Declared],
        *,
        title: str,
        compute: Callable[..., Any] | None = None,
        cost: Cost | None = None,
        remember: int = 32,
    ) -> None:
        work, shown = (draw, _as_it_is) if compute is None else (compute, draw)
        super().__init__(work, shown, controls, title)
        # without `compute`, its result is the picture, which is remembered below
        self.results = Remembered(min(remember, 8) if compute else 0)
        self.pictures = Remembered(remember)
        self._declared = cost
        self._seconds: dict[str, list[float]] = {"work": [], "draw": []}
        self._wanted = False
        self.run_button.on_click(lambda _: self.answer(self._run_pressed))
        self.buttons.children = [self.run_button]
        self._first_drawing()

    @property
    def cost(self) -> Cost:
        """How long the work takes, as declared or as measured so far."""
        return self._declared or self._measured("work")

    def redraw(self) -> None:
        """Draw with the controls' present values, now; every error is raised."""
        with deferred_interrupts() as interrupts, self.lock, interrupts.delivered():
            self._wanted = False
            self._draw_now()

    def changed(self) -> None:
        if self._waits():
            self.say("The settings have changed: press Run.", "note")
            return
        self.say("", "note")
        self._serve()

    def settle(self) -> None:
        if self._waits():
            self.redraw()

    def close(self) -> None:
        super().close()
        self.results.clear()
        self.pictures.clear()

    def _run_pressed(self) -> None:
        self.say("Working ...", "note")
        try:
            self._serve()
        finally:
            self.say("", "note")

    def _serve(self) -> None:
        """Draw until the newest values are drawn. A second thread only leaves word and goes."""
        self._wanted = True
        fault: Exception | None = None
        with deferred_interrupts() as interrupts:
            while self._wanted and self.lock.acquire(blocking=False):
                try:
                    with interrupts.delivered():
                        while self._wanted:
                            self._wanted = False
                            fault = self._attempt() or fault
                finally:
                    self.lock.release()
        if fault:
            raise fault

    def _attempt(self) -> Exception | None:
        try:
            self._draw_now()
        except Exception as error:
            self.show_error(error)
            return None if isinstance(error, LabError) else error
        return None

    def _draw_now(self) -> None:
        reading = self.read()
        drawn: Drawn = self.pictures.get(reading.key(self.controls), lambda: self._make(reading))
        self.put(drawn, reading.words)
        self.say("", "error")
        self._tune()

    def _make(self, reading: Reading) -> Drawn:
        work = partial(self._timed, "work", self._work_by, **reading.some(self._worked_from))
        result = self.results.get(reading.key(self._worked_from), work)
        drawn: Drawn = self._timed("draw", self._draw, result, **reading.some(self._drawn_from))
        return drawn

    def _timed(self, stage: str, act: Callable[..., Any], /, *given: Any, **values: Any) -> Any:
        start = time.perf_counter()
        result = act(*given, **values)
        # the first time of all, with its imports and set-up, is soon outnumbered
        self._seconds[stage] = [*self._seconds[stage], time.perf_counter() - start][-5:]
        return result

    def _first_drawing(self) -> None:
        """The default picture; where the cost is measured and not clear, drawn a second time."""
        self.redraw()
        first = self._seconds["work"][0]
        if self._declared is None and INSTANT < first < 4 * QUICK:
            self.results.clear()
            self.pictures.clear()
            self.redraw()
            del self._seconds["work"][0]
        self._slow = self.cost == "slow"
        self.run_button.layout.display = None if self._slow else "none"
        self._tune()

    def _waits(self) -> bool:
        """Whether this change needs the Run button: slow work, and nothing remembered to show."""
        if not self._slow:
            return False
        try:
            reading = self.read()
        except LabError:
            return False
        known = reading.key(self.controls) in self.pictures
        return not known and reading.key(self._worked_from) not in self.results

    def _measured(self, stage: str) -> Cost:
        seconds = statistics.median(self._seconds[stage] or [0.0])
        return "instant" if seconds < INSTANT else "quick" if seconds <= QUICK else "slow"

    def _tune(self) -> None:
        """Sliders redraw while they move where that is quick enough, and on release elsewhere."""
        for name, control in self.controls.items():
            cost = self.cost if name in self._worked_from else self._measured("draw")
            control.redraw_while_moving(cost == "instant")


def _as_it_is(drawn: Drawn) -> Drawn:
    """Where all the work is the drawing."""
    return drawn
