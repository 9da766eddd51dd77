"""Attacks along the signs of the gradient, in one step or many, and the scores along that line."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core import workers
from labsupport.core.errors import BadSetting
from labsupport.core.frames import Shortcut, Stepwise, framed, last_of
from labsupport.core.images.perturbations import perturbed, signed_step
from labsupport.core.network import Network
from labsupport.methods.fooling import results
from labsupport.methods.fooling.results import AttackResult, Classes, Targets
from labsupport.methods.optimize.objectives import log_odds

# The changed images of a part, and the network's scores before and after, where it computes.
Outcome = tuple[Tensor, Tensor, Tensor]


def fgsm(
    network: Network,
    images: Tensor,
    target: Classes | None = None,
    *,
    eps: float = 8 / 255,
    label: Classes | None = None,
) -> AttackResult:
    """The fast gradient sign method: every pixel by eps along the sign of its gradient.

    Goodfellow et al. 2014: x + eps * sign(gradient of the loss). `images` are (N, 3, H, W) in
    [0, 1]. Without a `target` they leave their `label` (the network's own answer, unless it is
    given); with one, they go towards it. Both are one class, or a number for each image. `eps` is
    in units of pixel values: 8/255 is eight grey values.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> toy = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
    >>> _ = toy[1].weight.data.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))
    >>> plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "input_size": 1}
    >>> network = networks.wrap(toy, categories=["cat", "dog"], **plain)
    >>> result = fgsm(network, torch.full((1, 3, 1, 1), 0.5), "cat", eps=0.25)
    >>> result.images.flatten().tolist()
    [0.75, 0.25, 0.5]
    """
    targets = results.targets_of(network, images, label, target)
    _checked_steps(eps, None, 1)

    def one_step(part: Targets) -> Outcome:
        gradient, before = results.gradient_of(network, part.images, part.wanted)
        changed = signed_step(part.images, part.sign * gradient, eps)
        return changed, before, results.scores_of(network, changed)

    return _in_parts(network, targets, one_step, eps)


@dataclass(frozen=True)
class AttackFrame(Stepwise):
    """Where many small steps stand, after `step` of `steps`."""

    step: int
    steps: int
    result: AttackResult


def _result(frames: Iterator[AttackFrame]) -> AttackResult:
    return last_of(frames).result


@framed(result=_result)
def pgd(
    network: Network,
    images: Tensor,
    target: Classes | None = None,
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    steps: int = 40,
    random_start: bool = False,
    label: Classes | None = None,
) -> Iterator[AttackFrame]:
    """Many small sign steps, each brought back to at most eps from the picture and into [0, 1].

    Kurakin et al. 2016; Madry et al. 2017 call it projected gradient descent. `step` is one step's
    size, eps / 10 unless it is given. The rest is as in `fgsm`, which this is with one step of
    size eps. `random_start` begins anywhere in the ball, the same place every time. The call gives
    an `AttackResult`; `.frames` give one after each step, the start first.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    targets = results.targets_of(network, images, label, target)
    size = _checked_steps(eps, step, steps)

    def walk(part: Targets) -> Iterator[tuple[int, Outcome]]:
        return _walk(network, part, Ball.around(part.images, eps), size, int(steps), random_start)

    def frames() -> Generator[AttackFrame]:
        for number, outcome in walk(targets):
            yield AttackFrame(number, int(steps), targets.result(*outcome, eps))

    def whole() -> AttackFrame:
        result = _in_parts(network, targets, lambda part: last_of(walk(part))[1], eps, int(steps))
        return AttackFrame(int(steps), int(steps), result)

    return Shortcut(frames(), whole)


def _checked_steps(eps: float, step: float | None, steps: int) -> float:
    """A step's size: a tenth of the ball, and at least its size / steps, unless it is given."""
    if not eps >= 0 or not math.isfinite(eps):
        raise BadSetting(f"eps is the largest change of a pixel, such as 8/255, not {eps}")
    if not 1 <= steps < math.inf or steps != int(steps):
        raise BadSetting(f"steps is a whole number from 1 upwards, not {steps}")
    size = max(eps / 10, eps / steps) if step is None else step
    if not size >= 0 or not math.isfinite(size):
        raise BadSetting(f"step is how far a pixel moves at a time, such as 2/255, not {size}")
    return size


