"""`handout`: the folder that an instructor gives to a class, without solutions.

It holds what the chosen labs need and no more. Of the package that is `core`, `methods` and `ui`,
with which students work on networks of their own, and those labs and commands that the class has.
"""

import ast
import copy
import re
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import (
    Notebook,
    chosen,
    in_lines,
    read,
    tags,
    text_of,
    write,
)
from labsupport.commands.requirements import ROOT
from labsupport.commands.update import MARK, Handed, refuse_answers

AT_THE_ROOT = ("LICENSE", "pyproject.toml", "setup.py", "constraints.txt", "environment.yml")
LEFTOVERS = shutil.ignore_patterns("pictures", "__pycache__", ".ipynb_checkpoints", "*.pyc")
# What a class has of `commands` and `labs`, whichever its labs are, with what these import.
STUDENTS = """
from labsupport.commands import doctor, gates, lab, solve, update
from labsupport.labs import checks
"""
# Data that single labs show without a wait. All other folders stand in menus of many labs.
FINISHED = ("maps", "reconstruction", "optimized", "dreams", "style")
README_ALONE = "gallery"
LAB_LINK = re.compile(r"\[([^\]]+)\]\((\d\d_\w+)\.ipynb[^)]*\)")
FILE_LINK = re.compile(r"\]\((?:notebooks/)?([\w./-]+\.(?:md|svg|png))\b")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `handout`."""
    parser.add_argument("labs", nargs="*", help="numbers or names, as 05 (default: all)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "handout", help="the folder")
    parser.add_argument("--zip", action="store_true", help="also write it as one zip file")
    parser.add_argument("--presenter", action="store_true", help="keep the cells for instructors")


def main(options: Namespace) -> int:
    """Write the class folder: a README, notebooks without solutions, the package, the data."""
    hand_out(ROOT, options.to, options.labs, presenter=options.presenter)
    files = [path for path in options.to.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{options.to}: {len(files)} files, {size:.0f} MB")
    if options.zip:
        print(shutil.make_archive(str(options.to), "zip", options.to.parent, options.to.name))
    return 0


def hand_out(
    root: Path, target: Path, labs: Sequence[str] = (), *, presenter: bool = False
) -> None:
    """Write the class folder. One that was made before is replaced; anything else is left alone."""
    paths = chosen(labs, root / "notebooks")
    for path in paths:
        refuse_answers(path)
    _make_room(target)
    for path in paths:
        handed = without_links(for_students(read(path), presenter=presenter), paths)
        write(handed, target / "notebooks" / path.name)
    _copy_package(root / "labsupport", target / "labsupport", target / "notebooks")
    _copy_data(root / "data", target)
    for name in AT_THE_ROOT:
        if (root / name).is_file():
            shutil.copy2(root / name, target / name)
    (target / "README.md").write_text(readme(target / "notebooks"), encoding="utf-8")
    _copy_linked(root / "notebooks", target)
    Handed.now(target).write(target)


def readme(folder: Path) -> str:
    """The README for the class: the text beside this module, with the labs that are there."""
    rows = []
    for path in chosen([], folder):
        title, *_ = lines = text_of(read(path)["cells"][0]).splitlines()
        minutes = next((line.split("**Time:**")[1] for line in lines if "**Time:**" in line), "")
        rows.append(f"| [{title.lstrip('# ')}](notebooks/{path.name}) | {minutes.strip(' ·')} |")
    text = (Path(__file__).parent / "handout.md").read_text(encoding="utf-8")
    return text.replace("{labs}", "\n".join(rows))


def _copy_package(package: Path, target: Path, notebooks: Path) -> None:
    """The package without the labs, exercises and commands that nothing handed out leads to."""
    paths = chosen([], notebooks)
    needed = led_to(package, [STUDENTS, *map(code, paths)])
    numbers = tuple(f"lab{path.name[:2]}_" for path in paths)

    def left_out(folder: str, names: list[str]) -> set[str]:
        others = LEFTOVERS(folder, names)
        if Path(folder).parent == package and Path(folder).name in ("commands", "labs"):
            others |= {name for name in names if Path(folder, name) not in needed}
        if Path(folder).name == "exercises":
            others |= {one for one in names if one[:3] == "lab" and not one.startswith(numbers)}
        return others - {"__init__.py"}

    shutil.copytree(package, target, ignore=left_out)


def code(path: Path) -> str:
    """All code of a notebook, or of the modules at the path, as one text."""
    if path.suffix == ".ipynb":
        cells = [one for one in read(path)["cells"] if one["cell_type"] == "code"]
        return "\n".join(map(text_of, cells))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def led_to(package: Path, codes: Iterable[str]) -> set[Path]:
    """The modules of `commands` and `labs` that these codes import, and what those import.

    A notebook says `lab05` for the module `lab05_occlusion`.
    """
    found: set[Path] = set()
    todo = list(codes)
    while todo:
        for name in _imported(todo.pop()):
            _, folder, module = [*name.split("."), "", ""][:3]
            there = set(package.glob(f"{folder}/*")) if folder in ("commands", "labs") else set()
            new = {one for one in there if re.fullmatch(rf"{module}(_\w+)?", one.stem)} - found
            found |= new
            todo += map(code, new)
    return found


def _imported(text: str) -> set[str]:
    """The names of all modules that the code may import."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("labsupport.")}


