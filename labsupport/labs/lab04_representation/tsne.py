"""Lab 04: t-SNE while it works, of the codes of pictures, of made-up data and of digits; and a
finished map for each layer."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.images.sets import LabelledImages
from labsupport.labs.lab04_representation import maps
from labsupport.labs.lab04_representation.maps import PIXELS, Collection
from labsupport.methods import codes as c
from labsupport.ui import declare, figures, ink

STARTS = {"principal components": -1, **{f"random, seed {seed}": seed for seed in range(3)}}
RATES = {"by the number of points": 0.0, "1": 1.0, "10": 10.0, "200": 200.0, "5000": 5000.0}
_WATCHED = 2.5  # seconds that a map takes at least, to be seen growing


def step_words(frame: c.Embedding, perplexity: int) -> str:
    """How far t-SNE is, in two sentences."""
    cost = "" if math.isnan(frame.cost) else f", divergence {frame.cost:.2f}"
    return f"Step {frame.step} of {frame.steps} ({frame.stage}){cost}. Perplexity {perplexity}."


# The map, live


def _draw_map(
    frame: c.Embedding,
    things: Collection,
    layer: str,
    perplexity: int,
    view: str = declare.choice(maps.VIEWS),
    tile: int = declare.whole(52, 24, 96, step=4, unit="px", label="picture size"),
    size: int = 760,
) -> tuple[Image.Image, str]:
    quality = maps.map_words(things.codes[layer], frame.points, things.categories)
    picture = maps.map_picture(things, frame.points, view, size=size, tile=tile)
    return picture, f"{step_words(frame, perplexity)} {quality}"


_LAYERS = maps.layer_menu(pixels=True)


@declare.live("t-SNE of the codes", draw=_draw_map)
def map_panel(
    things: Collection,
    layer: str = _LAYERS,
    perplexity: int = declare.whole(12, 2, 100),
    learning_rate: float = declare.choice(RATES),
    seed: int = declare.choice(STARTS, label="start"),
    steps: int = declare.whole(750, 50, 1500, step=50),
) -> Iterator[c.Embedding]:
    """t-SNE of the codes while it works: any layer, perplexity, learning rate, start.

    The frames are held back where the whole would be over before an eye has followed it.
    """
    start = time.perf_counter()
    begin = None if seed < 0 else seed
    rate = learning_rate or None
    how: dict[str, Any] = {"perplexity": perplexity, "seed": begin, "steps": steps}
    for frame in c.embed.frames(things.codes[layer], learning_rate=rate, **how):
        yield frame
        ahead = frame.progress * _WATCHED - (time.perf_counter() - start)
        time.sleep(min(max(ahead, 0.0), 0.1))


# A map for each layer


def _depth_slider(_: str, depth: int | None, made: declare.Made) -> Any:
    last = len(made["things"].codes) - 1
    return declare.whole(last if depth is None else depth, 0, last)


_DEPTH: Any = declare.Declared(_depth_slider, None, "depth (0: pixels)")


def _layer_map(things: Collection, depth: int = _DEPTH) -> torch.Tensor:
    """The map of one layer, turned onto the one of the last."""
    codes = list(things.codes.values())[depth]
    points = c.embed(codes, perplexity=12, steps=300).points
    return procrustes(points, things.own_map)


@declare.panel("Layer by layer", compute=_layer_map, cost="quick")
def layers_panel(
    points: torch.Tensor,
    things: Collection,
    depth: int,
    view: str = declare.choice(maps.VIEWS, "dots"),
) -> tuple[Image.Image, str]:
    """How the categories come apart from the pixels to the last layer: a map for each layer."""
    name = list(things.codes)[depth]
    left = maps.map_picture(things, points, view, size=390, tile=34)
    right = _agreement_curve(things.agreement, depth)
    words = f"{name}: {things.agreement[name]:.0%} of the 5 nearest pictures share the category."
    return figures.side_by_side([left, right], [f"map of {name}", ""]), words


def procrustes(points: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The same map, turned and mirrored to lie as near to another as it can (Procrustes).

    A map has no up or down; turned alike, two maps of the same images are easier to compare.
    """
    own, other = points - points.mean(0), reference - reference.mean(0)
    left, _, right = torch.linalg.svd(own.double().T @ other.double())
    turned: torch.Tensor = own.double() @ left @ right
    return turned.float()


def _agreement_curve(agreement: Mapping[str, float], depth: int) -> Image.Image:
    def plot(axes: figures.Axes) -> None:
        shares = [100 * share for share in agreement.values()]
        axes.plot(range(len(shares)), shares, color=ink.SERIES[0], linewidth=2, marker="o")
        axes.plot([depth], [shares[depth]], "o", color=ink.SERIES[1], markersize=12)
        axes.set_xticks(range(len(shares)), list(agreement), rotation=60)
        axes.set_ylim(0, 100)

    return figures.drawn(plot, size=(300, 300), up="5 nearest of the same category (%)")


# Data whose truth is known


