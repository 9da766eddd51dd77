"""A step in which coarse and fine detail count alike: dreams without grain."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.methods.optimize.optimizers import Gradient, Memory, Optimizer, Schedule, Update
from labsupport.methods.optimize.regularizers import blurred


@dataclass(frozen=True)
class LaplacianNormalized(Optimizer):
    """Along the gradient with each band of frequencies made equally strong; pixels move by
    `learning_rate` on average.

    A network's gradient is mostly grain, one pixel wide. Mordvintsev's TensorFlow tutorial on
    DeepDream (2016) takes it apart into a Laplacian pyramid, normalizes each level and adds them
    again: the colours become fields, the shapes closed. Here each level keeps the size of the
    picture. With one level it is `Normalized`, up to rounding.
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
        pyramid = laplacian_pyramid(gradient.values, self.levels)
        even = torch.stack([level / _mean(level.square()).sqrt() for level in pyramid]).sum(0)
        return parameters + self.learning_rate_at(gradient.share) * (even / _mean(even.abs())), {}


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
