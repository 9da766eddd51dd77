"""A session with a set of exercises: `check`, `use`, `hint`, `solution`, `progress`, `predict`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from labsupport.core.errors import LabError
from labsupport.ui.checking import cards
from labsupport.ui.checking.cards import Card, Question, Standing, show
from labsupport.ui.checking.judging import Exercise, State, Verdict, judge
from labsupport.ui.checking.memory import fingerprint, keep, recall

_EXPECTED_BY_THE_TESTS: dict[str, State] = {"solved": "right", "student": "not done"}


class NotAsExpected(LabError):
    """A check came out otherwise than the tests of the notebooks expect."""


class ExerciseSet(Protocol):
    """Where a session looks its exercises up: an object, or a module, with these functions."""

    def find(self, exercise: str) -> Exercise: ...
    def find_question(self, question: str) -> Question: ...
    def all_exercises(self) -> tuple[Exercise, ...]: ...
    def solution_file(self, exercise: Exercise) -> Path | None: ...


class Session:
    """What a notebook's exercise cells call, and what is remembered between the calls."""

    def __init__(self, exercises: ExerciseSet) -> None:
        self._exercises = exercises
        self._verdicts: dict[tuple[str, str], Verdict] = {}  # by exercise and code
        self._hints_seen: dict[str, int] = {}
        self._last: dict[str, tuple[State, str]] = {}  # verdict and code, by exercise
        self._lab = ""  # the one whose exercise or question was asked for last

    def check(self, exercise: str, function: Any = None) -> None:
        """Show a card that says whether the function is right and, if not, the first failure.

        Never raises for a student. Without `function` the one of the expected name is taken from
        the notebook. With `LABS_STRICT=solved` (or `student`) in the environment, as the tests of
        the notebooks set it, a check that is not right (or not still to be done) raises.
        """
        one = self._find(exercise)
        if one is None:
            verdict = Verdict("wrong", "There is no such exercise.")
        else:
            verdict = self._verdict(one, _given(one, function), anew=True)
            show(cards.verdict_card(one, verdict))
        wanted = _EXPECTED_BY_THE_TESTS.get(os.environ.get("LABS_STRICT", ""))
        if wanted is not None and verdict.state != wanted:
            state = f'check("{exercise}") is "{verdict.state}", not "{wanted}"'
            raise NotAsExpected(f"{state}: {verdict.message}")

    def use(self, exercise: str, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """The student's function when it is right, else the course's version, and a line saying so.

        So the rest of a notebook runs whether or not its exercises are solved.
        """
        one = self._exercises.find(exercise)
        self._lab = one.lab
        given = _given(one, function)
        if given is not one.reference and self._verdict(one, given).state == "right":
            return given  # type: ignore[no-any-return]
        words = f"Going on with the course's version of `{one.function}` (exercise {one.id})."
        show(Card("note", "Note", text=words))
        return one.reference

    def hint(self, exercise: str) -> None:
        """Show the next hint; those already seen stay, and the later ones can be unfolded."""
        one = self._find(exercise)
        if one is not None:
            seen = min(self._hints_seen.get(one.id, 0) + 1, len(one.hints))
            self._hints_seen[one.id] = seen
            show(cards.hint_card(one, seen))

    def solution(self, exercise: str, *, anyway: bool = False) -> None:
        """Show the course's solution, at once if the exercise is solved, else after a question."""
        one = self._find(exercise)
        if one is not None:
            file = self._exercises.solution_file(one)
            code = file.read_text(encoding="utf-8") if file else None
            shown = anyway or self._standing(one) == "right"
            seen = self._hints_seen.get(one.id, 0)
            show(cards.solution_card(one, code, shown=shown, hints_seen=seen))

    def progress(self) -> None:
        """Show which of the lab's exercises are solved, those of the other labs folded.

        A function that was edited since its check counts as unchecked.
        """
        exercises = self._exercises.all_exercises()
        show(cards.progress_card([(one, self._standing(one)) for one in exercises], self._lab))

    def predict(self, question: str) -> None:
        """Ask the student to commit to an answer before looking; the answer is folded away.

        `predict("05.q1")` asks a question of the lab's module, so that its answer does not stand in
        the notebook. Raises `UnknownExercise` for a number that no question has.
        """
        show(self._exercises.find_question(question).card())
        self._lab = question.split(".")[0]

    def _find(self, exercise: str) -> Exercise | None:
        """The exercise; None where there is none, after a card that says so."""
        try:
            one = self._exercises.find(exercise)
        except LabError as error:
            show(Card("wrong", "No such exercise", text=str(error)))
            return None
        self._lab = one.lab
        return one

    def _verdict(self, exercise: Exercise, function: Any, *, anew: bool = False) -> Verdict:
        code = _code(function)
        key = (exercise.id, code)
        if anew or key not in self._verdicts:
            self._verdicts[key] = _judged(exercise, function)
            if function is not None and function is not exercise.reference:
                self._last[exercise.id] = self._verdicts[key].state, code
                keep(exercise.id, self._verdicts[key].state)
        return self._verdicts[key]

    def _standing(self, exercise: Exercise) -> Standing:
        """How the exercise stands now: a function that was edited since its check is "edited"."""
        if exercise.id not in self._last:
            return recall(exercise.id) or "not started"
        function, (state, code) = _given(exercise), self._last[exercise.id]
        same = function is None or function is exercise.reference or _code(function) == code
        return state if same else "edited"


def _given(exercise: Exercise, function: Any = None) -> Any:
    """The function, or else the notebook's variable of the name that the exercise asks for."""
    if function is not None:
        return function
    return vars(sys.modules["__main__"]).get(exercise.function)


def _judged(exercise: Exercise, function: Any) -> Verdict:
    """The verdict; also when something goes wrong that neither side has foreseen."""
    try:
        return judge(exercise, function)
    except Exception as error:
        words = f"The check itself stopped with {type(error).__name__}: {error}"
        guess = "a result that cannot be compared; print it, and look at its type."
        return Verdict("wrong", words, guess)


def _code(function: Any) -> str:
    try:
        return fingerprint(function)
    except Exception:  # a callable that resists: judged anew each time
        return f"object {id(function)}"