def _two_sizes(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    small, wide = draw.normal(0, 1, (75, 10)), draw.normal(0, 10, (75, 10))
    wide[:, 0] += 60
    return np.concatenate([small, wide]), np.repeat([0, 1], 75)


def _three_distances(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    values = draw.normal(0, 1, (150, 10))
    values[50:100, 0] += 10
    values[100:, 0] += 60
    return values, np.repeat([0, 1, 2], 50)


def _noise(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return draw.normal(0, 1, (150, 50)), np.zeros(150, dtype=int)


def _ring(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    turn = np.linspace(0, 2 * np.pi, 150, endpoint=False)
    values = np.column_stack([np.cos(turn), np.sin(turn)]) + draw.normal(0, 0.02, (150, 2))
    return values, (np.arange(150) * 4) // 150


_TOYS = {
    "two groups, one ten times as wide": (_two_sizes, ("narrow", "wide")),
    "three groups, one far away": (_three_distances, ("left", "10 away", "60 away")),
    "noise in 50 dimensions": (_noise, ("noise",)),
    "a ring": (_ring, ("first quarter", "second", "third", "last")),
}
TOYS = tuple(_TOYS)


def toy(name: str) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Made-up data (150, D), the group of each point and the groups' names."""
    build, names = _TOYS[name]
    values, groups = build(np.random.default_rng(0))
    return torch.tensor(values).float(), torch.tensor(groups), names


def toy_maps(data: str, settings: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Maps of one data set with different settings, side by side, each under its settings."""
    rows, groups, names = toy(data)
    made = [c.embed(rows, metric="euclidean", **one).points for one in settings]
    titles = [", ".join(f"{key} {value}" for key, value in one.items()) for one in settings]
    shown = [
        figures.dots(points, groups, names, size=240, radius=3, counted=False)
        for points in (rows[:, :2], *made)
    ]
    return figures.side_by_side(shown, ["the data", *titles], columns=4)


# Digits and clothing


COMPUTED = "computed"  # the bundled maps of all digits
DIGITS = {
    "1797 digits of 8 × 8 (scikit-learn)": "small",
    "2000 MNIST digits": "test",
    "10 000 MNIST digits": "all",
    "10 000 MNIST digits, ready map": COMPUTED,
    "2000 garments (Fashion-MNIST)": "fashion",
}
SOURCES = {"pixels": PIXELS, "LeNet-5's code (84 numbers)": "lenet5"}


@lru_cache(maxsize=4)
def digits(data: str) -> LabelledImages:
    """A set by the name that `DIGITS` gives it: 1797 to 10 000 small images with their labels."""
    if data == "fashion":
        return images.fashion("test")
    if data == "small":
        from sklearn.datasets import load_digits

        small = load_digits()
        pixels, labels = torch.tensor(small.images).float() / 16, torch.tensor(small.target)
    else:
        splits = ("train", "test") if data in ("all", COMPUTED) else ("test",)
        sets = [images.digits(split) for split in splits]
        pixels = torch.cat([one.images[:, 0] for one in sets])
        labels = torch.cat([one.labels for one in sets])
    return LabelledImages(pixels[:, None].expand(-1, 3, -1, -1), labels, tuple("0123456789"))


@lru_cache(maxsize=8)
def digit_codes(data: str, source: str = PIXELS) -> torch.Tensor:
    """The pixels of each digit as a vector, or its 84 numbers before LeNet-5's classifier."""
    shown = digits(data).images
    if source == PIXELS:
        return shown[:, 0].flatten(1)
    network = networks.load("lenet5")
    return c.codes(network, images.resize(shown, network.input_size))


def bundled_map(source: str = PIXELS) -> c.Embedding:
    """The finished map of 10 000 digits that comes with the workbook: 750 steps, perplexity 30."""
    path = bundled.path(f"maps/digits_{source}.csv")
    points = torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32))
    return c.Embedding(points, 750, 750, math.nan, "computed before", 1.0)


def draw_digits(
    frame: c.Embedding,
    data: str,
    source: str,
    perplexity: int = 30,
    view: str = declare.choice({"dots": "dots", "the digits themselves": "digits"}),
    radius: float = declare.real(2.5, 1.0, 6.0, step=0.5, unit="px", label="dot size"),
) -> tuple[Image.Image, str]:
    """The map of some digits, with words on how good it is; dots have this `radius`."""
    shown = digits(data)
    labels = shown.labels.tolist()
    if view == "dots":
        picture = figures.dots(frame.points, labels, shown.categories, radius=radius)
    else:
        picture = digit_map(frame.points, shown)
    words = step_words(frame, 30 if data == COMPUTED else perplexity)
    if frame.progress < 1 and len(labels) > 500:
        return picture, words
    quality = maps.map_words(
        digit_codes(data, source), frame.points, labels, metric="euclidean", what="class"
    )
    return picture, f"{words} {quality}"


@declare.live("Digits in a plane", draw=draw_digits, autostart=False)
def digits_panel(
    data: str = declare.choice(DIGITS, "small", label="images"),
    source: str = declare.choice(SOURCES, label="code"),
    perplexity: int = declare.whole(30, 5, 100, step=5),
    steps: int = declare.whole(750, 100, 1500, step=50),
) -> Iterator[c.Embedding]:
    """t-SNE of handwritten digits while it works, coloured by what they are."""
    if data == COMPUTED:
        return iter([bundled_map(source)])
    rows = digit_codes(data, source)
    every = max(1, min(10, 20_000 // len(rows)))
    return c.embed.frames(rows, perplexity=perplexity, metric="euclidean", steps=steps, every=every)


def digit_map(
    points: torch.Tensor, shown: LabelledImages, *, size: int = 960, tile: int = 18
) -> Image.Image:
    """As many digits as fit without covering each other, at their places, in their colours."""
    strokes = (255 * images.resize(shown.images, (tile, tile))[:, 0]).byte().numpy()

    def stroke(number: int) -> Image.Image:
        return figures.inked(strokes[number], figures.group_colour(int(shown.labels[number])))

    picture = figures.pictures_at(points, stroke, size=size, tile=tile, apart=True)
    return figures.group_legend(picture, shown.labels.numpy(), shown.categories)
