"""Lab 08: one step uphill, small pixels; and its questions."""

import torch

from labsupport.labs.exercises.draws import normal
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right


def _step(
    image: torch.Tensor, gradient: torch.Tensor, learning_rate: float, decay: float
) -> torch.Tensor:
    return torch.add(image.mul(1 - 2 * learning_rate * decay), gradient, alpha=learning_rate)


def _steps() -> Cases:
    row = torch.tensor([0.0, 1.0, -2.0])
    gradient = torch.tensor([1.0, 1.0, 0.0])
    picture, other = normal(2, 3, 4, 5, seed=810).unbind()
    return [
        Case("three pixels, no decay", row, gradient, 0.5, 0.0, expected=row + 0.5 * gradient),
        Case(
            "three pixels that decay",
            row,
            gradient,
            0.5,
            0.1,
            expected=torch.tensor([0.5, 1.4, -1.8]),
        ),
        Case("a picture", picture, other, 2.0, 0.01),
    ]


STEP = Exercise(
    id="08.1",
    title="One step uphill",
    minutes=5,
    reference=_step,
    cases=_steps,
    hints=(
        "Uphill is where the gradient points: image + learning_rate * gradient.",
        "The penalty is decay times the sum of the squared pixels. What is its gradient?",
        "The derivative of x² is 2x, and the penalty is taken away: gradient - 2 * decay * image.",
    ),
    mistakes={
        "downhill: the score becomes smaller. Add the gradient.": (
            lambda image, gradient, rate, decay: _step(image, -gradient, rate, decay)
        ),
        "the penalty is added: the picture grows instead of decaying.": (
            lambda image, gradient, rate, decay: _step(image, gradient, rate, -decay)
        ),
        "the factor 2 is missing: the derivative of x² is 2x.": (
            lambda image, gradient, rate, decay: _step(image, gradient, rate, decay / 2)
        ),
        "the decay is left out.": (
            lambda image, gradient, rate, _: _step(image, gradient, rate, 0.0)
        ),
        "the decay leaves the learning rate out: both gradients are multiplied by it.": (
            lambda image, gradient, rate, decay: _step(image, gradient, rate, decay / rate)
        ),
    },
)


def _zeroed(image: torch.Tensor, size: torch.Tensor, share: float) -> torch.Tensor:
    level = torch.quantile(size.flatten(), share)
    return image.where(size >= level, torch.zeros(()))


def _norm(image: torch.Tensor) -> torch.Tensor:
    return image.square().sum(0).sqrt()


def _clip_small(image: torch.Tensor, share: float) -> torch.Tensor:
    return _zeroed(image, _norm(image), share)


def _small_pictures() -> Cases:
    tiny = torch.tensor([[[0.0, 3.0, 0.0, 1.0]], [[2.0, 0.0, 0.0, 1.0]], [[0.0, 0.0, 1.5, 1.0]]])
    kept = tiny * torch.tensor([1.0, 1.0, 0.0, 0.0])
    return [
        Case("four pixels, half of them", tiny, 0.5, expected=kept),
        Case("a picture with both signs", normal(3, 6, 7, seed=820), 0.3),
        Case("nearly all", normal(3, 8, 8, seed=821), 0.9),
    ]


def _tears_pixels(function: Function) -> str | None:
    image = normal(3, 9, 9, seed=5)
    zero = function(image, 0.4) == 0
    if torch.equal(zero.any(0), zero.all(0)):
        return None
    return "in some pixels one color is zero and another is not."


CLIP = Exercise(
    id="08.2",
    title="Clip small pixels",
    minutes=8,
    reference=_clip_small,
    cases=_small_pictures,
    hints=(
        "The size of a pixel is the length of its three numbers: `image.norm(dim=0)`, (H, W).",
        "`torch.quantile(size, share)` is the size under which that share of the pixels lies.",
        "`image * (size >= level)` keeps the large ones: (H, W) fits to (3, H, W) by itself.",
    ),
    mistakes={
        "the small pixels are kept and the large ones are gone.": (
            lambda image, share: image - _clip_small(image, share)
        ),
        "each color is judged by itself; a pixel goes or stays as a whole.": (
            lambda image, share: _zeroed(image, image.abs(), share)
        ),
        "the share is taken for a size: sizes are compared with the number itself.": (
            lambda image, share: image.where(_norm(image) >= share, torch.zeros(()))
        ),
        "negative numbers count as small: the sum is not the length.": (
            lambda image, share: _zeroed(image, image.sum(0), share)
        ),
        "the share of the pixels that stays, instead of the share that goes.": (
            lambda image, share: _clip_small(image, 1 - share)
        ),
    },
    laws={"A pixel goes or stays with all its colors.": _tears_pixels},
)


EXERCISES = (STEP, CLIP)

QUESTIONS = {
    "08.q1": Question(
        "The zero image as initialization: can that be a problem?",
        (
            "No: the gradient tells the way from everywhere.",
            "Yes, always: the gradient at a gray picture is zero for every score.",
            Right("Yes, for a unit that is silent on it: its gradient is zero."),
        ),
        why="A class's score has a gradient there, thanks to the biases; a silent unit has none.",
    ),
    "08.q2": Question(
        "The same class, the same number of steps: which picture does the network like best?",
        (
            Right("the one whose pixels move freely"),
            "the one that is blurred every few steps",
            "the one whose small pixels are clipped",
        ),
        why="Whatever keeps a picture a picture takes something away from the score.",
    ),
    "08.q3": Question(
        "One neuron of the first layer sees 3 x 3 pixels. What is its best picture in [0, 1]?",
        (
            Right("its filter, with every number pushed to 0 or 1"),
            "a white square",
            "a small edge in soft colors, bright at one side, dark at the other",
        ),
        why="A weighted sum is largest for 1 where a weight is positive and 0 elsewhere.",
    ),
    "08.q4": Question(
        "Three numbers a pixel, and one for the map: M = ? Which choice looks unlike the others?",
        (
            "the largest absolute value",
            "the mean of the absolute values",
            "the length of the vector",
            Right("the mean with its sign"),
        ),
        why="Neighbors differ in sign, so it tells up from down, but not where the animal is.",
    ),
}
