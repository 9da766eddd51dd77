"""Race the benchmarks, each in an interpreter of its own, and print one table.

`python3 -m labsupport bench` starts this. No memory, cache or thread of one benchmark is met by the
next.
"""

import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import table
from table import Section, Timings

from labsupport.commands import bench, interpreters
from labsupport.commands.faults import Fault

ALONE = Path(__file__).with_name("alone.py")
LIMIT = 15 * 60  # seconds for one benchmark


def main(options: Namespace) -> int:
    """Race one benchmark after the other; what is finished is kept at once."""
    names = options.names or bench.available()
    timings = kept_before(names, options)
    for name in names:
        if options.resume and timings.has(name):
            continue
        print(f"\n{name}", flush=True)
        timings = timings.replacing(race(name))
        if options.keep is not None:
            timings.write(options.keep)
    print(f"\n{timings}", end="", flush=True)
    return int(any(timings.failed(name) for name in names))


def kept_before(names: list[str], options: Namespace) -> Timings:
    """The kept file's table where some of it stays, else an empty one."""
    here = table.machine()
    some_stay = options.resume or set(names) < set(bench.available())
    if options.keep is None or not options.keep.exists() or not some_stay:
        return Timings(here)
    kept = Timings.read(options.keep)
    if kept.measured_elsewhere(here):
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
        words = [sys.executable, str(ALONE), str(bench.file_of(name)), str(rows)]
        why = ""
        try:
            status = subprocess.run(
                words, env=interpreters.environment_variables(), timeout=LIMIT, check=False
            ).returncode
            if status not in (0, 1):
                why = f"its process ended with status {status}"
        except subprocess.TimeoutExpired:
            why = f"stopped after {LIMIT // 60} minutes"
        lines = rows.read_text(encoding="utf-8").splitlines()
    return Section.of(name, time.perf_counter() - start, lines, why)


if __name__ == "__main__":
    parser = ArgumentParser(prog="python3 -m labsupport bench")
    bench.add_arguments(parser)
    try:
        sys.exit(main(parser.parse_args()))
    except Fault as fault:
        sys.exit(f"\n{fault}")
