"""What lab 09 shows without a wait: twelve photos, got back from deep codes with and without a
start from other photographs.

    python data/build/ridge_starts.py

It writes `reconstruction/starts.csv`, a line for each photo, code and way, and
`reconstruction/starts.webp`, all pictures on one sheet: a column for each photo, tiles of 224
pixels, the photos themselves on top, then three rows for each code: the ridge start, the inversion
from noise, and the inversion from the ridge start. It takes ten minutes on one core. Another
machine rounds otherwise and ends at other pictures, as near as these.
"""

from __future__ import annotations

import csv

import torch
from reconstruction import FOLDER
from torch import Tensor

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import inversion

SIZE, STEPS = 224, 60
CODES = {"pool5": "alexnet", "fire9": "squeezenet1_1", "relu10": "squeezenet1_1"}
COLUMNS = ("network", "layer", "way", "photo", "distance", "pixels", "perceptual")


def ways(network: networks.Network, code: inversion.Code) -> dict[str, Tensor]:
    """The pictures (N, 3, SIZE, SIZE) of each way to invert these codes."""
    start = inversion.ridge_start(network, code)
    return {
        "start": start,
        "plain": torch.cat(
            [inversion.invert(network, one, steps=STEPS).image for one in each(code)]
        ),
        "ridge": torch.cat(
            [
                inversion.invert(network, one, start=begin, steps=STEPS).image
                for one, begin in zip(each(code), torch.split(start, 1), strict=True)
            ]
        ),
    }


def each(code: inversion.Code) -> list[inversion.Code]:
    return [code[place] for place in range(len(code))]


def main() -> None:
    with (FOLDER / "errors.csv").open(encoding="utf-8", newline="") as file:
        names = list(dict.fromkeys(row["photo"] for row in csv.DictReader(file)))
    originals = torch.cat([images.standard(images.sample(name), SIZE) for name in names])
    sheet, rows = [originals], []
    for layer, name in CODES.items():
        network = networks.load(name, weights="bundled", device="cpu")
        code = inversion.encode(network, originals, layer)
        for way, found in ways(network, code).items():
            sheet.append(found)
            measures = (
                inversion.code_distance(network, found, code),
                inversion.pixel_distance(found, originals),
                inversion.perceptual_distance(found, originals),
            )
            for place, photo in enumerate(names):
                numbers = [f"{float(one[place]):.5f}" for one in measures]
                rows.append([name, layer, way, photo, *numbers])
            means = ", ".join(f"{float(one.mean()):.4f}" for one in measures)
            print(f"{layer}, {way}: code, pixels, LPIPS {means}", flush=True)
    with (FOLDER / "starts.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerows([COLUMNS, *rows])
    lines = [torch.cat(list(row), dim=2) for row in sheet]  # (3, SIZE, photos * SIZE)
    picture = images.to_pil(torch.cat(lines, dim=1)[None])
    picture.save(FOLDER / "starts.webp", quality=85, method=6)


if __name__ == "__main__":
    main()
