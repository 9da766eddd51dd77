"""What lab 08 shows without a wait: class images and units that were optimized before.

    python data/build/optimized.py

It writes two sheets into `optimized/`, with a table for each that has a row for each tile:
`classes`, the slides' twenty classes of SqueezeNet, most of them on white as far as their masks
go, and
`units`, six units for each of some layers of AlexNet and VGG-16. It takes a quarter of an hour on
one core. The settings and seeds of the classes were chosen by eye, of three settings and up to
seven seeds. Another machine, or several images in one batch, rounds otherwise and ends at other
pictures: then choose again.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.labs.lab08_optimization.visualization import (
    KEPT_COLUMNS,
    RECIPES,
    class_objective,
    on_white,
)
from labsupport.methods.optimize import COARSE, Adam, CoarseToFine, Noise, Zoom, visualize
from labsupport.ui import figures

FOLDER = Path(__file__).parents[1] / "optimized"
CLASS_SIDE, UNIT_SIDE = 224, 144
LARGER = replace(COARSE, transforms=(CoarseToFine(), Zoom(0.6, middle=0.5, side=224), Noise()))
LONGER = replace(
    COARSE,
    transforms=(CoarseToFine(), Zoom(0.5, middle=0.5, side=192), Noise(0.12)),
    optimizer=Adam(0.1, schedule="cosine"),
    steps=320,
)
SETTINGS = {**RECIPES, "coarse to fine, larger": LARGER, "coarse to fine, longer": LONGER}
# By class: the setting, the pixels of a picture's side, the seed; True where the mask is left out.
CLASSES = {
    "dumbbell": ("ours", 224, 0, True),
    "cup": ("MACO 2023", 224, 0, False),
    "dalmatian": ("ours", 224, 0, False),
    "bell pepper": ("ours", 192, 0, False),
    "lemon": ("coarse to fine, longer", 224, 0, False),
    "Siberian husky": ("ours", 224, 3, True),
    "washer": ("coarse to fine, larger", 256, 2, True),
    "computer keyboard": ("ours", 224, 3, True),
    "kit fox": ("ours", 224, 0, False),
    "goose": ("MACO 2023", 224, 0, False),
    "ostrich": ("MACO 2023", 224, 0, False),
    "limousine": ("coarse to fine", 224, 1, False),
    "flamingo": ("MACO 2023", 224, 0, False),
    "pelican": ("MACO 2023", 224, 0, False),
    "hartebeest": ("MACO 2023", 224, 0, True),
    "pool table": ("coarse to fine, larger", 256, 1, False),
    "ground beetle": ("ours", 224, 1, False),
    "Indian cobra": ("ours", 224, 0, False),
    "beach wagon": ("MACO 2023", 224, 0, False),
    "black swan": ("ours", 224, 1, False),
}
# By network and layer: the pixels of a picture's side, the steps, and the channels. Those of the
# last layers have top patches that show one kind of thing; all others are evenly spread.
UNITS: dict[str, dict[str, tuple[int, int, tuple[int, ...]]]] = {
    "alexnet": {
        "relu1": (96, 64, (0, 10, 20, 30, 40, 50)),
        "relu2": (128, 64, (0, 30, 60, 90, 120, 150)),
        "conv3": (160, 64, (0, 60, 120, 180, 240, 300)),
        "conv4": (192, 96, (0, 40, 80, 120, 160, 200)),
        "conv5": (224, 128, (13, 77, 182, 84, 50, 109)),
    },
    "vgg16": {
        "relu1_2": (96, 64, (0, 10, 20, 30, 40, 50)),
        "relu2_2": (128, 64, (0, 20, 40, 60, 80, 100)),
        "relu3_3": (144, 64, (0, 40, 80, 120, 160, 200)),
        "conv4_3": (160, 64, (0, 80, 160, 240, 320, 400)),
        "conv5_3": (192, 64, (282, 243, 101, 442, 247, 361)),
    },
}


def write(name: str, tiles: list[Tensor], rows: list[dict[str, object]]) -> None:
    """A sheet of tiles (1, 3, S, S) and its table."""
    sheet = figures.mosaic(torch.cat(tiles), columns=KEPT_COLUMNS[name], gap=0)
    sheet.save(FOLDER / f"{name}.webp", quality=88, method=6)
    with (FOLDER / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def classes() -> None:
    network = networks.load("squeezenet1_1", weights="bundled", device="cpu")
    tiles, rows = [], []
    for name, (setting, size, seed, whole) in CLASSES.items():
        how: dict[str, Any] = {"recipe": SETTINGS[setting], "size": size, "seed": seed}
        frame = visualize(network, class_objective(name), **how)
        tiles.append(images.resize(frame.image if whole else on_white(frame), CLASS_SIDE))
        ground = "whole" if whole else "white"
        row = {"class": name, "setting": setting, "size": size, "seed": seed, "ground": ground}
        rows.append(row)
        print(name, flush=True)
    write("classes", tiles, rows)


def units() -> None:
    tiles, rows = [], []
    for name, layers in UNITS.items():
        network = networks.load(name, weights="bundled", device="cpu")
        for layer, (size, steps, channels) in layers.items():
            for channel in channels:
                image = visualize(network, (layer, channel), size=size, steps=steps).image
                tiles.append(images.resize(image, UNIT_SIDE))
                rows.append({"network": name, "layer": layer, "channel": channel})
            print(name, layer, flush=True)
    write("units", tiles, rows)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    classes()
    units()


if __name__ == "__main__":
    main()
