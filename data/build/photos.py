"""The photos with their backgrounds, as photos.csv lists them: `python photos.py SCRATCH`.

Pictures whose probabilities the workbook quotes keep their own size and every pixel; all others
are made to fit 512 pixels and stored as lossy WebP.
"""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image
from sources import DATA, scratch

LONGEST = 512
EXACT = ("coffee", "chelsea", "china")
COLUMNS = ("name", "file", "title", "category", "label", "imagenet")


def rows(table: str) -> list[dict[str, str]]:
    path = Path(__file__).with_name(table)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_index(folder: Path, entries: list[dict[str, str]]) -> None:
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(entries)


def write_photo(source: Path, target: Path, *, exact: bool) -> None:
    picture = Image.open(source).convert("RGB")
    if exact:
        picture.save(target, lossless=True, quality=100, method=6)
        return
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    picture.save(target, quality=85, method=6)


def main() -> None:
    sources = scratch("Make the bundled photos.")
    folder = DATA / "photos"
    folder.mkdir(exist_ok=True)
    entries = rows("photos.csv")
    for entry in entries:
        entry["file"] = f"{entry['name']}.webp"
        exact = entry["name"] in EXACT
        write_photo(sources / entry["source"], folder / entry["file"], exact=exact)
    write_index(folder, entries)


if __name__ == "__main__":
    main()
