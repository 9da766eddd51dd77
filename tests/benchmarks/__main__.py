"""Race the benchmarks, each in an interpreter of its own, and print one table.

`python3 -m labsupport bench` starts this. No memory, cache or thread of one benchmark is met by the
next.
"""

import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import contest
import table
from table import Section

from labsupport.commands import bench, interpreters
from labsupport.commands.faults import Fault

LIMIT = 15 * 60  # seconds for one benchmark


def main(options: Namespace) -> int:
    """Race one benchmark after the other; what is finished is kept at once."""
    here, sections = table.machine(), list[Section]()
    for name in options.names or bench.available():
        print(f"\n{name}", flush=True)
        sections.append(race(name))
        if options.keep is not None:
            options.keep.write_text(table.whole(here, sections), encoding="utf-8")
    print(f"\n{table.whole(here, sections)}", end="", flush=True)
    return int(any(section.failed for section in sections))


def race(name: str) -> Section:
    """One benchmark in its own interpreter, which prints as it goes."""
    start, rows = time.perf_counter(), []
    folders = [str(bench.file_of(name).parent), str(Path(__file__).parent)]
    code = f"import sys; sys.path[:0] = {folders}; import race_{name} as it; it.bench()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=interpreters.environment_variables(GOMP_SPINCOUNT="300000"),  # PyTorch's own, as peers
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        limit = threading.Timer(LIMIT, process.kill)
        limit.start()
        for line in process.stdout or ():
            print(line, end="", flush=True)
            rows += [line.rstrip()] if table.is_row(line.rstrip()) else []
    seconds = time.perf_counter() - start
    limit.cancel()
    if process.returncode or not rows:
        why = f"its process ended after {seconds:.0f} s, with status {process.returncode}"
        rows.append(contest.text(contest.Gap("", "", why, failed=True)))
    return Section(name, seconds, tuple(rows))


if __name__ == "__main__":
    parser = ArgumentParser(prog="python3 -m labsupport bench")
    bench.add_arguments(parser)
    try:
        sys.exit(main(parser.parse_args()))
    except Fault as fault:
        sys.exit(f"\n{fault}")
