"""`Live`: runs, stops, continues, ends; never two at once in one panel, never one left behind."""

import inspect
import logging
import threading
import time
from dataclasses import dataclass

import pytest
import threadpoolctl
import torch
from PIL import Image

from labsupport.core.errors import BadSetting
from labsupport.ui import controls
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


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def make(work):
    made: list[Live] = []

    def build(frames=None, **knobs) -> Live:
        sliders = {
            "steps": controls.whole("steps", 5, 1, 10_000),
            "shade": controls.whole("shade", 0, 0, 255),
        }
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
    assert (live.words, live.state) == ("step 5", "finished")
    assert (work.opened, work.closed) == (1, 1)
    assert live._bar.value == 1
    assert live.settings == {"panel": "live 0", "steps": 5, "shade": 0}


def test_the_first_frame_is_there_before_anybody_presses_run(make, work):
    live = make(preview=True)
    assert (live.words, live.state, work.closed) == ("step 1", "idle", 1)
    assert live.static().width == 20


def test_an_interrupt_gives_back_the_last_frame_and_closes_the_generator(make):
    closed = []

    def frames(steps):
        try:
            yield Frame(1)
            yield Frame(2)
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    live = make(frames)
    assert live.run().number == 2
    assert live.words == "step 2"
    assert closed == [True]


def test_settings_that_give_no_frame_say_so(make):
    live = make(lambda steps: iter(()))
    with pytest.raises(BadSetting, match="no frame"):
        live.run()
    live.start()
    with pytest.raises(BadSetting, match="no frame"):
        live.wait(10)


def test_errors_of_run_are_raised_and_shown(make, work):
    work.fail_at = 3
    live = make()
    with pytest.raises(RuntimeError, match="on purpose"):
        live.run()
    assert live.state == "failed"
    assert "broken on purpose" in live.message
    assert work.closed == 1


# -- in the background


def test_a_run_in_the_background_ends_with_the_last_frame(make, work):
    live = make()
    live.run_button.click()
    assert live.wait(10) == "finished"
    assert (live.frame.number, live.words) == (5, "step 5")
    assert threading.get_ident() not in work.threads


def test_stop_answers_within_half_a_second_and_keeps_the_last_frame(make, work):
    work.pause = 0.05
    live = begun(make())
    start = time.perf_counter()
    live.stop_button.click()
    answered = time.perf_counter() - start
    assert answered < 0.5
    assert live.state == "stopped"
    assert live.stop_button.description == "Continue"
    time.sleep(0.2)
    kept = live.frame
    assert live.words == f"step {kept.number}"
    time.sleep(0.2)
    assert live.frame is kept
    assert work.closed == 0


def slow(live: Live, drawn: list[int], seconds: float) -> None:
    """Let the panel's drawings take so long; `drawn` notes the frame of each."""
    quick = live._draw

    def draw(frame, **values):
        drawn.append(frame.number)
        time.sleep(seconds)
        return quick(frame, **values)

    live._draw = draw


@pytest.mark.parametrize("pause", [0, 60], ids=["its turn to be shown", "too soon to be shown"])
def test_stop_while_a_frame_is_computed_draws_that_frame_and_no_other(make, monkeypatch, pause):
    monkeypatch.setattr("labsupport.ui.live.pause_after", lambda took: pause)
    ready = threading.Event()

    def frames(steps):
        yield Frame(1)
        ready.wait(10)
        yield Frame(2)
        yield Frame(3)

    live, drawn = make(frames), []
    slow(live, drawn, 0.0)
    live.start()
    assert until(lambda: "step 1" in live._readout.value)
    live.stop()
    ready.set()
    assert until(lambda: "step 2" in live._readout.value)
    assert until(lambda: 'aria-live="polite"' in live._readout.value)
    time.sleep(0.1)
    assert (drawn, live.words, live.state) == ([1, 2], "step 2", "stopped")


def test_stop_while_a_frame_is_drawn_draws_no_other(make, work):
    live, drawn = make(), []
    slow(live, drawn, 0.2)
    live.start()
    assert until(lambda: drawn == [1])
    live.stop()
    time.sleep(0.4)
    assert (drawn, live.words, live.state) == ([1], "step 1", "stopped")
    assert 'aria-live="polite"' in live._readout.value
    assert live._said_progress.value.endswith("(stopped)")


def test_continue_goes_on_from_the_frame_it_was_stopped_at_in_the_same_thread(make, work):
    live = begun(make(), 60)
    live.stop()
    live.stop_button.click()
    assert live.state == "running"
    assert live.wait(20) == "finished"
    assert live.frame.number == 60
    assert (work.opened, work.closed, len(work.threads)) == (1, 1, 1)


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


