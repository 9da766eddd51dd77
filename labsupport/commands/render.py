"""`render`: the labs as pages to read, executed, with their pictures, without a connection.

A page is one HTML file that asks for nothing else: pictures are in it, formulas are MathML, which
browsers draw themselves. A panel needs a kernel, so the page shows its picture as the notebook left
it.
"""

import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from labsupport.commands import environment, interpreters
from labsupport.commands.faults import Fault
from labsupport.commands.handout import for_students
from labsupport.commands.notebooks import FOLDER, Notebook, chosen, read, text_of, write
from labsupport.commands.requirements import ROOT
from labsupport.commands.solve import solve

LONGEST_CELL = 600  # seconds


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `render`."""
    parser.add_argument("labs", nargs="*", help="numbers or names, as 05 (default: all)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "pages", help="the folder")
    parser.add_argument("--solved", action="store_true", help="with every exercise solved")
    parser.add_argument("--presenter", action="store_true", help="keep the cells for instructors")


def main(options: Namespace) -> int:
    """Execute the labs and write a page for each, and one that lists them."""
    labs = chosen(options.labs)
    python = environment.ready("instructor")
    return interpreters.in_interpreter(python, partial(make, labs, options))


def make(labs: Sequence[Path], options: Namespace) -> int:
    """Write the pages, telling the time that each took."""
    from labsupport.commands import pages

    options.to.mkdir(parents=True, exist_ok=True)
    texts = {path.stem: text_alone(path) for path in sorted(FOLDER.glob("*.md"))}
    titles = {path.stem: title(read(path)) for path in labs}
    titles |= {name: title(notebook) for name, notebook in texts.items()}
    for path in labs:
        start = time.perf_counter()
        notebook = prepared(path, solved=options.solved, presenter=options.presenter)
        page = pages.page(executed(notebook, path), path.stem, titles)
        (options.to / f"{path.stem}.html").write_text(page, encoding="utf-8")
        seconds, size = time.perf_counter() - start, len(page) / 1e6
        print(f"{path.stem}.html: {size:.1f} MB, {seconds:.0f} s", flush=True)
    for name, notebook in texts.items():
        page = pages.page(notebook, name, titles)
        (options.to / f"{name}.html").write_text(page, encoding="utf-8")
    (options.to / "index.html").write_text(pages.index(titles), encoding="utf-8")
    print(f"Open {options.to / 'index.html'} in a browser.")
    return 0


def text_alone(path: Path) -> Notebook:
    """A text that lies beside the notebooks, such as the glossary, as a notebook of one cell."""
    cell = {
        "cell_type": "markdown",
        "id": path.stem,
        "metadata": {},
        "source": path.read_text("utf-8"),
    }
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def title(notebook: Notebook) -> str:
    """The first heading.

    >>> title({"cells": [{"cell_type": "markdown", "source": "# A lab\\nIts words."}]})
    'A lab'
    """
    return text_of(notebook["cells"][0]).splitlines()[0].lstrip("# ")


def prepared(path: Path, *, solved: bool, presenter: bool) -> Notebook:
    """The notebook as it is to be executed."""
    if not solved:
        return for_students(read(path), presenter=presenter)
    with tempfile.TemporaryDirectory() as folder:
        solve(path, Path(folder) / path.name)
        return for_students(read(Path(folder) / path.name), presenter=presenter)


def executed(notebook: Notebook, path: Path) -> Notebook:
    """The notebook with its outputs, from a fresh kernel in the notebooks' folder.

    What the reader has ticked off so far plays no part: the kernel's state lies elsewhere.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        write(notebook, copy)
        cells = nbformat.read(copy, as_version=4)  # type: ignore[no-untyped-call]
        place = {"metadata": {"path": str(path.parent)}}
        around = interpreters.environment_variables(LABS_STATE=str(Path(folder) / "state"))
        client = NotebookClient(
            cells, timeout=LONGEST_CELL, resources=place, extra_arguments=["--log-level=ERROR"]
        )
        try:
            client.execute(env=around, cwd=str(path.parent))
        except CellExecutionError as error:
            raise Fault(f"{path.name} does not run to its end: {error}") from None
    done: Notebook = cells
    return done
