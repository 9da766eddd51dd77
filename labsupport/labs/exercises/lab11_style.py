"""Lab 11: the Gram matrix, the style loss of one layer; its questions."""

import torch
from torch import Tensor

from labsupport.labs.exercises.draws import uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _gram_matrix(maps: Tensor) -> Tensor:
    return torch.einsum("ihw,jhw->ij", maps, maps) / maps.numel()


def _maps() -> Cases:
    tiny = torch.tensor([[[1.0, 2.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, 1.0]]])
    by_hand = torch.tensor([[6.0, 4.0], [4.0, 11.0]]) / 8
    return [
        Case("two channels of 2 x 2", tiny, expected=by_hand),
        Case("three channels of 4 x 5", uniform(3, 4, 5, seed=111)),
        Case("more channels than positions", uniform(6, 1, 2, seed=112)),
    ]


def _heeds_places(function: Function) -> str | None:
    maps = uniform(3, 4, 4, seed=5)
    order = uniform(16, seed=1).argsort()
    shuffled = maps.flatten(1)[:, order].view_as(maps)
    if torch.allclose(torch.as_tensor(function(maps)), torch.as_tensor(function(shuffled))):
        return None
    return "the positions were shuffled, the same way in all channels, and the matrix changed."


GRAM = Exercise(
    id="11.1",
    title="The Gram matrix",
    minutes=6,
    reference=_gram_matrix,
    cases=_maps,
    hints=(
        "Make a row of each channel's map: `maps.flatten(1)` is (C, H W).",
        "The product of two rows, summed over the positions, is one number of the matrix: "
        "`rows @ rows.T` has all of them.",
        "Divide by the number of numbers in the maps, C H W: `maps.numel()`.",
    ),
    mistakes={
        "not divided by C H W: a larger picture would have a larger matrix.": (
            lambda maps: _gram_matrix(maps) * maps.numel()
        ),
        "divided by the positions alone; the number of channels belongs to it too.": (
            lambda maps: _gram_matrix(maps) * len(maps)
        ),
        "the positions are compared and not the channels: (H W, H W) instead of (C, C).": (
            lambda maps: maps.flatten(1).T @ maps.flatten(1) / maps.numel()
        ),
        "each channel's mean is taken away first: that is the covariance.": (
            lambda maps: _gram_matrix(maps - maps.mean((1, 2), keepdim=True))
        ),
        "positions are mixed: both maps must be read at the same position, as in 'ihw,jhw->ij'.": (
            lambda maps: torch.einsum("ihw,jhv->ij", maps, maps) / maps.numel()
        ),
        "the rows are brought to length 1 first: how strong a channel is gets lost.": (
            lambda maps: torch.corrcoef(maps.flatten(1)) if len(maps) > 1 else maps
        ),
    },
    laws={"Where things lie does not matter.": _heeds_places},
)


def _style_loss(maps: Tensor, style: Tensor) -> Tensor:
    wanted = _gram_matrix(style)
    apart: Tensor = torch.linalg.norm(_gram_matrix(maps) - wanted) / torch.linalg.norm(wanted)
    return apart.square()


def _pairs() -> Cases:
    one = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    other = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    # Gram matrices [[1/2, 0], [0, 0]] and [[1/4, 0], [0, 1/4]]
    return [
        Case("two channels of two pixels", one, other, expected=torch.tensor(1.0)),
        Case("maps of one size", uniform(3, 4, 5, seed=113), uniform(3, 4, 5, seed=114)),
        Case("a style of another size", uniform(4, 3, 3, seed=115), 2 * uniform(4, 7, 2, seed=116)),
    ]


def _is_not_zero(function: Function) -> str | None:
    maps = uniform(3, 4, 6, seed=6)
    if abs(float(function(maps, maps.flip(2)))) < 1e-6:
        return None
    return "a mirrored map has the same style; the loss between the two is not 0."


LOSS = Exercise(
    id="11.2",
    title="The style loss of one layer",
    minutes=6,
    reference=_style_loss,
    cases=_pairs,
    hints=(
        "Both Gram matrices come from the exercise before: `gram_matrix(maps)`.",
        "Squared differences, summed: `(own - wanted).square().sum()`.",
        "Relative to the style: divide by `wanted.square().sum()`.",
    ),
    mistakes={
        "not relative: divide by the sum of the squares of the style's own matrix.": (
            lambda maps, style: (_gram_matrix(maps) - _gram_matrix(style)).square().sum()
        ),
        "a mean of squares over a sum of squares: take the sum above and below.": (
            lambda maps, style: _style_loss(maps, style) / len(maps) ** 2
        ),
        "divided by the picture's matrix instead of the style's.": (
            lambda maps, style: _style_loss(style, maps)
        ),
        "the differences are not squared.": (
            lambda maps, style: (
                (_gram_matrix(maps) - _gram_matrix(style)).abs().sum()
                / _gram_matrix(style).abs().sum()
            )
        ),
        "the root of the sum: a distance instead of a squared one.": (
            lambda maps, style: _style_loss(maps, style).sqrt()
        ),
        "the maps are compared position by position: that is the content loss.": (
            lambda maps, style: (
                (maps - style).square().sum() / style.square().sum()
                if maps.shape == style.shape
                else _style_loss(maps, style)
            )
        ),
    },
    laws={"The same things elsewhere are the same style.": _is_not_zero},
)

EXERCISES = (GRAM, LOSS)

QUESTIONS = {
    "11.q1": Question(
        "From noise to a photograph's code: from which layer does the photograph come back best?",
        (Right("from the first ones"), "from the middle ones", "from the last ones"),
        why="Each layer forgets a little of what lies where, and of which color it was.",
    ),
    "11.q2": Question(
        "The positions of all maps are shuffled, the same way in each. Which loss notices?",
        (Right("the content loss"), "the style loss", "both", "neither"),
        why="A Gram matrix sums over the positions: in which order does not matter.",
    ),
    "11.q3": Question(
        "How does the picture change when alpha / beta becomes ten times smaller?",
        (
            "it comes nearer to the photograph",
            Right("it comes nearer to the painting's texture"),
            "not at all: only the step size changes",
        ),
        why="beta weighs the style: the smaller alpha / beta, the less the content counts.",
    ),
    "11.q4": Question(
        "Only the luminance is painted, and the photograph's colors are put back. What is left of "
        "the style?",
        (
            "nothing, because style is color",
            Right("its strokes, light and dark"),
            "its palette",
        ),
        why="Brush strokes are mostly changes of brightness. The palette stays the photograph's.",
    ),
}
