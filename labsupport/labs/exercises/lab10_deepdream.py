"""Lab 10: the normalized step, and detail that is carried over; its questions."""

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
        "divided by the length (norm) of the gradient, which grows with the number of pixels. "
        "Divide by the mean absolute value.": (
            lambda image, gradient, rate: (image + rate * gradient / gradient.norm()).clamp(0, 1)
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
    id="10.2",
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

EXERCISES = (STEP, CARRY)

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
        why="A unit always sees as many pixels. In a small copy they are more of the picture.",
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
        "Dream, zoom in by 5 %, dream on what is there: what fills the middle of picture sixteen?",
        (
            "the castle, twice as near",
            "a blur, because each zoom loses detail",
            Right("what the layer has drawn itself"),
        ),
        why="What is lost by zooming is drawn anew, from what was dreamed before.",
    ),
}
