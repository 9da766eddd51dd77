"""Lab 12: pictures that evolve until the network is sure of them, live, and how they came about."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.methods.evolution import OUTPUTS, Champion, CppnGenome, Generation, evolve
from labsupport.methods.optimize import SIMONYAN, visualize
from labsupport.ui import figures, ink
from labsupport.ui.declare import choice, live, network_of, seed, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENCODED = {"a network that paints (CPPN)": "CPPN", "a number for each pixel (direct)": "direct"}
DRAWN_FROM = {"promising champions first": "promising", "all champions alike": "even"}
TILE = 112  # pixels of a champion's side in a mosaic, about
_LEVELS = (0.5, 0.9, 0.99)


# Live


@dataclass(frozen=True)
class Evolving:
    """A generation, and what the panel says and keeps beside it."""

    generation: Generation
    seconds: float  # since the start
    tiles: dict[int, tuple[Any, torch.Tensor]] = field(repr=False)  # of genomes, by identity

    @property
    def progress(self) -> float:
        return self.generation.progress


def _draw_evolving(
    evolving: Evolving,
    parents: str,
    champions: int = whole(20, 5, 40, step=5, label="champions shown"),
) -> tuple[Image.Image, str]:
    generation = evolving.generation
    cells = generation.ranking(champions)
    picture = _mosaic(
        _kept_tiles(generation, cells, evolving.tiles),
        [generation.plan.categories[generation.classes[cell]] for cell in cells],
        [float(generation.confidence[cell]) for cell in cells],
    )
    drawn = "Parents drawn by promise." if parents == "promising" else "Parents drawn evenly."
    return picture, f"{_in_words(generation)} {drawn} {evolving.seconds:.1f} s."


@live("Evolution of pictures", draw=_draw_evolving)
def evolution_panel(
    network: Network = network_of(names=networks.names),
    encoding: str = choice(ENCODED, label="written down as"),
    parents: str = choice(DRAWN_FROM, label="parents are"),
    budget: int = whole(2000, 500, 20_000, step=500, unit="pictures"),
    seed: int = seed(),
) -> Iterator[Evolving]:
    """MAP-Elites at work: the archive's best champions, each with its class and probability.

    `budget` counts the pictures that the network is shown.
    """
    begun = time.perf_counter()
    tiles: dict[int, tuple[Any, torch.Tensor]] = {}
    for generation in evolve.frames(network, encoding, budget=budget, parents=parents, seed=seed):
        yield Evolving(generation, time.perf_counter() - begun, tiles)


def _kept_tiles(
    generation: Generation, cells: Sequence[int], kept: dict[int, tuple[Any, torch.Tensor]]
) -> list[torch.Tensor]:
    """The cells' pictures; only those that are new are painted."""
    genomes = {cell: generation.champions[cell] for cell in cells}
    new = [cell for cell in cells if id(genomes[cell]) not in kept]
    if new:
        for cell, champion in zip(new, generation.painted(new), strict=True):
            kept[id(genomes[cell])] = (genomes[cell], _tile(champion.image))
    wanted = {id(genome) for genome in genomes.values()}
    for key in [key for key in kept if key not in wanted]:
        del kept[key]
    return [kept[id(genomes[cell])][1] for cell in cells]


def _in_words(generation: Generation) -> str:
    count = len(generation.classes)
    over = ", ".join(
        f"{generation.count_above(level)} above {100 * level:.0f} %" for level in _LEVELS
    )
    shown, budget = (f"{n:,}".replace(",", " ") for n in (generation.children, generation.budget))
    return (
        f"{shown} pictures (budget: {budget}) shown to the network in {generation.number} "
        f"generations. Of {count} classes, {over}; half of them above "
        f"{figures.per_cent(float(generation.confidence.median()))}."
    )


# Pictures


def archive_picture(generation: Generation, count: int = 20, *, columns: int = 5) -> Image.Image:
    """The archive's best champions, each picture once, under its class and with its probability."""
    best = generation.best(count)
    return _mosaic(
        [_tile(champion.image) for champion in best],
        [champion.name for champion in best],
        [champion.confidence for champion in best],
        columns=columns,
    )


def _mosaic(
    tiles: Sequence[torch.Tensor],
    names: Sequence[str],
    chances: Sequence[float],
    *,
    columns: int = 5,
) -> Image.Image:
    values = [figures.per_cent(max(chance, 0.0)) for chance in chances]
    columns = min(columns, len(tiles))
    return figures.mosaic(tiles, titles=names, values=values, columns=columns, gap=8)


