"""How an image is optimized, as values, ours and the papers'; and the loop: evaluate, step,
evaluate again. Nothing is changed in place.

The images of a batch are optimized apart, a few in one pass. On a CPU each core takes some of
them through several steps, so what they need stays in its cache and no core waits for another.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from labsupport.core import workers
from labsupport.core.errors import BadSetting
from labsupport.core.frames import Stepwise
from labsupport.core.network import Box, Network, Pair
from labsupport.core.network.gradients import gradient_of
from labsupport.methods.optimize import regularizers
from labsupport.methods.optimize.objectives import SCORES, Objective, Term, Terms, free_name
from labsupport.methods.optimize.optimizers import (
    Adam,
    Gradient,
    Memory,
    Normalized,
    Optimizer,
    mean_absolute,
)
from labsupport.methods.optimize.parameterization import Fourier, Parameterization, Phase, Pixels
from labsupport.methods.optimize.regularizers import Correction, Penalty, Regularizer
from labsupport.methods.optimize.transforms import (
    CoarseToFine,
    Crop,
    Noise,
    Scale,
    Step,
    Transform,
    Zoom,
)

STARTS = ("zeros", "mean", "grey", "black", "noise")


@dataclass(frozen=True)
class Recipe:
    """How an image is optimized; the parts are values, so a recipe can be varied and printed."""

    name: str = "ours"
    start: str = "noise"
    parameterization: Parameterization = field(default_factory=Fourier)
    transforms: tuple[Transform, ...] = (Crop(32), Scale(0.8, 1.2))
    regularizers: tuple[Regularizer, ...] = ()
    optimizer: Optimizer = field(default_factory=lambda: Adam(0.1))
    steps: int = 64

    def check(self) -> None:
        """Raise `BadSetting` where the parts do not go together."""
        if isinstance(self.transforms, Transform) or isinstance(self.regularizers, Regularizer):
            raise BadSetting(
                "transforms and regularizers are tuples: (Jitter(8),) for a single one"
            )
        wrong = [one for one in self.regularizers if not isinstance(one, Penalty | Correction)]
        if wrong:
            raise BadSetting(f"{wrong[0]!r} is no regularizer; for example TotalVariation(0.1)")
        corrections = [one for one in self.regularizers if isinstance(one, Correction)]
        if corrections and not isinstance(self.parameterization, Pixels):
            name = type(corrections[0]).__name__
            raise BadSetting(
                f"{name} changes pixels after each step: it needs parameterization=Pixels()"
            )


CLEAR = Recipe()
SIMONYAN = Recipe(
    "Simonyan 2013", "zeros", Pixels(), (), (regularizers.L2(10.0),), Normalized(1 / 255), steps=120
)
MACO = Recipe("MACO 2023", "noise", Phase(), (Zoom(), Noise()), (), Adam(0.2), steps=256)
# MACO with a blur that falls and wide windows near the middle: one whole thing instead of parts.
COARSE = replace(
    MACO,
    name="coarse to fine",
    transforms=(CoarseToFine(), Zoom(0.7, middle=0.5, side=192), Noise()),
)
# Table 1 of Yosinski et al. 2015. It does not give the size of a step: that is ours.
_STEP = Normalized(4 / 255)
_TABLE: tuple[tuple[tuple[Regularizer, ...], Optimizer, int], ...] = (
    ((regularizers.Blur(0.5, every=4), regularizers.ClipNorm(0.5)), _STEP, 500),
    # A decay of 30 % a step leaves little of small ones.
    ((regularizers.Decay(0.3), regularizers.ClipNorm(0.2)), Normalized(16 / 255), 750),
    ((regularizers.Decay(1e-4), regularizers.Blur(1.0, every=4)), _STEP, 1000),
    ((regularizers.Blur(0.5, every=4), regularizers.ClipContribution(0.9)), _STEP, 1000),
)
YOSINSKI = tuple(
    Recipe(f"Yosinski {number}", "zeros", Pixels(), (), prior, optimizer, steps)
    for number, (prior, optimizer, steps) in enumerate(_TABLE, start=1)
)


# Recipes: our setting and those of the papers


_AT_ONCE = {"cpu": 2}  # images in one pass; more of them are slower on a CPU, each
_STRETCH = 8  # steps that cores go on their own, so that an interruption is heard soon
_NOTHING: Memory = {}
_BRIGHTEST, _BLUR = 0.85, 9  # of a mask: the quantile that becomes 1, the window of its mean


@dataclass(frozen=True)
class Frame(Stepwise):
    """A picture on its way, after `step` of `steps` steps; everything is on the CPU.

    `image` is (N, 3, H, W) in [0, 1]. `score` (N,) is what is being raised: of a class the score
    before softmax, `probability` (N,) then its probability; of a silent unit the value before its
    ReLU (see `TargetValue`). `terms` has the parts of the loss by name, (N,) each, penalties too.
    All of them are of the image as this step's transforms showed it to the network; in the last
    frame, of the image as it is. `gradient_size` (N,) is the mean absolute gradient of each image
    (in the last frame that of the step before), 0 where it cannot move. `mask` (N, 1, H, W) in
    [0, 1] says which pixels have mattered: the sum of the absolute gradients so far, 1 from its
    85 % quantile on, averaged over 9 x 9 pixels (MACO, Fel et al. 2023). For a single neuron, `box`
    is what it sees: the only part that changes. `settings` says how the picture was made, in plain
    words and numbers. A frame also holds what is needed to go on: `visualize(..., start=frame)`.
    """

    image: Tensor
    step: int
    steps: int
    terms: Mapping[str, Tensor]
    score: Tensor
    probability: Tensor | None
    gradient_size: Tensor
    mask: Tensor
    box: Box | None
    settings: Mapping[str, Any]
    state: State = field(repr=False)


@dataclass(frozen=True)
class State:
    """What changes from step to step. No tensor of it is ever changed in place."""

    parameters: Tensor
    memories: tuple[tuple[int, Memory], ...]  # for so many images each; none before the first step
    step: int
    random: Tensor  # the generator's state before this step's transforms
    attention: Tensor  # (N, 1, H, W): the absolute gradients at the image, summed over the steps
    optimizer: type[Optimizer]  # whose memory it is


@dataclass(frozen=True)
class Problem:
    """Everything that is known before the first step."""

    network: Network
    objective: Objective  # bound
    recipe: Recipe
    steps: int
    size: Pair  # of what the network sees
    around: Tensor | None  # the whole image (N, 3, H, W) about what a neuron sees
    box: Box | None
    mean: Tensor
    settings: Mapping[str, Any]

    @property
    def margin(self) -> int:
        return sum(transform.margin for transform in self.recipe.transforms)

    @property
    def whole_size(self) -> Pair:
        """The size with the margin that transforms cut off."""
        return (self.size[0] + self.margin, self.size[1] + self.margin)

    def shown(self, images: Tensor) -> Tensor:
        """The middle of images, without the margin."""
        edge, (height, width) = self.margin // 2, self.size
        return images[:, :, edge : edge + height, edge : edge + width]

    def image(self, parameters: Tensor) -> Tensor:
        """The picture (N, 3, H, W) on the CPU."""
        with torch.no_grad():
            images = self.recipe.parameterization.images(parameters, self.whole_size)
        return self._placed(images, self.around)

    def mask(self, attention: Tensor) -> Tensor:
        """The mask (N, 1, H, W) on the CPU, 0 about what a neuron sees."""
        around = None if self.around is None else torch.zeros_like(self.around[:1, :1])
        return self._placed(_mask(attention.cpu()), around)

    def _placed(self, values: Tensor, around: Tensor | None) -> Tensor:
        """The values without the margin on the CPU, and the others about what a neuron sees."""
        part = self.shown(values).cpu()
        if around is None or self.box is None:
            return part.contiguous()
        whole = around.repeat(len(part) // len(around), 1, 1, 1)
        left, top, right, bottom = self.box
        whole[:, :, top:bottom, left:right] = part
        return whole


def optimize(problem: Problem, state: State, due: Iterable[int]) -> Generator[Frame]:
    """The frames at these steps, from a state on."""
    groups = _groups(problem, state)
    for step in due:
        groups = _all_to(problem, groups, step)
        yield _frame(problem, groups)


# Groups of some images each


@dataclass(frozen=True)
class _Evaluation:
    """What one forward and one backward pass gave, (N,) and (N, ...), and at which step."""

    gradient: Tensor
    gradient_size: Tensor
    attention: Tensor  # the absolute gradient at the image, (N, 1, H, W)
    total: Tensor
    score: Tensor
    terms: Mapping[str, Tensor]
    probability: Tensor | None
    step: Step


@dataclass(frozen=True)
class _Group:
    """How far some images have come, and the evaluation there, None before the first one."""

    objective: Objective
    state: State
    evaluation: _Evaluation | None = None


def _groups(problem: Problem, state: State) -> list[_Group]:
    """The images in groups that go together."""
    count = len(state.parameters)
    fresh = [(size, _NOTHING) for size in _sizes(count, problem.network.device)]
    groups, first = [], 0
    for size, memory in state.memories or fresh:
        own = slice(first, first + size)
        mine = replace(
            state,
            parameters=state.parameters[own],
            memories=((size, memory),),
            attention=state.attention[own],
        )
        groups.append(_Group(problem.objective.part(own), mine))
        first += size
    return groups


def _sizes(count: int, device: torch.device) -> list[int]:
    """How many images go together: as many groups for one core as for another."""
    cores = _cores(device)
    rounds = math.ceil(count / cores / _AT_ONCE.get(device.type, 64))
    groups = min(count, cores * rounds)
    return [count // groups + (place < count % groups) for place in range(groups)]


def _cores(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def _all_to(problem: Problem, groups: list[_Group], step: int) -> list[_Group]:
    """All groups, evaluated at this step."""
    cores = _cores(problem.network.device)
    if min(cores, len(groups)) == 1:
        return [_to(problem, step, group) for group in groups]
    while True:
        soon = min(step, groups[0].state.step + _STRETCH)
        there = workers.in_order(partial(partial, _to, problem, soon), groups, threads=cores)
        groups = [group for _, group in there]
        if soon == step:
            return groups


def _to(problem: Problem, step: int, group: _Group) -> _Group:
    """One group, evaluated at this step."""
    objective, state = group.objective, group.state
    evaluation = group.evaluation or _evaluate(problem, objective, state, None)
    while state.step < step:
        state = _moved(problem, state, evaluation)
        evaluation = _evaluate(problem, objective, state, evaluation)
    return _Group(objective, state, evaluation)


def _evaluate(
    problem: Problem, objective: Objective, state: State, before: _Evaluation | None
) -> _Evaluation:
    """The values and the gradient of a group of images. The last evaluation, of the images as
    they are, only needs a backward pass where there was no evaluation before."""
    random = torch.Generator()
    random.set_state(state.random)
    step = Step(state.step, problem.steps, random, problem.mean)
    size = before.gradient_size if before and state.step >= problem.steps else None
    evaluation = _passes(problem, objective, state.parameters, step, size)
    if not math.isfinite(float((evaluation.gradient_size + evaluation.total).sum())):
        optimizer = problem.recipe.optimizer
        if step.number == 0:
            raise BadSetting(
                "the network gives no number (NaN or infinity) for the picture that this starts "
                "from: take another start, such as start='noise', or another seed"
            )
        raise BadSetting(
            f"step {step.number}: the value or its gradient is no number any more. The steps are "
            f"too large: try {type(optimizer).__name__} with a smaller learning rate than "
            f"{optimizer.learning_rate:g}, or less weight on a penalty"
        )
    return evaluation


def _passes(
    problem: Problem, objective: Objective, parameters: Tensor, step: Step, size: Tensor | None
) -> _Evaluation:
    """A forward pass, and a backward pass unless the gradient's size is known already."""
    with torch.set_grad_enabled(size is None):
        moving = parameters.detach().requires_grad_(size is None)
        images = problem.recipe.parameterization.images(moving, problem.whole_size)
        terms, activations = objective.evaluate(problem.network, _seen(problem, images, step))
        total = score = _weighted(terms)
        penalties = _penalties(problem, images, step)
        if penalties:
            terms |= penalties
            total = _weighted(terms)
        gradient = attention = parameters.new_empty(0)
        if size is None:
            gradient = at_image = gradient_of(total.sum(), images)
            if images is not moving:
                (gradient,) = torch.autograd.grad(images, moving, at_image)
            size, attention = mean_absolute(gradient), at_image.abs().sum(1, keepdim=True)
    chances = _probability(objective, activations)
    values = {name: term.value.detach() for name, term in terms.items()}
    worth = total.detach(), score.detach()
    return _Evaluation(gradient, size, attention, *worth, values, chances, step)