def _copy_data(data: Path, target: Path) -> None:
    """The data, but for what only the labs that are not there show; lists and README say so."""
    codes = "".join(map(code, [*target.glob("notebooks/*.ipynb"), target / "labsupport" / "labs"]))
    absent = {name for name in FINISHED if f"{name}/" not in codes} | {README_ALONE}

    def left_out(folder: str, names: list[str]) -> set[str]:
        return LEFTOVERS(folder, names) | (absent if Path(folder) == data else set())

    shutil.copytree(data, target / "data", ignore=left_out)
    for name, form in (("SHA256SUMS", r"\w+  {}/.*\n"), ("README.md", r"\| `{}/.*\n")):
        path = target / "data" / name
        if path.is_file():
            lines = form.format(f"(?:{'|'.join(absent)})")
            path.write_text(re.sub(lines, "", path.read_text("utf-8")), encoding="utf-8")


def _copy_linked(notebooks: Path, target: Path) -> None:
    """The texts and drawings beside the notebooks that the README and the labs lead to."""
    todo = [target / "README.md", *target.glob("notebooks/*.ipynb")]
    while todo:
        path = todo.pop()
        text = path.read_text(encoding="utf-8") if path.suffix in (".md", ".ipynb") else ""
        for name in FILE_LINK.findall(text):
            copy_of, original = target / "notebooks" / name, notebooks / name
            if original.is_file() and not copy_of.exists():
                copy_of.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(original, copy_of)
                todo.append(copy_of)


def without_links(notebook: Notebook, there: Sequence[Path]) -> Notebook:
    """The notebook with links to labs that are not there turned into their words."""
    names = [path.stem for path in there]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = LAB_LINK.sub(lambda one: one[0] if one[2] in names else one[1], text_of(cell))
            cell["source"] = in_lines(text)
    return notebook


def for_students(notebook: Notebook, *, presenter: bool = False) -> Notebook:
    """The notebook without outputs and, unless asked for, without the cells for instructors."""
    kept = copy.deepcopy(notebook)
    kept["cells"] = [one for one in kept["cells"] if presenter or "presenter" not in tags(one)]
    for cell in kept["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return kept


def _make_room(target: Path) -> None:
    if target.exists():
        if not (target / MARK).is_file() and any(target.iterdir()):
            raise Fault(f"{target} is there and was not made by this command; name another: --to")
        shutil.rmtree(target)
    target.mkdir(parents=True)
    (target / MARK).touch()