@dataclass(frozen=True)
class Ball:
    """All pictures that differ by at most `eps` a pixel and lie in [0, 1]: from `low` to `high`.

    Both ends keep that promise to the last bit, so whatever lies between them does.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, images: Tensor, eps: float) -> Ball:
        one = torch.ones((), device=images.device)
        return cls(perturbed(images, -one, eps), perturbed(images, one, eps))

    def random(self, seed: int) -> Tensor:
        """A picture drawn evenly from the ball; image n of a batch does not depend on the rest."""
        random = torch.Generator().manual_seed(seed)
        share = torch.rand(self.low.shape[1:], generator=random).to(self.low)
        return (self.low + share * (self.high - self.low)).clamp(self.low, self.high)


def _walk(
    network: Network, targets: Targets, ball: Ball, size: float, steps: int, random_start: bool
) -> Iterator[tuple[int, Outcome]]:
    """After each step its number, and the images with the scores before all and now."""
    images = targets.images
    if random_start:
        images, before = ball.random(0), results.scores_of(network, images)
    for step in range(steps):
        gradient, scores = results.gradient_of(network, images, targets.wanted)
        if not step and not random_start:
            before = scores
        yield step, (images, before, scores)
        change = targets.sign * size * gradient.sign()
        images = torch.clamp(images + change, ball.low, ball.high)
    yield steps, (images, before, results.scores_of(network, images))


# A few images at a time


def _in_parts(
    network: Network,
    targets: Targets,
    attack: Callable[[Targets], Outcome],
    eps: float,
    steps: int = 1,
) -> AttackResult:
    """An attack of so many steps, on a few images at a time."""
    size, cores = _share(network, targets.images, steps)
    images = torch.empty(targets.images.shape)  # each part is copied once, into its place
    scores = []
    outcomes = workers.in_order(lambda: attack, targets.split(size), threads=cores)
    for place, (_, (changed, before, after)) in enumerate(outcomes):
        images[place * size :][: len(changed)] = changed.detach()
        scores.append((before.cpu(), after.cpu()))
    before, after = (torch.cat(several) for several in zip(*scores, strict=True))
    return targets.result(images, before, after, eps)


def _share(network: Network, images: Tensor, steps: int) -> tuple[int, int]:
    """How many images make a part, and how many threads take parts at a time.

    On a CPU many steps are for a thread on each core, with half as many images in a pass: such a
    thread keeps little memory, and fresh blocks are dear. One step is for all cores together: the
    calling thread keeps what it needs.
    """
    room = results.at_once(network, images)
    if network.device.type != "cpu" or steps == 1:
        return room, 1
    cores = torch.get_num_threads()
    return max(1, min(room // 2, math.ceil(len(images) / cores))), cores


# How straight the scores are along the signs of the gradient


@dataclass(frozen=True)
class SignLine:
    """The scores along one direction: x + eps * sign(gradient), for eps on both sides of zero.

    `eps` is (P,), `scores` (P, classes); `direction` (1, 3, H, W) holds the signs. `label` is the
    class to leave, `target` the one to reach or None. `derivative`
    is by how much the log-odds of the wanted class change for each unit of eps, at eps 0.
    """

    eps: Tensor
    scores: Tensor
    direction: Tensor
    label: int
    target: int | None
    derivative: float

    def r_squared(self, within: float = math.inf) -> Tensor:
        """How straight each class's scores are for |eps| up to `within`: R² of a line, (classes,).

        1 is a straight line; a class whose score does not move at all counts as one.
        """
        near = self.eps.abs() <= within * (1 + 1e-6)
        if int(near.sum()) < 3:
            raise BadSetting(f"fewer than three points lie within {within}: ask for more points")
        x, y = self.eps[near].double(), self.scores[near].double()
        x, y = x - x.mean(), y - y.mean(0)
        explained = (x @ y).square() / x.square().sum()
        return torch.where(y.square().sum(0) > 0, explained / y.square().sum(0), 1.0).float()

    @property
    def linearized(self) -> Tensor:
        """The wanted class's log-odds, (P,), if the network were linear."""
        return self.derivative * self.eps + self.log_odds[self.eps.abs().argmin()]

    @property
    def log_odds(self) -> Tensor:
        """log P / (1 - P) of the wanted class, (P,): what it is ahead of all others."""
        wanted = self.label if self.target is None else self.target
        return log_odds(self.scores, torch.full((len(self.scores),), wanted))


def sign_line(
    network: Network,
    image: Tensor,
    target: results.Classes | None = None,
    *,
    reach: float = 32 / 255,
    points: int = 65,
    clip: bool = False,
    label: results.Classes | None = None,
) -> SignLine:
    """All scores along the fast gradient sign direction, for eps from -reach to reach.

    Goodfellow et al. 2014, figure 4. `image` is (1, 3, H, W); the direction points away from its
    `label`, or towards a `target`. Without `clip` pixels may leave [0, 1], as in the paper: only
    then it is a straight line through the space of pictures.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    network.check(image, one=True)
    if not 0 < reach < math.inf or not 3 <= points < math.inf or points != int(points):
        raise BadSetting(f"reach is above 0 and points at least 3, not {reach} and {points}")
    targets = results.targets_of(network, image, label, target)
    gradient, _ = results.gradient_of(network, targets.images, targets.wanted)
    direction = targets.sign * gradient.sign()
    eps = torch.linspace(-reach, reach, int(points))
    scores = []
    for few in torch.split(eps.to(network.device), results.at_once(network, image)):
        along = targets.images + few[:, None, None, None] * direction
        scores.append(results.scores_of(network, along.clamp(0, 1) if clip else along))
    return SignLine(
        eps,
        torch.cat(scores).cpu(),
        direction.cpu().contiguous(),
        int(targets.label),
        None if targets.target is None else int(targets.target),
        derivative=float((gradient * direction).sum()),
    )
