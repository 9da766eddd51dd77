"""Pictures painted by small networks that evolve (CPPNs, compositional pattern-producing networks).

Stanley 2007. A CPPN takes a pixel's place (x, y, its distance r from the middle, and 1) and gives
its colour, so neighbouring pixels are alike, and a sine repeats itself: regular patterns. Children
have other weights, more links, more nodes, or other functions in their nodes.

A genome has fixed places for its nodes: the inputs, then hidden ones (most of them empty), then the
outputs. A link always goes to a later place, so the places are an order to compute in, and a new
node finds an empty place between the two ends of the link that it cuts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Pair
from labsupport.methods.evolution.encodings import Encoding, Shape, in_255ths, rgb

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
