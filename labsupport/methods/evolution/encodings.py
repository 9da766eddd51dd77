"""How a picture is written down so that it can have children: the encodings of an evolution.

Directly, a number or three for each pixel; or as a small network that paints it (a CPPN, a
compositional pattern-producing network, Stanley 2007). A CPPN takes a pixel's place (x, y, its
distance r from the middle, and 1) and gives its colour, so neighbouring pixels are alike, and a
sine repeats itself: regular patterns. Children have other weights, more links, more nodes, or other
functions in their nodes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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


# Networks that paint, and evolve


INPUTS = ("x", "y", "r", "1")
OUTPUTS = ("hue", "saturation", "value")  # a grey picture has the last one alone
HIDDEN = 20  # places for hidden nodes
EMPTY = -1

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sine": lambda sums: torch.sin(math.pi * sums),
    "gauss": lambda sums: 2 * torch.exp(-sums.square()) - 1,
    "sigmoid": torch.tanh,
    "linear": lambda sums: sums,
    "absolute": torch.abs,
}
_FUNCTIONS = tuple(FUNCTIONS.values())


@dataclass(frozen=True)
class CppnGenome:
    """A genome: `weights` (T, T), to a node's place from an earlier one's, 0 where there is no
    link; `functions` (T,), the function of each node, -1 for inputs and empty places."""

    weights: Tensor
    functions: Tensor

    @property
    def outputs(self) -> int:
        return len(self.functions) - len(INPUTS) - HIDDEN

    def nodes(self) -> list[int]:
        """The places of the nodes that the picture depends on, in the order of computing."""
        needed = torch.zeros(len(self.functions), dtype=torch.bool)
        needed[-self.outputs :] = True
        for place in range(len(needed) - 1, len(INPUTS) - 1, -1):
            if needed[place]:
                needed |= self.weights[place] != 0
        return [place for place in needed.nonzero().flatten().tolist() if place >= len(INPUTS)]

    def links(self) -> list[tuple[str, str, float]]:
        """From, to and weight of each link that matters; for who wants to see the network."""
        nodes = self.nodes()
        names = self.names()
        return [
            (names[source], names[place], float(self.weights[place, source]))
            for place in nodes
            for source in self.weights[place].nonzero().flatten().tolist()
        ]

    def output_functions(self) -> list[str]:
        """The functions of the outputs."""
        return [list(FUNCTIONS)[int(kind)] for kind in self.functions[-self.outputs :]]

    def names(self) -> list[str]:
        """A name for each place: an input's, "sine 7" for a node, an output's."""
        last = OUTPUTS[-self.outputs :]
        kinds = list(FUNCTIONS)
        middle = range(len(INPUTS), len(self.functions) - self.outputs)
        hidden = [f"{kinds[int(self.functions[place])]} {place}" for place in middle]
        return [*INPUTS, *hidden, *last]


@dataclass(frozen=True)
class Cppn(Encoding):
    """A small network for each picture; `CppnGenome` is its genome.

    The first ones have `hidden` hidden nodes each. A child's weights are shaken (each with the
    probability `rate`, together by a little or by much); it may get a new node, a new link, or
    another function, with these probabilities.
    """

    founders: int = 256
    hidden: int = 3
    rate: float = 0.3
    node: float = 0.15
    link: float = 0.25
    function: float = 0.1
    name: str = "CPPN"

    def random(self, count: int, shape: Shape, random: torch.Generator) -> list[CppnGenome]:
        outputs, inputs = shape[0], len(INPUTS)
        places = inputs + HIDDEN + outputs
        weights = torch.zeros(count, places, places)
        drawn = torch.randn(count, outputs, inputs, generator=random)
        weights[:, -outputs:, :inputs] = drawn * _chance(drawn.shape, 0.7, random)
        functions = torch.full((count, places), EMPTY)
        functions[:, -outputs:] = _drawn_functions((count, outputs), random)
        for _ in range(self.hidden):
            weights, functions = _with_node(weights, functions, 1.0, random)
        return _apart(weights, functions)

    def mutated(self, parents: Sequence[CppnGenome], random: torch.Generator) -> list[CppnGenome]:
        weights = torch.stack([parent.weights for parent in parents])
        functions = torch.stack([parent.functions for parent in parents])
        weights = _shaken(weights, self.rate, random)
        weights, functions = _with_node(weights, functions, self.node, random)
        weights = _with_link(weights, functions, self.link, random)
        return _apart(weights, _with_function(functions, self.function, random))

    def images(self, genomes: Sequence[CppnGenome], size: Pair, device: torch.device) -> Tensor:
        plane = _plane(size, device)
        painted = torch.stack([_painted(genome, plane) for genome in genomes])
        painted = painted.view(len(genomes), -1, *size)
        painted[:, -2:].abs_().clamp_(max=1)  # saturation and value; hue goes round by itself
        if painted.shape[1] == 1:
            return in_255ths(painted).expand(-1, 3, -1, -1)
        painted[:, 0].add_(1).div_(2)
        return in_255ths(rgb(painted))

    def check(self) -> None:
        chances = (self.rate, self.node, self.link, self.function)
        if min(chances) < 0 or max(chances) > 1 or self.founders < 1:
            raise BadSetting(
                "Cppn: rate, node, link and function are probabilities, and founders 1 or more"
            )
        if not 0 <= self.hidden <= HIDDEN:
            raise BadSetting(f"Cppn: hidden is 0 to {HIDDEN}, not {self.hidden}")


# Painting


def _plane(size: Pair, device: torch.device) -> Tensor:
    """The inputs (4, H W): x to the right and y down, from -1 to 1 along the shorter side."""
    height, width = size
    shorter = min(size)
    y = torch.linspace(-1, 1, height, device=device) * (height / shorter)
    x = torch.linspace(-1, 1, width, device=device) * (width / shorter)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, (x.square() + y.square()).sqrt(), torch.ones_like(x)]).flatten(1)


def _painted(genome: CppnGenome, plane: Tensor) -> Tensor:
    """What the outputs say at each pixel, (outputs, H W).

    One genome after the other, only its own nodes: three times as fast as all genomes together,
    whose places are mostly empty.
    """
    nodes = genome.nodes()
    known = [*range(len(INPUTS)), *nodes]
    values = plane.new_empty(len(known), plane.shape[1])
    values[: len(INPUTS)] = plane
    weights = genome.weights[:, known].to(plane.device)
    kinds = genome.functions.tolist()
    for row, place in enumerate(nodes, start=len(INPUTS)):
        values[row] = _FUNCTIONS[kinds[place]](weights[place, :row] @ values[:row])
    return values[-genome.outputs :]


# Mutation, of all children at once: weights (N, T, T) and functions (N, T)


def _shaken(weights: Tensor, rate: float, random: torch.Generator) -> Tensor:
    """Each child has its own size of steps, from a hundredth to about three."""
    size = 10 ** (2.5 * torch.rand(len(weights), 1, 1, generator=random) - 2)
    step = size * torch.randn(weights.shape, generator=random)
    return weights + step * (weights != 0) * _chance(weights.shape, rate, random)


def _with_node(
    weights: Tensor, functions: Tensor, chance: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Some link is cut by a new node: the old weight leads to it, and 1 on from it."""
    places = torch.arange(weights.shape[1])
    target, source = _pick_pair(weights != 0, random)
    between = (places > source[:, None]) & (places < target[:, None])
    free = between & (functions == EMPTY) & (places >= len(INPUTS))
    place = _pick(free, random)
    new = _drawn_functions((len(weights),), random)
    linked = weights[torch.arange(len(weights)), target, source] != 0
    able = free.any(1) & linked
    (chosen,) = (able & _chance(able.shape, chance, random)).nonzero(as_tuple=True)
    place, source, target = place[chosen], source[chosen], target[chosen]
    weights, functions = weights.clone(), functions.clone()
    weights[chosen, place, source] = weights[chosen, target, source]
    weights[chosen, target, source] = 0.0
    weights[chosen, target, place] = 1.0
    functions[chosen, place] = new[chosen]
    return weights, functions


