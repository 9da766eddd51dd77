"""The notebook's stop button at any moment, in every panel that runs: the last frame stays, the
next start works. And two panels at once, and fifty runs of one."""

from __future__ import annotations

import contextlib
import dis
import functools
import importlib
import inspect
import itertools
import os
import pkgutil
import random
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from leftovers import grown
from PIL import Image

import labsupport.labs
from labsupport.core import images
from labsupport.core import network as networks
from labsupport.labs import lab04_representation as codes
from labsupport.labs.lab08_optimization import visualization
from labsupport.ui import declare
from labsupport.ui.declare import Declaration
from labsupport.ui.live import Live
from labsupport.ui.panel import Panel


@functools.cache
def few_things() -> codes.Collection:
    return codes.collection(networks.load(), images.cutouts()[::12], layers=["fire9"])


# Panels that need to be told something.
TOLD: dict[str, Callable[[], Live]] = {
    "visualization.unit_panel": lambda: visualization.unit_panel(layer="fire5"),
    "codes.map_panel": lambda: codes.map_panel(few_things(), size=200),
}


def running_panels() -> dict[str, Callable[[], Live]]:
    """Every function of the labs that makes a `Live`, found by looking."""
    found = dict(TOLD)
    for module in pkgutil.walk_packages(labsupport.labs.__path__, "labsupport.labs."):
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if isinstance(value, Declaration) and value.kind is Live and not value.needs:
                found.setdefault(f"{value.__module__}.{name}", value)
            if not inspect.isfunction(value) or value.__module__ != loaded.__name__:
                continue
            needs = [
                one
                for one in inspect.signature(value).parameters.values()
                if one.default is one.empty and one.kind is not one.VAR_KEYWORD
            ]
            key = f"{module.name}.{name}"
            makes = value.__annotations__.get("return") in (Live, "Live")
            if makes and not needs and not name.startswith("_"):
                found.setdefault(key, value)
    return found


PANELS = running_panels()
EVERY_MOMENT = os.environ.get("LABS_TESTS") == "all"
with_alarms = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGALRM")


