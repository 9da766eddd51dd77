"""Lab 05: hide a part, place the windows, compare what changes; and its questions."""

from collections.abc import Sequence

import torch

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

Box = tuple[int, int, int, int]


def _hide(image: torch.Tensor, box: Box, colour: Sequence[float]) -> torch.Tensor:
    left, top, right, bottom = box
    rows = torch.arange(image.shape[1])[:, None]
    columns = torch.arange(image.shape[2])[None, :]
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return torch.where(inside, torch.as_tensor(colour).view(3, 1, 1), image)


def _pictures() -> Cases:
    small = torch.zeros(3, 3, 4)
    hidden = small.clone()
    hidden[:, 0, 1:3] = torch.tensor([1.0, 0.5, 0.0])[:, None]
    return [
        Case("a black picture, two pixels", small, (1, 0, 3, 1), (1.0, 0.5, 0.0), expected=hidden),
        Case("the whole picture", uniform(3, 5, 5, seed=510), (0, 0, 5, 5), (0.5,) * 3),
        Case("a wide box", uniform(3, 6, 9, seed=511), (2, 3, 8, 5), (0.0, 1.0, 0.0)),
        Case("the last pixel", uniform(3, 4, 7, seed=512), (6, 3, 7, 4), (1.0,) * 3),
    ]


HIDE = Exercise(
    id="05.1",
    title="Hide a part",
    minutes=5,
    reference=_hide,
    cases=_pictures,
    hints=(
        "An image is (3, height, width): rows run from top to bottom, columns from left to right.",
        "Work on a copy, `image.clone()`, so that the picture itself stays as it is.",
        "`copy[:, top:bottom, left:right] = ...`, with the colour as a tensor of shape (3, 1, 1).",
    ),
    mistakes={
        "rows and columns are exchanged: the first index after the colours is the row.": (
            lambda image, box, colour: _hide(image, (box[1], box[0], box[3], box[2]), colour)
        ),
        "one row and one column too many: right and bottom are one past the end.": (
            lambda image, box, colour: _hide(
                image, (box[0], box[1], box[2] + 1, box[3] + 1), colour
            )
        ),
        "everything but the box is hidden.": (
            lambda image, box, colour: torch.where(
                _hide(torch.zeros_like(image), box, (1.0,) * 3) > 0,
                image,
                torch.as_tensor(colour).view(3, 1, 1),
            )
        ),
        "all channels get the same number; each has a number of its own in the colour.": (
            lambda image, box, colour: _hide(image, box, (colour[0],) * 3)
        ),
        "the whole picture is hidden, not the box alone.": (
            lambda image, _, colour: _hide(image, (0, 0, *image.shape[:0:-1]), colour)
        ),
        "the hidden part is black, whatever the colour.": (
            lambda image, box, _: _hide(image, box, (0.0,) * 3)
        ),
    },
)


