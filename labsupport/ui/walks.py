"""`walk`: drive every control of a panel, as a restless student would, and see that all is well."""

import re
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from labsupport.core.errors import LabError
from labsupport.ui.board import Board
from labsupport.ui.control import Step
from labsupport.ui.live import Live

PATIENCE = 30.0  # seconds to wait for a first frame
STOP_WITHIN = 0.5  # seconds
NO_CLASSES = "before its classes"  # what a panel for classes says of a network that has none
_DURATION = r"\d+(\.\d+)? (ms|s|min)\b"


class WalkFailed(LabError):
    """A control raised, complained without need, was silent where it should not be, or is dead."""


@dataclass(frozen=True)
class Callback:
    """What one step did: how long it took, what the panel said, what went wrong (or "")."""

    words: str
    milliseconds: float
    message: str = ""
    fault: str = ""


@dataclass
class WalkReport:
    """Every step of a walk; `failures` says in words what is wrong."""

    title: str
    callbacks: list[Callback] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Empty when the panel is sound."""
        return [f"{step.words}: {step.fault}" for step in self.callbacks if step.fault]

    def __str__(self) -> str:
        lines = [f"{self.title}: {len(self.callbacks)} steps, {len(self.failures)} failures"]
        for step in self.callbacks:
            said = step.fault or step.message
            lines.append(
                f"  {step.milliseconds:7.0f} ms  {step.words}{'  | ' if said else ''}{said}"
            )
        return "\n".join([*lines, *self.failures])


def walk(
    panel: Board,
    *,
    may_idle: Collection[str] = (),
    may_complain: Collection[str] = (),
    leave_out: Collection[str] = (),
) -> WalkReport:
    """Every control through its smallest, middle and largest value or each option; every button.

    A good and a bad picture are uploaded; a network that would need a download is chosen as if
    there were no connection, and must give a message. Controls named in `may_idle` may change
    nothing at the default setting of the others; those in `may_complain` may give messages. Steps
    in `leave_out`, such as "network = vgg16", are not taken. A network that ends before its classes
    may be refused in words.

    Errors: `WalkFailed`, with the whole report, when anything is wrong.
    """
    report = WalkReport(panel.title)
    panel.settle()
    for name, control in panel.controls.items():
        default, seen = control.source.value, {_look(panel)}
        steps = [step for step in control.steps() if step.words not in leave_out]
        values = set()
        for step in steps:
            done = _take(panel, step, free=name in may_complain)
            report.callbacks.append(done)
            if not step.complains and NO_CLASSES not in done.message:
                values.add(step.words)
                seen.add(_look(panel))
        report.callbacks.append(_take(panel, Step("back again", partial(control.put, default))))
        if len(values) > 1 == len(seen) and name not in may_idle:
            report.callbacks.append(
                Callback(name, 0.0, fault="none of its values changes the picture")
            )
    report.callbacks.append(_timed("Save picture", partial(_save, panel)))
    if isinstance(panel, Live):
        report.callbacks += _run_stop_continue(panel)
    if report.failures:
        raise WalkFailed(str(report))
    return report


def _look(panel: Board) -> tuple[bytes, str]:
    """The picture and the words; how long it took is no answer to a control."""
    size = panel.picture.size if panel.picture else None
    return bytes(panel.image.value), f"{size} {re.sub(_DURATION, '', panel.words)}"


def _take(panel: Board, step: Step, *, free: bool = False) -> Callback:
    panel.error = None
    panel.say("", "control")
    start = time.perf_counter()
    fault = refused = ""
    try:
        step.act()
        panel.settle()
    except LabError as error:
        refused = str(error) if NO_CLASSES in str(error) else ""
        fault = "" if step.complains or free or refused else str(error)
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    took = 1000 * (time.perf_counter() - start)
    message = panel.complaint or refused
    if not fault and step.complains and not message:
        fault = "no message, though something was wrong"
    if not fault and message and not (step.complains or free or NO_CLASSES in message):
        fault = message
    return Callback(step.words, took, message, fault)


def _timed(words: str, act: Callable[[], str]) -> Callback:
    start = time.perf_counter()
    fault = act()
    return Callback(words, 1000 * (time.perf_counter() - start), fault=fault)


def _save(panel: Board) -> str:
    with tempfile.TemporaryDirectory() as folder:
        panel.place.value = folder
        panel.save_button.click()
        panel.place.value = ""
        return "" if list(Path(folder).glob("*.png")) else f"no file: {panel.message}"


def _run_stop_continue(live: Live) -> list[Callback]:
    def press(words: str, button: Any, *wanted: str) -> Callback:
        def act() -> str:
            button.click()
            return "" if live.state in wanted else f"then it is {live.state}: {live.message}"

        return _timed(words, act)

    begun = press("Run", live.run_button, "running", "finished")
    first = _timed("a first frame", partial(_first_frame, live))
    steps = []
    for words in ("Stop", "Continue", "Stop again"):
        wanted = "running" if words == "Continue" else "stopped"
        steps.append(press(words, live.stop_button, wanted, "finished"))
    # a machine with other work may be late once; a panel that is slow is late each time
    if min(step.milliseconds for step in steps if step.words != "Continue") > 1000 * STOP_WITHIN:
        steps[0] = replace(steps[0], fault=steps[0].fault or "took more than half a second")
    live.end()
    return [begun, first, *steps]


def _first_frame(live: Live) -> str:
    before, end = live.image.value, time.perf_counter() + PATIENCE
    while live.state == "running" and time.perf_counter() < end:
        if live.image.value is not before:
            return ""
        time.sleep(0.01)
    return live.complaint
