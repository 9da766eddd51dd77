"""Rank correlation and SSIM against scipy's and scikit-image's."""

import math

import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity as skimage_ssim

from labsupport.core.errors import BadSetting
from labsupport.core.images.similarity import rank_correlation, structural_similarity


def maps(seed: int, *, size=(20, 31), ties: bool = False):
    generator = torch.Generator().manual_seed(seed)
    one = torch.rand(size, generator=generator)
    other = (one + torch.rand(size, generator=generator)) / 2
    if ties:  # as in a guided gradient, where most pixels are exactly zero
        one, other = (one - 0.5).relu(), (other * 8).round() / 8
    return one, other


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_scipys(seed, ties):
    one, other = maps(seed, ties=ties)
    expected = spearmanr(one.flatten().numpy(), other.flatten().numpy()).statistic
    assert rank_correlation(one, other) == pytest.approx(expected, abs=1e-9)


def test_only_the_order_counts():
    one, other = maps(5)
    assert rank_correlation(one, other) == rank_correlation(one, other.exp() * 100)
    assert rank_correlation(one, -one) == -1


def test_a_flat_map_has_no_order():
    assert math.isnan(rank_correlation(torch.zeros(4, 4), torch.rand(4, 4)))


@pytest.mark.parametrize("scale", [1.0, 255.0])
@pytest.mark.parametrize("seed", range(3))
def test_structure_is_scikit_images(seed, scale):
    one, other = (scale * each.double() for each in maps(seed))
    expected = skimage_ssim(one.numpy(), other.numpy(), data_range=scale)
    # scikit-image leaves out a border of half a window, as windows that fit whole do
    assert structural_similarity(one, other, scale=scale) == pytest.approx(expected, abs=1e-9)


def test_maps_that_cannot_be_compared_are_refused():
    with pytest.raises(BadSetting, match="one shape"):
        rank_correlation(torch.zeros(3, 3), torch.zeros(3, 4))
    with pytest.raises(BadSetting, match="7"):
        structural_similarity(torch.zeros(6, 9), torch.zeros(6, 9))
