"""What was solved, kept from one session to the next, one small file per exercise; and the
fingerprint of a function's code, which changes when the function is edited."""

import contextlib
import functools
import hashlib
import json
import os
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import platformdirs

from labsupport.core.errors import BadSetting
from labsupport.core.images.saving import whole_file
from labsupport.ui.checking.judging import State
from labsupport.ui.checking.trying import python_function
from labsupport.ui.checking.values import in_words, is_array, to_numpy


def keep(exercise: str, state: State) -> None:
    """Remember the verdict on the disk; where that cannot be written, it is not remembered."""
    with contextlib.suppress(OSError, RuntimeError, BadSetting):
        file = _file(exercise)
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as part:
            part.write_text(json.dumps({"state": state}), encoding="utf-8")


def recall(exercise: str) -> State | None:
    """The last verdict on the exercise that the disk remembers, if there is one."""
    with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
        state: State = json.loads(_file(exercise).read_text(encoding="utf-8"))["state"]
        return state if state in ("right", "wrong", "not done") else None
    return None


def _file(exercise: str) -> Path:
    """In `LABS_STATE`, else in the user's own folder for programs' state."""
    own = platformdirs.user_state_path("labsupport", appauthor=False)
    return Path(os.environ.get("LABS_STATE") or own / "exercises") / f"{exercise}.json"


# Fingerprints

LARGEST_ARRAY = 1_000_000  # numbers; a larger array counts by its shape alone


def fingerprint(function: Callable[..., Any]) -> str:
    """A digest of what the function computes: bytecode, constants, defaults, closures.

    Functions and plain values of the same notebook that the code names count too, so that
    editing a function which this one calls changes the fingerprint. Line numbers, names of
    files and comments do not. A callable without Python code of its own gets one by its name.

    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 1)
    True
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 2)
    False
    """
    own = python_function(function)
    text = repr(_content(function, own.__globals__ if own else {}, {}))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _content(value: Any, home: dict[str, Any], seen: dict[int, Any]) -> Any:
    """The value as nested lists of plain values, each function and container once."""
    if isinstance(value, str | bytes | int | float | complex | None | type(...)):
        return value
    if is_array(value):
        numbers = to_numpy(value)
        data = numbers.tobytes() if numbers.size <= LARGEST_ARRAY else b""
        return [type(value).__name__, value.shape, value.dtype, hashlib.sha256(data).digest()]
    if id(value) in seen:
        return "seen"
    seen[id(value)] = value  # and alive, so that no other value takes its number
    return [type(value).__name__, *(_content(one, home, seen) for one in _parts(value, home))]


def _parts(value: Any, home: dict[str, Any]) -> Iterable[Any]:
    """What a value consists of. Code from elsewhere (torch, labsupport) counts by its name."""
    if isinstance(value, types.FunctionType) and value.__globals__ is home:
        filled = [cell.cell_contents for cell in value.__closure__ or () if cell != _EMPTY]
        used = {name: home[name] for name in _names(value.__code__) if name in home}
        return [value.__code__, value.__defaults__, value.__kwdefaults__, *filled, used]
    if isinstance(value, types.CodeType):
        names = (value.co_names, value.co_varnames, value.co_freevars)
        counts = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount)
        return [value.co_code, *names, *counts, value.co_flags, *value.co_consts]
    if isinstance(value, types.MethodType):
        return [value.__func__, getattr(value.__self__, "__dict__", None)]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, dict):
        return [part for item in value.items() for part in item]
    if isinstance(value, set | frozenset):
        return sorted(map(in_words, value))  # a set has no order of its own
    if isinstance(value, tuple | list):
        return value
    called = python_function(value)
    if called and called.__globals__ is home and called is not value:
        return [called, getattr(value, "__dict__", None)]
    return [getattr(value, "__module__", ""), getattr(value, "__qualname__", "")]


_EMPTY = types.CellType()  # a variable that has no value yet


def _names(code: types.CodeType) -> list[str]:
    """The names that the code looks up, and those of the code inside it."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [*code.co_names, *(name for one in inner for name in _names(one))]
