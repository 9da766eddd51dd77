"""Lab 10: the normalized step, jitter and back, octave sizes, detail transfer; its questions."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.labs.exercises.draws import uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

# 10.1


def _step(image: Tensor, gradient: Tensor, rate: float) -> Tensor:
    return torch.add(image, gradient, alpha=rate / float(gradient.abs().mean())).clamp(0, 1)


def _steps() -> Cases:
    row = torch.tensor([0.5, 0.5, 0.5, 0.5])
    gradient = torch.tensor([2.0, -6.0, 0.0, 4.0])
    moved = torch.tensor([0.6, 0.2, 0.5, 0.7])
    picture, other = uniform(1, 3, 4, 5, seed=101), uniform(1, 3, 4, 5, seed=102) - 0.6
    return [
        Case("four pixels", row, gradient, 0.15, expected=moved),
        Case("a gradient a thousand times as large", row, 1000 * gradient, 0.15, expected=moved),
        Case("a picture", picture, other, 0.02),
        Case("a step that leaves the range", picture, 1e-4 * other, 0.5),
    ]


STEP = Exercise(
    id="10.1",
    title="The normalized step",
    minutes=5,
    reference=_step,
    cases=_steps,
    hints=(
        "The mean absolute gradient is `gradient.abs().mean()`: one number for the whole picture.",
        "Divide the gradient by it, multiply by rate, and add: pixels move by rate on average.",
        "Pixels lie in [0, 1]: end with `.clamp(0, 1)`.",
    ),
    mistakes={
        "the gradient is not divided by its mean absolute value.": (
            lambda image, gradient, rate: (image + rate * gradient).clamp(0, 1)
        ),
        "downhill: what the layer sees is wiped out. Add the gradient.": (
            lambda image, gradient, rate: _step(image, -gradient, rate)
        ),
        "the pixels are not clipped to [0, 1].": (
            lambda image, gradient, rate: image + rate * gradient / gradient.abs().mean()
        ),
        "divided by the mean itself: positive and negative gradients cancel. Take abs() first.": (
            lambda image, gradient, rate: (image + rate * gradient / gradient.mean()).clamp(0, 1)
        ),
        "divided by the largest gradient: one pixel moves by rate, the others hardly.": (
            lambda image, gradient, rate: torch.add(
                image, gradient, alpha=rate / float(gradient.abs().max())
            ).clamp(0, 1)
        ),
        "only the sign of the gradient counts here; DeepDream keeps its size.": (
            lambda image, gradient, rate: (image + rate * gradient.sign()).clamp(0, 1)
        ),
    },
)


# 10.2


def _jittered(image: Tensor, down: int, right: int, change: Callable[[Tensor], Tensor]) -> Tensor:
    rows, columns = image.shape[-2:]
    there = change(_rolled(image, down, right))
    return _rolled(there, rows - down % rows, columns - right % columns)


def _rolled(image: Tensor, down: int, right: int) -> Tensor:
    rows = (torch.arange(image.shape[-2]) - down) % image.shape[-2]
    columns = (torch.arange(image.shape[-1]) - right) % image.shape[-1]
    return image[..., rows, :][..., columns]


def _brighter_corner(image: Tensor) -> Tensor:
    """A change that depends on the place: the upper left pixels become 1."""
    changed = image.clone()
    changed[..., :2, :3] = 1.0
    return changed


def _same(image: Tensor) -> Tensor:
    return image.clone()


def _jitters() -> Cases:
    image = uniform(1, 3, 6, 8, seed=103)
    return [
        Case("no change: the picture comes back", image, 2, 3, _same, expected=image),
        Case("a bright corner", image, 1, 2, _brighter_corner),
        Case("shifted up and left", image, -2, -3, _brighter_corner),
        Case("only down", image, 3, 0, _brighter_corner),
    ]


JITTER = Exercise(
    id="10.2",
    title="Jitter, and back",
    minutes=5,
    reference=_jittered,
    cases=_jitters,
    hints=(
        "`torch.roll(image, (down, right), (-2, -1))` shifts; what leaves comes in opposite.",
        "Then `change(...)` what was shifted.",
        "Roll the result by (-down, -right): every pixel must come back to where it was.",
    ),
    mistakes={
        "the picture is not shifted back.": (
            lambda image, down, right, change: change(_rolled(image, down, right))
        ),
        "shifted twice in the same direction: back means the opposite sign.": (
            lambda image, down, right, change: _rolled(
                change(_rolled(image, down, right)), down, right
            )
        ),
        "nothing is shifted before the change.": lambda image, _down, _right, change: change(image),
        "rows and columns are exchanged: down belongs to dimension -2, right to -1.": (
            lambda image, down, right, change: _jittered(image, right, down, change)
        ),
        "shifted up and left first; down and right are meant.": (
            lambda image, down, right, change: _jittered(image, -down, -right, change)
        ),
        "the picture is changed, and then shifted there and back: shift before the change.": (
            lambda image, down, right, change: _rolled(
                _rolled(change(image), down, right), -down, right
            )
        ),
    },
)


# 10.3


def _sizes(height: int, width: int, octaves: int, scale: float) -> list[tuple[int, int]]:
    if octaves == 1:
        return [(height, width)]
    smaller = _sizes(round(height / scale), round(width / scale), octaves - 1, scale)
    return [*smaller, (height, width)]


def _largest_first(height: int, width: int, octaves: int, scale: float) -> list[tuple[int, int]]:
    return _sizes(height, width, octaves, scale)[::-1]


def _cut(height: int, width: int, octaves: int, scale: float) -> list[tuple[int, int]]:
    sizes = [(height, width)]
    for _ in range(octaves - 1):
        sizes.append((int(sizes[-1][0] / scale), int(sizes[-1][1] / scale)))
    return sizes[::-1]


def _shared(height: int, width: int, octaves: int, scale: float) -> list[tuple[int, int]]:
    least = (height / scale ** (octaves - 1), width / scale ** (octaves - 1))
    steps = [place / max(1, octaves - 1) for place in range(octaves)]
    return [
        (round(least[0] + step * (height - least[0])), round(least[1] + step * (width - least[1])))
        for step in steps
    ]


def _size_cases() -> Cases:
    return [
        Case("halves", 80, 120, 3, 2.0, expected=[(20, 30), (40, 60), (80, 120)]),
        Case("one octave", 80, 120, 1, 1.4, expected=[(80, 120)]),
        Case("2015's scale", 320, 480, 4, 1.4),
        Case("odd numbers", 213, 319, 5, 1.3),
    ]


SIZES = Exercise(
    id="10.3",
    title="The sizes of the octaves",
    minutes=5,
    reference=_sizes,
    cases=_size_cases,
    hints=(
        "Begin with the picture's own size, and append smaller ones octaves - 1 times.",
        "Each is made from the one before: `round(height / scale), round(width / scale)`.",
        "The dream begins with the smallest: give the list in reverse.",
    ),
    mistakes={
        "the largest comes first: the dream begins with the smallest.": _largest_first,
        "the numbers are cut off; round them.": _cut,
        "one octave too many: the picture's own size is one of them.": (
            lambda height, width, octaves, scale: _sizes(height, width, octaves + 1, scale)
        ),
        "one octave is missing: the picture's own size is one of them, the last.": (
            lambda height, width, octaves, scale: _sizes(height, width, octaves, scale)[:-1]
        ),
        "equal distances between the sizes; it is the ratio that is constant.": _shared,
        "(width, height): sizes here are (height, width).": (
            lambda height, width, octaves, scale: _sizes(width, height, octaves, scale)
        ),
    },
)


# 10.4


def _linear(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Another size, corner on corner."""
    return torch.nn.functional.interpolate(images, tuple(size), mode="bilinear", align_corners=True)


