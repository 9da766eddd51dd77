"""`bench`: our way and the other ways, timed side by side, in one table.

The races are tools of the tests, in tests/benchmarks; this is their door.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from labsupport.commands import environment, interpreters
from labsupport.commands.faults import Fault
from labsupport.commands.requirements import ROOT
from labsupport.core.errors import nearest

FOLDER = ROOT / "tests" / "benchmarks"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `bench`."""
    names = ", ".join(available()) or "none are here"
    parser.add_argument("names", nargs="*", help=f"which ones (default: all): {names}")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write the table to this text file as it grows"
    )


def main(options: Namespace) -> int:
    """Make the environment ready, then become the races; their exit status is 1 on a failure."""
    check(options)
    words: list[str | Path] = [environment.ready("test"), FOLDER, *options.names]
    if options.keep is not None:
        words += ["--keep", options.keep.absolute()]
    return interpreters.exec_program(words)


def check(options: Namespace) -> None:
    """Refuse what cannot be raced or kept, before anything is installed or raced."""
    names = available()
    if not names:
        raise Fault(
            f"The benchmarks belong to the tests, and there is no folder {FOLDER} here. A class "
            "folder comes without tests; take the whole workbook to measure."
        )
    for name in options.names:
        if name not in names:
            close = " or ".join(nearest(name, names, count=2))
            raise Fault(f"There is no benchmark '{name}'; the nearest is {close}.")
    if options.keep is not None and not options.keep.absolute().parent.is_dir():
        raise Fault(f"There is no folder {options.keep.absolute().parent} to write the table to.")


def available() -> list[str]:
    """The benchmarks there are: one file each in tests/benchmarks."""
    return [file.stem.removeprefix("race_") for file in sorted(FOLDER.glob("race_*.py"))]


def file_of(name: str) -> Path:
    """The file of that benchmark."""
    return FOLDER / f"race_{name}.py"
