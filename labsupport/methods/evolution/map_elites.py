"""MAP-Elites: an archive with a cell for each class, in which every child competes in every cell.

The archive is our own and short: in pyribs, the library for MAP-Elites, a solution has one cell
(here it competes in all) and is a row of numbers (here a network); it would bring numba and pandas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting, one_of
from labsupport.core.frames import framed
from labsupport.core.network import Network, Pair
from labsupport.core.network.network import index_of
from labsupport.methods.evolution.encodings import Cppn, Direct, Encoding, Genome

ENCODINGS: Mapping[str, Encoding] = {"CPPN": Cppn(), "direct": Direct()}
PARENTS = ("promising", "even")
_DONE = 0.995  # a champion of this probability leaves the children to others ("promising")
_SMALL = 64  # pictures up to this side are bred in larger batches


@dataclass(frozen=True)
class Champion:
    """A picture (3, H, W) in [0, 1], whole 255ths, and the class that it stands for."""

    name: str
    index: int
    confidence: float
    image: Tensor = field(repr=False)
    genome: Genome = field(repr=False)


@dataclass(frozen=True)
class Generation:
    """The archive after a generation, and all that is needed to go on.

    `classes` are the cells' class indices, `confidence` (cells,) the champions' probabilities, as
    the network gave them, `champions` their genomes, `births` (cells,) which child each was,
    counted from 0. `children` pictures were shown to the network so far: its forward passes.
    """

    classes: tuple[int, ...] = field(repr=False)
    confidence: Tensor = field(repr=False)
    champions: tuple[Genome, ...] = field(repr=False)
    births: Tensor = field(repr=False)
    children: int
    budget: int
    number: int
    plan: EvolutionPlan = field(repr=False)
    random: Tensor = field(repr=False)  # the generator's state after this generation

    @property
    def progress(self) -> float:
        """The share of the budget that is used, 0 to 1."""
        return min(1.0, self.children / self.budget)

    def count_above(self, threshold: float = 0.99) -> int:
        """How many classes have a champion above this probability."""
        return int((self.confidence > threshold).sum())

    def ranking(self, count: int = 20) -> list[int]:
        """The cells of the highest probabilities; a picture that won several cells is there once,
        for the class that the network is surest of."""
        cells: dict[int, int] = {}  # by the genome's identity
        for cell in self.confidence.argsort(descending=True, stable=True).tolist():
            cells.setdefault(id(self.champions[cell]), cell)
            if len(cells) == count:
                break
        return list(cells.values())

    def best(self, count: int = 20) -> list[Champion]:
        """The champions of `ranking`, the surest first."""
        return self.painted(self.ranking(count))

    def champion(self, name: str | int) -> Champion:
        """The champion of one class, by name or index. Errors: `UnknownClass`."""
        index = self.plan.index(name)
        if index not in self.classes:
            raise BadSetting(f"this archive has no cell for {name!r}; its classes were chosen")
        return self.painted([self.classes.index(index)])[0]

    def painted(self, cells: Sequence[int]) -> list[Champion]:
        """The champions of these cells, painted."""
        genomes = [self.champions[cell] for cell in cells]
        images = self.plan.images(genomes).cpu()
        return [
            Champion(
                self.plan.categories[self.classes[cell]],
                self.classes[cell],
                float(self.confidence[cell]),
                image,
                genome,
            )
            for cell, image, genome in zip(cells, images, genomes, strict=True)
        ]


@dataclass(frozen=True)
class EvolutionPlan:
    """What stays the same from generation to generation."""

    encoding: Encoding
    batch: int
    parents: str
    seed: int
    size: Pair
    colour: bool
    device: torch.device
    network: str
    categories: tuple[str, ...] = field(repr=False)

    def images(self, genomes: Sequence[Genome]) -> Tensor:
        """What these genomes look like, on the device."""
        with torch.no_grad():
            return self.encoding.images(genomes, self.size, self.device)

    def index(self, name: str | int) -> int:
        """A class's index, by name or index."""
        return index_of(name, self.categories, "this archive")


@framed
def evolve(
    network: Network,
    encoding: str | Encoding = "CPPN",
    *,
    classes: Sequence[str | int] | None = None,
    budget: int = 2000,
    batch: int | None = None,
    parents: str = "promising",
    seed: int = 0,
    start: Generation | None = None,
) -> Iterator[Generation]:
    """MAP-Elites over pictures of the network's own size: the last generation.

    `.frames` give one generation after another.

    `classes` have cells (None: all that the network knows). `budget` is how many pictures the
    network is shown, rounded up to whole generations of `batch` children (None: 4, or 64 where the
    network's pictures are small). `parents` are drawn from the cells: "even" gives each the same
    chance, as in the paper; "promising" prefers high probabilities that are below 99.5 %, which
    brings more classes above 99 % in a short time, and leaves more of them low. Probabilities are
    those of the picture in whole 255ths, so a saved PNG has them too. A network that looks at grey
    pictures gets grey ones.

    `start` is a generation to go on from as if it had never stopped, in its own way: only `budget`
    may be given with it, the pictures in all.

    Errors: `UnknownClass`, `BadSetting` at once.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> bright = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    >>> network = networks.wrap(bright, categories=["dark", "bright"], input_size=16)
    >>> last = evolve(network, "direct", budget=64, batch=16)
    >>> last.number, last.children, [champion.image.shape for champion in last.best(1)]
    (4, 64, [torch.Size([3, 16, 16])])
    """
    if budget < 1:
        raise BadSetting(f"budget is 1 or more pictures, not {budget}")
    if start is None:
        plan = _plan(network, encoding, batch, parents, seed)
        start = _empty(plan, _cells(network, classes))
    elif (encoding, classes, batch, parents, seed) != ("CPPN", None, None, "promising", 0):
        raise BadSetting("an archive goes on in its own way: give only budget with start")
    else:
        _check_start(network, start, budget)
    return _generations(network, replace(start, budget=budget))


