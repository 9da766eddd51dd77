"""Where in a student's own file something happened."""

import linecache
import os
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

import torch

_OTHERS = (*(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, __file__)), "<")


def students_line() -> str:
    """The line that is running, quoted: the innermost one outside PyTorch and this package."""
    return _quoted(traceback.walk_stack(None))


def line_of(error: BaseException) -> str:
    """The line that raised an error, quoted; "" where it is none of a student's."""
    return _quoted(reversed(list(traceback.walk_tb(error.__traceback__))))


def _quoted(frames: Iterable[tuple[FrameType, int]]) -> str:
    """The first of these lines that is a student's own, with its place."""
    for frame, number in frames:
        file = frame.f_code.co_filename
        if file.startswith(_OTHERS) and "ipython" not in file:
            continue
        cell = "ipykernel" in file or "ipython" in file
        place = "a cell of the notebook" if cell else Path(file).name
        code = linecache.getline(file, number, frame.f_globals).strip()
        return f"\n    {code}\n(line {number} of {place}, in {frame.f_code.co_name}) "
    return ""
