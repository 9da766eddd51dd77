"""Lab 04: t-SNE of handwritten digits and of clothing, as dots or as the digits themselves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.labs.lab04_representation.maps import (
    COLOURS,
    dots,
    map_words,
    on_sheet,
    with_legend,
)
from labsupport.labs.lab04_representation.pictures import PIXELS
from labsupport.labs.lab04_representation.tsne import step_words
from labsupport.methods import codes as c
from labsupport.ui.declare import choice, live, real, whole

COMPUTED = "computed"  # the bundled maps of all digits
DIGITS = {
    "1797 digits of 8 × 8 (scikit-learn)": "small",
    "2000 MNIST digits": "test",
    "10 000 MNIST digits": "all",
    "10 000 MNIST digits, map computed before": COMPUTED,
    "2000 pieces of clothing (Fashion-MNIST)": "fashion",
}
SOURCES = {"pixels": PIXELS, "LeNet-5's code (84 numbers)": "lenet5"}


@dataclass(frozen=True)
class Digits:
    """Small grey images (N, H, W), their labels (N,) and the names of the classes."""

    images: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]


@lru_cache(maxsize=4)
def digits(data: str) -> Digits:
    """A set by the name that `DIGITS` gives it: 1797 to 10 000 small images with their labels."""
    if data == "small":
        from sklearn.datasets import load_digits

        small = load_digits()
        names = tuple(str(digit) for digit in range(10))
        return Digits(torch.tensor(small.images).float() / 16, torch.tensor(small.target), names)
    if data == "fashion":
        clothes = images.fashion("test")
        return Digits(clothes.images[:, 0], clothes.labels, clothes.categories)
    sets = [
        images.digits(split)
        for split in (("train", "test") if data in ("all", COMPUTED) else ("test",))
    ]
    pixels = torch.cat([one.images[:, 0] for one in sets])
    return Digits(pixels, torch.cat([one.labels for one in sets]), sets[0].categories)


@lru_cache(maxsize=8)
def digit_codes(data: str, source: str = PIXELS) -> torch.Tensor:
    """The pixels of each digit as a vector, or its 84 numbers before LeNet-5's classifier."""
    pixels = digits(data).images
    if source == PIXELS:
        return pixels.flatten(1)
    network = networks.load("lenet5")
    colour = pixels[:, None].expand(-1, 3, -1, -1)
    return c.codes(network, images.resize(colour, network.input_size))


def bundled_map(source: str = PIXELS) -> c.Embedding:
    """The finished map of 10 000 digits that comes with the workbook: 750 steps, perplexity 30."""
    path = bundled.path(f"maps/digits_{source}.csv")
    points = torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32))
    return c.Embedding(points, 750, 750, math.nan, "computed before", 1.0)


def draw_digits(
    frame: c.Embedding,
    data: str,
    source: str,
    perplexity: int = 30,
    view: str = choice({"dots": "dots", "the digits themselves": "digits"}),
    radius: float = real(2.5, 1.0, 6.0, step=0.5, unit="px", digits=1, label="dot size"),
) -> tuple[Image.Image, str]:
    """The map of some digits, with words on how good it is; dots have this `radius`."""
    shown = digits(data)
    labels = shown.labels.tolist()
    if view == "dots":
        picture = dots(frame.points, labels, shown.names, radius=radius)
    else:
        picture = digit_map(frame.points, shown)
    words = step_words(frame, 30 if data == COMPUTED else perplexity)
    if frame.progress < 1 and len(labels) > 500:
        return picture, words
    quality = map_words(
        digit_codes(data, source), frame.points, labels, metric="euclidean", what="class"
    )
    return picture, f"{words} {quality}"


@live("Digits in a plane", draw=draw_digits, autostart=False)
def digits_panel(
    data: str = choice(DIGITS, "small", label="images"),
    source: str = choice(SOURCES, label="code"),
    perplexity: int = whole(30, 5, 100, step=5),
    steps: int = whole(750, 100, 1500, step=50),
) -> Iterator[c.Embedding]:
    """t-SNE of handwritten digits while it works, coloured by what they are."""
    if data == COMPUTED:
        return iter([bundled_map(source)])
    rows = digit_codes(data, source)
    every = max(1, min(10, 20_000 // len(rows)))
    return c.embed.frames(rows, perplexity=perplexity, metric="euclidean", steps=steps, every=every)


def digit_map(
    points: torch.Tensor, shown: Digits, *, size: int = 960, tile: int = 18
) -> Image.Image:
    """As many digits as fit without covering each other, at their places, in their colours."""
    places = on_sheet(points, size, tile)
    sheet = np.full((size, size, 3), 255.0)
    taken = np.zeros((size // 6 + 1, size // 6 + 1), dtype=bool)
    strokes = images.resize(shown.images[:, None].expand(-1, 3, -1, -1), (tile, tile))[:, 0].numpy()
    corners = (places - tile / 2).round().astype(int).clip(0, size - tile)
    for number, (left, top) in enumerate(corners.tolist()):
        cells = (slice(top // 6, top // 6 + 3), slice(left // 6, left // 6 + 3))
        if taken[cells].any():
            continue
        taken[cells] = True
        colour = np.array(COLOURS[int(shown.labels[number]) % len(COLOURS)])
        part = sheet[top : top + tile, left : left + tile]
        part += (colour - part) * strokes[number][..., None]
    picture = Image.fromarray(sheet.round().astype(np.uint8))
    return with_legend(picture, shown.labels.numpy(), shown.names)
