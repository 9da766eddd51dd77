"""From a picture to what a network expects: checked, resized, cropped."""

import math
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.images.decoding import PIXEL_LIMIT, load

_TOLERANCE = 1e-5  # float rounding at the ends of [0, 1]


class HasImage(Protocol):
    """What a picture of a set is to the preparation."""

    @property
    def image(self) -> Tensor: ...


def check(images: Tensor, *, one: bool = False) -> None:
    """Raise `BadImage`, with the reason, unless this is an image: (N, 3, H, W), floats in [0, 1].

    With `one` a batch of several is refused as well.

    >>> check(torch.zeros(2, 3, 8, 8))
    """
    if not isinstance(images, Tensor):
        raise BadImage(
            f"A {type(images).__name__} is not an image yet: images.load(...) makes one."
        )
    if images.ndim != 4 or images.shape[1] != 3:
        raise BadImage(
            f"An image is a tensor (N, 3, H, W), this one is {tuple(images.shape)}. "
            "For one picture put the batch axis in front: image[None]."
        )
    if 0 in images.shape:
        raise BadImage(f"The image is empty: its shape is {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise BadImage(f"The image holds {images.dtype}. For 0 ... 255: image.float() / 255.")
    low, high = (float(end) for end in torch.aminmax(images.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadImage("The image contains NaN or infinity. image.isfinite().all() finds out when.")
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        raise BadImage(
            f"The image's values go from {low:.3g} to {high:.3g}; an image lies in [0, 1]. "
            "Networks normalize by themselves: divide by 255 if these are 0 ... 255, else "
            "image.clamp(0, 1)."
        )
    if one and len(images) != 1:
        raise BadImage(f"one image at a time: this is a batch of {len(images)} (images[:1])")


def checked_map(image: Tensor, map: Tensor) -> Tensor:  # noqa: A002 - the word that the lecture uses
    """One number for each pixel of one image, (H, W), as single precision on the CPU.

    Errors: `BadImage`; `BadSetting` for another size, for NaN, and for a map that is the same
    everywhere.

    >>> checked_map(torch.zeros(1, 3, 1, 2), torch.tensor([[1, 2]]))
    tensor([[1., 2.]])
    """
    check(image, one=True)
    if map.shape != image.shape[2:]:
        height, width = image.shape[2:]
        raise BadSetting(
            f"the map is {tuple(map.shape)}; for this image it is ({height}, {width}): "
            "take one map of a batch, maps[0]"
        )
    values = map.detach().cpu().float()
    if not bool(values.isfinite().all()):
        raise BadSetting("the map holds NaN or infinity")
    if float(values.amin()) == float(values.amax()):
        raise BadSetting("the map is the same everywhere, so it points at nothing")
    return values


def checked_size(size: object) -> tuple[int, int]:
    """A size (height, width) in pixels, as it came; `BadSetting` for anything else."""
    match size:
        case (int(height), int(width)) if height >= 1 and width >= 1:
            return (height, width)
    raise BadSetting(f"a size is (height, width) in pixels, from 1 on, not {size!r}")


def resize(
    image: Tensor, size: int | tuple[int, int], crop: int | tuple[int, int] | None = None
) -> Tensor:
    """The image in another size, antialiased; then, if asked for, the middle of it.

    `size` is the shorter side, or (height, width); `crop` is a square's side, or (height, width).
    Gradients pass through.

    >>> resize(torch.zeros(1, 3, 100, 200), 50).shape
    torch.Size([1, 3, 50, 100])
    """
    check(image)
    height, width = _target_size(image, size)
    if (height, width) == tuple(image.shape[2:]):
        result = image.clone()
    else:
        result = functional.interpolate(
            image, (height, width), mode="bilinear", antialias=True
        ).clamp(0, 1)
    return result if crop is None else _centre(result, crop)


def _target_size(image: Tensor, size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = image.shape[2:]
    if isinstance(size, int):
        shorter = min(height, width)
        size = (int(size * height / shorter), int(size * width / shorter))
    size = checked_size(size)
    if size[0] * size[1] > PIXEL_LIMIT:
        raise BadSetting(
            f"An image of {height} x {width} would become {size[0]} x {size[1]}, "
            f"more than {PIXEL_LIMIT // 1_000_000} million pixels: too long and thin, or too large."
        )
    return size


def _centre(image: Tensor, crop: int | tuple[int, int]) -> Tensor:
    height, width = (crop, crop) if isinstance(crop, int) else crop
    if min(height, width) < 1 or height > image.shape[2] or width > image.shape[3]:
        raise BadSetting(
            f"A crop of {height} x {width} does not fit into {image.shape[2]} x {image.shape[3]}."
        )
    top, left = round((image.shape[2] - height) / 2), round((image.shape[3] - width) / 2)
    return image[:, :, top : top + height, left : left + width]


def standard(picture: HasImage | Tensor, size: int = 224) -> Tensor:
    """Torchvision's standard preprocessing without the normalization: (N, 3, size, size).

    The shorter side becomes size * 256 / 224, then the middle is taken. It goes through 8 bits,
    as torchvision's does for a picture file, and equals it exactly; no gradient passes. (`resize`
    works on floats, lets gradients through, and differs by less than 1/255.)

    >>> standard(torch.zeros(1, 3, 400, 600)).shape
    torch.Size([1, 3, 224, 224])
    """
    image: Any = getattr(picture, "image", picture)
    check(image)
    if size < 1:
        raise BadSetting(f"A size is at least 1 pixel, not {size}.")
    height, width = _target_size(image, size * 256 // 224)
    rows = [to_pil(one[None]).resize((width, height), Image.Resampling.BILINEAR) for one in image]
    return _centre(torch.cat([load(row) for row in rows]), size).contiguous()


def squared(image: Tensor, start: int | None = None) -> Tensor:
    """A square of an image: the one that begins `start` pixels along its longer side.

    With None, the whole image between grey bars, so wide that `standard` cuts off no part of it.
    `BadSetting` where no square begins there.

    >>> squared(torch.zeros(1, 3, 100, 300), 150).shape, squared(torch.ones(1, 3, 70, 140)).shape
    (torch.Size([1, 3, 100, 100]), torch.Size([1, 3, 160, 160]))
    """
    check(image)
    height, width = image.shape[2:]
    if start is None:
        side = -(-max(height, width) * 256 // 224)
        top, left = (side - height) // 2, (side - width) // 2
        bars = (left, side - width - left, top, side - height - top)
        return functional.pad(image, bars, value=0.5)
    side, spare = min(height, width), abs(height - width)
    if not 0 <= start <= spare:
        raise BadSetting(f"A square of {height} x {width} begins at 0 to {spare}, not at {start}.")
    top, left = (start, 0) if height > width else (0, start)
    return image[:, :, top : top + side, left : left + side].clone()


def to_pil(image: Tensor) -> Image.Image:
    """One image as an RGB picture with 8 bits a channel.

    >>> to_pil(torch.ones(1, 3, 2, 5)).size
    (5, 2)
    """
    check(image, one=True)
    values = image.detach()[0].permute(1, 2, 0).mul(255).round().clamp(0, 255)
    return Image.fromarray(values.to("cpu", torch.uint8).numpy())
