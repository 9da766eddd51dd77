"""Lab 03: filters as tiles, sorted; a network that learns while its filters are watched."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from labsupport.core import images, training
from labsupport.core import network as networks
from labsupport.core.frames import framed
from labsupport.core.images.crops import crops
from labsupport.core.network import Network
from labsupport.core.network.architectures import convnetjs
from labsupport.core.network.architectures.lenet import LeNet5
from labsupport.core.training import TrainingFrame
from labsupport.methods import weights as w
from labsupport.ui import declare, figures

KEY_WORDS = {
    "number": "number of the filter",
    "orientation": "orientation of the stripes",
    "frequency": "frequency",
    "colour": "colour, grey first",
    "noise": "noise, smooth first",
    "strength": "strength, strongest first",
}
SCALES = {"own: each tile's largest weight is full": False, "shared by all tiles": True}
SETS = {"colour crops (ConvNetJS)": "crops", "digits (LeNet-5)": "digits"}
CIFAR = {"CIFAR-10 (ConvNetJS)": "CIFAR10"}  # a download of 170 MB: only for who asks for it
DECAYS = {"none": 0.0, "0.0001": 1e-4, "0.001": 1e-3, "0.01": 1e-2, "0.1": 0.1}
_TILE, _LARGE = 44, 66  # pixels that a first-layer filter is enlarged to, or nearly
_COLUMNS = 11  # of large tiles: wide rather than tall, for the screen
_STEPS_PER_FRAME = 2  # so that Stop answers soon


# Filters as pictures


def tiles(
    weights: torch.Tensor,
    numbers: Sequence[int] | None = None,
    *,
    shared: bool = False,
    columns: int | None = None,
    side: int = _TILE,
) -> Image.Image:
    """First-layer filters (N, C, H, W), in colour where C is 3, each under its number, about `side`
    pixels large.

    Zero is middle grey. `shared` divides all by one largest weight instead of each by its own, so
    that weak filters look weak.
    """
    numbers = list(range(len(weights)) if numbers is None else numbers)
    chosen = figures.spread(weights, shared=shared)[numbers]
    shown = chosen if chosen.shape[1] == 3 else chosen.mean(1)
    titles = [str(number) for number in numbers]
    enlarge = max(1, round(side / max(weights.shape[2:])))
    return figures.mosaic(shown, columns=columns, enlarge=enlarge, titles=titles)


def slices(
    weights: torch.Tensor,
    *,
    shared: bool = True,
    enlarge: int = 3,
    rows: Sequence[str] | None = None,
) -> Image.Image:
    """A deeper layer (N, C, H, W): a row for each filter, a grey tile for each channel it reads.

    `shared` has one scale for the whole layer, else one for each filter; `rows` stand beside them.
    """
    count, channels = weights.shape[:2]
    spread = figures.spread(weights, shared=shared).reshape(count * channels, *weights.shape[2:])
    return figures.mosaic(spread, columns=channels, gap=1, enlarge=enlarge, rows=rows)


def _enlargement(weights: torch.Tensor) -> int:
    return max(1, round(_TILE / max(weights.shape[2:])))


def gabors(weights: torch.Tensor, fit: w.GaborFit, numbers: Sequence[int]) -> Image.Image:
    """Filters in the upper row, the Gabors fitted to them below, with the share missed."""
    numbers = list(numbers)
    pairs = torch.stack([weights[numbers], fit.drawn[numbers]], dim=1)  # (n, 2, C, H, W)
    spread = figures.spread(pairs)  # one scale for a filter and its Gabor
    both = np.concatenate([spread[:, 0], spread[:, 1]])
    titles = [f"{n}" for n in numbers] + [f"{float(fit.error[n]):.0%}" for n in numbers]
    return figures.mosaic(
        both if both.shape[1] == 3 else both.mean(1),
        columns=len(numbers),
        enlarge=_enlargement(weights),
        titles=titles,
        rows=["filter", "Gabor, misses"],
    )


# The panel of sorted filters


@declare.panel("Filters of the first layer", cost="quick")
def filters_panel(
    network: Network = declare.network_of("alexnet", networks.names),
    key: str = declare.choice({KEY_WORDS[key]: key for key in w.KEYS}, label="sorted by"),
    shared: bool = declare.choice(SCALES, label="scale"),
) -> tuple[Image.Image, str]:
    """The first layer of any network, sorted as is asked, each tile with its number."""
    first = w.filters(network)
    order = w.argsort(first.weights, key)
    columns = _COLUMNS if len(order) > 2 * _COLUMNS else None
    picture = tiles(first.weights, order, shared=shared, columns=columns, side=_LARGE)
    scale = "one scale" if shared else "each tile on its own scale"
    return picture, f"{_summary(first.weights)} {first.words}. Sorted by {key}, {scale}."


def _summary(weights: torch.Tensor) -> str:
    measured = w.measure(weights)
    count, _, height, width = weights.shape
    colourful = int((measured.opponency > 0.5).sum())
    return (
        f"{count} filters of {height} x {width}: {colourful} more colour than grey, "
        f"{len(w.dead(weights))} dead, {len(w.duplicates(weights))} pairs alike, "
        f"noise {float(measured.noise.median()):.2f} (median; white noise has 0.80)."
    )


# A network that learns


@lru_cache(maxsize=3)
def training_data(data: str) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """What a network learns from: images as it takes them, their labels, the categories.

    `data` is "crops", "digits" or "CIFAR10" (a download).
    """
    if data == "digits":
        digits = images.digits("train")
        return digits.images[:2000].contiguous(), digits.labels[:2000], digits.categories
    if data == "crops":
        chosen = crops("train", per_class=150)
    else:
        chosen = images.torchvision_set("CIFAR10", count=1500)
    return (chosen.images - 0.5) / 0.25, chosen.labels, chosen.categories


@framed
def train_filters(
    data: str = "crops",
    *,
    learning_rate: float = 0.02,
    weight_decay: float = 1e-3,
    epochs: int = 8,
    seed: int = 0,
) -> Iterator[TrainingFrame]:
    """A small network after its training from random weights: its filters are looked at.

    `train_filters.frames` gives it all the way, each time as it was then; the first one is before
    any step.
    """
    batch, labels, categories = training_data(data)
    convolutional = LeNet5 if data == "digits" else partial(convnetjs.ConvNetJS, len(categories))
    module = training.seeded(convolutional, seed)
    frames = training.train.frames(
        module,
        batch,
        labels,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        augment=training.random_shifts(2),
        seed=seed,
    )
    yield TrainingFrame(0, 1, 0.0, math.nan, 1 / len(categories), module)
    for frame in frames:
        if frame.step % _STEPS_PER_FRAME == 0 or frame.step == frame.steps:
            yield replace(frame, module=copy.deepcopy(frame.module))


def convolutions(frame: TrainingFrame) -> dict[str, torch.Tensor]:
    """The weights (N, C, H, W) of each convolution, the first layer's first."""
    return {
        name: part.weight.detach().cpu()
        for name, part in frame.module.named_modules()
        if isinstance(part, nn.Conv2d)
    }


