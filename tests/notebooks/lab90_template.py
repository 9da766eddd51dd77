"""The exercises of the template notebook: what a module in `labsupport/exercises` looks like."""

import torch

from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _moving_average(row: torch.Tensor, width: int) -> torch.Tensor:
    return row.unfold(0, width, 1).mean(dim=1)


def _rows() -> Cases:
    seeded = torch.Generator().manual_seed(90)
    return [
        Case("an edge", torch.tensor([0.0, 0.0, 3.0, 3.0]), 2, expected=torch.tensor([0, 1.5, 3])),
        Case("a window of one", torch.tensor([5.0, 1.0, 2.0]), 1),
        Case("a window as long as the row", torch.tensor([1.0, 2.0, 6.0]), 3),
        Case("twenty random numbers", torch.rand(20, generator=seeded), 4),
    ]


def _shift_breaks(function: Function) -> str | None:
    row = torch.tensor([1.0, 4.0, 2.0, 0.0])
    if torch.allclose(function(row + 10, 2), function(row, 2) + 10):
        return None
    return "the average of a row that is brighter by 10 is not larger by 10."


MOVING_AVERAGE = Exercise(
    id="90.1",
    title="A moving average",
    minutes=6,
    reference=_moving_average,
    cases=_rows,
    hints=(
        "How many windows of `width` numbers fit into the row? Try it with 4 numbers and width 2.",
        "The window number `i` is `row[i : i + width]`.",
        "`torch.stack([... for i in range(len(row) - width + 1)])`",
    ),
    mistakes={
        "the sum of each window; divide it by `width`.": (
            lambda row, width: row.unfold(0, width, 1).sum(dim=1)
        ),
        "the average of the whole row, not of each window.": (
            lambda row, width: row.mean().expand(len(row) - width + 1)
        ),
        "the windows do not overlap: they must move by one place.": (
            lambda row, width: row.unfold(0, width, width).mean(dim=1)
        ),
    },
    laws={"A brighter row has a brighter average.": _shift_breaks},
)


def _strongest(response: torch.Tensor) -> tuple[int, int]:
    row, column = divmod(int(response.argmax()), response.shape[1])
    return row, column


def _maps() -> Cases:
    seeded = torch.Generator().manual_seed(91)
    return [
        Case("a small map", torch.tensor([[0.0, 1.0, 9.0], [2.0, 3.0, 4.0]]), expected=(0, 2)),
        Case("a map with negative numbers", torch.tensor([[-9.0, -2.0], [-1.0, -5.0]])),
        Case("a tall random map", torch.rand(7, 4, generator=seeded)),
    ]


STRONGEST = Exercise(
    id="90.2",
    title="Where a filter answers most",
    minutes=5,
    reference=_strongest,
    cases=_maps,
    hints=(
        "Look at every position and remember the best one so far.",
        "`response.max(dim=1).values` is the best value of each row.",
    ),
    mistakes={
        "(column, row): the row comes first.": lambda response: _strongest(response)[::-1],
        "the number of the place counted along all rows; turn it into (row, column).": (
            lambda response: int(response.argmax())
        ),
        "the largest absolute value; a strong negative answer is no answer.": (
            lambda response: _strongest(response.abs())
        ),
    },
)

EXERCISES = (MOVING_AVERAGE, STRONGEST)

QUESTIONS = {
    "90.q1": Question(
        "The window of a max-pooling grows from 2 to 15 pixels. What happens to thin bright lines?",
        ("They vanish.", Right("They become thicker."), "They stay as they are."),
        why="Each place near the line now sees it, and the maximum takes the brightest pixel.",
    ),
    "90.q2": Question(
        "A stride of 4 instead of 2: how many numbers are left, compared with before?",
        ("a half", Right("a quarter"), "as many"),
        why="Half as many rows, and half as many columns.",
    ),
    "90.q3": Question(
        "How wide is the box of one unit of fire9, in pixels?",
        ("3", "16", Right("more than 100")),
        why="Every layer adds its window times the strides before it.",
    ),
}