def test_a_stopped_run_can_be_run_again_from_the_beginning(make, work):
    live = begun(make())
    live.stop()
    live.controls["steps"].put(3)
    assert "press Run" in live.message
    live.start()
    assert live.wait(10) == "finished"
    assert live.frame.number == 3
    assert live.message == ""
    assert work.closed == 2


def test_two_panels_run_at_once(make):
    both = [make(Work().frames, title=name) for name in ("one", "two")]
    for live in both:
        live.controls["steps"].put(30)
        live.start()
    assert [live.wait(20) for live in both] == ["finished", "finished"]
    assert [live.frame.number for live in both] == [30, 30]


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


def test_an_error_in_the_thread_is_shown_logged_and_raised_by_wait(make, work, caplog):
    work.fail_at = 3
    live = make()
    with caplog.at_level(logging.ERROR):
        live.start()
        with pytest.raises(RuntimeError, match="on purpose"):
            live.wait(10)
    assert live.state == "failed"
    assert live.message == "RuntimeError: broken on purpose"
    assert "live 0" in caplog.text
    work.fail_at = None
    live.start()
    assert live.wait(10) == "finished"
    assert live.message == ""


def test_a_drawing_that_fails_in_the_thread_is_an_error_too(make):
    def bad(frame, shade):
        raise ZeroDivisionError("in the drawing")

    live = make(draw=bad)
    live.start()
    with pytest.raises(ZeroDivisionError):
        live.wait(10)
    assert "in the drawing" in live.message


def test_a_message_to_the_student_from_the_thread_is_no_fault(make, work, caplog):
    work.fail_at, work.error = 2, BadSetting("The step is too large.")
    live = make()
    live.start()
    with pytest.raises(BadSetting):
        live.wait(10)
    assert live.message == "The step is too large."
    assert not caplog.records


# -- the picture


def test_a_control_of_the_drawing_alone_changes_the_last_frame_at_once(make, work):
    live = make()
    live.run()
    live.controls["shade"].put(77)
    assert live.picture.getpixel((0, 0)) == (77, 5, 0)
    assert work.opened == 1


def test_a_control_of_the_work_keeps_the_picture_until_run(make, work):
    live = make()
    live.run()
    live.controls["steps"].put(9)
    assert live.settings["steps"] == 5
    assert "press Run" in live.message
    live.controls["steps"].put(5)
    assert live.message == ""


def test_autostart_begins_anew_by_itself(make, work):
    live = make(autostart=True)
    live.controls["steps"].put(7)
    assert live.wait(10) == "finished"
    assert live.frame.number == 7
    live.controls["shade"].put(9)
    assert live.state == "finished"
    assert work.opened == 1


def test_a_burst_of_frames_is_drawn_seldom_and_the_last_one_always(make, work):
    drawn = []

    def count(frame, shade):
        drawn.append(frame.number)
        return draw(frame, shade)

    work.pause = 0.0
    live = make(draw=count)
    live.controls["steps"].put(3000)
    start = time.perf_counter()
    live.run()
    seconds = time.perf_counter() - start
    assert drawn[0] == 1
    assert drawn[-1] == 3000
    assert len(drawn) <= seconds / 0.1 + 3


@pytest.mark.parametrize(("seconds", "share"), [(0.02, 0.15), (0.08, 1 / 3)])
def test_a_slow_drawing_leaves_most_of_the_time_to_the_work(make, work, seconds, share):
    spent = []

    def slow(frame, shade):
        start = time.perf_counter()
        time.sleep(seconds)
        spent.append(time.perf_counter() - start)
        return draw(frame, shade)

    live = make(draw=slow)
    live.controls["steps"].put(200)
    start = time.perf_counter()
    live.run()
    # two drawings more than the rule: the first and the last one
    assert sum(spent[1:-1]) <= share * (time.perf_counter() - start)


# -- progress


def test_progress_is_the_frames_own_or_counted_or_unknown(make):
    own = make(lambda steps: iter([Frame(1, 0.25)]))
    own.run()
    assert own._bar.value == 0.25
    counted = make(lambda steps: iter([Frame(1), Frame(2)]), total=lambda steps: 2 * steps)
    counted.run()
    assert counted._bar.value == pytest.approx(0.2)
    assert counted._said_progress.value == "20% (finished)"
    unknown = make(lambda steps: iter([Frame(1), Frame(2)]))
    unknown.run()
    assert unknown._said_progress.value == "frame 2 (finished)"


def test_the_time_left_is_said_while_it_runs(make, work):
    work.pause = 0.05
    live = make()
    live.controls["steps"].put(200)
    live.start()
    assert until(lambda: " s left (running)" in live._said_progress.value)
    live.stop()
    assert live._said_progress.value.endswith("(stopped)")


def test_the_readout_is_not_read_aloud_ten_times_a_second(make, work):
    live = begun(make())
    assert 'aria-live="off"' in live._readout.value
    live.stop()
    assert until(lambda: 'aria-live="polite"' in live._readout.value)
