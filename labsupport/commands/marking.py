"""One submission, marked in a process of its own: `python -m labsupport.commands.marking`.

The task comes as JSON on standard input; a line of JSON goes back for each exercise. Whoever gave
the task stops this process when an exercise takes too long or too much memory.
"""

import ast
import json
import linecache
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)
DEFINITIONS = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
GUARDED = ("builtins", "math", "copy", "inspect", "torch", "torch.functional", "numpy")
KEPT = type | types.FunctionType | types.BuiltinFunctionType
LONGEST = 1500  # characters of a message

Row = dict[str, str]


def main() -> None:
    """Mark what standard input asks for."""
    from labsupport.commands.fences import enclose

    answers, task = _private_output(), json.load(sys.stdin)
    tell = _teller(answers, task["token"])
    notebook = types.ModuleType("__main__")
    sys.modules["__main__"] = notebook
    space = vars(notebook)
    _run(task["setup"], "the lab's setup cell", space)
    _warm_up()
    whole = seal()
    enclose(Path(task["folder"]))
    for code in task["others"]:
        _define(code, space)
    for exercise in task["exercises"]:
        tell({"exercise": exercise["id"], "state": "begun"})
        row = marked(exercise, space)
        replaced = broken_seal(whole)
        if replaced:
            words = f"It replaces `{replaced}`, which the check itself uses: not judged."
            row = {"state": "wrong", "message": words}
        tell({"exercise": exercise["id"], **row})
        if replaced:
            os._exit(0)


def marked(exercise: dict[str, str], space: dict[str, Any]) -> Row:
    """The state of one answer and what there is to say of it."""
    from labsupport.labs import exercises
    from labsupport.ui.checking import judge

    if not exercise["code"]:
        return {"state": "unsolved", "message": "There is no cell for it."}
    try:
        _run(exercise["code"], f"the cell of {exercise['id']}", space)
    except BaseException as error:  # `exit()` and Ctrl-C's kind, too
        return {"state": "crashed", "message": f"{type(error).__name__}: {error}"[:LONGEST]}
    function = space.get(exercise["function"])
    if function is None:
        words = f"Its cell defines no `{exercise['function']}`."
        return {"state": "wrong", "message": words}
    verdict = judge(exercises.find(exercise["id"]), function)
    states = {"right": "right", "not done": "unsolved", "wrong": "wrong"}
    facts = [f"{term}: {text}" for term, text, _ in verdict.facts]
    message = "\n".join([verdict.message, *facts])[:LONGEST]
    slow = verdict.headline.startswith("It gave no answer within")
    return {"state": "too slow" if slow else states[verdict.state], "message": message}


def _private_output() -> TextIO:
    """Where the answers go; what the submission prints goes nowhere."""
    own = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return os.fdopen(own, "w", encoding="utf-8")


def _teller(answers: TextIO, token: str) -> Callable[[Row], None]:
    def tell(row: Row) -> None:
        answers.write(json.dumps({"token": token, **row}) + "\n")
        answers.flush()

    return tell


def _warm_up() -> None:
    """Import what judging needs while it can still be imported undisturbed."""
    from labsupport.labs import exercises
    from labsupport.ui.checking import judge

    first = exercises.all_exercises()[0]
    judge(first, first.reference)


def _run(code: str, place: str, space: dict[str, Any]) -> None:
    """Execute a cell; its lines can be cited in messages."""
    code = MAGIC.sub(r"\1pass", code)
    linecache.cache[place] = (len(code), None, code.splitlines(keepends=True), place)
    exec(compile(code, place, "exec"), space)


def _define(code: str, space: dict[str, Any]) -> None:
    """Of another cell, the imports, functions and classes alone; one that fails is left out."""
    try:
        body = ast.parse(MAGIC.sub(r"\1pass", code)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for one in body:
        if isinstance(one, DEFINITIONS):
            try:
                _run(ast.unparse(one), "a cell of one's own", space)
            except Exception:
                continue


# What the check stands on, before and after


Seal = dict[tuple[str, str], tuple[Any, Any]]


def seal() -> Seal:
    """The functions and classes that a verdict rests on, each with its code, as they are now."""
    return {
        (home, name): (value, getattr(value, "__code__", None))
        for home, name, value in _rested_on()
    }


def broken_seal(before: Seal) -> str:
    """The first of them that is another one now, as "torch.allclose"; empty if all are the same."""
    now = seal()
    for place, (value, code) in before.items():
        own, its_code = now.get(place, (None, None))
        if own is not value or its_code is not code:
            return ".".join(place)
    return ""


def _rested_on() -> Iterator[tuple[str, str, Any]]:
    for home, module in list(sys.modules.items()):
        if home in GUARDED or home.split(".")[0] == "labsupport":
            for name, value in list(vars(module).items()):
                if isinstance(value, KEPT):
                    yield home, name, value
                if isinstance(value, type) and value.__module__ == home:
                    methods = ((part, one) for part, one in list(vars(value).items()))
                    yield from ((home, f"{name}.{part}", one) for part, one in methods)


if __name__ == "__main__":
    main()
