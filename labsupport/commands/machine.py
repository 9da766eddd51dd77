"""How much memory and disk this computer has, and which instructions torch computes with on it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def total_memory() -> int | None:
    """Bytes of memory that may be used, a container's limit included; None where it is unknown."""
    if sys.platform == "win32":
        return windows_memory()
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
    return min([physical, *memory_limits()])


def memory_limits() -> list[int]:
    """The limits that a container sets."""
    limits = [path.read_text().strip() for path in MEMORY_LIMITS if path.exists()]
    return [int(limit) for limit in limits if limit.isdigit()]


def windows_memory() -> int | None:
    """Bytes of memory, as Windows counts them."""

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_uint64) for name in ("total", "free", "a", "b", "c", "d", "e")),
        )

    status = Status()
    status.length = ctypes.sizeof(Status)
    library = getattr(ctypes, "windll", None)
    if library is None or not library.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.total)


def in_words(size: int) -> str:
    """A size for people.

    >>> in_words(23_400_000_000)
    '23.4 GB'
    """
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


# Kernels: the settings that numbers must bear. Other instructions, and another number of threads,
# add the same numbers in another order. The last digits differ then, and no test and no sentence of
# a lab may hang on them.

QUESTION = "import torch; print(torch.backends.cpu.get_cpu_capability())"


@dataclass(frozen=True)
class Kernels:
    """One setting: its name for people, and the environment variables that make it.

    torch reads them once, when it starts: each setting needs a process of its own.
    """

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def with_threads(self, count: int) -> Kernels:
        """The same in so many threads."""
        words = f"{self.name}, {count} thread{'s' if count > 1 else ''}"
        return Kernels(words, {**self.variables, "OMP_NUM_THREADS": str(count)})


OWN = Kernels("the machine's own kernels")
PLAIN = Kernels("plain kernels", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"})
AVX2 = Kernels("AVX2 kernels", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"})

# What a processor can show beside its own best, as torch names that.
_FOREIGN = {"AVX512": (PLAIN, AVX2), "AVX2": (PLAIN,), "DEFAULT": ()}


def foreign(own: str) -> tuple[Kernels, ...]:
    """The settings that a machine can show although they are not its own.

    >>> [one.name for one in foreign("AVX512")]
    ['plain kernels', 'AVX2 kernels']
    """
    return _FOREIGN.get(own, (PLAIN,))  # other makes of processors have plain kernels too


def best(python: str | Path) -> str:
    """The best instructions that this machine has, as torch names them."""
    reply = subprocess.run([python, "-c", QUESTION], capture_output=True, text=True, check=True)
    return reply.stdout.strip()
