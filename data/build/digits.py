"""MNIST digits and Fashion-MNIST as sheets of tiles with labels: `python digits.py SCRATCH`.

A sheet has 100 tiles of 28 x 28 in a row, stored without loss; a table names each tile's label.
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sources import DATA, scratch

ROW = 100
SEED = 0
CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
Bytes = NDArray[np.uint8]


def read_digits(folder: Path) -> tuple[Bytes, Bytes]:
    """All of the npm package's digits: (10000, 28, 28) and their labels."""
    images, labels = [], []
    for digit in range(10):
        numbers = json.loads((folder / f"{digit}.json").read_text("utf-8"))["data"]
        tiles = np.round(np.array(numbers).reshape(-1, 28, 28) * 255).astype(np.uint8)
        images.append(tiles)
        labels.append(np.full(len(tiles), digit, dtype=np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def read_idx(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """One part of Fashion-MNIST in its own format."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images, labels


def write(folder: Path, split: str, images: Bytes, labels: Bytes, names: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    rows = len(images) // ROW
    sheet = images.reshape(rows, ROW, 28, 28).transpose(0, 2, 1, 3).reshape(rows * 28, ROW * 28)
    picture = Image.fromarray(sheet).convert("RGB")
    picture.save(folder / f"{split}.webp", lossless=True, quality=100, method=6)
    with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("label", "category"))
        writer.writerows((int(label), names[label]) for label in labels)


def main() -> None:
    folder = scratch("Make the sheets of digits and clothes.")
    random = np.random.default_rng(SEED)
    images, labels = read_digits(folder / "mnist/package/src/digits")
    order = random.permutation(len(images))
    digits = tuple(str(digit) for digit in range(10))
    write(DATA / "digits", "train", images[order[:8000]], labels[order[:8000]], digits)
    write(DATA / "digits", "test", images[order[8000:]], labels[order[8000:]], digits)
    clothes = folder / "dataset-fashion-mnist/usr/share/datasets/fashion-mnist"
    for split, part, count in (("train", "train", 10000), ("test", "t10k", 2000)):
        images, labels = read_idx(clothes, part)
        chosen = random.permutation(len(images))[:count]
        write(DATA / "fashion", split, images[chosen], labels[chosen], CLOTHES)


if __name__ == "__main__":
    main()
