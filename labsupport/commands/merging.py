"""A newer notebook and the one that a student has worked in become one, cell by cell.

A cell is the same in both by its exercise, else by its id, else by its text. Whether the course or
the student has changed it is told by its digest from when it was handed out.
"""

import ast
import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping

from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import TAG, Cell, Notebook, in_lines, tags, text_of
from labsupport.commands.solve import function_in, is_stub

ABOVE = "**Yours, from before an update.** The course has changed this cell; it stands above.\n\n"


def digest(content: bytes) -> str:
    """What tells one content from another: git's own name for it, so that git can be asked too.

    >>> digest(b"")[:7]
    'e69de29'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def digests(notebook: Notebook) -> dict[str, str]:
    """A digest of each cell's text, by its key."""
    return {key(cell): digest(text_of(cell).encode()) for cell in notebook["cells"] if key(cell)}


def key(cell: Cell) -> str:
    """What a cell is known by: "exercise:05.2", else its id; "" for one without either."""
    exercise = next((tag for tag in tags(cell) if tag.startswith(TAG)), "")
    return exercise or str(cell.get("id", ""))


def is_same_lab(new: Notebook, mine: Notebook) -> bool:
    """Whether half of the newer one's cells are in the other one."""
    known = {key(cell) for cell in new["cells"]} - {""}
    return len(known & set(map(key, mine["cells"]))) * 2 > len(known)


def merged(new: Notebook, mine: Notebook, handed: Mapping[str, str]) -> tuple[Notebook, str]:
    """The newer notebook with the student's answers, cells and outputs in it, and what was kept.

    A cell that both have changed is the course's; the student's stands below it, as text.
    """
    fitting = _fitting(new, mine)
    own = _own_cells(mine, list(fitting.values()), handed)
    cells, counts = list(own.get(None, [])), Counter[str]()
    for cell in new["cells"]:
        other = fitting.get(id(cell))
        if other is None:
            cells.append(cell)
        else:
            cells += _joined(cell, other, handed.get(key(cell)), counts)
            cells += own.get(id(other), [])
    counts["own cells"] += sum(map(len, own.values()))
    _name(cells)
    words = [f"{word}: {count}" for word, count in counts.items() if count]
    return {**new, "cells": cells}, ", ".join(words) or "outputs alone"


def _fitting(new: Notebook, mine: Notebook) -> dict[int, Cell]:
    """The student's cell for each of the newer ones that they have, by the identity of that one."""
    fitting: dict[int, Cell] = {}
    left = list(mine["cells"])
    for name in (lambda cell: cell.get("id"), key, text_of):
        for cell in new["cells"]:
            alike = [one for one in left if name(one) and name(one) == name(cell)]
            if alike and id(cell) not in fitting:
                fitting[id(cell)] = min(alike, key=_is_unsolved)
                left = [one for one in left if one is not fitting[id(cell)]]
    return fitting


def _own_cells(
    mine: Notebook, known: list[Cell], handed: Mapping[str, str]
) -> dict[int | None, list[Cell]]:
    """The cells of the student's own, by the identity of the course's cell that they follow.

    What the course has taken out is the student's own where they have changed it.
    """
    own: dict[int | None, list[Cell]] = {}
    before = None
    for cell in mine["cells"]:
        if any(cell is one for one in known):
            before = id(cell)
        elif handed.get(key(cell)) != digest(text_of(cell).encode()):
            own.setdefault(before, []).append(cell)
    return own


def _joined(new: Cell, mine: Cell, was: str | None, counts: Counter[str]) -> list[Cell]:
    """The cell that stands for both, and below it the student's where only one of them could."""
    ours, theirs = text_of(new), text_of(mine)
    exercise = key(new).startswith(TAG)
    same = {**mine, "metadata": new["metadata"], "id": new["id"]}
    if theirs == ours:
        return [same]
    if digest(theirs.encode()) == was or (exercise and _is_unsolved(mine)):
        return [new]
    if digest(ours.encode()) == was or (exercise and _ask_alike(ours, theirs)):
        counts["answers" if exercise else "changed cells"] += 1
        return [same]
    counts["answers below the changed exercise" if exercise else "cells below the newer ones"] += 1
    text = f"````python\n{theirs}\n````" if mine["cell_type"] == "code" else theirs
    below = {"cell_type": "markdown", "id": "", "metadata": {}, "source": in_lines(ABOVE + text)}
    if "attachments" in mine:
        below["attachments"] = mine["attachments"]
    return [new, below]


def _is_unsolved(cell: Cell) -> bool:
    """Whether an exercise's cell is still as empty as it was handed out."""
    try:
        return is_stub(text_of(cell))
    except (Fault, SyntaxError):
        return False


def _ask_alike(one: str, other: str) -> bool:
    """Whether both are one function of the same name with the same arguments."""
    try:
        functions = [function_in(code, "an exercise") for code in (one, other)]
    except (Fault, SyntaxError):
        return False
    asked = {(function.name, ast.dump(function.args)) for function in functions}
    return len(asked) == 1


def _name(cells: list[Cell]) -> None:
    """Give each cell an id that no other one has."""
    seen: set[str] = set()
    for cell in cells:
        free = itertools.chain([cell.get("id")], (f"own-{number}" for number in itertools.count()))
        cell["id"] = next(name for name in free if name and name not in seen)
        seen.add(cell["id"])
