"""The table that `bench` makes: the machine on top, then each benchmark's rows; kept as text."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import contest

from labsupport.commands.machine import in_words, total_memory

TITLE = "Our ways and other ways, timed in turn by `python3 -m labsupport bench`."
LEGEND = (
    "ours, theirs: medians over the rounds, in seconds; ratio: theirs / ours, the median of the",
    "rounds' own ratios, its smallest and largest the spread; target: the ratio that is wanted.",
)
_PEERS = ("captum", "foolbox", "torchattacks", "scikit-learn", "distributed")


@dataclass(frozen=True)
class Section:
    """One benchmark's rows of the table, as they were printed."""

    name: str
    seconds: float
    rows: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether a contest of it failed."""
        return any(" failed: " in row for row in self.rows)


def is_row(line: str) -> bool:
    """Whether a line that a benchmark printed is a row of the table.

    >>> [is_row(one) for one in ("FGSM   foolbox   2.10x  reached", "30 steps each")]
    [True, False]
    """
    return line.endswith(("  reached", "  below")) or " failed: " in line or " not raced: " in line


def whole(machine: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The machine, then each benchmark's rows, then how many reached their target."""
    head = [f"{key:<9} {value}" for key, value in machine.items()]
    body = []
    for one in sections:
        body += ["", f"{one.name} ({one.seconds:.0f} s)", *(f"  {row}" for row in one.rows)]
    rows = [row for one in sections for row in one.rows]
    reached, below = (sum(row.endswith(word) for row in rows) for word in ("reached", "below"))
    last = f"{reached} reached, {below} below, {len(rows) - reached - below} not measured"
    lines = [TITLE, "", *head, "", *LEGEND, "", "  " + contest.HEADING, *body, "", last]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def machine() -> dict[str, str]:
    """What computes here, with which versions, and when."""
    import torch

    gpus = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    memory = total_memory()
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return {
        "measured": time.strftime("%Y-%m-%d %H:%M") + load,
        "CPU": f"{processor()}, {cores()} cores, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()} kernels",
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
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(package: str) -> str:
    """The version that is installed, or that it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
