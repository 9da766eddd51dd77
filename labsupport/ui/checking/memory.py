"""What was solved, kept from one session to the next: one small file per exercise."""

import contextlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from labsupport.ui.checking.judging import State


@dataclass(frozen=True)
class Record:
    """The last verdict on an exercise and the fingerprint of the code that it was given for."""

    state: State
    code: str


def folder() -> Path:
    """Where records are kept: `LABS_STATE`, else the user's own folder for programs' state."""
    chosen = os.environ.get("LABS_STATE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state"))
    return base / "labsupport" / "exercises"


class Memory:
    """Records by exercise: this session's, and those of earlier sessions from the folder.

    A folder that cannot be read or written costs nothing but the memory of earlier sessions.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self.session: dict[str, Record] = {}

    def keep(self, exercise: str, record: Record) -> None:
        """Remember the record, here and on the disk."""
        self.session[exercise] = record
        with contextlib.suppress(OSError, RuntimeError):
            place = self._place or folder()
            place.mkdir(parents=True, exist_ok=True)
            _replace(place / f"{exercise}.json", {"state": record.state, "code": record.code})

    def recall(self, exercise: str) -> Record | None:
        """The last record of the exercise, if there is one."""
        if exercise in self.session:
            return self.session[exercise]
        with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
            place = self._place or folder()
            kept = json.loads((place / f"{exercise}.json").read_text(encoding="utf-8"))
            if kept["state"] in ("right", "wrong", "not done"):
                return Record(kept["state"], str(kept["code"]))
        return None


def _replace(path: Path, content: dict[str, str]) -> None:
    """Write beside and move over, so that a reader never meets half a file."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8"
    ) as part:
        json.dump(content, part)
    Path(part.name).replace(path)
