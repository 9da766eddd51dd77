"""The mechanics of exercises: no student function may break them, and each verdict has words."""

import functools
import json
import operator
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labsupport.labs
from labsupport.core.errors import BadSetting
from labsupport.labs import exercises as of_the_course
from labsupport.labs.exercises import UnknownExercise
from labsupport.ui import checking
from labsupport.ui.checking import Case, Exercise, NotAsExpected, Question, Right, Session, judge
from labsupport.ui.checking import session as session_module
from labsupport.ui.checking.cards import progress_card
from labsupport.ui.checking.comparing import difference
from labsupport.ui.checking.judging import is_stub
from labsupport.ui.checking.memory import fingerprint, keep, recall
from labsupport.ui.checking.values import as_table, in_words, kind

SOLUTION = "def double(row):\n    return torch.stack([2 * one for one in row])\n"


def _double(row):
    return row * 2


def exercise(**changes) -> Exercise:
    settings = {
        "id": "77.1",
        "title": "Twice a row",
        "minutes": 3,
        "reference": _double,
        "cases": lambda: [
            Case("three numbers", torch.tensor([1.0, -2.0, 4.0])),
            Case("five more", torch.tensor([0.0, 1.0, 5.0, -3.0, 2.0])),
        ],
        "hints": ("Two of each.", "`*` works on whole tensors.", "`row * 2`"),
        "mistakes": {"the square, not the double.": lambda row: row**2},
        "seconds": 0.5,
    }
    return Exercise(**(settings | changes))


def only(one: Exercise, file: Path | None) -> SimpleNamespace:
    """A set of exercises with one in it."""

    def find(name: str) -> Exercise:
        if name != one.id:
            raise UnknownExercise(f'There is no exercise "{name}". There are: {one.id}.')
        return one

    others = {"all_exercises": lambda: (one,), "solution_file": lambda _: file}
    return SimpleNamespace(find=find, find_question=of_the_course.find_question, **others)


