"""The one door: every name that it offers is there, and leads to where its tests look."""

import re
from pathlib import Path

import pytest

import labsupport
from labsupport import door, labs, ui

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
METHODS = Path(labsupport.__file__).parent / "methods"


def test_every_name_that_completion_shows_is_there():
    assert dir(labsupport) == sorted(door.__all__)
    for module in (labsupport, ui):
        for name in dir(module):
            assert getattr(module, name).__doc__, name


def test_every_method_of_the_lecture_is_among_them():
    methods = {path.stem for path in METHODS.iterdir() if not path.stem.startswith("_")}
    assert methods <= set(door.__all__)
    for name in methods:
        assert getattr(labsupport, name).__name__ == f"labsupport.methods.{name}"


def test_what_the_notebooks_take_from_the_doors_is_there():
    lines = re.findall(
        r'"from (labsupport(?:\.labs)?) import ([\w, ]+)\\n"',
        "\n".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS),
    )
    assert len(lines) >= 2 * len(NOTEBOOKS)
    for module, names in lines:
        for name in names.split(", "):
            assert getattr(labs if module.endswith("labs") else labsupport, name), name


def test_each_lab_has_a_short_name():
    short = [name for name in dir(labs) if re.fullmatch(r"lab\d\d", name)]
    assert len(short) == len(NOTEBOOKS)
    for name in short:
        assert getattr(labs, name).__name__.startswith(f"labsupport.labs.{name}_")


@pytest.mark.parametrize("module", [labsupport, labs, ui])
def test_a_name_that_is_not_there_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="no_such_lab"):
        _ = module.no_such_lab
