"""Twins on the page: the panel shows what the method found, the strokes what HOG says."""

import numpy as np
import pytest
import torch

from labsupport.core import images
from labsupport.labs.lab12_fooling import twins as lab
from labsupport.methods.inversion import Hog
from labsupport.methods.twins import PairDistances, Twin

pytestmark = pytest.mark.usefixtures("one_thread")


def test_each_description_has_pictures_of_its_size(network):
    picture = images.photos()["giraffe"].image
    for name in lab.DESCRIBED:
        own = lab.description(name, network)
        side = 128 if isinstance(own, Hog) else 224
        assert lab.fitted(picture, own, network).shape == (1, 3, side, side)
    assert network.layer(lab.description("the network's last maps", network)).has_map


def test_the_strokes_lie_along_the_edges():
    stripes = (torch.arange(128) // 8 % 2).float()
    upright = stripes.expand(1, 3, 128, 128)
    lying = upright.transpose(2, 3)
    pictures = []
    for image in (upright, lying):
        strokes = np.asarray(lab._strokes(image, lab.HOG16).convert("L")).astype(float)
        assert strokes.shape == (256, 256)
        pictures.append(strokes)
    # upright edges: the picture changes more from left to right than from top to bottom
    across = [np.abs(np.diff(one, axis=1)).sum() for one in pictures]
    down = [np.abs(np.diff(one, axis=0)).sum() for one in pictures]
    assert across[0] > 1.5 * down[0]
    assert down[1] > 1.5 * across[1]


def test_the_strokes_stand_below_pictures_that_hog_describes():
    image = torch.rand((1, 3, 96, 128), generator=torch.Generator().manual_seed(0))
    found = Twin(image, 0.02, 0.5, 0.11, 0.93, PairDistances(1.0, 1.0))
    alone = lab.twins_picture(found, image, image, "scores")
    both = lab.twins_picture(found, image, image, Hog(cell=8))
    assert alone.width == both.width > 3 * 256
    assert both.height > alone.height + 192


def test_numbers_are_said_in_shares_of_a_random_pair():
    measured = Twin(torch.zeros(1, 3, 2, 2), 0.02, 0.5, 0.11, 0.93, PairDistances(1.0, 1.0))
    description, pixels = lab.in_words(measured).split(". ")
    assert [word for word in description.split() if word[0].isdigit()] == ["2.0", "50.0"]
    assert [word for word in pixels.split() if word[0].isdigit()] == ["93.0", "11.0"]
