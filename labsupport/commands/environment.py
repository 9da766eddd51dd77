"""An interpreter that has all the workbook needs: the running one, or that of `.venv`.

`.venv` carries a small file, its stamp: "unfinished" from before the first step of an install
until after the last one. So an install that was cut off is found at the next start, and finished.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from labsupport.commands import faults
from labsupport.commands.faults import Fault
from labsupport.commands.installation import install
from labsupport.commands.interpreters import Interpreter, inside, running
from labsupport.commands.requirements import INSTALLED, ROOT, fingerprint

HOME = ROOT / ".venv"


@dataclass(frozen=True)
class Stamp:
    """What was installed: pyproject's fingerprint, the Python, the extras; and if all is there."""

    fingerprint: str
    python: str
    extras: tuple[str, ...]
    finished: bool

    @classmethod
    def read(cls, home: Path) -> Stamp | None:
        """The stamp of the environment in `home`; None when there is none that can be read."""
        try:
            fields = json.loads((home / "workbook.json").read_text(encoding="utf-8"))
            return cls(**{**fields, "extras": tuple(fields["extras"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, home: Path) -> None:
        """Put the stamp there in one step: a reader sees the old one or this one."""
        draft = home / "workbook.json.new"
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        draft.replace(home / "workbook.json")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of the commands that people start with."""
    parser.add_argument("--python", metavar="NAME", help="make the environment with this Python")
    parser.add_argument(
        "--newest", action="store_true", help="install the newest versions, not the tested ones"
    )


def ready(*extras: str, python: str | None = None, newest: bool = False) -> Path:
    """The interpreter to use, in an environment that satisfies pyproject.toml.

    The running (or named) interpreter's own environment when it has everything, else `.venv`,
    which is made, finished or brought up to date as needed. What cannot be mended is a `Fault`.
    """
    named = Interpreter.named(python) if python else running()
    if not named.lacking(*extras) and not unfinished(named):
        return named.path
    if INSTALLED:
        raise Fault(faults.LACKS_PACKAGES, lacking=" ".join(map(str, named.lacking(*extras))))
    if not is_complete(extras, python):
        try:
            with install_lock():
                if not is_complete(extras, python):
                    install_missing(extras, python, newest=newest)
        except KeyboardInterrupt:
            raise Fault(faults.STOPPED) from None
    return inside(HOME)


def unfinished(interpreter: Interpreter) -> bool:
    """Whether that is the interpreter of a `.venv` whose install was cut off."""
    stamp = Stamp.read(HOME)
    ours = interpreter.path.absolute().is_relative_to(HOME.absolute())
    return ours and stamp is not None and not stamp.finished


def is_complete(extras: Sequence[str], python: str | None = None) -> bool:
    """Whether `.venv` is finished, has everything, and has the Python that is asked for."""
    stamp, interpreter = Stamp.read(HOME), Interpreter.at(inside(HOME))
    if interpreter is None or (stamp is not None and not stamp.finished):
        return False
    return not has_other_python(stamp, interpreter, python) and not interpreter.lacking(*extras)


def has_other_python(stamp: Stamp | None, interpreter: Interpreter, python: str | None) -> bool:
    """Whether `.venv` was made for another Python than it has now, or than is asked for."""
    fitting = {interpreter.feature_version}
    if stamp is not None:
        fitting.add(stamp.python)
    if python is not None:
        fitting.add(Interpreter.named(python).feature_version)
    return len(fitting) > 1


def install_missing(extras: Sequence[str], python: str | None, *, newest: bool) -> None:
    """Make `.venv` whole, saying first why that is needed."""
    base = Interpreter.named(python)
    if base.system in faults.NO_PYTORCH:
        raise Fault(faults.NO_PYTORCH[base.system] + faults.OTHER_WAYS)
    before, interpreter = Stamp.read(HOME), Interpreter.at(inside(HOME))
    print(reason(before, interpreter, extras), flush=True)
    with writable():
        if HOME.exists() and (interpreter is None or has_other_python(before, interpreter, python)):
            remove(before)
            before, interpreter = None, None
        extras = tuple(sorted({*extras, *(before.extras if before else ())}))
        version = (interpreter or base).feature_version
        stamp = Stamp(fingerprint(), version, extras, finished=False)
        HOME.mkdir(exist_ok=True)
        stamp.write(HOME)
        install(HOME, base, extras, newest=newest)
        replace(stamp, finished=True).write(HOME)


def reason(before: Stamp | None, interpreter: Interpreter | None, extras: Sequence[str]) -> str:
    """Why something has to be installed, in a sentence."""
    if not HOME.exists():
        return "Making an environment for the workbook, once; later starts take seconds."
    if before is not None and not before.finished:
        return "The last install was interrupted; finishing it now."
    if interpreter is None:
        return "The Python of .venv does not start any more; making .venv anew."
    lacking = ", ".join(map(str, interpreter.lacking(*extras)))
    if not lacking:
        return "The environment .venv has another Python; making it anew."
    if before is not None and not set(extras) <= set(before.extras):
        return "Adding to .venv what the tests need."
    if before is not None and before.fingerprint != fingerprint():
        return f"pyproject.toml lists something new; bringing .venv up to date ({lacking})."
    return f"Packages are missing from .venv, or too old; installing them ({lacking})."


def remove(before: Stamp | None) -> None:
    """Delete `.venv`, if it is ours to delete."""
    if before is None and any(HOME.iterdir()):
        raise Fault(faults.FOREIGN_ENVIRONMENT, folder=HOME)
    shutil.rmtree(HOME)


@contextlib.contextmanager
def writable() -> Iterator[None]:
    """Turn the system's words for "read-only" and "full" into faults."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
            raise Fault(faults.NO_SPACE, folder=HOME, amount=faults.BECAME_FULL) from None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise Fault(faults.READ_ONLY, folder=ROOT) from None
        raise


@contextlib.contextmanager
def install_lock() -> Iterator[None]:
    """Hold the lock beside `.venv`: two starts at once must not install into it together."""
    with writable(), (ROOT / ".venv.lock").open("a") as file:
        if not lock(file, wait=False):
            print("Another start is installing; waiting for it to finish.", flush=True)
            while not lock(file, wait=True):
                time.sleep(1)
        yield


def lock(file: IO[str], *, wait: bool) -> bool:
    """Take the lock, which the system gives back when we end in whatever way."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True
