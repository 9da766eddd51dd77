"""Which cells of a notebook depend on its exercises, and what these cells need.

Told by names: what each statement reads, what it binds, whose objects it changes.
"""

import ast
from collections.abc import Iterator, Sequence

from labsupport.commands.notebooks import Cell, tags, text_of

_INNER = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def dependent(cells: Sequence[Cell]) -> list[Cell]:
    """The exercises' cells, all that use their functions or what came of them, and what they need.

    `cells` are a notebook's code cells. The card of the student's progress is asked for as well.
    """
    trees = [ast.parse(text_of(cell)) for cell in cells]
    packages = {name for tree in trees for node in ast.walk(tree) for name in _imported(node)}
    wanted = _after_exercises(cells, trees, packages)
    wanted |= {place for place, tree in enumerate(trees) if "progress" in read(tree)}
    waiting = set(wanted)
    while waiting:
        more = _needed_by(waiting.pop(), trees, packages) - wanted
        wanted, waiting = wanted | more, waiting | more
    return [cells[place] for place in sorted(wanted)]


def _after_exercises(
    cells: Sequence[Cell], trees: Sequence[ast.Module], packages: set[str]
) -> set[int]:
    """The places of the exercises, and of statements that read what came of an exercise."""
    found, came_of_them = set[int](), set[str]()
    for place, (cell, tree) in enumerate(zip(cells, trees, strict=True)):
        is_exercise = any(tag.startswith("exercise:") for tag in tags(cell))
        for statement in tree.body:
            if is_exercise or read(statement) & came_of_them:
                found.add(place)
                came_of_them |= bound(statement) | changed(statement, packages)
            else:
                came_of_them -= bound(statement)
    return found


def _needed_by(place: int, trees: Sequence[ast.Module], packages: set[str]) -> set[int]:
    """The places before this one where what it reads is bound, and changed since."""
    found = set()
    for name in read(trees[place]):
        for before in reversed(range(place)):
            if name in changed(trees[before], packages):
                found.add(before)
            if name in bound(trees[before]):
                found.add(before)
                break
    return found


def read(tree: ast.AST) -> set[str]:
    """The names that the code reads, those in its functions among them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.AugAssign):
            found.add(_root(node.target))
    return found


def bound(tree: ast.AST) -> set[str]:
    """The names that the code gives a value to, outside of its functions."""
    found = set()
    for node in _outside(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        found |= _imported(node)
    return found


def changed(tree: ast.AST, packages: set[str]) -> set[str]:
    """The names whose objects it changes: `x[i] = 1`, `x.a = 1`, `x.run()`, `torch.manual_seed(1)`.

    Other functions of a package leave it as it is.
    """
    found = set()
    for node in _outside(tree):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(_root(node))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            method = node.value.func
            if isinstance(method, ast.Attribute):
                name = _root(method)
                found |= {name} if name not in packages or "seed" in method.attr else set()
    return found


def _imported(node: ast.AST) -> set[str]:
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return set()
    return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}


def _root(node: ast.AST) -> str:
    """The name before the first dot, bracket or call; "" where there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _outside(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those inside of functions, classes and comprehensions."""
    yield tree
    if not isinstance(tree, (*_INNER, *_COMPREHENSIONS)):
        for child in ast.iter_child_nodes(tree):
            yield from _outside(child)
