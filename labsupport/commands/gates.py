"""`test`: every gate in one run of pytest, so that its closing line speaks for all of them."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from labsupport.commands import environment, interpreters, machine

MOST_WORKERS = 4
MEMORY_OF_A_WORKER = 5 * 2**30  # bytes: its networks, and beside it a kernel or a browser
SLOW = ("tests/notebooks/test_execution.py", "tests/browser")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `test`; what it does not know goes to pytest."""
    parser.add_argument("--quick", action="store_true", help="without notebooks and browser")
    parser.add_argument("--python", metavar="NAME", help="make the environment with this Python")
    parser.set_defaults(rest=[])
    parser.epilog = "Anything else is passed on to pytest, for example: test --quick tests/core -x"


def main(options: Namespace) -> int:
    """Make the environment ready, the test tools with it, then become pytest."""
    python = environment.ready("test", python=options.python)
    left_out = [f"--ignore={path}" for path in SLOW if options.quick]
    command = [python, "-m", "pytest", *spread(workers()), *left_out, *options.rest]
    return interpreters.hand_over(command, interpreters.surroundings())


def workers() -> int:
    """How many processes share the tests: one for each core that has memory for it."""
    memory = machine.total_memory() or MEMORY_OF_A_WORKER
    return max(1, min(os.cpu_count() or 1, MOST_WORKERS, memory // MEMORY_OF_A_WORKER))


def spread(count: int) -> list[str]:
    """pytest's options for that many processes.

    Each begins with a row of neighbours, which share their networks, and takes work from the
    others when it has none left. `-n 0` behind them gives one process again.
    """
    return [f"--numprocesses={count}", "--dist=worksteal"] if count > 1 else []
