"""Is the student's value the expected one, and if not: what does the mistake look like?"""

import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from labsupport.ui.checking.values import (
    Numbers,
    in_words,
    is_array,
    is_number,
    is_truth,
    kind,
    number,
    to_numpy,
)

Tolerance = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """The first difference: a headline, where it is, and what it looks like.

    `seen` says what is plainly there (no `return`, a division by zero). `guesses` are the typical
    mistakes that, made with the expected numbers, give just these: most likely first. `repeated`
    are guesses at a single number: any two numbers have a difference, so that one case shows
    nothing, but several with the same one do. `at` is the index of the first number that differs.
    """

    headline: str
    where: str = ""
    seen: str = ""
    guesses: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    at: tuple[int, ...] = ()

    @property
    def looks_like(self) -> str:
        """What is seen, or else the first guess; "" without."""
        return self.seen or next(iter(self.guesses), "")


def in_all(gaps: Sequence[Difference]) -> tuple[str, ...]:
    """The guesses of the first difference that fit the others as well."""
    known = [(*gap.guesses, *gap.repeated * (len(gaps) > 1)) for gap in gaps]
    return tuple(one for one in known[0] if all(one in guesses for guesses in known))


def is_refuted(guess: str, expected: Any, *, tolerance: Tolerance) -> bool:
    """Whether a right answer speaks against the guess: the mistake would have changed it.

    >>> is_refuted("the sign is turned round.", torch.ones(2), tolerance=(1e-4, 1e-5))
    True
    """
    plain = is_array(expected) or is_number(expected)
    if not plain and not _is_row(expected):
        return False
    numbers = _wide(to_numpy(expected) if plain else np.array([*map(to_numpy, expected)]))
    for mistake, made, left_out in _MISTAKES:
        if guess in (made, left_out):
            return not np.allclose(mistake(numbers), numbers, *tolerance, equal_nan=True)
    return guess.startswith(_EVERYWHERE) and bool(numbers.any())


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(is_number, value))


def difference(
    expected: Any, got: Any, *, tolerance: Tolerance = (1e-4, 1e-5)
) -> Difference | None:
    """The first difference between the two values, or None where they agree.

    `tolerance` is (relative, absolute), as in `allclose`. Whole numbers may stand for equal
    decimal ones, and a tensor without axes for a number.

    >>> difference(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -2.0])).looks_like
    'the sign is turned round.'
    >>> difference(0.5, torch.tensor(0.5)) is None
    True
    """
    if _is_unfinished(expected, got):
        return _compare_unfinished(expected, got)
    if is_truth(expected) or is_number(expected) or is_array(expected):
        return _compare_numbers(expected, got, tolerance)
    if isinstance(expected, list | tuple):
        return _compare_sequences(expected, got, tolerance)
    return _compare_rest(expected, got)


def _is_unfinished(expected: Any, got: Any) -> bool:
    if got is None or got is Ellipsis or got is NotImplemented:
        return True
    return isinstance(got, types.GeneratorType) or (callable(got) and not callable(expected))


def _compare_unfinished(expected: Any, got: Any) -> Difference | None:
    if expected is got:
        return None
    if got is None:
        words = "there is no `return`, it is not reached, or what it calls gives nothing back."
    elif isinstance(got, types.GeneratorType):
        words = "a `yield`, or a `for` inside round brackets; collect the values first."
    elif callable(got):
        words = "the round brackets of a call are missing."
    else:
        words = "a placeholder is left in the code."
    return _other_kind(got, kind(expected), words)


def _other_kind(got: Any, wanted: str, seen: str = "") -> Difference:
    return Difference(f"It gives back {kind(got)}; expected: {wanted}.", seen=seen)


