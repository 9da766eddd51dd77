"""Unpack Qt resource files: `python rcc.py SCRATCH` (needs PySide6-Essentials, for this alone)."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QDir, QDirIterator, QFile, QIODevice, QResource
from sources import scratch

FILES = (
    "details",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
    "paintings",
)


def unpack(source: Path, target: Path) -> None:
    """Write every file of one resource file below `target`, under its own name."""
    root = f"/{source.stem}"
    if not QResource.registerResource(str(source), root):
        raise SystemExit(f"{source} is no Qt resource file")
    walk = QDirIterator(f":{root}", QDir.Filter.Files, QDirIterator.IteratorFlag.Subdirectories)
    while walk.hasNext():
        name = walk.next()
        file = QFile(name)
        if file.open(QIODevice.OpenModeFlag.ReadOnly):
            place = target / name.removeprefix(f":{root}/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.readAll().data())
    QResource.unregisterResource(str(source), root)


def main() -> None:
    folder = scratch("Unpack the picture collections of gcompris-qt-data.")
    for name in FILES:
        source = folder / f"gcompris-qt-data/usr/share/gcompris-qt/rcc/{name}.rcc"
        unpack(source, folder / "rcc" / name)


if __name__ == "__main__":
    main()
