"""Is the student's value the expected one, and if not: what does the mistake look like?"""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labsupport.ui.checking import values
from labsupport.ui.checking.values import Numbers, is_array, is_number, is_truth, kind, to_numpy

Tolerance = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """The first difference: a headline, where it is, and what it looks like (may be "")."""

    headline: str
    where: str = ""
    looks_like: str = ""


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
    compare = next((compare for applies, compare in _COMPARISONS if applies(expected)), None)
    return compare(expected, got, tolerance) if compare else _compare_rest(expected, got)


def _compare_unfinished(expected: Any, got: Any) -> Difference | None:
    if expected is got:
        return None
    if got is None:
        guess = "there is no `return`, or it is not reached."
    elif isinstance(got, types.GeneratorType):
        guess = "a `yield`, or a `for` inside round brackets; collect the values first."
    elif callable(got):
        guess = "the round brackets of a call are missing."
    else:
        guess = "a placeholder is left in the code."
    return Difference(_other_kind(got, kind(expected)), looks_like=guess)


def _compare_truths(expected: Any, got: Any, _tolerance: Tolerance) -> Difference | None:
    if not is_truth(got):
        guess = "a comparison such as `> 0` is missing at the end."
        return Difference(_other_kind(got, "True or False"), looks_like=guess)
    wanted, given = to_numpy(expected), to_numpy(got)
    if wanted.shape != given.shape:
        return _compare_shapes(expected, got)
    if np.array_equal(wanted, given):
        return None
    guess = "True and False are swapped." if np.array_equal(wanted, ~given) else ""
    return Difference("True and False are not where they should be.", _first(wanted, given), guess)


def _compare_numbers(expected: Any, got: Any, tolerance: Tolerance) -> Difference | None:
    if is_array(got) and not is_truth(got) and to_numpy(got).size == 1:
        got = got.reshape(())
    if not is_number(got):
        guess = "the last step, from many numbers to one, is missing." if is_array(got) else ""
        return Difference(_other_kind(got, "one number"), looks_like=guess)
    return _compare_values(to_numpy(expected), to_numpy(got), tolerance)


def _compare_arrays(expected: Any, got: Any, tolerance: Tolerance) -> Difference | None:
    if not is_array(got) or isinstance(expected, torch.Tensor) != isinstance(got, torch.Tensor):
        sort = "a tensor" if isinstance(expected, torch.Tensor) else "a NumPy array"
        guess = "" if is_number(got) else f"the values were not put into {sort}."
        return Difference(_other_kind(got, kind(expected)), looks_like=guess)
    if is_truth(got):
        guess = "a comparison takes the place of the numbers."
        return Difference("It gives back True and False, not numbers.", looks_like=guess)
    if tuple(expected.shape) != tuple(got.shape):
        return _compare_shapes(expected, got)
    return _compare_values(to_numpy(expected), to_numpy(got), tolerance)


def _compare_shapes(expected: Any, got: Any) -> Difference:
    wanted, given = tuple(expected.shape), tuple(got.shape)
    headline = f"The shape is {given}; expected: {wanted}."
    return Difference(headline, looks_like=_shape_guess(wanted, given))


def _shape_guess(wanted: tuple[int, ...], given: tuple[int, ...]) -> str:
    if given == wanted[::-1]:
        return "rows and columns are swapped."
    if sorted(given) == sorted(wanted):
        return "the axes are in another order."
    bare = tuple(size for size in given if size != 1)
    if bare == tuple(size for size in wanted if size != 1):
        return "an axis of size 1 is too many or missing (`squeeze`, `unsqueeze`, `keepdim`)."
    if len(given) < len(wanted):
        return "it sums (or picks) over one axis too many."
    if len(given) > len(wanted):
        return "one axis is still to be summed or picked."
    gaps = {abs(one - other) for one, other in zip(wanted, given, strict=True)} - {0}
    if gaps == {1}:
        return "one too many or too few: look at the ends of the range, or at a `+ 1`."
    return ""


def _compare_texts(expected: str, got: Any, _tolerance: Tolerance) -> Difference | None:
    if not isinstance(got, str):
        return Difference(_other_kind(got, "a text"))
    if expected == got:
        return None
    same = expected.strip().casefold() == got.strip().casefold()
    guess = "only spaces or capital letters differ." if same else ""
    return Difference("The text is another one.", looks_like=guess)


