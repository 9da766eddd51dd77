"""Lab 06: lay out a mosaic, correlate, count a unit's votes, find what changed; its questions."""

import torch

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _mosaic(maps: torch.Tensor, columns: int, *, gap: int = 1) -> torch.Tensor:
    count, height, width = maps.shape
    rows = -(-count // columns)
    cells = torch.zeros(rows * columns, height + gap, width + gap)
    cells[:count, gap:, gap:] = maps
    block = cells.view(rows, columns, height + gap, width + gap).transpose(1, 2)
    sheet = torch.zeros(rows * (height + gap) + gap, columns * (width + gap) + gap)
    sheet[: rows * (height + gap), : columns * (width + gap)] = block.flatten(0, 1).flatten(1)
    return sheet


def _by_columns(maps: torch.Tensor, columns: int) -> torch.Tensor:
    """The tiles run down the columns first."""
    rows = -(-len(maps) // columns)
    filled = torch.zeros(rows * columns, *maps.shape[1:])
    filled[: len(maps)] = maps
    order = torch.arange(rows * columns).view(columns, rows).T.flatten()
    return _mosaic(filled[order], columns)


def _layers() -> Cases:
    row = torch.zeros(3, 5)
    row[1, 1], row[1, 3] = 4.0, 7.0
    return [
        Case("two maps of one number", torch.tensor([[[4.0]], [[7.0]]]), 2, expected=row),
        Case("six maps in two rows", uniform(6, 2, 3, seed=610), 3),
        Case("seven maps: the last row is not full", uniform(7, 3, 2, seed=611), 3),
        Case("a single column", uniform(3, 2, 2, seed=612), 1),
    ]


MOSAIC = Exercise(
    id="06.1",
    title="Lay out a mosaic",
    minutes=10,
    reference=_mosaic,
    cases=_layers,
    hints=(
        "A tile with its line takes height + 1 rows and width + 1 columns; one more line closes.",
        "`row, column = divmod(channel, columns)` is where a channel's tile stands.",
        "With `-(-count // columns)` rows there is one for the tiles that are left over, too.",
    ),
    mistakes={
        "the tiles run down the columns; they go row by row.": _by_columns,
        "there are no lines between the tiles.": (
            lambda maps, columns: _mosaic(maps, columns, gap=0)
        ),
        "the last row is missing where it is not full: round up.": (
            lambda maps, columns: _mosaic(maps[: max(1, len(maps) // columns) * columns], columns)
        ),
        "the line at the right and at the bottom is missing.": (
            lambda maps, columns: _mosaic(maps, columns)[:-1, :-1]
        ),
        "the line at the left and at the top is missing.": (
            lambda maps, columns: _mosaic(maps, columns)[1:, 1:]
        ),
    },
)


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
    id="06.2",
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
        "the square; the sign is lost.": lambda one, other: _correlation(one, other) ** 2,
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
    id="06.3",
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
        "all units' votes together: those are the scores.": (
            lambda maps, weights, _: weights @ maps.mean((1, 2))
        ),
        "the weights alone; what the unit answers here is missing.": (
            lambda _, weights, unit: weights[:, unit]
        ),
    },
)


def _changed_most(first: torch.Tensor, second: torch.Tensor, count: int) -> list[int]:
    change = torch.tensor([float(b.mean() - a.mean()) for a, b in zip(first, second, strict=True)])
    return sorted(range(len(change)), key=lambda unit: -abs(float(change[unit])))[:count]


def _ranked(size: torch.Tensor, count: int) -> list[int]:
    return [int(unit) for unit in size.argsort(descending=True)[:count]]


def _pictures() -> Cases:
    first, second = torch.zeros(4, 2, 2), torch.zeros(4, 2, 2)
    first[1], second[3], first[0, 0, 0], second[0, 1, 1] = 3.0, 2.0, 9.0, 9.0
    second[2, 0, 0] = 1.0
    many = uniform(2, 9, 3, 3, seed=640) * torch.arange(1.0, 10.0).view(9, 1, 1)
    return [
        Case("one went out, one came on, one moved", first, second, 2, expected=[1, 3]),
        Case("nine units", many[0], many[1], 4),
        Case("all of them", many[1], many[0].flip(0), 9),
    ]


CHANGED = Exercise(
    id="06.4",
    title="What changed most?",
    minutes=8,
    reference=_changed_most,
    cases=_pictures,
    hints=(
        "`maps.mean((1, 2))` is one number for each unit.",
        "Going out is a change as well as coming on: the size of the difference counts, `.abs()`.",
        "`difference.topk(count).indices.tolist()` gives the largest first.",
    ),
    mistakes={
        "only units that came on: one that went out has changed too.": (
            lambda first, second, count: _ranked((second - first).mean((1, 2)), count)
        ),
        "only units that went out: one that came on has changed too.": (
            lambda first, second, count: _ranked((first - second).mean((1, 2)), count)
        ),
        "position by position: a map that only moved seems to have changed.": (
            lambda first, second, count: _ranked((second - first).abs().mean((1, 2)), count)
        ),
        "the units that changed least.": (
            lambda first, second, count: _ranked(-(second - first).mean((1, 2)).abs(), count)
        ),
        "the strongest units of the second picture; nothing is compared.": (
            lambda _, second, count: _ranked(second.mean((1, 2)), count)
        ),
    },
)

EXERCISES = (MOSAIC, CORRELATION, VOTES, CHANGED)

QUESTIONS = {
    "06.q1": Question(
        "From layer to layer, what becomes of the share of activations that are exactly zero?",
        (
            "It stays near one half.",
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
        "Now the first layer's old maps are moved by 4 pixels too before they are compared. "
        "The correlation is ...",
        ("about 0.7, as before", "about 0.9", Right("above 0.99")),
        why="A convolution moves with its picture. Nothing was lost, it only went elsewhere.",
    ),
    "06.q4": Question(
        "Nobody labelled faces, and none of the 1000 classes is 'face'. Is there a unit for them?",
        (
            "no, there is no reason to learn one",
            Right("yes, for furry faces"),
            "only for human faces",
        ),
        why="Hundreds of the classes are animals, and a face is what tells them from everything "
        "else. Unit 491 of fire8 is such a unit.",
    ),
    "06.q5": Question(
        "The koala becomes a red panda. What do the units of fire9 that change most do?",
        (
            "They respond to both animals, some of them more, some of them less.",
            Right("Most of them respond to one animal and hardly to the other."),
            "They fire at other places of the picture.",
        ),
        why="Nine in ten activations of fire9 are zero: which units fire tells what is there.",
    ),
}
