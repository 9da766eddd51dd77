"""Lab 09: how near a code is, total variation, the spread of codes, how different maps look."""

import torch
from torch.nn import functional

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _code_distance(code: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    apart = torch.linalg.vector_norm(code - wanted) / torch.linalg.vector_norm(wanted)
    squared: torch.Tensor = apart.square()
    return squared


def _code_pairs() -> Cases:
    maps = uniform(2, 4, 3, 5, seed=910)
    return [
        Case(
            "three numbers",
            torch.tensor([1.0, 2.0, 2.0]),
            torch.tensor([1.0, 0.0, 2.0]),
            expected=torch.tensor(0.8),
        ),
        Case(
            "the code itself",
            torch.tensor([3.0, 4.0]),
            torch.tensor([3.0, 4.0]),
            expected=torch.tensor(0.0),
        ),
        Case("maps of a layer", maps[0], maps[1]),
        Case("log-probabilities", -5 * maps[0].flatten(), -4 * maps[1].flatten()),
    ]


def _grows_with_the_code(function: Function) -> str | None:
    code, wanted = uniform(2, 12, seed=20)
    small, large = (float(function(size * code, size * wanted)) for size in (1.0, 100.0))
    if abs(small - large) < 1e-3 * abs(small):
        return None
    return f"it is {small:.3g}, and {large:.3g} when all activations are a hundred times as large."


RELATIVE = Exercise(
    id="09.1",
    title="How near a code is",
    minutes=4,
    reference=_code_distance,
    cases=_code_pairs,
    hints=(
        "The squared distance of two vectors: subtract, square, add up.",
        "Divide it by the squared length of the code that is wanted, not of the picture's own.",
        "`(code - wanted).square().sum() / wanted.square().sum()`",
    ),
    mistakes={
        "the distance itself: divide it by the wanted code's squared length.": (
            lambda code, wanted: (code - wanted).square().sum()
        ),
        "divided by the picture's own code's size: a picture could win by loud activations.": (
            lambda code, wanted: (code - wanted).square().sum() / code.square().sum()
        ),
        "the root of what is asked for: leave the distance squared.": (
            lambda code, wanted: (code - wanted).norm() / wanted.norm()
        ),
        "absolute values: the paper squares the differences.": (
            lambda code, wanted: (code - wanted).abs().sum() / wanted.abs().sum()
        ),
        "a squared length above, a length below: square both.": (
            lambda code, wanted: (code - wanted).square().sum() / wanted.norm()
        ),
    },
    laws={"It does not depend on how loud a layer is.": _grows_with_the_code},
)


def _steps(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    corner = image[..., :-1, :-1]
    return image[..., :-1, 1:] - corner, image[..., 1:, :-1] - corner


def _total_variation(image: torch.Tensor) -> torch.Tensor:
    right = torch.diff(image, dim=-1)[..., :-1, :]
    down = torch.diff(image, dim=-2)[..., :, :-1]
    return torch.mean(right * right + down * down)


def _around(image: torch.Tensor) -> torch.Tensor:
    right, down = (image.roll(-1, axis) - image for axis in (-1, -2))
    return (right.square() + down.square()).mean()


def _images() -> Cases:
    tiny = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]])
    picture = uniform(3, 6, 8, seed=920)
    return [
        Case("two rows of three", tiny, expected=torch.tensor(1.5)),
        Case("one grey", torch.full((3, 4, 5), 0.3), expected=torch.tensor(0.0)),
        Case("noise in colour", picture),
        Case("stripes that stand", torch.tensor([0.0, 1.0]).repeat(3, 6, 4)),
    ]


def _sees_both_ways(function: Function) -> str | None:
    stripes = torch.tensor([0.0, 1.0]).repeat(3, 8, 4)
    standing, lying = (float(function(one)) for one in (stripes, stripes.transpose(1, 2)))
    if abs(standing - lying) < 1e-6:
        return None
    return f"stripes that stand have {standing:.3g}, the same lying {lying:.3g}."


