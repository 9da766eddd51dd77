"""The loop of an ascent: look, step, look again. Nothing here is changed in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.layers import Box
from labsupport.core.networks import Network
from labsupport.core.operations import Pair
from labsupport.methods._objectives import SCORES, Objective, Term, Terms, free_name
from labsupport.methods._recipes import Recipe
from labsupport.methods._regularizers import Correction, Penalty
from labsupport.methods._steps import Memory, Slope, StepRule
from labsupport.methods._transforms import Moment

_AT_ONCE = {"cpu": 2}  # images in one pass; more of them are slower on a CPU, each


@dataclass(frozen=True)
class Frame:
    """A picture on its way, after `step` of `steps` steps; everything is on the CPU.

    `image` is (N, 3, H, W) in [0, 1]. `score` (N,) is what is being raised: of a class the score
    before softmax, `probability` (N,) then its probability; of a silent unit the value in front of
    its ReLU (see `TargetValue`). `terms` has the parts of the loss by name, (N,) each, penalties
    too. All of them are of the image as this step's transforms showed it to the network; in the
    last frame, of the image as it is. `slope` (N,) is the mean absolute gradient of each image (in
    the last frame that of the step before), 0 where it cannot move. For a single neuron, `box` is
    what it sees: the only part that changes. `settings` says how the picture was made, in plain
    words and numbers. A frame also holds what is needed to go on: `ascend(..., start=frame)`.
    """

    image: Tensor
    step: int
    steps: int
    terms: Mapping[str, Tensor]
    score: Tensor
    probability: Tensor | None
    slope: Tensor
    box: Box | None
    settings: Mapping[str, Any]
    state: State = field(repr=False)

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return self.step / self.steps if self.steps else 1.0


@dataclass(frozen=True)
class State:
    """What changes from step to step. No tensor of it is ever changed in place."""

    parameters: Tensor
    memory: Memory
    step: int
    random: Tensor  # the generator's state before this step's transforms
    rule: type[StepRule]  # whose memory it is


@dataclass(frozen=True)
class Course:
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
    def canvas_size(self) -> Pair:
        return (self.size[0] + self.margin, self.size[1] + self.margin)

    def shown(self, images: Tensor) -> Tensor:
        """The middle of the canvas, without the margin."""
        edge, (height, width) = self.margin // 2, self.size
        return images[:, :, edge : edge + height, edge : edge + width]

    def image(self, parameters: Tensor) -> Tensor:
        """The picture (N, 3, H, W) on the CPU."""
        with torch.no_grad():
            images = self.shown(self.recipe.canvas.images(parameters, self.canvas_size)).cpu()
        if self.around is None or self.box is None:
            return images.contiguous()
        whole = self.around.repeat(len(images) // len(self.around), 1, 1, 1)
        left, top, right, bottom = self.box
        whole[:, :, top:bottom, left:right] = images
        return whole


def climb(run: Course, state: State, every: int) -> Iterator[Frame]:
    """The frames of a run from a state on: each `every` steps, and the last."""
    slope: Tensor | None = None
    while True:
        last = state.step >= run.steps
        random = torch.Generator()
        random.set_state(state.random)
        moment = Moment(state.step, run.steps, random, run.mean)
        # The last look only needs the way back where there was none before.
        steep = None if not last or slope is None else slope
        look = _evaluate(run, state.parameters, moment, clean=last, slope=steep)
        slope = look.slope
        if last or state.step % every == 0:
            yield _frame(run, state, look)
        if last:
            return
        state = _moved(run, state, look, moment)


@dataclass(frozen=True)
class _Look:
    """What one forward and backward pass told, (N,) and (N, ...)."""

    gradient: Tensor
    slope: Tensor
    total: Tensor
    score: Tensor
    terms: Mapping[str, Tensor]
    probability: Tensor | None


def _evaluate(
    run: Course, parameters: Tensor, moment: Moment, *, clean: bool, slope: Tensor | None
) -> _Look:
    """The values and the gradient of all images, a few at a time; no gradient where its `slope`
    is known."""
    at_once = _AT_ONCE.get(run.network.device.type, 64)
    before = moment.random.get_state()
    parts: list[_Look] = []
    for first in range(0, len(parameters), at_once):
        moment.random.set_state(before)  # the same transforms for all
        some = slice(first, first + at_once)
        goal = run.objective.part(some)
        known = None if slope is None else slope[some]
        parts.append(_look(run, goal, parameters[some], moment, clean=clean, slope=known))
    look = parts[0] if len(parts) == 1 else _joined(parts)
    if not bool(torch.isfinite(look.slope + look.total).all()):
        raise BadSetting(
            f"step {moment.step}: the value or its gradient is no number any more. The steps are "
            f"too large: try {type(run.recipe.step).__name__} with a smaller rate than "
            f"{run.recipe.step.rate:g}, or less weight on a penalty"
        )
    return look


def _look(
    run: Course,
    goal: Objective,
    parameters: Tensor,
    moment: Moment,
    *,
    clean: bool,
    slope: Tensor | None,
) -> _Look:
    wanted = slope is None
    with torch.set_grad_enabled(wanted):
        moving = parameters.detach().requires_grad_(wanted)
        images = run.recipe.canvas.images(moving, run.canvas_size)
        seen = run.shown(images) if clean else _transformed(run, images, moment)
        terms, activations = goal.look(run.network, seen)
        score = _weighted(terms)
        terms |= _penalties(run, images, moment)
        total = _weighted(terms)
        gradient = parameters.new_empty(0)
        if slope is None:
            (gradient,) = torch.autograd.grad(total.sum(), moving)
            slope = gradient.abs().flatten(1).mean(1)
    chances = _probability(goal, activations)
    values = {name: term.value.detach() for name, term in terms.items()}
    return _Look(gradient, slope, total.detach(), score.detach(), values, chances)


def _transformed(run: Course, images: Tensor, moment: Moment) -> Tensor:
    for transform in run.recipe.transforms:
        images = transform(images, moment)
    return images


def _penalties(run: Course, images: Tensor, moment: Moment) -> Terms:
    found: Terms = {}
    for one in run.recipe.regularizers:
        if isinstance(one, Penalty):
            found[free_name(one.name, found)] = Term(one(images, moment), -one.weight)
    return found


def _weighted(terms: Terms) -> Tensor:
    return torch.stack([term.weight * term.value for term in terms.values()]).sum(0)


def _probability(goal: Objective, activations: Mapping[str, Tensor]) -> Tensor | None:
    if goal.classes is None:
        return None
    chances = activations[SCORES].detach().softmax(1)
    wanted = torch.tensor(goal.classes, device=chances.device).expand(len(chances))
    return chances.gather(1, wanted[:, None])[:, 0]


def _joined(parts: Sequence[_Look]) -> _Look:
    def together(values: list[Tensor]) -> Tensor:
        return torch.cat(values)

    names = parts[0].terms
    chances = [one.probability for one in parts if one.probability is not None]
    return _Look(
        together([one.gradient for one in parts]),
        together([one.slope for one in parts]),
        together([one.total for one in parts]),
        together([one.score for one in parts]),
        {name: together([one.terms[name] for one in parts]) for name in names},
        together(chances) if chances else None,
    )


def _moved(run: Course, state: State, look: _Look, moment: Moment) -> State:
    with torch.no_grad():
        slope = Slope(look.gradient, look.total, moment.share)
        moved, memory = run.recipe.step.step(state.parameters, slope, state.memory)
        for one in run.recipe.regularizers:
            if isinstance(one, Correction):
                moved = one(moved, look.gradient, moment)
        bounded = run.recipe.canvas.bounded(moved)
    return State(bounded, memory, state.step + 1, moment.random.get_state(), state.rule)


def _frame(run: Course, state: State, look: _Look) -> Frame:
    chances = look.probability
    return Frame(
        run.image(state.parameters),
        state.step,
        run.steps,
        {name: value.cpu() for name, value in look.terms.items()},
        look.score.cpu(),
        None if chances is None else chances.cpu(),
        look.slope.cpu(),
        run.box,
        run.settings,
        state,
    )
