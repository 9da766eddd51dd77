"""Which labs are opened in the browser: three that have every kind of control, and what a change
touches; all of them with `python -m labsupport test --all`."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALWAYS = ("06", "07", "09")
MOST = 6  # labs in one run: a change to all of them is looked at with --all
SINCE = ("HEAD", "HEAD~1", "main", "origin/main")  # what was changed since then, or is not yet in


def opened() -> list[Path]:
    """The notebooks that this run opens."""
    if os.environ.get("LABS_TESTS") == "all":
        return NOTEBOOKS
    first = [path for path in NOTEBOOKS if path.name.startswith(ALWAYS)]
    files = changes()
    touched = [path for path in NOTEBOOKS if path not in first and is_touched(path, files)]
    return sorted([*first, *touched][:MOST])


def changes() -> set[str]:
    """The files that differ from the last commit, the one before, or the main branch; none where
    there is no git, or no such commit."""
    words = [["diff", "--name-only", one] for one in SINCE]
    words.append(["ls-files", "--others", "--exclude-standard"])
    found = set()
    for one in words:
        try:
            told = subprocess.run(
                ["git", *one], cwd=ROOT, capture_output=True, text=True, check=False
            )
        except OSError:
            return set()
        found |= set(told.stdout.split()) if not told.returncode else set()
    return found


def is_touched(notebook: Path, files: Iterable[str]) -> bool:
    """Whether one of the files is the notebook, its lab's code, or a method that these import."""
    number = notebook.name[:2]
    used = imports_of(notebook)
    for file in map(Path, files):
        own = re.match(rf"{number}_.*\.ipynb|lab{number}\w*(\.py)?$", file.name)
        inside = any(part.startswith(f"lab{number}") for part in file.parts)
        method = file.parts[2].partition(".")[0] if "methods" in file.parts[:2] else ""
        if own or inside or method in used:
            return True
    return False


def imports_of(notebook: Path) -> set[str]:
    """The words of the import statements in a notebook and in its lab's code."""
    labs = (ROOT / "labsupport" / "labs").rglob("*.py")
    own = [path for path in labs if f"lab{notebook.name[:2]}" in path.as_posix()]
    text = "\n".join(path.read_text(encoding="utf-8") for path in own)
    text += notebook.read_text(encoding="utf-8").replace('"', "\n")
    lines = re.findall(r"^\s*(?:from|import) [^(\n]*(?:\([^)]*\))?", text, re.MULTILINE)
    return set(re.findall(r"\w+", "\n".join(lines)))
