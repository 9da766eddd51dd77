"""`check`, `use`, `hint`, `solution`, `progress`: what a notebook's exercise cells call."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from labsupport.core.errors import LabError
from labsupport.ui.checking.cards import (
    Card,
    Mood,
    code_block,
    fold_html,
    inline,
    preformatted,
    show,
)
from labsupport.ui.checking.code import fingerprint
from labsupport.ui.checking.judging import Exercise, State, Verdict, judge
from labsupport.ui.checking.memory import Memory, Record

_WORDS: dict[State, tuple[Mood, str]] = {
    "right": ("right", "Right"),
    "wrong": ("wrong", "Not yet"),
    "not done": ("open", "Not done yet"),
}
Standing = State | Literal["edited", "not started"]
_EXPECTED_BY_THE_TESTS: dict[str, State] = {"1": "right", "solved": "right", "student": "not done"}


class NotAsExpected(LabError):
    """A check came out otherwise than the tests of the notebooks expect."""


@dataclass
class _Desk:
    """What this session knows: verdicts by exercise and code, hints seen, and the records."""

    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)


_desk = _Desk()


def check(exercise: str, function: Any = None) -> None:
    """Show a card that says whether the function is right and, if not, the first failure.

    Never raises for a student. Without `function` the one of the expected name is taken from
    the notebook. With `LABS_STRICT=solved` (or `student`) in the environment, as the tests of
    the notebooks set it, a check that is not right (or not still to be done) raises.
    """
    found = _find(exercise)
    if isinstance(found, Card):
        show(found)
        _insist(exercise, "wrong", repr(found))
        return
    given = _from_notebook(found) if function is None else function
    verdict = _verdict(found, given, anew=True)
    show(_verdict_card(found, verdict))
    _insist(exercise, verdict.state, verdict.message)


def use(exercise: str, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """The student's function when it is right, else the course's version, with a line saying so.

    So the rest of a notebook runs whether or not its exercises are solved.
    """
    found = _exercise(exercise)
    given = _from_notebook(found) if function is None else function
    if _verdict(found, given).state == "right" and callable(given):
        return given
    words = f"Going on with the course's version of `{found.function}` (exercise {found.id})."
    show(Card("note", "Note", text=words))
    return found.reference


def hint(exercise: str) -> None:
    """Show the next hint; those already seen stay, and the later ones can be unfolded."""
    found = _find(exercise)
    if isinstance(found, Card):
        show(found)
        return
    seen = min(_desk.hints.get(found.id, 0) + 1, len(found.hints))
    _desk.hints[found.id] = seen
    show(_hint_card(found, seen))


def solution(exercise: str, *, anyway: bool = False) -> None:
    """Show the course's solution: at once when the exercise is solved, else after a question."""
    found = _find(exercise)
    if isinstance(found, Card):
        show(found)
        return
    code = _solution_code(found)
    if code is None:
        words = "The solutions are not in this folder; your instructor has them."
        show(Card("note", "No solution here", _name(found), words))
        return
    show(_solution_card(found, code, shown=anyway or _standing(found) == "right"))


def progress() -> None:
    """Show which exercises of all labs are solved; an edited function counts as unchecked."""
    rows = [(one, _standing(one)) for one in _registry().all_exercises()]
    show(_progress_card(rows))


def verdict_on(exercise: str, function: Any) -> Verdict:
    """The verdict on a function, for tests and instructors: nothing is shown or kept.

    Raises `UnknownExercise` (a `LabError`) when there is no such exercise.
    """
    return _judged(_exercise(exercise), function)


# ---- finding --------------------------------------------------------------------------------


def _registry() -> Any:
    """The exercises, found by their name: they stand above this package and import it."""
    return importlib.import_module("labsupport.labs.exercises")


def _exercise(exercise: str) -> Exercise:
    return _registry().find(exercise)  # type: ignore[no-any-return]


def _find(exercise: str) -> Exercise | Card:
    try:
        return _exercise(exercise)
    except LabError as error:
        return Card("wrong", "No such exercise", text=str(error))


def _from_notebook(exercise: Exercise) -> Any:
    return vars(sys.modules["__main__"]).get(exercise.function)


def _name(exercise: Exercise) -> str:
    return f"Exercise {exercise.id} — {exercise.title}"


# ---- judging and remembering ----------------------------------------------------------------


def _judged(exercise: Exercise, function: Any) -> Verdict:
    """The verdict; also when something goes wrong that neither side has foreseen."""
    try:
        return judge(exercise, function)
    except Exception as error:
        words = f"The check itself stopped with {type(error).__name__}: {error}"
        guess = "a result that cannot be compared; print it, and look at its type."
        return Verdict("wrong", words, guess)


