"""`grade`: a folder of submitted notebooks becomes a table of marks, and a page for the teacher.

Each notebook is marked in a process of its own, with limits of time and memory, without a
connection, and without leave to write anywhere but in a folder that is thrown away.
"""

import contextlib
import csv
import html
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from labsupport.commands import environment, interpreters
from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import (
    Notebook,
    chosen,
    exercise_cells,
    read,
    tags,
    text_of,
)
from labsupport.commands.requirements import ROOT
from labsupport.commands.solve import function_asked_for

STATES = ("right", "wrong", "unsolved", "crashed", "too slow")
LARGEST = 50_000_000  # bytes of a notebook that is read at all
LINE = 100_000  # characters of one answer of the marking process
WAKE = 0.1  # seconds between two looks at time and memory
START = 180.0  # seconds for the imports and the setup cell, on a machine with much else to do
FORMULA = ("=", "+", "-", "@", "\t", "\r")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Grades</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid #c5ccd3; padding: .3rem .6rem; text-align: left; vertical-align: top; }}
pre {{ white-space: pre-wrap; max-width: 40em; margin: .4em 0; font-size: 13px; }}
.right {{ background: #dff2e1; }} .wrong {{ background: #fbe3df; }}
.crashed, .too-slow {{ background: #fdf0cf; }} .unsolved {{ color: #5b6470; }}
</style>
<h1>Grades</h1>
<p>{count} students. A state opens to what the check said. All right is {most} points.</p>
<table><tr><th scope=col>student</th>{head}<th scope=col>points</th></tr>
{body}</table></html>
"""


@dataclass(frozen=True)
class Lab:
    """A lab's notebook as it was handed out: its setup cell, and the function of each exercise."""

    name: str
    setup: str
    functions: Mapping[str, str]

    @classmethod
    def of(cls, path: Path) -> "Lab":
        """The lab of a notebook that was handed out."""
        notebook = read(path)
        setup = next(text_of(cell) for cell in notebook["cells"] if "setup" in tags(cell))
        asked = {
            name: function_asked_for(text_of(cell), name) for name, cell in exercise_cells(notebook)
        }
        return cls(path.stem, setup, asked)


@dataclass(frozen=True)
class Submission:
    """One student's notebook of one lab; `fault` says why it cannot be read."""

    student: str
    lab: Lab
    path: Path | None
    notebook: Notebook
    fault: str = ""


@dataclass(frozen=True)
class Mark:
    """What one exercise of one student came to."""

    student: str
    exercise: str
    state: str
    message: str = ""
    points: float = 0.0


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `grade`."""
    parser.add_argument("folder", type=Path, help="submitted notebooks, or a folder a student")
    parser.add_argument("labs", nargs="*", help="numbers or names, as 05 (default: those there)")
    parser.add_argument("--csv", type=Path, help="the table (default: grades.csv in --to)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "grades", help="the folder")
    parser.add_argument("--points", type=Path, help="points.csv, which you may edit")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each exercise")
    parser.add_argument("--gigabytes", type=float, default=3.0, help="of memory, for each student")


def main(options: Namespace) -> int:
    """Mark what was submitted; write the table and the page."""
    python = environment.ready("instructor")
    return interpreters.in_interpreter(python, partial(grade, options))


def grade(options: Namespace) -> int:
    """Mark all submissions, two at a time where there are two cores."""
    labs = [Lab.of(path) for path in chosen(options.labs)]
    labs = [lab for lab in labs if lab.functions]
    work = submissions(options.folder, labs, every=bool(options.labs))
    options.to.mkdir(parents=True, exist_ok=True)
    place = options.points or options.to / "points.csv"
    worth = points(place, [name for one in work for name in one.lab.functions])
    marks: list[Mark] = []
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, 8))) as pool:
        limits = {"seconds": options.seconds, "gigabytes": options.gigabytes}
        done = pool.map(partial(marks_of, **limits), work)
        for count, (one, rows) in enumerate(zip(work, done, strict=True), start=1):
            marks += [_worth(row, worth) for row in rows]
            states = ", ".join(f"{row.exercise} {row.state}" for row in rows)
            print(f"[{count} of {len(work)}] {one.student}: {states}", flush=True)
    table = options.csv or options.to / "grades.csv"
    write_table(marks, table)
    page = options.to / "grades.html"
    page.write_text(as_page(marks, worth), encoding="utf-8")
    print(f"{table}\n{page}\nPoints: {place}; edit it and grade again.")
    return 0


def _worth(row: Mark, worth: Mapping[str, float]) -> Mark:
    return replace(row, points=worth[row.exercise]) if row.state == "right" else row


# What was submitted


def submissions(folder: Path, labs: Sequence[Lab], *, every: bool) -> list[Submission]:
    """What lies in the folder, by student; the newest where one has handed in a lab twice.

    With `every`, who has handed in nothing for one of the labs is listed for it, too.
    """
    if not folder.is_dir():
        raise Fault(f"There is no folder {folder}. Name the one that the notebooks lie in.")
    newest: dict[tuple[str, str], Submission] = {}
    for path in sorted(folder.rglob("*.ipynb"), key=lambda one: one.stat().st_mtime):
        if ".ipynb_checkpoints" in path.parts:
            continue
        notebook, fault = _content(path)
        lab = _lab_of(notebook, path, labs)
        if lab is None:
            print(f"{path.relative_to(folder)}: of none of these labs; left out")
            continue
        student = _student(path.relative_to(folder), lab)
        newest[student, lab.name] = Submission(student, lab, path, notebook, fault)
    if not newest:
        raise Fault(f"There is no notebook of {_names(labs)} in {folder}.")
    if every:
        for student in {name for name, _ in newest}:
            for lab in labs:
                absent = Submission(student, lab, None, {"cells": []})
                newest.setdefault((student, lab.name), absent)
    return [newest[key] for key in sorted(newest)]


def _content(path: Path) -> tuple[Notebook, str]:
    """The notebook, and why it is none."""
    nothing: Notebook = {"cells": []}
    size = path.stat().st_size
    if size > LARGEST:
        return nothing, f"The file has {size / 1e6:.0f} MB; notebooks up to 50 MB are read."
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [{**cell, "source": text_of(cell)} for cell in notebook["cells"]]
        return {"cells": [cell for cell in cells if cell["cell_type"] == "code"]}, ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return nothing, f"The file is not a notebook ({type(error).__name__}: {error})."[:300]


def _lab_of(notebook: Notebook, path: Path, labs: Sequence[Lab]) -> Lab | None:
    """The lab whose exercises it has, or that its name says; without either, the only one."""
    there = {name for name, _ in exercise_cells(notebook)}
    by_cells = [lab for lab in labs if there & lab.functions.keys()]
    by_name = [lab for lab in labs if lab.name in path.stem]
    fitting = by_cells or by_name or ([] if there else list(labs))
    return fitting[0] if len(fitting) == 1 else None


def _student(path: Path, lab: Lab) -> str:
    """The student's folder, or what the file's name says beside the lab's.

    >>> _student(Path("kim_05_occlusion.ipynb"), Lab("05_occlusion", "", {}))
    'kim'
    """
    if len(path.parts) > 1:
        return path.parts[0]
    return path.stem.replace(lab.name, "").strip(" _-()") or path.stem


def _names(labs: Sequence[Lab]) -> str:
    return ", ".join(lab.name for lab in labs)


# Marking


def marks_of(one: Submission, *, seconds: float, gigabytes: float) -> list[Mark]:
    """The marks of one submission, an exercise a mark, in the lab's order."""
    if one.fault or one.path is None:
        state = "crashed" if one.fault else "unsolved"
        message = one.fault or "Nothing was handed in."
        return [Mark(one.student, name, state, message) for name in one.lab.functions]
    left, others = _parts(one)
    rows: dict[str, Mark] = {}
    while left:
        task = {"setup": one.lab.setup, "others": others, "exercises": left}
        answers, why = _answers(task, seconds, gigabytes)
        if not answers and not others:  # it ended before the first exercise: each has the reason
            answers = [
                {"exercise": asked["id"], "state": "crashed", "message": why} for asked in left
            ]
        elif not answers:
            others = []  # a cell of the student's own is the reason: without them, then
        for row in answers:
            message = row.get("message", "")
            rows[row["exercise"]] = Mark(one.student, row["exercise"], row["state"], message)
        left = [asked for asked in left if asked["id"] not in rows]
    return [rows[name] for name in one.lab.functions]


def _parts(one: Submission) -> tuple[list[dict[str, str]], list[str]]:
    """The cells with the exercises, by their tags or else by their functions; and all others."""
    tagged = {name: text_of(cell) for name, cell in exercise_cells(one.notebook)}
    texts = [text_of(cell) for cell in one.notebook["cells"]]
    asked = []
    for name, function in one.lab.functions.items():
        by_function = (text for text in reversed(texts) if f"def {function}(" in text)
        code = tagged.get(name) or next(by_function, "")
        asked.append({"id": name, "function": function, "code": code})
    answers = [one["code"] for one in asked]
    return asked, [text for text in texts if text not in answers]


def _answers(
    task: dict[str, Any], seconds: float, gigabytes: float
) -> tuple[list[dict[str, str]], str]:
    """What the marking process says until it ends, and why it ended if that was too early.

    The exercise that it was at is then "crashed" or "too slow".
    """
    token, at, rows = secrets.token_hex(16), "", []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = _start(folder, {**task, "folder": folder, "token": token})
        watch = _Watch(process, seconds, gigabytes)
        for line in iter(partial(process.stdout.readline, LINE), ""):  # type: ignore[union-attr]
            row = _row(line, token)
            if row.get("state") == "begun":
                at = row["exercise"]
                watch.begin()
            elif row.get("state") in STATES and row["exercise"] == at:
                rows.append(row)
                at = ""
        watch.end()
    if at:
        rows.append({"exercise": at, "state": watch.state, "message": watch.why})
    return rows, watch.why


def _row(line: str, token: str) -> dict[str, str]:
    """A line of the marking process; nothing if somebody else has written it."""
    try:
        row = json.loads(line)
        return row if row.pop("token") == token else {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _start(folder: str, task: dict[str, Any]) -> "subprocess.Popen[str]":
    """The marking process, with its task given to it."""
    own = {"HOME": folder, "TMPDIR": folder, "LABS_STATE": str(Path(folder, "state"))}
    around = interpreters.environment_variables(**own, MPLBACKEND="agg", OMP_NUM_THREADS="1")
    process = subprocess.Popen(
        [sys.executable, "-m", "labsupport.commands.marking"],
        cwd=folder,
        env=around,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    )
    with contextlib.suppress(OSError), process.stdin as question:  # type: ignore[union-attr]
        json.dump(task, question)
    return process


class _Watch:
    """Looks at a process's time and memory, ten times a second, and ends it when it must be."""

    def __init__(self, process: "subprocess.Popen[str]", seconds: float, gigabytes: float) -> None:
        self.state, self.why = "crashed", "It ended the program."
        self._process, self._seconds, self._gigabytes = process, seconds, gigabytes
        self._end = time.monotonic() + START
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Start the clock for the next exercise."""
        self._end = time.monotonic() + self._seconds

    def end(self) -> None:
        """Wait for the process and the watch itself."""
        self._process.wait()
        self._thread.join()

    def _look(self) -> None:
        while self._process.poll() is None:
            if time.monotonic() > self._end:
                self._stop("too slow", f"It took more than {self._seconds:g} seconds.")
            elif _memory(self._process.pid) > self._gigabytes * 1e9:
                self._stop("crashed", f"It took more than {self._gigabytes:g} GB of memory.")
            time.sleep(WAKE)

    def _stop(self, state: str, why: str) -> None:
        self.state, self.why = state, why
        self._process.kill()


def _memory(process: int) -> int:
    """The bytes that a process holds."""
    import psutil

    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return 0


# Points, table, page


def points(place: Path, exercises: Sequence[str]) -> dict[str, float]:
    """What each exercise is worth: the table that lies there, or a new one with one point each."""
    if not place.exists():
        rows = [(name, "1") for name in sorted(set(exercises))]
        _write_rows(place, [("exercise", "points"), *rows])
    with place.open(encoding="utf-8-sig", newline="") as file:
        lines = [line for line in csv.reader(file) if line and line[0] != "exercise"]
    worth = {}
    for line in lines:
        try:
            name, value = line[:2]
            worth[name.strip()] = float(value)
        except ValueError:
            raise Fault(
                f"{place} has the line {line}; each is an exercise and its points."
            ) from None
    lacking = sorted(set(exercises) - worth.keys())
    if lacking:
        raise Fault(f"{place} has no points for {', '.join(lacking)}. Add the lines, as: 05.1,1")
    return worth


def write_table(marks: Sequence[Mark], place: Path) -> None:
    """The marks as CSV, a row for each student and exercise."""
    head = ("student", "exercise", "state", "points", "message")
    rows = [(one.student, one.exercise, one.state, f"{one.points:g}", one.message) for one in marks]
    _write_rows(place, [head, *rows])


def _write_rows(place: Path, rows: Sequence[Sequence[str]]) -> None:
    """Spreadsheets take a text that begins like a formula for one: it gets a quotation mark."""
    place.parent.mkdir(parents=True, exist_ok=True)
    safe = [[f"'{text}" if text.startswith(FORMULA) else text for text in row] for row in rows]
    with place.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(safe)


def as_page(marks: Sequence[Mark], worth: Mapping[str, float]) -> str:
    """One HTML page: a row a student, a column an exercise, with what was said of each."""
    columns = sorted({one.exercise for one in marks})
    most = sum(worth[name] for name in columns)
    by_student: dict[str, dict[str, Mark]] = {}
    for one in marks:
        by_student.setdefault(one.student, {})[one.exercise] = one
    head = "".join(f"<th scope=col>{name}<br>{worth[name]:g}</th>" for name in columns)
    body = "".join(_line(student, rows, columns) for student, rows in sorted(by_student.items()))
    return PAGE.format(count=len(by_student), head=head, body=body, most=f"{most:g}")


def _line(student: str, rows: Mapping[str, Mark], columns: Sequence[str]) -> str:
    cells = "".join(_cell(rows.get(name)) for name in columns)
    total = sum(one.points for one in rows.values())
    return f"<tr><th scope=row>{html.escape(student)}</th>{cells}<td>{total:g}</td></tr>\n"


def _cell(mark: Mark | None) -> str:
    if mark is None:
        return "<td></td>"
    state, words = mark.state, html.escape(mark.message)
    kind = state.replace(" ", "-")
    if state in ("right", "unsolved"):
        return f"<td class={kind}>{state}</td>"
    return f"<td class={kind}><details><summary>{state}</summary><pre>{words}</pre></details></td>"
