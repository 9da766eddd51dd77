"""The README's first picture."""

import numpy as np
import pytest

from labsupport.labs import banner


@pytest.mark.slow
def test_an_answer_is_the_methods_last_picture(network):
    picture = banner._answer(network, "occlusion", "koala")
    assert picture.width == picture.height > banner.TILE
    assert np.asarray(picture).std() > 20
