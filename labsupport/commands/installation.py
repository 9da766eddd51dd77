"""The steps that make `.venv` whole: the environment, PyTorch, everything else, a last look.

Packages get the versions of constraints.txt, with which all tests have passed. Where these do not
fit the Python that is here, or the newest are asked for, pyproject.toml alone decides.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labsupport.commands import faults
from labsupport.commands.faults import Fault
from labsupport.commands.interpreters import Interpreter, inside
from labsupport.commands.machine import in_words
from labsupport.commands.requirements import ROOT, wanted

CONSTRAINTS = ROOT / "constraints.txt"
FULL = re.compile(r"No space left|Errno 28\b|WinError 112|Disk quota exceeded|Errno 122\b")
UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|getaddrinfo failed|nodename nor serv"
    r"|Network is unreachable|No route to host|Connection refused|Max retries exceeded"
    r"|ConnectTimeout|ReadTimeout|timed out|RemoteDisconnected|Connection reset|ProxyError"
)
PIP_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:,]+ ")

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3.0  # seconds for that index to answer

# About so much with PyTorch 2.14 on Linux (the CUDA build is measured): megabytes to download,
# gigabytes on the disk.
LABS_DOWNLOAD, LABS_DISK = 150, 0.8
TESTS_DOWNLOAD, TESTS_DISK = 90, 0.3
CPU_DOWNLOAD, CPU_DISK = 200, 0.8
CUDA_DOWNLOAD, CUDA_DISK = 3000, 5.3


def install(
    home: Path, base: Interpreter, extras: Sequence[str] = (), *, newest: bool = False
) -> None:
    """Bring the environment in `home` to what pyproject.toml lists; a `Fault` when it cannot."""
    start = time.monotonic()
    if Interpreter.at(inside(home)) is None:
        print(f"[1/3] An environment with Python {base.version} in {home}", flush=True)
        make_venv(home, base)
    python = inside(home)
    log = home / "install.log"
    log.unlink(missing_ok=True)
    discard_half_installed(home)
    source = choose_source(home, extras)
    if source is not None and source.index is not None:
        install_torch(python, source.index, log, newest=newest)
    print("[3/3] All other packages (unpacking, the last part, is quiet for minutes)", flush=True)
    project = f".[{','.join(extras)}]" if extras else "."
    if pip(python, ["--editable", project], log, newest=newest):
        raise diagnosis(home, log)
    interpreter = Interpreter.at(python)
    if interpreter is None or (lacking := interpreter.lacking(*extras)):
        missing = ", ".join(map(str, lacking)) if interpreter else "Python itself"
        words = f"it ended well, and still there is no {missing}"
        raise Fault(faults.INSTALL_FAILED, last_words=words, log=log)
    print(f"Installed in {time.monotonic() - start:.0f} s.", flush=True)


def make_venv(home: Path, base: Interpreter) -> None:
    """An empty environment, with pip."""
    if not base.can_make_environments:
        facts = {"python": base.path, "feature_version": base.feature_version}
        raise Fault(faults.NO_VENV_MODULE, **facts)
    status, words = run_child([str(base.path), "-m", "venv", str(home)], quiet=True)
    if FULL.search(words):
        raise Fault(faults.NO_SPACE, folder=home, amount=faults.BECAME_FULL)
    if status or Interpreter.at(inside(home)) is None:
        raise Fault(faults.VENV_FAILED, python=base.path, last_words=last_line(words))


def choose_source(home: Path, extras: Sequence[str]) -> TorchSource | None:
    """Which PyTorch to take (None: it is there already), said aloud; a full disk is a `Fault`."""
    interpreter = Interpreter.at(inside(home))
    lacking = {lack.name for lack in interpreter.lacking(*extras)} if interpreter else set()
    source = choose_torch(inside(home)) if lacking & {"torch", "torchvision"} else None
    words = source.words if source else "PyTorch is there already"
    print(f"[2/3] {words}; {download_words(source, extras)}", flush=True)
    needed, free = disk_needed(source, extras), shutil.disk_usage(home).free
    if lacking and free < needed:
        amount = f"{in_words(needed)} are needed and {in_words(free)} are free"
        raise Fault(faults.NO_SPACE, folder=home, amount=amount)
    return source


def install_torch(python: Path, index: str, log: Path, *, newest: bool) -> None:
    """PyTorch from its own index; should that fail, the usual index has it too, and is taken."""
    requirements = [str(need) for need in wanted() if need.name in ("torch", "torchvision")]
    if pip(python, ["--index-url", index, *requirements], log, newest=newest):
        if FULL.search(tail(log)):
            raise diagnosis(python.parents[1], log)
        print("That did not work; the usual build is taken instead, about 3 GB.", flush=True)


def pip(python: Path, arguments: Sequence[str], log: Path, *, newest: bool) -> int:
    """pip's exit status; it shows its progress itself, and keeps its story in `log`.

    The tested versions are tried first, unless the newest are asked for. Some Python may have no
    wheels of them: then the newest are taken.
    """
    command = [str(python), "-m", "pip", "install", "--retries", "2", "--log", str(log)]
    if not newest and CONSTRAINTS.exists():
        status, _ = run_child([*command, "--constraint", str(CONSTRAINTS), *arguments])
        story = tail(log)
        if status <= 0 or FULL.search(story) or UNREACHABLE.search(story):
            return status
        print("The tested versions do not all fit this Python; taking the newest.", flush=True)
    return run_child([*command, *arguments])[0]


def run_child(command: list[str], *, quiet: bool = False) -> tuple[int, str]:
    """A program's exit status and (when quiet) what it printed; Ctrl-C ends it too."""
    settled = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment, **settled},
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    ) as child:
        try:
            words, _ = child.communicate()
        except KeyboardInterrupt:
            end(child)
            raise
    return child.returncode, words or ""