def _empty(plan: EvolutionPlan, cells: tuple[int, ...]) -> Generation:
    random = torch.Generator().manual_seed(plan.seed).get_state()
    confidence = torch.full((len(cells),), -1.0)
    births = torch.zeros(len(cells), dtype=torch.long)
    return Generation(cells, confidence, (None,) * len(cells), births, 0, 1, 0, plan, random)


def _check_start(network: Network, start: Generation, budget: int) -> None:
    plan = start.plan
    if (network.name, network.categories) != (plan.network, plan.categories):
        raise BadSetting(f"this archive was evolved for {plan.network}, not for {network.name}")
    if budget <= start.children:
        raise BadSetting(
            f"the budget counts from the beginning: give more than the {start.children} "
            f"pictures of this archive, not {budget}"
        )


def compete(best: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Every child in every cell: which cells (C,) change hands, and to which child (C,).

    `best` (C,) holds the probabilities of the champions, `probabilities` (N, C) those of the
    children. A child takes a cell when it is above the champion; of several, the highest one, and
    of equals the first.

    Errors: `BadSetting` for other shapes, and for a probability that is not a number.

    >>> compete(torch.tensor([0.5, 0.2]), torch.tensor([[0.4, 0.3], [0.6, 0.7]]))
    (tensor([True, True]), tensor([1, 1]))
    """
    if probabilities.ndim != 2 or probabilities.shape[1:] != best.shape or not len(probabilities):
        raise BadSetting(
            "probabilities are (children, cells) and best (cells,), not "
            f"{tuple(probabilities.shape)} and {tuple(best.shape)}"
        )
    if bool(probabilities.isnan().any()):
        raise BadSetting("the network's answer to a child is not a number (NaN)")
    highest, child = probabilities.max(0)
    return highest > best, child


# The loop


def _generations(network: Network, generation: Generation) -> Iterator[Generation]:
    while generation.children < generation.budget:
        generation = _next(network, generation)
        yield generation


def _next(network: Network, old: Generation) -> Generation:
    """One generation: children, the network's answers, the archive. The old one stays."""
    plan = old.plan
    random = torch.Generator()
    random.set_state(old.random)
    children = _offspring(old, random)
    with torch.no_grad():
        probabilities = network.scores(plan.images(children)).softmax(1)[:, list(old.classes)].cpu()
    won, child = compete(old.confidence, probabilities)
    champions = list(old.champions)
    for cell in won.nonzero().flatten().tolist():
        champions[cell] = children[int(child[cell])]
    return replace(
        old,
        confidence=torch.maximum(probabilities.amax(0), old.confidence),
        champions=tuple(champions),
        births=torch.where(won, old.children + child, old.births),
        children=old.children + plan.batch,
        number=old.number + 1,
        random=random.get_state(),
    )


def _offspring(old: Generation, random: torch.Generator) -> list[Genome]:
    """The next children: random genomes at first, then mutations of champions."""
    plan = old.plan
    if old.children < plan.encoding.founders:
        shape = (3 if plan.colour else 1, *plan.size)
        return plan.encoding.random(plan.batch, shape, random)
    weights = _parent_weights(old.confidence, plan.parents)
    cells = torch.multinomial(weights, plan.batch, replacement=True, generator=random)
    return plan.encoding.mutated([old.champions[cell] for cell in cells.tolist()], random)


def _parent_weights(confidence: Tensor, parents: str) -> Tensor:
    """How often each cell's champion has children: the square root of its odds, if promising."""
    if parents == "even" or bool((confidence >= _DONE).all()):
        return torch.ones_like(confidence)
    odds = confidence / (1 - confidence).clamp(min=1 - _DONE)
    return (odds.sqrt() + 1e-6) * (confidence < _DONE)


# Settings


def _plan(
    network: Network, encoding: str | Encoding, batch: int | None, parents: str, seed: int
) -> EvolutionPlan:
    if isinstance(encoding, str):
        encoding = ENCODINGS[one_of(encoding, ENCODINGS, "encoding")]
    encoding.check()
    one_of(parents, PARENTS, "parents")
    if batch is not None and batch < 1:
        raise BadSetting(f"batch is 1 or more children, not {batch}")
    size = network.input_size
    return EvolutionPlan(
        encoding,
        batch or (64 if max(size) <= _SMALL else 4),
        parents,
        seed,
        size,
        _sees_colour(network),
        network.device,
        network.name,
        network.categories,
    )


def _cells(network: Network, classes: Sequence[str | int] | None) -> tuple[int, ...]:
    if classes is None:
        return tuple(range(len(network.categories)))
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise BadSetting(f"classes is a list: [{classes!r}]")
    cells = tuple(network.class_index(name) for name in classes)
    if not cells or len(set(cells)) < len(cells):
        raise BadSetting("classes names at least one class, and none twice")
    return cells


def _sees_colour(network: Network) -> bool:
    """Whether it matters to the network which channel is which."""

    def ask() -> bool:
        drawn = torch.rand((1, 3, *network.input_size), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            straight, turned = network.scores(drawn), network.scores(drawn.flip(1))
        return not torch.allclose(straight, turned, rtol=1e-4, atol=1e-5)

    return network.remember(("sees colour",), ask)