def _compare_numbers(expected: Any, got: Any, tolerance: Tolerance) -> Difference | None:
    """Truth values, numbers and arrays: their kinds, then their shapes, then their values."""
    if is_number(expected) and is_array(got) and to_numpy(got).size == 1:
        got = got.reshape(())
    tensor = isinstance(expected, torch.Tensor)
    if is_truth(expected):
        fits, wanted = is_truth(got), "True or False"
        words = "a comparison such as `> 0` is missing at the end."
    elif is_number(expected):
        fits, wanted = is_number(got), "one number"
        words = "the last step, from many numbers to one, is missing."
    else:
        fits, wanted = isinstance(got, torch.Tensor if tensor else np.ndarray), kind(expected)
        words = f"the values were not put into a {'tensor' if tensor else 'NumPy array'}."
    if not fits:
        many = is_array(got) or isinstance(got, list | tuple)
        return _other_kind(got, wanted, words if many or wanted == "True or False" else "")
    if is_truth(got) and not is_truth(expected):
        words = "a comparison takes the place of the numbers."
        return Difference("It gives back True and False, not numbers.", seen=words)
    return _compare_shaped(expected, got, tolerance)


def _compare_shaped(expected: Any, got: Any, tolerance: Tolerance) -> Difference | None:
    """Two arrays, or two numbers: their shapes, and then their values."""
    wanted, given = to_numpy(expected), to_numpy(got)
    if wanted.shape == given.shape:
        return _compare_values(wanted, given, tolerance)
    headline = f"The shape is {given.shape}; expected: {wanted.shape}."
    with np.errstate(all="ignore"):
        guesses = tuple(_shape_guesses(_wide(wanted), _wide(given), tolerance))
    return Difference(headline, guesses=guesses)


def _shape_guesses(wanted: Numbers, given: Numbers, tolerance: Tolerance) -> Iterator[str]:
    def near(one: Numbers, other: Numbers) -> bool:
        return one.shape == other.shape and np.allclose(one, other, *tolerance, equal_nan=True)

    bare, others = ([size for size in one.shape if size != 1] for one in (given, wanted))
    orders = itertools.permutations(range(wanted.ndim)) if wanted.ndim <= MOST_AXES else ()
    if any(near(wanted.transpose(order), given) for order in orders):
        yield "rows and columns are swapped." if wanted.ndim == 2 else "the axes are swapped."
    elif bare == others:
        yield "an axis of size 1 is too many or missing (`squeeze`, `unsqueeze`, `keepdim`)."
    elif given.ndim == wanted.ndim and set(np.abs(np.subtract(given.shape, wanted.shape))) <= {
        0,
        1,
    }:
        yield "one too many or too few: look at the ends of the range, or at a `+ 1`."
    for name, reduced in _REDUCTIONS.items():
        for axis in range(wanted.ndim if wanted.ndim == given.ndim + 1 and wanted.size else 0):
            if near(reduced(wanted, axis), given):
                yield f"the {name} over axis {axis} is taken; that axis should stay."
        for axis in range(given.ndim if given.ndim == wanted.ndim + 1 and given.size else 0):
            if near(reduced(given, axis), wanted):
                yield f"the {name} over axis {axis} is still to be taken."


MOST_AXES = 4
_REDUCTIONS: dict[str, Callable[..., Numbers]] = {
    "sum": np.sum,
    "mean": np.mean,
    "largest number": np.max,
}


def _compare_sequences(expected: Any, got: Any, tolerance: Tolerance) -> Difference | None:
    if not isinstance(got, Sequence) or isinstance(got, str):
        return _other_kind(got, kind(expected))
    if len(expected) != len(got):
        words = f"It gives {len(got)} values; expected: {len(expected)}."
        guess = ("one too many or too few at an end; the others are right.",)
        return Difference(words, guesses=guess if _lacks_an_end(expected, got, tolerance) else ())
    if _is_row([*expected, *got]):
        wanted, given = (np.array([*map(to_numpy, one)]) for one in (expected, got))
        return _compare_values(wanted, given, tolerance)
    places = [f"in value number {number}" for number in range(1, len(expected) + 1)]
    gap = _first_of(zip(places, expected, got, strict=True), tolerance)
    if gap and not _first_of(zip(places, reversed(expected), got, strict=True), tolerance):
        return replace(gap, guesses=("the values stand in the opposite order.",))
    return gap


def _lacks_an_end(expected: Any, got: Any, tolerance: Tolerance) -> bool:
    """Whether one of the two is the other without its first or its last value."""
    shorter, longer = sorted((list(expected), list(got)), key=len)
    parts = (longer[1:], longer[:-1]) if len(longer) == len(shorter) + 1 else ()
    return any(difference(part, shorter, tolerance=tolerance) is None for part in parts)


