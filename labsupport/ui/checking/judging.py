"""An exercise, and the verdict on a student's function. Nothing here shows or prints."""

import dis
import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from labsupport.ui.checking.comparing import (
    Difference,
    Tolerance,
    comes_on_top,
    difference,
    in_all,
    is_refuted,
)
from labsupport.ui.checking.trying import Attempt, Stopped, attempt, python_function
from labsupport.ui.checking.values import as_table, in_words, is_array, is_finite

Function = Callable[..., Any]
Broken = Callable[[Function], str | None]
State = Literal["right", "wrong", "not done"]
_REFERENCE = object()


class Case:
    """One call of the student's function: its input in words, and its arguments.

    Without `expected` the course's own version says what is expected.

    >>> Case("a row of three", [1, 2, 3], 2).arguments
    ([1, 2, 3], 2)
    """

    def __init__(self, words: str, /, *arguments: Any, expected: Any = _REFERENCE) -> None:
        self.words, self.arguments, self._expected = words, arguments, expected

    def expected(self, reference: Function) -> Any:
        """What the right function gives for this case."""
        if self._expected is not _REFERENCE:
            return self._expected
        return attempt(reference, self.arguments, seconds=None).answer()


Cases = Sequence[Case]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What one exercise asks for and how an answer is judged.

    `cases` makes the cases anew for each check, always the same ones (seed what is random);
    put the smallest first, since the first that fails is the one that is shown. `reference` is
    the course's version and takes another way than the solution that students may see; its name,
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

    @property
    def function(self) -> str:
        """The name that the notebook gives to the student's function."""
        return self.reference.__name__.removeprefix("_")

    @property
    def lab(self) -> str:
        """The number of its lab, "05"."""
        return self.id.split(".")[0]

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
    name = exercise.function
    if not callable(function):
        guess = f'the name stands with round brackets; write `check("{exercise.id}", {name})`.'
        if function is None:
            guess = f"the cell that defines `{name}` has not been run, or {guess}"
        return Verdict("wrong", f"This is {in_words(function)}, not a function.", guess)
    if is_stub(function):
        return Verdict("not done", f"Write the body of `{name}`, run its cell, then this one.")
    tried: list[Tried] = []
    for case in exercise.cases():
        tried.append((case, attempt(function, case.arguments, exercise.seconds)))
        failure = _failure(exercise, function, tried)
        if failure:
            return replace(failure, printed=tried[-1][1].printed)
    for law, broken in exercise.laws.items():
        verdict = _break(exercise, law, broken, function)
        if verdict:
            return verdict
    headline = f"All {len(tried)} cases are right."
    if function is exercise.reference:
        headline += " This is the course's own version; to check yours, run its cell again."
    return Verdict("right", headline, printed="".join(done.printed for _, done in tried))


def is_stub(function: Function) -> bool:
    """Whether the function's body does nothing: `pass`, `...`, or its words alone."""
    own = python_function(function)
    if own is None or own.__code__.co_names:
        return False
    steps = {step.opname for step in dis.get_instructions(own)}
    constants = {*own.__code__.co_consts} - {own.__doc__, None, ...}
    return not constants and steps <= _STEPS_OF_AN_EMPTY_BODY


_STEPS_OF_AN_EMPTY_BODY = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


# One case

Fact = tuple[str, str, str]  # term, text, HTML that stands for the text
Tried = tuple[Case, Attempt]


def _failure(exercise: Exercise, function: Function, tried: list[Tried]) -> Verdict | None:
    case, done = tried[-1]
    gap = None if done.error is not None else _gap(exercise, case, done)
    facts = _inputs(exercise, case, gap.at if gap else ())
    if done.error is not None:
        return _raised(exercise, function, case, done.error, facts)
    if done.changed:
        guess = "an in-place step (`+=`, `x[...] =`, `add_`) on the input; work on a `.clone()`."
        words = f"It changes its own input (argument number {done.changed})."
        return Verdict("wrong", words, guess, tuple(facts))
    if gap is None:
        return None
    expected, tolerance = case.expected(exercise.reference), exercise.tolerance
    right = as_table(expected, done.value, tolerance=tolerance, marked=False)
    wrong = as_table(done.value, expected, tolerance=tolerance)
    facts += [("Expected", in_words(expected, gap.at), right)]
    facts += [("Got", in_words(done.value, gap.at), wrong)]
    facts += [("Where", gap.where, "")] * bool(gap.where)
    return Verdict("wrong", gap.headline, _diagnose(exercise, function, tried), tuple(facts))


