"""The errors are one family, and the nearest name is the one that a person would have meant."""

import inspect

from labsupport.core import errors
from labsupport.core.errors import LabError, nearest


def test_every_kind_is_caught_as_one_family_and_as_a_value_error():
    kinds = {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    assert set(kinds) == {
        *("LabError", "BadImage", "DamagedData", "WeightsUnavailable", "UnknownNetwork"),
        *("UnknownLayer", "UnknownClass", "NoClasses", "CannotTrace", "CannotRecord", "BadSetting"),
    }
    for kind in kinds.values():
        assert issubclass(kind, LabError)
        assert issubclass(kind, ValueError)
        assert kind.__doc__


def test_the_nearest_word_is_what_a_person_meant():
    words = ["goldfinch", "goldfish", "tiger shark", "spark", "German shepherd", "Shetland"]
    for typed, meant in (
        ("gold fish", "goldfish"),
        ("GOLDFISH", "goldfish"),
        ("gold_fish", "goldfish"),
        ("godlfish", "goldfish"),
        ("shark", "tiger shark"),
        ("german shepherd dog", "German shepherd"),
    ):
        assert nearest(typed, words, 1) == [meant]
    # a word inside another comes before similar letters
    assert nearest("cat", ["cab", "bat", "Egyptian cat"], 3)[0] == "Egyptian cat"
    assert nearest("ab", ["ab", "ab", "ac", "zz"], 2) == ["ab", "ac"]
    assert nearest("a", [], 3) == []
    assert len(nearest("", ["b", "c"], 3)) == 2