@contextlib.contextmanager
def interrupted(seconds: float) -> Iterator[None]:
    """Ctrl-C after so long, wherever the main thread is then."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    with as_in_a_kernel():
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def as_in_a_kernel() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt; what runs these tests may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


LOOKED_AFTER = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")}
# an exception while garbage is collected is printed and goes nowhere
NOWHERE = ("_remove", "__del__")


class Strike:
    """A tracer that sends Ctrl-C at the given moments and nowhere else.

    A moment is where Python looks for signals: after a call, at the start of a function, at a
    loop's turn. They are counted, so that every one of them can be tried.
    """

    def __init__(self, *moments: int) -> None:
        self.moments, self.count = moments, 0
        self._looks: set[int] = set()

    def __call__(self, frame: types.FrameType, event: str, _: Any) -> Strike:
        here = id(frame)
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "return":
            self._looks.discard(here)
        elif event == "opcode":
            if here in self._looks:
                self._looks.discard(here)
                self._moment(frame)
            if frame.f_code.co_code[frame.f_lasti] in LOOKED_AFTER:
                self._looks.add(here)
        return self

    def _moment(self, frame: types.FrameType) -> None:
        if frame.f_code.co_name in NOWHERE:
            return
        self.count += 1
        if self.count in self.moments:
            signal.raise_signal(signal.SIGINT)

    def during(self, act: Callable[[], Any]) -> int:
        """Do it, and give back how many moments it had."""
        with as_in_a_kernel(), contextlib.suppress(KeyboardInterrupt):
            sys.settrace(self)
            try:
                act()
            finally:
                sys.settrace(None)
        return self.count


def check_all_is_well(live: Live) -> None:
    """A picture, no complaint, nothing that claims to run, no lock that is held."""
    assert live.state in ("finished", "idle")
    assert live.picture is not None
    assert live.complaint == ""
    assert live.lock.acquire(blocking=False)
    live.lock.release()
    assert torch.is_grad_enabled()


def wait_for_a_frame_after(live: Live, begun: Any) -> None:
    deadline = time.perf_counter() + 60
    while live.frame is begun and live.state == "running" and time.perf_counter() < deadline:
        time.sleep(0.01)


@with_alarms
@pytest.mark.slow
@pytest.mark.parametrize("name", PANELS)
def test_an_interrupt_keeps_the_last_frame_and_the_next_start_works(name):
    live = PANELS[name]()
    chance = random.Random(name)
    try:
        for _ in range(2):
            before = live.frame
            with contextlib.suppress(KeyboardInterrupt), interrupted(chance.uniform(0.01, 0.6)):
                live.run()
            check_all_is_well(live)
            assert live.frame is not None or before is None
        for begin in (live.start, live.go_on):
            begun = live.frame
            begin()
            wait_for_a_frame_after(live, begun)
            live.stop()
            assert live.state in ("stopped", "finished")
            assert live.error is None
            at_its_end = begin == live.go_on and live.state == "finished"
            assert live.frame is not begun or at_its_end
        count = live._work.count
        time.sleep(0.3)
        assert live._work.count <= count + 1, "it goes on after the frame that was in work"
    finally:
        live.close()


def small_live(pause: float = 0.0, title: str = "small", steps: int = 30) -> Live:
    """Frames with a tensor each, and a picture of it."""

    def frames(steps: int) -> Iterator[torch.Tensor]:
        with torch.no_grad():
            for number in range(steps):
                time.sleep(pause)
                yield torch.full((3, 20, 20), number % 7 / 7)

    def draw(frame: torch.Tensor) -> tuple[Image.Image, str]:
        shade = round(255 * float(frame[0, 0, 0]))
        return Image.new("RGB", (20, 20), (shade, 0, 0)), f"shade {shade}"

    return Live(frames, {"steps": declare.whole(steps, 1, 1000)}, draw=draw, title=title)


@pytest.mark.slow
@pytest.mark.parametrize("second", [None, 1, 40])
def test_no_moment_of_a_run_can_break_a_panel(second):
    """Ctrl-C at any moment of a run; and twice, so that it does not wait for the frame.

    `test --all` tries every moment.
    """
    live = small_live(steps=2)
    live.run()
    count = Strike().during(live.run)
    assert count > 300
    moments = range(1, count + 1)
    for moment in moments if EVERY_MOMENT else random.Random(second).sample(moments, 250):
        Strike(moment, moment + (second or 0)).during(live.run)
        check_all_is_well(live)
        assert live.run() is not None
        live.start()
        assert live.wait(20) == "finished"
    live.close()


@pytest.mark.slow
@pytest.mark.parametrize("act", ["start", "stop", "go_on", "end"])
def test_no_moment_of_a_button_can_break_a_panel(act):
    """The thread goes on or ends; nothing waits for ever."""
    live, moment, count = small_live(0.001, steps=20), 0, 1
    while moment < count:
        live.start()
        if act == "go_on":
            live.stop()
        moment += 1
        strike = Strike(moment)
        count = max(count, strike.during(getattr(live, act)))
        live.end()
        assert live.title not in {thread.name for thread in threading.enumerate()}
        check_all_is_well(live)
    assert live.run() is not None
    live.close()


def wide_panel(**settings: Any) -> Panel:
    """As wide as it is told, by way of a tensor."""

    def compute(side: int) -> torch.Tensor:
        with torch.no_grad():
            return torch.zeros(3, side, 1)

    def draw(found: torch.Tensor) -> Image.Image:
        return Image.new("RGB", (found.shape[1], 8))

    wide = {"side": declare.whole(3, 1, 9999)}
    return Panel(draw, wide, title="side", compute=compute, **settings)


@pytest.mark.slow
def test_no_moment_of_a_drawing_can_break_a_panel():
    panel = wide_panel()
    sides = iter(range(4, 9999))
    for act in (lambda: panel.controls["side"].put(next(sides)), panel.redraw):
        act()
        for moment in range(1, Strike().during(act) + 1):
            Strike(moment).during(act)
            assert torch.is_grad_enabled()
            side = next(sides)
            panel.controls["side"].put(side)
            assert panel.picture.width == side
            assert panel.message == ""
    panel.close()


@with_alarms
def test_three_hundred_moments_of_a_small_panel():
    """Wherever it strikes: in a frame, in a drawing, in what tells the states."""
    live, chance = small_live(0.0002), random.Random(0)
    for _ in range(300):
        with contextlib.suppress(KeyboardInterrupt), interrupted(chance.uniform(0.0002, 0.03)):
            live.run()
        check_all_is_well(live)
    assert live.run() is not None
    assert live.words == "shade 36"  # frame 29 of 30
    assert live.state == "finished"
    live.close()


# Two at once


def test_two_panels_at_once_find_what_each_finds_alone():
    network = networks.load("lenet5")

    def panel(seed: int) -> Live:
        def frames(steps: int) -> Iterator[torch.Tensor]:
            generator = torch.Generator().manual_seed(seed)
            image = torch.rand(1, 3, *network.input_size, generator=generator)
            for _ in range(steps):
                image = image.detach().requires_grad_(True)
                with torch.enable_grad():
                    (slope,) = torch.autograd.grad(network.scores(image)[0, seed], image)
                image = (image + 0.1 * slope).clamp(0, 1).detach()
                yield image

        def draw(frame: torch.Tensor) -> Image.Image:
            return images.to_pil(frame)

        sliders = {"steps": declare.whole(25, 1, 100)}
        return Live(frames, sliders, draw=draw, title=f"panel {seed}")

    both = [panel(1), panel(2)]
    alone = [live.run() for live in both]
    for live in both:
        live.start()
    assert [live.wait(60) for live in both] == ["finished", "finished"]
    for live, expected in zip(both, alone, strict=True):
        torch.testing.assert_close(live.frame, expected, rtol=1e-4, atol=1e-5)
        live.close()


# Memory


# What fifty times have left, in two halves that both have more, after ten that fill what a panel
# remembers.
left = functools.partial(grown, warm=10, more=25)


@pytest.mark.slow
def test_fifty_runs_or_drawings_leave_nothing_behind_nor_in_the_background():
    live = small_live()

    def start_and_end() -> None:
        live.start()
        live.wait(20)

    assert left(live.run) == {}
    assert left(start_and_end) == {}
    live.close()
    panel = wide_panel(remember=8)
    sides = itertools.cycle(range(1, 26))  # more than are remembered, and as many each time
    assert left(lambda: panel.controls["side"].put(next(sides))) == {}
    panel.close()


@pytest.mark.slow
def test_fifty_runs_of_a_lab_leave_nothing_behind():
    live = PANELS["labsupport.labs.lab05_occlusion.map_panel"]()
    assert left(lambda: live.run(limit=1)) == {}
    live.close()
