"""One benchmark in an interpreter of its own: `python -m labsupport.bench MODULE FILE`.

Each row is printed by the benchmark, and appended to the file for the process that collects them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from labsupport.bench import _contest


def main(module: str, rows: str) -> int:
    """Hold the module's contests; the exit status is 1 where something failed."""
    failed = []

    def note(row: _contest.Row) -> None:
        failed.append(row.verdict == "failed")
        with Path(rows).open("a", encoding="utf-8") as file:
            file.write(_contest.packed(row) + "\n")

    with _contest.listening(note):
        try:
            importlib.import_module(module).bench()
        except Exception as error:  # outside of any contest: the row says so in its stead
            gap = _contest.Gap("", "", f"{type(error).__name__}: {error}", failed=True)
            print(_contest.text(gap), flush=True)
            note(gap)
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
