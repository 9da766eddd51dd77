"""Lab 05: hide a part, place the windows; and its questions."""

from collections.abc import Sequence

import torch

from labsupport.labs.exercises.draws import uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

Box = tuple[int, int, int, int]


def _hide(image: torch.Tensor, box: Box, color: Sequence[float]) -> torch.Tensor:
    left, top, right, bottom = box
    rows = torch.arange(image.shape[1])[:, None]
    columns = torch.arange(image.shape[2])[None, :]
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return torch.where(inside, torch.as_tensor(color).view(3, 1, 1), image)


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
        "`copy[:, top:bottom, left:right] = ...`, with the color as a tensor of shape (3, 1, 1).",
    ),
    mistakes={
        "rows and columns are exchanged: the first index after the colors is the row.": (
            lambda image, box, color: _hide(image, (box[1], box[0], box[3], box[2]), color)
        ),
        "one row and one column too many: right and bottom are one past the end.": (
            lambda image, box, color: _hide(image, (box[0], box[1], box[2] + 1, box[3] + 1), color)
        ),
        "everything but the box is hidden.": (
            lambda image, box, color: torch.where(
                _hide(torch.zeros_like(image), box, (1.0,) * 3) > 0,
                image,
                torch.as_tensor(color).view(3, 1, 1),
            )
        ),
        "all channels get the same number; each has a number of its own in the color.": (
            lambda image, box, color: _hide(image, box, (color[0],) * 3)
        ),
        "the whole picture is hidden, not the box alone.": (
            lambda image, _, color: _hide(image, (0, 0, *image.shape[:0:-1]), color)
        ),
        "all channels get the mean of the color; each has a number of its own.": (
            lambda image, box, color: _hide(image, box, (sum(color) / 3,) * 3)
        ),
        "whole columns are hidden: the box has a top and a bottom as well.": (
            lambda image, box, color: _hide(image, (box[0], 0, box[2], image.shape[1]), color)
        ),
        "the hidden part is black, whatever the color.": (
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
        "the ends are one too small: an end is one past the last pixel.": (
            lambda length, window, stride: [
                (first, end - 1) for first, end in _positions(length, window, stride)
            ]
        ),
        "the starts are numbered by ones: the next window begins `stride` pixels later.": (
            lambda length, window, _: [
                (first, min(first + window, length)) for first in range(length - window + 1)
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


EXERCISES = (HIDE, POSITIONS)

QUESTIONS = {
    "05.q1": Question(
        "The score is a weighted sum of the pixels. Where does hiding with zeros lower it most?",
        (
            "Where the brightest pixels of the whole picture lie close together.",
            "Where the weights are largest.",
            Right("Where the sum of weight times pixel is largest."),
        ),
        why="The score loses exactly the sum of weight times pixel over the window.",
    ),
    "05.q2": Question(
        "A square of 32 pixels slides over the koala. Where does the score of *koala* fall most?",
        ("at the tree", Right("at the face"), "at the belly", "at the leaves behind the animal"),
        why="The face counts most. A second place is the hand in its lap.",
    ),
    "05.q3": Question(
        "The macaw's head is hidden behind a grey square. What does the network say it is?",
        ("still a macaw", Right("another bird"), "something that is no animal"),
        why="It says *lorikeet*: another bird with colorful feathers, which are still in sight.",
    ),
    "05.q4": Question(
        "Hide the nose in five faces, then a random place in each. Which changes are more alike?",
        (Right("those of the nose"), "those of the random places", "neither of the two"),
        why="The signs of the features differ less for the nose than for random places.",
    ),
}