@pytest.fixture
def shown(monkeypatch, tmp_path) -> list:
    """The cards that were shown; what is remembered goes into a folder of the test's own."""
    cards_shown: list[object] = []
    monkeypatch.setenv("LABS_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("LABS_STRICT", raising=False)
    for module in (session_module, checking.cards):
        monkeypatch.setattr(module, "show", cards_shown.append)
    return cards_shown


@pytest.fixture
def session(shown, tmp_path) -> Session:
    """A fresh session in which exercise 77.1 exists."""
    file = tmp_path / "77_1_double.py"
    file.write_text(SOLUTION)
    return Session(only(exercise(), file))


def double(row):
    return row + row


def raises(row):
    values = list(row)
    return values[99]


def never_ends(row):
    while True:
        pass


def swallows_and_never_ends(row):
    while True:
        try:  # noqa: SIM105 - as a student writes it
            time.sleep(0.01)
        except Exception:
            pass


def unready(row):
    def later():
        raise NotImplementedError

    return later() if len(row) else None


def instance(name: str, base: type = object, **methods):
    return type(name, (base,), {f"__{method}__": does for method, does in methods.items()})()


DOUBLES = instance("Doubles", call=lambda _, row: row + row)
UNREADY = instance("Unready", call=lambda *_: throw(NotImplementedError()))
HOSTILE_ERROR = instance("HostileError", Exception, str=lambda _: 1 / 0)
HOSTILE_VALUE = instance("HostileValue", eq=lambda *_: 1 / 0, repr=lambda _: 1 / 0, hash=None)


def throw(error):
    raise error


# ---- the verdict ----------------------------------------------------------------------------


WRONG = {
    "none": (lambda row: print(row), "None", "`return`"),
    "ellipsis": (lambda row: [...][0], "`...`", "placeholder"),
    "a list": (lambda row: [2.0 * float(x) for x in row], "a list of 3", "tensor"),
    "numpy": (lambda row: row.numpy() * 2, "NumPy array", "tensor"),
    "text": (lambda row: "2, -4, 8", "a text", ""),
    "a number": (lambda row: row.sum() * 2, "shape is ()", "the sum over axis 0 is taken"),
    "a generator": (lambda row: (2 * x for x in row), "a generator", "round brackets"),
    "a function": (lambda row: row.double, "function double", "round brackets"),
    "truths": (lambda row: row > 0, "True and False", "comparison"),
    "too short": (lambda row: (2 * row)[:-1], "(2,)", "one too many or too few"),
    "one axis more": (lambda row: (2 * row)[None], "(1, 3)", "`squeeze`"),
    "sign": (lambda row: -2 * row, "numbers", "sign is turned"),
    "scaled": (lambda row: 3 * row, "numbers", "1.5 times too large"),
    "shifted": (lambda row: 2 * row + 1, "numbers", "too large by 1"),
    "nan": (lambda row: 2 * row / (row * 0), "NaN", "division by zero"),
    "zeros": (lambda row: row * 0, "numbers", "every number is zero."),
    "declared mistake": (lambda row: row * row, "numbers", "the square, not"),
    "input changed": (lambda row: row.mul_(2), "changes its own input", "clone"),
    "raises": (raises, "IndexError", "an index beyond the end"),
    "no such axis": (lambda row: row.softmax(1), "IndexError", "a `dim`"),
    "nor in NumPy": (lambda row: row.numpy().sum(axis=1), "AxisError", "`axis`"),
    "too many indices": (lambda row: row[0, 0], "IndexError", "more indices than axes"),
    "any other IndexError": (lambda row: [].pop(), "IndexError: pop from empty list", ""),
    "wrong dtype": (lambda row: range(row[0]), "TypeError", "wrong type"),
    "too many parameters": (lambda row, more: row, "cannot be called as `double(row)`", "renamed"),
    "never ends": (never_ends, "no answer within 0.5 seconds", "loop that never ends"),
    "swallows errors": (swallows_and_never_ends, "no answer within 0.5", "never ends"),
    "exit": (lambda row: sys.exit(0), "exit", "`return`"),
    "interrupted": (lambda row: throw(KeyboardInterrupt), "interrupted", ""),
    "recursion": (lambda row: WRONG["recursion"][0](row), "RecursionError", "calls itself"),
    "misspelt": (lambda row: rwo * 2, "NameError", "misspelt"),  # noqa: F821
    "shapes": (lambda row: row + torch.zeros(7), "RuntimeError", "two shapes"),
    "hostile error": (lambda row: throw(HOSTILE_ERROR), "HostileError", ""),
    "hostile value": (lambda row: HOSTILE_VALUE, "HostileValue", ""),
    "torch's own": (lambda row: torch.empty(1, device="meta").item(), "Error", ""),
    "called": (torch.zeros(3), "not a function", "round brackets"),
    "nothing": (None, "not a function", "has not been run"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_get_words_on_one_card(session, shown, name):
    function, headline, guess = WRONG[name]
    verdict = judge(exercise(), function)
    assert verdict.state == "wrong"
    assert headline in verdict.headline
    assert guess in verdict.looks_like
    assert session.check("77.1", function) is None
    assert len(shown) == 1


def test_an_exercise_that_is_none_is_said_on_a_card(session, shown):
    for name in ("77.9", ""):
        session.check(name, double)
    assert [card.word for card in shown] == ["No such exercise"] * 2
    assert "77.1" in shown[-1].text


def test_the_words_tell_what_the_first_failure_was_and_where(capsys):
    def facts(function) -> dict[str, str]:
        return {term: text for term, text, _ in judge(exercise(), function).facts}

    told = facts(lambda row: 2 * row.clamp(min=0) + row.clamp(max=0))
    assert told["Input"] == "three numbers: double([1, -2, 4])"
    assert told["Expected"] == "[2, -4, 8]"
    assert told["Got"] == "[2, -2, 8]"
    assert told["Where"] == "1 of 3 differ; the first at [1]: expected -4, got -2"
    assert "`return values[99]`" in facts(raises)["Where"]
    assert "json.loads" in facts(lambda row: json.loads("{"))["Where"], "its own line, not json's"
    assert facts(lambda row: [*range(50)])["Got"] == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"
    assert "row is tensor" in judge(exercise(), lambda row: print("row is", row)).printed
    assert capsys.readouterr().out == ""


def test_right_answers_are_right_whatever_their_precision_or_kind():
    for function in (
        double,
        lambda row: torch.cat([row[:1] * 2, row[1:] * 2]),
        lambda row: (row * 2).double(),
        lambda row: (row * 2).requires_grad_(),
        lambda row: 2 * row + 1e-7,
        functools.partial(torch.mul, 2),
        operator.methodcaller("mul", 2),  # an object that can be called, without a signature
        torch.tensor(2.0).mul,
        DOUBLES,
    ):
        assert judge(exercise(), function).state == "right", function
    squares = {"reference": np.square, "cases": lambda: [Case("three", np.arange(3.0))]}
    for function in (np.square, np.vectorize(lambda number: number**2)):
        assert judge(exercise(**squares), function).state == "right", function


def made(code: str, **names):
    exec(code, names)
    return names["f"]


STUBS = (
    '"Twice."\n    raise NotImplementedError',
    'raise NotImplementedError("write me")',
    "pass",
    '"Twice."\n    ...',
    "return None",
)


def test_stubs_are_not_done_and_nothing_else_is_a_stub():
    stubs = [made(f"def f(row):\n    {body}") for body in STUBS]
    for stub in (*stubs, *map(functools.partial, stubs), unready, UNREADY):
        assert judge(exercise(), stub).state == "not done", stub
    for code in ("lambda row: row", "lambda row: 0", "lambda row: print(row)", "lambda row: ()"):
        assert not is_stub(eval(code)), code
    assert not is_stub(torch.relu)


def test_the_courses_own_version_is_right_and_counts_for_nobody(session, shown):
    one = exercise()
    assert "the course's own version" in judge(one, one.reference).headline
    session.check("77.1", session.use("77.1", lambda row: row))
    assert shown[-1].word == "Right"
    assert "not right yet" in standing(session, shown)  # what was tried itself


def test_a_law_that_does_not_hold_is_told():
    def broken(function):
        return None if function(torch.ones(1)).item() == 2 else "1 does not become 2."

    laws = {"One becomes two.": broken}
    verdict = judge(exercise(laws=laws), lambda row: row * 2 if len(row) > 1 else row)
    assert (verdict.state, verdict.looks_like) == ("wrong", "1 does not become 2.")
    assert judge(exercise(laws=laws), double).state == "right"
    raised = judge(exercise(laws={"Fits.": lambda f: f(1, 2, 3)}), double)
    assert "TypeError" in raised.headline


def test_a_guess_holds_in_all_cases_that_are_wrong():
    for answer, guess in (
        (lambda row: -2 * row if len(row) == 3 else row, ""),
        (lambda row: -2 * row if len(row) == 3 else 2 * row, ""),  # a right answer refutes it
        (lambda row: -2 * row if len(row) == 3 else row[9], "the sign is turned round."),
        (lambda row: row * len(row), "a factor, another one in each case"),
        (lambda row: row**2 if len(row) == 3 else row[9], "the square, not the double."),
        (lambda row: -(row**2), "two things at once: the square, not the double. And the sign is"),
        (lambda row: -(row**2) if len(row) == 3 else row[9], ""),
        (lambda row: row**2 if len(row) == 3 else row / 0, "the square, not the double."),
        (lambda row: row**2 if len(row) == 3 else row, ""),
    ):
        assert guess in judge(exercise(), answer).looks_like, guess
        assert guess or not judge(exercise(), answer).looks_like


def test_a_difference_of_single_numbers_counts_when_it_comes_back():
    rows = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 9.0]), torch.zeros(2)]
    sums = {"cases": lambda: [Case("", row) for row in rows], "mistakes": {}}
    for answer, guess in (
        (lambda row: row.sum() + 3, "each answer is too large by 3."),
        (lambda row: row.sum() * 1.5, "each answer is 1.5 times too large."),
        (lambda row: row.sum() + 3 * (row[1] == 2), ""),
        (lambda row: row.sum() + 3 * (row[1] > 0), "each answer is too large by 3."),
        (lambda row: row.prod(), ""),
    ):
        told = judge(exercise(reference=lambda row: row.sum(), **sums), answer).looks_like
        assert told == guess


