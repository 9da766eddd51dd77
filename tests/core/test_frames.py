"""A function with a short and a long way."""

import inspect
import pickle
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from labsupport.core.frames import Beside, Shortcut, Stepwise, framed, in_turn

events: list[str] = []


@framed
def counted(start: int, *, steps: int = 3) -> Iterator[int]:
    """Count."""
    try:
        for number in range(start, start + steps):
            if number == 99:
                raise ArithmeticError("99")
            yield number
    finally:
        events.append("closed")


@framed(result=lambda frames: [next(frames), next(frames)])
def first_two(start: int) -> Iterator[int]:
    """The call stops early."""
    try:
        yield from range(start, start + 9)
    finally:
        events.append("closed")


@framed
def sum_to(end: int) -> Iterator[int]:
    """The call adds nothing up."""
    return Shortcut((sum(range(number + 1)) for number in range(end)), lambda: end * (end - 1) // 2)


def test_the_call_gives_the_last_frame_and_frames_all():
    assert counted(4) == 6
    assert list(counted.frames(4, steps=2)) == [4, 5]
    frames = sum_to.frames(4)
    assert next(frames) == 0
    assert list(frames) == [1, 3, 6]
    assert sum_to(10**9) == 10**9 * (10**9 - 1) // 2  # a call takes the cheaper way
    frames = sum_to.frames(4)
    frames.close()
    assert list(frames) == []


def test_frames_are_closed_by_a_result_that_is_made_of_some_and_when_one_raises():
    events.clear()
    assert first_two(3) == [3, 4]
    assert events == ["closed"]
    with pytest.raises(ArithmeticError):
        counted(98)
    assert events == ["closed", "closed"]


def test_it_is_a_function_with_its_own_words():
    assert counted.__name__ == "counted"
    assert counted.__doc__ == "Count."
    assert list(inspect.signature(counted).parameters) == ["start", "steps"]
    assert inspect.signature(counted).return_annotation is inspect.Signature.empty
    assert inspect.isfunction(counted)
    assert pickle.loads(pickle.dumps(counted)) is counted


def test_what_stands_beside_a_frame_has_come_as_far_as_the_frame():
    frame = Stepwise()
    frame.step, frame.steps = 1, 4
    assert Beside(frame).progress == 0.25


def test_runs_in_turn_begin_one_after_the_other_and_keep_the_last_frames_of_those_before():
    begun = []

    def run(name):
        begun.append(name)
        for step in (1, 2):
            yield SimpleNamespace(place=(name, step), progress=step / 2)

    series = in_turn("abc", run)
    first = next(series)
    assert (begun, first.names, len(first.frames)) == (["a"], ("a", "b", "c"), 1)
    later = list(series)
    assert [frame.place for frame in later[-1].frames] == [("a", 2), ("b", 2), ("c", 2)]
    assert [round(6 * one.progress) for one in (first, *later)] == [1, 2, 3, 4, 5, 6]
