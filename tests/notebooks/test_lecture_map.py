"""Every section of the lecture runs in a notebook and can be changed; its question is asked."""

from pathlib import Path

import pytest
from lecture_map import ROWS, Row

from labsupport.commands.notebooks import read, text_of

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# The sections of the lecture, and those in which the lecturer asks the room.
SECTIONS = (4, 1, 2, 3, 2, 4, 6, 3, 3, 1, 6, 1)  # of the chapters 0 to 11
NUMBERS = [f"{chapter}.{i + 1}" for chapter, count in enumerate(SECTIONS) for i in range(count)]
ASKED = {"5.1", "6.1", "6.2", "6.4", "7.1", "10.1", "10.5"}


def cells_of(row: Row) -> dict[str, dict]:
    notebook = read(NOTEBOOKS / f"{row.notebook}.ipynb")
    return {cell["id"]: cell for cell in notebook["cells"]}


def test_every_section_has_a_row_in_the_lectures_order():
    assert [row.number for row in ROWS] == NUMBERS
    assert {row.number for row in ROWS if row.question} >= ASKED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_a_section_runs_and_can_be_changed(row: Row):
    cells = cells_of(row)
    assert row.cells
    code = [text_of(cells[name]) for name in row.cells if cells[name]["cell_type"] == "code"]
    assert code
    assert "panel(" in code[0], "the first cell is a panel, with controls"


@pytest.mark.parametrize("row", [row for row in ROWS if row.question], ids=lambda row: row.number)
def test_a_question_is_asked_before_it_is_answered(row: Row):
    cells = cells_of(row)
    asked = text_of(cells[row.question])
    assert "predict(" in asked or "?" in asked
    order = list(cells)
    answers = {*order[order.index(row.question) + 1 :]} & {*row.cells}
    assert answers, "no cell after the question answers it"
