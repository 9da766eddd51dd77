"""`solve` and `handout`: the notebooks with all exercises solved, and the folder for a class.

The solutions are plain files, `solutions/05_2_<word>.py` beside the notebooks. A notebook is read
and written as the JSON that it is, so neither command needs more than the standard library.
"""

from __future__ import annotations

import ast
import copy
import json
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labsupport.commands.faults import Fault
from labsupport.commands.requirements import ROOT

Notebook = dict[str, Any]
Cell = dict[str, Any]
TAG = "exercise:"
MARK = ".made-by-handout"
STAYS_HERE = ("solutions", "pictures", "__pycache__", ".ipynb_checkpoints", "*.pyc")


def solve_add_arguments(parser: ArgumentParser) -> None:
    """The options of `solve`."""
    parser.add_argument("notebooks", nargs="*", type=Path, help="which ones (default: all)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "solved", help="the folder")


def solve_main(options: Namespace) -> int:
    """Write the solved notebooks; a solution that is missing or does not fit is a `Fault`."""
    chosen = options.notebooks or _all_notebooks()
    for path in chosen:
        count = solve(path, options.to / path.name)
        print(f"{options.to / path.name}: {count} exercises solved")
    return 0


def handout_add_arguments(parser: ArgumentParser) -> None:
    """The options of `handout`."""
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "handout", help="the folder")
    parser.add_argument("--zip", action="store_true", help="also write it as one zip file")
    parser.add_argument("--presenter", action="store_true", help="keep the cells for instructors")


