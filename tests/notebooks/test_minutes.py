"""The minutes that a lab promises are those that it takes, as far as that can be reckoned.

Exercises say their own minutes, and running a lab's cells takes less than one (the executions
measure it). Reading cannot be measured here: its rates are estimates, and the README says so.
"""

import re
from pathlib import Path

import pytest
from notebook_rules import HERE, NOTEBOOKS, Lab, lab

from labsupport.commands.notebooks import tags, text_of

WORDS, LINES = 200, 10  # read in a minute: words of prose, lines of code
PANEL, QUESTION = 3.0, 1.0  # minutes at a panel; for a question to be answered before its fold
CELLS = 1.0  # minutes for all cells to be computed
TOLERANCE = 0.2


def reckoned(one: Lab) -> float:
    """Minutes for a lab without its challenge, which is for those who want more."""
    minutes = CELLS
    for cell in one.cells:
        if "presenter" in tags(cell):
            continue
        text = text_of(cell)
        if cell["cell_type"] == "markdown":
            minutes += len(re.sub(r"<[^>]*>|\$[^$]*\$", " x ", text).split()) / WORDS
            minutes += sum(map(int, re.findall(r"^### Exercise .*\((\d+) minutes\)", text, re.M)))
            if text.startswith("## Questions"):
                minutes += QUESTION * text.count("<details>")
        else:
            code = [line for line in text.splitlines() if line.strip(" )]}") and line[0] != "#"]
            minutes += len(code) / LINES + QUESTION * text.count("predict(")
    return minutes + PANEL * panels(one)


def panels(one: Lab) -> int:
    """How many there are to play with."""
    code = "\n".join(text_of(cell) for cell in one.code)
    return len(re.findall(r"_panel\(|\b(?:Panel|Live)\(", code))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lab_takes_the_minutes_that_it_promises(path: Path, measured):
    one = lab(path)
    minutes = reckoned(one)
    measured(f"{path.stem}: {one.minutes} minutes promised, {minutes:.0f} reckoned")
    assert minutes == pytest.approx(one.minutes, rel=TOLERANCE)


def test_what_is_added_to_a_lab_is_reckoned():
    one = lab(HERE / "template.ipynb")
    before = reckoned(one)
    for kind, source, more in (
        ("markdown", "word " * 400, 2.0),
        ("markdown", "### Exercise 90.9: More (12 minutes)", 12 + 6 / WORDS),
        ("code", "a = 1\n" * 20, 2.0),
        ("code", 'predict("90.q9")', QUESTION + 1 / LINES),
        ("code", "lab.other_panel()", PANEL + 1 / LINES),
    ):
        cell = {"cell_type": kind, "id": "new", "metadata": {}, "source": source}
        longer = Lab(one.path, {**one.notebook, "cells": [*one.cells, cell]}, one.limits)
        assert reckoned(longer) - before == pytest.approx(more)
    note = {"cell_type": "markdown", "id": "new", "metadata": {"tags": ["presenter"]}}
    noted = Lab(one.path, {**one.notebook, "cells": [*one.cells, {**note, "source": "w " * 900}]})
    assert reckoned(noted) == before