def _draw_learning(
    frame: TrainingFrame,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    shared: bool = declare.choice(SCALES, label="scale"),
    size: int = declare.whole(3, 2, 5, unit="×", label="zoom"),
) -> tuple[Image.Image, str]:
    """All layers side by side, the first in colour if it has any, and how the training goes.

    `size` is how many pixels a weight of the deeper layers is wide.
    """
    (name, first), *deeper = convolutions(frame).items()
    pictures = [tiles(first, shared=shared, columns=4 if len(first) > 6 else 2)]
    pictures += [slices(layer, shared=shared, enlarge=size) for _, layer in deeper]
    now = f"loss {frame.loss:.2f}, {frame.accuracy:.0%} right on the last batches"
    now = now if frame.step else "random weights, before all learning"
    titles = [name, *(f"{title}: a row a filter" for title, _ in deeper)]
    words = (
        f"Step {frame.step}: {now}; noise of {name} {_noise(first):.2f}. "
        f"Learning rate {learning_rate:.3g}, weight decay {weight_decay:g}, seed {seed}."
    )
    return figures.side_by_side(pictures, titles), words


@declare.live("Filters that learn", draw=_draw_learning, autostart=False)
def learning_panel(
    data: str = declare.choice(SETS, "crops", label="learns from", asked=CIFAR),
    how: Mapping[str, Any] = declare.together(
        learning_rate=declare.logarithmic(0.04, 0.0005, 0.2),
        weight_decay=declare.choice(DECAYS, 1e-3),
        epochs=declare.whole(30, 1, 60),
        seed=declare.seed(),
    ),
) -> Iterator[TrainingFrame]:
    """Training, live: the filters of all layers, redrawn while they change.

    `data` is "crops", "digits", or "CIFAR10", which is downloaded if it is not there yet.
    """
    return train_filters.frames(data, **how)


def compared(trainings: Mapping[str, TrainingFrame]) -> Image.Image:
    """The first layers of several trainings side by side, with accuracy and noise above each."""
    firsts = [next(iter(convolutions(frame).values())) for frame in trainings.values()]
    titles = [
        f"{name}: {frame.accuracy:.0%} right, noise {_noise(first):.2f}"
        for (name, frame), first in zip(trainings.items(), firsts, strict=True)
    ]
    return figures.side_by_side([tiles(first, columns=4) for first in firsts], titles)


def _noise(filters: torch.Tensor) -> float:
    """The median of the filters' noise."""
    return float(w.measure(filters).noise.median())