def _inputs(exercise: Exercise, case: Case, at: tuple[int, ...]) -> list[Fact]:
    """The call in words; a large argument stands in it by its name, and in a line of its own."""
    call, facts = [], []
    names = [*inspect.signature(exercise.reference).parameters]
    for name, value in zip(names, case.arguments, strict=False):
        words = in_words(value, at)
        is_long = is_array(value) and words.startswith("a ")
        call.append(name if is_long else words)
        facts += [(name, words, "")] * is_long
    shown = f"{exercise.function}({', '.join(call)})"
    return [("Input", f"{case.words}: {shown}" if case.words else shown, ""), *facts]


def _gap(exercise: Exercise, case: Case, done: Attempt) -> Difference | None:
    expected = case.expected(exercise.reference)
    return difference(expected, done.value, tolerance=exercise.tolerance)


def _diagnose(exercise: Exercise, function: Function, tried: list[Tried]) -> str:
    """What the answers look like: a declared mistake that gives them, or what fits all wrong ones.

    Both are made and compared in all cases: a small one can look like many things, and a right
    answer that the mistake would have changed speaks against it. What fits neither may be two
    things at once: a declared mistake with a common one on top of it, or one in each of the values.
    """
    later = list(exercise.cases())[len(tried) :]
    tried = [tried[-1], *tried[:-1]]
    for case in later:
        done = attempt(function, case.arguments, exercise.seconds)
        tried.append((case, done))
        if isinstance(done.error, Stopped):
            break
    at_once = _in_each_value(exercise, tried)
    for looks_like, wrong in exercise.mistakes.items():
        gaps, alike = _gaps(exercise, wrong, tried)
        if alike and not gaps:
            return looks_like
        fits = _unrefuted(exercise, gaps, alike) if len(gaps) > 1 else []
        besides = [words for words in fits if comes_on_top(words)]
        if besides and not at_once:
            at_once = f"two things at once: {looks_like} And {besides[0]}"
    came = [(case, done) for case, done in tried if done.error is None]
    gaps_to_right = [_gap(exercise, case, done) for case, done in came]
    right = [done.value for (_, done), gap in zip(came, gaps_to_right, strict=True) if not gap]
    first, *others = filter(None, gaps_to_right)
    return first.seen or next(iter(_unrefuted(exercise, [first, *others], right)), at_once)


def _unrefuted(exercise: Exercise, gaps: list[Difference], alike: list[Any]) -> list[str]:
    """The guesses that fit all the differences, and that no answer without one speaks against."""
    return [
        words
        for words in in_all(gaps)
        if not any(is_refuted(words, one, tolerance=exercise.tolerance) for one in alike)
    ]


def _in_each_value(exercise: Exercise, tried: list[Tried]) -> str:
    """Two declared mistakes, each in a value of its own of an answer that has several; or ""."""
    wanted = [case.expected(exercise.reference) for case, _ in tried]
    given = [done.value for _, done in tried]
    several = len(wanted[0]) if isinstance(wanted[0], tuple) else 0
    if not several or not all(isinstance(one, tuple) and len(one) == several for one in given):
        return ""

    def same(ones: list[Any], others: list[Any], place: int) -> bool:
        pairs = zip(ones, others, strict=True)
        gaps = (difference(a[place], b[place], tolerance=exercise.tolerance) for a, b in pairs)
        return not any(gaps)

    made = {}
    for words, wrong in exercise.mistakes.items():
        answers = [attempt(wrong, case.arguments, exercise.seconds).value for case, _ in tried]
        if all(isinstance(one, tuple) and len(one) == several for one in answers):
            made[words] = answers
    off = [place for place in range(several) if not same(wanted, given, place)]
    fits = [[one for one, its in made.items() if same(its, given, place)] for place in off]
    told = dict.fromkeys(one[0] for one in fits if one)
    return f"two things at once: {' And '.join(told)}" if len(told) > 1 and all(fits) else ""


def _gaps(
    exercise: Exercise, wrong: Function, tried: list[Tried]
) -> tuple[list[Difference], list[Any]]:
    """How the mistake's answers differ from the student's, and those that are alike.

    A case in which one of the two has no numbers says nothing; without an answer to the first
    case the mistake is out of question, and both are empty.
    """
    gaps, alike = [], []
    for case, done in tried:
        own = attempt(wrong, case.arguments, exercise.seconds)
        gap = difference(own.value, done.value, tolerance=exercise.tolerance)
        numbers = is_finite(own.value) and is_finite(done.value)
        if own.error is None and done.error is None and not gap:
            alike.append(done.value)
        elif own.error is None and done.error is None and numbers:
            gaps.append(gap)
        elif case is tried[0][0]:
            return [], []
    return [gap for gap in gaps if gap], alike