def end(child: subprocess.Popen[str]) -> None:
    """Give a program that was told to stop ten seconds for it, then end it."""
    try:
        child.wait(timeout=10)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        child.kill()


def discard_half_installed(home: Path) -> None:
    """Forget packages whose install was cut off, so that pip does not take them for whole.

    pip writes a package's INSTALLER only after all of its files.
    """
    for folder in home.glob("[Ll]ib*/**/site-packages/*.dist-info"):
        if not (folder / "INSTALLER").exists():
            shutil.rmtree(folder, ignore_errors=True)


def diagnosis(home: Path, log: Path) -> Fault:
    """The fault that pip's log tells of."""
    story = tail(log)
    errors = [line for line in story.splitlines() if line.lstrip().startswith("ERROR")]
    if FULL.search(story):
        return Fault(faults.NO_SPACE, folder=home, amount=faults.BECAME_FULL)
    if unreachable := UNREACHABLE.search(story):
        return Fault(faults.NO_NETWORK, reason=unreachable[0])
    last_words = last_line("\n".join(errors) or story)
    return Fault(faults.INSTALL_FAILED, last_words=last_words, log=log)


def tail(log: Path, lines: int = 80) -> str:
    """The end of pip's log, without its time stamps."""
    if not log.exists():
        return ""
    story = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(PIP_STAMP.sub("", line) for line in story[-lines:])


def last_line(words: str) -> str:
    """The last line that says something, shortened.

    >>> last_line("ERROR: no such thing\\n\\n")
    'no such thing'
    """
    lines = [line.strip().removeprefix("ERROR: ") for line in words.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no word"


# Which build of PyTorch an install takes, and about how much it downloads


@dataclass(frozen=True)
class TorchSource:
    """Where PyTorch comes from: an index of its own, or (None) pip's usual one.

    `download` is in megabytes, `disk` in gigabytes, both about, and both for PyTorch alone.
    """

    index: str | None
    words: str
    download: int
    disk: float


def choose_torch(python: Path) -> TorchSource:
    """The smallest build of PyTorch that serves this machine."""
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
