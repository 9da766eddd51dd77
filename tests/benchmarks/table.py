"""The table that `bench` makes: the machine on top, then each benchmark's rows; kept as text."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import contest

from labsupport.commands.machine import in_words, total_memory

TITLE = "Our ways and other ways, timed in turn by `python3 -m labsupport bench`."
LEGEND = (
    "ours, theirs: medians over the rounds, in seconds; ratio: theirs / ours, the median of the",
    "rounds' own ratios, its smallest and largest the spread; target: the ratio that is wanted.",
)
_PEERS = ("captum", "foolbox", "torchattacks", "scikit-learn", "distributed")
_WHEN = "measured"


@dataclass(frozen=True)
class Section:
    """One benchmark's rows of the table, as text."""

    name: str
    rows: tuple[str, ...]

    @classmethod
    def of(cls, name: str, seconds: float, packed: Sequence[str], why: str = "") -> Section:
        """The section of these rows; `why` says what ended the benchmark too early."""
        rows = [contest.text(contest.unpacked(line)) for line in packed]
        if why or not rows:
            gap = contest.Gap("", "", why or "it gave no result", failed=True)
            rows.append(contest.text(gap))
        return cls(f"{name} ({seconds:.0f} s)", tuple(rows))

    @property
    def word(self) -> str:
        """The benchmark's name alone."""
        return self.name.split()[0]

    @property
    def failed(self) -> bool:
        """Whether a contest of it failed."""
        return any(" failed: " in row for row in self.rows)


@dataclass(frozen=True)
class Timings:
    """The whole table.

    >>> table = Timings({"CPU": "a fast one"}, (Section("occlusion (9 s)", ("a row",)),))
    >>> Timings.parse(str(table)) == table, table.has("occlusion"), table.has("ascent")
    (True, True, False)
    """

    machine: dict[str, str]
    sections: tuple[Section, ...] = ()

    def __str__(self) -> str:
        head = [f"{key:<9} {value}" for key, value in self.machine.items()]
        body = []
        for one in self.sections:
            body += ["", one.name, *(f"  {row}" for row in one.rows)]
        lines = [TITLE, "", *head, "", *LEGEND, "", "  " + contest.HEADING, *body, "", self.sum]
        return "\n".join(line.rstrip() for line in lines) + "\n"

    @property
    def sum(self) -> str:
        """How many reached their target."""
        rows = [row for one in self.sections for row in one.rows]
        reached = sum(row.endswith("  reached") for row in rows)
        below = sum(row.endswith("  below") for row in rows)
        return f"{reached} reached, {below} below, {len(rows) - reached - below} not measured"

    @classmethod
    def parse(cls, text: str) -> Timings:
        """The table that was written."""
        head, _, body = text.partition("\n\n" + LEGEND[0])
        described = (line.split(maxsplit=1) for line in head.splitlines()[2:])
        sections: list[Section] = []
        for line in body.splitlines()[4:-2]:
            if line.startswith("  "):
                last = sections.pop()
                sections.append(replace(last, rows=(*last.rows, line[2:])))
            elif line:
                sections.append(Section(line, ()))
        return cls({words[0]: words[1] for words in described}, tuple(sections))

    @classmethod
    def read(cls, path: Path) -> Timings:
        """The kept table."""
        return cls.parse(path.read_text(encoding="utf-8"))

    def write(self, path: Path) -> None:
        """Keep the table: a reader sees the old one or this one."""
        draft = path.with_name(path.name + ".new")
        draft.write_text(str(self), encoding="utf-8")
        draft.replace(path)

    def replacing(self, section: Section) -> Timings:
        """The table with this section in the place of its old one, in order of names."""
        others = [one for one in self.sections if one.word != section.word]
        return replace(self, sections=tuple(sorted([*others, section], key=lambda one: one.word)))

    def has(self, name: str) -> bool:
        """Whether that benchmark is there, with nothing that failed."""
        return any(one.word == name and not one.failed for one in self.sections)

    def failed(self, name: str) -> bool:
        """Whether a contest of that benchmark failed."""
        return any(one.word == name and one.failed for one in self.sections)

    def measured_elsewhere(self, machine: dict[str, str]) -> bool:
        """Whether this was measured on another machine, or with other versions."""
        return {**self.machine, _WHEN: ""} != {**machine, _WHEN: ""}


def machine() -> dict[str, str]:
    """What computes here, with which versions, and when."""
    import torch

    gpus = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    memory = total_memory()
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return {
        _WHEN: time.strftime("%Y-%m-%d %H:%M") + load,
        "CPU": f"{processor()}, {cores()} cores, {torch.get_num_threads()} threads",
        "memory": in_words(memory) if memory else "unknown",
        "GPU": ", ".join(gpus) or "none",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "torch": f"{torch.__version__}, torchvision {version('torchvision')}",
        "peers": ", ".join(f"{name} {version(name)}" for name in _PEERS),
    }


def processor() -> str:
    """The CPU's name."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0]


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def version(package: str) -> str:
    """The version that is installed, or that it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