def _verdict(exercise: Exercise, function: Any, *, anew: bool = False) -> Verdict:
    code = _code(function)
    key = (exercise.id, code)
    if anew or key not in _desk.verdicts:
        _desk.verdicts[key] = _judged(exercise, function)
        if function is not None and function is not exercise.reference:
            _desk.memory.keep(exercise.id, Record(_desk.verdicts[key].state, code))
    return _desk.verdicts[key]


def _code(function: Any) -> str:
    try:
        return fingerprint(function)
    except Exception:  # a callable that resists: judged anew each time
        return f"object {id(function)}"


def _standing(exercise: Exercise) -> Standing:
    """How the exercise stands now: a function that was edited since its check is "edited"."""
    record = _desk.memory.recall(exercise.id)
    if record is None:
        return "not started"
    function = _from_notebook(exercise)
    if exercise.id not in _desk.memory.session or function is None:
        return record.state
    same = function is exercise.reference or _code(function) == record.code
    return record.state if same else "edited"


def _insist(exercise: str, state: State, words: str) -> None:
    wanted = _EXPECTED_BY_THE_TESTS.get(os.environ.get("LABS_STRICT", ""))
    if wanted is not None and state != wanted:
        raise NotAsExpected(f'check("{exercise}") is "{state}", not "{wanted}": {words}')


# ---- cards ----------------------------------------------------------------------------------


def _verdict_card(exercise: Exercise, verdict: Verdict) -> Card:
    mood, word = _WORDS[verdict.state]
    facts = list(verdict.facts)
    if verdict.looks_like:
        strong = f"<strong>{inline(verdict.looks_like)}</strong>"
        facts.append(("Looks like", verdict.looks_like, strong))
    after = ""
    if verdict.state != "right":
        minutes = f"About {exercise.minutes} minutes. " if verdict.state == "not done" else ""
        after = f'{minutes}Stuck? `hint("{exercise.id}")`'
    printed = (("What your function printed", preformatted(verdict.printed)),)
    folds = printed if verdict.printed else ()
    return Card(mood, word, _name(exercise), verdict.headline, tuple(facts), after, folds=folds)


def _hint_card(exercise: Exercise, seen: int) -> Card:
    total = len(exercise.hints)
    nested = ""
    for count in range(total, seen, -1):
        words = f"<p>{inline(exercise.hints[count - 1])}</p>{nested}"
        nested = fold_html(f"Next hint ({count} of {total})", words)
    last = seen == total
    return Card(
        "note",
        "Hint",
        _name(exercise),
        facts=tuple((f"{i + 1} of {total}", exercise.hints[i], "") for i in range(seen)),
        after=f'That is the last one. `solution("{exercise.id}")` shows a way.' if last else "",
        folds=() if last else ((f"Next hint ({seen + 1} of {total})", _inside(nested)),),
        told=() if last else (f'The next hint: hint("{exercise.id}")',),
    )


def _inside(fold: str) -> str:
    """What a fold holds, without its own frame."""
    return fold.split("</summary>", 1)[1].removesuffix("</details>")


def _solution_code(exercise: Exercise) -> str | None:
    path = _registry().solution_file(exercise)
    return path.read_text(encoding="utf-8") if path else None


def _solution_card(exercise: Exercise, code: str, *, shown: bool) -> Card:
    name, block = _name(exercise), code_block(code)
    if shown:
        words = "One way to do it; yours may be another."
        return Card("note", "Solution", name, words, body=block, told=(code,))
    seen, total = _desk.hints.get(exercise.id, 0), len(exercise.hints)
    left = f' There are still hints ({seen} of {total} seen): `hint("{exercise.id}")`.'
    words = "Your function is not right yet. Are you sure?" + (left if seen < total else "")
    told = (f'To see it all the same: solution("{exercise.id}", anyway=True)',)
    folds = (("Yes, show me the solution", block),)
    return Card("open", "Solution", name, words, folds=folds, told=told)


_STANDING_WORDS: dict[Standing, tuple[str, str]] = {
    "right": ("✓", "right"),
    "wrong": ("✗", "tried, not right yet"),
    "edited": ("○", "edited since its check"),
    "not done": ("○", "not done yet"),
    "not started": ("○", "not started"),
}


def _progress_card(rows: list[tuple[Exercise, Standing]]) -> Card:
    solved = sum(standing == "right" for _, standing in rows)
    labs: dict[str, list[str]] = {}
    for exercise, standing in rows:
        sign, words = _STANDING_WORDS[standing]
        line = f"{sign} {exercise.id} {exercise.title}: {words}"
        labs.setdefault(exercise.id.split(".")[0], []).append(line)
    facts = tuple(
        (f"Lab {lab}", "; ".join(lines), "<br>".join(map(inline, lines)))
        for lab, lines in labs.items()
    )
    mood: Mood = "right" if rows and solved == len(rows) else "note"
    return Card(mood, "Your progress", f"{solved} of {len(rows)} exercises are right", facts=facts)
