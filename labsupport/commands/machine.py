"""How much memory and disk this computer has, on each system in its own way."""

import ctypes
import os
import shutil
import sys
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


def free_disk(folder: Path) -> int:
    """Bytes that can still be written in the folder."""
    return shutil.disk_usage(folder).free


def in_words(size: int) -> str:
    """A size for people.

    >>> in_words(23_400_000_000)
    '23.4 GB'
    """
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
