"""Small labelled colour images to train on: 32 x 32 crops of the cut-outs and the photos.

A cut-out stands in front of a random colour or of a piece of a photo of a place or a texture, so
that there are edges everywhere and not only around things.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from labsupport.core.errors import BadSetting, one_of
from labsupport.core.images import sets
from labsupport.core.images.sets import SPLITS, CutOut, LabelledImages, Picture

CATEGORIES = ("animals", "food", "instruments", "plants", "space", "things", "vehicles")
_BACKGROUNDS = ("places", "textures")
_DRAFT = 96  # pixels of a picture's shorter side, before anything is cut out of it
_EVERY = 5  # each fifth picture of a category is for testing


def crops(
    split: str = "train", *, per_class: int = 200, size: int = 32, seed: int = 0
) -> LabelledImages:
    """Square colour crops, (N, 3, size, size), the same number of each of seven categories.

    The categories are the cut-outs' coarse ones. A picture that gives crops to train on gives
    none to test with, nor does a background.

    Errors: `BadSetting` for another split, or for fewer than one crop of a class.

    >>> small = crops("test", per_class=2)
    >>> small.images.shape, len(small.categories)
    (torch.Size([14, 3, 32, 32]), 7)
    """
    one_of(split, SPLITS, "a split")
    if per_class < 1 or not 8 <= size <= _DRAFT:
        raise BadSetting(f"per_class is 1 or more, size 8 to {_DRAFT} pixels.")
    random = torch.Generator().manual_seed(seed + 1000 * SPLITS.index(split))
    things, backgrounds = _drafts(split)
    images = torch.stack(
        [
            _cut(things[category][place % len(things[category])], backgrounds, size, random)
            for category in CATEGORIES
            for place in range(per_class)
        ]
    )
    labels = torch.arange(len(CATEGORIES)).repeat_interleave(per_class)
    return LabelledImages(images, labels, CATEGORIES)


@lru_cache(maxsize=2)
def _drafts(split: str) -> tuple[dict[str, list[Tensor]], list[Tensor]]:
    """Each category's pictures, colour times opacity and opacity, (4, H, W); the backgrounds."""
    everything: dict[str, list[Picture]] = {}
    for picture in (*sets.cutouts(), *sets.photos()):
        everything.setdefault(picture.category, []).append(picture)
    chosen = {
        category: [
            _draft(picture)
            for place, picture in enumerate(everything[category])
            if (place % _EVERY == _EVERY - 1) == (split == "test")
        ]
        for category in (*CATEGORIES, *_BACKGROUNDS)
    }
    return chosen, [draft[:3] for category in _BACKGROUNDS for draft in chosen[category]]


def _draft(picture: Picture) -> Tensor:
    if isinstance(picture, CutOut):
        rgba = picture.rgba()
    else:
        image = picture.image
        rgba = torch.cat([image, torch.ones_like(image[:, :1])], dim=1)
    whole = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
    height, width = whole.shape[2:]
    factor = _DRAFT / min(height, width)
    return _scaled(whole, (round(height * factor), round(width * factor)))[0]


def _cut(draft: Tensor, backgrounds: list[Tensor], size: int, random: torch.Generator) -> Tensor:
    """One crop (3, size, size) of 60 to 100 % of the picture's shorter side, perhaps mirrored."""
    side = _between(random, round(0.6 * _DRAFT), _DRAFT)
    piece = _square(draft, side, random)
    if _between(random, 0, 1):
        background = _square(backgrounds[_between(random, 0, len(backgrounds) - 1)], side, random)
    else:
        background = torch.rand((3, 1, 1), generator=random)
    crop = _scaled((piece[:3] + (1 - piece[3:]) * background)[None], (size, size))[0].clamp(0, 1)
    return crop.flip(2) if _between(random, 0, 1) else crop


def _square(image: Tensor, side: int, random: torch.Generator) -> Tensor:
    top = _between(random, 0, image.shape[1] - side)
    left = _between(random, 0, image.shape[2] - side)
    return image[:, top : top + side, left : left + side]


def _scaled(images: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(images, size, mode="bilinear", antialias=True)


def _between(random: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (), generator=random))
