"""Gabor filters fitted to what was learned, and what fits no better than noise does."""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from labsupport.core.errors import BadSetting
from labsupport.core.network.operations import Pair
from labsupport.methods.weights.measures import checked, dead, measure, orientation_of

KINDS = ("Gabor-like", "colour blob", "dead", "other")

_STARTS = 3  # the best places of the grid, from which a fit goes on
_SEARCH = 80  # steps of a fit


@dataclass(frozen=True)
class GaborFit:
    """The Gabor nearest to each filter: stripes under a bell, in one colour.

    `error` (0 to 1) is the share of the filter's squares that the Gabor misses. `orientation` is
    in degrees as in `Measures`, `frequency` in cycles per pixel, `phase` in radians; `row` and
    `column` are the bell's centre counted from the filter's, `width` (across the stripes) and
    `length` (along them) its standard deviations, all in pixels. `drawn` (N, C, rows, columns)
    holds the Gabors themselves.
    """

    error: torch.Tensor
    orientation: torch.Tensor
    frequency: torch.Tensor
    phase: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    width: torch.Tensor
    length: torch.Tensor
    drawn: torch.Tensor


def gabor_fit(weights: torch.Tensor) -> GaborFit:
    """Fit a Gabor to each of the filters (N, C, H, W), by least squares.

    A Gabor is exp(-u^2 / 2 width^2 - v^2 / 2 length^2) cos(2 pi frequency u + phase), u across the
    stripes and v along them, times one colour. Colour, strength and phase have closed forms; for
    the rest the best places of a grid are refined. It has six shape numbers and two more: nine
    pixels always fit well, so compare with `noise_floor`.

    Errors: `BadSetting`, as in `measure`.
    """
    weights = checked(weights)
    flat = weights.flatten(2)  # (N, C, pixels)
    colours, sizes, patterns = torch.linalg.svd(flat, full_matrices=False)
    main = sizes[:, :1] * patterns[:, 0]  # (N, pixels), in the filter's main colour
    shape = (weights.shape[2], weights.shape[3])
    best = _refined(_coarse(main, shape), main, shape)
    even, odd = _templates(best, shape)  # (N, pixels) each
    first, second, explained = _projected(even, odd, main)
    drawn = colours[:, :, :1] * (first[:, None] * even + second[:, None] * odd)[:, None]
    energy = flat.square().sum((1, 2)).clamp_min(1e-30)
    wave, frequency, width, aspect, row, column = best.unbind(1)
    return GaborFit(
        error=(1 - explained / energy).clamp(0, 1).float(),
        orientation=orientation_of(wave).float(),
        frequency=frequency.float(),
        phase=torch.atan2(-second, first).float(),
        row=row.float(),
        column=column.float(),
        width=width.exp().float(),
        length=(width + aspect).exp().float(),
        drawn=drawn.view_as(weights).float(),
    )


def noise_floor(
    shape: Sequence[int], *, share: float = 0.05, count: int = 100, seed: int = 0
) -> float:
    """The error that only this share of noise filters of a shape (C, H, W) falls below.

    A filter that a Gabor fits better than that is Gabor-like: chance would rarely do so.

    Errors: `BadSetting` for a shape that is not (C, H, W).
    """
    if len(shape) != 3 or min(shape) < 1:
        raise BadSetting(f"the shape of one filter is (channels, rows, columns), not {shape!r}")
    if not 0 <= share <= 1 or count < 1:
        raise BadSetting(f"share is 0 to 1 and count at least 1, not {share} and {count}")
    return _noise_floor(tuple(shape), share, count, seed)


def kinds(weights: torch.Tensor, *, share: float = 0.05, seed: int = 0) -> tuple[str, ...]:
    """What each filter (N, C, H, W) is: one of KINDS.

    A colour blob is more colour than grey, and its spectrum is largest below half a cycle over the
    filter. A Gabor-like filter has more than that, and is fitted better than all but `share` of
    noise.
    """
    measured, fit = measure(weights), gabor_fit(weights)
    floor = noise_floor(weights.shape[1:], share=share, seed=seed)
    gone, slow = set(dead(weights)), 0.5 / max(weights.shape[2:])
    names = []
    for number in range(len(weights)):
        stripes = fit.frequency[number] >= slow and fit.error[number] < floor
        blob = measured.opponency[number] > 0.5 and measured.frequency[number] < slow
        kind = "colour blob" if blob else "Gabor-like" if stripes else "other"
        names.append("dead" if number in gone else kind)
    return tuple(names)


