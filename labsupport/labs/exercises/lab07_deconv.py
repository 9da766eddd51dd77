"""Lab 07: the three rules, integrated gradients; questions."""

from collections.abc import Callable

import torch

from labsupport.labs.exercises.draws import normal, uniform
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

GradientOf = Callable[[torch.Tensor], torch.Tensor]

F_IN = torch.tensor([[1.0, -1.0, 5.0], [2.0, -5.0, -7.0], [-3.0, 2.0, 4.0]])
ABOVE = torch.tensor([[-2.0, 3.0, -1.0], [6.0, -3.0, 1.0], [2.0, -1.0, 3.0]])


def _relu_backward(f: torch.Tensor, above: torch.Tensor, rule: str) -> torch.Tensor:
    gates = {"backprop": f > 0, "deconvnet": above > 0, "guided": torch.minimum(f, above) > 0}
    return torch.where(gates[rule], above, 0.0)


_EXCHANGED = {"backprop": "deconvnet", "deconvnet": "backprop", "guided": "guided"}


def _slides() -> Cases:
    random = normal(2, 4, 5, seed=710), normal(2, 4, 5, seed=711)
    below = {
        "backprop": [[-2.0, 0, -1], [6, 0, 0], [0, -1, 3]],
        "deconvnet": [[0.0, 3, 0], [6, 0, 1], [2, 0, 3]],
        "guided": [[0.0, 0, 0], [6, 0, 0], [0, 0, 3]],
    }
    slide = [
        Case(f"the slide, {rule}", F_IN, ABOVE, rule, expected=torch.tensor(rows))
        for rule, rows in below.items()
    ]
    zero = torch.tensor([0.0, 0.0]), torch.tensor([4.0, -4.0])
    closed = Case("a ReLU at exactly zero", *zero, "backprop", expected=torch.zeros(2))
    return [*slide, closed, *(Case(f"random, {rule}", *random, rule) for rule in below)]


RELU_BACKWARD = Exercise(
    id="07.1",
    title="Three rules",
    minutes=8,
    reference=_relu_backward,
    cases=_slides,
    hints=(
        "`f > 0` is a tensor of True and False; multiplied with numbers it counts as 1 and 0.",
        "backprop looks at `f` alone, deconvnet at `above` alone, guided at both.",
        "All three give `above` times something: `(f > 0) * above`, and so on.",
    ),
    mistakes={
        "every rule is computed as plain backprop.": (
            lambda f, above, _rule: _relu_backward(f, above, "backprop")
        ),
        "a ReLU that is exactly at zero lets the gradient through; `>`, not `>=`.": (
            lambda f, above, rule: (
                above * (f >= 0) if rule == "backprop" else _relu_backward(f, above, rule)
            )
        ),
        "the deconvnet asks for f > 0 as well: that is the guided rule.": (
            lambda f, above, rule: _relu_backward(
                f, above, "guided" if rule == "deconvnet" else rule
            )
        ),
        "backprop and deconvnet are exchanged.": (
            lambda f, above, rule: _relu_backward(f, above, _EXCHANGED[rule])
        ),
        "ones where the gradient passes, not the gradient itself.": (
            lambda f, above, rule: (_relu_backward(f, above, rule) != 0).float()
        ),
    },
)


def squared(image: torch.Tensor) -> torch.Tensor:
    """The gradient of the sum of x cubed."""
    return 3 * image**2


def opened(image: torch.Tensor) -> torch.Tensor:
    """The gradient of the sum of max(x - 0.3, 0)."""
    return (image > 0.3).float()


def _integrate(
    gradient: GradientOf, image: torch.Tensor, baseline: torch.Tensor, steps: int
) -> torch.Tensor:
    places = (torch.arange(steps) + 0.5) / steps
    gradients = torch.stack([gradient(torch.lerp(baseline, image, place)) for place in places])
    return gradients.mean(0) * (image - baseline)


def _ways() -> Cases:
    image, base = uniform(2, 3, 4, 5, seed=740)
    one = torch.ones(1)
    return [
        Case("x cubed, from 0 to 1, 2 steps", squared, one, one * 0, 2, expected=one * 0.9375),
        Case("x cubed, from 1 to 2, 1 step", squared, one * 2, one, 1, expected=one * 6.75),
        Case("a kink, 10 steps", opened, one, one * 0, 10, expected=one * 0.7),
        Case("an image, 5 steps", squared, image, base, 5),
    ]