def test_two_mistakes_in_two_values_are_both_told():
    def ends(row):
        return row.min().item(), row.max().item()

    mistakes = {
        "the first, not the smallest.": lambda row: (row[0].item(), row.max().item()),
        "the last, not the largest.": lambda row: (row.min().item(), row[-1].item()),
    }
    one = exercise(reference=ends, mistakes=mistakes)
    both = judge(one, lambda row: (row[0].item(), row[-1].item())).looks_like
    assert both == f"two things at once: {' And '.join(mistakes)}"
    assert not judge(one, lambda row: (row[0].item(), 0.0)).looks_like
    assert not judge(one, lambda row: (row[0].item(), row[-1].item(), 0)).looks_like


def test_a_large_input_and_what_came_of_it_are_shown_around_the_first_difference():
    large = torch.arange(200.0).reshape(2, 4, 25)
    one = exercise(cases=lambda: [Case("many", large)], mistakes={})
    verdict = judge(one, lambda row: row * 2 + (row == 143))
    told = {term: text for term, text, _ in verdict.facts}
    assert told["Input"] == "many: double(row)"
    for term, numbers in (("row", "142, 143"), ("Expected", "284, 286"), ("Got", "284, 287")):
        assert told[term].startswith("a tensor of shape (2, 4, 25); [1, 1, 13:23] is [")
        assert numbers in told[term]


