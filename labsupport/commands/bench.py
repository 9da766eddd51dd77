"""`bench`: our way and the other ways, timed side by side in one run."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace

from labsupport.commands import environment, interpreters
from labsupport.commands.faults import Fault
from labsupport.commands.requirements import ROOT
from labsupport.core.errors import nearest


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `bench`."""
    parser.add_argument("name", nargs="?", help="which one (default: tell what there is)")


def main(options: Namespace) -> int:
    """Print one benchmark's table, or the names of all benchmarks."""
    names = available()
    if options.name is None:
        print("There is: " + ", ".join(f"python3 -m labsupport bench {name}" for name in names))
        return 0
    if options.name not in names:
        close = " or ".join(nearest(options.name, names, count=2)) or "no benchmark yet"
        raise Fault(f"There is no benchmark '{options.name}'; the nearest is {close}.")
    return interpreters.within(environment.ready("test"), measure, options)


def available() -> list[str]:
    """The benchmarks there are: one file each in labsupport/bench."""
    files = sorted((ROOT / "labsupport" / "bench").glob("[!_]*.py"))
    return [file.stem for file in files]


def measure(options: Namespace) -> int:
    """Call the benchmark's function."""
    importlib.import_module(f"labsupport.bench.{options.name}").bench()
    return 0