def _first_of(parts: Iterable[tuple[str, Any, Any]], tolerance: Tolerance) -> Difference | None:
    """The first part that differs, with the guesses that fit all parts that do."""
    gaps = []
    for where, expected, got in parts:
        gap = difference(expected, got, tolerance=tolerance)
        if gap:
            gaps.append(replace(gap, where=f"{where}: {gap.where}" if gap.where else where))
    return replace(gaps[0], guesses=in_all(gaps)) if gaps else None


def _compare_rest(expected: Any, got: Any) -> Difference | None:
    if type(expected) is not type(got):
        return _other_kind(got, kind(expected))
    try:
        same = bool(expected == got)
    except Exception:
        same = expected is got
    return None if same else Difference("The value is another one.")


# Numbers of one shape

Near = Callable[[Numbers, Numbers], bool]


def _compare_values(wanted: Numbers, given: Numbers, tolerance: Tolerance) -> Difference | None:
    def close(one: Numbers, other: Numbers) -> Numbers:
        return np.isclose(one, other, *tolerance, equal_nan=True)

    def near(one: Numbers, other: Numbers) -> bool:
        return one.shape == other.shape and bool(close(one, other).all())

    exact, got = _wide(wanted), _wide(given)
    same = close(exact, got)
    if same.all():
        return None
    where = _where(wanted, given, ~same) if wanted.ndim else ""
    at = tuple(np.argwhere(~same)[0].tolist())
    if np.isfinite(exact).all() and not np.isfinite(got).all():
        words = "a division by zero, a logarithm or root of a number that has none, a huge `exp`."
        return Difference("NaN or an infinite number is in it.", where, words, at=at)
    headline = "The number is not right." if exact.size == 1 else "The numbers are not right."
    if is_truth(wanted):
        headline = "True and False are not where they should be."
    if "c" in (exact.dtype.kind, got.dtype.kind):  # no guesses at complex numbers
        return Difference(headline, where, at=at)
    with np.errstate(all="ignore"):
        guesses = (*_guesses(exact, got, near), *_partly(same))
        repeated = tuple(_off_by(exact, got)) if exact.size == 1 else ()
    return Difference(headline, where, guesses=guesses, repeated=repeated, at=at)


def _wide(numbers: Numbers) -> Numbers:
    return numbers if numbers.dtype.kind == "c" else numbers.astype(np.float64)


def _where(wanted: Numbers, given: Numbers, differ: Numbers) -> str:
    """Where the first difference is, and how many there are."""
    index, *_ = map(tuple, np.argwhere(differ).tolist())
    one, other = in_words(wanted[index]), in_words(given[index])
    count = f"{differ.sum()} of {wanted.size}"
    return f"{count} differ; the first at {list(index)}: expected {one}, got {other}"


def _guesses(wanted: Numbers, given: Numbers, near: Near) -> Iterator[str]:
    """Words for each typical mistake that turns all the expected numbers into the given ones."""
    if wanted.size > 1 and not given.any():
        yield "every number is zero."
    for mistake, made, left_out in _MISTAKES if wanted.size > 1 else _MISTAKES[:2]:
        if near(mistake(wanted), given):
            yield made
        elif left_out and near(mistake(given), wanted):
            yield left_out
    if _is_moved(wanted, given, near):
        yield "everything is moved by one place: look at the ends of the range."
    yield from _scaled(wanted, given, near)


def _turned(numbers: Numbers) -> Numbers:
    return numbers.T if numbers.ndim == 2 else numbers


def _upside_down(numbers: Numbers) -> Numbers:
    return np.flip(numbers, -2) if numbers.ndim > 1 else numbers


