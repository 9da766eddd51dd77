"""How straight a network's scores are along the direction of the fast gradient sign method."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.methods.fooling.results import (
    Classes,
    at_once,
    gradient_of,
    log_odds,
    scores_of,
    targets_of,
)


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
    target: Classes | None = None,
    *,
    reach: float = 32 / 255,
    points: int = 65,
    clip: bool = False,
    label: Classes | None = None,
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
    targets = targets_of(network, image, label, target)
    gradient, _ = gradient_of(network, targets.images, targets.wanted)
    direction = targets.sign * gradient.sign()
    eps = torch.linspace(-reach, reach, int(points))
    scores = []
    for few in torch.split(eps.to(network.device), at_once(network, image)):
        along = targets.images + few[:, None, None, None] * direction
        scores.append(scores_of(network, along.clamp(0, 1) if clip else along))
    return SignLine(
        eps,
        torch.cat(scores).cpu(),
        direction.cpu().contiguous(),
        int(targets.label),
        None if targets.target is None else int(targets.target),
        derivative=float((gradient * direction).sum()),
    )