def _with_link(
    weights: Tensor, functions: Tensor, chance: float, random: torch.Generator
) -> Tensor:
    """A link between two nodes that had none, with a random weight."""
    places = torch.arange(weights.shape[1])
    there = functions != EMPTY
    source = (there | (places < len(INPUTS))) & (places < len(INPUTS) + HIDDEN)
    earlier = places[None, :] < places[:, None]
    free = there[:, :, None] & source[:, None, :] & earlier & (weights == 0)
    target, source_place = _pick_pair(free, random)
    new = torch.randn(len(weights), generator=random)
    able = free.flatten(1).any(1) & _chance(new.shape, chance, random)
    (chosen,) = able.nonzero(as_tuple=True)
    weights = weights.clone()
    weights[chosen, target[chosen], source_place[chosen]] = new[chosen]
    return weights


def _with_function(functions: Tensor, chance: float, random: torch.Generator) -> Tensor:
    """A node computes with another function."""
    place = _pick(functions != EMPTY, random)
    new = _drawn_functions((len(functions),), random)
    (chosen,) = _chance(new.shape, chance, random).nonzero(as_tuple=True)
    functions = functions.clone()
    functions[chosen, place[chosen]] = new[chosen]
    return functions


def _pick(allowed: Tensor, random: torch.Generator) -> Tensor:
    """For each row one of its allowed columns, evenly; anything where none is allowed."""
    drawn = torch.rand(allowed.shape, generator=random)
    return (drawn * allowed).argmax(1)


def _pick_pair(allowed: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each matrix one of its allowed (row, column)."""
    flat = _pick(allowed.flatten(1), random)
    return flat // allowed.shape[2], flat % allowed.shape[2]


def _chance(shape: Sequence[int], probability: float, random: torch.Generator) -> Tensor:
    return torch.rand(tuple(shape), generator=random) < probability


def _drawn_functions(shape: Sequence[int], random: torch.Generator) -> Tensor:
    return torch.randint(len(_FUNCTIONS), tuple(shape), generator=random)


def _apart(weights: Tensor, functions: Tensor) -> list[CppnGenome]:
    return [
        CppnGenome(one.clone(), other.clone())
        for one, other in zip(weights, functions, strict=True)
    ]
