"""Which build of PyTorch an install takes, and about how much it downloads."""

import os
import platform
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3.0  # seconds for that index to answer

# About so much with PyTorch 2.14 on Linux (the CUDA build is measured): megabytes to download,
# gigabytes on the disk.
LABS_DOWNLOAD, LABS_DISK = 150, 0.8
TESTS_DOWNLOAD, TESTS_DISK = 90, 0.3
CPU_DOWNLOAD, CPU_DISK = 200, 0.8
CUDA_DOWNLOAD, CUDA_DISK = 3000, 5.3


@dataclass(frozen=True)
class TorchSource:
    """Where PyTorch comes from: an index of its own, or (None) pip's usual one.

    `download` is in megabytes, `disk` in gigabytes, both about, and both for PyTorch alone.
    """

    index: str | None
    words: str
    download: int
    disk: float


def choose(python: Path) -> TorchSource:
    """The smallest build that serves this machine."""
    if not sys.platform.startswith("linux"):
        return TorchSource(None, "PyTorch: the usual build for this system", 200, CPU_DISK)
    if has_nvidia():
        words = "PyTorch: the build for NVIDIA GPUs, since this machine has one"
        return TorchSource(None, words, CUDA_DOWNLOAD, CUDA_DISK)
    if has_own_index(python):
        words = "PyTorch: from the package index that pip is set to use here"
        return TorchSource(None, words, CUDA_DOWNLOAD, CUDA_DISK)
    if answers(CPU_INDEX + "/torch/"):
        words = "PyTorch: the small build without GPU support, since this machine has no NVIDIA GPU"
        return TorchSource(CPU_INDEX, words, CPU_DOWNLOAD, CPU_DISK)
    return default_source(f"its index of small CPU builds did not answer within {PATIENCE:.0f} s")


def default_source(reason: str) -> TorchSource:
    """What plain pip takes on Linux: with the libraries for NVIDIA GPUs, working without one too.

    >>> default_source("nothing else is there").index is None
    True
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return TorchSource(None, f"PyTorch: the usual build ({reason})", CPU_DOWNLOAD, CUDA_DISK)
    words = f"PyTorch: the usual build, with libraries for NVIDIA GPUs ({reason})"
    return TorchSource(None, words, CUDA_DOWNLOAD, CUDA_DISK)


def has_nvidia() -> bool:
    """Whether an NVIDIA driver is there."""
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def has_own_index(python: Path) -> bool:
    """Whether the environment or pip's configuration names, or forbids, a package index."""
    if any(os.environ.get(name) for name in ("PIP_INDEX_URL", "PIP_NO_INDEX")):
        return True
    settings = subprocess.run(
        [str(python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    names = [line.partition("=")[0].replace("_", "-") for line in settings.stdout.splitlines()]
    return any(name.endswith((".index-url", ".no-index")) for name in names)


def answers(address: str, patience: float = PATIENCE) -> bool:
    """Whether the address answers in time; looking its name up counts as waiting."""
    replies = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(address, timeout=patience) as reply:
                replies.append(reply.status == 200)
        except (OSError, ValueError):
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    return replies == [True]


def download_words(source: TorchSource | None, extras: Sequence[str] = ()) -> str:
    """About how much will be downloaded, for a person to read.

    >>> download_words(TorchSource(None, "", 3000, 5.0))
    'about 3.1 GB to download'
    """
    amount = LABS_DOWNLOAD + (TESTS_DOWNLOAD if extras else 0) + (source.download if source else 0)
    size = f"{amount / 1000:.1f} GB" if amount >= 1000 else f"{amount} MB"
    return f"{'about' if source else 'at most about'} {size} to download"


def disk_needed(source: TorchSource | None, extras: Sequence[str] = ()) -> int:
    """Bytes that the installed packages take, and a fifth more for unpacking them."""
    disk = LABS_DISK + (TESTS_DISK if extras else 0) + (source.disk if source else 0)
    return int(disk * 1.2e9)
