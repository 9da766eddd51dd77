"""`Live`: runs, stops, continues, ends; never two at once in one panel, never one left behind."""

import inspect
import threading
import time
from dataclasses import dataclass

import pytest
import threadpoolctl
import torch
from PIL import Image

from labsupport.core.errors import BadSetting
from labsupport.ui import declare
from labsupport.ui.live import Live


@dataclass(frozen=True)
class Frame:
    number: int
    progress: float | None = None


class Work:
    """A generator of frames that keeps a diary of its life."""

    def __init__(self, pause: float = 0.005) -> None:
        self.pause = pause
        self.opened, self.closed = 0, 0
        self.inside, self.most = 0, 0
        self.threads: set[int] = set()
        self.fail_at: int | None = None
        self.error: Exception = RuntimeError("broken on purpose")

    def frames(self, steps):
        self.opened += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.threads.add(threading.get_ident())
        try:
            for number in range(1, steps + 1):
                if number == self.fail_at:
                    raise self.error
                time.sleep(self.pause)
                yield Frame(number, number / steps)
        finally:
            self.threads.add(threading.get_ident())
            self.inside -= 1
            self.closed += 1


def draw(frame, shade):
    return Image.new("RGB", (20, 20), (shade, frame.number % 256, 0)), f"step {frame.number}"


def until(true, seconds: float = 10.0) -> bool:
    end = time.perf_counter() + seconds
    while not true() and time.perf_counter() < end:
        time.sleep(0.002)
    return bool(true())


def begun(live: Live, steps: int = 10_000) -> Live:
    """The panel, with its first frame shown and others being computed."""
    live.controls["steps"].put(steps)
    live.start()
    assert until(lambda: live.words)
    return live


def in_background(live: Live) -> None:
    live.start()
    live.wait(10)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def make(work):
    made: list[Live] = []

    def build(frames=None, **knobs) -> Live:
        sliders = {"steps": declare.whole(5, 1, 10_000), "shade": declare.whole(0, 0, 255)}
        knobs = {"draw": draw, "title": f"live {len(made)}", "preview": False} | knobs
        made.append(Live(frames or work.frames, sliders, **knobs))
        return made[-1]

    yield build
    for live in made:
        live.close()


# -- here and now


def test_run_gives_the_last_frame_and_shows_it(make, work):
    live = make()
    assert live.run().number == 5
    assert (live.words, live.state, live._bar.value) == ("step 5", "finished", 1)
    assert (work.opened, work.closed) == (1, 1)
    assert live.settings == {"panel": "live 0", "steps": 5, "shade": 0}
    live = make(preview=True)  # the first frame is there before anybody presses Run
    assert (live.words, live.state, work.closed) == ("step 1", "idle", 2)
    assert "image/png" in live._repr_mimebundle_()[0]


@pytest.mark.parametrize("run", [Live.run, in_background])
def test_settings_that_give_no_frame_say_so(make, run):
    with pytest.raises(BadSetting, match="no frame"):
        run(make(lambda steps: iter(())))


@pytest.mark.parametrize("run", [Live.run, in_background])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("broken on purpose"), "RuntimeError: broken on purpose"),
        (BadSetting("The step is too large."), "The step is too large."),
    ],
)
def test_an_error_is_shown_and_raised_and_the_next_run_works(
    make, work, caplog, run, error, message
):
    work.fail_at, work.error = 3, error
    live = make()
    with pytest.raises(type(error), match=str(error)):
        run(live)
    assert (live.state, live.message, work.closed) == ("failed", message, 1)
    # nobody catches what a thread raises; and words to the student are no fault
    assert ("live 0" in caplog.text) == (run is in_background and isinstance(error, RuntimeError))
    work.fail_at = None
    run(live)
    assert (live.state, live.message) == ("finished", "")


# -- in the background


