"""The package itself: what it offers."""

import pytest

from labsupport import ui


@pytest.mark.parametrize("name", ui.__all__)
def test_every_name_that_is_offered_is_there(name):
    assert callable(getattr(ui, name))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="slider_of_doom"):
        _ = ui.slider_of_doom