def test_where_it_stops_the_values_of_that_line_are_shown():
    told = {term: text for term, text, _ in judge(exercise(), raises).facts}
    assert told["There"].startswith("`values` is [")


def test_judging_leaves_no_trace_and_no_timer():
    def states():
        numpys = np.random.get_state()[1].tolist()  # noqa: NPY002
        alarm = signal.getsignal(signal.SIGALRM)
        return torch.get_rng_state().tolist(), random.getstate(), numpys, alarm

    def careless(row):
        torch.set_grad_enabled(False)
        torch.rand(3), random.random(), np.random.rand(3)  # noqa: NPY002
        return 2 * row

    before = states()
    assert judge(exercise(), careless).state == "right"
    assert judge(exercise(seconds=0.2), never_ends).state == "wrong"
    assert torch.is_grad_enabled()
    assert states() == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


# ---- comparing ------------------------------------------------------------------------------

GRID = torch.tensor([[1.0, 2.0, -3.0], [4.0, 5.5, 6.0], [7.0, 8.0, 10.0]])
LARGE = GRID.repeat(2, 2)
INSIDE = torch.nn.functional.pad(torch.ones(5, 5, dtype=torch.bool), (0, 1, 1, 0))
ROW = torch.tensor([0.5, 3.0, -2.0, 7.0, 1.0, 4.0])


@pytest.mark.parametrize(
    ("expected", "got", "guess"),
    [
        (GRID, GRID.T, "rows and columns are swapped"),
        (GRID, GRID.flip(1), "left and right"),
        (GRID, GRID.flip(0), "top and bottom"),
        (GRID, GRID.abs(), "signs are lost"),
        (GRID, GRID.clamp(min=0), "negative numbers were set to zero"),
        (GRID, GRID**2, "squared"),
        (GRID**2, GRID.abs(), "a square is missing"),
        (GRID.softmax(-1), GRID, "a softmax is missing"),
        (GRID, GRID.softmax(-1), "a softmax too many"),
        (GRID, GRID.floor(), "rounded to whole numbers"),
        (ROW, ROW.roll(1), "moved by one place"),
        (LARGE, LARGE.where(INSIDE, 9.0), "border"),
        (GRID, torch.nn.functional.pad(GRID[1:2, 1:2], (1,) * 4), ""),
        (LARGE, LARGE.where(torch.arange(36).view(6, 6) != 1, 9.0), ""),
        (LARGE, LARGE.where(torch.arange(6) < 5, 77.0), "last one along the last axis"),
        (LARGE, LARGE.where(torch.arange(36).view(6, 6) != 17, 77.0), ""),
        (GRID, -3 * GRID, "3 times too large, and its sign is turned round"),
        (GRID.clamp(0, 1), GRID, "outside [0, 1] are left"),
        (GRID.abs(), GRID, "an absolute value is missing"),
        (GRID, GRID.sum(0), "the sum over axis 0 is taken"),
        (GRID.mean(1), GRID, "the mean over axis 1 is still to be taken"),
        (GRID, GRID[0], ""),
        (torch.zeros(2, 3), torch.zeros(7), ""),
        ([2, 3], [0, 2], ""),
        ([(0, 2), (1, 3)], [(0, -2), (-1, -3)], "sign"),
        ([(0, 2), (1, 3)], [(0, -2), (1, 7)], ""),
        (LARGE[:2], LARGE[:2].T, "rows and columns are swapped"),
        (LARGE[:2], LARGE[:2].reshape(6, 2), ""),
        (LARGE[None, :2], LARGE[:2, None], "the axes are swapped"),
        (torch.zeros(5, 4), torch.zeros(6, 4), "one too many or too few"),
        ([1, 2, 3], [3, 2, 1], "the order"),
        (["a", "b", "c"], ["c", "b", "a"], "opposite order"),
        ([1, 2, 3], [1, 2], "one too many or too few"),
        ([1, 2, 3], [1, 3], ""),
        ([1, 2, 3], [1], ""),
        ("Goldfish", "goldfish ", ""),
        (True, 1.0, "comparison"),
        (torch.tensor([True, False]), torch.tensor([False, True]), "swapped"),
        (0.25, 63.75, "255 times too large"),
        (2.0, torch.ones(3), "from many numbers to one"),
    ],
)
def test_differences_look_like_something(expected, got, guess):
    seen = difference(expected, got)
    assert seen is not None
    assert guess in seen.looks_like
    assert bool(guess) == bool(seen.looks_like)


