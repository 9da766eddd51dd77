"""The README's first picture is made of squares that are not stretched."""

import numpy as np
import pytest
from PIL import Image

from labsupport.labs import banner


@pytest.mark.parametrize("size", [(400, 200), (200, 400), (60, 60)])
def test_a_tile_is_the_middle_square(size):
    picture = Image.new("RGB", size, "white")
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    picture.paste((200, 30, 10), (left, top, left + side, top + side))
    tile = np.asarray(banner._square(picture))
    assert tile.shape == (banner.TILE, banner.TILE, 3)
    assert (abs(tile.astype(int) - (200, 30, 10)) <= 2).all()


@pytest.mark.slow
def test_an_answer_is_the_methods_last_picture(network):
    picture = banner._answer(network, "occlusion", "koala")
    assert picture.width == picture.height > banner.TILE
    assert np.asarray(picture).std() > 20
