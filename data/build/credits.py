"""Who made a source picture, and under which licence: from the packages' own notes.

gcompris-qt-data keeps a README beside its pictures; credits.csv holds what scikit-image and
scikit-learn say in their documentation.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote


@dataclass(frozen=True)
class Credit:
    author: str
    licence: str
    origin: str


def table(name: str) -> list[dict[str, str]]:
    """The rows of a table that lies beside the recipes."""
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def find(scratch: Path, source: str) -> tuple[Path, Credit]:
    """The file and the credit of `collection/picture`."""
    collection, _, rest = source.partition("/")
    if collection in ("skimage", "sklearn"):
        inside = {"skimage": "skimage/data", "sklearn": "sklearn/datasets/images"}[collection]
        (row,) = [row for row in table("credits.csv") if row["source"] == source]
        return scratch / "wheels" / inside / rest, Credit(
            row["author"], row["licence"], row["origin"]
        )
    (readme,) = (scratch / "rcc" / collection).rglob("README")
    return readme.parent / rest, _from_notes(readme.read_text("utf-8"), rest)


def _from_notes(notes: str, name: str) -> Credit:
    """One block for each picture, divided by empty lines: fields, and the names of its files."""
    known = {"aulaPalatina.webp": "audaPalatina.webp"}  # a slip in the package's notes
    last = Path(name).name
    for block in re.split(r"\n\s*\n", notes):
        if re.search(rf"(^|[\s/]){re.escape(known.get(last, last))}\s*$", block, re.MULTILINE):
            return _credit(block)
    raise SystemExit(f"no credit for {name}")


def _credit(block: str) -> Credit:
    fields = dict(re.findall(r"^(Copyright|License|Source|Comment): *(.+)$", block, re.MULTILINE))
    licence = re.sub(r"^(CC-BY(-SA)?) ", r"\1-", fields["License"]).replace("Domain", "domain")
    comment = fields.get("Comment", "")
    photo = re.search(r"(?:photo|image) by (.+?), license (.+?), source at (\S+)", comment)
    painter = re.search(r"painting by (.+?),", comment)
    if photo:
        author, _, link = photo.groups()
        return Credit(author, licence, f"gcompris-qt-data; {_commons(link)}")
    if painter:
        return Credit(painter[1], licence, "gcompris-qt-data")
    return Credit(
        fields["Copyright"].lstrip("© "), licence, f"gcompris-qt-data; {_commons(fields['Source'])}"
    )


def _commons(link: str) -> str:
    """The file's name on Wikimedia Commons; other links keep their last part."""
    name = unquote(link.strip().rstrip("/").rsplit("/", 1)[-1]).replace("_", " ")
    return f"Wikimedia Commons, {name}" if "wikimedia" in link else f"Flickr, {name}"