def handout_main(options: Namespace) -> int:
    """Write the class folder: notebooks without solutions, the package, the data, the README."""
    hand_out(ROOT, options.to, presenter=options.presenter)
    files = [path for path in options.to.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{options.to}: {len(files)} files, {size:.0f} MB")
    if options.zip:
        print(shutil.make_archive(str(options.to), "zip", options.to.parent, options.to.name))
    return 0


# ---- solving --------------------------------------------------------------------------------


def solve(source: Path, target: Path) -> int:
    """Write a notebook with its exercises solved; gives how many there were."""
    notebook = read(source)
    exercises = list(exercise_cells(notebook))
    known = {name for cell in notebook["cells"] for name in imported(cell)}
    for name, cell in exercises:
        code = _solution(source, name)
        solved = solved_cell(text_of(cell), code, name)
        cell["source"] = in_lines(_missing_imports(code, known) + solved)
    write(notebook, target)
    return len(exercises)


def solved_cell(stub: str, solution: str, name: str) -> str:
    """The exercise cell with the solution's body under its own signature and docstring."""
    asked = _function(stub, f"the cell of exercise {name}")
    given = _function(solution, f"the solution of {name}", asked.name)
    if ast.dump(asked.args) != ast.dump(given.args):
        raise Fault(
            f"The solution of {name} is {given.name}({ast.unparse(given.args)}), but the notebook "
            f"asks for {asked.name}({ast.unparse(asked.args)}). Make them the same."
        )
    lines, body = stub.splitlines(), solution.splitlines()
    body = body[_start_of_body(given) : given.end_lineno]
    return "\n".join([*lines[: _start_of_body(asked)], *body, *lines[asked.end_lineno :]])


def imported(cell: Cell) -> list[str]:
    """The names that a code cell imports."""
    if cell["cell_type"] != "code":
        return []
    return [name for one in _imports(text_of(cell)) for name in _bound(one)]


def _missing_imports(solution: str, known: set[str]) -> str:
    """The solution's own imports that the notebook does not make, as lines for the cell's top."""
    lacking = [ast.unparse(one) for one in _imports(solution) if not known >= set(_bound(one))]
    return "".join(f"{line}\n" for line in lacking) + ("\n\n" if lacking else "")


def _imports(code: str) -> list[ast.Import | ast.ImportFrom]:
    return [one for one in ast.parse(code).body if isinstance(one, ast.Import | ast.ImportFrom)]


def _bound(statement: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.asname or alias.name.split(".")[0] for alias in statement.names]


def is_stub(cell: str) -> bool:
    """Whether the one function in the cell has no body but `raise NotImplementedError`."""
    body = _function(cell, "an exercise").body
    rest = body[1:] if _is_text(body[0]) else body
    return len(rest) == 1 and ast.unparse(rest[0]).startswith("raise NotImplementedError")


def _solution(notebook: Path, name: str) -> str:
    folder, pattern = notebook.parent / "solutions", f"{name.replace('.', '_')}_*.py"
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        there = f"there are {len(found)}" if found else "there is none"
        raise Fault(f"Exercise {name} needs one solution, {folder / pattern}, and {there}.")
    return found[0].read_text(encoding="utf-8")


def _function(code: str, place: str, name: str | None = None) -> ast.FunctionDef:
    """The function of that name in the code, or the only one that there is."""
    functions = [one for one in ast.parse(code).body if isinstance(one, ast.FunctionDef)]
    fitting = [one for one in functions if name in (None, one.name)]
    if len(fitting) != 1:
        wanted = f"the function {name}" if name else "exactly one function"
        raise Fault(f"In {place} there must be {wanted}; it has {len(functions)} in all.")
    return fitting[0]


def _start_of_body(function: ast.FunctionDef) -> int:
    """How many lines of the code come before the body, the docstring among them."""
    first = function.body[0]
    if _is_text(first):
        return first.end_lineno or first.lineno
    return first.lineno - 1


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


# ---- handing out ----------------------------------------------------------------------------


def hand_out(root: Path, target: Path, *, presenter: bool = False) -> None:
    """Write the class folder. One that was made before is replaced; anything else is left alone."""
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        _refuse_answers(path)
    _make_room(target)
    ignore = shutil.ignore_patterns(*STAYS_HERE)
    for folder in ("labsupport", "notebooks"):
        shutil.copytree(root / folder, target / folder, ignore=ignore, dirs_exist_ok=True)
    build = shutil.ignore_patterns("build", *STAYS_HERE)
    shutil.copytree(root / "data", target / "data", ignore=build)
    for name in ("README.md", "LICENSE", "pyproject.toml", "environment.yml"):
        if (root / name).is_file():
            shutil.copy2(root / name, target / name)
    for path in notebooks:
        write(for_students(read(path), presenter=presenter), target / "notebooks" / path.name)


def for_students(notebook: Notebook, *, presenter: bool = False) -> Notebook:
    """The notebook without outputs and, unless asked for, without the cells for instructors."""
    kept = copy.deepcopy(notebook)
    kept["cells"] = [one for one in kept["cells"] if presenter or "presenter" not in tags(one)]
    for cell in kept["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return kept


def _refuse_answers(path: Path) -> None:
    for name, cell in exercise_cells(read(path)):
        if not is_stub(text_of(cell)):
            raise Fault(
                f"{path.name} has an answer to exercise {name} in it. Take the notebook back from "
                f"git (git checkout -- notebooks/{path.name}) or save your copy elsewhere."
            )


def _make_room(target: Path) -> None:
    if target.exists():
        if not (target / MARK).is_file() and any(target.iterdir()):
            raise Fault(f"{target} is there and was not made by this command; name another: --to")
        shutil.rmtree(target)
    target.mkdir(parents=True)
    (target / MARK).touch()


# ---- notebooks as JSON ----------------------------------------------------------------------


def _all_notebooks() -> Sequence[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path: Path) -> Notebook:
    """The notebook as JSON; a `Fault` where the file is none."""
    try:
        notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Fault(f"There is no notebook {path}.") from None
    except ValueError as error:
        raise Fault(f"{path} is not a notebook: {error}") from None
    return notebook


def write(notebook: Notebook, path: Path) -> None:
    """The notebook as Jupyter itself writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def tags(cell: Cell) -> list[str]:
    """The tags of a cell."""
    found: list[str] = cell.get("metadata", {}).get("tags", [])
    return found


def text_of(cell: Cell) -> str:
    """The source of a cell as one text."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def in_lines(text: str) -> list[str]:
    """A text as the list of lines that a notebook file keeps."""
    return text.splitlines(keepends=True)


def exercise_cells(notebook: Notebook) -> Iterator[tuple[str, Cell]]:
    """The number ("05.2") and the cell of each exercise."""
    for cell in notebook["cells"]:
        for tag in tags(cell):
            if tag.startswith(TAG):
                yield tag.removeprefix(TAG), cell
