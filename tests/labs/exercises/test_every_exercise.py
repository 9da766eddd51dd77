"""Every exercise: its solution is right, its stub is not done, and wrong answers are refused, each
with words of its own: the exercise's declared mistakes, and those of `wrong_answers.py`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest

from labsupport.labs.exercises import all_exercises, find, solution_file
from labsupport.ui.checking import Exercise, judge
from labsupport.ui.checking.comparing import difference

EXERCISES = all_exercises()


HERE = Path(__file__).parent
WRONG = run_path(str(HERE / "wrong_answers.py"))["WRONG"]
# Right answers of other hands, a file a lab: {"05.1": [a loop, vectorized, other names, numpy]}
SPELLINGS = {
    name: answers
    for path in sorted((HERE / "spellings").glob("lab*.py"))
    for name, answers in run_path(str(path))["SPELLINGS"].items()
}


def solution_of(exercise: Exercise):
    path = solution_file(exercise)
    assert path is not None, f"notebooks/solutions/{exercise.id.replace('.', '_')}_*.py is missing"
    return run_path(str(path))[exercise.function]


def complaints(exercise: Exercise, mistakes: Mapping[str, Callable]) -> list[str]:
    """What is the matter with an exercise's check, given typical mistakes."""
    if len(mistakes) < 3:
        return [f"{exercise.id} has {len(mistakes)} mistakes; it needs three"]
    answers = []
    for looks_like, wrong in mistakes.items():
        verdict = judge(exercise, wrong)
        if verdict.state != "wrong":
            answers.append(f"{exercise.id} takes as {verdict.state}: {looks_like}")
        elif verdict.looks_like != looks_like:
            answers.append(f"{exercise.id} says '{verdict.message}', not: {looks_like}")
    return answers


each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.id)


def test_there_are_exercises_and_their_numbers_are_unique():
    assert len({one.id for one in EXERCISES}) == len(EXERCISES) > 0


@each
def test_the_solution_is_right(exercise):
    verdict = judge(exercise, solution_of(exercise))
    assert verdict.state == "right", verdict.message


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_the_solution_is_right(name):
    exercise = find(name)
    assert len(SPELLINGS[name]) >= 4, "four besides the solution"
    for answer in SPELLINGS[name]:
        verdict = judge(exercise, answer)
        assert verdict.state == "right", f"{answer.__name__}: {verdict.message}"


@each
def test_a_stub_is_not_done_and_makes_no_noise(exercise):
    names = ", ".join(inspect.signature(solution_of(exercise)).parameters)
    space = {}
    exec(f'def stub({names}):\n    """Words."""\n    raise NotImplementedError\n', space)
    verdict = judge(exercise, space["stub"])
    assert (verdict.state, verdict.looks_like, verdict.facts) == ("not done", "", ())


@each
def test_each_declared_mistake_is_refused_with_its_own_words(exercise):
    assert complaints(exercise, exercise.mistakes) == []


@each
def test_an_answer_of_another_hand_is_refused_with_the_right_words(exercise):
    """Mistakes are declared with the help of the course's version; students have none."""
    answers = [(wrong, words) for of, wrong, words in WRONG if of == exercise.id]
    assert answers
    for wrong, words in answers:
        verdict = judge(exercise, wrong)
        assert verdict.state == "wrong"
        assert words in verdict.message


@each
def test_each_law_is_broken_by_a_wrong_answer(exercise):
    wrong = [*exercise.mistakes.values()]
    wrong += [answer for of, answer, _ in WRONG if of == exercise.id]
    for words, broken in exercise.laws.items():
        assert any(breaks(broken, answer) for answer in wrong), words


def breaks(broken: Callable, answer) -> bool:
    try:
        return bool(broken(answer))
    except (TypeError, ValueError, RuntimeError):  # its answer is not even of the right kind
        return False


@each
def test_the_reference_meets_its_own_cases_and_laws(exercise):
    for case in exercise.cases():
        got = exercise.reference(*case.arguments)
        found = difference(case.expected(exercise.reference), got, tolerance=exercise.tolerance)
        assert found is None, f"{case.words}: {found}"
    assert all(broken(exercise.reference) is None for broken in exercise.laws.values())
    # the cases are the same each time
    for one, other in zip(exercise.cases(), exercise.cases(), strict=True):
        assert one.words == other.words
        assert difference(one.arguments, other.arguments, tolerance=(0.0, 0.0)) is None


@each
def test_the_words_are_complete(exercise):
    assert exercise.id.split(".")[0].isdigit()
    assert exercise.title
    assert 3 <= exercise.minutes <= 15
    assert len(exercise.hints) >= 2
    assert all(words.endswith(".") for words in exercise.mistakes)
    assert len(exercise.cases()) >= 2


@each
def test_the_solution_has_at_most_eight_lines_and_the_reference_takes_another_way(exercise):
    solution = solution_of(exercise)
    lines = inspect.getsource(solution).split('"""')[-1].splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 8
    codes = [function.__code__ for function in (exercise.reference, solution)]
    steps, others = [(code.co_code, code.co_names) for code in codes]
    assert steps != others


# ---- the tests above can fail ---------------------------------------------------------------


def test_a_lax_check_and_mistakes_with_other_words_or_too_few_are_found_out():
    strongest = find("90.2")
    lax = replace(strongest, tolerance=(1e9, 1e9))
    assert any("takes as right" in one for one in complaints(lax, strongest.mistakes))
    (first, second, third), wrong = strongest.mistakes, [*strongest.mistakes.values()]
    alike = {first: wrong[0], second: wrong[1], third: wrong[1]}
    assert [one[:10] for one in complaints(strongest, alike)] == ["90.2 says "]
    assert any("needs three" in one for one in complaints(strongest, {}))
