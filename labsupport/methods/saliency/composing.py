"""Scenes with objects whose true masks are known: cut-outs in front of photographs."""

from dataclasses import dataclass

import numpy as np
import torch

from labsupport.core import images as pictures
from labsupport.core.errors import BadSetting
from labsupport.core.images.sets import CutOut, Picture
from labsupport.core.network.layers import Box
from labsupport.methods.saliency.masks import box_of


@dataclass(frozen=True)
class Scene:
    """A cut-out in front of a photograph: `image` (1, 3, H, W), the true `mask` (H, W) and `box`.

    `target` is the ImageNet class of the object, `title` says what stands before what.
    """

    image: torch.Tensor
    mask: torch.Tensor
    target: str
    title: str

    @property
    def box(self) -> Box:
        """The true box (left, top, right, bottom)."""
        return box_of(self.mask)


def compose(
    cutout: CutOut,
    background: Picture,
    *,
    size: int = 224,
    share: float = 0.6,
    place: tuple[float, float] = (0.5, 0.5),
) -> Scene:
    """Put a cut-out in front of a photograph, as an image of `size` pixels square.

    The object's longer side is `share` of the image's; `place` (down, across) says where it
    stands, from (0, 0), the upper left corner, to (1, 1), the lower right one. It is all inside.

    Errors: `BadSetting` for a share or a place outside its range.

    >>> cutout, photo = pictures.cutouts()["zebra"], pictures.photos()["taj_mahal"]
    >>> compose(cutout, photo, share=0.5, place=(1, 0)).box[::3]
    (0, 224)
    """
    if not 0 < share <= 1 or len(place) != 2 or not all(0 <= one <= 1 for one in place):
        raise BadSetting(f"share is {share}, place {place}: share lies in (0, 1], place in [0, 1]")
    pixels = cutout.rgba()
    left, top, right, bottom = box_of(pixels[0, 3] > 0.5)
    pixels = pixels[:, :, top:bottom, left:right]
    times = share * size / max(pixels.shape[2:])
    height, width = (max(1, round(side * times)) for side in pixels.shape[2:])
    # Colours that are multiplied by their opacity leave no fringe when they are scaled.
    colour = pictures.resize(pixels[:, :3] * pixels[:, 3:], (height, width))
    opacity = pictures.resize(pixels[:, 3:].expand(-1, 3, -1, -1), (height, width))
    image = pictures.resize(background.image, size, crop=size).clone()
    top, left = round(place[0] * (size - height)), round(place[1] * (size - width))
    spot = (..., slice(top, top + height), slice(left, left + width))
    image[spot] = colour + image[spot] * (1 - opacity)
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[spot] = opacity[0, 0] > 0.5
    title = f"{cutout.title}, {background.title}"
    return Scene(image.clamp_(0, 1), mask, cutout.imagenet or cutout.title, title)


def scenes(
    count: int | None = None,
    *,
    size: int = 224,
    shares: tuple[float, float] = (0.4, 0.75),
    seed: int = 0,
) -> list[Scene]:
    """Every bundled cut-out that ImageNet has a class for, before a bundled photograph of a place.

    Each object's longer side is between `shares` of the image's, and it stands anywhere. The same
    seed gives the same scenes; `count` takes so many of them, all if it is None.

    Errors: `BadSetting`.

    >>> [scene.image.shape for scene in scenes(2, size=64)]
    [torch.Size([1, 3, 64, 64]), torch.Size([1, 3, 64, 64])]
    """
    if len(shares) != 2 or not 0 < shares[0] <= shares[1] <= 1:
        raise BadSetting(f"shares is (least, most), from above 0 to 1, not {tuple(shares)}")
    if seed < 0:
        raise BadSetting(f"a seed is a number from 0 on, not {seed}")
    random = np.random.default_rng(seed)
    objects = [one for one in pictures.cutouts() if one.imagenet]
    places = [one for one in pictures.photos() if one.category == "places"]
    order = random.permutation(len(objects))
    if count is not None and not 1 <= count <= len(objects):
        raise BadSetting(f"count is {count}; there are 1 to {len(objects)} such scenes")
    return [
        compose(
            objects[number],
            places[int(random.integers(len(places)))],
            size=size,
            share=float(random.uniform(*shares)),
            place=(float(random.random()), float(random.random())),
        )
        for number in order[:count].tolist()
    ]