def _carry(base: Tensor, small: Tensor, dreamed: Tensor, resize: Callable[..., Tensor]) -> Tensor:
    added = resize(dreamed.sub(small), tuple(base.shape[-2:]))
    return torch.clamp(added.add(base), min=0, max=1)


def _carries() -> Cases:
    base = uniform(1, 3, 9, 12, seed=104)
    small = _linear(base, (6, 8))
    dreamed = (small + 0.6 * (uniform(1, 3, 6, 8, seed=105) - 0.5)).clamp(0, 1)
    flat, high = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 8, 8), 0.25)
    return [
        Case("nothing was dreamed", base, small, small, _linear, expected=base),
        Case("a little brighter", high, flat, flat + 0.25, _linear, expected=high + 0.25),
        Case("a picture", base, small, dreamed, _linear),
    ]


def _loses_sharpness(function: Function) -> str | None:
    base = uniform(1, 3, 16, 16, seed=106)
    small = _linear(base, (4, 4))
    if torch.allclose(function(base, small, small, _linear), base, atol=1e-5):
        return None
    return "the larger copy came back blurred although nothing was dreamed."


CARRY = Exercise(
    id="10.4",
    title="Carry the detail over",
    minutes=8,
    reference=_carry,
    cases=_carries,
    hints=(
        "The detail is what the dream added to the small copy: `dreamed - small`.",
        "Bring the detail, not the picture, to the size of the larger copy: `base.shape[2:]`.",
        "Add it to the larger copy and clip: `(base + detail).clamp(0, 1)`.",
    ),
    mistakes={
        "the dreamed picture itself is enlarged: the photograph's fine detail is lost.": (
            lambda base, _small, dreamed, resize: resize(dreamed, base.shape[-2:])
        ),
        "the dreamed picture is added to the photograph, not just what is new in it.": (
            lambda base, _small, dreamed, resize: (base + resize(dreamed, base.shape[-2:])).clamp(
                0, 1
            )
        ),
        "the detail has the wrong sign: dreamed - small.": (
            lambda base, small, dreamed, resize: _carry(base, dreamed, small, resize)
        ),
        "the result is not clipped to [0, 1].": (
            lambda base, small, dreamed, resize: base + resize(dreamed - small, base.shape[-2:])
        ),
        "the detail alone is no picture: add it to the larger copy.": (
            lambda base, small, dreamed, resize: resize(dreamed - small, base.shape[-2:]).clamp(
                0, 1
            )
        ),
        "nothing is carried over: the larger copy comes back as it was.": (
            lambda base, _small, _dreamed, _resize: base
        ),
    },
    laws={"Where nothing was dreamed, the larger copy stays as it is.": _loses_sharpness},
)

