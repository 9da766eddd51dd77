"""The right build of PyTorch for each machine, and no index that can keep a student waiting."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsupport.commands import installation

PYTHON = Path(sys.executable)


CLOSING = threading.Event()


class Index(http.server.BaseHTTPRequestHandler):
    """Answers well, badly, or late."""

    def do_GET(self) -> None:
        if self.path == "/late":
            CLOSING.wait(30)
        self.send_response(404 if self.path == "/absent" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[str]:
    CLOSING.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    CLOSING.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def plain_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux on a PC, no NVIDIA driver, pip as it comes."""
    for name in ("PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(installation.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(installation, "has_nvidia", lambda: False)
    monkeypatch.setattr(installation, "has_own_index", lambda python: False)
    monkeypatch.setattr(installation, "answers", lambda address: True)


@pytest.mark.usefixtures("plain_linux")
@pytest.mark.parametrize(
    ("changes", "index", "words", "download"),
    [
        ({}, installation.CPU_INDEX, "the small build", "350 MB"),
        ({"has_nvidia": True}, None, "has one", "3.1 GB"),
        ({"answers": False}, None, "did not answer within 3 s", "3.1 GB"),
        # An index of the user's own is respected, and ours is not asked.
        ({"has_own_index": True, "answers": None}, None, "pip is set to use", "3.1 GB"),
        ({"platform": "darwin", "answers": None}, None, "for this system", "350 MB"),
        ({"platform": "win32", "answers": None}, None, "for this system", "350 MB"),
    ],
)
def test_each_machine_gets_the_smallest_build_that_serves_it(
    changes, index, words, download, monkeypatch
):
    for name, answer in changes.items():
        if name == "platform":
            monkeypatch.setattr(sys, "platform", answer)
        elif answer is None:
            monkeypatch.setattr(installation, name, lambda *_: pytest.fail("asked"))
        else:
            monkeypatch.setattr(installation, name, lambda *_, answer=answer: answer)
    source = installation.choose_torch(PYTHON)
    assert source.index == index
    assert words in source.words
    assert installation.download_words(source) == f"about {download} to download"


@pytest.mark.parametrize(
    ("variable", "settings", "own"),
    [
        ("PIP_INDEX_URL", "", True),
        ("PIP_NO_INDEX", "", True),
        ("", "global.index-url='https://mirror.invalid/simple'", True),
        ("", "install.no-index='true'", True),
        ("", "global.index_url='https://mirror.invalid/simple'", True),
        ("", "global.extra-index-url='https://mirror.invalid/simple'\nglobal.cert='x'", False),
        ("", "", False),
    ],
)
def test_the_environment_and_pips_configuration_can_name_or_forbid_an_index(
    variable: str, settings: str, own: bool, monkeypatch: pytest.MonkeyPatch
):
    for name in ("PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    reply = subprocess.CompletedProcess([], 0, stdout=settings)
    monkeypatch.setattr(installation.subprocess, "run", lambda *_, **__: reply)
    assert installation.has_own_index(PYTHON) == own


def test_an_answer_is_an_answer_and_nothing_else_is_nor_waited_for(index: str, monkeypatch):
    assert installation.answers(index + "/there")
    assert not installation.answers(index + "/absent")
    assert not installation.answers("http://127.0.0.1:9/")
    assert not installation.answers("no address at all")
    # neither a late answer nor a slow name server is waited for
    begun = time.monotonic()
    assert not installation.answers(index + "/late", patience=0.3)
    closed = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        closed.wait(30)
        raise OSError("no such name")

    monkeypatch.setattr(installation.urllib.request, "urlopen", look_up)
    assert not installation.answers("http://anywhere.invalid", patience=0.2)
    assert time.monotonic() - begun < 5.0
    closed.set()


def test_download_and_disk_grow_with_the_build_and_the_test_tools(monkeypatch):
    small = installation.TorchSource("x", "", 200, installation.CPU_DISK)
    large = installation.TorchSource(None, "", 3000, installation.CUDA_DISK)
    needed = [installation.disk_needed(source) for source in (None, small, large)]
    assert needed == sorted(needed)
    assert 6e9 < needed[2] < 9e9
    assert installation.disk_needed(small, ["test"]) > needed[1]
    assert installation.download_words(large, ["test"]) == "about 3.2 GB to download"
    # other processors than a PC's have no build for NVIDIA
    monkeypatch.setattr(installation.platform, "machine", lambda: "aarch64")
    assert installation.default_source("so it is").download == installation.CPU_DOWNLOAD
