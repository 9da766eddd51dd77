"""What lab 09 shows without a wait: one photo, got back four times from each of three codes.

    python data/build/same_code.py

It writes `reconstruction/same.webp`, a row for each code and a column for each seed, tiles of 224
pixels, the photo itself in front, and `reconstruction/same.csv`, a line for each picture. It takes
five minutes on one core. Another machine rounds otherwise and ends at other pictures.
"""

from __future__ import annotations

import csv

import torch
from reconstruction import FOLDER

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import inversion

PHOTO, SIZE, STEPS, SEEDS = "chelsea", 224, 100, (0, 1, 2, 3)
# The weight of the total variation by code; None is the setting's own.
CODES = {"fire5": None, "fire9": None, inversion.LOG_PROBABILITIES: 1.0}
COLUMNS = ("layer", "seed", "distance", "pixels", "answer")


def main() -> None:
    network = networks.load("squeezenet1_1", weights="bundled", device="cpu")
    photo = images.standard(images.sample(PHOTO), SIZE)
    sheet, rows = [], []
    for layer, weight in CODES.items():
        code = inversion.encode(network, photo, layer)
        found = inversion.invert(network, code, tv=weight, steps=STEPS, seed=SEEDS).image
        sheet.append(torch.cat([photo, found]))
        distances = inversion.code_distance(network, found, code).tolist()
        apart = inversion.pixel_distance(found, photo).tolist()
        for seed, distance, pixels in zip(SEEDS, distances, apart, strict=True):
            rows.append([layer, seed, f"{distance:.5f}", f"{pixels:.5f}"])
        print(layer, rows[-len(SEEDS) :], flush=True)
    lines = [torch.cat(list(row), dim=2) for row in sheet]
    picture = images.to_pil(torch.cat(lines, dim=1)[None])
    picture.save(FOLDER / "same.webp", quality=90, method=6)
    write(network, rows)


def write(network: networks.Network, rows: list[list[object]]) -> None:
    """The table, with the network's answers to the pictures as they are on the sheet."""
    sheet = images.load(FOLDER / "same.webp")
    tiles = sheet[0].unfold(1, SIZE, SIZE).unfold(2, SIZE, SIZE).permute(1, 2, 0, 3, 4)
    found = tiles[:, 1:].flatten(0, 1)
    answers = [answer.name for [answer] in network.predict(found, 1)]
    lines = [[*row, answer] for row, answer in zip(rows, answers, strict=True)]
    with (FOLDER / "same.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *lines])


if __name__ == "__main__":
    main()
