"""The one family of errors, written for students: what was wrong, and the way out."""

import difflib
from collections.abc import Iterable


class LabError(ValueError):
    """Base of every error that the workbook raises on purpose."""


class BadImage(LabError):
    """Not a picture, or not an image in the workbook's sense: (N, 3, H, W), RGB, in [0, 1]."""


class DamagedData(LabError):
    """A bundled file is missing or is not the file that was shipped."""


class WeightsUnavailable(LabError):
    """The weights that were asked for are neither bundled, nor cached, nor to be downloaded."""


class UnknownNetwork(LabError):
    """No network of that name."""


class UnknownLayer(LabError):
    """The network has no layer of that name."""


class UnknownClass(LabError):
    """The network has no category of that name or index, or the name fits several."""


class NoClasses(UnknownClass):
    """The network ends before its classes, so nothing that needs one can be had of it."""


class CannotTrace(LabError):
    """The module's computation cannot be written down as a graph of layers."""


class CannotRecord(CannotTrace):
    """It runs, but what it computes cannot be written down: the network is an opaque one."""


class BadSetting(LabError):
    """A knob has a value that cannot work."""


def nearest(word: str, words: Iterable[str], count: int = 3) -> list[str]:
    """The `count` words that look most like `word`, best first.

    A word that contains `word` (or the reverse) comes before one that only has similar letters.

    >>> nearest("gold fish", ["goldfinch", "goldfish", "shark"], count=1)
    ['goldfish']
    """
    wanted = _plain(word)

    def closeness(candidate: str) -> tuple[bool, float]:
        plain = _plain(candidate)
        contained = bool(wanted) and bool(plain) and (wanted in plain or plain in wanted)
        return contained, difflib.SequenceMatcher(None, wanted, plain).ratio()

    unique = list(dict.fromkeys(words))
    return sorted(unique, key=closeness, reverse=True)[:count]


def one_of(value: object, known: Iterable[str], what: str, hint: str = "") -> str:
    """The value, where it is one of the known words; else `BadSetting` with the nearest of them.

    >>> one_of("mean", ("max", "mean"), "reduce")
    'mean'
    """
    words = list(known)
    if isinstance(value, str) and value in words:
        return value
    listed, close = ", ".join(map(repr, words)), nearest(str(value), words, 1)[0]
    raise BadSetting(f"{what} is one of {listed}, not {value!r}; did you mean {close!r}?{hint}")


def _plain(word: object) -> str:
    return "".join(letter for letter in str(word).casefold() if letter.isalnum())
