"""JupyterLab: on this computer alone, with a token that nobody sees, on a port that is free."""

import json
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from labsupport.commands import environment, lab
from labsupport.commands.faults import Fault


def options(*words: str) -> Namespace:
    parser = ArgumentParser()
    lab.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen()
        yield ear.getsockname()[1]


def test_the_server_listens_here_alone_with_a_new_token_that_its_command_line_hides(
    ready_here, executed, capsys
):
    tokens = set()
    for browser in (True, False, False):
        lab.main(options() if browser else options("--no-browser"))
        words, variables = executed()
        assert f"--ServerApp.open_browser={browser}" in words
        tokens.add(variables["JUPYTER_TOKEN"])
    assert len(tokens) == 3
    assert words[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--ServerApp.ip=127.0.0.1" in words
    token = variables["JUPYTER_TOKEN"]
    assert len(token) >= 32
    assert not any(token in word for word in words)
    assert f"?token={token}" in capsys.readouterr().out


def test_a_port_that_is_taken_is_refused_before_anything_is_installed(
    taken: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(environment, "ready", lambda *_, **__: pytest.fail("installed"))
    with pytest.raises(Fault, match=f"Port {taken} is taken by another program"):
        lab.main(options("--port", str(taken)))


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9, 80])
def test_what_is_no_port_or_the_systems_own_is_refused(port: int, monkeypatch):
    monkeypatch.setattr(lab, "listen", Mock(side_effect=PermissionError(13, "denied")))
    with pytest.raises(Fault, match="cannot be used"):
        lab.checked_port(port)


def test_a_free_port_is_found_although_the_usual_ones_are_taken(taken: int, monkeypatch):
    monkeypatch.setattr(lab, "USUAL_PORTS", range(taken, taken + 1))
    port = lab.free_port()
    assert port not in (0, taken)
    assert lab.checked_port(port) == port
    monkeypatch.setattr(lab, "listen", Mock(side_effect=OSError(1, "no")))
    with pytest.raises(Fault, match="firewall"):
        lab.free_port()


def test_root_may_start_it_too(monkeypatch: pytest.MonkeyPatch):
    def allowed() -> bool:
        return "--allow-root" in lab.server_command(Path("p"), 8888, browser=True)

    for user, expected in ((0, True), (1000, False)):
        monkeypatch.setattr(lab.os, "geteuid", lambda user=user: user, raising=False)
        assert allowed() == expected
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(lab.os, "geteuid")
    assert not allowed()


def test_our_settings_are_ones_that_this_jupyterlab_knows():
    settings = json.loads((lab.SETTINGS / "overrides.json").read_text(encoding="utf-8"))
    for plugin, chosen in settings.items():
        package, name = plugin.split(":")
        schema = Path(sys.prefix, "share/jupyter/lab/schemas", package, f"{name}.json")
        known = json.loads(schema.read_text(encoding="utf-8"))["properties"]
        for key, value in chosen.items():
            allowed = [choice["const"] for choice in known[key].get("oneOf", [])]
            kind = {"string": str, "boolean": bool, "object": dict}[known[key]["type"]]
            assert isinstance(value, kind), f"{plugin} {key}"
            assert value in (allowed or [value]), f"{plugin} {key}"


def test_the_first_layout_is_ours_and_a_later_one_is_kept(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(lab, "WORKSPACES", tmp_path / "new")
    assert lab.own_layout() == [f"--LabApp.workspaces_dir={tmp_path / 'new'}"]
    layout = tmp_path / "new" / lab.LAYOUT
    assert json.loads(layout.read_text("utf-8"))["metadata"]["id"] == "default"
    layout.write_text("moved since")
    lab.own_layout()
    assert layout.read_text() == "moved since"
    monkeypatch.setattr(lab, "WORKSPACES", layout / "below a file")
    assert lab.own_layout() == []


def test_the_first_notebook_is_what_opens(tmp_path: Path):
    assert lab.first_page(tmp_path) == "/lab"
    (tmp_path / "notebooks").mkdir()
    (tmp_path / lab.FIRST).touch()
    assert lab.first_page(tmp_path) == "/lab/tree/notebooks/00_start_here.ipynb"