@pytest.mark.parametrize("run", [Live.run, in_background])
@pytest.mark.parametrize("first", [1, 5])
def test_a_drawing_that_fails_also_with_the_last_frame_alone_ends_the_run(make, run, first):
    live = make(draw=lambda frame, shade: draw(frame, shade) if frame.number < first else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(live)
    assert (live.state, "ZeroDivisionError" in live.message) == ("failed", True)


def test_a_run_in_the_background_ends_with_the_last_frame(make, work):
    live, work.threads = make(), set()
    live.run_button.click()
    assert live.wait(10) == "finished"
    assert (live.frame.number, live.words) == (5, "step 5")
    assert threading.get_ident() not in work.threads


def test_stop_answers_within_half_a_second_and_keeps_the_last_frame(make, work):
    work.pause = 0.05
    live = begun(make())
    start = time.perf_counter()
    live.stop_button.click()
    assert time.perf_counter() - start < 0.5
    assert (live.state, live.stop_button.description) == ("stopped", "Continue")
    time.sleep(0.2)
    kept = live.frame
    assert live.words == f"step {kept.number}"
    time.sleep(0.2)
    assert live.frame is kept
    assert work.closed == 0


def slow(drawn: list[int], seconds: float):
    """A drawing that takes so long; `drawn` notes the frame of each."""

    def drawing(frame, shade):
        drawn.append(frame.number)
        time.sleep(seconds)
        return draw(frame, shade)

    return drawing


@pytest.mark.parametrize("pause", [0, 60], ids=["its turn to be shown", "too soon to be shown"])
def test_stop_while_a_frame_is_computed_draws_that_frame_and_no_other(make, monkeypatch, pause):
    monkeypatch.setattr("labsupport.ui.live.pause_after", lambda took: pause)
    ready, drawn = threading.Event(), []

    def frames(steps):
        yield Frame(1)
        ready.wait(10)
        yield Frame(2)
        yield Frame(3)

    live = make(frames, draw=slow(drawn, 0.0))
    live.start()
    assert until(lambda: "step 1" in live._readout.value)
    live.stop()
    ready.set()
    assert until(lambda: "step 2" in live._readout.value)
    assert until(lambda: 'aria-live="polite"' in live._readout.value)
    time.sleep(0.1)
    assert (drawn, live.words, live.state) == ([1, 2], "step 2", "stopped")


def test_stop_while_a_frame_is_drawn_draws_no_other(make):
    drawn: list[int] = []
    live = make(draw=slow(drawn, 0.2))
    live.start()
    assert until(lambda: drawn == [1])
    live.stop()
    time.sleep(0.4)
    assert (drawn, live.words, live.state) == ([1], "step 1", "stopped")
    assert 'aria-live="polite"' in live._readout.value
    assert live._said_progress.value.endswith("(stopped)")


def test_continue_goes_on_from_the_frame_it_was_stopped_at_and_run_from_the_beginning(make, work):
    live = begun(make(), 60)
    live.stop()
    live.stop_button.click()
    assert live.state == "running"
    assert live.wait(20) == "finished"
    assert live.frame.number == 60
    assert (work.opened, work.closed, len(work.threads)) == (1, 1, 1)
    begun(live).stop()
    live.controls["steps"].put(3)
    assert "press Run" in live.message
    in_background(live)
    assert (live.state, live.frame.number, live.message) == ("finished", 3, "")
    assert work.closed == 3


def test_grad_mode_holds_over_stop_and_continue(make):
    def frames(steps):
        with torch.no_grad():
            for number in range(1, steps + 1):
                time.sleep(0.005)
                assert not torch.is_grad_enabled()
                yield Frame(number)

    live = begun(make(frames), 40)
    live.stop()
    assert torch.is_grad_enabled()
    live.go_on()
    assert live.wait(20) == "finished"


def openmp_threads() -> set[int]:
    """What OpenMP would use if it were asked from this thread now."""
    pools = threadpoolctl.threadpool_info()
    return {pool["num_threads"] for pool in pools if pool["user_api"] == "openmp"}


def test_the_thread_computes_with_as_many_threads_as_the_notebook(make):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        expected, seen = openmp_threads(), []
        live = make(lambda steps: (seen.append(openmp_threads()) or Frame(1) for _ in "a"))
        live.start()
        live.wait(10)
        assert 3 in expected
        assert seen == [expected]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("begin", [lambda live: live.run(limit=2), lambda live: live.start()])
def test_a_generator_that_somebody_else_holds_is_closed_all_the_same(make, work, begin):
    held = []
    live = make(lambda steps: held.append(work.frames(10_000)) or held[-1])
    begin(live)
    assert until(lambda: live.words)
    live.end()
    assert [inspect.getgeneratorstate(generator) for generator in held] == ["GEN_CLOSED"]


def test_run_again_ends_the_old_run_first_and_closes_its_generator(make, work):
    live = make()
    live.controls["steps"].put(10_000)
    for count in range(1, 5):
        live.start()
        assert until(lambda count=count: (work.opened, work.inside) == (count, 1))
    assert until(lambda: work.closed == 3)
    assert work.most == 1
    for _ in range(20):
        live.start()  # faster than any of them can begin
    live.end()
    assert work.most == 1
    assert work.opened == work.closed


@pytest.mark.parametrize("stopped", [False, True])
def test_no_thread_outlives_close(make, work, stopped):
    before = threading.active_count()
    live = begun(make())
    assert threading.active_count() == before + 1
    if stopped:
        live.stop()
    live.close()
    assert threading.active_count() == before
    assert work.closed == 1


# -- the picture


def test_a_control_of_the_drawing_changes_the_last_frame_and_one_of_the_work_waits_for_run(
    make, work
):
    live = make()
    live.run()
    live.controls["shade"].put(77)
    assert live.picture.getpixel((0, 0)) == (77, 5, 0)
    live.controls["steps"].put(9)
    assert live.settings["steps"] == 5
    assert "press Run" in live.message
    live.controls["steps"].put(5)
    assert live.message == ""
    assert work.opened == 1
    live = make(autostart=True)  # begins anew by itself
    live.controls["steps"].put(7)
    assert live.wait(10) == "finished"
    assert live.frame.number == 7
    live.controls["shade"].put(9)
    assert (live.state, work.opened) == ("finished", 2)


def test_a_burst_of_frames_is_drawn_seldom_and_the_last_one_always(make, work):
    drawn, work.pause = [], 0.0
    live = make(draw=slow(drawn, 0.0))
    live.controls["steps"].put(3000)
    start = time.perf_counter()
    live.run()
    assert (drawn[0], drawn[-1]) == (1, 3000)
    assert len(drawn) <= (time.perf_counter() - start) / 0.1 + 3


@pytest.mark.parametrize(("seconds", "share"), [(0.02, 0.15), (0.08, 1 / 3)])
def test_a_slow_drawing_leaves_most_of_the_time_to_the_work(make, seconds, share):
    drawn: list[int] = []
    live = make(draw=slow(drawn, seconds))
    live.controls["steps"].put(200)
    start = time.perf_counter()
    live.run()
    # two drawings more than the rule: the first and the last one
    assert (len(drawn) - 2) * seconds <= share * (time.perf_counter() - start)


# -- progress


def test_progress_is_the_frames_own_or_unknown(make):
    for frames, said in (
        ([Frame(1, 0.25)], "25% (finished)"),
        ([Frame(1), Frame(2)], "frame 2 (finished)"),
    ):
        live = make(lambda steps, frames=frames: iter(frames))
        live.run()
        assert live._said_progress.value == said
        if "%" in said:
            assert live._bar.value == pytest.approx(float(said.split("%")[0]) / 100)


def test_while_it_runs_the_time_left_is_said_and_nothing_read_aloud(make, work):
    work.pause = 0.05
    live = begun(make(), 200)
    assert until(lambda: 'aria-live="off"' in live._readout.value)
    assert until(lambda: " s left (running)" in live._said_progress.value)
    live.stop()
    assert live._said_progress.value.endswith("(stopped)")
    assert until(lambda: 'aria-live="polite"' in live._readout.value)
