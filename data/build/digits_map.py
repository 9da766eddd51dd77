"""The finished maps of 10 000 digits that lab 04 shows at once: `maps/digits_*.csv`.

    python data/build/digits_map.py

It takes some minutes and needs nothing but the workbook. Another machine rounds otherwise and
finds another map, as good as this one.
"""

from __future__ import annotations

from pathlib import Path

from labsupport.labs import lab04_representation as lab
from labsupport.methods import codes

FOLDER = Path(__file__).parents[1] / "maps"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    labels = lab.digits("all").labels
    for source in lab.SOURCES.values():
        rows = lab.digit_codes("all", source)
        found = codes.embed(rows, metric="euclidean", perplexity=30, steps=750)
        lines = [f"{x:.1f},{y:.1f}" for x, y in found.points.tolist()]
        file = FOLDER / f"digits_{source}.csv"
        file.write_text("\n".join(["x,y", *lines, ""]), "utf-8", newline="\n")
        trusted = codes.trustworthiness(rows, found.points, metric="euclidean", sample=2000)
        share = codes.label_agreement(found.points, labels, metric="euclidean")
        print(f"{file.name}: divergence {found.cost:.3f}, trusted {trusted:.3f}, {share:.1%}")


if __name__ == "__main__":
    main()
