"""The loop of an ascent: look, step, look again. Nothing here is changed in place.

The images of a batch go their ways apart, a few in one pass. On a CPU each core takes some of
them through several steps, so what they need stays in its cache and no core waits for another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from labsupport.core import workers
from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.core.network.layers import Box
from labsupport.core.network.operations import Pair
from labsupport.methods.optimize.objectives import SCORES, Objective, Term, Terms, free_name
from labsupport.methods.optimize.optimizers import Memory, Slope, StepRule, mean_size
from labsupport.methods.optimize.recipes import Recipe
from labsupport.methods.optimize.regularizers import Correction, Penalty
from labsupport.methods.optimize.transforms import Moment

_AT_ONCE = {"cpu": 2}  # images in one pass; more of them are slower on a CPU, each
_STRETCH = 8  # steps that cores go on their own, so that an interruption is heard soon
_NOTHING: Memory = {}


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
    memories: tuple[tuple[int, Memory], ...]  # for so many images each; none before the first step
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
    ways = _ways(run, state)
    due = state.step if state.step % every == 0 else state.step + every - state.step % every
    while True:
        due = min(due, run.steps)
        ways = _all_to(run, ways, due)
        yield _frame(run, ways)
        if due == run.steps:
            return
        due += every


# The ways of some images each


@dataclass(frozen=True)
class _Look:
    """What one forward and backward pass told, (N,) and (N, ...), and the moment when it did."""

    gradient: Tensor
    slope: Tensor
    total: Tensor
    score: Tensor
    terms: Mapping[str, Tensor]
    probability: Tensor | None
    moment: Moment


@dataclass(frozen=True)
class _Way:
    """How far some images have come, and the look from there, None before the first one."""

    goal: Objective
    state: State
    look: _Look | None = None


def _ways(run: Course, state: State) -> list[_Way]:
    """The images in groups that go together."""
    count = len(state.parameters)
    fresh = [(some, _NOTHING) for some in _groups(count, run.network.device)]
    found, first = [], 0
    for some, memory in state.memories or fresh:
        own = slice(first, first + some)
        mine = replace(state, parameters=state.parameters[own], memories=((some, memory),))
        found.append(_Way(run.objective.part(own), mine))
        first += some
    return found


def _groups(count: int, device: torch.device) -> list[int]:
    """How many images go together: as many groups for one core as for another."""
    cores = _cores(device)
    rounds = math.ceil(count / cores / _AT_ONCE.get(device.type, 64))
    groups = min(count, cores * rounds)
    return [count // groups + (place < count % groups) for place in range(groups)]


def _cores(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def _all_to(run: Course, ways: list[_Way], step: int) -> list[_Way]:
    """All groups, when they look from this step."""
    if min(_cores(run.network.device), len(ways)) == 1:
        return [_to(run, step, way) for way in ways]
    while True:
        soon = min(step, ways[0].state.step + _STRETCH)
        ways = _by_cores(partial(_to, run, soon), ways)
        if soon == step:
            return ways


def _by_cores(go: Callable[[_Way], _Way], ways: list[_Way]) -> list[_Way]:
    threads = torch.get_num_threads()
    return [there for _, there in workers.in_order(lambda: go, ways, threads=threads)]


def _to(run: Course, step: int, way: _Way) -> _Way:
    """One group, when it looks from this step."""
    state, look = way.state, way.look
    look = look or _evaluate(run, way.goal, state, None)
    while state.step < step:
        state = _moved(run, state, look)
        look = _evaluate(run, way.goal, state, look)
    return _Way(way.goal, state, look)


def _evaluate(run: Course, goal: Objective, state: State, before: _Look | None) -> _Look:
    """The values and the gradient of a group of images. The last look, which is on the images as
    they are, only needs the way back where there was no look before."""
    random = torch.Generator()
    random.set_state(state.random)
    moment = Moment(state.step, run.steps, random, run.mean)
    clean = state.step >= run.steps
    slope = before.slope if clean and before else None
    look = _look(run, goal, state.parameters, moment, clean=clean, slope=slope)
    if not math.isfinite(float((look.slope + look.total).sum())):
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
        total = score = _weighted(terms)
        penalties = _penalties(run, images, moment)
        if penalties:
            terms |= penalties
            total = _weighted(terms)
        gradient = parameters.new_empty(0)
        if slope is None:
            (gradient,) = torch.autograd.grad(total.sum(), moving)
            slope = mean_size(gradient)
    chances = _probability(goal, activations)
    values = {name: term.value.detach() for name, term in terms.items()}
    return _Look(gradient, slope, total.detach(), score.detach(), values, chances, moment)


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
    parts = [
        term.value if term.weight == 1 else term.weight * term.value for term in terms.values()
    ]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _probability(goal: Objective, activations: Mapping[str, Tensor]) -> Tensor | None:
    if goal.classes is None:
        return None
    chances = activations[SCORES].detach().softmax(1)
    wanted = torch.tensor(goal.classes, device=chances.device).expand(len(chances))
    return chances.gather(1, wanted[:, None])[:, 0]


def _moved(run: Course, state: State, look: _Look) -> State:
    with torch.no_grad():
        ((count, memory),) = state.memories
        slope = Slope(look.gradient, look.total, look.moment.share)
        moved, memory = run.recipe.step.step(state.parameters, slope, memory)
        for one in run.recipe.regularizers:
            if isinstance(one, Correction):
                moved = one(moved, look.gradient, look.moment)
        bounded = run.recipe.canvas.bounded(moved)
    random = look.moment.random.get_state()
    return State(bounded, ((count, memory),), state.step + 1, random, state.rule)


# All of them again


def _frame(run: Course, ways: Sequence[_Way]) -> Frame:
    looks = [way.look for way in ways if way.look is not None]
    state = _together([way.state for way in ways])
    chances = [one.probability for one in looks if one.probability is not None]
    return Frame(
        run.image(state.parameters),
        state.step,
        run.steps,
        {name: _joined([one.terms[name] for one in looks]).cpu() for name in looks[0].terms},
        _joined([one.score for one in looks]).cpu(),
        _joined(chances).cpu() if chances else None,
        _joined([one.slope for one in looks]).cpu(),
        run.box,
        run.settings,
        state,
    )


def _together(states: Sequence[State]) -> State:
    memories = tuple(memory for state in states for memory in state.memories)
    parameters = _joined([state.parameters for state in states])
    return replace(states[0], parameters=parameters, memories=memories)


def _joined(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.cat(list(values))
