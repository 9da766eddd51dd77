"""`solve`: the notebooks with all exercises solved.

The solutions are plain files, `solutions/05_2_<word>.py` beside the notebooks.
"""

import ast
from argparse import ArgumentParser, Namespace
from pathlib import Path

from labsupport.commands import notebooks
from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import Cell, exercise_cells, text_of
from labsupport.commands.requirements import ROOT


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `solve`."""
    parser.add_argument("labs", nargs="*", help="numbers or names, as 05 (default: all)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "solved", help="the folder")


def main(options: Namespace) -> int:
    """Write the solved notebooks; a solution that is missing or does not fit is a `Fault`."""
    if not (notebooks.FOLDER / "solutions").is_dir():
        raise Fault(
            "The solutions are not in this folder; your instructor has them. In a lab, check says "
            "what is wrong with an answer, and hint helps one step at a time."
        )
    for path in notebooks.chosen(options.labs):
        count = solve(path, options.to / path.name)
        print(f"{options.to / path.name}: {count} exercises solved")
    return 0


def solve(source: Path, target: Path) -> int:
    """Write a notebook with its exercises solved; gives how many there were."""
    notebook = notebooks.read(source)
    exercises = list(exercise_cells(notebook))
    known = {name for cell in notebook["cells"] for name in imported(cell)}
    for name, cell in exercises:
        code = _solution(source, name)
        solved = solved_cell(text_of(cell), code, name)
        cell["source"] = notebooks.in_lines(_missing_imports(code, known) + solved)
    notebooks.write(notebook, target)
    return len(exercises)


def solved_cell(stub: str, solution: str, name: str) -> str:
    """The exercise cell with the solution's body under its own signature and docstring."""
    asked = function_in(stub, f"the cell of exercise {name}")
    given = function_in(solution, f"the solution of {name}", asked.name)
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
    body = function_in(cell, "an exercise").body
    rest = body[1:] if _is_text(body[0]) else body
    return len(rest) == 1 and ast.unparse(rest[0]).startswith("raise NotImplementedError")


def function_asked_for(stub: str, exercise: str) -> str:
    """The name of the function that an exercise's cell asks for."""
    return function_in(stub, f"the cell of exercise {exercise}").name


def _solution(notebook: Path, name: str) -> str:
    folder, pattern = notebook.parent / "solutions", f"{name.replace('.', '_')}_*.py"
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        there = f"there are {len(files)}" if files else "there is none"
        raise Fault(f"Exercise {name} needs one solution, {folder / pattern}, and {there}.")
    return files[0].read_text(encoding="utf-8")


def function_in(code: str, place: str, name: str | None = None) -> ast.FunctionDef:
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