def _seen(problem: Problem, images: Tensor, step: Step) -> Tensor:
    """What the network sees: images after the transforms; at the end, as they are."""
    if step.number >= problem.steps:
        return problem.shown(images)
    for transform in problem.recipe.transforms:
        images = transform(images, step)
    return images


def _penalties(problem: Problem, images: Tensor, step: Step) -> Terms:
    terms: Terms = {}
    for one in problem.recipe.regularizers:
        if isinstance(one, Penalty):
            terms[free_name(one.name, terms)] = Term(one(images, step), -one.weight)
    return terms


def _weighted(terms: Terms) -> Tensor:
    parts = [
        term.value if term.weight == 1 else term.weight * term.value for term in terms.values()
    ]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _probability(objective: Objective, activations: Mapping[str, Tensor]) -> Tensor | None:
    if objective.classes is None:
        return None
    chances = activations[SCORES].detach().softmax(1)
    wanted = torch.tensor(objective.classes, device=chances.device).expand(len(chances))
    return chances.gather(1, wanted[:, None])[:, 0]


def _moved(problem: Problem, state: State, evaluation: _Evaluation) -> State:
    recipe, step = problem.recipe, evaluation.step
    with torch.no_grad():
        ((count, memory),) = state.memories
        gradient = Gradient(evaluation.gradient, evaluation.total, step.share)
        moved, memory = recipe.optimizer.step(state.parameters, gradient, memory)
        for one in recipe.regularizers:
            if isinstance(one, Correction):
                moved = one(moved, evaluation.gradient, step)
        bounded = recipe.parameterization.bounded(moved)
    return replace(
        state,
        parameters=bounded,
        memories=((count, memory),),
        step=state.step + 1,
        random=step.random.get_state(),
        attention=state.attention + evaluation.attention,
    )