def test_equal_values_agree():
    for expected, got in (
        (1.0, 1),
        (1, torch.tensor(1.0)),
        (1, torch.ones(1, 1)),
        (torch.tensor(2.0), 2.0),
        ([1, 2], (1, 2)),
        (torch.ones(3), torch.ones(3, dtype=torch.int64)),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        (True, np.True_),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
        (None, None),
    ):
        assert difference(expected, got) is None, (expected, got)


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=6),
    st.integers(0, 5),
    st.floats(0.01, 50),
)
def test_any_changed_number_is_noticed(numbers, place, gap):
    expected = torch.tensor(numbers)
    got = expected.clone()
    got[place % len(numbers)] += max(gap, 0.02 * float(expected.abs().max()))
    assert difference(expected, got) is not None
    assert difference(expected, expected.clone()) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_has_words(value):
    assert in_words(value)
    assert kind(value)
    assert difference(value, value) is None


def test_tables_mark_what_differs_and_show_a_large_arrays_part_around_it():
    table = as_table(GRID, GRID + torch.eye(3), tolerance=(1e-4, 1e-5))
    assert (table.count("<mark>"), table.count("<td>")) == (3, 9)
    large = torch.zeros(3, 40, 50)
    large[1, 38, 20] = 0.5
    table = as_table(large, torch.zeros(3, 40, 50), tolerance=(0, 0))
    assert "<caption>the part [1, 32:40, 15:25]</caption>" in table
    assert (table.count("<mark>0.5</mark>"), table.count("<td>")) == (1, 80)
    assert "<mark>" not in as_table(GRID, GRID[:2] + 1, tolerance=(0, 0))
    for one, other in ((torch.zeros(()),) * 2, ([1], [2])):
        assert as_table(one, other, tolerance=(0, 0)) == ""


# ---- the fingerprint ------------------------------------------------------------------------

CALLED = "class F:\n    __slots__ = ()\n    def __call__(self, x):\n        return x *"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("def f(x): return x + 1", "def f(x):\n\n    # more\n    return x + 1", True),
        ("def f(x): return x + 1", "def f(x): return x + 2", False),
        ("def f(x): return x + 1", "def f(x): return x - 1", False),
        ("def f(x, k=1): return x + k", "def f(x, k=2): return x + k", False),
        ("def f(x, *, k=1): return x + k", "def f(x, *, k=2): return x + k", False),
        ("def f(x): return x.sin()", "def f(x): return x.cos()", False),
        ("f = (lambda k: lambda x: x + k)(1)", "f = (lambda k: lambda x: x + k)(2)", False),
        ("def f(x): return [i + 1 for i in x]", "def f(x): return [i + 2 for i in x]", False),
        ("def f(x): return x in {'a', 'b'}", "def f(x): return x in {'b', 'a'}", True),
        ("g = abs\ndef f(x): return g(x)", "g = len\ndef f(x): return g(x)", False),
        ("def g(x): return x\nf = lambda x: g(x)", "def g(x): return 0\nf = lambda x: g(x)", False),
        ("K = 1\ndef f(x): return x + K", "K = 2\ndef f(x): return x + K", False),
        ("def f(x): return f(x - 1) if x else 0", "def f(x): return f(x - 1) if x else 1", False),
        ("K = torch.ones(3)\ndef f(x): return K", "K = torch.zeros(3)\ndef f(x): return K", False),
        ("f = torch.relu", "f = torch.relu", True),
        ("f = partial(torch.mul, 2)", "f = partial(torch.mul, 2)", True),
        ("f = partial(torch.mul, 2)", "f = partial(torch.mul, 3)", False),
        (f"{CALLED} 2\nf = F()", f"{CALLED} 2\n\nf = F()", True),
        (f"{CALLED} 2\nf = F()", f"{CALLED} 3\nf = F()", False),
        ("f = [].append", "f = torch.nn.ReLU", False),
    ],
)  # fmt: skip
def test_the_fingerprint_follows_the_code_and_what_it_uses(one, other, same):
    names = {"torch": torch, "partial": functools.partial}
    prints = [fingerprint(made(code, **names)) for code in (one, other)]
    assert all(prints)
    assert (prints[0] == prints[1]) is same