# A function that raises


def _raised(
    exercise: Exercise, function: Function, case: Case, error: Exception, facts: list[Fact]
) -> Verdict:
    if isinstance(error, NotImplementedError) and _is_own(error, function):
        return Verdict("not done", f"`{exercise.function}` still raises NotImplementedError.")
    mismatch = _signature_mismatch(exercise, function, case)
    if mismatch and not isinstance(error, Stopped):
        words = "the arguments were renamed or left out."
        return Verdict("wrong", mismatch, words, tuple(facts))
    return _stopped(function, error, facts)


def _stopped(function: Function, error: Exception, facts: list[Fact]) -> Verdict:
    """The verdict on a call that did not come to its end, with the line where it stopped."""
    if isinstance(error, Stopped):
        return Verdict("wrong", str(error), error.looks_like, tuple(facts))
    told = traceback.TracebackException.from_exception(error)  # with "Did you mean: ...?"
    first, *_ = str(told).strip().splitlines() or ["(no message)"]
    headline = f"It stops with {type(error).__name__}: {first[:200]}"
    fits = (
        words for sort, part, words in _ERRORS if isinstance(error, sort) and re.search(part, first)
    )
    home = getattr(getattr(python_function(function), "__code__", None), "co_filename", None)
    lines = [one for one in told.stack if one.filename == home]
    where = [f"line {one.lineno} of its cell" + f": `{one.line}`" * bool(one.line) for one in lines]
    facts += [("Where", place, "") for place in where[-1:]]
    facts += _values_there(error, home, where[-1:])
    return Verdict("wrong", headline, next(fits, ""), tuple(facts))


def _values_there(error: Exception, home: str | None, where: list[str]) -> list[Fact]:
    """What the variables of the line in which it stopped hold."""
    own = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == home
    ]
    named = dict.fromkeys(re.findall(r"[^\W\d]\w*", "".join(where).partition("`")[2]))
    held = [f"`{name}` is {in_words(own[-1][name])}" for name in named if name in (own or [{}])[-1]]
    return [("There", "; ".join(held[:3]), "")] * bool(held)


def _is_own(error: Exception, function: Function) -> bool:
    """Whether the student's own cell raised it (torch raises NotImplementedError, too)."""
    frames = list(traceback.walk_tb(error.__traceback__))
    home = getattr(python_function(function), "__globals__", None)
    return bool(frames) and frames[-1][0].f_globals is home


def _signature_mismatch(exercise: Exercise, function: Function, case: Case) -> str:
    try:
        inspect.signature(function).bind(*case.arguments)
    except TypeError:
        wanted = ", ".join(inspect.signature(exercise.reference).parameters)
        return f"It cannot be called as `{exercise.function}({wanted})`."
    except ValueError:  # a built-in that hides its signature
        pass
    return ""


# (kind of error, what its message must hold, what it looks like): the first that fits is shown
_ERRORS: tuple[tuple[type[Exception], str, str], ...] = (
    (UnboundLocalError, "", "a variable is used before it has a value."),
    (NameError, "", "a name is misspelt, or the cell that makes it has not been run."),
    (
        Exception,
        "Dimension out of range|out of bounds for array of dimension",
        "a `dim` (`axis`) that it does not have: print the `.shape`; the first axis is 0.",
    ),
    (
        IndexError,
        "too many indices|0-dim",
        "more indices than axes: print the `.shape`.",
    ),
    (
        IndexError,
        "out of (range|bounds)",
        "an index beyond the end: print the index, and the length (or `.shape`) of what it is for.",
    ),
    (KeyError, "", "a key that is not in the dict."),
    (ZeroDivisionError, "", "a division by zero."),
    (RecursionError, "", "the function calls itself without an end."),
    (
        Exception,
        "size of tensor|shapes cannot be multiplied|broadcast",
        "two shapes that do not fit together: print the `.shape` of both.",
    ),
    (
        AttributeError,
        "",
        "a misspelt name after the dot, or another type before it: print its `type(...)`.",
    ),
    (TypeError, "", "a value of the wrong type, or a wrong number of arguments, in that line."),
)


# Laws


def _break(exercise: Exercise, law: str, broken: Broken, function: Function) -> Verdict | None:
    done = attempt(lambda: broken(function), (), exercise.seconds)
    rule: Fact = ("Rule", law, "")
    if done.error is not None:
        return replace(_stopped(function, done.error, [rule]), printed=done.printed)
    words = "A rule does not hold."
    return Verdict("wrong", words, done.value, (rule,), done.printed) if done.value else None
