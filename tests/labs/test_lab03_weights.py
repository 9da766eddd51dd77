"""Lab 03: what its pictures show is what was measured, and learning can be stopped."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from labsupport.core import network as networks
from labsupport.core.errors import LabError
from labsupport.labs import lab03_weights as lab
from labsupport.methods import weights as w


@pytest.fixture(scope="module")
def network():
    return networks.load("convnetjs")


def test_a_tile_holds_its_filter_with_zero_in_the_middle_and_stands_where_it_is_asked_for():
    weights = torch.zeros(2, 3, 5, 5)
    weights[0, 0, 2, 2], weights[1, 2, 0, 0] = 0.5, -0.05
    own = np.asarray(lab.tiles(weights)).reshape(-1, 3).tolist()
    assert [255, 128, 128] in own
    assert [128, 128, 0] in own  # however weak the second one is
    shared = np.asarray(lab.tiles(weights, shared=True)).reshape(-1, 3).tolist()
    assert [255, 128, 128] in shared
    assert [128, 128, 0] not in shared
    assert [128, 128, 115] in shared
    weights = torch.rand(4, 3, 5, 5) - 0.5
    some, same = np.asarray(lab.tiles(weights, [2, 0])), np.asarray(lab.tiles(weights[[2, 0]]))
    assert np.array_equal(some[28:], same[28:])  # below the titles


def test_slices_are_a_matrix_of_filters_and_channels():
    weights = torch.zeros(4, 6, 5, 5)
    weights[3, 5] = 1.0
    picture = np.asarray(lab.slices(weights, enlarge=1))
    assert picture.shape[:2] == (4 * 6 + 1, 6 * 6 + 1)
    white = (picture[..., 0] == 255) & (np.indices(picture.shape[:2]) > 0).all(0)
    inside = picture[-6:-1, -6:-1, 0]
    assert (inside == 255).all()
    assert white.sum() > 25
    assert (picture[1:6, 1:6, 0] == 128).all()
    numbered = np.asarray(lab.slices(weights, enlarge=1, rows=list("0123")))
    assert numbered.shape > picture.shape
    assert np.array_equal(numbered[-6:-1, -6:-1], picture[-6:-1, -6:-1])


def test_gabors_and_trainings_have_their_rows_and_columns(network):
    weights = w.filters(network).weights
    fit = w.gabor_fit(weights)
    assert lab.gabors(weights, fit, [0, 3, 5]).width > 3 * 40
    trained = next(lab.train_filters.frames())
    assert lab.compared({"a": trained, "b": trained}).width > lab.compared({"a": trained}).width


def test_the_summary_counts_what_the_method_finds(network):
    weights = w.filters(network).weights.clone()
    weights[3], weights[5] = 0.0, weights[6] * 2
    words = lab._summary(weights)
    assert words.startswith("16 filters of 5 x 5")
    assert f"{len(w.dead(weights))} dead, {len(w.duplicates(weights))} pairs alike" in words
    assert len(w.dead(weights)) >= 1


def test_learning_begins_with_what_is_random_and_repeats_with_the_seed():
    def some(seed):
        frames = lab.train_filters.frames("digits", epochs=1, seed=seed)
        first = [next(frames) for _ in range(4)]
        frames.close()
        return first

    one, again, other = some(0), some(0), some(1)
    assert [frame.step for frame in one] == [0, 2, 4, 6]
    first, last, same, other = map(lab.convolutions, (one[1], one[3], again[3], other[3]))
    assert one[0].progress == 0
    for name in ("conv1", "conv2"):
        assert torch.equal(last[name], same[name])
        assert not torch.equal(last[name], first[name])
        assert not torch.equal(last[name], other[name])


def test_the_last_frame_is_the_end():
    last = lab.train_filters("digits", epochs=5, learning_rate=0.05)
    assert last.progress == 1
    assert last.accuracy > 0.3


def test_cifar_needs_a_network_and_says_so(monkeypatch):
    unreachable = Mock(side_effect=LabError("no network: use images.cutouts()"))
    monkeypatch.setattr(lab.images, "torchvision_set", unreachable)
    with pytest.raises(LabError, match="no network"):
        next(lab.train_filters.frames("CIFAR10"))
