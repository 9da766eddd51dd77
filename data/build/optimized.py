"""What lab 08 shows without a wait: class images and units that were optimized before.

    python data/build/optimized.py

It writes two sheets into `optimized/`, with a table for each that has a row for each tile:
`classes`, the slides' twenty classes of SqueezeNet, on white as far as their masks go, and
`units`, six units for each of some layers of AlexNet and VGG-16. It takes a quarter of an hour on
one core. The settings and seeds of the classes were chosen by eye, of two settings and up to
seven seeds. Another machine, or several images in one batch, rounds otherwise and ends at other
pictures: then choose again.
"""

from __future__ import annotations

import csv
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
from labsupport.methods.optimize import visualize
from labsupport.ui import figures

FOLDER = Path(__file__).parents[1] / "optimized"
CLASS_SIDE, UNIT_SIDE = 224, 144
# By class: the setting, the pixels of a picture's side, and the seed.
CLASSES = {
    "dumbbell": ("MACO 2023", 224, 1),
    "cup": ("MACO 2023", 224, 0),
    "dalmatian": ("ours", 224, 0),
    "bell pepper": ("ours", 192, 6),
    "lemon": ("MACO 2023", 224, 4),
    "Siberian husky": ("ours", 192, 0),
    "washer": ("MACO 2023", 224, 6),
    "computer keyboard": ("ours", 224, 0),
    "kit fox": ("ours", 224, 0),
    "goose": ("MACO 2023", 224, 0),
    "ostrich": ("MACO 2023", 224, 0),
    "limousine": ("MACO 2023", 224, 0),
    "flamingo": ("MACO 2023", 224, 0),
    "pelican": ("MACO 2023", 224, 0),
    "hartebeest": ("ours", 224, 1),
    "pool table": ("MACO 2023", 224, 6),
    "ground beetle": ("ours", 224, 1),
    "Indian cobra": ("ours", 224, 0),
    "beach wagon": ("MACO 2023", 224, 0),
    "black swan": ("MACO 2023", 224, 0),
}
# By network and layer: the pixels of a picture's side, the steps, and the channels. Those of the
# last layers have top patches that show one kind of thing; all others are evenly spread.
UNITS: dict[str, dict[str, tuple[int, int, tuple[int, ...]]]] = {
    "alexnet": {
        "relu1": (96, 64, (0, 10, 20, 30, 40, 50)),
        "relu2": (128, 64, (0, 30, 60, 90, 120, 150)),
        "conv3": (160, 64, (0, 60, 120, 180, 240, 300)),
        "conv4": (192, 96, (0, 40, 80, 120, 160, 200)),
        "conv5": (224, 128, (53, 109, 66, 13, 122, 50)),
    },
    "vgg16": {
        "relu1_2": (96, 64, (0, 10, 20, 30, 40, 50)),
        "relu2_2": (128, 64, (0, 20, 40, 60, 80, 100)),
        "relu3_3": (144, 64, (0, 40, 80, 120, 160, 200)),
        "conv4_3": (160, 64, (0, 80, 160, 240, 320, 400)),
        "conv5_3": (192, 64, (442, 282, 37, 243, 361, 411, 344, 292, 241, 101, 371, 247)),
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
    for name, (setting, size, seed) in CLASSES.items():
        how: dict[str, Any] = {"recipe": RECIPES[setting], "size": size, "seed": seed}
        frame = visualize(network, class_objective(name), **how)
        tiles.append(images.resize(on_white(frame), CLASS_SIDE))
        rows.append({"class": name, "setting": setting, "size": size, "seed": seed})
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