VARIATION = Exercise(
    id="09.2",
    title="Total variation",
    minutes=6,
    reference=_total_variation,
    cases=_images,
    hints=(
        "Take the pixels that have a neighbour on the right and one below: `image[:, :-1, :-1]`.",
        "Their right neighbours are `image[:, :-1, 1:]`, those below `image[:, 1:, :-1]`.",
        "Square both steps, add them, and take the mean over all of these pixels and colours.",
    ),
    mistakes={
        "only the steps to the right: steps down count too.": (
            lambda image: _steps(image)[0].square().mean()
        ),
        "absolute steps: the exponent is 2, so square them.": (
            lambda image: torch.stack(_steps(image)).abs().sum(0).mean()
        ),
        "the sum over the pixels: a large picture would be punished. Take the mean.": (
            lambda image: torch.stack(_steps(image)).square().sum()
        ),
        "the last column meets the first one: a picture does not go around its border.": _around,
        "the steps are added before they are squared: a step up can hide a step down.": (
            lambda image: torch.stack(_steps(image)).sum(0).square().mean()
        ),
    },
    laws={"Rows and columns count alike.": _sees_both_ways},
)


def _mean_pairwise(codes: torch.Tensor) -> torch.Tensor:
    squares = codes.square().sum(1)
    table = squares[:, None] + squares - 2 * codes @ codes.T
    mean: torch.Tensor = table.sum() / (len(codes) * (len(codes) - 1))
    return mean


def _all_pairs(codes: torch.Tensor) -> torch.Tensor:
    return (codes[:, None] - codes).square().sum(2)


def _some_codes() -> Cases:
    line = torch.tensor([[0.0], [1.0], [3.0]])
    return [
        Case("three on a line", line, expected=torch.tensor(14 / 3)),
        Case("two codes", torch.tensor([[1.0, 0.0], [0.0, 2.0]]), expected=torch.tensor(5.0)),
        Case("twelve codes", normal(12, 7, seed=930)),
    ]


def _moves_along(function: Function) -> str | None:
    codes = normal(6, 5, seed=4)
    here, there = float(function(codes)), float(function(codes + 3))
    if abs(here - there) < 1e-3 * abs(here):
        return None
    return f"it is {here:.3g}, and {there:.3g} when 3 is added to every number of every code."


SPREAD = Exercise(
    id="09.3",
    title="The spread of codes",
    minutes=8,
    reference=_mean_pairwise,
    cases=_some_codes,
    hints=(
        "Of N codes there are N (N - 1) / 2 pairs; `itertools.combinations` gives them.",
        "Or all at once: `codes[:, None] - codes[None]` is (N, N, D), each pair twice.",
        "A code's distance from itself is 0 and no pair: divide the sum by N (N - 1), not by N².",
    ),
    mistakes={
        "each code's distance from itself, 0, is counted: divide by N (N - 1).": (
            lambda codes: _all_pairs(codes).mean()
        ),
        "the distances, not squared.": lambda codes: torch.pdist(codes).mean(),
        "distances from the mean code: that is half of what two codes are apart.": (
            lambda codes: (codes - codes.mean(0)).square().sum(1).mean()
        ),
        "only neighbours in the list: take all pairs.": (
            lambda codes: codes.diff(dim=0).square().sum(1).mean()
        ),
        "each pair is counted twice, and the sum is divided by the pairs.": (
            lambda codes: 2 * torch.pdist(codes).square().mean()
        ),
    },
    laws={"Only differences count.": _moves_along},
)


Maps = tuple[torch.Tensor, torch.Tensor]


