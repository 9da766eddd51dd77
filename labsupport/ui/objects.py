"""An object in its picture: lit up where it is, or marked where it was certain to be."""

import numpy as np
import torch
from PIL import Image

from labsupport.ui import figures

_OBJECT, _GROUND = (213, 94, 0), (0, 114, 178)  # orange and blue


def spotlight(image: torch.Tensor, mask: torch.Tensor) -> Image.Image:
    """The image (1, 3, H, W) in colour inside the mask, pale grey outside.

    A mask (h, w) that is smaller than the image is spread over it.
    """
    pixels = figures.pixels(image).astype(np.float32)
    pale = 190 + 0.2 * pixels.mean(2, keepdims=True).repeat(3, axis=2)
    inside = figures.stretched(mask.numpy(), *pixels.shape[:2])[..., None]
    return Image.fromarray(np.where(inside, pixels, pale).astype(np.uint8))


def seeds_picture(image: torch.Tensor, seeds: torch.Tensor) -> Image.Image:
    """What a mask was grown from: dots where `seeds` (H, W) are above zero, which is certainly the
    object, stripes where they are below, which is certainly the rest."""
    pixels = figures.pixels(image).astype(np.float32) * 0.6 + 90
    rows, columns = np.indices(seeds.shape)
    dots = (seeds.numpy() > 0) & (rows % 4 < 2) & (columns % 4 < 2)
    stripes = (seeds.numpy() < 0) & ((rows - columns) % 6 < 2)
    pixels[dots], pixels[stripes] = _OBJECT, _GROUND
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
