"""`lab`: JupyterLab on this computer alone, open at the first notebook."""

import os
import secrets
import shutil
import socket
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from labsupport.commands import environment, faults, interpreters, update
from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import FOLDER
from labsupport.commands.requirements import INSTALLED, PACKAGE, ROOT

SETTINGS = PACKAGE / "jupyter"
WORKSPACES = Path("build", "workspaces")
LAYOUT = "default-37a8.jupyterlab-workspace"  # JupyterLab's name for the layout without a name
FIRST = "notebooks/00_start_here.ipynb"
HOST = "127.0.0.1"
USUAL_PORTS = range(8888, 8899)


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `lab`."""
    add_server_arguments(parser)
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", help="unpack the notebooks there and open them there"
    )
    environment.add_arguments(parser)


def add_server_arguments(parser: ArgumentParser) -> None:
    """The options of what a browser opens."""
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--port", type=int, help="listen there (default: a free port)")


def main(options: Namespace) -> int:
    """Make the environment ready, then become JupyterLab."""
    if INSTALLED and options.into is None:
        raise Fault(faults.NO_FOLDER)
    folder = options.into.absolute() if options.into else ROOT
    port = checked_port(options.port)
    python = environment.ready(python=options.python, newest=options.newest)
    if options.into:
        update.bring(FOLDER.parent, folder, "notebooks/")
    token = secrets.token_hex(24)
    print(f"The workbook opens at {address(port, token, folder)}")
    print("Ctrl-C, twice, closes it.", flush=True)
    command = server_command(python, port, browser=not options.no_browser, folder=folder)
    return interpreters.exec_program(command, JUPYTER_TOKEN=token)


def server_command(python: Path, port: int, *, browser: bool, folder: Path = ROOT) -> list[str]:
    """The words that start JupyterLab; its token comes in JUPYTER_TOKEN, unseen by other users."""
    command = [
        str(python),
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.open_browser={browser}",
        f"--LabApp.app_settings_dir={SETTINGS}",
        f"--LabApp.default_url={first_page(folder)}",
        *own_layout(folder),
    ]
    as_root = sys.platform != "win32" and os.geteuid() == 0
    return [*command, "--allow-root"] if as_root else command


def own_layout(folder: Path = ROOT) -> list[str]:
    """Where JupyterLab keeps the workbook's layout: it begins with both side bars folded.

    No word where that folder cannot be written; the layout is then the one of other notebooks.
    """
    place = folder / WORKSPACES
    try:
        if not (place / LAYOUT).exists():
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SETTINGS / "layout.json", place / LAYOUT)
    except OSError:
        return []
    return [f"--LabApp.workspaces_dir={place}"]


def first_page(folder: Path) -> str:
    """The path in JupyterLab's address that opens the first notebook."""
    return f"/lab/tree/{FIRST}" if (folder / FIRST).exists() else "/lab"


def address(port: int, token: str, folder: Path = ROOT) -> str:
    """Where a browser finds the workbook.

    >>> address(8888, "secret").startswith("http://127.0.0.1:8888/lab")
    True
    """
    return f"http://{HOST}:{port}{first_page(folder)}?token={token}"


def checked_port(port: int | None) -> int:
    """The port that was asked for, or a free one; a `Fault` if it cannot be had."""
    if port is None:
        return free_port()
    if not 1 <= port <= 65535:
        raise Fault(faults.BAD_PORT, port=port)
    try:
        listen(port)
    except PermissionError:
        raise Fault(faults.BAD_PORT, port=port) from None
    except OSError:
        raise Fault(faults.PORT_TAKEN, port=port) from None
    return port


def free_port() -> int:
    """A port nobody listens on, near the one that people know from Jupyter."""
    for port in (*USUAL_PORTS, 0):
        try:
            return listen(port)
        except OSError:
            continue
    raise Fault(faults.NO_PORT)


def listen(port: int) -> int:
    """Listen there for a moment (0: anywhere), and tell where; an `OSError` if that cannot be."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as ear:
        if sys.platform != "win32":
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.bind((HOST, port))
        ear.listen()
        return int(ear.getsockname()[1])
