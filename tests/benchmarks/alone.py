"""One benchmark in an interpreter of its own: `python alone.py race_word.py ROWS`.

Each row is printed by the benchmark, and appended to the file ROWS for the process that collects
them.
"""

import importlib
import sys
from pathlib import Path

import contest


def main(benchmark: Path, rows: Path) -> int:
    """Hold the benchmark's contests; the exit status is 1 where something failed."""
    failed = []

    def keep(row: contest.Row) -> None:
        failed.append(row.verdict == "failed")
        with rows.open("a", encoding="utf-8") as file:
            file.write(contest.packed(row) + "\n")

    sys.path.append(str(benchmark.parent))
    with contest.listening(keep):
        try:
            importlib.import_module(benchmark.stem).bench()
        except Exception as error:  # outside of any contest: this row says so instead
            gap = contest.Gap("", "", f"{type(error).__name__}: {error}", failed=True)
            print(contest.text(gap), flush=True)
            keep(gap)
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
