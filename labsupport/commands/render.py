"""`render`: the labs as pages to read, executed, with their pictures, without a connection.

A page is one HTML file that asks for nothing else: pictures are in it, formulas are MathML, which
browsers draw themselves. Its panels answer without a kernel: what they show at many settings is
stored in it, and a script of ours shows it again.
"""

import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from labsupport.commands import environment, interpreters
from labsupport.commands.faults import Fault
from labsupport.commands.handout import for_students
from labsupport.commands.notebooks import FOLDER, Notebook, chosen, read, text_of, write
from labsupport.commands.requirements import ROOT
from labsupport.commands.solve import solve

LONGEST_CELL = 600  # seconds
TOGETHER = 2  # notebooks that are executed at once: each needs a gigabyte or two
PAGE_SECONDS = 80.0  # of a processor, for the states of a page's panels together
PAGE_BYTES = 7e6  # that a page's pictures may take; what is in its cells counts
LEAST_BYTES = 1e6  # for the panels of a page whose cells need more than that
LEAST_SHARE = 0.5  # of its part that a panel gets, whatever those before it have used
RECORD = "from labsupport.commands import states as _states; _states.record()"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `render`."""
    parser.add_argument("labs", nargs="*", help="numbers or names, as 05 (default: all)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "pages", help="the folder")
    parser.add_argument("--solved", action="store_true", help="with every exercise solved")
    parser.add_argument("--still", action="store_true", help="panels as pictures, without controls")
    parser.add_argument("--presenter", action="store_true", help="keep the cells for instructors")


def main(options: Namespace) -> int:
    """Execute the labs and write a page for each, and one that lists them."""
    labs = chosen(options.labs)
    python = environment.ready("instructor")
    return interpreters.in_interpreter(python, partial(make, labs, options))


def make(labs: Sequence[Path], options: Namespace) -> int:
    """Write the pages that are not there yet, two at a time, telling what each took."""
    from labsupport.commands import pages

    options.to.mkdir(parents=True, exist_ok=True)
    texts = {path.stem: text_alone(path) for path in sorted(FOLDER.glob("*.md"))}
    titles = {path.stem: title(read(path)) for path in labs}
    titles |= {name: title(notebook) for name, notebook in texts.items()}
    for name, notebook in texts.items():
        _put(options.to / f"{name}.html", pages.page(notebook, name, titles))
    (options.to / "index.html").write_text(pages.index(titles), encoding="utf-8")
    settled = [titles, options.still, package_digest()]
    jobs = []
    for path in labs:
        notebook = prepared(path, solved=options.solved, presenter=options.presenter)
        mark = _mark(notebook, settled)
        if is_made(options.to / f"{path.stem}.html", mark):
            print(f"{path.stem}.html is up to date.", flush=True)
        else:
            jobs.append(partial(_make_page, path, notebook, titles, mark, options))
    _all_done(jobs)
    size = sum((options.to / f"{path.stem}.html").stat().st_size for path in labs) / 1e6
    print(f"{len(labs)} pages, {size:.0f} MB.")
    print(f"Open {options.to / 'index.html'} in a browser.")
    return 0


def _all_done(jobs: Sequence["partial[None]"]) -> None:
    """Do the jobs, so many together, and raise the first fault; Ctrl-C ends their kernels."""
    cores, progress = os.cpu_count() or 1, Progress(len(jobs))
    together = max(1, min(TOGETHER, cores, len(jobs)))
    with ThreadPoolExecutor(together) as pool:
        waiting = [pool.submit(job, progress, cores // together) for job in jobs]
        try:
            wait(waiting)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _end_kernels()
            raise
    for done in waiting:
        done.result()


def _end_kernels() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()


def _make_page(
    path: Path,
    notebook: Notebook,
    titles: dict[str, str],
    mark: str,
    options: Namespace,
    progress: "Progress",
    threads: int,
) -> None:
    """Execute one lab and write its page."""
    from labsupport.commands import pages

    start = time.perf_counter()
    if options.still:
        page = pages.page(executed(notebook, path, threads), path.stem, titles)
    else:
        told = partial(progress.tell, path.stem)
        done, panels = answering(notebook, path, told, threads)
        page = pages.page(done, path.stem, titles, panels)
    _put(options.to / f"{path.stem}.html", page + mark)
    seconds = time.perf_counter() - start
    progress.finished(path.stem, f"{path.stem}.html: {len(page) / 1e6:.1f} MB, {seconds:.0f} s")


class Progress:
    """How far all pages are together, with the time left, on one line of a terminal."""

    def __init__(self, count: int) -> None:
        self._count, self._shares = count, dict[str, float]()
        self._start, self._turn = time.perf_counter(), threading.Lock()

    def tell(self, name: str, share: float) -> None:
        """So much of a page is done, from 0 to 1."""
        with self._turn:
            self._shares[name] = share
            if sys.stdout.isatty():
                print(f"\r{self._words():60}", end="", flush=True)

    def finished(self, name: str, words: str) -> None:
        """A page is done: say so, with what it took."""
        with self._turn:
            self._shares[name] = 1.0
            before = "\r" if sys.stdout.isatty() else ""
            print(f"{before}{words:60}\n{self._words()}", flush=True)

    def _words(self) -> str:
        done = sum(self._shares.values()) / self._count
        whole = sum(share == 1 for share in self._shares.values())
        left = (time.perf_counter() - self._start) * (1 / max(done, 1e-3) - 1) / 60
        about = f", about {max(left, 1):.0f} min left" if 0.05 < done < 1 else ""
        return f"{whole} of {self._count} pages{about}"


def package_digest() -> str:
    """What tells one state of the package, its data and the drawings from another."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "labsupport").rglob("*"), *(FOLDER / "drawings").glob("*")]):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for path in sorted((ROOT / "data").rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size}".encode())
    return digest.hexdigest()


