"""How a picture is written down so that it can have children: the encodings of an evolution."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Pair

Shape = tuple[int, int, int]
Genome = Any  # what an encoding writes a picture down as; no genome is ever changed in place
LEVELS = 255  # the largest value of a pixel in an 8-bit file


class Encoding(ABC):
    """Random genomes, their children, and the pictures that they stand for.

    `founders` random genomes begin an evolution. Everything random comes from the
    generator, which is on the CPU, as the genomes are.
    """

    founders: int
    name: str

    @abstractmethod
    def random(self, count: int, shape: Shape, random: torch.Generator) -> list[Genome]:
        """So many first genomes, for images of this shape (1 or 3 numbers a pixel, H, W)."""

    @abstractmethod
    def mutated(self, parents: Sequence[Genome], random: torch.Generator) -> list[Genome]:
        """A child for each parent."""

    @abstractmethod
    def images(self, genomes: Sequence[Genome], size: Pair, device: torch.device) -> Tensor:
        """Images (N, 3, H, W) on the device; each value is a whole number of 255ths, so that a
        saved file has just these pixels."""

    @abstractmethod
    def check(self) -> None:
        """Raise `BadSetting` for a knob that cannot work."""


@dataclass(frozen=True)
class Direct(Encoding):
    """A number for each pixel, or three (hue, saturation, value); children differ in some of them.

    Each number is changed with the probability `rate`, by `polynomial_mutation` of this `strength`.
    A genome is (1, H, W) or (3, H, W), whole numbers from 0 to 255.
    """

    rate: float = 0.1
    strength: float = 15.0
    founders: int = 16
    name: str = "direct"

    def random(self, count: int, shape: Shape, random: torch.Generator) -> list[Genome]:
        return list(torch.randint(LEVELS + 1, (count, *shape), generator=random, dtype=torch.uint8))

    def mutated(self, parents: Sequence[Genome], random: torch.Generator) -> list[Genome]:
        numbers = torch.stack(list(parents)).float() / LEVELS
        changed = polynomial_mutation(
            numbers, rate=self.rate, strength=self.strength, random=random
        )
        return list(changed.mul_(LEVELS).round_().to(torch.uint8))

    def images(self, genomes: Sequence[Genome], size: Pair, device: torch.device) -> Tensor:
        numbers = torch.stack(list(genomes)).to(device).float() / LEVELS
        return in_255ths(numbers.expand(-1, 3, *size) if numbers.shape[1] == 1 else rgb(numbers))

    def check(self) -> None:
        if not 0 < self.rate <= 1 or not self.strength > 0 or self.founders < 1:
            raise BadSetting(
                "Direct: rate lies above 0 and up to 1, strength and founders are above 0; "
                f"not {self.rate}, {self.strength} and {self.founders}"
            )


def polynomial_mutation(
    values: Tensor, *, rate: float = 0.1, strength: float = 15.0, random: torch.Generator
) -> Tensor:
    """Polynomial mutation (Deb and Agrawal 1999) of numbers in [0, 1]: each is changed with the
    probability `rate`, and by the less, the larger the `strength`.

    With u drawn evenly from [0, 1), a number moves by (2u)^(1/(strength + 1)) - 1 where u is below
    a half, else by 1 - (2(1 - u))^(1/(strength + 1)), and is kept inside [0, 1].

    Errors: `BadSetting`.
    """
    if not 0 <= rate <= 1 or not 0 <= strength < math.inf:
        raise BadSetting(
            f"rate lies between 0 and 1, and strength is 0 or more, not {rate} and {strength}"
        )
    if not values.is_floating_point() or not bool(((values >= 0) & (values <= 1)).all()):
        raise BadSetting("polynomial mutation changes numbers in [0, 1]; some of these are not")
    chosen = torch.rand(values.shape, generator=random) < rate
    child = values.detach().flatten().clone()
    (places,) = chosen.flatten().nonzero(as_tuple=True)
    drawn = torch.rand(len(places), generator=random)
    near = (2 * torch.minimum(drawn, 1 - drawn)).pow(1 / (strength + 1))
    step = torch.where(drawn < 0.5, near - 1, 1 - near)
    child[places] = (child[places] + step).clamp(0, 1)
    return child.view(values.shape)


def rgb(hsv: Tensor) -> Tensor:
    """Hue, saturation and value (N, 3, ...) as red, green and blue; hue goes round, 1 is 0 again.

    >>> rgb(torch.tensor([1 / 3, 1.0, 0.5]).view(1, 3, 1, 1)).flatten()
    tensor([0.0000, 0.5000, 0.0000])
    """
    hsv = hsv.detach()
    hue, saturation, value = hsv.unbind(1)
    turned = (hue - hue.floor()) * 6
    colours = torch.empty_like(hsv)
    for place, first in enumerate((5.0, 3.0, 1.0)):
        angle = turned + first
        angle -= 6 * (angle >= 6)
        share = torch.minimum(angle, 4 - angle).clamp_(0, 1)
        torch.sub(value, share.mul_(saturation).mul_(value), out=colours[:, place])
    return colours


def in_255ths(images: Tensor) -> Tensor:
    """Images in [0, 1] as an 8-bit file would hold them."""
    return images.mul(LEVELS).round_().div_(LEVELS)
