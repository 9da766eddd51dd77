"""What can go wrong before a lab is open: each fault is one sentence and the way out."""

from __future__ import annotations

from pathlib import Path

from labsupport.commands.machine import in_words
from labsupport.core.errors import LabError


class Fault(LabError):
    """A command cannot go on; its text says why, and what to do. The exit status is 1."""


def python_too_old(python: str, version: str, needed: str) -> Fault:
    """The interpreter that was named is older than pyproject.toml allows."""
    return Fault(
        f"The workbook needs Python {needed} or newer, and {python} is Python {version}. "
        "Name a newer one: python3 -m labsupport lab --python python3.12"
    )


def no_such_python(python: str) -> Fault:
    """There is no interpreter at that name or path, or it does not start."""
    return Fault(
        f"There is no Python that starts as '{python}'. "
        "Name one that does, or leave --python out: python3 -m labsupport lab"
    )


def no_venv_module(python: str, version: str) -> Fault:
    """Debian and its relatives ship Python without `ensurepip`."""
    return Fault(
        f"{python} cannot make environments: its module venv or ensurepip is missing. "
        "On Debian and Ubuntu install it with: sudo apt install python3-venv "
        f"(or python{version.rpartition('.')[0]}-venv), then start again."
    )


def venv_failed(python: str, last_words: str) -> Fault:
    """`python -m venv` ended with an error that has no sentence of its own here."""
    return Fault(
        f"{python} could not make the environment .venv: {last_words} "
        "Delete the folder .venv and start again, or name another Python with --python."
    )


def no_network(reason: str) -> Fault:
    """pip reached no package index."""
    return Fault(
        "The packages cannot be downloaded: no package index answered "
        f"(pip: {reason}). Connect this computer to the network and start again; what is "
        "already there is kept. Behind a proxy, set HTTPS_PROXY first."
    )


def no_space(folder: Path, needed: int | None = None, free: int | None = None) -> Fault:
    """The disk is too full for the install, or became so during it (sizes in bytes)."""
    if needed is not None and free is not None:
        amount = f"{in_words(needed)} are needed and {in_words(free)} are free"
    else:
        amount = "the disk became full during the install"
    return Fault(
        f"There is not enough disk space for the environment in {folder}: {amount}. "
        "Make room (python3 -m pip cache purge often helps; the folder for temporary files counts "
        "too) and start again."
    )


def read_only(folder: Path) -> Fault:
    """The folder of the workbook cannot be written to."""
    return Fault(
        f"The folder {folder} cannot be written to, so no environment can be made in it. "
        "Copy the workbook to a folder of your own and start it there."
    )


def foreign_environment(folder: Path) -> Fault:
    """`.venv` is there, was not made by the workbook, and does not work."""
    return Fault(
        f"{folder} is there, but no Python starts in it, and the workbook did not make it. "
        "Move it away or delete it, then start again."
    )


def stopped() -> Fault:
    """Ctrl-C during the install."""
    return Fault(
        "Stopped before the install was complete. The next start finishes it: "
        "python3 -m labsupport lab"
    )


def install_failed(last_words: str, log: Path) -> Fault:
    """pip ended with an error that has no sentence of its own here."""
    return Fault(
        f"The packages could not be installed (pip: {last_words}). The whole story is in {log}. "
        "Mend that and start again; what is already there is kept."
    )


def port_taken(port: int) -> Fault:
    """Another program listens on the port that was asked for."""
    return Fault(
        f"Port {port} is taken by another program. "
        "Leave --port out, and a free one is chosen, or name another: --port 8890"
    )


def bad_port(port: int) -> Fault:
    """Not a port that this user may listen on."""
    return Fault(
        f"Port {port} cannot be used. A port is a number from 1024 to 65535 here; "
        "leave --port out, and a free one is chosen."
    )


def no_port() -> Fault:
    """The system gives out no port at all."""
    return Fault(
        "No port of this computer can be listened on. A firewall or a security program forbids "
        "it: allow Python to listen on 127.0.0.1, then start again."
    )
