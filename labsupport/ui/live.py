"""`Live`: a panel for work that takes its time, seen while it goes on.

The work is a generator of frames. All of one generator's life, from its first frame to its close,
happens in one thread (PyTorch's grad mode belongs to a thread), so Stop lets that thread wait and
Continue lets it go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Literal

import ipywidgets as widgets
import torch

from labsupport.core.errors import BadSetting, LabError
from labsupport.ui.board import Board, Drawn, Reading, button
from labsupport.ui.control import Control, Declared
from labsupport.ui.interrupts import deferred_interrupts

State = Literal["idle", "running", "stopped", "finished", "failed"]

BETWEEN_PICTURES = 0.1  # seconds, at least
DRAWING_SHARE = 0.15  # of the time, at most, as long as pictures come often enough:
LONGEST_PAUSE = 0.17  # seconds between pictures, or twice what one takes to draw
_log = logging.getLogger(__name__)


class Live(Board):
    """Run, Stop and Continue over `frames(**values)`, each frame shown by `draw(frame, **values)`.

    Both functions get the controls that they name as parameters. A control that only `draw` takes
    changes the picture at once; one that `frames` takes counts from the next Run on, or starts it
    again by itself with `autostart`. The first frame is shown from the beginning (`preview`).
    `frame` is the last one, `state` says what goes on.

    How far the work is says a frame's own `progress` (0 to 1); without one, frames are counted. A
    frame should take less than half a second, for Stop is looked at between two of them.

    >>> from PIL import Image
    >>> from labsupport.ui import declare
    >>> def squares(largest):
    ...     yield from range(1, largest + 1)
    >>> live = Live(
    ...     squares,
    ...     {"largest": declare.whole(8, 1, 64, unit="px")},
    ...     draw=lambda side: (Image.new("RGB", (side, side)), f"{side} pixels"),
    ...     title="Growing squares",
    ... )
    >>> live.run(), live.words
    (8, '8 pixels')
    """

    def __init__(
        self,
        frames: Callable[..., Iterable[Any]],
        controls: Mapping[str, Control | Declared],
        *,
        draw: Callable[..., Drawn],
        title: str,
        autostart: bool = False,
        preview: bool = True,
    ) -> None:
        super().__init__(frames, draw, controls, title)
        self.autostart = autostart
        self.frame: Any = None
        self.state: State = "idle"
        self._turn = threading.RLock()
        self._done = ""
        self._work: _Work | None = None
        self._threads = torch.get_num_threads()
        self._make_buttons()
        for name, control in self.controls.items():
            control.redraw_while_moving(name not in self._worked_from)
        if preview:
            self.run(limit=1)
            self._show_state("idle")

    # -- what a person or a test does

    def start(self) -> None:
        """Begin anew with the controls' present values; what was running ends first."""
        reading = self.read()
        with deferred_interrupts(), self._turn:
            self._begin(reading).thread.start()

    def stop(self) -> None:
        """Stop after the frame that is being computed; the last frame stays."""
        with deferred_interrupts(), self._turn:
            work = self._work
            if work is None or self.state != "running":
                return
            if work.blocking:
                work.end()
                return
            work.going.clear()
            self._show_state("stopped")

    def go_on(self) -> None:
        """Continue from where Stop was pressed."""
        with deferred_interrupts(), self._turn:
            if self._work is not None and self.state == "stopped":
                self._show_state("running")
                self._work.going.set()

    def run(self, limit: int | None = None) -> Any:
        """Compute here and now, up to `limit` frames, and give back the last frame.

        An interrupt (the notebook's stop button) ends it after the frame that is being computed,
        and gives that one back; a second interrupt does not wait. Errors are raised.
        """
        with deferred_interrupts() as interrupts:
            work = self._begin(self.read(), blocking=True)
            work.wait_for_the_older()
            try:
                interrupted = self._is_interrupted(work, limit, interrupts)
                self.ended(work, None)
                if interrupted:
                    self.say("Interrupted: this is the last frame.", "note")
            except Exception as error:
                self.ended(work, error)
                raise
            finally:
                if work is self._work and self.state == "running":  # interrupted twice
                    self._show_state("finished" if work.count else "idle")
        if self.error is not None:
            raise self.error
        return self.frame

    def _is_interrupted(
        self, work: _Work, limit: int | None, interrupts: deferred_interrupts
    ) -> bool:
        try:
            with interrupts.delivered(after=1):  # who presses twice does not want to wait
                interrupted = work.compute(limit, interrupts)
        except KeyboardInterrupt:
            if not work.count:
                raise
            return True
        if interrupted:
            interrupts.forget()
        return interrupted

    def wait(self, timeout: float | None = None) -> State:
        """Wait until the thread is done (or for `timeout` seconds); raise what it met."""
        _join(self._work, timeout)
        if self.error is not None:
            raise self.error
        return self.state

    def end(self) -> None:
        """End what is running or stopped, and wait until its generator is closed."""
        with deferred_interrupts():
            with self._turn:
                work = self._end()
                if work is not None and self.state in ("running", "stopped"):
                    self._show_state("idle")
            _join(work)

    def close(self) -> None:
        """End the thread, close the generator, and take the panel off the page."""
        self.end()
        super().close()

    def settle(self) -> None:
        """Show two frames of these settings, unless they are there: a control may only draw."""
        work = self._work
        if work is None or work.count < 2 or self.state != "finished" or not self.has_run:
            self.run(limit=2)

    @property
    def has_run(self) -> bool:
        """Whether the last run began with the controls' present values."""
        return self._ran_from(self.read())

    def _ran_from(self, reading: Reading) -> bool:
        return self._work is not None and self._work.key == reading.key(self._worked_from)

    def changed(self) -> None:
        with deferred_interrupts():
            self.answer(self._follow)

    def _follow(self) -> None:
        reading = self.read()
        work = self._work
        same = self._ran_from(reading)
        self.say("", "error")
        self.say("" if same or self.autostart else "The settings have changed: press Run.", "note")
        if self.autostart and not same:
            self.start()
        elif work is not None and work.count:
            self._redraw(work, reading)

    # -- what the thread tells

    def arrived(self, work: _Work, frame: Any) -> None:
        """A frame is there; it is shown if the last picture is long enough ago."""
        if work is not self._work:
            return
        self.frame = frame
        if time.perf_counter() >= work.next_picture:
            self._show_frame(work)

    def rests(self, work: _Work) -> None:
        """The thread waits after Stop: its last frame is shown, if it is not there already."""
        if work is not self._work:
            return
        if work.shown == work.count:
            with self.lock:  # a control may be drawing, with other words
                self.read_out(aloud=True)
            self._show_progress(work)
        else:
            self._show_frame(work, last=True)

    def ended(self, work: _Work, error: Exception | None) -> None:
        """The generator came to its end, or to an error."""
        if work is not self._work:
            return
        if error is None and not work.count:
            error = BadSetting(f"{self.title}: these settings give no frame at all.")
        if error is None:
            self._show_frame(work, last=True)
        with self._turn:
            if work is self._work:
                self._show_state("failed" if error else "finished")
        if error is not None:
            self.show_error(error)
            self.error = error
            if not work.blocking and not isinstance(error, LabError):
                # nobody catches what a thread raises: it is logged here, and raised by wait()
                _log.error("%s", self.title, exc_info=error)

    # -- the inside

    def _begin(self, reading: Reading, *, blocking: bool = False) -> _Work:
        """The next run, which is to wait until the one before has ended."""
        with self._turn:
            self._work = _Work(self, reading, after=self._end(), blocking=blocking)
            self._show_state("running")
            return self._work

    def _end(self) -> _Work | None:
        work, self._work = self._work, None
        if work is not None:
            work.end()
        return work

    def _show_frame(self, work: _Work, *, last: bool = False) -> None:
        start = time.perf_counter()
        try:
            self._redraw(work, self.read(), aloud=last)
        except LabError as error:
            self.show_error(error)
        took = time.perf_counter() - start
        work.shown = work.count
        work.next_picture = time.perf_counter() + pause_after(took)
        self._show_progress(work)

    def _redraw(self, work: _Work, reading: Reading, *, aloud: bool = True) -> None:
        """Draw the last frame: the values that it was computed from go before the newest."""
        with self.lock:
            computed = {name: work.values[name] for name in self._drawn_from if name in work.values}
            values = reading.some(self._drawn_from) | computed
            words = {**reading.words, **work.words}
            self.put(self._draw(self.frame, **values), words, aloud=aloud)

    def _show_progress(self, work: _Work) -> None:
        done, self._done = getattr(self.frame, "progress", None), f"frame {work.count}"
        if done is not None:
            self._bar.value = done = min(max(float(done), 0.0), 1.0)
            self._done = f"{done:.0%}"
        left = ""
        if done and done < 1 and self.state == "running":
            left = f", {_in_words((time.perf_counter() - work.begun) * (1 / done - 1))} left"
        self._said_progress.value = f"{self._done}{left} ({self.state})"

    def _show_state(self, state: State) -> None:
        self.state = state
        self.run_button.description = "Run" if state == "idle" else "Run again"
        stopped = state == "stopped"
        self.stop_button.description = "Continue" if stopped else "Stop"
        self.stop_button.icon = "play" if stopped else "stop"
        self.stop_button.disabled = state not in ("running", "stopped")
        self._bar.bar_style = {"finished": "success", "failed": "danger"}.get(state, "info")
        self._said_progress.value = f"{self._done} ({state})".strip()
        if state == "idle":
            self._bar.value = 0.0
            self._said_progress.value = "(not started)"
        if state == "running":
            self.error = None
            self.say("", "error")
            self.say("", "note")

    def _make_buttons(self) -> None:
        # one button for both keeps the keyboard's focus where it is
        self.stop_button = button("Stop", "stop", 104)
        self._bar = widgets.FloatProgress(value=0, min=0, max=1, layout={"width": "216px"})
        self._said_progress = widgets.Label(value="")
        self._said_progress.add_class("lab-progress")
        self.run_button.on_click(lambda _: self.answer(self.start))
        self.stop_button.on_click(
            lambda _: self.answer(self.go_on if self.state == "stopped" else self.stop)
        )
        row = widgets.HBox([self.run_button, self.stop_button])
        self.buttons.children = [widgets.VBox([row, self._bar, self._said_progress])]
        self._show_state("idle")