def _perceptual_distance(
    one: torch.Tensor, other: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    units = functional.normalize(torch.stack([one, other]), dim=1)
    return torch.einsum("chw,c->hw", (units[0] - units[1]) ** 2, weights).mean()


def _units(one: torch.Tensor, other: torch.Tensor) -> Maps:
    lengths = (maps.norm(dim=0).clamp(min=1e-10) for maps in (one, other))
    first, second = (maps / length for maps, length in zip((one, other), lengths, strict=True))
    return first, second


def _apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    first, second = _units(one, other)
    return (first - second).square()


def _two_maps() -> Cases:
    one = torch.tensor([[[0.6, 0.5]], [[0.8, 0.0]]])
    other = torch.tensor([[[0.8, 0.9]], [[0.6, 0.0]]])
    maps, weights = uniform(2, 5, 3, 4, seed=950), uniform(5, seed=951)
    silent = maps[0].clone()
    silent[:, 1, 2] = 0
    expected = torch.tensor(0.05)
    return [
        Case("two channels", one, other, torch.tensor([2.0, 0.5]), expected=expected),
        Case("the same maps", maps[0], maps[0], weights, expected=torch.tensor(0.0)),
        Case("five channels", maps[0], maps[1], weights),
        Case("a position without any activation", silent, maps[1], weights),
    ]


def _loudness_does_not_count(function: Function) -> str | None:
    one, other = uniform(2, 5, 3, 4, seed=7)
    weights = uniform(5, seed=8)
    plain, loud = (float(function(size * one, other, weights)) for size in (1.0, 10.0))
    if abs(plain - loud) < 1e-3 * abs(plain):
        return None
    return f"it is {plain:.3g}, and {loud:.3g} when one map's activations are ten times as large."


LOOKS = Exercise(
    id="09.4",
    title="How different two maps look",
    minutes=8,
    reference=_perceptual_distance,
    cases=_two_maps,
    hints=(
        "The length of each position's vector: `one.norm(dim=0)` is (H, W).",
        "Divide by it, and add 1e-10 to it first: a position may have no activation at all.",
        "`(weights[:, None, None] * (one - other) ** 2).sum(0).mean()` with the divided maps",
    ),
    mistakes={
        "the activations are not divided by their length.": (
            lambda one, other, weights: (weights[:, None, None] * (one - other) ** 2).sum(0).mean()
        ),
        "the weights are left out.": lambda one, other, _: _apart(one, other).sum(0).mean(),
        "the sum over the positions: a large picture would be punished. Take the mean.": (
            lambda one, other, weights: (weights[:, None, None] * _apart(one, other)).sum()
        ),
        "the mean over the channels: their weighted squares are summed.": (
            lambda one, other, weights: (weights[:, None, None] * _apart(one, other)).mean()
        ),
        "the weights are multiplied before the square, so they count twice.": (
            lambda one, other, weights: (
                (weights.square()[:, None, None] * _apart(one, other)).sum(0).mean()
            )
        ),
    },
    laws={"How loud a map is does not count.": _loudness_does_not_count},
)

EXERCISES = (RELATIVE, VARIATION, SPREAD, LOOKS)

QUESTIONS = {
    "09.q1": Question(
        "Given a CNN code, is it possible to reconstruct the original image?",
        (
            "Yes, exactly, from every layer: a code is only another way to write the image.",
            Right("From the first layers nearly, from the last ones only what it means."),
            "No, from no layer: the first ReLUs and poolings already destroy the image.",
        ),
        why="Each layer forgets a little, and each forgets something else.",
    ),
    "09.q2": Question(
        "The weight of the total variation grows from 1 to 10 000. What becomes of the picture?",
        (
            "It becomes sharper and sharper, until every hair of the cat is there.",
            Right("First noise goes, then details, then all but soft spots."),
            "Noise goes; from then on the picture does not change any more.",
        ),
        why="The prior wins over the code: each smoother picture is farther from the code.",
    ),
    "09.q3": Question(
        "Four seeds, one code: the 1000 log-probabilities of a cat. The network calls all four "
        "pictures a cat. What will you see in them?",
        (
            "four cats, each easy to know, with the same face in the same place",
            Right("fog with a dark spot or two, at another place in each picture"),
            "four cats, each easy to know, with their faces in different places",
        ),
        why="The last average forgets every place, and 1000 numbers leave most of 49 152 pixels "
        "free.",
    ),
    "09.q4": Question(
        "Where is the normalised error largest?",
        (
            "at the log-probabilities: the picture looks least like the photo there",
            "at the first layer: it has the most numbers to get right",
            Right("in between, where poolings and strides make the reconstruction hard"),
        ),
        why="An error measures the code, not the picture: few numbers are quickly got right.",
    ),
    "09.q5": Question(
        "A company keeps HOG codes only, no network. Does that protect the picture?",
        (
            "Yes: a histogram of directions holds neither places nor colors of the picture.",
            Right("Its colors, but not its outlines: it is inverted like any code."),
            "Yes: the bins of a histogram are hard, so there is no gradient to follow.",
        ),
        why="Directions are kept for every 8 x 8 pixels, and each step of HOG has a gradient.",
    ),
}