def _compare_mappings(expected: Any, got: Any, tolerance: Tolerance) -> Difference | None:
    if not isinstance(got, Mapping):
        return Difference(_other_kind(got, "a dict"))
    if set(expected) != set(got):
        missing, extra = set(expected) - set(got), set(got) - set(expected)
        words = f"missing: {values.in_words(sorted(missing, key=str))}" if missing else ""
        more = f"not expected: {values.in_words(sorted(extra, key=str))}" if extra else ""
        return Difference("The keys are not right.", "; ".join(filter(None, (words, more))))
    return _first_of(
        ((f"at the key {values.in_words(k)}", expected[k], got[k]) for k in expected), tolerance
    )


def _compare_sequences(expected: Any, got: Any, tolerance: Tolerance) -> Difference | None:
    if not isinstance(got, Sequence) or isinstance(got, str):
        return Difference(_other_kind(got, kind(expected)))
    if len(expected) != len(got):
        one = "one too many or too few: look at the ends of the range."
        guess = one if abs(len(expected) - len(got)) == 1 else ""
        words = f"It gives {len(got)} values; expected: {len(expected)}."
        return Difference(words, looks_like=guess)
    gap = _first_of(_numbered(expected, got), tolerance)
    if gap and _first_of(_numbered(expected[::-1], got), tolerance) is None:
        return Difference(gap.headline, gap.where, "the values stand in the opposite order.")
    return gap


def _numbered(expected: Any, got: Any) -> Iterable[tuple[str, Any, Any]]:
    return ((f"in value number {i + 1}", expected[i], got[i]) for i in range(len(expected)))


def _first_of(parts: Iterable[tuple[str, Any, Any]], tolerance: Tolerance) -> Difference | None:
    for where, expected, got in parts:
        gap = difference(expected, got, tolerance=tolerance)
        if gap:
            place = f"{where}: {gap.where}" if gap.where else where
            return Difference(gap.headline, place, gap.looks_like)
    return None


def _compare_rest(expected: Any, got: Any) -> Difference | None:
    if type(expected) is not type(got):
        return Difference(_other_kind(got, kind(expected)))
    try:
        same = bool(expected == got)
    except Exception:
        same = expected is got
    return None if same else Difference("The value is another one.")


def _other_kind(got: Any, wanted: str) -> str:
    return f"It gives back {kind(got)}; expected: {wanted}."


def _is_unfinished(expected: Any, got: Any) -> bool:
    if got is None or got is Ellipsis or got is NotImplemented:
        return True
    return isinstance(got, types.GeneratorType) or (callable(got) and not callable(expected))


Comparison = Callable[[Any, Any, Tolerance], Difference | None]
_COMPARISONS: tuple[tuple[Callable[[object], bool], Comparison], ...] = (
    (is_truth, _compare_truths),
    (is_number, _compare_numbers),
    (is_array, _compare_arrays),
    (lambda value: isinstance(value, str), _compare_texts),
    (lambda value: isinstance(value, Mapping), _compare_mappings),
    (lambda value: isinstance(value, list | tuple), _compare_sequences),
)


# ---- numbers of one shape -------------------------------------------------------------------


def _compare_values(wanted: Numbers, given: Numbers, tolerance: Tolerance) -> Difference | None:
    def near(one: Any, other: Any) -> bool:
        return bool(np.allclose(one, other, rtol=tolerance[0], atol=tolerance[1], equal_nan=True))

    wanted, given = _wide(wanted), _wide(given)
    if near(wanted, given):
        return None
    if np.isfinite(wanted).all() and not np.isfinite(given).all():
        guess = "a division by zero, or a logarithm or root of a number that has none."
        return Difference("NaN or an infinite number is in it.", _first(wanted, given), guess)
    with np.errstate(all="ignore"):
        guess = next((words for words, test in _GUESSES if test(wanted, given, near)), "")
        guess = guess or _scaled(wanted, given, near) or _partly(wanted, given, tolerance)
    one = wanted.size == 1
    headline = "The number is not right." if one else "The numbers are not right."
    return Difference(headline, "" if one else _first(wanted, given, tolerance), guess)


def _wide(numbers: Numbers) -> Numbers:
    return numbers if numbers.dtype.kind == "c" else numbers.astype(np.float64)


Near = Callable[[Any, Any], bool]
Guess = Callable[[Numbers, Numbers, Near], bool]


def _turned(wanted: Numbers, given: Numbers, near: Near) -> bool:
    return wanted.ndim == 2 and wanted.shape[0] == wanted.shape[1] and near(wanted.T, given)


def _flipped(axis: int) -> Guess:
    def test(wanted: Numbers, given: Numbers, near: Near) -> bool:
        return wanted.ndim >= -axis and near(np.flip(wanted, axis), given)

    return test