def pause_after(took: float) -> float:
    """How many seconds to compute before the next picture, when the last took so many to draw.

    >>> [round(pause_after(took), 2) for took in (0.001, 0.02, 0.05, 0.4)]
    [0.1, 0.11, 0.17, 0.8]
    """
    wanted = max(BETWEEN_PICTURES, took * (1 / DRAWING_SHARE - 1))
    return min(wanted, max(LONGEST_PAUSE, 2 * took))


class _Work:
    """One run of the generator, from its first frame to its close."""

    def __init__(
        self, live: Live, reading: Reading, *, after: _Work | None, blocking: bool
    ) -> None:
        self._live, self._after, self.blocking = live, after, blocking
        self.values = reading.some(live._worked_from)
        self.key = reading.key(live._worked_from)
        self.words = {name: reading.words[name] for name in live._worked_from}
        self.count, self.shown = 0, 0  # frames that are there; the last one that was drawn
        self.next_picture = 0.0
        self._over = False
        self.going = threading.Event()
        self.going.set()
        self.begun = 0.0  # when it would have begun without its pauses
        self.thread = threading.Thread(target=self._in_thread, name=live.title, daemon=True)

    def end(self) -> None:
        """Close the generator after the present frame."""
        self._over = True
        self.going.set()

    def compute(
        self, limit: int | None = None, interrupts: deferred_interrupts | None = None
    ) -> bool:
        """Frame by frame until their end, `limit` of them, `end()`, or an interrupt (then True)."""
        frames = iter(self._live._work_by(**self.values))
        self.begun = time.perf_counter()
        try:
            for frame in frames:
                self.count += 1
                self._live.arrived(self, frame)
                if self.count == limit:
                    break
                if interrupts and interrupts.came:
                    return True
                if not self.going.is_set():
                    stopped = time.perf_counter()
                    self._live.rests(self)
                    self.going.wait()
                    self.begun += time.perf_counter() - stopped
                if self._over:
                    break
        finally:
            if isinstance(frames, Generator):
                frames.close()
        return False

    def wait_for_the_older(self) -> None:
        """Wait until the run before has closed its generator."""
        _join(self._after)
        self._after = None

    def _in_thread(self) -> None:
        self.wait_for_the_older()
        # a new thread starts with PyTorch's default, not with what was set for the notebook
        torch.set_num_threads(self._live._threads)
        try:
            if not self._over:
                self.compute()
            if not self._over:
                self._live.ended(self, None)
        except Exception as error:
            self._live.ended(self, error)


def _join(work: _Work | None, timeout: float | None = None) -> None:
    """Wait for a run's thread, if it has one and this is not it."""
    thread = work.thread if work is not None else None
    if thread and thread.ident is not None and thread is not threading.current_thread():
        thread.join(timeout)


def _in_words(left: float) -> str:
    return f"{left / 60:.1f} min" if left >= 90 else f"{left:.0f} s" if left >= 1 else "under 1 s"
