"""What lab 10 shows without a wait: a dream of VGG-16, one of each of its layers, and a film.

    python data/build/dreams.py

It writes `dreams/china.webp`, the recipe of 2015 at `relu4_3` on a picture 480 pixels wide;
`dreams/sheet.webp`, the same recipe at every ReLU and every pooling on one of 240; and
`dreams/zoom.mp4`, ten seconds of 480 x 320 pixels. On one core the film takes ten minutes and the
rest three. Another machine rounds otherwise and dreams of other animals.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.images import films
from labsupport.labs.lab10_deepdream import fitted
from labsupport.methods import dream
from labsupport.ui import figures

FOLDER = Path(__file__).parents[1] / "dreams"
PHOTO, LAYER = "china", "relu4_3"
PICTURES, SPEED = 80, 8  # of the film, and how many of them a second
FEW = dream.DreamRecipe(octaves=2, iterations=3)  # for each of its pictures


def sheet(network: networks.Network) -> Image.Image:
    """The photograph, and a dream of each ReLU and each pooling."""
    photo = fitted(images.sample(PHOTO), 240)
    names = [layer.title for layer in network.layers if layer.kind in ("relu", "max_pool")]
    tiles = [photo, *(dream.dream(network, photo, name).image for name in names)]
    return figures.mosaic(tiles, titles=["the photograph", *names], columns=4, gap=8)


def film(network: networks.Network) -> films.Film:
    """A way into the photograph, 5 % nearer with each picture."""
    photo = fitted(images.sample(PHOTO), 480)
    last = dream.zoom_film(network, photo, LAYER, count=PICTURES, share=0.05, recipe=FEW)
    return films.Film(torch.cat(last.images), SPEED)


def keep(name: str, picture: Image.Image) -> None:
    picture.save(FOLDER / f"{name}.webp", quality=90, method=6)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    network = networks.load("vgg16")
    photo = fitted(images.sample(PHOTO), 480)
    keep(PHOTO, images.to_pil(dream.dream(network, photo, LAYER).image))
    keep("sheet", sheet(network))
    films.write(film(network), FOLDER / "zoom.mp4")


if __name__ == "__main__":
    main()
