"""How alike two maps are: by the order of their values, and by their local structure."""

from __future__ import annotations

import torch

from labsupport.core.errors import BadSetting

_WINDOW = 7  # pixels, the side of the window that structure is compared in


def rank_correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Spearman's rank correlation of two maps' values, -1 to 1: 1 where they have one order.

    Equal values share their mean rank. A map whose values are all equal has no order: the result
    is NaN.

    Errors: `BadSetting` for maps of different shapes.

    >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([0.1, 0.2, 0.3]))
    1.0
    """
    _check_shapes(one, other)
    first, second = (_ranks(values.detach().flatten().cpu()) for values in (one, other))
    first, second = first - first.mean(), second - second.mean()
    return round(float((first @ second) / (first.norm() * second.norm())), 12)


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Each value's place in the sorted row, in double precision; equal values share the mean."""
    _, which, counts = torch.unique(values, return_inverse=True, return_counts=True)
    counts = counts.double()
    ranks: torch.Tensor = (counts.cumsum(0) - (counts - 1) / 2)[which]
    return ranks


def structural_similarity(one: torch.Tensor, other: torch.Tensor, *, scale: float = 1.0) -> float:
    """SSIM of two maps (H, W), at most 1: the mean over windows of 7 x 7 of how alike their
    brightness, contrast and structure are (Wang et al. 2004).

    `scale` is the range that the values come from: 1 for maps in [0, 1].

    Errors: `BadSetting` for other shapes, or maps smaller than the window.

    >>> ramp = torch.linspace(0, 1, 64).view(8, 8)
    >>> structural_similarity(ramp, ramp)
    1.0
    """
    _check_shapes(one, other)
    if one.ndim != 2 or min(one.shape) < _WINDOW:
        raise BadSetting(f"a map has two sides of {_WINDOW} at least, not {tuple(one.shape)}")
    x, y = (values.detach().double().cpu() for values in (one, other))
    stack = torch.stack([x, y, x * x, y * y, x * y])
    mean_x, mean_y, xx, yy, xy = _means(stack)
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    var_x, var_y = unbiased * (xx - mean_x**2), unbiased * (yy - mean_y**2)
    both = unbiased * (xy - mean_x * mean_y)
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    like = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    apart = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return round(float((like / apart).mean()), 12)


def _means(maps: torch.Tensor) -> torch.Tensor:
    """The mean of every window of maps (N, H, W), as differences of running sums."""
    for axis in (1, 2):
        sums = maps.cumsum(axis)
        first = sums.narrow(axis, _WINDOW - 1, 1)
        count = maps.shape[axis] - _WINDOW
        rest = sums.narrow(axis, _WINDOW, count) - sums.narrow(axis, 0, count)
        maps = torch.cat([first, rest], axis) / _WINDOW
    return maps


def _check_shapes(one: torch.Tensor, other: torch.Tensor) -> None:
    if one.shape != other.shape:
        raise BadSetting(
            f"two maps of one shape can be compared, not {tuple(one.shape)} and "
            f"{tuple(other.shape)}"
        )