# All of them again


def _frame(problem: Problem, groups: Sequence[_Group]) -> Frame:
    evaluations = [group.evaluation for group in groups if group.evaluation is not None]
    states = [group.state for group in groups]
    chances = [one.probability for one in evaluations if one.probability is not None]
    state = replace(
        states[0],
        parameters=_concatenated([one.parameters for one in states]),
        memories=tuple(memory for one in states for memory in one.memories),
        attention=_concatenated([one.attention for one in states]),
    )
    return Frame(
        problem.image(state.parameters),
        state.step,
        problem.steps,
        {
            name: _concatenated([one.terms[name] for one in evaluations]).cpu()
            for name in evaluations[0].terms
        },
        _concatenated([one.score for one in evaluations]).cpu(),
        _concatenated(chances).cpu() if chances else None,
        _concatenated([one.gradient_size for one in evaluations]).cpu(),
        problem.mask(state.attention),
        problem.box,
        problem.settings,
        state,
    )


def _mask(attention: Tensor) -> Tensor:
    """The mask of summed absolute gradients, (N, 1, H, W) both."""
    each = attention.flatten(1)
    high = each.kthvalue(math.ceil(_BRIGHTEST * each.shape[1]), 1, keepdim=True).values
    scaled = attention / high.clamp_min(torch.finfo(high.dtype).tiny)[..., None, None]
    means = functional.avg_pool2d(scaled, _BLUR, 1, _BLUR // 2, count_include_pad=False)
    return means.clamp(0, 1)


def _concatenated(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.cat(list(values))
