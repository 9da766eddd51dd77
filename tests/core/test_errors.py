"""The errors are one family, and the nearest name is the one that a person would have meant."""

import inspect

import pytest

from labsupport.core import errors
from labsupport.core.errors import LabError, nearest

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_caught_as_one_family_and_as_a_value_error(kind):
    assert issubclass(kind, LabError)
    assert issubclass(kind, ValueError)
    assert kind.__doc__


def test_the_family_is_complete():
    assert {kind.__name__ for kind in KINDS} == {
        "LabError",
        "BadImage",
        "DamagedData",
        "WeightsUnavailable",
        "UnknownNetwork",
        "UnknownLayer",
        "UnknownClass",
        "CannotTrace",
        "BadSetting",
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gold fish", "goldfish"),
        ("GOLDFISH", "goldfish"),
        ("gold_fish", "goldfish"),
        ("godlfish", "goldfish"),
        ("shark", "tiger shark"),
        ("german shepherd dog", "German shepherd"),
    ],
)
def test_the_nearest_word_is_what_a_person_meant(typed, meant):
    words = ["goldfinch", "goldfish", "tiger shark", "spark", "German shepherd", "Shetland"]
    assert nearest(typed, words, 1) == [meant]


def test_a_word_inside_another_comes_before_similar_letters():
    assert nearest("cat", ["cab", "bat", "Egyptian cat"], 3)[0] == "Egyptian cat"


def test_count_and_repetition():
    assert nearest("ab", ["ab", "ab", "ac", "zz"], 2) == ["ab", "ac"]
    assert nearest("a", [], 3) == []
    assert len(nearest("", ["b", "c"], 3)) == 2
