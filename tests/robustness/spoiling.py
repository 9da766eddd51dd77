"""What can be wrong with an argument, and what must not come out of a method.

`SPOILT` has, for each kind of argument, values that cannot be right. `flaw` looks through any
result for numbers that are none.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.network import Network

SIZE = (48, 40)
Spoil = Callable[[Any], Any]


def _with(value: float) -> Spoil:
    """One pixel, channel or number is this."""

    def spoil(image: torch.Tensor) -> torch.Tensor:
        spoilt = image.detach().clone()
        spoilt.view(-1)[spoilt.numel() // 2] = value
        return spoilt

    return spoil


# An image (N, 3, H, W) in [0, 1], float: each of these is refused wherever an image is asked for.
IMAGES: dict[str, Spoil] = {
    "NaN": _with(math.nan),
    "infinite": _with(math.inf),
    "minus infinite": _with(-math.inf),
    "above one": _with(1.5),
    "below zero": _with(-0.5),
    "0 to 255": lambda image: image * 255,
    "bytes": lambda image: (image * 255).to(torch.uint8),
    "whole numbers": lambda image: (image * 255).long(),
    "yes and no": lambda image: image > 0.5,
    "complex": lambda image: image.to(torch.complex64),
    "one channel": lambda image: image[:, :1],
    "four channels": lambda image: torch.cat([image, image[:, :1]], 1),
    "channels last": lambda image: image.permute(0, 2, 3, 1),
    "no batch": lambda image: image[0],
    "five dimensions": lambda image: image[None],
    "an empty batch": lambda image: image[:0],
    "no rows": lambda image: image[:, :, :0],
    "no columns": lambda image: image[..., :0],
    "an array": lambda image: image.numpy(),
    "a file's name": lambda image: "panda.png",
    "nothing": lambda image: None,
}
LAYERS: dict[str, Spoil] = {
    "unknown": lambda layer: "conv99_9",
    "empty": lambda layer: "",
    "a number": lambda layer: 3,
    "nothing": lambda layer: None,
}
TARGETS: dict[str, Spoil] = {
    "an unknown class": lambda target: "no such class",
    "a class too many": lambda target: 10_000,
    "a negative class": lambda target: -1,
    "half a class": lambda target: 1.5,
    "nothing": lambda target: None,
    "an unknown layer": lambda target: ("conv99_9", 0),
    "an empty pair": lambda target: (),
    "a list": lambda target: [0, 1, 2, 3, 4],
    "a position outside": lambda target: ("stem", 0, (10_000, 0)),
    "a negative channel": lambda target: ("stem", -1),
    "no channel": lambda target: ("stem", "red"),
}
# Numbers of which a method may well take some: a right result, or an error of ours.
WHOLE: dict[str, Spoil] = {
    "zero": lambda number: 0,
    "negative": lambda number: -1,
    "one": lambda number: 1,
    "another": lambda number: 7,
}
REAL: dict[str, Spoil] = {
    "zero": lambda number: 0.0,
    "one": lambda number: 1.0,
    "negative": lambda number: -1.0,
    "large": lambda number: 1e4,
    "NaN": lambda number: math.nan,
    "infinite": lambda number: math.inf,
}
WORDS: dict[str, Spoil] = {"unknown": lambda word: "no such word", "empty": lambda word: ""}
PAIRS: dict[str, Spoil] = {
    "zeros": lambda pair: tuple(0 for _ in pair),
    "negative": lambda pair: tuple(-1 for _ in pair),
    "ones": lambda pair: tuple(1 for _ in pair),
    "too short": lambda pair: tuple(pair[:-1]),
    "too long": lambda pair: (*pair, 1),
    "turned": lambda pair: tuple(reversed(pair)),
}
NUMBERS: dict[str, Spoil] = {  # tensors that are no images: maps, codes, weights, changes
    "NaN": _with(math.nan),
    "infinite": _with(math.inf),
    "empty": lambda values: values[:0],
    "flat": lambda values: values.flatten(),
    "one more dimension": lambda values: values[None],
    "one row": lambda values: values[:1],
    "constant": torch.zeros_like,
    "large": lambda values: values.float() * 1e30,
    "whole numbers": lambda values: values.long(),
}


@functools.cache
def tiny() -> Network:
    """Two convolutions and an average: every method of the table works on it."""
    module = toys.seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(12, 10, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
    )
    return networks.wrap(module, input_size=SIZE, name="tiny")


def of_knob(value: object) -> dict[str, Spoil]:
    """The ways to spoil a number, a word or a size."""
    if isinstance(value, bool):
        return {}
    if isinstance(value, int):
        return WHOLE
    if isinstance(value, float):
        return REAL
    if isinstance(value, str):
        return WORDS
    numbers = isinstance(value, tuple) and all(isinstance(one, int | float) for one in value)
    return PAIRS if numbers and value else {}


def is_image(value: object) -> bool:
    """Whether a tensor is an image in the workbook's sense."""
    if not isinstance(value, torch.Tensor) or value.ndim != 4 or value.shape[1] != 3:
        return False
    return value.is_floating_point() and bool(((value >= 0) & (value <= 1)).all())


def flaw(result: object, path: str = "result") -> str:
    """Where a result holds a number that is none; "" where all is well."""
    if isinstance(result, torch.Tensor):
        fine = not result.is_floating_point() or bool(result.isfinite().all())
        return "" if fine else f"{path} is not finite"
    if isinstance(result, float):
        return "" if math.isfinite(result) else f"{path} is {result}"
    if isinstance(result, Network | str | bytes) or inspect.isroutine(result):
        return ""
    if dataclasses.is_dataclass(result):
        names = [one.name for one in dataclasses.fields(result)]
        return _first({name: getattr(result, name) for name in names}, path)
    if isinstance(result, Mapping):
        return _first(result, path)
    if isinstance(result, Sequence):
        return _first(dict(enumerate(result)), path)
    return ""


def _first(parts: Mapping[Any, object], path: str) -> str:
    found = (flaw(part, f"{path}.{name}") for name, part in parts.items())
    return next((words for words in found if words), "")