def _moved(wanted: Numbers, given: Numbers, near: Near) -> bool:
    axes = [axis for axis in range(wanted.ndim) if wanted.shape[axis] > 3]
    shifts = ((axis, step) for axis in axes for step in (-1, 1))
    return any(_agree_inside(wanted, given, near, axis, step) for axis, step in shifts)


def _agree_inside(wanted: Numbers, given: Numbers, near: Near, axis: int, step: int) -> bool:
    inside = [slice(None)] * wanted.ndim
    inside[axis] = slice(1, -1)
    part = given[tuple(inside)]
    moved = np.roll(wanted, step, axis)[tuple(inside)]
    return part.size > 2 and np.ptp(part) > 0 and near(moved, part)


def _softmax(numbers: Numbers) -> Numbers:
    powers = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


# Each guess must hold for every number, so a wrong guess is rare; the first that holds is shown.
_GUESSES: tuple[tuple[str, Guess], ...] = (
    ("the sign is turned round.", lambda wanted, given, near: near(-wanted, given)),
    ("rows and columns are swapped.", _turned),
    ("left and right (or the order) are turned round.", _flipped(-1)),
    ("top and bottom are turned round.", _flipped(-2)),
    ("everything is moved by one place: look at the ends of the range.", _moved),
    ("the signs are lost (an absolute value?).", lambda w, g, near: near(np.abs(w), g)),
    (
        "negative numbers were set to zero.",
        lambda w, g, near: bool((w > 0).any()) and near(np.maximum(w, 0), g),
    ),
    (
        "the numbers are squared (a root is missing?).",
        lambda w, g, near: w.size > 1 and near(w**2, g),
    ),
    (
        "a square is missing.",
        lambda w, g, near: w.size > 1 and bool((w >= 0).all()) and near(w**0.5, g),
    ),
    (
        "a softmax too many: probabilities where scores are expected.",
        lambda w, g, near: w.ndim > 0 and w.shape[-1] > 1 and near(_softmax(w), g),
    ),
    (
        "a softmax is missing: scores where probabilities are expected.",
        lambda w, g, near: w.ndim > 0 and w.shape[-1] > 1 and near(_softmax(g), w),
    ),
    (
        "rounded to whole numbers (`//` for `/`, or an integer tensor).",
        lambda w, g, near: w.size > 1 and (near(np.floor(w), g) or near(np.round(w), g)),
    ),
    ("the start value is never filled: every number is zero.", lambda _w, g, _near: not g.any()),
)


def _scaled(wanted: Numbers, given: Numbers, near: Near) -> str:
    """Words for "all numbers are k times, or c more than, what they should be"."""
    if wanted.dtype.kind == "c" or given.dtype.kind == "c":
        return ""
    largest = np.unravel_index(np.abs(wanted).argmax(), wanted.shape)
    if wanted[largest]:
        factor = float(given[largest] / wanted[largest])
        plausible = wanted.size > 1 or factor in (0.5, 2.0, 10.0, 100.0, 255.0)
        if plausible and factor and near(wanted * factor, given):
            size = values.number(factor if factor > 1 else 1 / factor)
            return f"everything is {size} times too {'large' if factor > 1 else 'small'}."
    gap = float((given - wanted).flat[0])
    if wanted.size > 1 and near(wanted + gap, given):
        return f"everything is too {'large' if gap > 0 else 'small'} by {values.number(abs(gap))}."
    return ""


def _partly(wanted: Numbers, given: Numbers, tolerance: Tolerance) -> str:
    """Words for a mistake that sits in one part of the array only."""
    same = np.isclose(wanted, given, rtol=tolerance[0], atol=tolerance[1])
    if wanted.ndim == 0 or min(wanted.shape) < 3 or same.sum() < 2:
        return ""
    inside = [slice(None)] * max(0, wanted.ndim - 2) + [slice(1, -1)] * min(2, wanted.ndim)
    if same[tuple(inside)].all():
        return "right inside, wrong at the border: look at the first and the last place."
    if same[..., :-1].all():
        return "only the last one along the last axis is wrong: look at the end of the range."
    return ""


def _first(wanted: Numbers, given: Numbers, tolerance: Tolerance = (0.0, 0.0)) -> str:
    """Where the first difference is, and how many there are."""
    same = np.isclose(_wide(wanted), _wide(given), rtol=tolerance[0], atol=tolerance[1])
    if wanted.ndim == 0:
        return ""
    places = np.argwhere(~same)
    index = tuple(int(i) for i in places[0])
    at = ", ".join(str(i) for i in index)
    one, other = values.in_words(wanted[index].item()), values.in_words(given[index].item())
    count = f"{len(places)} of {wanted.size}"
    return f"{count} differ; the first at [{at}]: expected {one}, got {other}"
