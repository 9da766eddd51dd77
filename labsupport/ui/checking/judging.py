"""An exercise, and the verdict on a student's function. Nothing here shows or prints."""

import dis
import inspect
import linecache
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, Literal

from labsupport.ui.checking.comparing import Difference, Tolerance, difference
from labsupport.ui.checking.trying import Attempt, Stopped, attempt
from labsupport.ui.checking.values import as_table, in_words

Function = Callable[..., Any]
Broken = Callable[[Function], str | None]
State = Literal["right", "wrong", "not done"]
_REFERENCE = object()


class Case:
    """One call of the student's function: its input in words, and its arguments.

    Without `expected` the course's own version says what is expected.

    >>> Case("a row of three", [1, 2, 3], width=2).arguments
    ([1, 2, 3],)
    """

    def __init__(
        self, words: str, /, *arguments: Any, expected: Any = _REFERENCE, **keywords: Any
    ) -> None:
        self.words, self.arguments, self.keywords = words, arguments, keywords
        self._expected = expected

    def expected(self, reference: Function) -> Any:
        """What the right function gives for this case."""
        if self._expected is not _REFERENCE:
            return self._expected
        return attempt(reference, self.arguments, self.keywords, seconds=None).answer()


Cases = Sequence[Case]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What one exercise asks for and how an answer is judged.

    `cases` makes the cases anew for each check, always the same ones (seed what is random);
    put the smallest first, since the first that fails is the one that is shown. `reference` is
    the course's version and takes another way than the file in `notebooks/solutions`; its name,
    after an underscore, is the one that the student's function has to have. `mistakes` are typical
    wrong ways, each under the words for it ("looks like ..."). `laws` are what must hold for every
    right answer: a law's function gets the student's and gives words where it does not hold.
    """

    id: str
    title: str
    minutes: int
    reference: Function
    cases: Callable[[], Cases]
    hints: tuple[str, ...]
    mistakes: Mapping[str, Function] = field(default_factory=dict)
    laws: Mapping[str, Broken] = field(default_factory=dict)
    tolerance: Tolerance = (1e-4, 1e-5)
    seconds: float = 20.0
    solution: Path | None = None

    @property
    def function(self) -> str:
        """The name that the notebook gives to the student's function."""
        return self.reference.__name__.removeprefix("_")

    @property
    def name(self) -> str:
        """What the heads of its cards say."""
        return f"Exercise {self.id} — {self.title}"


@dataclass(frozen=True)
class Verdict:
    """Whether the function is right and, if not, the first failure in words."""

    state: State
    headline: str
    looks_like: str = ""
    facts: tuple[tuple[str, str, str], ...] = ()  # (term, text, HTML table or "")
    printed: str = ""

    @property
    def message(self) -> str:
        """The failure without the values: what tells one mistake from another."""
        return f"{self.headline} {self.looks_like}".strip()


def judge(exercise: Exercise, function: Any) -> Verdict:
    """The verdict on a function; whatever the function does, this returns one.

    A stub (`raise NotImplementedError`, or a body that is empty) is "not done".
    """
    refusal = _refuse_what_is_no_answer(exercise, function)
    if refusal:
        return refusal
    cases = list(exercise.cases())
    attempts: list[Attempt] = []
    for case in cases:
        attempts.append(attempt(function, case.arguments, case.keywords, exercise.seconds))
        failure = _failure(exercise, function, case, attempts)
        if failure:
            return failure
    for law, broken in exercise.laws.items():
        verdict = _break(exercise, law, broken, function)
        if verdict:
            return verdict
    printed = "".join(one.printed for one in attempts)
    headline = f"All {len(cases)} cases are right."
    if function is exercise.reference:
        headline += " This is the course's own version; to check yours, run its cell again."
    return Verdict("right", headline, printed=printed)


# ---- before the first call ------------------------------------------------------------------


def _refuse_what_is_no_answer(exercise: Exercise, function: Any) -> Verdict | None:
    name = exercise.function
    if not callable(function):
        wanted = f'check("{exercise.id}", {name})'
        guess = f"the name stands with round brackets; write `{wanted}`."
        return Verdict("wrong", f"This is {in_words(function)}, not a function.", guess)
    if is_stub(function):
        return Verdict("not done", f"Write the body of `{name}`, run its cell, then this one.")
    return None


