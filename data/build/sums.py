"""Write data/SHA256SUMS: every bundled file and its checksum. `python sums.py`, as the last step.

The recipes in this folder, and the texts and the README's pictures, which nothing loads, are no
bundled files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sources import DATA

UNLISTED = ("SHA256SUMS", "README.md", ".gitattributes")
FOLDERS = ("build", "gallery")


def bundled_files(data: Path) -> list[Path]:
    return sorted(
        file
        for file in data.rglob("*")
        if file.is_file()
        and file.name not in UNLISTED
        and file.relative_to(data).parts[0] not in FOLDERS
    )


def main() -> None:
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(DATA).as_posix()}\n"
        for file in bundled_files(DATA)
    ]
    (DATA / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")
    total = sum(file.stat().st_size for file in bundled_files(DATA))
    print(f"{len(lines)} files, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
