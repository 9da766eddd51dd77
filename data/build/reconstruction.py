"""What lab 09 shows without a wait: twelve photos, got back from ten of their codes each.

    python data/build/reconstruction.py

It writes `reconstruction/errors.csv`, a line for each photo and layer, and
`reconstruction/pictures.webp`, all reconstructions on one sheet: a row for each layer, a column for
each photo, tiles of 128 pixels, the photos themselves on top. It takes some minutes a layer.
Another machine rounds otherwise and ends at other pictures, as near as these.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import inversion

FOLDER = Path(__file__).parents[1] / "reconstruction"
SIZE, STEPS, PHOTOS = 128, 100, 12
LAYERS = ("pool1", "fire2", "fire3", "fire4", "fire5", "pool5", "fire7", "fire9")
COLUMNS = ("layer", "photo", "numbers", "normalised", "distance", "pixels")
SEEN = (
    "answer",
    "same",
    "among",
    "probability",
    "perceptual",
)  # of the pictures as they are on the sheet


def chosen(network: networks.Network) -> list[str]:
    """Photos of which the network names the ImageNet class first, at this size too; one a class."""
    found: dict[str, str] = {}
    for photo in images.photos():
        if photo.imagenet is not None and photo.imagenet not in found:
            [[answer]] = network.predict(images.standard(photo, SIZE), 1)
            if answer.name == photo.imagenet:
                found[photo.imagenet] = photo.name
    return list(found.values())


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    network = networks.load("squeezenet1_1", weights="bundled", device="cpu")
    names = chosen(network)
    names = names[:: max(1, len(names) // PHOTOS)][:PHOTOS]
    originals = torch.cat([images.standard(images.sample(name), SIZE) for name in names])
    hundred = [one for one in images.photos() if one.name not in names][: 100 - PHOTOS]
    others = torch.cat([images.standard(one, SIZE) for one in hundred])
    layers = [*LAYERS, inversion.LOG_PROBABILITIES, inversion.Hog()]
    rows: list[list[object]] = []
    sheet = [originals]
    for found in inversion.errors_by_layer(
        network, originals, layers, others=others, steps=STEPS, seed=0
    ):
        sheet.append(found.images)
        for place, name in enumerate(names):
            numbers = (found.normalised, found.distance, found.pixels)
            values = [f"{float(one[place]):.5f}" for one in numbers]
            rows.append([found.layer, name, found.numbers, *values])
        print(f"{found.layer}: {float(found.normalised.mean()):.4f}", flush=True)
    lines = [torch.cat(list(row), dim=2) for row in sheet]  # (3, SIZE, photos * SIZE)
    picture = images.to_pil(torch.cat(lines, dim=1)[None])
    picture.save(FOLDER / "pictures.webp", quality=90, method=6)
    write(network, rows)


def write(network: networks.Network, rows: list[list[object]]) -> None:
    """The table, with what the network sees in the pictures of the sheet."""
    sheet = images.load(FOLDER / "pictures.webp")
    tiles = sheet[0].unfold(1, SIZE, SIZE).unfold(2, SIZE, SIZE).permute(1, 2, 0, 3, 4)
    answers = [row[0].name for row in network.predict(tiles[0], 1)]
    seen = [inversion.recognition(network, row, tiles[0]) for row in tiles[1:]]
    looks = [inversion.perceptual_distance(row, tiles[0]).tolist() for row in tiles[1:]]
    with (FOLDER / "errors.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([*COLUMNS, *SEEN])
        for number, row in enumerate(rows):
            layer, photo = divmod(number, len(answers))
            same, among = (int(one[photo]) for one in (seen[layer].same, seen[layer].among))
            chance = f"{float(seen[layer].probability[photo]):.4f}"
            look = f"{looks[layer][photo]:.5f}"
            out.writerow([*row, answers[photo], same, among, chance, look])


if __name__ == "__main__":
    main()
