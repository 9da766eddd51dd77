"""Values in words and small tables: what a card says was given, expected and got."""

import html
import reprlib
import types
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Numbers = npt.NDArray[Any]

MOST_ROWS = 8
MOST_COLUMNS = 10
MOST_IN_A_LINE = 16  # numbers of an array that stand whole in a line of text


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


def is_finite(value: object) -> bool:
    """Whether all of it is numbers, none of them NaN or infinite, or it holds no numbers."""
    plain = is_number(value) or is_array(value)
    return bool(np.isfinite(to_numpy(value)).all()) if plain else True


def kind(value: object) -> str:
    """What the value is, with its article: "a tensor of shape (3, 3)", "a list of 4", "None".

    >>> kind(torch.zeros(2, 3)), kind([1, 2]), kind("cat"), kind(None)
    ('a tensor of shape (2, 3)', 'a list of 2', 'a text', 'None')
    """
    if value is None or value is NotImplemented:
        return str(value)
    if isinstance(value, torch.Tensor | np.ndarray):
        sort = "tensor" if isinstance(value, torch.Tensor) else "NumPy array"
        return (
            f"a {sort} of shape {tuple(value.shape)}" if value.ndim else f"a {sort} with one number"
        )
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return f"the function {value.__name__}"
    name = type(value).__name__
    return _KINDS.get(type(value), f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}")


_KINDS: dict[type, str] = {
    str: "a text",
    bool: "a truth value (True or False)",
    int: "a whole number",
    float: "a number",
    types.GeneratorType: "a generator",
    type(...): "`...`",
}


def number(value: complex, figures: int = 6) -> str:
    """One number with at most six figures.

    >>> number(0.1 + 0.2), number(3), number(1e-9), number(float("nan"))
    ('0.3', '3', '1e-09', 'NaN')
    """
    return "NaN" if value != value else f"{value:.{figures}g}"


class _Words(reprlib.Repr):
    """The library's shortened repr, with numbers, arrays and functions as a card shows them."""

    def __init__(self, at: tuple[int, ...]) -> None:
        super().__init__()
        self._at = at
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = MOST_COLUMNS
        self.maxstring = self.maxother = 160

    def repr1(self, x: Any, level: int) -> str:
        if is_number(x) or (is_truth(x) and not np.ndim(to_numpy(x))):
            plain = to_numpy(x).item()
            return str(plain) if isinstance(plain, bool) else number(plain)
        if is_array(x):
            return self._array(x, level)
        return kind(x) if x is None or x is Ellipsis or callable(x) else super().repr1(x, level)

    def _array(self, value: Any, level: int) -> str:
        numbers = to_numpy(value)
        if numbers.size <= MOST_COLUMNS or (numbers.size <= MOST_IN_A_LINE and numbers.ndim == 2):
            return self.repr1(numbers.tolist(), level)
        if numbers.dtype.kind in "fiu" and (numbers == numbers.flat[0]).all():
            return f"{kind(value)}, all {number(numbers.flat[0].item())}"
        *places, start = self._at if len(self._at) == numbers.ndim else (0,) * numbers.ndim
        start = max(0, min(start - MOST_COLUMNS // 2, numbers.shape[-1] - MOST_COLUMNS))
        row = numbers[tuple(places)][start : start + MOST_COLUMNS]
        cut = f"{start}:{start + len(row)}"
        where = [*map(str, places), *([cut] if len(row) < numbers.shape[-1] else [])]
        return f"{kind(value)}; [{', '.join(where)}] is {self.repr1(row.tolist(), level)}"


def in_words(value: object, at: tuple[int, ...] = ()) -> str:
    """The value for a line of text: small ones whole, of large ones the numbers around `at`.

    >>> in_words(torch.tensor([1.0, 2.5]))
    '[1, 2.5]'
    >>> in_words(torch.arange(24.0).reshape(2, 4, 3), at=(1, 0, 2))
    'a tensor of shape (2, 4, 3); [1, 0] is [12, 13, 14]'
    """
    return _Words(at).repr(value)


def as_table(
    value: object, other: object, *, tolerance: tuple[float, float], marked: bool = True
) -> str:
    """An array as an HTML table; numbers that differ from `other`, if it has its shape, are marked.

    Of a large array, the part around the first difference, with a caption that says which. Gives
    "" for what is no array of several numbers.
    """
    if not is_array(value) or to_numpy(value).size < 2:
        return ""
    numbers = others = to_numpy(value)
    if is_array(other) and to_numpy(other).shape == numbers.shape:
        others = to_numpy(other)
    rtol, atol = tolerance
    same = np.isclose(_plain(numbers), _plain(others), rtol=rtol, atol=atol, equal_nan=True)
    part = _around_the_first(same)
    shown, marks = (one[part].reshape(-1, one[part].shape[-1]) for one in (numbers, same))
    rows = "".join(map(_row, shown, marks if marked else np.ones_like(marks)))
    places = [str(one.start) for one in part[:-2]]
    where = ", ".join(places + [f"{one.start}:{one.stop}" for one in part[-2:]])
    caption = f"<caption>the part [{where}]</caption>" if shown.size < numbers.size else ""
    return f'<table class="lab-numbers">{caption}<tbody>{rows}</tbody></table>'


def _around_the_first(same: Numbers) -> tuple[slice, ...]:
    """One place of the leading axes, and a window of the last two, with the first difference."""
    first = np.argwhere(~same)[:1].flatten().tolist() or [0] * same.ndim
    most = [1] * (same.ndim - 2) + [MOST_ROWS, MOST_COLUMNS][-same.ndim :]
    starts = [
        max(0, min(place - width // 2, length - width))
        for place, width, length in zip(first, most, same.shape, strict=True)
    ]
    stops = np.minimum(np.add(starts, most), same.shape).tolist()
    return tuple(map(slice, starts, stops))


def _plain(numbers: Numbers) -> Numbers:
    return numbers.astype(float) if numbers.dtype.kind in "fiub" else numbers


def _row(numbers: Numbers, same: Numbers) -> str:
    cells = []
    for one, agrees in zip(numbers, same, strict=True):
        shown = html.escape(in_words(one.item()))
        cells.append(f"<td>{shown}</td>" if agrees else f"<td><mark>{shown}</mark></td>")
    return f"<tr>{''.join(cells)}</tr>"
