"""What one might do to a picture before the network sees it, in the hope that a change is lost."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import images as images_
from labsupport.core.errors import BadSetting, nearest


@dataclass(frozen=True)
class Defence:
    """One way: its usual strength, the least and the largest, and the strength in words."""

    usual: float
    limits: tuple[float, float]
    words: str
    act: Callable[[Tensor, float, int], Tensor]


def _rounded(images: Tensor, _: float, __: int) -> Tensor:
    return (images * 255).round() / 255


def _jpeg(images: Tensor, quality: float, _: int) -> Tensor:
    return torch.cat([_through_jpeg(one, round(quality)) for one in torch.split(images, 1)])


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    images_.to_pil(image).save(file, "JPEG", quality=quality)
    return images_.load(file.getvalue())


def _blur(images: Tensor, sigma: float, _: int) -> Tensor:
    reach = 2 * math.ceil(3 * sigma) + 1
    sides = [min(reach, (side - 1) * 2 + 1) for side in (images.shape[3], images.shape[2])]
    blurred: Tensor = transforms.gaussian_blur(images, sides, [sigma, sigma])
    return blurred.clamp(0, 1)


def _noise(images: Tensor, spread: float, seed: int) -> Tensor:
    """The same noise on each image, so that an image's result does not depend on its batch."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape[1:], generator=random)
    return (images + spread / 255 * noise).clamp(0, 1)


WAYS: Mapping[str, Defence] = {
    "8 bits": Defence(1, (1, 1), "a PNG file", _rounded),
    "jpeg": Defence(75, (5, 95), "JPEG, quality {:.0f}", _jpeg),
    "blur": Defence(1.0, (0.3, 4.0), "blur, σ = {:.1f} px", _blur),
    "noise": Defence(8, (1, 64), "noise, σ = {:.0f}/255", _noise),
}


def find(way: str) -> Defence:
    if way not in WAYS:
        close = ", ".join(repr(one) for one in nearest(str(way), WAYS))
        raise BadSetting(f"no defence {way!r}; the nearest are {close}")
    return WAYS[way]


def strength_of(way: str, strength: float | None) -> float:
    found = find(way)
    if strength is None:
        return found.usual
    low, high = found.limits
    if not low <= strength <= high:
        raise BadSetting(f"{way}: the strength lies between {low:g} and {high:g}, not {strength}")
    return float(strength)