# ---- check, use, hint, solution, progress ---------------------------------------------------


def test_check_survives_a_fault_of_its_own(session, shown, monkeypatch):
    monkeypatch.setattr(session_module, "judge", lambda *_: 1 / 0)
    session.check("77.1", double)
    assert "The check itself stopped" in shown[0].text


def test_use_gives_a_right_function_and_else_the_courses(session, shown):
    assert session.use("77.1", double) is double
    assert shown == []
    wrong = lambda row: row  # noqa: E731
    assert session.use("77.1", wrong)(torch.ones(2)).tolist() == [2.0, 2.0]
    assert "the course's version of `double`" in shown[0].text
    with pytest.raises(UnknownExercise, match=r"77\.1"):
        session.use("99.9", double)


def test_use_judges_the_same_code_once_and_what_was_edited_again(session, shown, monkeypatch):
    calls = []
    monkeypatch.setattr(session_module, "judge", lambda *a: calls.append(a) or judge(*a))
    right = "def f(row): return row * 2"
    first, again, edited = made(right), made(right), made("def f(row): return row * 3")
    assert session.use("77.1", first) is first
    assert session.use("77.1", again) is again
    assert len(calls) == 1
    session.check("77.1", made(right))
    assert len(calls) == 2
    assert session.use("77.1", edited) is not edited


def test_hints_come_one_by_one(session, shown):
    for _ in range(4):
        session.hint("77.1")
    assert [len(card.facts) for card in shown] == [1, 2, 3, 3]
    first = shown[0]._repr_html_()
    assert first.count("<details>") == 2
    assert first.index("Next hint (2 of 3)") < first.index("Next hint (3 of 3)")
    assert "row * 2" not in repr(shown[0])
    assert "solution(" in repr(shown[2])


def test_the_solution_is_asked_for_twice_until_the_answer_is_right(session, shown):
    session.solution("77.1")
    assert "torch.stack" not in repr(shown[0])
    assert "Are you sure" in repr(shown[0])
    assert "<details>" in shown[0]._repr_html_()
    session.solution("77.1", anyway=True)
    assert "torch.stack" in repr(shown[1])
    session.check("77.1", double)
    session.solution("77.1")
    assert "torch.stack" in repr(shown[3])
    page = shown[3]._repr_html_()
    assert "<details>" not in page
    assert '<span class="k">def</span>' in page
    Session(only(exercise(), None)).solution("77.1")
    assert "your instructor" in shown[4].text


def standing(session, shown) -> str:
    session.progress()
    return shown[-1].facts[0][1]


def test_progress_follows_the_function_as_it_is_now(session, shown, monkeypatch):
    main = sys.modules["__main__"]
    assert "not started" in standing(session, shown)
    monkeypatch.setattr(main, "double", made("def f(row): return row"), raising=False)
    session.check("77.1")
    assert "not right yet" in standing(session, shown)
    monkeypatch.setattr(main, "double", made("def f(row): return 2 * row"))
    assert "edited since its check" in standing(session, shown)
    session.check("77.1")
    assert "right" in standing(session, shown)
    assert shown[-1].name == "Lab 77: 1 of 1 exercises are right"
    monkeypatch.delattr(main, "double")
    assert standing(Session(only(exercise(), None)), shown) == "✓ 77.1 Twice a row: right"


