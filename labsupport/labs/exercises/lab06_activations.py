"""Lab 06: correlate, count a unit's votes; and the lab's questions."""

import torch

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]).double())[0, 1])


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def _covariance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(((one - one.mean()) * (other - other.mean())).mean())


def _pairs() -> Cases:
    row = torch.tensor([1.0, 2.0, 4.0, 7.0])
    maps = uniform(2, 4, 5, 5, seed=620)
    return [
        Case("a row and twice the row", row, 2 * row, expected=1.0),
        Case("a row and its mirror image", torch.arange(4.0), -torch.arange(4.0), expected=-1.0),
        Case("two rows", row, torch.tensor([3.0, 1.0, 1.0, 2.0])),
        Case("two stacks of maps", maps[0], maps[1] + 3 * maps[0]),
    ]


def _hears_an_offset(function: Function) -> str | None:
    one, other = uniform(2, 40, seed=70)
    before, after = float(function(one, other)), float(function(one, 5 * other + 2))
    if abs(before - after) < 1e-4:
        return None
    return f"five times the numbers, plus 2, gives {after:.3f} where it was {before:.3f}."


CORRELATION = Exercise(
    id="06.1",
    title="How alike are two answers?",
    minutes=8,
    reference=_correlation,
    cases=_pairs,
    tolerance=(1e-4, 1e-5),
    hints=(
        "First take the mean away from each: `one - one.mean()`.",
        "Then multiply number by number, and add up.",
        "Divide by both lengths: `x.norm() * y.norm()`.",
    ),
    mistakes={
        "the means are not taken away: that is the cosine.": _cosine,
        "it is not divided by the lengths: that is the covariance.": _covariance,
        "the lengths are those of the numbers before their means were taken away.": (
            lambda one, other: float(
                ((one - one.mean()) * (other - other.mean())).sum() / (one.norm() * other.norm())
            )
        ),
        "`mean` divides by the count and `std` by one less: use `sum` and `norm` instead.": (
            lambda one, other: _covariance(one, other) / float(one.std() * other.std())
        ),
        "the sum of the products alone: it is not divided by the lengths.": (
            lambda one, other: _covariance(one, other) * one.numel()
        ),
        "the square; the sign is lost.": lambda one, other: _correlation(one, other) ** 2,
        "the signs are turned round.": lambda one, other: -_correlation(one, other),
        "the distance, 1 minus the correlation.": lambda one, other: 1 - _correlation(one, other),
    },
    laws={"Neither a factor nor an offset matters.": _hears_an_offset},
)


def _votes(maps: torch.Tensor, weights: torch.Tensor, unit: int) -> torch.Tensor:
    only = torch.zeros_like(maps)
    only[unit] = maps[unit]
    return torch.einsum("kc,chw->k", weights, only) / maps[0].numel()


def _heads() -> Cases:
    weights = torch.tensor([[2.0, 0.0], [-1.0, 5.0], [0.5, 1.0]])
    maps = torch.tensor([[[1.0, 3.0]], [[0.0, 8.0]]])
    return [
        Case("two units", maps, weights, 0, expected=torch.tensor([4.0, -2.0, 1.0])),
        Case("the second one", maps, weights, 1),
        Case("as many classes as units", uniform(4, 3, 5, seed=630), normal(4, 4, seed=631), 2),
    ]


VOTES = Exercise(
    id="06.2",
    title="A unit's votes",
    minutes=6,
    reference=_votes,
    cases=_heads,
    hints=(
        "What the classifier gets from a unit is one number: the mean of its map.",
        "`weights` is (classes, units): the column `weights[:, unit]` belongs to the unit.",
    ),
    mistakes={
        "a row of the weights: that belongs to a class; a unit has a column.": (
            lambda maps, weights, unit: weights[unit] * maps[unit].mean()
        ),
        "the sum over the map; the pool takes the mean.": (
            lambda maps, weights, unit: weights[:, unit] * maps[unit].sum()
        ),
        "the largest activation; the pool takes the mean.": (
            lambda maps, weights, unit: weights[:, unit] * maps[unit].max()
        ),
        "the mean over all maps; only the map of this unit counts.": (
            lambda maps, weights, unit: weights[:, unit] * maps.mean()
        ),
        "all units' votes together: those are the scores.": (
            lambda maps, weights, _: weights @ maps.mean((1, 2))
        ),
        "the weights alone; what the unit answers here is missing.": (
            lambda _, weights, unit: weights[:, unit]
        ),
    },
)


EXERCISES = (CORRELATION, VOTES)

QUESTIONS = {
    "06.q1": Question(
        "From layer to layer, what becomes of the share of activations that are exactly zero?",
        (
            "It stays near one half all the way.",
            Right("It grows, to about nine in ten."),
            "It shrinks to nothing.",
        ),
        why="Units of deep layers respond to something particular, which most places do not have.",
    ),
    "06.q2": Question(
        "The koala moves by 4 pixels. Which layer's maps, compared position by position, are least "
        "like what they were?",
        (Right("the first layer's"), "those in the middle", "the last layer's"),
        why="Its edges are a few pixels thin: 4 pixels away there is another edge, or none. A "
        "position of fire9 stands for 16 pixels.",
    ),
    "06.q3": Question(
        "Nobody labeled faces, and none of the 1000 classes is 'face'. Is there a unit for them?",
        ("no, nothing asks for one", Right("yes, for furry faces"), "only for human faces"),
        why="Hundreds of the classes are animals, and a face helps to tell an animal from other "
        "things. Unit 491 of fire8 is such a unit.",
    ),
    "06.q4": Question(
        "The koala becomes a red panda. What do the units of fire9 that change most do?",
        (
            "They respond to both animals, but more strongly to one of them.",
            Right("They respond to one picture and hardly to the other."),
            "They respond at other places of the picture.",
        ),
        why="Nine in ten activations of fire9 are zero: which units fire tells what is there.",
    ),
}
