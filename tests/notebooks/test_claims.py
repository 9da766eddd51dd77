"""The claims of each lab are quoted from its text, and a claim that is false is noticed."""

from pathlib import Path

import claiming
import pytest
from claiming import Claims, claims_of, plain_code, unchecked
from notebook_rules import NOTEBOOKS, lab

WHOLE_LABS = [path for path in NOTEBOOKS if path.stem[:2] not in ("00", "14")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_claims_are_quoted_and_no_number_of_an_answer_is_left_out(path: Path):
    text, claims = lab(path).prose, claims_of(path.stem)
    assert claims.known
    assert claiming.no_longer_there(text, claims) == []
    assert unchecked(text, claims) == []


@pytest.mark.parametrize("path", WHOLE_LABS, ids=lambda path: path.stem)
def test_the_main_idea_stands_once_in_plain_pytorch(path: Path):
    found = [code for cell in lab(path).cells if (code := plain_code("".join(cell["source"])))]
    assert len(found) == 1
    assert 8 <= len([line for line in found[0].splitlines() if line.strip()]) <= 20
    assert "labsupport" not in found[0]


def test_a_claim_that_does_not_hold_and_one_without_its_variable_are_told():
    claims = Claims()

    @claims.claim("The ear counts most.")
    def _order(scores):
        assert scores["ear"] > scores["hand"]

    @claims.claim("It takes 3 steps.", "They are few.")
    def _steps(steps):
        assert steps == 3

    held = {"scores": {"ear": 2, "hand": 1}, "steps": 3}
    assert claims.faults(held) == []
    assert "ear counts" in claims.faults({**held, "scores": {"ear": 1, "hand": 2}})[0]
    assert "no 'steps'" in claims.faults({"scores": held["scores"]})[0]


TEXT = """## 1. Topic
<details><summary>What you should see</summary>

The ear counts **most**: 34 % of the score. In 2014 lab 05 had none. `f(3)` is $x_3$.

- Of 12 photos 11 agree.

</details>

## Recap
- A map costs 625 passes.

## Further
It has 7 parts.
"""


def test_sentences_with_numbers_want_a_claim_or_a_reason():
    assert unchecked(TEXT, Claims()) == [
        "34 % of the score.", "Of 12 photos 11 agree.", "A map costs 625 passes.",
    ]  # fmt: skip
    known = {"The ear counts most: 34 % of the score.": print}
    elsewhere = {"Of 12 photos 11 agree.": "the paper's", "costs 625 passes": "a product"}
    claims = Claims(elsewhere, known=known)
    assert unchecked(TEXT, claims) == []
    assert claiming.no_longer_there(TEXT, claims) == []
    assert claiming.no_longer_there("It is 1.", claims) == [*known, *elsewhere]
