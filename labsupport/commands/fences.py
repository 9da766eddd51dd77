"""What a submitted program may do while it is marked: compute, and write in one folder.

Two fences stand around it. Python's audit hooks refuse what a program asks Python for, on every
system. On Linux the kernel (Landlock, from 5.13 on) refuses it too, whoever asks.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES_FILES = {
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime", "os.setxattr", "shutil.rmtree", "shutil.move"),
}
STARTS_PROGRAMS = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.forkpty", "os.startfile", "os.kill", "os.killpg", "signal.pthread_kill", "pty.spawn"),
}
USES_NETWORK = {
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname"),
}

# Landlock's numbers, the same on every processor: system calls, rights, and which version of the
# kernel's interface has them.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_NO_NEW_PRIVILEGES = 38
_WRITE_FILE = 1 << 1
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # remove and make, of each kind
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_CONNECT_OR_BIND = 0b11
_SIGNALS = 1 << 1


def enclose(folder: Path) -> None:
    """From now on this process writes in the folder alone, starts nothing and calls nobody."""
    folder = folder.resolve()
    if sys.platform == "linux":
        _landlock(folder)
    sys.addaudithook(_guard(folder))


def _guard(folder: Path) -> Any:
    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTS_PROGRAMS:
            raise PermissionError("A program starts no other program while it is marked.")
        if event in USES_NETWORK:
            raise PermissionError("A program has no connection while it is marked.")
        if event == "open" and _writes(arguments) and not _inside(arguments[0], folder):
            raise PermissionError(f"A program does not write to {arguments[0]} while it is marked.")
        if event in CHANGES_FILES:
            for place in arguments[:2]:
                if isinstance(place, str | bytes | os.PathLike) and not _inside(place, folder):
                    raise PermissionError(f"A program leaves {place!r} alone while it is marked.")

    return look


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool((mode and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & WRITING))


def _inside(place: Any, folder: Path) -> bool:
    """Whether a path lies in the folder; a file that is open already was looked at before."""
    if isinstance(place, int):
        return True
    path = os.path.realpath(os.fsdecode(place))
    return path == os.devnull or os.path.commonpath([path, folder]) == str(folder)


def _landlock(folder: Path) -> None:
    """Have the kernel refuse the same; an older one, or one without Landlock, does nothing."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(_CREATE, None, 0, 1)
    if version < 1:
        return
    files = _CHANGES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    network = _CONNECT_OR_BIND if version >= 4 else 0
    wanted = struct.pack("=QQQ", files, network, _SIGNALS if version >= 6 else 0)
    known = 8 if version < 4 else 16 if version < 6 else 24  # bytes that this kernel reads
    rules = call(_CREATE, wanted[:known], known, 0)
    for place, rights in ((folder, files), (Path(os.devnull), files & (_WRITE_FILE | _TRUNCATE))):
        handle = os.open(place, os.O_PATH)
        call(_ADD, rules, 1, struct.pack("=Qi", rights, handle), 0)
        os.close(handle)
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    call(_RESTRICT, rules, 0)
    os.close(rules)