def is_stub(function: Function) -> bool:
    """Whether the function's body is empty or only says `raise NotImplementedError`."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    doc = getattr(function, "__doc__", None)
    constants = [one for one in code.co_consts if one not in (None, ..., doc)]
    if set(code.co_names) == {"NotImplementedError"}:
        return all(isinstance(one, str) for one in constants)
    steps = {step.opname for step in dis.get_instructions(code)}
    return not constants and not code.co_names and steps <= _STEPS_OF_AN_EMPTY_BODY


_STEPS_OF_AN_EMPTY_BODY = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


# ---- one case -------------------------------------------------------------------------------


def _failure(
    exercise: Exercise, function: Function, case: Case, attempts: list[Attempt]
) -> Verdict | None:
    done = attempts[-1]
    shown = _input_facts(exercise, case)
    if done.error is not None:
        return _raised(exercise, function, case, done.error, shown, done.printed)
    if done.changed:
        guess = "an in-place step (`+=`, `x[...] =`, `add_`) on the input; work on a `.clone()`."
        words = f"It changes its own input (argument number {done.changed})."
        return Verdict("wrong", words, guess, shown, done.printed)
    expected = case.expected(exercise.reference)
    gap = difference(expected, done.value, tolerance=exercise.tolerance)
    if gap is None:
        return None
    guess = _diagnose(exercise, function, case) or gap.looks_like
    facts = (*shown, *_value_facts(exercise, expected, done.value, gap))
    return Verdict("wrong", gap.headline, guess, facts, done.printed)


def _input_facts(exercise: Exercise, case: Case) -> tuple[tuple[str, str, str], ...]:
    given = [in_words(one) for one in case.arguments]
    given += [f"{name}={in_words(one)}" for name, one in case.keywords.items()]
    call = f"{exercise.function}({', '.join(given)})"
    return (("Input", f"{case.words}: {call}" if case.words else call, ""),)


def _value_facts(
    exercise: Exercise, expected: Any, got: Any, gap: Difference
) -> list[tuple[str, str, str]]:
    tolerance = exercise.tolerance
    right = as_table(expected, got, tolerance=tolerance, marked=False)
    facts = [
        ("Expected", in_words(expected), right),
        ("Got", in_words(got), as_table(got, expected, tolerance=tolerance)),
    ]
    return [*facts, ("Where", gap.where, "")] if gap.where else facts


def _diagnose(exercise: Exercise, function: Function, failed: Case) -> str:
    """The declared mistake that gives the student's answers on every case, if there is one."""
    for looks_like, wrong in exercise.mistakes.items():
        if not _agree(exercise, function, wrong, failed):
            continue
        if all(_agree(exercise, function, wrong, case) for case in exercise.cases()):
            return looks_like
    return ""


def _agree(exercise: Exercise, function: Function, wrong: Function, case: Case) -> bool:
    answers = []
    for one in (wrong, function):
        done = attempt(one, case.arguments, case.keywords, exercise.seconds)
        if done.error is not None:
            return False
        answers.append(done.value)
    return difference(*answers, tolerance=exercise.tolerance) is None


# ---- a function that raises -----------------------------------------------------------------


def _raised(
    exercise: Exercise, function: Function, case: Case, error: Exception, shown: Any, printed: str
) -> Verdict:
    if isinstance(error, NotImplementedError) and _is_own(error, function):
        return Verdict("not done", f"`{exercise.function}` still raises NotImplementedError.")
    mismatch = _signature_mismatch(exercise, function, case)
    if mismatch and not isinstance(error, Stopped):
        return Verdict("wrong", mismatch, "the arguments were renamed or left out.", shown)
    return _stopped(function, error, shown, printed)


def _stopped(function: Function, error: Exception, shown: Any, printed: str) -> Verdict:
    """The verdict on a call that did not come to its end, with the line where it stopped."""
    if isinstance(error, Stopped):
        return Verdict("wrong", str(error), error.looks_like, shown, printed)
    first, *_ = _message(error).splitlines() or ["(no message)"]
    headline = f"It stops with {type(error).__name__}: {first[:200]}"
    facts = (*shown, *_place(error, function))
    return Verdict("wrong", headline, _error_guess(error), facts, printed)


def _is_own(error: Exception, function: Function) -> bool:
    """Whether the student's own cell raised it (torch raises NotImplementedError, too)."""
    frames = list(traceback.walk_tb(error.__traceback__))
    home = getattr(function, "__globals__", None)
    return bool(frames) and frames[-1][0].f_globals is home


def _signature_mismatch(exercise: Exercise, function: Function, case: Case) -> str:
    try:
        inspect.signature(function).bind(*case.arguments, **case.keywords)
    except TypeError:
        wanted = ", ".join(inspect.signature(exercise.reference).parameters)
        return f"It cannot be called as `{exercise.function}({wanted})`."
    except ValueError:  # a built-in that hides its signature
        pass
    return ""


def _message(error: Exception) -> str:
    try:
        return str(error).strip()
    except Exception:
        return ""


def _place(error: Exception, function: Function) -> list[tuple[str, str, str]]:
    """The last line of the student's own code that the error went through."""
    home = getattr(getattr(function, "__code__", None), "co_filename", None)
    places = [
        (line, linecache.getline(home, line).strip())
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == home
    ]
    if not places:
        return []
    line, text = places[-1]
    return [("Where", f"line {line} of its cell: `{text}`" if text else f"line {line}", "")]


_ERROR_GUESSES: tuple[tuple[type[BaseException], str], ...] = (
    (UnboundLocalError, "a variable is used before it has a value."),
    (NameError, "a name is misspelt, or the cell that makes it has not been run."),
    (IndexError, "an index runs past the end: look at the range of the loop."),
    (KeyError, "a key that is not in the dict."),
    (ZeroDivisionError, "a division by zero."),
    (RecursionError, "the function calls itself without an end."),
    (
        AttributeError,
        "another type than you think: print `type(...)` of what stands before the dot.",
    ),
    (TypeError, "a value of the wrong type, or a wrong number of arguments, in that line."),
)


def _error_guess(error: Exception) -> str:
    words = _message(error)
    if "size of tensor" in words or "shapes cannot be multiplied" in words or "broadcast" in words:
        return "two shapes that do not fit together: print the `.shape` of both."
    return next((guess for sort, guess in _ERROR_GUESSES if isinstance(error, sort)), "")


# ---- laws -----------------------------------------------------------------------------------


def _break(exercise: Exercise, law: str, broken: Broken, function: Function) -> Verdict | None:
    done = attempt(broken, (function,), {}, exercise.seconds, guard_input=False)
    rule = ("Rule", law, "")
    if done.error is not None:
        return _stopped(function, done.error, (rule,), done.printed)
    if done.value:
        return Verdict("wrong", "A rule does not hold.", str(done.value), (rule,), done.printed)
    return None
