"""What every attack on a network needs: which class to leave or reach, its gradient, the result."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network, gradients
from labsupport.methods.optimize.objectives import log_odds

Classes = str | int | Sequence[int] | Tensor
_AT_ONCE = {"cpu": 8 * 3 * 224 * 224}  # numbers in one pass: eight photographs, 512 digits
_ELSEWHERE = 128 * 3 * 224 * 224


@dataclass(frozen=True)
class AttackResult:
    """Images before and after an attack, and what the network says to both.

    `originals` and `images` are (N, 3, H, W) in [0, 1]; `before` and `after` hold the scores
    (N, classes). `label` (N,) is the class to leave, `target` (N,) the class to reach, or None
    where any other will do. `eps` is the largest change of a pixel that was allowed, or None.
    """

    originals: Tensor
    images: Tensor
    before: Tensor
    after: Tensor
    label: Tensor
    target: Tensor | None
    eps: float | None = None

    @property
    def perturbation(self) -> Tensor:
        """What was really added, (N, 3, H, W)."""
        return self.images - self.originals

    @property
    def success(self) -> Tensor:
        """Whether each image is now taken for its target, or just for another class, (N,)."""
        now = self.after.argmax(1)
        return now != self.label if self.target is None else now == self.target

    @property
    def largest(self) -> Tensor:
        """The largest change of a pixel value, (N,)."""
        return self.perturbation.abs().flatten(1).amax(1)

    @property
    def length(self) -> Tensor:
        """The change's length ||r||, the square root of its sum of squares, (N,)."""
        lengths: Tensor = torch.linalg.vector_norm(self.perturbation.flatten(1), dim=1)
        return lengths

    @property
    def rms(self) -> Tensor:
        """Szegedy's distortion: the root of the mean squared change, (N,)."""
        return self.length / math.sqrt(self.images[0].numel())


def concatenate(parts: Sequence[AttackResult]) -> AttackResult:
    """Several results of one attack as one.

    Errors: `BadSetting` where there are none.
    """
    if not parts:
        raise BadSetting("there are no results to make one of: give one at least")
    joint = {
        name: torch.cat([getattr(one, name) for one in parts])
        for name in ("originals", "images", "before", "after", "label")
    }
    targets = [one.target for one in parts if one.target is not None]
    return AttackResult(**joint, target=torch.cat(targets) if targets else None, eps=parts[0].eps)


@dataclass(frozen=True)
class Targets:
    """Images, and the classes that they are to leave or reach, all on the network's device."""

    images: Tensor
    label: Tensor
    target: Tensor | None

    @property
    def wanted(self) -> Tensor:
        """The class that the gradient is about: the one to reach, else the one to leave."""
        return self.label if self.target is None else self.target

    @property
    def sign(self) -> float:
        """1 where the wanted class's score is to rise, -1 where it is to fall."""
        return -1.0 if self.target is None else 1.0

    def split(self, size: int) -> list[Targets]:
        """The same in parts of so many images."""
        images, label = torch.split(self.images, size), torch.split(self.label, size)
        whole = self.target
        target = [None] * len(images) if whole is None else list(torch.split(whole, size))
        return list(map(Targets, images, label, target))

    def result(
        self, images: Tensor, before: Tensor, after: Tensor, eps: float | None = None
    ) -> AttackResult:
        """The result on the CPU, in the usual order of numbers in memory."""
        target = None if self.target is None else self.target.cpu()
        originals, images = (part.detach().cpu().contiguous() for part in (self.images, images))
        return AttackResult(
            originals, images, before.cpu(), after.cpu(), self.label.cpu(), target, eps
        )


def targets_of(
    network: Network, images: Tensor, label: Classes | None, target: Classes | None
) -> Targets:
    """The targets, checked. Without a label it is what the network says itself."""
    network.check(images)
    images = network.send(images.detach())
    if label is None:
        own = scores_of(network, images).argmax(1)
    else:
        own = classes_of(network, label, len(images))
    wanted = None if target is None else classes_of(network, target, len(images))
    return Targets(images, own, wanted)


def classes_of(network: Network, given: Classes, count: int) -> Tensor:
    """A class for each of `count` images, (N,), on the network's device.

    Errors: `UnknownClass`; `BadSetting` unless there is one class, or one for each image.
    """
    if isinstance(given, str | int):
        return torch.full((count,), network.class_index(given)).to(network.device)
    try:
        classes = torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError, RuntimeError):  # words, nothing, rows of several lengths
        raise BadSetting(
            f"{reprlib.repr(given)} is no class: give one by its name or number, or a whole number "
            f"for each of the {count} images (answers are fooled, not the units of a layer)"
        ) from None
    whole = not (classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool)
    if classes.shape != (count,) or not whole:
        raise BadSetting(
            f"give one class, or a whole number for each of the {count} images, "
            f"not {tuple(classes.shape)} of {classes.dtype}"
        )
    for index in set(classes.tolist()):
        network.class_index(index)
    return classes.long().to(network.device)


def scores_of(network: Network, images: Tensor) -> Tensor:
    """Scores without a gradient, a few images at a time, on the network's device."""
    with torch.no_grad():
        parts = torch.split(images, at_once(network, images))
        return torch.cat([network.scores(part) for part in parts])


def gradient_of(network: Network, images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of each image's wanted class's log-odds, and all scores.

    That gradient is the cross-entropy's, divided by -(1 - P): the same direction, but it does not
    vanish where the network is so sure that P rounds to 1.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        scores = network.scores(images)
        gradient = gradients.gradient_of(log_odds(scores, wanted).sum(), images)
    return gradient, scores.detach()


def at_once(network: Network, images: Tensor) -> int:
    """How many images go through in one pass."""
    room = _AT_ONCE.get(network.device.type, _ELSEWHERE)
    return max(1, room // images[0].numel())
