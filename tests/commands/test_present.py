"""`present` becomes Voila, on this computer alone, with a copy that shows formulas by itself."""

import sys
from pathlib import Path

import pytest

from labsupport.commands import main, present
from labsupport.commands.notebooks import read, text_of


@pytest.fixture(autouse=True)
def here(ready_here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(present, "COPIES", tmp_path)
    return tmp_path


def words(path: Path, kind: str) -> str:
    cells = [one for one in read(path)["cells"] if one["cell_type"] == kind]
    return "\n".join(map(text_of, cells))


def test_it_becomes_voila_on_this_computer_alone(executed, here, capsys):
    assert main(["present", "05", "--port", "8931", "--no-browser"]) == 0
    command, around = executed()
    assert command[:4] == [sys.executable, "-m", "voila", str(here / "05_occlusion.ipynb")]
    assert "--Voila.ip=127.0.0.1" in command
    assert "--Voila.port=8931" in command
    assert "--Voila.open_browser=False" in command
    assert "--VoilaConfiguration.strip_sources=True" in command
    token = around["JUPYTER_TOKEN"]
    assert len(token) >= 48
    assert not any(token in word for word in command)
    assert "--Voila.auto_token=True" in command
    assert f"http://127.0.0.1:8931/?token={token}" in capsys.readouterr().out


def test_the_copy_shows_formulas_no_notes_for_the_instructor_and_solutions_if_asked(executed, here):
    main(["present", "05", "--no-browser"])
    prose = words(here / "05_occlusion.ipynb", "markdown")
    assert "<math" in prose
    assert "$" not in prose
    assert "For the instructor" not in prose
    assert "NotImplementedError" in words(here / "05_occlusion.ipynb", "code")
    main(["present", "05", "--solved", "--no-browser"])
    assert "NotImplementedError" not in words(here / "05_occlusion.ipynb", "code")