EXERCISES = (STEP, JITTER, SIZES, CARRY)

QUESTIONS = {
    "10.q1": Question(
        "The layer's gradient is set to the layer's own activation. Which number is raised then?",
        (
            "the sum of all activations, each with weight 1",
            Right("half the sum of squared activations"),
            "the largest activation",
        ),
        why="The derivative of a²/2 is a: what is strong already is pushed hardest.",
    ),
    "10.q2": Question(
        "The same steps with the same layer, on a small copy first. What does that change?",
        (
            "the same creatures at the same size, but sharper",
            Right("creatures of several sizes, large ones too"),
            "only the time that it takes",
        ),
        why="A neuron always sees as many pixels; in a small copy they are more of the picture.",
    ),
    "10.q3": Question(
        "An early layer, or a late one: which one draws faces?",
        (
            "the early one: it sees the fine detail of eyes",
            "both: the loop draws what the photograph shows",
            Right("a late one: faces are put together there"),
        ),
        why="A layer can only draw more of what it tells apart.",
    ),
    "10.q4": Question(
        "The guide is a flower. What comes into the picture of the pagoda?",
        (
            "the flower, at the place where it is in the guide",
            Right("at each place the part that fits best there"),
            "the flower's colours, the shapes stay",
        ),
        why="Each position picks its best match among all of the guide's; places are forgotten.",
    ),
    "10.q5": Question(
        "Dream, zoom in by 5 %, dream on what is there: what fills the middle of picture sixteen?",
        (
            "the castle, twice as near",
            "a blur, because each zoom loses detail",
            Right("what the layer has drawn itself"),
        ),
        why="What is lost by zooming is drawn anew, from what was dreamed before.",
    ),
}