def _does_not_add_up(function: Function) -> str | None:
    image, base = torch.tensor([0.9, 0.2]), torch.tensor([0.1, 0.5])
    total = float(function(squared, image, base, 200).sum())
    whole = float((image**3).sum() - (base**3).sum())
    if abs(total - whole) < 1e-3:
        return None
    return f"the value changes by {whole:.3f}, the attributions add up to {total:.3f}."


INTEGRATE = Exercise(
    id="07.2",
    title="Integrate the gradient",
    minutes=10,
    reference=_integrate,
    cases=_ways,
    hints=(
        "The middle of part k (from 0) of `steps` equal parts lies at `(k + 0.5) / steps`.",
        "At place a, the image is `baseline + a * (image - baseline)`; ask `gradient` there.",
        "Mean of the gradients, times `(image - baseline)`.",
    ),
    mistakes={
        "the mean gradient, without the way `image - baseline`.": (
            lambda gradient, image, baseline, steps: (
                _integrate(gradient, image, baseline, steps) / (image - baseline)
            )
        ),
        "the gradient at the image alone, times the way.": (
            lambda gradient, image, baseline, _steps: gradient(image) * (image - baseline)
        ),
        "the gradients at the beginning of each part; take its middle.": (
            lambda gradient, image, baseline, steps: (
                torch.stack(
                    [gradient(torch.lerp(baseline, image, k / steps)) for k in range(steps)]
                ).mean(0)
                * (image - baseline)
            )
        ),
        "the gradients at the end of each part; take its middle.": (
            lambda gradient, image, baseline, steps: (
                torch.stack(
                    [gradient(torch.lerp(baseline, image, (k + 1) / steps)) for k in range(steps)]
                ).mean(0)
                * (image - baseline)
            )
        ),
        "the sum of the gradients, not their mean.": (
            lambda gradient, image, baseline, steps: (
                steps * _integrate(gradient, image, baseline, steps)
            )
        ),
    },
    laws={"The attributions add up to the change of the value.": _does_not_add_up},
)

EXERCISES = (RELU_BACKWARD, INTEGRATE)

QUESTIONS = {
    "07.q1": Question(
        "How can we compute the gradient of any arbitrary neuron with respect to the image?",
        (
            "Train a second network that predicts from the pixels how the neuron responds.",
            Right("Set a gradient of one at the neuron and zero elsewhere, and backpropagate."),
            "It cannot be done, because only the loss has a gradient.",
        ),
        why="Backprop multiplies a layer's gradient by the derivatives below it. With a one at the "
        "neuron and zeros elsewhere, the gradient of the neuron itself arrives at the pixels.",
    ),
    "07.q2": Question(
        "Into a ReLU came f = -5, and R' = 3 arrives from above. Which rule lets the 3 through?",
        ("backprop", Right("deconvnet"), "guided backprop"),
        why="The deconvnet looks only at what arrives. The other two rules want f > 0 as well.",
    ),
    "07.q3": Question(
        "A max-pool keeps one value of each window. Where does the deconvnet put what comes back?",
        (
            "Into all pixels of the window, in equal parts.",
            "Into the middle of the window.",
            Right("Where the maximum was on the way up."),
        ),
        why="Switches record the place on the way up. So the picture depends on the image although "
        "the deconvnet's ReLUs do not look at it.",
    ),
    "07.q4": Question(
        "A pixel is as black as the baseline. What do integrated gradients say that it adds?",
        (Right("nothing"), "that depends on the class", "its gradient at the image"),
        why="The gradient is multiplied by image minus baseline, which is zero there. From a black "
        "baseline, a panda's black ears count for nothing.",
    ),
    "07.q5": Question(
        "All layers above fire6 become random. Whose picture hardly changes?",
        ("that of backprop", Right("that of guided backprop"), "both pictures change completely"),
        why="It shows the edges that the lower layers find, whatever the layers above do.",
    ),
}
