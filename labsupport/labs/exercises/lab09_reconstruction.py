"""Lab 09: how near a code is, and total variation; questions."""

import torch

from labsupport.labs.exercises.draws import uniform
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


EXERCISES = (RELATIVE, VARIATION)

QUESTIONS = {
    "09.q1": Question(
        "A panda comes back from relu1, from the layers after it, and at last from pool5 of "
        "AlexNet. Which of these is least damaged at pool5?",
        (
            "the fine texture of its fur and of the stones",
            "the true colors of the panda and of the ground",
            Right("the places of its head and its ear"),
        ),
        why="The maps of pool5 still have 6 x 6 places, but each place has forgotten its details.",
    ),
    "09.q2": Question(
        "The weight of the total variation grows from 1 to 10 000. What becomes of the picture?",
        (
            "It becomes sharper and sharper, until every hair of the cat is there.",
            Right("Details go first, then all but soft spots."),
            "Noise goes, and from then on the picture does not change any more.",
        ),
        why="The prior wins over the code: each smoother picture is farther from the code.",
    ),
    "09.q3": Question(
        "Four seeds, one code: the 1000 log-probabilities of a cat. The network calls all four "
        "pictures some kind of cat. What will you see in them?",
        (
            "four cats, each easy to recognize, with the same face in the same place",
            Right("colored fog with spots like eyes, at another place in each picture"),
            "four cats, each easy to recognize, with their faces in different places",
        ),
        why="The last average forgets every place, and 1000 numbers leave most of 150 528 pixel "
        "values free.",
    ),
    "09.q4": Question(
        "Twelve photos come back from their codes at fire5, in the middle of the network. How "
        "many of them still have the network's first answer among the first five?",
        (Right("all twelve"), "about half of them", "two or three"),
        why="The code of a middle layer still holds nearly everything that the network needs.",
    ),
}
