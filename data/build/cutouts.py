"""The cut-outs, as cutouts.csv lists them: `python cutouts.py SCRATCH`.

Each thing keeps its opacity, sits in the middle of a square of 224 pixels with a small margin, and
is enlarged at most two and a half times.
"""

from __future__ import annotations

from pathlib import Path

from credits import table
from photos import write_index
from PIL import Image, ImageFilter
from sources import DATA, scratch

SIDE = 224
LONGEST = 208
LARGEST_SCALE = 2.5
FAINTEST = 24  # of 255; what is fainter is dust or the rest of a shadow
CREDIT = {
    "author": "Bill Kendrick and the contributors to Tux Paint",
    "licence": "GPL-2.0-or-later",
}


def squared(picture: Image.Image, erode: bool) -> Image.Image:
    """The thing in the middle of an empty square; `erode` takes a pale rim of one pixel off."""
    alpha = picture.getchannel("A").point(lambda value: 0 if value < FAINTEST else value)
    if erode:
        alpha = alpha.filter(ImageFilter.MinFilter(3))
    picture.putalpha(alpha)
    thing = picture.crop(alpha.getbbox())
    scale = min(LONGEST / max(thing.size), LARGEST_SCALE)
    size = (max(1, round(thing.width * scale)), max(1, round(thing.height * scale)))
    thing = thing.resize(size, Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIDE, SIDE), (255, 255, 255, 0))
    square.paste(thing, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def main() -> None:
    stamps = scratch("Make the bundled cut-outs.")
    stamps /= "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
    folder: Path = DATA / "cutouts"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    entries = table("cutouts.csv")
    for entry in entries:
        source = stamps / f"{entry['source']}.png"
        entry.update(
            CREDIT,
            file=f"{entry['name']}.webp",
            origin=f"tuxpaint-stamps-default, {entry['source']}",
        )
        square = squared(Image.open(source).convert("RGBA"), entry["erode"] == "1")
        square.save(folder / entry["file"], quality=60, alpha_quality=50, method=6)
    write_index(folder, entries)


if __name__ == "__main__":
    main()
