"""Lab 00: one exercise, to see how exercises work."""

import torch

from labsupport.labs.exercises.draws import normal
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _probabilities(scores: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores, dim=0)


def _scores() -> Cases:
    return [
        Case("two equal scores", torch.tensor([3.0, 3.0]), expected=torch.tensor([0.5, 0.5])),
        Case("a sure answer", torch.tensor([10.0, 0.0, -5.0])),
        Case("ten random scores", normal(10, seed=10)),
    ]


def _does_not_add_up(function: Function) -> str | None:
    total = float(function(torch.tensor([1.0, 2.0, 3.0, 4.0])).sum())
    return None if abs(total - 1) < 1e-5 else f"for scores 1, 2, 3, 4 they add up to {total:.3f}."


SOFTMAX = Exercise(
    id="00.1",
    title="From scores to probabilities",
    minutes=4,
    reference=_probabilities,
    cases=_scores,
    hints=(
        "First make every score positive: `scores.exp()`.",
        "Then divide by the sum, so that all of them add up to 1.",
    ),
    mistakes={
        "the powers of e are right; divide them by their sum.": lambda scores: scores.exp(),
        "the scores are divided by their sum without `exp`: negative ones stay negative.": (
            lambda scores: scores / scores.sum()
        ),
        "the powers of e are divided by the sum of the scores; divide them by their own sum.": (
            lambda scores: scores.exp() / scores.sum()
        ),
        "a sigmoid of each score by itself: the probabilities do not add up to one.": torch.sigmoid,
        "divided by the largest one; divide by the sum.": (
            lambda scores: scores.exp() / scores.exp().max()
        ),
        "the logarithms of the probabilities.": lambda scores: scores.log_softmax(dim=0),
    },
    laws={"Probabilities add up to one.": _does_not_add_up},
)

EXERCISES = (SOFTMAX,)

QUESTIONS = {
    "00.q1": Question(
        "The network was trained on 1000 kinds of things. What does it say to the astronaut?",
        ("person, without any doubt", Right("a thing of its list"), "nothing"),
        why="Its 1000 classes have no person, and the probabilities must still add up to 1.",
    )
}
