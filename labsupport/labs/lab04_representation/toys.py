"""Lab 04: t-SNE of data whose truth is known: what may be read from a map, and what may not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from labsupport.labs.lab04_representation.maps import dots
from labsupport.labs.lab04_representation.tsne import descend, descent, step_words
from labsupport.methods import codes as c
from labsupport.ui import figures
from labsupport.ui.declare import choice, live, real


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


def toy(name: str, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Made-up data (150, D), the group of each point and the groups' names."""
    build, names = _TOYS[name]
    values, groups = build(np.random.default_rng(seed))
    return torch.tensor(values).float(), torch.tensor(groups), names


def _draw_toy(
    frame: c.Embedding,
    data: str,
    perplexity: int,
    radius: float = real(4.0, 2.0, 8.0, step=0.5, unit="px", digits=1, label="dot size"),
) -> tuple[Image.Image, str]:
    return toy_picture(data, frame.points, radius=radius), step_words(frame, perplexity)


_DESCENT = descent(perplexity=30)


@live("Maps of what you know", draw=_draw_toy)
def toys_panel(
    data: str = choice(TOYS), how: Mapping[str, Any] = _DESCENT
) -> Iterator[c.Embedding]:
    """t-SNE of data whose truth is known: what may and what may not be read from a map."""
    return descend(toy(data)[0], metric="euclidean", **how)


def toy_picture(data: str, points: torch.Tensor, *, radius: float = 4.0) -> Image.Image:
    """The first two dimensions of made-up data beside its map."""
    rows, groups, names = toy(data)
    pair = [
        dots(one, groups.tolist(), names, size=340, radius=radius, legend=one is points)
        for one in (rows[:, :2], points)
    ]
    return figures.side_by_side(pair, ["the data (its first two numbers)", "its map"])


def toy_maps(data: str, settings: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Maps of one data set with different settings, side by side, each under its settings."""
    rows, groups, names = toy(data)
    maps = [c.embed(rows, metric="euclidean", **one).points for one in settings]
    titles = [", ".join(f"{key} {value}" for key, value in one.items()) for one in settings]
    shown = [
        dots(points, groups.tolist(), names, size=240, radius=3, legend=False)
        for points in (rows[:, :2], *maps)
    ]
    return figures.side_by_side(shown, ["the data", *titles], columns=4)
