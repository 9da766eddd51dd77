"""Lab 12: pictures that evolve until the network is sure of them, live, and how they came about."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from PIL import Image

from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.methods.evolution import Generation, evolve
from labsupport.methods.optimize import SIMONYAN, visualize
from labsupport.ui import declare, figures, ink

ENCODED = {"a network that paints (CPPN)": "CPPN", "a number for each pixel (direct)": "direct"}
DRAWN_FROM = {"promising champions first": "promising", "all champions alike": "even"}
TILE = 112  # pixels of a champion's side in a mosaic, about
_LEVELS = (0.5, 0.9, 0.99)


# Live


def _draw_evolving(
    generation: Generation,
    parents: str,
    champions: int = declare.whole(20, 5, 40, step=5, label="champions shown"),
) -> tuple[Image.Image, str]:
    cells = generation.ranking(champions)
    chances = generation.confidence[cells].clamp_min(0).tolist()
    picture = figures.mosaic(
        [_tile(generation.champions[cell], generation.plan.images) for cell in cells],
        titles=[generation.plan.categories[generation.classes[cell]] for cell in cells],
        values=[figures.per_cent(chance) for chance in chances],
        columns=min(5, len(cells)),
        gap=8,
    )
    drawn = "Parents drawn by promise." if parents == "promising" else "Parents drawn evenly."
    return picture, f"{_in_words(generation)} {drawn}"


@lru_cache(maxsize=40)  # a champion is painted once, and so many are shown
def _tile(genome: Any, images_of: Callable[[Sequence[Any]], torch.Tensor]) -> Image.Image:
    return figures.fitted(images_of([genome]).cpu(), TILE)


@declare.live("Evolution of pictures", draw=_draw_evolving, autostart=False)
def evolution_panel(
    network: Network = declare.network_of(names=networks.names),
    encoding: str = declare.choice(ENCODED, label="written down as"),
    parents: str = declare.choice(DRAWN_FROM, label="parents are"),
    budget: int = declare.whole(2000, 500, 20_000, step=500, unit="pictures"),
    seed: int = declare.seed(),
) -> Iterator[Generation]:
    """MAP-Elites at work: the archive's best champions, each with its class and probability.

    `budget` counts the pictures that the network is shown.
    """
    return evolve.frames(network, encoding, budget=budget, parents=parents, seed=seed)


def _in_words(generation: Generation) -> str:
    count = len(generation.classes)
    over = ", ".join(
        f"{generation.count_above(level)} above {100 * level:.0f} %" for level in _LEVELS
    )
    shown, budget = (f"{n:,}".replace(",", " ") for n in (generation.children, generation.budget))
    return (
        f"{shown} pictures (budget: {budget}) shown to the network in "
        f"{ink.counted(generation.number, 'generation')}. Of {count} classes, {over}; half of "
        f"them above {figures.per_cent(float(generation.confidence.median()))}."
    )


# Pictures


Kind = tuple[str, float, torch.Tensor]  # a class, how sure the network is of it, and a picture


def three_kinds(
    network: Network, archives: Mapping[str, Generation], count: int = 5, *, steps: int = 60
) -> dict[str, list[Kind]]:
    """The best champions of each archive by its title, and for the first archive's classes pictures
    from gradient ascent with an L2 penalty."""
    kinds: dict[str, list[Kind]] = {
        title: [(one.name, one.confidence, one.image) for one in archive.best(count)]
        for title, archive in archives.items()
    }
    names = [name for name, *_ in next(iter(kinds.values()))]
    frame = visualize(network, list(names), recipe=SIMONYAN, steps=steps)
    shares = network.scores(frame.image).softmax(1)
    chances = [
        float(row[network.class_index(name)]) for row, name in zip(shares, names, strict=True)
    ]
    kinds["gradient ascent, L2"] = list(zip(names, chances, frame.image, strict=True))
    return kinds


def kinds_picture(kinds: Mapping[str, Sequence[Kind]]) -> Image.Image:
    """A row for each kind."""
    if len({len(row) for row in kinds.values()}) != 1:
        raise BadSetting("each kind needs as many pictures as the others")
    several = [one for row in kinds.values() for one in row]
    return figures.mosaic(
        [figures.fitted(image[None], TILE) for *_, image in several],
        titles=[name for name, *_ in several],
        values=[figures.per_cent(chance) for _, chance, _ in several],
        rows=list(kinds),
        columns=len(several) // len(kinds),
        gap=8,
    )