def _positions(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    starts = torch.arange(0, length - window + stride, stride)
    ends = (starts + window).clamp(max=length)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _lengths() -> Cases:
    return [
        Case("they fit exactly", 8, 4, 2, expected=[(0, 4), (2, 6), (4, 8)]),
        Case("the last one is clipped", 10, 4, 4, expected=[(0, 4), (4, 8), (8, 10)]),
        Case("one window as wide as the picture", 6, 6, 3, expected=[(0, 6)]),
        Case("the lab's own setting", 224, 32, 8),
        Case("a picture of 227 pixels", 227, 32, 8),
    ]


def _misses_a_pixel(function: Function) -> str | None:
    for length, window, stride in ((17, 5, 3), (30, 7, 7), (12, 3, 2)):
        spans = function(length, window, stride)
        seen = {pixel for first, end in spans for pixel in range(first, end)}
        if seen != set(range(length)):
            missed = sorted(set(range(length)) - seen)
            return f"for length {length}, window {window}, stride {stride} it misses {missed}."
    return None


POSITIONS = Exercise(
    id="05.2",
    title="Where the window stands",
    minutes=8,
    reference=_positions,
    cases=_lengths,
    hints=(
        "The first window starts at 0, the next at `stride`, and so on. Which start is the last?",
        "Stop as soon as a window reaches the end: `range(0, length - window + stride, stride)`.",
        "A window ends at `start + window`, or at `length` if that comes first: `min(...)`.",
    ),
    mistakes={
        "the windows that fit whole: the last pixels are never hidden.": (
            lambda length, window, stride: [
                (first, first + window) for first in range(0, length - window + 1, stride)
            ]
        ),
        "the last window reaches over the border; clip it.": (
            lambda length, window, stride: [
                (first, first + window) for first, _ in _positions(length, window, stride)
            ]
        ),
        (
            "a window at every stride to the end: the ones after the first that reaches the "
            "border hide nothing new."
        ): (
            lambda length, window, stride: [
                (first, min(first + window, length)) for first in range(0, length, stride)
            ]
        ),
        "a window at every stride to the end, none of them clipped.": (
            lambda length, window, stride: [
                (first, first + window) for first in range(0, length, stride)
            ]
        ),
        "the last window is moved back to fit; clip it instead, so that all steps are equal.": (
            lambda length, window, stride: [
                (min(first, length - window), min(first, length - window) + window)
                for first, _ in _positions(length, window, stride)
            ]
        ),
    },
    laws={"Every pixel is hidden at least once.": _misses_a_pixel},
)


def _sign_distance(changes: torch.Tensor) -> float:
    apart = torch.pdist(changes.sign().float(), p=0)
    return float(apart.mean() / changes.shape[1])


def _changes() -> Cases:
    return [
        Case(
            "two pictures, four features",
            torch.tensor([[0.5, 0.0, -2.0, 1.0], [3.0, 0.0, 1.0, 0.2]]),
            expected=0.25,
        ),
        Case(
            "three pictures that agree",
            torch.tensor([[1.0, -1.0, 0.0], [2.0, -3.0, 0.0], [0.1, -0.1, 0.0]]),
            expected=0.0,
        ),
        Case("five pictures, random changes", normal(5, 40, seed=530).relu() - 0.3),
    ]


def _depends_on_size(function: Function) -> str | None:
    changes = torch.tensor([[1.0, -2.0, 0.0, 3.0], [-1.0, -2.0, 1.0, 0.5]])
    if abs(float(function(changes * 7)) - float(function(changes))) < 1e-6:
        return None
    return "changes that are seven times as large give another number."


SIGN_DISTANCE = Exercise(
    id="05.3",
    title="How alike are two changes?",
    minutes=10,
    reference=_sign_distance,
    cases=_changes,
    tolerance=(1e-5, 1e-6),
    hints=(
        "`changes.sign()` holds 1, 0 or -1 for each picture and feature.",
        "For one pair, `(signs[i] != signs[j]).float().mean()` is the share that differs.",
        "`itertools.combinations(signs, 2)` gives each pair once; average over the pairs.",
    ),
    mistakes={
        "the numbers themselves are compared, not their signs.": (
            lambda changes: float(torch.pdist(changes, p=0).mean() / changes.shape[1])
        ),
        "the number of features that differ, not their share.": (
            lambda changes: _sign_distance(changes) * changes.shape[1]
        ),
        "each picture is compared with itself as well.": (
            lambda changes: _sign_distance(changes) * (len(changes) - 1) / len(changes)
        ),
        "the share that agrees; the distance is the share that differs.": (
            lambda changes: 1 - _sign_distance(changes)
        ),
        "the sum over the pairs, not their mean.": (
            lambda changes: _sign_distance(changes) * len(changes) * (len(changes) - 1) / 2
        ),
    },
    laws={"Only signs count.": _depends_on_size},
)

EXERCISES = (HIDE, POSITIONS, SIGN_DISTANCE)

QUESTIONS = {
    "05.q1": Question(
        "The score is a weighted sum of the pixels. Where does hiding with zeros lower it most?",
        (
            "Where the picture is brightest.",
            "Where the weights are largest.",
            Right("Where weight times pixel, added up over the window, is largest."),
        ),
        why="What the score loses is exactly the sum of weight times pixel in the window.",
    ),
    "05.q2": Question(
        "A square of 32 pixels slides over the koala. What hurts the score of *koala* most?",
        ("the tree", Right("the nose and the ear"), "the belly", "the green behind it"),
        why="Round furry ears and the dark nose are what no other animal of the 1000 classes has.",
    ),
    "05.q3": Question(
        "The macaw's head is hidden behind a grey square. What does the network say it is?",
        ("still a macaw", Right("another bird"), "something that is no animal"),
        why="A lorikeet: colourful feathers are left. At the edge of the head stranger things win.",
    ),
    "05.q4": Question(
        "Hide the nose in five faces, then a random place in each. Which changes are more alike?",
        (Right("those of the nose"), "those of the random places", "both the same"),
        why="At pool5 the network has features for such parts, and they work alike in all faces.",
    ),
}
