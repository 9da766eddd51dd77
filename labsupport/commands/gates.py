"""`test`: every gate in one run of pytest, so that its closing line speaks for all of them.

In a class's folder, which has no tests, it checks the installation.

`test --all` runs more of them, one after the other, and closes with the sum: all labs in the
browser, every cell with its exercises solved, each method with each family of networks (the tests
read `LABS_TESTS`); then the numbers once under each of machine.py's kernels, and the notebooks
under one that is not the machine's own.
"""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from labsupport.commands import doctor, environment, interpreters, machine, notebooks
from labsupport.commands.requirements import INSTALLED, ROOT

MOST_WORKERS = 4
MEMORY_OF_A_WORKER = 3 * 2**30  # bytes: its networks, and beside it a kernel or a browser
NOTEBOOKS = "tests/notebooks/test_execution.py"
# Where numbers are computed and compared; the docstrings' examples are among them.
NUMERIC = ("tests/core", "tests/methods", "tests/laws", "tests/labs", "labsupport")
THREADS = (1, 2)
INTERRUPTED = 2  # pytest's exit status after Ctrl-C
# Which modules of labsupport.methods a lab is about; their tests have the same names.
METHODS = {
    "01": ("anatomy", "tasks"),
    "02": ("patches", "clusters"),
    "03": ("weights",),
    "04": ("codes",),
    "05": ("occlusion",),
    "06": ("activations",),
    "07": ("backprop", "faithfulness"),
    "08": ("optimize", "saliency"),
    "09": ("inversion",),
    "10": ("dream",),
    "11": ("style",),
    "12": ("fooling", "evolution", "twins"),
    "13": ("linear",),
}


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `test`; what it does not know goes to pytest."""
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="without what takes longest")
    extent.add_argument(
        "--all", action="store_true", help="then the numbers again, with other processors' kernels"
    )
    extent.add_argument("--lab", metavar="NN", help="only the tests of that lab, its method's too")
    environment.add_arguments(parser)
    parser.set_defaults(rest=[])
    parser.epilog = "Anything else is passed on to pytest, for example: test --quick tests/core -x"


def main(options: Namespace) -> int:
    """Make the environment ready, the test tools with it, then become pytest, or start several.

    A class has no tests: there the installation is checked instead.
    """
    if INSTALLED or not (ROOT / "tests").is_dir():
        python = environment.ready(python=options.python, newest=options.newest)
        labs = notebooks.chosen([options.lab] if options.lab else [])
        return interpreters.in_interpreter(python, partial(doctor.try_out, labs))
    python = environment.ready("test", python=options.python, newest=options.newest)
    if options.all:
        return one_after_the_other(python, list(matrix(machine.best(python))), options.rest)
    chosen = ["-m", "not slow"] if options.quick else []
    if options.lab:
        chosen = ["-k", words_of(options.lab)]
    command = [python, "-m", "pytest", *spread(workers()), *chosen, *options.rest]
    return interpreters.exec_program(command)


def words_of(lab: str) -> str:
    """What pytest selects a lab's tests by: the names of its notebook, module and methods.

    >>> words_of("5")
    '05_occlusion or lab05 or [05. or test_occlusion or [occlusion. or methods.occlusion'
    """
    name = notebooks.chosen([lab])[0].stem
    methods = METHODS.get(name[:2], ())
    own = [name, f"lab{name[:2]}", f"[{name[:2]}."]
    patterns = ("test_{}", "[{}.", "methods.{}")  # its tests, the laws' cases, its examples
    return " or ".join([*own, *(each.format(one) for one in methods for each in patterns)])


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


# The long matrix


@dataclass(frozen=True)
class Stage:
    """One pytest of the matrix: its name for people, its options, its environment variables."""

    name: str
    words: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How many tests of a run came out so; a test whose preparation fails has failed.

    `finished` is false where pytest has left no report: it was killed, or never began.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    finished: bool = True

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.finished and other.finished,
        )

    def __str__(self) -> str:
        words = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return words if self.finished else f"{words}; not finished"


def matrix(own: str) -> Iterator[Stage]:
    """Everything once; the numbers under each setting; the notebooks under a foreign one.

    >>> [stage.name for stage in matrix("DEFAULT")][0]
    'everything'
    """
    yield Stage("everything", spread(workers()), {"LABS_TESTS": "all"})
    others = machine.foreign(own)
    for count in THREADS:
        sharing = spread(max(1, workers() // count))
        for setting in (one.with_threads(count) for one in (machine.OWN, *others)):
            yield Stage(f"numbers: {setting.name}", [*sharing, *NUMERIC], setting.variables)
    for setting in others[:1]:
        yield Stage(
            f"notebooks: {setting.name}", [*spread(workers()), NOTEBOOKS], setting.variables
        )


def one_after_the_other(python: Path | str, stages: Sequence[Stage], rest: Sequence[str]) -> int:
    """Run them all; the exit status is the worst, and the last line counts all their tests."""
    worst, outcomes = 0, {}
    with tempfile.TemporaryDirectory() as folder:
        for place, stage in enumerate(stages, 1):
            print(f"\n[{place} of {len(stages)}] {stage.name}", flush=True)
            report = Path(folder, f"{place}.xml")
            words = [str(python), "-m", "pytest", *stage.words, f"--junit-xml={report}", *rest]
            variables = interpreters.environment_variables(**stage.variables)
            status = interpreters.wait_for(words, variables)
            worst = max(worst, abs(status))  # a process that was killed has a negative one
            outcomes[stage.name] = outcome(report)
            if status == INTERRUPTED:
                break
    print("\n" + "\n".join(f"{name}: {found}" for name, found in outcomes.items()))
    print(f"in all: {sum(outcomes.values(), Outcome())}")
    return worst


def outcome(report: Path) -> Outcome:
    """What pytest's report in JUnit's format counts."""
    if not report.exists():
        return Outcome(finished=False)
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        sum(int(suite.get(key, 0)) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return Outcome(total - failed - skipped, failed, skipped)
