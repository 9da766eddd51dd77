"""Small random changes of what the network sees, so that a picture is good from everywhere.

One draw counts for the whole batch. All of them keep the size but `Crop`, which cuts its margin.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from labsupport.core.errors import BadSetting


@dataclass(frozen=True)
class Step:
    """Where an optimization is: how many steps are done, of how many; its random numbers; the
    network's mean colour (1, 3, 1, 1)."""

    number: int
    steps: int
    random: torch.Generator
    mean: Tensor

    @property
    def share(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return self.number / max(1, self.steps)

    def integer(self, low: int, high: int) -> int:
        """A random whole number from low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.random))

    def uniform(self, low: float, high: float) -> float:
        """A random number between low and high."""
        return low + (high - low) * float(torch.rand((), generator=self.random))


class Transform(ABC):
    """A change of images (N, 3, H, W) before the network sees them; gradients flow through."""

    @abstractmethod
    def __call__(self, images: Tensor, step: Step) -> Tensor: ...

    @property
    def margin(self) -> int:
        """How many rows and columns it cuts off, both sides together."""
        return 0


@dataclass(frozen=True)
class Jitter(Transform):
    """Shift by up to so many pixels, around the border: what leaves on one side comes in on the
    other (DeepDream, 2015). Only the first share `until` of the steps is jittered."""

    pixels: int = 8
    until: float = 1.0

    def __post_init__(self) -> None:
        _at_least("Jitter", "pixels", self.pixels, 0)

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        down, right = (step.integer(-self.pixels, self.pixels) for _ in range(2))
        if step.share >= self.until or (down, right) == (0, 0):
            return images
        return _Rolled.apply(images, down, right)  # type: ignore[no-any-return]


class _Rolled(torch.autograd.Function):
    """`torch.roll` along rows and columns in a single pass, forward and back."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, down: int, right: int) -> Tensor:
        ctx.back = (-down, -right)
        return _rolled(images, down, right)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _rolled(gradient, *ctx.back), None, None


def _rolled(images: Tensor, down: int, right: int) -> Tensor:
    height, width = images.shape[2:]
    down, right = down % height, right % width
    moved = torch.empty_like(images)
    for to_row, from_row, rows in ((down, 0, height - down), (0, height - down, down)):
        for to, from_, columns in ((right, 0, width - right), (0, width - right, right)):
            old = images.narrow(2, from_row, rows).narrow(3, from_, columns)
            moved.narrow(2, to_row, rows).narrow(3, to, columns).copy_(old)
    return moved


@dataclass(frozen=True)
class Crop(Transform):
    """A window at a random place of a picture that is larger by `pixels`: jitter without a seam.

    The picture is made so much larger than the size that is asked for.
    """

    pixels: int = 32

    def __post_init__(self) -> None:
        _at_least("Crop", "pixels", self.pixels, 0)

    @property
    def margin(self) -> int:
        return self.pixels

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        top, left = step.integer(0, self.pixels), step.integer(0, self.pixels)
        height, width = images.shape[2] - self.pixels, images.shape[3] - self.pixels
        return images[:, :, top : top + height, left : left + width]


@dataclass(frozen=True)
class Scale(Transform):
    """Nearer or farther by a random factor from `low` to `high`, each `every` steps.

    Nearer, the border is lost; farther, it is mirrored. The size stays.
    """

    low: float = 0.9
    high: float = 1.1
    every: int = 1

    def __post_init__(self) -> None:
        _at_least("Scale", "every", self.every, 1)
        if not 0.5 <= self.low <= self.high <= 4:
            raise BadSetting(f"Scale goes from 0.5 to 4, not from {self.low} to {self.high}")

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        factor = math.exp(step.uniform(math.log(self.low), math.log(self.high)))
        if step.number % self.every:
            return images
        height, width = images.shape[2:]
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        if size == (height, width):
            return images
        scaled = functional.interpolate(images, size, mode="bilinear", antialias=factor < 1)
        return _fitted(scaled, height, width)


@dataclass(frozen=True)
class Zoom(Transform):
    """A window at a random place, a random share from `low` to `high` of each side, resized to
    the whole size (MACO, 2023) or to `side` pixels.

    `middle` holds the window near the middle: 0 lets it lie anywhere, 1 keeps it there.
    """

    low: float = 0.4
    high: float = 1.0
    middle: float = 0.0
    side: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 1:
            raise BadSetting(f"Zoom shows a share from 0 to 1, not {self.low} to {self.high}")
        if not 0 <= self.middle <= 1:
            raise BadSetting(f"Zoom: middle is from 0 to 1, not {self.middle}")
        _at_least("Zoom", "side", self.side or 1, 1)

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        size, share = images.shape[2:], step.uniform(self.low, self.high)
        height, width = (max(1, round(share * side)) for side in size)
        top, left = self._start(size[0] - height, step), self._start(size[1] - width, step)
        window = images[:, :, top : top + height, left : left + width]
        target = (self.side, self.side) if self.side else size
        smaller = height > target[0] or width > target[1]
        return functional.interpolate(window, target, mode="bilinear", antialias=smaller)

    def _start(self, room: int, step: Step) -> int:
        if not self.middle:
            return step.integer(0, room)
        return round(room / 2 + (1 - self.middle) * (step.uniform(0, room) - room / 2))


@dataclass(frozen=True)
class CoarseToFine(Transform):
    """A Gaussian blur whose standard deviation falls from `sd` pixels to 0 at the share `until` of
    the steps: whole things come first, their details later."""

    sd: float = 8.0
    until: float = 0.6

    def __post_init__(self) -> None:
        if not (self.sd > 0 and 0 < self.until <= 1):
            raise BadSetting(
                "CoarseToFine: sd is above 0, and until is a share from 0 to 1, not "
                f"{self.sd} and {self.until}"
            )

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        sd = self.sd * (1 - step.share / self.until)
        if sd < 0.4:  # less than the pixels themselves
            return images
        reach = min(int(3 * sd), min(images.shape[2:]) - 1)
        places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
        kernel = (-(places**2) / (2 * sd * sd)).exp()
        kernel, channels = kernel / kernel.sum(), images.shape[1]
        images = functional.pad(images, (reach,) * 4, mode="reflect")
        for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
            weight = kernel.view(shape).expand(channels, *(-1,) * 3)
            images = functional.conv2d(images, weight, groups=channels)
        return images


@dataclass(frozen=True)
class Noise(Transform):
    """Normal noise of standard deviation `sd` on every value, new at each step (MACO, 2023)."""

    sd: float = 0.08

    def __post_init__(self) -> None:
        if not self.sd > 0:
            raise BadSetting(f"Noise: sd is above 0, not {self.sd}")

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        noise = torch.randn((1, *images.shape[1:]), generator=step.random)
        return images + self.sd * noise.to(images.device)


@dataclass(frozen=True)
class Rotate(Transform):
    """A turn about the middle by up to so many degrees, each `every` steps, corners mirrored."""

    degrees: float = 5.0
    every: int = 1

    def __post_init__(self) -> None:
        _at_least("Rotate", "every", self.every, 1)

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        angle = math.radians(step.uniform(-self.degrees, self.degrees))
        if step.number % self.every or angle == 0:
            return images
        height, width = images.shape[2:]
        cos, sin = math.cos(angle), math.sin(angle)
        # Coordinates run from -1 to 1 along both sides, so a side's length comes in.
        turn = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
        turns = torch.tensor(turn, device=images.device).expand(len(images), 2, 3)
        grid = functional.affine_grid(turns, list(images.shape), align_corners=False)
        return functional.grid_sample(
            images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )


def _fitted(images: Tensor, height: int, width: int) -> Tensor:
    """The middle of larger images; smaller ones mirrored at their border."""
    missing = (height - images.shape[2], width - images.shape[3])
    if min(missing) >= 0:
        top, left = missing[0] // 2, missing[1] // 2
        edges = (left, missing[1] - left, top, missing[0] - top)
        return functional.pad(images, edges, mode="reflect")
    top, left = -missing[0] // 2, -missing[1] // 2
    return images[:, :, top : top + height, left : left + width]


def _at_least(what: str, name: str, value: int, least: int) -> None:
    if value != int(value) or value < least:
        raise BadSetting(f"{what}: {name} is a whole number from {least} on, not {value}")
