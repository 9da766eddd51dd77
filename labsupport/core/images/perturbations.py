"""One step of a picture in a given direction: never further than promised, never outside [0, 1].

Adding in single precision rounds, so `x + eps` may lie a little further from x than eps. Whoever
promises a largest change keeps the promise here to the last bit.
"""

import math

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting

Bounds = tuple[float, float]
PIXELS: Bounds = (0.0, 1.0)


def signed_step(
    images: Tensor, gradient: Tensor, size: float, *, bounds: Bounds | None = PIXELS
) -> Tensor:
    """Every pixel by `size` in the direction of its gradient's sign, kept inside the bounds.

    Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", 2014. Of all
    changes by at most `size` a pixel, this one raises the score with that `gradient` the most, as
    far as the score is linear. Where the gradient is zero, nothing moves; size 0 changes nothing.

    Errors: `BadSetting` for a size below 0 or a gradient of another shape.

    >>> signed_step(torch.tensor([0.5, 0.9, 0.2]), torch.tensor([-3.0, 0.1, 0.0]), 0.25)
    tensor([0.2500, 1.0000, 0.2000])
    """
    return perturbed(images, gradient.sign(), size, bounds=bounds)


def perturbed(
    images: Tensor, direction: Tensor, size: float, *, bounds: Bounds | None = PIXELS
) -> Tensor:
    """`images + size * direction`, kept inside the bounds; `direction` lies in [-1, 1].

    No pixel ends further than `size` from where it was, exactly, whatever was rounded on the way.
    `bounds=None` is for numbers that are no pixels.

    Errors: `BadSetting` for a size below 0, or a direction of another shape or beyond [-1, 1].
    """
    _check(images, direction, size)
    change = _at_most(size, images) * direction.to(images)
    result = images + change
    # How far the sum was rounded, exactly (Knuth's two-sum): back by one bit where that was away.
    # In place, for fresh blocks of memory are dear: (images - (result - part)) + (change - part).
    part = result - images
    rounded = (result - part).neg_().add_(images)
    rounded += part.neg_().add_(change)
    result = torch.where(rounded.mul_(change) < 0, torch.nextafter(result, images), result)
    return result if bounds is None else result.clamp_(*bounds)


def _at_most(size: float, like: Tensor) -> Tensor:
    """The largest number of this precision that is not above `size`."""
    near = torch.tensor(size, dtype=like.dtype, device=like.device)
    return torch.nextafter(near, torch.zeros_like(near)) if near.item() > size else near


def _check(images: Tensor, direction: Tensor, size: float) -> None:
    if not size >= 0 or not math.isfinite(size):
        raise BadSetting(f"a step's size is a number from 0 upwards, such as 8/255, not {size}")
    own = images.shape[images.ndim - direction.ndim :] if direction.ndim <= images.ndim else ()
    if len(own) != direction.ndim or any(
        there not in (1, wanted) for there, wanted in zip(direction.shape, own, strict=True)
    ):
        raise BadSetting(
            f"a direction has a number for each pixel, {tuple(images.shape)}, "
            f"not {tuple(direction.shape)}"
        )
    if direction.numel() and not direction.abs().amax() <= 1:
        raise BadSetting(
            "a direction's numbers lie in [-1, 1]: divide by the largest, direction.abs().max()"
        )
