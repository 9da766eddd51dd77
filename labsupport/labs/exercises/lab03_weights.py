"""Lab 03: show a filter, measure its noise, see through two layers; and the lab's questions."""

import math

import torch
from torch.nn import functional as F

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _as_picture(weights: torch.Tensor) -> torch.Tensor:
    largest = torch.linalg.vector_norm(weights, ord=math.inf)
    return torch.nan_to_num(weights / largest).mul(0.5).add(0.5)


def _filters() -> Cases:
    red = torch.zeros(3, 3, 3)
    red[0, 1, 1], red[2, 0, 0] = 0.2, -0.1
    shown = torch.full((3, 3, 3), 0.5)
    shown[0, 1, 1], shown[2, 0, 0] = 1.0, 0.25
    return [
        Case("one red weight and a blue one", red, expected=shown),
        Case("random weights", normal(3, 5, 5, seed=310)),
        Case("only negative weights", -uniform(3, 5, 5, seed=311)),
        Case("a filter of zeros", torch.zeros(3, 5, 5), expected=torch.full((3, 5, 5), 0.5)),
    ]


def _not_grey_at_zero(function: Function) -> str | None:
    picture = function(torch.tensor([0.0, 3.0, -1.0]).expand(3, 3, 3).clone())
    if torch.allclose(picture[:, :, 0], torch.tensor(0.5)):
        return None
    return f"a weight of 0 becomes {float(picture[0, 0, 0]):.3g} and not 0.5."


PICTURE = Exercise(
    id="03.1",
    title="Show a filter",
    minutes=5,
    reference=_as_picture,
    cases=_filters,
    tolerance=(1e-5, 1e-6),
    hints=(
        "A picture lives in [0, 1], weights lie on both sides of 0: zero must become 0.5.",
        "`largest = weights.abs().max()` is what must become 1 (or 0, if it is negative).",
        "`0.5 + weights / (2 * largest)`; a filter of zeros must not be divided by zero.",
    ),
    mistakes={
        "stretched from the smallest to the largest weight: zero is no longer middle grey.": (
            lambda weights: (weights - weights.min()) / (weights.max() - weights.min())
        ),
        "the weights run from -1 to 1 now, a picture from 0 to 1: halve them, and add 0.5.": (
            lambda weights: 2 * _as_picture(weights) - 1
        ),
        "the weights are halved and moved to 0.5, but not divided by the largest of them.": (
            lambda weights: (weights + 1) / 2
        ),
        "divided by the largest weight; a negative one may be larger in size: `abs()` first.": (
            lambda weights: 0.5 + weights / (2 * weights.max())
        ),
        "cut off at 0: negative weights are lost.": lambda weights: weights.clamp(0, 1),
        "each color has its own scale, so the colors are wrong.": (
            lambda weights: 0.5 + weights / (2 * weights.abs().amax((1, 2), keepdim=True))
        ),
        "half of the range is left: divide by twice the largest weight, not by four times.": (
            lambda weights: 0.5 + (_as_picture(weights) - 0.5) / 2
        ),
    },
    laws={"Zero is middle grey.": _not_grey_at_zero},
)

_SIDE, _HIGH = 64, 0.25


def _noise_share(weights: torch.Tensor) -> float:
    return _share(_power(weights))


def _power(weights: torch.Tensor, side: int = _SIDE) -> torch.Tensor:
    transform = torch.fft.fft2(weights, s=(side, side))
    power: torch.Tensor = (transform * transform.conj()).real.sum(0)
    return power


def _share(power: torch.Tensor, *, square: bool = False) -> float:
    steps = torch.fft.fftfreq(len(power))
    if square:
        high = torch.maximum(steps[:, None].abs(), steps.abs()) > _HIGH
    else:
        high = torch.hypot(steps[:, None], steps[None]) > _HIGH
    return float((power * high).sum() / power.sum())


def _patterns() -> Cases:
    single = torch.zeros(3, 5, 5)
    single[1, 2, 2] = 1.0
    flat_share = sum(
        (row / 64) ** 2 + (column / 64) ** 2 > 1 / 16
        for row in range(-32, 32)
        for column in range(-32, 32)
    )
    return [
        Case("a single weight: a flat spectrum", single, expected=flat_share / 64**2),
        Case("a flat filter", torch.ones(3, 5, 5)),
        Case("noise", normal(3, 5, 5, seed=320)),
        Case("a checkerboard", ((-1.0) ** (torch.arange(7)[:, None] + torch.arange(7)))[None]),
    ]


def _depends_on_strength(function: Function) -> str | None:
    weights = normal(3, 5, 5, seed=33)
    if abs(float(function(weights * 9)) - float(function(weights))) < 1e-4:
        return None
    return "a filter that is nine times as strong gives another share."


