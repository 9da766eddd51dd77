"""Every registered exercise: its solution is right, its stub is not done, wrong answers are told
apart. The wrong answers are in `wrong_05.py` and so on: `WRONG = {"05.1": (function, ...)}`."""

import importlib.util
import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from labsupport.labs.exercises import all_exercises, find, solution_file
from labsupport.ui.checking import Exercise, judge
from labsupport.ui.checking.comparing import difference

HERE = Path(__file__).parent
EXERCISES = all_exercises()


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong_answers(exercise: Exercise) -> tuple:
    path = HERE / f"wrong_{exercise.id.split('.')[0]}.py"
    assert path.is_file(), f"{path.name} is missing: typical wrong answers to {exercise.id}"
    return load(path).WRONG.get(exercise.id, ())


def solution_of(exercise: Exercise):
    path = solution_file(exercise)
    assert path is not None, f"notebooks/solutions/{exercise.id.replace('.', '_')}_*.py is missing"
    return getattr(load(path), exercise.function)


def complaints(exercise: Exercise, wrong: tuple) -> list[str]:
    """What is the matter with an exercise's check, given typical wrong answers to it."""
    verdicts = [judge(exercise, function) for function in wrong]
    found = []
    if len(wrong) < 3:
        found.append(f"{exercise.id} has {len(wrong)} wrong answers; it needs three")
    for function, verdict in zip(wrong, verdicts, strict=True):
        if verdict.state != "wrong":
            found.append(f"{exercise.id} takes {function.__name__} for {verdict.state}")
    messages = [verdict.message for verdict in verdicts]
    found += [f"said twice: {one}" for one in {m for m in messages if messages.count(m) > 1}]
    return found


each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.id)


def test_there_are_exercises_and_their_numbers_are_unique():
    ids = [one.id for one in EXERCISES]
    assert ids
    assert len(set(ids)) == len(ids)


@each
def test_the_solution_is_right(exercise):
    verdict = judge(exercise, solution_of(exercise))
    assert verdict.state == "right", verdict.message


@each
def test_a_stub_is_not_done_and_makes_no_noise(exercise):
    names = ", ".join(inspect.signature(solution_of(exercise)).parameters)
    space = {}
    exec(f'def stub({names}):\n    """Words."""\n    raise NotImplementedError\n', space)
    verdict = judge(exercise, space["stub"])
    assert (verdict.state, verdict.looks_like, verdict.facts) == ("not done", "", ())


@each
def test_wrong_answers_are_refused_each_with_its_own_message(exercise):
    assert complaints(exercise, wrong_answers(exercise)) == []


@each
def test_the_reference_meets_its_own_cases_and_laws(exercise):
    for case in exercise.cases():
        got = exercise.reference(*case.arguments, **case.keywords)
        found = difference(case.expected(exercise.reference), got, tolerance=exercise.tolerance)
        assert found is None, f"{case.words}: {found}"
    assert [law.broken(exercise.reference) for law in exercise.laws] == [None] * len(exercise.laws)


@each
def test_the_cases_are_the_same_each_time(exercise):
    for one, other in zip(exercise.cases(), exercise.cases(), strict=True):
        assert one.words == other.words
        assert difference(one.arguments, other.arguments, tolerance=(0.0, 0.0)) is None


@each
def test_the_words_are_complete(exercise):
    assert exercise.id.split(".")[0].isdigit()
    assert exercise.title
    assert 3 <= exercise.minutes <= 15
    assert len(exercise.hints) >= 2
    assert all(mistake.looks_like.endswith(".") for mistake in exercise.mistakes)
    assert len(exercise.cases()) >= 2


@each
def test_the_solution_is_at_most_eight_lines(exercise):
    lines = inspect.getsource(solution_of(exercise)).split('"""')[-1].splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 8


@each
def test_the_reference_takes_another_way_than_the_solution(exercise):
    def steps(function) -> tuple:
        return function.__code__.co_code, function.__code__.co_names

    assert steps(exercise.reference) != steps(solution_of(exercise))


# ---- the tests above can fail ---------------------------------------------------------------


def test_a_check_that_takes_everything_is_found_out():
    strongest = find("90.2")
    lax = replace(strongest, tolerance=(1e9, 1e9), mistakes=())
    assert any("takes" in one for one in complaints(lax, wrong_answers(strongest)))


def test_a_check_that_says_things_twice_is_found_out():
    alike = (lambda response: (50, 1), lambda response: (0, 60), lambda response: "here")
    assert [one[:10] for one in complaints(find("90.2"), alike)] == ["said twice"]


def test_too_few_wrong_answers_are_found_out():
    assert any("needs three" in one for one in complaints(find("90.2"), ()))
