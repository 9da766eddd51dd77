"""The files that come with the workbook: where they are, and that they are what was shipped.

Every bundled file is listed with its SHA-256 in `data/SHA256SUMS`. A file is checked when it is
asked for, once per process, so that a damaged download shows up as a sentence and never as a
strange picture.
"""

import hashlib
import os
import sys
from functools import lru_cache
from pathlib import Path

from labsupport.core.errors import DamagedData, nearest

SUMS = "SHA256SUMS"


def folder() -> Path:
    """The folder of the bundled data: `$LABS_DATA`, or `data` in the package or beside it."""
    chosen = os.environ.get("LABS_DATA")
    inside = Path(__file__).resolve().parents[1] / "data"  # where a wheel has put it
    return Path(chosen or (inside if inside.is_dir() else inside.parents[1] / "data"))


def path(name: str) -> Path:
    """The place of a bundled file, after a look at its checksum.

    `name` is relative to the data folder, with forward slashes. Raises `DamagedData` when the
    file is missing, is not the one that was shipped, or never was one of ours.

    >>> path("weights/squeezenet1_1.safetensors").name
    'squeezenet1_1.safetensors'
    """
    listed = _all_listed()
    if name not in listed:
        close = ", ".join(nearest(name, listed))
        raise DamagedData(f"There is no bundled file {name!r}. The nearest names: {close}.")
    expected = listed[name]
    file = folder() / name
    try:
        status = file.stat()
        digest = _sha256(file, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise DamagedData(
            f"The bundled file {file} cannot be read ({error.strerror}). "
            f"To bring it back: {way_back(name)}"
        ) from error
    if digest != expected:
        raise DamagedData(
            f"The bundled file {file} is damaged: it is not the file that was shipped "
            f"(its SHA-256 begins with {digest[:12]}, expected {expected[:12]}). "
            f"To bring it back: {way_back(name)}"
        )
    return file


def names(under: str = "") -> list[str]:
    """The names of all bundled files, or of those below one of the data folder's folders."""
    return [name for name in _all_listed() if name.startswith(under)]


def _all_listed() -> dict[str, str]:
    sums = folder() / SUMS
    try:
        return _parsed(sums, sums.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise DamagedData(
            f"The list of bundled files, {sums}, cannot be read. If LABS_DATA is set, it must "
            f"name the workbook's data folder. To bring it back: {way_back(SUMS)}"
        ) from error


@lru_cache(maxsize=8)
def _parsed(sums: Path, _mtime: int) -> dict[str, str]:
    pairs = (line.split("  ", 1) for line in sums.read_text("utf-8").splitlines())
    return {name: digest for digest, name in pairs}


@lru_cache(maxsize=4096)
def _sha256(file: Path, _size: int, _mtime: int) -> str:
    """The size and the time are there to notice that the file was changed meanwhile."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def way_back(*names: str) -> str:
    """What to do to have these files as they were shipped; it depends on where they lie.

    >>> way_back("photos", "weights").count("data/")
    2
    """
    place = folder()
    if os.environ.get("LABS_DATA"):
        return f"copy {', '.join(names)} from the workbook's own folder data to {place} (LABS_DATA)"
    if place.parent.name == "labsupport":
        return f"{sys.executable} -m pip install --force-reinstall --no-deps FILE.whl"
    if (place.parent / ".git").exists():
        return " ".join(["git checkout --", *(f"data/{name}" for name in names)])
    return (
        f"python3 -m labsupport update FROM, where FROM is the zip file or a new copy of what you "
        f"were given (it brings {', '.join(f'data/{name}' for name in names)})"
    )
