"""The exercises of all notebooks: one module each, known by its name, loaded when asked for.

The notebook `05_occlusion` has its exercises in `lab05_occlusion.py`: a tuple `EXERCISES` of
`Exercise`, and a dict `QUESTIONS` of `Question` for `predict`. The solutions, one file for each
exercise, are `notebooks/solutions/05_1_<word>.py` and so on.
`LABS_EXERCISES` names a further folder of such modules, with a folder `solutions` in it.
"""

import importlib.util
import os
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from labsupport.core.errors import LabError, nearest
from labsupport.ui.checking import Exercise, Question

_HERE = Path(__file__).parent


class UnknownExercise(LabError):
    """No exercise of that number."""


def find(exercise: str) -> Exercise:
    """The exercise "05.2". Raises `UnknownExercise`, with the nearest ones there are."""
    wanted = str(exercise).strip()
    lab = wanted.split(".")[0].zfill(2)
    for one in exercises_of(lab):
        if one.id == wanted or one.id == f"{lab}.{wanted.partition('.')[2]}":
            return one
    near = [one.id for one in exercises_of(lab)] or nearest(wanted, [e.id for e in all_exercises()])
    there = f" There are: {', '.join(near)}." if near else ""
    raise UnknownExercise(f'There is no exercise "{wanted}".{there}')


def exercises_of(lab: str) -> tuple[Exercise, ...]:
    """The exercises of the lab "05", in order; none for a lab without a module."""
    modules = [_load(path) for path in _paths() if path.stem.startswith(f"lab{lab}_")]
    return tuple(one for module in modules for one in getattr(module, "EXERCISES", ()))


def find_question(question: str) -> Question:
    """The question "05.q1". Raises `UnknownExercise`, with those that there are."""
    known = questions_of(question.split(".")[0])
    if question in known:
        return known[question]
    there = f" There are: {', '.join(known)}." if known else ""
    raise UnknownExercise(f'There is no question "{question}".{there}')


def questions_of(lab: str) -> dict[str, Question]:
    """The questions of the lab "05" by their number ("05.q1"), in order."""
    modules = [_load(path) for path in _paths() if path.stem.startswith(f"lab{lab}_")]
    return {number: one for module in modules for number, one in module.QUESTIONS.items()}


def all_exercises() -> tuple[Exercise, ...]:
    """The exercises of all labs, in order."""
    return tuple(one for path in _paths() for one in _load(path).EXERCISES)


def solution_file(exercise: Exercise) -> Path | None:
    """The file with the course's solution; None where the solutions are not handed out."""
    start = exercise.id.replace(".", "_") + "_"
    for folder in _solution_folders():
        for path in sorted(folder.glob(f"{start}*.py")):
            return path
    return None


def _folders() -> list[Path]:
    extra = os.environ.get("LABS_EXERCISES", "")
    return [_HERE, *(Path(one) for one in extra.split(os.pathsep) if one)]


def _solution_folders() -> list[Path]:
    return [_HERE.parents[2] / "notebooks" / "solutions"] + [
        folder / "solutions" for folder in _folders()[1:]
    ]


def _paths() -> list[Path]:
    files = (path for folder in _folders() for path in folder.glob("lab*.py"))
    return sorted(
        (path for path in files if re.fullmatch(r"lab\d\d_\w+", path.stem)), key=lambda p: p.stem
    )


@cache
def _load(path: Path) -> ModuleType:
    if path.parent == _HERE:
        return importlib.import_module(f"{__name__}.{path.stem}")
    spec = importlib.util.spec_from_file_location(f"_exercises_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UnknownExercise(f"{path} cannot be read as a module of exercises.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
