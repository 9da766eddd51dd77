"""`bench`: our way and the other ways, timed side by side, in one table.

Each benchmark has an interpreter of its own, so that no memory, cache or thread of one is met by
the next.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from labsupport.commands import environment, interpreters
from labsupport.commands.faults import Fault
from labsupport.commands.requirements import ROOT
from labsupport.commands.timings import Section, Timings, machine
from labsupport.core.errors import nearest

FOLDER, PACKAGE = ROOT / "labsupport" / "bench", "labsupport.bench"
LIMIT = 15 * 60  # seconds for one benchmark


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `bench`."""
    told = f"which ones (default: all): {', '.join(available())}"
    parser.add_argument("names", nargs="*", help=told)
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write the table to this text file as it grows"
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out what the kept file has, and add the rest"
    )


def main(options: Namespace) -> int:
    """Race the benchmarks and print one table; the exit status is 1 where a contest failed."""
    names = available()
    for name in options.names:
        if name not in names:
            close = " or ".join(nearest(name, names, count=2)) or "no benchmark yet"
            raise Fault(f"There is no benchmark '{name}'; the nearest is {close}.")
    if options.resume and options.keep is None:
        raise Fault("--resume goes on with a kept file; name it: --keep FILE")
    if options.keep is not None and not options.keep.absolute().parent.is_dir():
        raise Fault(f"There is no folder {options.keep.absolute().parent} to write the table to.")
    return interpreters.within(environment.ready("test"), measure, options)


def available() -> list[str]:
    """The benchmarks there are: one file each in labsupport/bench."""
    return [file.stem for file in sorted(FOLDER.glob("[!_]*.py"))]


def measure(options: Namespace) -> int:
    """Race one benchmark after the other; what is finished is kept at once."""
    names = options.names or available()
    timings = begun(names, options)
    for name in names:
        if options.resume and timings.has(name):
            continue
        print(f"\n{name}", flush=True)
        timings = timings.having(race(name))
        if options.keep is not None:
            timings.write(options.keep)
    print(f"\n{timings}", end="", flush=True)
    return int(any(timings.failed(name) for name in names))


def begun(names: list[str], options: Namespace) -> Timings:
    """The kept file's table where some of it stays, else an empty one."""
    here = machine()
    some_stay = options.resume or set(names) < set(available())
    if options.keep is None or not options.keep.exists() or not some_stay:
        return Timings(here)
    kept = Timings.read(options.keep)
    if kept.elsewhere(here):
        raise Fault(
            f"{options.keep} was measured on another machine, or with other versions. Move it "
            "away, or name another file with --keep."
        )
    return Timings(here, kept.sections)


def race(name: str) -> Section:
    """One benchmark in its own interpreter, which prints as it goes."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as folder:
        rows = Path(folder) / "rows"
        rows.touch()
        words = [sys.executable, "-m", "labsupport.bench", f"{PACKAGE}.{name}", str(rows)]
        why = ""
        try:
            status = subprocess.run(
                words, cwd=ROOT, env=interpreters.surroundings(), timeout=LIMIT, check=False
            ).returncode
            if status not in (0, 1):
                why = f"its process ended with status {status}"
        except subprocess.TimeoutExpired:
            why = f"stopped after {LIMIT // 60} minutes"
        lines = rows.read_text(encoding="utf-8").splitlines()
    return Section.of(name, time.perf_counter() - start, lines, why)