def test_progress_shows_the_lab_that_is_being_done_and_folds_the_others():
    rows = [(exercise(id="77.1"), "right"), (exercise(id="78.1"), "not started")]
    page = progress_card(rows, "77")._repr_html_()
    open_part, folded = page.split("<details>")
    assert "Lab 77: 1 of 1 exercises are right" in open_part
    assert "78.1" not in open_part
    assert "1 of 2 exercises" in folded
    assert "78.1" in folded
    page = progress_card(rows)._repr_html_()
    assert "<details>" not in page, "nothing was asked for yet: all labs are shown"
    assert "77.1" in page
    assert "78.1" in page


def test_the_strict_mode_of_the_tests_raises(session, shown, monkeypatch):
    stub = made("def f(row): raise NotImplementedError")
    monkeypatch.setenv("LABS_STRICT", "solved")
    session.check("77.1", double)
    for function in (stub, lambda row: row, "double"):
        with pytest.raises(NotAsExpected, match=r"77\.1"):
            session.check("77.1", function)
    with pytest.raises(NotAsExpected):
        session.check("78.1", double)
    monkeypatch.setenv("LABS_STRICT", "student")
    session.check("77.1", stub)
    with pytest.raises(NotAsExpected):
        session.check("77.1", double)


def test_what_the_labs_offer_knows_the_courses_exercises(shown):
    for door in (labsupport, labsupport.labs):
        door.hint("05.1")
        assert shown[-1].name.startswith("Exercise 05.1")
    assert labsupport.check == labsupport.labs.check


# ---- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["a file/below", "read-only"])
def test_where_nothing_can_be_written_the_session_remembers(session, shown, place, monkeypatch):
    file = session._exercises.solution_file(None)
    monkeypatch.setenv("LABS_STATE", str(file.parent / place))
    (file.parent / "a file").write_text("no folder")
    if place == "read-only":
        refuse = Mock(side_effect=PermissionError("read-only"))
        monkeypatch.setattr("pathlib.Path.write_text", refuse)
    session.check("77.1", double)
    assert standing(session, shown).endswith("right")
    assert recall("77.1") is None
    files = {path for path in file.parent.rglob("*") if path.is_file()}
    assert files == {file, file.parent / "a file"}


def test_one_small_file_is_kept_for_each_exercise(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_STATE", str(tmp_path))
    keep("05.1", "wrong")
    keep("05.1", "right")
    assert [path.name for path in tmp_path.iterdir()] == ["05.1.json"]
    assert json.loads((tmp_path / "05.1.json").read_text())["state"] == "right"
    assert recall("05.1") == "right"
    for content in ("", "[]", "{}", '{"state": "divine"}', '{"state": [1]}', "\0"):
        (tmp_path / "05.1.json").write_text(content)
        assert recall("05.1") is None, content


# ---- cards and questions --------------------------------------------------------------------


def test_a_card_has_a_role_a_word_and_a_sign_and_escapes_everything(session, shown):
    session.check("77.1", lambda row: "<script>alert(1)</script>")
    page, text = shown[0]._repr_html_(), repr(shown[0])
    for words in ('role="status"', "✗", "Not yet", "&lt;script&gt;"):
        assert words in page
    assert "<script>" not in page
    assert text.startswith("✗ Not yet: Exercise 77.1 — Twice a row\n")
    assert "<" not in text.replace("<script>alert(1)</script>", "")
    card = checking.cards.Card("note", "Hint", facts=(("1 of 2", "**Two** of `each`.", ""),))
    assert repr(card) == "i Hint\n  1 of 2: Two of `each`."


def test_predict_asks_a_question_of_the_labs_module(session, shown, monkeypatch):
    monkeypatch.setenv("LABS_EXERCISES", str(Path(__file__).parents[1] / "notebooks"))
    session.predict("90.q2")
    assert "a quarter" in shown[0]._repr_html_()
    for unknown in ("90.q7", "Which?"):
        with pytest.raises(UnknownExercise, match="There is no question"):
            session.predict(unknown)


def test_a_question_folds_its_answer_and_has_just_one():
    card = Question("Which is larger?", ("a", Right("b")), "It is `2 * a`.").card()
    page = card._repr_html_()
    assert page.count('type="radio"') == 2
    assert page.count("✓ Right") == 1
    assert "The answer: <strong>b</strong>. It is <code>2 * a</code>." in page
    assert "2 * a" not in repr(card)
    for options in (("a", "c"), (Right("b"), "b"), (Right("a"), Right("b")), ()):
        with pytest.raises(BadSetting, match="just one of them Right"):
            Question("Which?", options, "So.")
