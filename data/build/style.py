"""What lab 11 shows without a wait: one photograph painted by two networks, and the paper's figure.

    python data/build/style.py

It writes `style/painted_vgg16.webp` and `style/painted_squeezenet1_1.webp`, 512 pixels wide, and
`style/grid.webp` with `style/grid.csv`: twelve pictures from noise, a row for the style layers up
to one of VGG-16 and a column for a ratio alpha / beta, and the losses that each ended at. On one
core the large picture takes five minutes and the figure ten. Another machine rounds otherwise and
paints other strokes.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import style
from labsupport.ui import figures

FOLDER = Path(__file__).parents[1] / "style"
CONTENT, PAINTING, SIZE = "taj_mahal", "cafe_terrace", (341, 512)
CASTLE, STREET, TILE = "neuschwanstein", "street_in_auvers", (128, 192)
ROWS = {"relu1_1": 1, "to relu3_1": 3, "to relu5_1": 5}
RATIOS, STEPS = (10.0, 1.0, 0.1, 0.01), 100
COLUMNS = ("layers", "ratio", "content", "style")


def painted(name: str) -> torch.Tensor:
    """The large picture by one network."""
    content = images.resize(images.sample(CONTENT), SIZE)
    painting = images.resize(images.sample(PAINTING), SIZE[0])
    return style.stylize(networks.load(name), content, painting, steps=150).image


def grid() -> tuple[list[torch.Tensor], list[list[object]]]:
    """The pictures of the figure, each (1, 3, H, W), and a row of the table for each."""
    network, usual = networks.load("vgg16"), style.GATYS
    content = images.resize(images.sample(CASTLE), TILE)
    painting = images.resize(images.sample(STREET), TILE[0])
    tiles, table = [], []
    for count in ROWS.values():
        names = list(usual.style_layers)[:count]
        weights = dict.fromkeys(names, 1 / count)
        for ratio in RATIOS:
            recipe = replace(usual, style_layers=weights, beta=1 / ratio, steps=STEPS)
            last = style.stylize(network, content, painting, recipe=recipe, start="noise")
            of_style = sum(last.losses[f"style {name}"] for name in names) / count
            losses = (last.losses["content relu4_2"], of_style)
            table.append([count, ratio, *(f"{loss:.4f}" for loss in losses)])
            tiles.append(last.image)
            print(*table[-1], flush=True)
    return tiles, table


def figure(tiles: list[torch.Tensor]) -> Image.Image:
    titles = [f"α/β = {ratio:g}" for ratio in RATIOS]
    blank = [""] * (len(tiles) - len(titles))
    return figures.mosaic(tiles, columns=4, rows=list(ROWS), titles=[*titles, *blank], gap=6)


def keep(name: str, picture: Image.Image) -> None:
    picture.save(FOLDER / f"{name}.webp", quality=90, method=6)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in ("vgg16", "squeezenet1_1"):
        keep(f"painted_{name}", images.to_pil(painted(name)))
    tiles, table = grid()
    keep("grid", figure(tiles))
    with (FOLDER / "grid.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        out.writerows(table)


if __name__ == "__main__":
    main()
