"""Lab 12: one signed step, and back into the ball; and its questions."""

from collections.abc import Callable

import torch

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

Loss = Callable[[torch.Tensor], torch.Tensor]


def _gradient(loss: Loss, image: torch.Tensor) -> torch.Tensor:
    gradient: torch.Tensor = torch.func.grad(loss)(image)
    return gradient


def _fgsm(loss: Loss, image: torch.Tensor, eps: float) -> torch.Tensor:
    gradient = _gradient(loss, image)
    up, down = (gradient > 0).to(image), (gradient < 0).to(image)
    return torch.add(image, up - down, alpha=eps).clip(0, 1)


def _weighted(image: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor([3.0, -0.1, 0.0, -2.0, 0.5, 1.0]).view(3, 1, 2)
    return (weights * image).sum()


def _bent(image: torch.Tensor) -> torch.Tensor:
    weights = normal(*image.shape, seed=1210)
    return (weights * image).sum().tanh() + (weights * image.square()).sum()


def _pictures() -> Cases:
    six = torch.tensor([0.5, 0.5, 0.5, 0.25, 0.9, 1.0]).view(3, 1, 2)
    moved = torch.tensor([0.75, 0.25, 0.5, 0.0, 1.0, 1.0]).view(3, 1, 2)
    return [
        Case("six pixels and a weighted sum", _weighted, six, 0.25, expected=moved),
        Case("a bent loss", _bent, uniform(3, 5, 4, seed=1220), 0.1),
        Case("a very small step", _bent, uniform(3, 4, 6, seed=1221), 2 / 255),
    ]


def _moves_further(function: Function) -> str | None:
    image = uniform(3, 8, 8, seed=123)
    result = function(_bent, image, 0.05)
    far = float((result - image).abs().max())
    return None if far <= 0.05 + 1e-6 else f"with eps = 0.05 a pixel moves by {far:.3g}."


FGSM = Exercise(
    id="12.1",
    title="The fast gradient sign",
    minutes=10,
    reference=_fgsm,
    cases=_pictures,
    tolerance=(1e-5, 1e-6),
    hints=(
        "A gradient needs an image that asks for it: `image = image.clone().requires_grad_(True)`.",
        "`(gradient,) = torch.autograd.grad(loss(image), image)` has a number for each pixel.",
        "Only the signs count: `image + eps * gradient.sign()`, and then back into [0, 1].",
    ),
    mistakes={
        "the result is not kept inside [0, 1].": (
            lambda loss, image, eps: image + eps * _gradient(loss, image).sign()
        ),
        "the loss falls: add the signs, do not take them away.": (
            lambda loss, image, eps: (image - eps * _gradient(loss, image).sign()).clamp(0, 1)
        ),
        "the signs of the image decide; take the signs of the gradient.": (
            lambda _, image, eps: (image + eps * image.sign()).clamp(0, 1)
        ),
        "each pixel moves by eps times its gradient; take the gradient's sign.": (
            lambda loss, image, eps: (image + eps * _gradient(loss, image)).clamp(0, 1)
        ),
        "the gradient is divided by its length: the step is eps long in all, not eps a pixel.": (
            lambda loss, image, eps: (
                image
                + eps
                * torch.nn.functional.normalize(_gradient(loss, image).flatten(), dim=0).view_as(
                    image
                )
            ).clamp(0, 1)
        ),
    },
    laws={"No pixel moves by more than eps.": _moves_further},
)


def _into_ball(changed: torch.Tensor, image: torch.Tensor, eps: float) -> torch.Tensor:
    low, high = (image - eps).clip(min=0), (image + eps).clip(max=1)
    return torch.minimum(torch.maximum(changed, low), high)


def _changes() -> Cases:
    image = torch.tensor([0.5, 0.5, 0.5, 0.05, 0.95, 0.2]).view(3, 1, 2)
    changed = torch.tensor([0.55, 0.9, 0.1, -0.3, 1.4, 0.2]).view(3, 1, 2)
    kept = torch.tensor([0.55, 0.6, 0.4, 0.0, 1.0, 0.2]).view(3, 1, 2)
    images = uniform(2, 3, 6, 5, seed=1240)
    return [
        Case("six pixels", changed, image, 0.1, expected=kept),
        Case("two pictures far apart", images[0] * 3 - 1, images[1], 0.2),
        Case("no room at all", images[0], images[1], 0.0, expected=images[1]),
    ]


def _leaves(function: Function) -> str | None:
    image = uniform(3, 9, 9, seed=1250)
    result = function(normal(3, 9, 9, seed=1251), image, 0.3)
    if float(result.min()) < 0 or float(result.max()) > 1:
        return f"pixels run from {float(result.min()):.2f} to {float(result.max()):.2f}."
    return None


INTO_BALL = Exercise(
    id="12.2",
    title="Back into the ball",
    minutes=6,
    reference=_into_ball,
    cases=_changes,
    tolerance=(1e-5, 1e-6),
    hints=(
        "What may not grow beyond eps is the *difference* `changed - image`.",
        "`(changed - image).clamp(-eps, eps)` is that difference, cut.",
        "Add it to the image, and clamp the sum to [0, 1].",
    ),
    mistakes={
        "pixels may leave [0, 1].": (
            lambda changed, image, eps: image + (changed - image).clamp(-eps, eps)
        ),
        "the result is kept inside [0, 1], but not within eps of the image.": (
            lambda changed, _, __: changed.clamp(0, 1)
        ),
        "the changed picture itself is cut to [-eps, eps]; cut its difference from the image.": (
            lambda changed, image, eps: (image + changed.clamp(-eps, eps)).clamp(0, 1)
        ),
        "only the cut difference comes back; add it to the image.": (
            lambda changed, image, eps: (changed - image).clamp(-eps, eps)
        ),
        "eps in one direction only: a pixel may not fall further than eps, either.": (
            lambda changed, image, eps: torch.minimum(changed, image + eps).clamp(0, 1)
        ),
        "the whole difference is made smaller; cut each pixel by itself.": (
            lambda changed, image, eps: (
                image + eps * (changed - image) / (changed - image).abs().max()
            ).clamp(0, 1)
        ),
    },
    laws={"The result is a picture.": _leaves},
)


EXERCISES = (FGSM, INTO_BALL)

QUESTIONS = {
    "12.q1": Question(
        "A handwritten 3 is changed as little as possible, until the network reads each of the "
        "nine other digits in it. What do you read then?",
        (
            "Each of the nine other digits.",
            "The other digit about half of the time.",
            Right("A 3, nine times."),
        ),
        why="The search looks for the shortest change that convinces the network, and not for one "
        "that draws the other digit.",
    ),
    "12.q2": Question(
        "Walk from the panda along the signs of the gradient, ε from −16/255 to +16/255. What do "
        "the scores of SqueezeNet look like over the whole way?",
        (
            "Nearly straight lines, from one end of the way to the other.",
            Right("Straight near the picture, and bent further out."),
            "Like noise.",
        ),
        why="The network is linear piece by piece; an ε of 16/255 crosses many pieces.",
    ),
    "12.q3": Question(
        "JPEG compression brings eight of eight photos back that were pushed away by ε = 1/255. "
        "And if they are pushed by ε = 4/255?",
        (
            "All of them come back.",
            "About half of them come back.",
            Right("None of them comes back."),
        ),
        why="A change that is a little larger survives, and you still do not see it.",
    ),
    "12.q4": Question(
        "A picture evolves until LeNet-5 is more than 99 % sure that it is a 3. Only the answers "
        "are known, no gradient. What will it look like?",
        (
            "A handwritten 3.",
            "Strokes and arcs, with something of a 3.",
            Right("Nothing that you would read."),
        ),
        why="The network was only asked to tell ten digits apart. Far away from all digits it must "
        "still answer with one of the ten.",
    ),
    "12.q5": Question(
        "A koala is changed until its HOG is (nearly) that of the Colosseum. What do you see?",
        ("The Colosseum.", Right("A koala, noisy."), "Neither, only noise."),
        why="HOG keeps only which directions are strong in each cell. Colors, and what lies where "
        "inside a cell, are free, and they can stay the koala's.",
    ),
}
