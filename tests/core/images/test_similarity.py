"""Rank correlation and SSIM against their definitions, written out."""

import math

import pytest
import torch
import toys
from torch.nn import functional as F

from labsupport.core.images.similarity import rank_correlation, structural_similarity


def maps(seed: int, *, size=(20, 31), ties: bool = False):
    generator = torch.Generator().manual_seed(seed)
    one = torch.rand(size, generator=generator)
    other = (one + torch.rand(size, generator=generator)) / 2
    if ties:  # as in a guided gradient, where most pixels are exactly zero
        one, other = (one - 0.5).relu(), (other * 8).round() / 8
    return one, other


def ranks(values: torch.Tensor) -> torch.Tensor:
    """Half the number of smaller values, less half the number of larger ones: ties share it."""
    flat = values.flatten()
    return (flat[:, None] - flat).sign().sum(1).double() / 2


def ssim(x: torch.Tensor, y: torch.Tensor, scale: float) -> float:
    """Equation 13 of Wang et al. 2004 in every window of 7 x 7 that fits, averaged."""
    one, other = (F.unfold(map_[None, None], 7)[0] for map_ in (x, y))  # (49, windows)
    mean_x, mean_y, var_x, var_y = one.mean(0), other.mean(0), one.var(0), other.var(0)
    both = ((one - mean_x) * (other - mean_y)).sum(0) / 48
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    like = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float((like / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def test_ranks_correlate_as_defined():
    for seed in range(3):
        for ties in (False, True):
            one, other = maps(seed, ties=ties)
            expected = torch.corrcoef(torch.stack([ranks(one), ranks(other)]))[0, 1]
            assert rank_correlation(one, other) == pytest.approx(float(expected), abs=1e-11)
    one, other = maps(5)
    assert rank_correlation(one, other) == rank_correlation(one, other.exp() * 100)
    assert rank_correlation(one, -one) == -1
    assert math.isnan(rank_correlation(torch.zeros(4, 4), torch.rand(4, 4)))  # no order


def test_structure_is_alike_as_defined():
    for seed in range(3):
        for scale in (1.0, 255.0):
            one, other = (scale * each.double() for each in maps(seed))
            result = structural_similarity(one, other, scale=scale)
            assert result == pytest.approx(ssim(one, other, scale), abs=1e-11)


def test_maps_that_cannot_be_compared_are_refused():
    flat, low = torch.zeros(3, 3), torch.zeros(6, 9)
    toys.assert_refused(
        ("BadSetting: .*one shape", rank_correlation, flat, torch.zeros(3, 4)),
        ("BadSetting: .*7", structural_similarity, low, low),
    )
