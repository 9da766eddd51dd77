"""Notebooks as the JSON that they are; nothing but the standard library is needed."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labsupport.commands.faults import Fault
from labsupport.commands.requirements import INSTALLED, PACKAGE, ROOT

Notebook = dict[str, Any]
Cell = dict[str, Any]
FOLDER = (PACKAGE if INSTALLED else ROOT) / "notebooks"
TAG = "exercise:"


def chosen(labs: Sequence[str], folder: Path = FOLDER) -> list[Path]:
    """The notebooks of those labs, or all, in the lecture's order; an unknown one is a `Fault`.

    A lab is its number, its name, or the path of a notebook.
    """
    there = sorted(folder.glob("*.ipynb"))
    return sorted({_named(lab, there) for lab in labs}) or there


def _named(lab: str, there: Sequence[Path]) -> Path:
    if Path(lab).suffix == ".ipynb" and Path(lab).is_file():
        return Path(lab)
    name = Path(lab).stem
    name = name.zfill(2) if name.isdigit() else name
    fitting = [path for path in there if path.stem == name or path.stem.split("_")[0] == name]
    if len(fitting) != 1:
        known = ", ".join(path.stem for path in there) or "none"
        raise Fault(f"There is no lab '{lab}'. There is: {known}")
    return fitting[0]


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
    path.write_bytes(written(notebook))


def written(notebook: Notebook) -> bytes:
    """The content of a notebook's file."""
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def tags(cell: Cell) -> list[str]:
    """The tags of a cell."""
    names: list[str] = cell.get("metadata", {}).get("tags", [])
    return names


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
