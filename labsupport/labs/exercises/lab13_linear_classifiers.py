"""Lab 13: the adversarial x, and the mixing step; and its questions."""

import torch

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

SLIDE_X = (2.0, -1.0, 3.0, -2.0, 2.0, 2.0, 1.0, -4.0, 5.0, 1.0)
SLIDE_W = (-1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0)
SLIDE_FOOLED = (1.5, -1.5, 3.5, -2.5, 2.5, 1.5, 1.5, -3.5, 4.5, 1.5)


def _adversarial(x: torch.Tensor, w: torch.Tensor, step: float) -> torch.Tensor:
    up, down = (w > 0).to(x), (w < 0).to(x)
    return torch.add(x, up - down, alpha=step)


def _inputs() -> Cases:
    x, w = torch.tensor(SLIDE_X), torch.tensor(SLIDE_W)
    return [
        Case("the slide's ten numbers", x, w, 0.5, expected=torch.tensor(SLIDE_FOOLED)),
        Case(
            "weights of any size, one of them zero",
            torch.tensor([1.0, 1.0, 1.0, 1.0]),
            torch.tensor([-0.1, 7.0, 0.0, -3.0]),
            0.25,
            expected=torch.tensor([0.75, 1.25, 1.0, 0.75]),
        ),
        Case("fifty random numbers", normal(50, seed=1310), normal(50, seed=1311), 0.03),
    ]


def _moves_too_far(function: Function) -> str | None:
    x, w = normal(2, 200, seed=1320) * 3
    far = float((function(x, w, 0.1) - x).abs().max())
    return None if far <= 0.1 + 1e-5 else f"with step 0.1 a number moves by {far:.3g}."


ADVERSARIAL = Exercise(
    id="13.1",
    title="The adversarial x",
    minutes=5,
    reference=_adversarial,
    cases=_inputs,
    tolerance=(1e-5, 1e-6),
    hints=(
        "The score is the sum of w * x. In which direction must x move where w is positive, and "
        "in which where it is negative?",
        "Every number may move by `step`, however small its weight is: use all of it everywhere.",
        "`w.sign()` is 1, 0 or -1 for each weight: add `step` times it.",
    ),
    mistakes={
        "the score falls: add where the weight is positive.": (
            lambda x, w, step: x - step * w.sign()
        ),
        "each number moves by step times its weight, not by step.": lambda x, w, step: x + step * w,
        "the sign of x decides; the sign of w should.": lambda x, _, step: x + step * x.sign(),
        "every number grows, also where its weight is negative.": lambda x, _, step: x + step,
        "only the input with the largest weight moves; each of them may.": (
            lambda x, w, step: x + step * w.sign() * (w.abs() == w.abs().max()).cumsum(0).eq(1)
        ),
    },
    laws={"No number moves by more than the step.": _moves_too_far},
)


def _mix(
    image: torch.Tensor, towards: torch.Tensor, away: torch.Tensor, strength: float
) -> torch.Tensor:
    way = torch.nn.functional.normalize((towards - away).flatten(), p=torch.inf, dim=0)
    return torch.lerp(image, image + way.view_as(image), strength).clip(0, 1)


def _unclipped(
    image: torch.Tensor, towards: torch.Tensor, away: torch.Tensor, strength: float
) -> torch.Tensor:
    way = towards - away
    return image + strength * way / way.abs().max()


def _mixtures() -> Cases:
    picture = torch.tensor([0.5, 0.9, 0.1]).view(3, 1, 1)
    towards = torch.tensor([2.0, 4.0, 0.0]).view(3, 1, 1)
    away = torch.tensor([0.0, 0.0, 4.0]).view(3, 1, 1)
    return [
        Case(
            "one pixel: it ends at the bounds",
            picture,
            towards,
            away,
            0.2,
            expected=torch.tensor([0.6, 1.0, 0.0]).view(3, 1, 1),
        ),
        Case(
            "a small picture",
            uniform(3, 4, 5, seed=1340),
            normal(3, 4, 5, seed=1341),
            normal(3, 4, 5, seed=1342),
            0.1,
        ),
        Case(
            "tiny weights",
            uniform(3, 6, 4, seed=1343),
            normal(3, 6, 4, seed=1344) / 1000,
            normal(3, 6, 4, seed=1345) / 1000,
            0.05,
        ),
    ]


def _leaves_the_range(function: Function) -> str | None:
    picture = uniform(3, 8, 8, seed=1350)
    towards, away = normal(2, 3, 8, 8, seed=1351)
    result = function(picture, towards, away, 0.5)
    low, high = float(result.min()), float(result.max())
    inside = low >= 0 and high <= 1
    return None if inside else f"with strength 0.5 pixels run from {low:.2f} to {high:.2f}."


MIX = Exercise(
    id="13.2",
    title="Mix in another class",
    minutes=8,
    reference=_mix,
    cases=_mixtures,
    tolerance=(1e-5, 1e-6),
    hints=(
        "The direction that raises one score and lowers the other is `towards - away`.",
        "Divide it by its largest absolute value: `strength` is then a pixel's largest change.",
        "Add, and bring the result back into [0, 1] with `.clamp(0, 1)`.",
    ),
    mistakes={
        "the result is not kept inside [0, 1].": _unclipped,
        "the weights are not divided by the largest of them.": (
            lambda image, towards, away, strength: (image + strength * (towards - away)).clamp(0, 1)
        ),
        "the other class is only added; the picture's own is not taken away.": (
            lambda image, towards, away, strength: _mix(
                image, towards, torch.zeros_like(away), strength
            )
        ),
        "it goes the other way: away from the wanted class.": (
            lambda image, towards, away, strength: _mix(image, away, towards, strength)
        ),
        "the signs of the weights are mixed in, not the weights.": (
            lambda image, towards, away, strength: (
                image + strength * (towards - away).sign()
            ).clamp(0, 1)
        ),
    },
    laws={"The result is a picture.": _leaves_the_range},
)

EXERCISES = (ADVERSARIAL, MIX)

QUESTIONS = {
    "13.q1": Question(
        "Ten inputs, weights of +1 and −1, score −3. Every input may move by ½. How far can the "
        "score rise?",
        ("to −2.5", "to 0", Right("to 2")),
        why="Each of the ten gives ½, so the score gains 10 · ½ = 5.",
    ),
    "13.q2": Question(
        "A classifier learns *animal or not* from the same pictures at 12, at 3 072 and at "
        "150 528 numbers. How does the step that fools it change?",
        (
            "It falls as 1/n, as with weights of ±1.",
            "It falls as 1/√n, as where the scores keep their spread.",
            Right("It hardly changes beyond a few hundred numbers."),
        ),
        why="Twice the pixels of one picture get half the weight each: the sum of the weights, "
        "||w||₁, stays, and so does the step.",
    ),
    "13.q3": Question(
        "You train with more and more weight decay. What becomes of the templates, and of the step "
        "that fools the classifier?",
        (
            "The templates get noisier, and the step gets shorter.",
            Right("The templates get smoother, the step longer."),
            "The templates get smoother, and the step gets shorter.",
        ),
        why="Decay makes weights costly; lone pixels lose first, and ||w||₁ falls with them.",
    ),
    "13.q4": Question(
        "A digit has just so much of another class's template in it that the linear classifier is "
        "fooled. What does LeNet-5 say?",
        (
            "the same wrong digit as the linear classifier",
            "a wrong digit, though mostly another one",
            Right("nearly always still the right digit"),
        ),
        why="The direction belongs to the linear classifier's weights; LeNet-5 has other ones.",
    ),
}
