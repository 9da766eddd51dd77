"""What was solved, kept from one session to the next: one small file per exercise, with the
fingerprint of the function's code, which changes when the function is edited."""

import contextlib
import hashlib
import json
import os
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from labsupport.core.errors import BadSetting
from labsupport.core.images.saving import whole_file
from labsupport.ui.checking.judging import State
from labsupport.ui.checking.values import is_array, safe_repr, to_numpy


@dataclass(frozen=True)
class Record:
    """The last verdict on an exercise and the fingerprint of the code that it was given for."""

    state: State
    code: str


def folder() -> Path:
    """Where records are kept: `LABS_STATE`, else the user's own folder for programs' state."""
    chosen = os.environ.get("LABS_STATE")
    own = platformdirs.user_state_path("labsupport", appauthor=False)
    return Path(chosen) if chosen else own / "exercises"


class Memory:
    """Records by exercise: this session's, and those of earlier sessions from the folder.

    A folder that cannot be read or written costs nothing but the memory of earlier sessions.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self.session: dict[str, Record] = {}

    def keep(self, exercise: str, record: Record) -> None:
        """Remember the record, here and on the disk."""
        self.session[exercise] = record
        with contextlib.suppress(OSError, RuntimeError, BadSetting):
            place = self._place or folder()
            place.mkdir(parents=True, exist_ok=True)
            with whole_file(place / f"{exercise}.json") as part:
                part.write_text(json.dumps(asdict(record)), encoding="utf-8")

    def recall(self, exercise: str) -> Record | None:
        """The last record of the exercise, if there is one."""
        if exercise in self.session:
            return self.session[exercise]
        with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
            place = self._place or folder()
            kept = json.loads((place / f"{exercise}.json").read_text(encoding="utf-8"))
            if kept["state"] in ("right", "wrong", "not done"):
                return Record(kept["state"], str(kept["code"]))
        return None


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
    digest = hashlib.sha256()
    for part in _parts(function, set()):
        digest.update(part.encode("utf-8", "backslashreplace") + b"\0")
    return digest.hexdigest()[:16]


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    if id(value) in seen:
        yield "seen"
        return
    if isinstance(value, types.FunctionType):
        seen.add(id(value))
        yield from _function_parts(value, seen)
    elif isinstance(value, types.MethodType):
        yield from _parts(value.__func__, seen)
        yield from _parts(vars(value.__self__) if hasattr(value.__self__, "__dict__") else "", seen)
    elif isinstance(value, types.CodeType):
        yield from _code_parts(value, seen)
    elif is_array(value):
        yield from _array_parts(value)
    elif isinstance(value, tuple | list | dict | set | frozenset):
        seen.add(id(value))
        yield from _container_parts(value, seen)
    elif isinstance(value, str | bytes | int | float | complex | bool | None | type(...)):
        yield repr(value)
    else:
        yield f"{type(value).__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _function_parts(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield from _code_parts(function.__code__, seen)
    yield from _parts(function.__defaults__, seen)
    yield from _parts(function.__kwdefaults__, seen)
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # a variable that has no value yet
            content = "empty"
        yield from _parts(content, seen)
    for name in sorted(set(_names(function.__code__))):
        if name in function.__globals__:
            yield name
            yield from _global_parts(function.__globals__[name], function.__globals__, seen)


def _global_parts(value: Any, home: dict[str, Any], seen: set[int]) -> Iterator[str]:
    """Functions from elsewhere (torch, labsupport) count by name: they are not being edited."""
    if isinstance(value, types.FunctionType) and value.__globals__ is not home:
        yield f"{value.__module__}.{value.__qualname__}"
    else:
        yield from _parts(value, seen)


def _code_parts(code: types.CodeType, seen: set[int]) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_argcount))
    yield repr((code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags))
    for constant in code.co_consts:
        yield from _parts(constant, seen)


def _names(code: types.CodeType) -> Iterable[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _array_parts(value: Any) -> Iterator[str]:
    yield f"{type(value).__name__} {tuple(value.shape)} {value.dtype}"
    numbers = to_numpy(value)
    if numbers.size <= LARGEST_ARRAY:
        yield hashlib.sha256(numbers.tobytes()).hexdigest()


def _container_parts(value: Any, seen: set[int]) -> Iterator[str]:
    yield f"{type(value).__name__} {len(value)}"
    if isinstance(value, dict):
        for key in value:
            yield safe_repr(key)
            yield from _parts(value[key], seen)
    elif isinstance(value, set | frozenset):
        yield from sorted(safe_repr(one) for one in value)  # a set has no order of its own
    else:
        for one in value:
            yield from _parts(one, seen)
