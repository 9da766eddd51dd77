"""Lab 08: one step uphill, small pixels, the overlap of boxes; and its questions."""

import torch

from labsupport.labs.exercises.draws import normal
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

Box = tuple[int, int, int, int]


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
    return "in some pixels one colour is zero and another is not."


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
        "each colour is judged by itself; a pixel goes or stays as a whole.": (
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
    laws={"A pixel goes or stays with all its colours.": _tears_pixels},
)


def _area(box: Box) -> int:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def _shared(one: Box, other: Box) -> int:
    corners = [max(one[0], other[0]), max(one[1], other[1])]
    corners += [min(one[2], other[2]), min(one[3], other[3])]
    return _area((corners[0], corners[1], corners[2], corners[3]))


def _overlap(one: Box, other: Box) -> float:
    shared = _shared(one, other)
    return shared / (_area(one) + _area(other) - shared)


def _unclamped(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height / (_area(one) + _area(other) - width * height)


def _inclusive(one: Box, other: Box) -> float:
    larger = [(box[0], box[1], box[2] + 1, box[3] + 1) for box in (one, other)]
    return _overlap(larger[0], larger[1])


def _boxes() -> Cases:
    return [
        Case("one upon the other", (2, 1, 6, 5), (2, 1, 6, 5), expected=1.0),
        Case("half of each", (0, 0, 4, 2), (2, 0, 6, 2), expected=1 / 3),
        Case("one inside the other", (0, 0, 10, 10), (2, 3, 7, 7), expected=0.2),
        Case("side by side", (0, 0, 4, 4), (6, 0, 9, 4), expected=0.0),
        Case("apart in both directions", (0, 0, 4, 4), (6, 7, 9, 9), expected=0.0),
        Case("wide and high", (10, 40, 200, 90), (60, 5, 110, 220)),
    ]


def _has_sides(function: Function) -> str | None:
    one, other = (1, 2, 9, 6), (3, 0, 5, 20)
    if abs(float(function(one, other)) - float(function(other, one))) < 1e-9:
        return None
    return "overlap(a, b) and overlap(b, a) differ."


OVERLAP = Exercise(
    id="08.3",
    title="Overlap of two boxes",
    minutes=8,
    reference=_overlap,
    cases=_boxes,
    hints=(
        "The shared box begins at the larger left and ends at the smaller right; so do the rows.",
        "Boxes that are apart share nothing: `max(0, right - left)`, and the same for the height.",
        "Together they cover both areas, the shared one counted once: a + b - shared.",
    ),
    mistakes={
        "boxes that lie apart must share nothing: keep both sides from 0 on.": _unclamped,
        "the shared area is counted twice below the line.": (
            lambda one, other: _shared(one, other) / (_area(one) + _area(other))
        ),
        "divided by the smaller box: one inside the other would be perfect.": (
            lambda one, other: _shared(one, other) / min(_area(one), _area(other))
        ),
        "one row and one column too many: right and bottom are one past the end.": _inclusive,
        "the shared area itself, in pixels: divide it by the area of both together.": (
            lambda one, other: float(_shared(one, other))
        ),
    },
    laws={"It does not matter which box comes first.": _has_sides},
)

EXERCISES = (STEP, CLIP, OVERLAP)

QUESTIONS = {
    "08.q1": Question(
        "The zero image as initialization: can that be a problem?",
        (
            "No: the gradient tells the way from everywhere.",
            "Yes, always: the gradient at a black picture is zero everywhere.",
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
        why="Neighbours differ in sign, so it tells up from down, but not where the animal is.",
    ),
    "08.q5": Question(
        "The seeds are a twentieth of the picture, the koala is a third. What does GrabCut find?",
        (
            "just the seeds",
            Right("nearly the whole koala"),
            "everything but the third that is surely background",
        ),
        why="It learns the colours of the seeds, and the rest of the koala has the same ones.",
    ),
}