@functools.lru_cache(maxsize=16)
def _noise_floor(shape: tuple[int, ...], share: float, count: int, seed: int) -> float:
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, *shape), generator=random)
    return float(gabor_fit(noise).error.quantile(share))


# The fit. A row of six numbers: the waves' direction, frequency, the logarithm of the width, that
# of length / width, the centre's row and column


def _limits(shape: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    side = max(shape)
    low = [-math.inf, 0.0, math.log(0.8), math.log(0.5), -shape[0] / 2, -shape[1] / 2]
    high = [math.inf, 0.5, math.log(2 * side), math.log(4), shape[0] / 2, shape[1] / 2]
    return torch.tensor(low).double(), torch.tensor(high).double()


def _coarse(main: torch.Tensor, shape: Pair) -> torch.Tensor:
    """The best places of a grid for each pattern (N, pixels): (N, starts, 6)."""
    side = max(shape)
    shifts = [place * side / 5 for place in (-1, 0, 1)]
    grid = itertools.product(
        [math.pi * step / 12 for step in range(12)],
        [0.04, 0.1, 0.16, 0.22, 0.3, 0.4],
        [math.log(max(0.8, part * side)) for part in (0.12, 0.22, 0.4)],
        [0.0, math.log(2)],
        shifts,
        shifts,
    )
    places = torch.tensor(list(grid), dtype=torch.float64)  # (K, 6)
    even, odd = _templates(places, shape)
    explained = _projected(even[None], odd[None], main[:, None])[2]  # (N, K)
    return places[explained.topk(_STARTS, dim=1).indices]


def _refined(places: torch.Tensor, main: torch.Tensor, shape: Pair) -> torch.Tensor:
    """The best place for each pattern, (N, 6): each number is moved as long as that helps."""
    count = len(main)
    here = places.flatten(0, 1)  # (N * starts, 6)
    target = main.repeat_interleave(_STARTS, dim=0)[:, None]
    steps = torch.tensor([0.13, 0.03, 0.25, 0.3, 0.1 * shape[0], 0.1 * shape[1]]).double()
    moves = torch.cat([torch.zeros(1, 6), torch.eye(6), -torch.eye(6)]).double() * steps
    scale = torch.ones(len(here), 1, 1).double()
    low, high = _limits(shape)
    rows = torch.arange(len(here))
    for _ in range(_SEARCH):
        tried = (here[:, None] + scale * moves).clamp(low, high)  # (N * starts, 13, 6)
        explained = _projected(*_templates(tried, shape), target)[2]
        best = explained.argmax(1)
        here = tried[rows, best]
        scale = torch.where((best == 0)[:, None, None], scale / 2, scale)
    explained = _projected(*_templates(here, shape), target[:, 0])[2].view(count, _STARTS)
    chosen: torch.Tensor = here.view(count, _STARTS, 6)[torch.arange(count), explained.argmax(1)]
    return chosen


def _templates(places: torch.Tensor, shape: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine stripes under their bell, (..., pixels) each, of places (..., 6)."""
    rows = torch.arange(shape[0]).double() - (shape[0] - 1) / 2
    columns = torch.arange(shape[1]).double() - (shape[1] - 1) / 2
    down, across = (one.flatten() for one in torch.meshgrid(rows, columns, indexing="ij"))
    wave, frequency, width, aspect, row, column = places[..., None].unbind(-2)
    down, across = down - row, across - column
    u = across * wave.cos() + down * wave.sin()
    v = down * wave.cos() - across * wave.sin()
    bell = torch.exp(-(u / width.exp()).square() / 2 - (v / (width + aspect).exp()).square() / 2)
    turn = 2 * math.pi * frequency * u
    return bell * turn.cos(), bell * turn.sin()


def _projected(
    even: torch.Tensor, odd: torch.Tensor, main: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best factors of two templates for a pattern, and how much of its squares they explain."""
    ee, oo, eo = (even * even).sum(-1), (odd * odd).sum(-1), (even * odd).sum(-1)
    ridge = 1e-9 * (ee + oo) + 1e-30  # without stripes the sine is nothing at all
    ee, oo = ee + ridge, oo + ridge
    em, om = (even * main).sum(-1), (odd * main).sum(-1)
    area = ee * oo - eo * eo
    first, second = (oo * em - eo * om) / area, (ee * om - eo * em) / area
    return first, second, first * em + second * om