def _mark(notebook: Notebook, settled: Sequence[Any]) -> str:
    """The last line of a page, by which it is known what it was made from."""
    text = json.dumps([notebook, *settled], sort_keys=True)
    return f"\n<!-- made from {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def is_made(page: Path, mark: str) -> bool:
    """Whether the page is there already, made from the same things."""
    return page.exists() and page.read_text("utf-8").endswith(mark)


def _put(path: Path, page: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_suffix(".part")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)


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


def executed(notebook: Notebook, path: Path, threads: int | None = None) -> Notebook:
    """The notebook with its outputs, from a fresh kernel in the notebooks' folder."""
    with _kernel(notebook, path, threads) as client:
        for place, cell in enumerate(client.nb.cells):
            client.execute_cell(cell, place)
        client.set_widgets_metadata()
        done: Notebook = client.nb
    return done


def answering(
    notebook: Notebook,
    path: Path,
    told: Callable[[float], None] | None = None,
    threads: int | None = None,
) -> tuple[Notebook, dict[str, dict[str, Any]]]:
    """The executed notebook, and what its panels show at many settings, by their widgets' models.

    `told` hears how much of it is done. The kernel takes so many `threads`; without a number, all.
    """
    from labsupport.commands.pages import pack_pictures

    hear = told or (lambda _: None)
    with _kernel(notebook, path, threads) as client, tempfile.TemporaryDirectory() as folder:
        cells, notes = client.nb.cells, Path(folder) / "panel.json"
        _run(client, RECORD)
        for place, cell in enumerate(list(cells)):
            client.execute_cell(cell, place)
            hear(place / len(cells) / 2)
        client.set_widgets_metadata()
        pack_pictures(client.nb)
        models, panels = _panels_of(client.nb), dict[str, dict[str, Any]]()
        seconds, room = PAGE_SECONDS, max(PAGE_BYTES - _bytes_of(client.nb), LEAST_BYTES)
        least = [LEAST_SHARE * one / max(len(models), 1) for one in (seconds, room)]
        for place, model in enumerate(models):
            left = [one / (len(models) - place) for one in (seconds, room)]
            shares = map(max, left, least)
            _run(client, "_states.write({!r}, {!r}, {}, {})".format(model, str(notes), *shares))
            hear(0.5 + (place + 1) / len(models) / 2)
            if notes.exists():
                stored = json.loads(notes.read_text("utf-8"))
                notes.unlink()
                if stored:
                    panels[model] = stored
                    seconds -= stored["seconds"]
                    room -= len(json.dumps(stored))
        done: Notebook = client.nb
    return done, panels


def _panels_of(notebook: Notebook) -> list[str]:
    """The models of the widgets that the cells show, each once."""
    from labsupport.commands.pages import WIDGET

    shown = (output.get("data", {}).get(WIDGET) for output in _outputs(notebook))
    return list(dict.fromkeys(one["model_id"] for one in shown if one))


def _bytes_of(notebook: Notebook) -> int:
    """What the outputs that are no panels bring into a page."""
    from labsupport.commands.pages import WIDGET

    others = [one for one in _outputs(notebook) if WIDGET not in one.get("data", {})]
    return len(json.dumps(others))


def _outputs(notebook: Notebook) -> Iterator[dict[str, Any]]:
    for cell in notebook["cells"]:
        yield from cell.get("outputs", ())


def _run(client: Any, code: str) -> None:
    """Execute code in the kernel that leaves no trace in the notebook."""
    import nbformat

    cell = nbformat.v4.new_code_cell(code)  # type: ignore[no-untyped-call]
    client.nb.cells.append(cell)
    try:
        client.execute_cell(cell, len(client.nb.cells) - 1)
    finally:
        client.nb.cells.pop()


@contextmanager
def _kernel(notebook: Notebook, path: Path, threads: int | None) -> Iterator[Any]:
    """A client of a fresh kernel, which is to execute the cells; where one raises, a `Fault`.

    What the reader has ticked off so far plays no part: the kernel's state lies elsewhere.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        write(notebook, copy)
        cells = nbformat.read(copy, as_version=4)  # type: ignore[no-untyped-call]
        place = {"metadata": {"path": str(path.parent)}}
        taken = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        around = interpreters.environment_variables(LABS_STATE=str(Path(folder) / "state"), **taken)
        client = NotebookClient(
            cells, timeout=LONGEST_CELL, resources=place, extra_arguments=["--log-level=ERROR"]
        )
        client.reset_execution_trackers()
        try:
            with client.setup_kernel(env=around, cwd=str(path.parent)):
                yield client
        except (CellExecutionError, CellTimeoutError) as error:
            raise Fault(f"{path.name} does not run to its end: {error}") from None