NOISE = Exercise(
    id="03.2",
    title="How noisy is a filter?",
    minutes=10,
    reference=_noise_share,
    cases=_patterns,
    tolerance=(1e-4, 1e-5),
    hints=(
        "`torch.fft.fft2(weights, s=(64, 64))` puts zeros around the filter and transforms it; "
        "the power is `.abs().square()`, summed over the colors.",
        "`steps = torch.fft.fftfreq(64)` are the cycles per pixel along one axis.",
        "High is where `(steps[:, None] ** 2 + steps**2).sqrt() > 0.25`; divide what lies there by "
        "the whole sum.",
    ),
    mistakes={
        "the amplitude is summed, not the power: square it.": (
            lambda weights: _share(torch.fft.fft2(weights, s=(_SIDE, _SIDE)).abs().sum(0))
        ),
        "no zeros stand around the filter: its spectrum has too few places.": (
            lambda weights: _share(_power(weights, weights.shape[-1]))
        ),
        "each axis by itself: a frequency is the length of (down, across).": (
            lambda weights: _share(_power(weights), square=True)
        ),
        "the share below 0.25, not above it.": lambda weights: 1 - _noise_share(weights),
        "the power above 0.25 is not divided by the whole power.": (
            lambda weights: _noise_share(weights) * float(_power(weights).sum())
        ),
        "the places above 0.25 are counted, whatever their power.": (
            lambda weights: _share(torch.ones_like(_power(weights)))
        ),
    },
    laws={"Strength does not matter.": _depends_on_strength},
)


def _compose(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return F.conv_transpose2d(second[None], first)[0]


def _pairs() -> Cases:
    corner = torch.zeros(1, 3, 3)
    corner[0, 0, 1] = 2.0
    moved = torch.zeros(3, 4, 4)
    moved[:, :2, 1:3] = 2.0
    return [
        Case("one weight moves the filter", torch.ones(1, 3, 2, 2), corner, expected=moved),
        Case("two channels", normal(2, 3, 3, 3, seed=340), normal(2, 3, 3, seed=341)),
        Case("as in the network", normal(16, 3, 5, 5, seed=342), normal(16, 5, 5, seed=343)),
    ]


def _not_two_steps(function: Function) -> str | None:
    image = normal(1, 3, 9, 9, seed=350)
    first, second = normal(4, 3, 3, 3, seed=351), normal(4, 3, 3, seed=352)
    twice = F.conv2d(F.conv2d(image, first), second[None])
    once = F.conv2d(image, function(first, second)[None])
    if once.shape == twice.shape and torch.allclose(once, twice, atol=1e-3):
        return None
    return "on a random picture the one filter and the two layers give different maps."


COMPOSE = Exercise(
    id="03.3",
    title="See through two layers",
    minutes=12,
    reference=_compose,
    cases=_pairs,
    tolerance=(1e-4, 1e-4),
    hints=(
        "The weight `second[m, row, column]` reads first-layer map m, moved by (row, column): it "
        "adds a copy of the filter `first[m]`, moved as far.",
        "Begin with `torch.zeros(first.shape[1], size, size)`, "
        "`size = first.shape[-1] + second.shape[-1] - 1`.",
        "For each row and column, add `torch.einsum('m,mcij->cij', second[:, row, column], first)` "
        "to the part that begins there.",
    ),
    mistakes={
        "the second filter is turned upside down: nothing is mirrored here.": (
            lambda first, second: _compose(first, second.flip(1, 2))
        ),
        "rows and columns of the second filter are exchanged.": (
            lambda first, second: _compose(first, second.transpose(1, 2))
        ),
        "every channel counts as much as its sum over the window: nothing is moved.": (
            lambda first, second: torch.einsum("mrs,mcij->cij", second, first)
        ),
        "the mean over the first layer's filters, not their sum.": (
            lambda first, second: _compose(first, second) / len(first)
        ),
        "only the first layer's filter 0 is there; all of them are added.": (
            lambda first, second: _compose(first[:1], second[:1])
        ),
    },
    laws={"One filter does what two layers do.": _not_two_steps},
)

EXERCISES = (PICTURE, NOISE, COMPOSE)

QUESTIONS = {
    "03.q1": Question(
        "Of all pieces of image with the same length, which one gets a filter's largest answer?",
        (
            "the brightest one, whatever its pattern",
            Right("the one that equals the filter"),
            "the one in its most frequent color",
        ),
        why="A scalar product is largest where both vectors point the same way.",
    ),
    "03.q2": Question(
        "Which share of the power lies above 0.25 cycles per pixel in a filter of white noise?",
        ("25 %", "50 %", Right("80 %")),
        why="Its spectrum is flat, so areas count: the circle holds only pi / 16 of the square.",
    ),
    "03.q3": Question(
        "What does a weight of the second layer multiply?",
        (
            "one color of a pixel, as in the first layer",
            Right("what a first-layer filter found"),
            "a weight of the first layer",
        ),
        why="It reads feature maps; as a picture its slices have no colors and no meaning to us.",
    ),
    "03.q4": Question(
        "The same network, the same seed, ten times the weight decay. What will its filters be?",
        ("noisier and stronger", Right("weaker and smoother"), "the same, but learned later"),
        why="Decay pulls every weight to zero; what the data does not ask for again is gone first.",
    ),
}
