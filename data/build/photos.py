"""The photos with their backgrounds, as photos.csv lists them: `python photos.py SCRATCH`.

Pictures whose probabilities the workbook quotes keep their own size and every pixel; all others
are made to fit 512 pixels and stored as lossy WebP.
"""

from __future__ import annotations

import csv
from pathlib import Path

from credits import find, table
from PIL import Image
from sources import DATA, scratch

LONGEST = 512
QUALITY = 82
EXACT = ("coffee", "chelsea", "china")
COLUMNS = (
    "name", "file", "title", "category", "label", "imagenet", "author", "licence", "origin",
)  # fmt: skip


def write_index(folder: Path, entries: list[dict[str, str]]) -> None:
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(entries)


def write_photo(source: Path, target: Path, *, exact: bool = False) -> None:
    picture = Image.open(source).convert("RGB")
    if exact:
        picture.save(target, lossless=True, quality=100, method=6)
        return
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    picture.save(target, quality=QUALITY, method=6)


def main() -> None:
    sources = scratch("Make the bundled photos.")
    folder = DATA / "photos"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    entries = table("photos.csv")
    for entry in entries:
        source, credit = find(sources, entry["source"])
        entry.update(vars(credit), file=f"{entry['name']}.webp")
        write_photo(source, folder / entry["file"], exact=entry["name"] in EXACT)
    write_index(folder, entries)


if __name__ == "__main__":
    main()
