"""The package itself: what it offers, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from labsupport import ui


@pytest.mark.parametrize("name", ui.__all__)
def test_every_name_that_is_offered_is_there(name):
    assert callable(getattr(ui, name))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="slider_of_doom"):
        _ = ui.slider_of_doom


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, labsupport.ui;"
        "heavy = {'torch', 'matplotlib', 'ipywidgets', 'IPython', 'PIL', 'numpy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
