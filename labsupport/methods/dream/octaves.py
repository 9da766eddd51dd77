"""The octaves of a dream, copies of the picture in other sizes, and the Laplacian pyramid."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core import images as pictures
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.network import Pair
from labsupport.methods.optimize.optimizers import Gradient, Memory, Optimizer, Schedule, Update
from labsupport.methods.optimize.regularizers import blurred


def octave_sizes(size: Pair, octaves: int = 4, scale: float = 1.4) -> tuple[Pair, ...]:
    """The sizes (height, width) of the copies, from the smallest to the picture's own.

    Each is the next larger one divided by `scale`, and rounded.

    >>> octave_sizes((320, 480))
    ((117, 175), (164, 245), (229, 343), (320, 480))
    """
    if octaves < 1 or not 1 < scale <= 4:
        raise BadSetting(
            f"there are 1 octave or more, with a scale above 1 up to 4; not {octaves}, {scale}"
        )
    sizes = [pictures.checked_size(size)]
    for _ in range(octaves - 1):
        height, width = sizes[-1]
        sizes.append((max(1, round(height / scale)), max(1, round(width / scale))))
    return tuple(reversed(sizes))


def resized(values: Tensor, size: Pair) -> Tensor:
    """Images or detail (N, 3, H, W) in another size, corner on corner, with linear weights.

    That is 2015's `scipy.ndimage.zoom` with order 1. Nothing is blurred before it is made smaller.

    Errors: `BadImage` for what is neither, `BadSetting` for a size that is none.

    >>> resized(torch.tensor([[[[0.0, 3.0]]]]), (1, 4))
    tensor([[[[0., 1., 2., 3.]]]])
    """
    check_values(values)
    result = values.clone()
    for axis, count in zip((2, 3), pictures.checked_size(size), strict=True):
        length = values.shape[axis]
        if length != count:
            ends = torch.linspace(0, length - 1, count, dtype=torch.float64)
            result = _read_at(result, ends, axis)
    return result


def check_values(values: Tensor) -> None:
    """Raise `BadImage` unless this is an image or detail, which lies on both sides of zero."""
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise BadImage(f"images and detail are tensors (N, 3, H, W) of float numbers, not {kind}")
    if values.ndim != 4 or 0 in values.shape:
        raise BadImage(f"images and detail are (N, 3, H, W), not {tuple(values.shape)}")
    if not bool(values.isfinite().all()):
        raise BadImage("these images or this detail contain NaN or infinity")


def zoom(images: Tensor, share: float = 0.05) -> Tensor:
    """The middle of images, without `share` of each side, in the old size (2015: 0.05 a frame).

    Errors: `BadImage`, `BadSetting`.
    """
    pictures.check(images)
    if not 0 <= share < 1:
        raise BadSetting(f"zoom: a share is from 0 to below 1, not {share}")
    for axis in (2, 3):
        length = images.shape[axis]
        places = (1 - share) * torch.arange(length, dtype=torch.float64) + length * share / 2
        images = _read_at(images, places, axis)
    return images


def _read_at(images: Tensor, places: Tensor, axis: int) -> Tensor:
    """Values between the neighbours on either side of each place along an axis."""
    last = images.shape[axis] - 1
    low = places.floor().clamp(0, last).long()
    share = (places - low).to(images)
    high = (low + 1).clamp_max(last)
    first, second = (images.index_select(axis, at.to(images.device)) for at in (low, high))
    return torch.lerp(first, second, share if axis == 3 else share[:, None])


# A step in which coarse and fine detail count alike: dreams without grain or burnt colours


@dataclass(frozen=True)
class LaplacianNormalized(Optimizer):
    """Along the gradient with each band of frequencies made equally strong; pixels move by
    `learning_rate` on average.

    A network's gradient is mostly grain, one pixel wide. Mordvintsev's TensorFlow tutorial on
    DeepDream (2016) takes it apart into a Laplacian pyramid, normalizes each level and adds them
    again: the shapes become closed. Here each level keeps the size of the picture. Colours of the
    coarse levels count a quarter, and a pixel moves less the nearer it is to black or white:
    without both, early layers burn to white and magenta.
    """

    learning_rate: float = 1.5 / 255
    schedule: Schedule = "constant"
    levels: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.levels <= 6:
            raise BadSetting(f"LaplacianNormalized: levels go from 1 to 6, not {self.levels}")

    def step(self, parameters: Tensor, gradient: Gradient, _memory: Memory) -> Update:
        if parameters.ndim != 4 or parameters.shape[1] != 3:
            raise BadSetting("LaplacianNormalized takes pictures apart: it needs Pixels()")
        fine, *coarse = (
            level / _mean(level.square()).sqrt()
            for level in laplacian_pyramid(gradient.values, self.levels)
        )
        even = fine + sum(map(_paler, coarse))
        even = even * torch.where(even > 0, 1 - parameters, parameters)
        return parameters + self.learning_rate_at(gradient.share) * (even / _mean(even.abs())), {}


def _paler(values: Tensor) -> Tensor:
    """Light and dark (N, 3, H, W) as they are, with a quarter of the colour."""
    return torch.lerp(values.mean(1, keepdim=True), values, 0.25)


def laplacian_pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """Images (N, 3, H, W) as a sum of so many, the finest first; each next one twice as coarse."""
    pyramid = []
    for level in range(levels - 1):
        coarse = blurred(images, float(2**level))
        pyramid.append(images - coarse)
        images = coarse
    return [*pyramid, images]


def _mean(values: Tensor) -> Tensor:
    """(N, 1, 1, 1), never zero: to divide by."""
    tiny = torch.finfo(values.dtype).tiny
    return values.mean((1, 2, 3), keepdim=True).clamp_min(tiny)