def _tile(image: torch.Tensor) -> torch.Tensor:
    """A picture (3, H, W) at about `TILE` pixels: small ones enlarged by whole numbers."""
    side = max(image.shape[1:])
    if side <= TILE:
        times = max(1, TILE // side)
        return image.repeat_interleave(times, 1).repeat_interleave(times, 2)
    factor = TILE / side
    size = (round(image.shape[1] * factor), round(image.shape[2] * factor))
    return images.resize(image[None], size)[0]


@dataclass(frozen=True)
class Kind:
    """A picture of one of the paper's three kinds, and how sure the network is of it."""

    title: str
    name: str
    confidence: float
    image: torch.Tensor


def three_kinds(
    network: Network, archives: Mapping[str, Generation], count: int = 5, *, steps: int = 60
) -> list[Kind]:
    """The best champions of each archive (its title is the key), and for the first archive's
    classes pictures from gradient ascent with an L2 penalty."""
    kinds = [
        Kind(title, one.name, one.confidence, one.image)
        for title, archive in archives.items()
        for one in archive.best(count)
    ]
    names = [one.name for one in kinds[:count]]
    frame = visualize(network, list(names), recipe=SIMONYAN, steps=steps)
    chances = network.predict(frame.image, k=len(network.categories))
    for name, image, answers in zip(names, frame.image, chances, strict=True):
        chance = next(one.probability for one in answers if one.name == name)
        kinds.append(Kind("gradient ascent, L2", name, chance, image))
    return kinds


def kinds_picture(kinds: Sequence[Kind]) -> Image.Image:
    """A row for each kind."""
    titles = list(dict.fromkeys(kind.title for kind in kinds))
    rows = [[kind for kind in kinds if kind.title == title] for title in titles]
    if len({len(row) for row in rows}) != 1:
        raise BadSetting("each kind needs as many pictures as the others")
    several = [kind for row in rows for kind in row]
    return figures.mosaic(
        [_tile(kind.image) for kind in several],
        titles=[kind.name for kind in several],
        values=[figures.per_cent(kind.confidence) for kind in several],
        rows=titles,
        columns=len(rows[0]),
        gap=8,
    )


def lineage_picture(
    generations: Sequence[Generation], name: str | int, *, count: int = 6
) -> Image.Image:
    """One class's champions in the order in which they held the cell, evenly chosen."""
    reigns: list[tuple[int, Champion]] = []
    cell = generations[0].classes.index(generations[0].champion(name).index)
    births = [int(one.births[cell]) for one in generations]
    firsts = [place for place, born in enumerate(births) if place == 0 or born != births[place - 1]]
    chosen = torch.linspace(0, len(firsts) - 1, min(count, len(firsts))).round().int().tolist()
    for place in (firsts[index] for index in chosen):
        reigns.append((births[place] + 1, generations[place].painted([cell])[0]))
    return figures.mosaic(
        [_tile(champion.image) for _, champion in reigns],
        titles=[f"child {born}" for born, _ in reigns],
        values=[figures.per_cent(champion.confidence) for _, champion in reigns],
        columns=len(reigns),
        gap=8,
    )


def rise_picture(runs: Mapping[str, Sequence[Generation]], threshold: float = 0.99) -> Image.Image:
    """How many classes have a champion above the threshold, against the pictures shown."""
    lines = {
        title: ([one.children for one in run], [one.count_above(threshold) for one in run])
        for title, run in runs.items()
    }
    return figures.curve(
        lines, across="pictures shown to the network", up=f"classes above {100 * threshold:g} %"
    )


# The network behind a picture


def genome_picture(champion: Champion) -> Image.Image:
    """A champion beside the little network that paints it.

    Inputs stand below, hue, saturation and value above, each with the function that it computes. A
    link is the thicker the larger its weight, blue and solid where that is positive, orange and
    dashed where it is negative.
    """
    genome = champion.genome
    if not isinstance(genome, CppnGenome):
        raise BadSetting(f"{champion.name}'s picture is written down pixel by pixel: no network")
    graph = figures.drawn(lambda axes: _plot_network(axes, genome), size=(460, 336))
    title = f"{champion.name}, {figures.per_cent(champion.confidence)}"
    times = max(1, 336 // max(champion.image.shape[1:]))
    return figures.side_by_side(
        [figures.enlarge(champion.image[None], times), graph], [title, "the network that paints it"]
    )


def _plot_network(axes: Axes, genome: CppnGenome) -> None:
    links = genome.links()
    places = _places(links, genome.names())
    for source, target, weight in links:
        (x, y), (across, up) = places[source], places[target]
        axes.plot(
            [x, across],
            [y, up],
            color=ink.SERIES[0] if weight > 0 else ink.SERIES[1],
            linestyle="-" if weight > 0 else "--",
            linewidth=0.6 + 2.4 * min(abs(weight), 3) / 3,
            zorder=1,
        )
    computed = dict(zip(OUTPUTS[-genome.outputs :], genome.output_functions(), strict=True))
    for name, (x, y) in places.items():
        words = f"{name}\n({computed[name]})" if name in computed else name.rsplit(" ", 1)[0]
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "#333333"}
        text = axes.text(x, y, words, ha="center", va="center", fontsize=9, bbox=box, zorder=2)
        text.set_in_layout(False)
    axes.set_axis_off()
    axes.margins(0.14, 0.16)


def _places(
    links: Sequence[tuple[str, str, float]], names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Where each node stands: as high as its longest way from the inputs, the outputs on top."""
    used = [name for name in names if any(name in link[:2] for link in links)]
    height = dict.fromkeys(used, 0)
    for name in used:  # in the order of computing, so what a node reads is placed before it
        below = [height[source] for source, target, _ in links if target == name]
        height[name] = 1 + max(below) if below else 0
    outputs = [name for name in used if name in OUTPUTS]
    top = max(height.values(), default=0)
    height |= dict.fromkeys(outputs, max(top, 1))
    rows: dict[int, list[str]] = {}
    for name in used:
        rows.setdefault(height[name], []).append(name)
    return {
        name: ((place + 0.5) / len(row) + 0.03 * (level % 2), float(level))
        for level, row in rows.items()
        for place, name in enumerate(row)
    }