# (the mistake, words for it, words for an answer that only needs this step to be right)
_MISTAKES: tuple[tuple[Callable[[Numbers], Numbers], str, str], ...] = (
    (np.negative, "the sign is turned round.", ""),
    (lambda n: 1 - n, "1 minus what it should be: the two sides are swapped.", ""),
    (_turned, "rows and columns are swapped.", ""),
    (lambda n: np.flip(n, -1), "left and right (or the order) are turned round.", ""),
    (_upside_down, "top and bottom are turned round.", ""),
    (np.abs, "the signs are lost (an absolute value?).", "an absolute value is missing."),
    (
        lambda n: np.maximum(n, 0),
        "negative numbers were set to zero.",
        "negative numbers should be zero.",
    ),
    (
        lambda n: n.clip(0, 1),
        "numbers outside [0, 1] were cut off.",
        "numbers outside [0, 1] are left: clamp them.",
    ),
    (np.square, "the numbers are squared (a root is missing?).", "a square is missing."),
    (
        lambda n: torch.from_numpy(n).softmax(-1).numpy(),
        "a softmax too many: probabilities where scores are expected.",
        "a softmax is missing: scores where probabilities are expected.",
    ),
    (np.floor, "rounded to whole numbers (`//` for `/`, or an integer tensor).", ""),
    (np.round, "rounded to whole numbers.", "not rounded to whole numbers."),
)


def comes_on_top(words: str) -> bool:
    """Whether the words are for a mistake that may come on top of any other one."""
    known = {told for _, *both in _MISTAKES for told in both}
    return words in known or (words.startswith(_EVERYWHERE) and "another one" not in words)


def _is_moved(wanted: Numbers, given: Numbers, near: Near) -> bool:
    """Whether, along an axis, the one without its first is the other without its last."""
    axes = [axis for axis in range(wanted.ndim) if wanted.shape[axis] > 3 and np.ptp(given) > 0]
    ends = ((axis, *both) for axis in axes for both in ((0, -1), (-1, 0)))
    return any(
        near(np.delete(wanted, one, axis), np.delete(given, other, axis))
        for axis, one, other in ends
    )


_EVERYWHERE = ("everything is", "each answer is")  # begins a guess that holds for every number


def _scaled(wanted: Numbers, given: Numbers, near: Near) -> Iterator[str]:
    """Words for "all numbers are k times, or c more than, what they should be"."""
    largest = np.unravel_index(np.abs(wanted).argmax(), wanted.shape)
    factor = float(given[largest] / wanted[largest])
    if factor and near(wanted * factor, given):
        size = max(abs(factor), 1 / abs(factor))
        turned = ", and its sign is turned round" * (factor < 0)
        if wanted.size > 1 or (factor > 0 and np.isclose(size, (2, 10, 100, 255)).any()):
            yield f"everything is {_times(factor)}{turned}."
        if wanted.size > 1 and factor > 0:
            yield "everything is multiplied by a factor, another one in each case."
    gap = float((given - wanted).flat[0])
    if wanted.size > 1 and near(wanted + gap, given):
        yield f"everything is too {'large' if gap > 0 else 'small'} by {number(abs(gap))}."


def _off_by(wanted: Numbers, given: Numbers) -> Iterator[str]:
    """The same for a single number: words that only count where they fit several cases."""
    gap, factor = float((given - wanted).flat[0]), float((given / wanted).flat[0])
    yield f"each answer is too {'large' if gap > 0 else 'small'} by {number(abs(gap), 4)}."
    if 0 < factor < np.inf:
        yield f"each answer is {_times(factor)}."


def _times(factor: float) -> str:
    size = abs(factor)
    return f"{number(max(size, 1 / size), 4)} times too {'large' if size > 1 else 'small'}"


def _partly(same: Numbers) -> Iterator[str]:
    """Words for a mistake that sits in one part of the array only, and in most of that part."""
    if not same.ndim or min(same.shape) < 3 or same.sum() < 3:
        return
    inside, last = np.zeros_like(same), np.zeros_like(same)
    core: tuple[Any, ...] = (..., *[slice(1, -1)] * min(2, same.ndim))
    inside[core] = True
    last[..., -1] = True
    if same[inside].all() and same[~inside].mean() <= 0.5:
        yield "only numbers at the border are wrong: look at the first and the last place."
    if same[~last].all() and same[last].mean() <= 0.5:
        yield "only the last one along the last axis is wrong: look at the end of the range."
