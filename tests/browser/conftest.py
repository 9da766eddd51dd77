"""One JupyterLab server and one headless Chromium for all browser tests."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labsupport.commands.lab import SETTINGS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
os.environ.setdefault("LABS_EXERCISES", str(ROOT / "tests" / "notebooks"))
sys.path.insert(0, str(HERE))

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without these Chromium looks up its maker's hosts at each start.
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@dataclass(frozen=True)
class Server:
    """A JupyterLab that serves a folder of copies, so that its autosave harms nothing."""

    address: str
    token: str
    folder: Path
    log: Path

    @property
    def attempts(self) -> list[str]:
        """Other machines that the server or a kernel tried to reach."""
        notes = self.log.with_name("attempts.txt")
        return notes.read_text(encoding="utf-8").split() if notes.exists() else []


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("jupyter")
    folder = home / "notebooks"
    folder.mkdir()
    token, port = secrets.token_hex(16), free_port()
    found = Server(f"http://127.0.0.1:{port}", token, folder, home / "server.log")
    with found.log.open("w") as log:
        command = server_command(folder, port)
        process = subprocess.Popen(
            command, env=surroundings(home, token), stdout=log, stderr=subprocess.STDOUT, cwd=home
        )
        try:
            wait_until_it_answers(found, process)
            yield found
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def server_command(folder: Path, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.app_settings_dir={SETTINGS}",
    ]


def surroundings(home: Path, token: str) -> dict[str, str]:
    """The kernels find the package and reach no other machine; all settings are new."""
    cut_off = ROOT / "tests" / "notebooks" / "offline"
    paths = (str(cut_off), str(ROOT), os.environ.get("PYTHONPATH"))
    places = {
        name: str(home / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
            "LABS_STATE",
        )
    }
    return os.environ | places | {
        "JUPYTER_TOKEN": token,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "LABS_OFFLINE_LOG": str(home / "attempts.txt"),
    }  # fmt: skip


def wait_until_it_answers(server: Server, process: subprocess.Popen) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"JupyterLab ended at once:\n{server.log.read_text()[-3000:]}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server.address}/api/status?token={server.token}", timeout=2)
            return
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not answer within 90 s:\n{server.log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def browser() -> Iterator:
    from lab_page import missing

    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        missing("there is no Chromium on this machine (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        yield found
        found.close()


@pytest.fixture
def desk(server, browser) -> Iterator:
    """A fresh page on the server."""
    from lab_page import LabPage

    page = LabPage(server, browser.new_context(viewport={"width": 1366, "height": 768}))
    yield page
    page.close()
