"""`handout`: the folder that an instructor gives to a class, without solutions."""

import copy
import re
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import (
    Notebook,
    chosen,
    exercise_cells,
    in_lines,
    read,
    tags,
    text_of,
    write,
)
from labsupport.commands.requirements import ROOT
from labsupport.commands.solve import is_stub

MARK = ".made-by-handout"
STAYS_HERE = ("solutions", "pictures", "__pycache__", ".ipynb_checkpoints", "*.pyc")
LINK = re.compile(r"\[([^\]]+)\]\((\d\d_\w+)\.ipynb[^)]*\)")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `handout`."""
    parser.add_argument("labs", nargs="*", help="numbers or names, as 05 (default: all)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "handout", help="the folder")
    parser.add_argument("--zip", action="store_true", help="also write it as one zip file")
    parser.add_argument("--presenter", action="store_true", help="keep the cells for instructors")


def main(options: Namespace) -> int:
    """Write the class folder: notebooks without solutions, the package, the data, the README."""
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
    notebooks = chosen(labs, root / "notebooks")
    for path in notebooks:
        _refuse_answers(path)
    _make_room(target)
    ignore = shutil.ignore_patterns(*STAYS_HERE)
    shutil.copytree(root / "labsupport", target / "labsupport", ignore=ignore)
    build = shutil.ignore_patterns("build", *STAYS_HERE)
    shutil.copytree(root / "data", target / "data", ignore=build)
    for name in ("README.md", "LICENSE", "pyproject.toml", "constraints.txt", "environment.yml"):
        if (root / name).is_file():
            shutil.copy2(root / name, target / name)
    (target / "notebooks").mkdir()
    for path in (root / "notebooks").glob("*.md"):
        shutil.copy2(path, target / "notebooks" / path.name)
    for path in notebooks:
        handed = for_students(read(path), presenter=presenter)
        write(without_links(handed, notebooks), target / "notebooks" / path.name)


def without_links(notebook: Notebook, there: Sequence[Path]) -> Notebook:
    """The notebook with links to labs that are not there turned into their words."""
    names = [path.stem for path in there]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = LINK.sub(lambda one: one[0] if one[2] in names else one[1], text_of(cell))
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
