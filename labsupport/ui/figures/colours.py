"""Pixels: what counts as a picture, numbers as colours, small squares."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from labsupport.core.errors import BadImage, BadSetting, nearest
from labsupport.ui import ink

if TYPE_CHECKING:
    import torch

Picture: TypeAlias = Image.Image
Pixels: TypeAlias = "Picture | NDArray[Any] | torch.Tensor"
Bytes: TypeAlias = NDArray[np.uint8]
Limits: TypeAlias = tuple[float, float]

COLOURS = ("viridis", "magma", "signed", "grey")


def pixels(picture: Pixels) -> Bytes:
    """The picture as bytes (H, W, 3); `BadImage` if it is none, not finite, or not in [0, 1].

    >>> pixels(np.array([[0.0, 0.5, 1.0]]))[0, :, 0].tolist()
    [0, 128, 255]
    """
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    values = as_array(picture)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.dtype != np.uint8:
        values = values.transpose(1, 2, 0)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or 0 in values.shape:
        raise BadImage(
            f"This is no picture: its shape is {np.shape(picture)}. "
            "One picture has the shape (3, height, width), or (height, width) if it is grey."
        )
    return np.ascontiguousarray(np.broadcast_to(to_bytes(values), (*values.shape[:2], 3)))


def as_array(values: Any) -> NDArray[Any]:
    """A tensor (from any device, with or without a gradient) or a list as a numpy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    return np.asarray(values)


def to_bytes(values: NDArray[Any]) -> Bytes:
    if values.dtype == np.uint8:
        return np.asarray(values, dtype=np.uint8)
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadImage("The picture holds values that are not finite (NaN or infinity).")
    if low < -1e-3 or high > 1 + 1e-3:
        raise BadImage(
            f"The picture's values run from {low:.3g} to {high:.3g}; a picture lives in [0, 1]. "
            "Weights and gradients go through figures.spread(values) first."
        )
    return np.asarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8))


def enlarge(picture: Pixels, times: int) -> Picture:
    """Every pixel becomes a square of `times` x `times` pixels."""
    check_whole("times", times)
    return Image.fromarray(repeated(pixels(picture), times))


def sharp_side(size: int) -> int:
    """The side at which a photo is shown of which a network sees `size` pixels: at least twice.

    >>> sharp_side(224), sharp_side(32)
    (448, 320)
    """
    return size * max(2, 320 // size)


def repeated(values: NDArray[Any], times: int) -> NDArray[Any]:
    """(..., H, W, 3) -> (..., H * times, W * times, 3)"""
    return values if times == 1 else values.repeat(times, axis=-3).repeat(times, axis=-2)


def check_whole(name: str, value: int) -> None:
    if value != int(value) or value < 1:
        raise BadSetting(f"{name} is {value}; it must be a whole number from 1 upwards.")


def paint(
    values: Pixels | ArrayLike, *, colours: str = "viridis", limits: Limits | None = None
) -> Bytes:
    """Numbers (...) as colours (..., 3); what is not finite turns grey.

    "signed" is blue below zero, white at zero and red above, and always symmetric around zero;
    "viridis", "magma" and "grey" run from the smallest to the largest value, or over `limits`.
    """
    numbers = np.asarray(as_array(values), dtype=np.float64)
    low, high = scale_of(numbers, colours=colours, limits=limits)
    known = np.isfinite(numbers)
    places = np.where(known, (numbers - low) / (high - low), 0.0)
    steps = palette(colours)
    painted: Bytes = steps[np.rint(np.clip(places, 0, 1) * (len(steps) - 1)).astype(np.intp)]
    painted[~known] = ink.MISSING
    return painted


def scale_of(
    values: NDArray[Any], *, colours: str = "viridis", limits: Limits | None = None
) -> Limits:
    """The two values at the ends of the colour scale; they always differ."""
    known = values[np.isfinite(values)]
    if limits is None:
        limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise BadSetting(
            f"limits are {limits}; they must be two finite numbers, the smaller first."
        )
    if colours == "signed":
        high = max(abs(low), abs(high))
        low = -high
    if high > low:
        return low, high
    return (
        (low - 0.5, high + 0.5) if colours == "signed" else (low, low + max(abs(low), 1.0) * 1e-6)
    )


@cache
def palette(name: str) -> Bytes:
    """The colour map's steps (257, 3): an odd number, so that zero is one of them."""
    import matplotlib

    if name not in COLOURS:
        raise BadSetting(
            f"There is no colour map {name!r} here. Nearest: {', '.join(nearest(name, COLOURS))}."
        )
    shipped = {"signed": "RdBu_r", "grey": "gray"}.get(name, name)
    colours = matplotlib.colormaps[shipped].resampled(257)(np.arange(257), bytes=True)
    steps = np.array(colours[:, :3], dtype=np.uint8)
    steps.setflags(write=False)
    return steps


def spread(values: Pixels | ArrayLike, *, shared: bool = False) -> NDArray[Any]:
    """Weights or gradients (N, ...) moved into [0, 1] for showing: zero becomes 0.5, middle grey.

    Each of the N is divided by its own largest absolute value, or all by one, if `shared`.

    >>> spread(np.array([[-2.0, 0.0, 1.0]])).tolist()
    [[0.0, 0.5, 0.75]]
    """
    numbers = np.asarray(as_array(values), dtype=np.float32)
    axes = None if shared else tuple(range(1, numbers.ndim))
    largest = np.abs(numbers).max(axis=axes, keepdims=True)
    return np.asarray(0.5 + numbers / np.where(largest > 0, 2 * largest, 1))


def note(words: str, side: int, *, size: int = 20) -> Picture:
    """A pale square with words in its middle, in letters of `size` pixels: a picture's place."""
    sheet = Image.new("RGB", (side, side), ink.PAPER)
    lines = ink.wrap(words, side - 2 * size, size, lines=max(1, side // (2 * size)))
    for row, line in enumerate(lines):
        level = side / 2 + (row - (len(lines) - 1) / 2) * 1.3 * size
        ink.write(sheet, (side / 2, level), line, size=size, colour=ink.QUIET, anchor="mm")
    return sheet


def blank(width: int, height: int) -> Picture:
    return Image.new("RGB", (max(width, 1), max(height, 1)), ink.GROUND)


def fitted(picture: Pixels, side: int) -> Picture:
    """A picture made smaller, or enlarged by a whole number, so that `side` pixels hold it."""
    shown = picture if isinstance(picture, Image.Image) else Image.fromarray(pixels(picture))
    times = max(1, side // max(shown.size))
    larger = shown.resize([times * one for one in shown.size], Image.Resampling.NEAREST)
    larger.thumbnail((side, side), Image.Resampling.LANCZOS)
    return larger


def centred(picture: Pixels, side: int) -> Picture:
    """A picture, with its opacity where it has one, in the middle of a white square."""
    shown = fitted(picture, side)
    sheet = blank(side, side)
    place = ((side - shown.width) // 2, (side - shown.height) // 2)
    sheet.paste(shown, place, shown if shown.mode == "RGBA" else None)
    return sheet


def framed(picture: Picture, width: int = 8) -> Picture:
    """The picture on white in a blue frame, which tells it from others."""
    inside = Image.new("RGBA", picture.size, "white")
    inside.alpha_composite(picture.convert("RGBA"))
    return ImageOps.expand(inside, width, (*ink.ACCENT, 255))


def inked(opacity: Bytes, colour: ink.Colour) -> Picture:
    """One colour, as opaque as the bytes (H, W) say."""
    picture = Image.new("RGBA", opacity.shape[::-1], colour)
    picture.putalpha(Image.fromarray(opacity))
    return picture
