"""Values in words and small tables: what a card says was given, expected and got."""

import html
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Numbers = npt.NDArray[Any]

MOST_ROWS = 8
MOST_COLUMNS = 10


def is_array(value: object) -> bool:
    """Whether the value is a tensor or a NumPy array."""
    return isinstance(value, torch.Tensor | np.ndarray)


def is_number(value: object) -> bool:
    """Whether the value is one number: Python's, NumPy's, or a tensor without axes."""
    if is_array(value):
        return bool(value.ndim == 0) and not is_truth(value)  # type: ignore[attr-defined]
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def is_truth(value: object) -> bool:
    """Whether the value is a truth value, or an array of them."""
    if isinstance(value, torch.Tensor):
        return bool(value.dtype == torch.bool)
    if isinstance(value, np.ndarray):
        return bool(value.dtype == np.bool_)
    return isinstance(value, bool | np.bool_)


def to_numpy(value: object) -> Numbers:
    """A tensor on any device, an array or a number as a NumPy array of its own."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().resolve_conj().resolve_neg()
        exact = plain.float() if plain.dtype == torch.bfloat16 else plain  # NumPy has none
        return np.array(exact.numpy())
    return np.array(value)


def kind(value: object) -> str:
    """What the value is, with its article: "a tensor of shape (3, 3)", "a list of 4", "None".

    >>> kind(torch.zeros(2, 3)), kind([1, 2]), kind("cat"), kind(None)
    ('a tensor of shape (2, 3)', 'a list of 2', 'a text', 'None')
    """
    if value is None or value is Ellipsis or value is NotImplemented:
        return "`...`" if value is Ellipsis else str(value)
    if is_array(value):
        return _kind_of_array(value)
    if isinstance(value, types.GeneratorType):
        return "a generator"
    if isinstance(value, str | bool | int | float):
        return _KINDS.get(type(value), "a number")
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return f"the function {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


_KINDS: dict[type, str] = {
    str: "a text",
    bool: "a truth value (True or False)",
    int: "a whole number",
    float: "a number",
}


def _kind_of_array(value: Any) -> str:
    sort = "tensor" if isinstance(value, torch.Tensor) else "NumPy array"
    if value.ndim == 0:
        return f"a {sort} with one number"
    return f"a {sort} of shape {tuple(value.shape)}"


def number(value: float) -> str:
    """One number with at most six figures.

    >>> number(0.1 + 0.2), number(3), number(1e-9), number(float("nan"))
    ('0.3', '3', '1e-09', 'NaN')
    """
    if isinstance(value, complex):
        return f"{value:.6g}"
    return "NaN" if value != value else f"{value:.6g}"


def in_words(value: object) -> str:
    """The value for a line of text: small ones whole, large ones by kind and range.

    >>> in_words(torch.tensor([1.0, 2.5]))
    '[1, 2.5]'
    >>> in_words(torch.linspace(0, 1, 300).reshape(1, 3, 10, 10))
    'a tensor of shape (1, 3, 10, 10), from 0 to 1'
    """
    if is_number(value) or (is_truth(value) and not (is_array(value) and value.ndim)):  # type: ignore[attr-defined]
        plain = to_numpy(value).item()
        return str(plain) if isinstance(plain, bool) else number(plain)
    if is_array(value):
        return _array_in_words(value)
    if isinstance(value, list | tuple | set):
        return _shorten(_bracketed(value))
    if isinstance(value, Mapping):
        inside = ", ".join(f"{in_words(key)}: {in_words(value[key])}" for key in value)
        return _shorten("{" + inside + "}")
    if isinstance(value, str):
        return _shorten(repr(value))
    if value is None or value is Ellipsis or callable(value):
        return kind(value)
    return _shorten(safe_repr(value))


def _array_in_words(value: Any) -> str:
    numbers = to_numpy(value)
    if numbers.size <= MOST_COLUMNS and numbers.ndim <= 2:
        return _bracketed(numbers.tolist())
    span = ""
    if numbers.size and numbers.dtype.kind in "fiu":
        low, high = number(numbers.min().item()), number(numbers.max().item())
        span = f", all {low}" if low == high else f", from {low} to {high}"
    return kind(value) + span


def _bracketed(value: Any) -> str:
    if isinstance(value, list | tuple | set):
        left, right = _BRACKETS.get(type(value), ("(", ")"))
        inside = ", ".join(_bracketed(one) for one in value)
        return left + inside + ("," if left == "(" and len(value) == 1 else "") + right
    return in_words(value)


_BRACKETS = {list: ("[", "]"), set: ("{", "}")}


def _shorten(text: str) -> str:
    return text if len(text) <= 160 else text[:158] + " …"


def safe_repr(value: object) -> str:
    """The value's own repr; its type's name where that fails."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def as_table(
    value: object, other: object, *, tolerance: tuple[float, float], marked: bool = True
) -> str:
    """A small 1-D or 2-D array as an HTML table; numbers that differ from `other` are marked.

    Gives "" where a table would not help: no array, too large, or of another shape.
    """
    if not (is_array(value) and is_array(other)):
        return ""
    numbers, others = to_numpy(value), to_numpy(other)
    if numbers.shape != others.shape or numbers.ndim not in (1, 2) or numbers.size < 2:
        return ""
    numbers, others = np.atleast_2d(numbers), np.atleast_2d(others)
    if numbers.shape[0] > MOST_ROWS or numbers.shape[1] > MOST_COLUMNS:
        return ""
    rtol, atol = tolerance
    same = np.isclose(_plain(numbers), _plain(others), rtol=rtol, atol=atol, equal_nan=True)
    same |= not marked
    rows = "".join(_row(row, marks) for row, marks in zip(numbers, same, strict=True))
    return f'<table class="lab-numbers"><tbody>{rows}</tbody></table>'


def _plain(numbers: Numbers) -> Numbers:
    return numbers.astype(float) if numbers.dtype.kind in "fiub" else numbers


def _row(numbers: Numbers, same: Numbers) -> str:
    cells = []
    for one, agrees in zip(numbers, same, strict=True):
        shown = html.escape(in_words(one.item()))
        cells.append(f"<td>{shown}</td>" if agrees else f"<td><mark>{shown}</mark></td>")
    return f"<tr>{''.join(cells)}</tr>"
