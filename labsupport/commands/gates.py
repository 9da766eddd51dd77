"""`test`: every gate in one run of pytest, so that its closing line speaks for all of them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from labsupport.commands import environment, interpreters

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
    command = [python, "-m", "pytest", *left_out, *options.rest]
    return interpreters.hand_over(command, interpreters.surroundings())
