"""The shape of the package: what loads what, how long functions are, what things are called."""

import ast
import functools
import graphlib
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "labsupport"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
BADLY_NAMED = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "v2"}
TOO_VAGUE = {"process", "run"}  # for a file, or for a function or class on its own

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines of the body, the docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def loaded_by(statement: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after the statement."""
    question = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    words = [sys.executable, "-c", f"{statement}\n{question}"]
    reply = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(reply.stdout.splitlines()[-1].split())


LIGHT = ("__main__", "commands.doctor", "commands.environment", "core", "labs", "ui")


def test_what_has_to_be_light_loads_nothing_heavy():
    statement = "import " + ", ".join(f"labsupport.{name}" for name in LIGHT)
    heavy = {"torch", "torchvision", "numpy", "matplotlib", "ipywidgets", "jupyterlab", "PIL"}
    assert loaded_by(statement) & {*heavy, "IPython"} == set()


@pytest.mark.slow
def test_computing_loads_nothing_that_draws_widgets():
    loaded = loaded_by("import labsupport.core.network, labsupport.methods.occlusion")
    assert loaded & {"matplotlib", "ipywidgets", "IPython", "captum"} == set()
    assert {"torch", "numpy"} <= loaded


def long_functions(_: Path, tree: ast.Module) -> Iterator[str]:
    for function in functions(tree):
        place = f"line {function.lineno}: {function.name}"
        if length(function) >= 40:
            yield f"{place} has {length(function)} lines"
        arguments = function.args
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = len([name for name in names if name.arg not in ("self", "cls")])
        if count > 8:
            yield f"{place} takes {count} parameters"


def empty_names(path: Path, tree: ast.Module) -> Iterator[str]:
    if set(path.stem.split("_")) & (BADLY_NAMED | TOO_VAGUE):
        yield "the file's name"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            words = set(node.name.lower().strip("_").split("_"))
            alone = node in tree.body and node.name.lower() in TOO_VAGUE
            if words & BADLY_NAMED or alone:
                yield f"line {node.lineno}: {node.name}"


def no_docstring(_: Path, tree: ast.Module) -> Iterator[str]:
    if not ast.get_docstring(tree):
        yield "says not what it is for"


def asserts(_: Path, tree: ast.Module) -> Iterator[str]:
    lines = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    if lines:
        yield f"asserts, and does not raise, in the lines {lines}"


LONG = "def f():\n" + "    a = 1\n" * 40
# each rule, and what it must find fault with
RULES = {
    long_functions: [LONG, "def f(self, a, b, c, d, e, f, g, *, h, i): ..."],
    empty_names: ["def helper_of(): ...", "def run(): ...", "class A:\n    def _utils(self): ..."],
    no_docstring: ["a = 1"],
    asserts: ["def f(a):\n    assert a"],
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_of_the_package_keeps_the_rules(rule):
    faults = [f"{name_of(path)}: {words}" for path in FILES for words in rule(path, tree_of(path))]
    assert faults == []


@pytest.mark.parametrize(
    ("rule", "source"), [(rule, source) for rule, sources in RULES.items() for source in sources]
)
def test_each_rule_finds_fault(rule, source):
    assert list(rule(Path("a.py"), ast.parse(source)))


def test_a_file_needs_a_name_that_says_what_it_is():
    assert list(empty_names(Path("image_utils.py"), ast.parse("")))
    assert not list(empty_names(Path("images.py"), ast.parse("class A:\n    def run(self): ...")))


def test_the_median_function_is_under_twelve_lines():
    lengths = [length(function) for path in FILES for function in functions(tree_of(path))]
    assert statistics.median(lengths) < 12


def test_tests_mirror_the_package():
    for folder in ("core", "methods", "ui", "labs", "commands"):
        if any((PACKAGE / folder).glob("[!_]*.py")):
            assert any((ROOT / "tests" / folder).glob("test_*.py")), f"tests/{folder}"


def test_conda_installs_what_pyproject_lists():
    """environment.yml names no package of its own: Python, pip, and this project."""
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    items = [line.strip()[2:].strip() for line in lines if line.strip().startswith("- ")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert items == ["conda-forge", f"python{project['requires-python']}", "pip", "pip:", "-e ."]
    assert f"name: {project['name']}" in lines


# What loads what. The contracts of pyproject.toml see `import` statements; here what is loaded by a
# name in a string counts as well.

BY_NAME = "import_module"


def floors() -> list[set[str]]:
    """The floors of the house, the highest first, as the import contract has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = [c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    return [
        {part.strip("() ").removeprefix("labsupport.") for part in layer.split("|")}
        for layer in layers["layers"]
    ]


def named_in(module: str, source: str, modules: set[str]) -> set[str]:
    """The package's modules that a file loads by their name: each string that is one, and for
    a name put together from a beginning ("labsupport.methods.", `__name__`) all that it may be."""
    if BY_NAME not in source:
        return set()
    named = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in modules:
            named.add(node.value)
        if isinstance(node, ast.JoinedStr):
            start = ast.unparse(node)[2:-1].replace("{__name__}", module).partition("{")[0]
            named |= {one for one in modules if one.rpartition(".")[0] + "." == start}
    return named


@functools.cache
def imports() -> dict[str, set[str]]:
    """For each module of the package those that it imports, by a statement or by name."""
    graph = grimp.build_graph("labsupport", cache_dir=None, exclude_type_checking_imports=False)
    result = {}
    for module in graph.modules:
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        if not path.exists():  # a package; an empty folder may stay where one has become a module
            path = path.with_suffix("") / "__init__.py"
        by_name = named_in(module, path.read_text(encoding="utf-8"), graph.modules)
        result[module] = graph.find_modules_directly_imported_by(module) | by_name
    return result


def rising(imported: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The imports that point from a floor to a higher one."""
    height = {part: -number for number, floor in enumerate(floors()) for part in floor}

    def of(module: str) -> int | None:
        return height.get(module.split(".")[1]) if "." in module else None

    return {
        (module, other)
        for module, others in imported.items()
        for other in others
        if of(module) is not None and of(other) is not None and of(other) > of(module)
    }


def test_no_import_points_upwards_not_even_by_name():
    assert rising(imports()) == set()


def test_no_modules_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(imports()).prepare()  # raises CycleError with the circle's modules


def test_imports_by_name_are_seen():
    """The lazy tables count as imports of what they name, or both tests above see nothing."""
    expected = {
        "labsupport.door": {"labsupport.core.images", "labsupport.methods.codes"},
        "labsupport.labs": {"labsupport.labs.lab05_occlusion", "labsupport.labs.checks"},
        "labsupport.ui": {"labsupport.ui.panel"},
        "labsupport.commands": {"labsupport.commands.doctor"},
    }
    for module, others in expected.items():
        assert others <= imports()[module], module
    lazy = "from importlib import import_module\nimport_module('labsupport.labs')"
    upwards = {"labsupport.core.errors": named_in("", lazy, {"labsupport.labs"})}
    assert rising(upwards) == {("labsupport.core.errors", "labsupport.labs")}


def test_the_import_contracts_name_parts_that_are_there():
    parts = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert set().union(*floors()) == parts | {"__main__"}


def test_the_readme_names_only_what_is_there():
    """Every path in code style exists, and every command that it tells to type."""
    from labsupport.commands import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"`([\w./]+/[\w./]*)`", text)
    named = [word for word in told if "NN" not in word and "word" not in word]
    assert len(named) > 8
    assert [path for path in named if not (ROOT / path).exists()] == []
    commands = set(re.findall(r"python3 -m labsupport (\w+)", text))
    assert commands <= set(COMMANDS)
    assert {"lab", "test", "doctor"} <= commands
