"""What every way to fool a network needs: which class to leave or reach, its slope, the result."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core import workers
from labsupport.core.errors import BadSetting
from labsupport.core.network import Network

Classes = str | int | Sequence[int] | Tensor
_AT_ONCE = {"cpu": 8 * 3 * 224 * 224}  # numbers in one pass: eight photographs, 512 digits
_ELSEWHERE = 128 * 3 * 224 * 224


@dataclass(frozen=True)
class Fooled:
    """Images before and after they were changed, and what the network says to both.

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
    def reached(self) -> Tensor:
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
        found: Tensor = torch.linalg.vector_norm(self.perturbation.flatten(1), dim=1)
        return found

    @property
    def rms(self) -> Tensor:
        """Szegedy's distortion: the root of the mean squared change, (N,)."""
        return self.length / math.sqrt(self.images[0].numel())

    def one(self, place: int) -> Fooled:
        """One of the images alone, as a batch of one."""
        own = slice(place, place + 1) if place >= 0 else slice(place, place + 1 or None)
        return Fooled(
            self.originals[own],
            self.images[own],
            self.before[own],
            self.after[own],
            self.label[own],
            None if self.target is None else self.target[own],
            self.eps,
        )


@dataclass(frozen=True)
class Aim:
    """What a batch is to become, all on the network's device."""

    images: Tensor
    label: Tensor
    target: Tensor | None

    @property
    def wanted(self) -> Tensor:
        """The class that the slope is about: the one to reach, else the one to leave."""
        return self.label if self.target is None else self.target

    @property
    def towards(self) -> float:
        """1 where the wanted class's score is to rise, -1 where it is to fall."""
        return -1.0 if self.target is None else 1.0


def aim(network: Network, images: Tensor, label: Classes | None, target: Classes | None) -> Aim:
    """The checked question. Without a label it is what the network says itself."""
    network.check(images)
    if len(network.categories) < 2:
        raise BadSetting(f"{network.name} knows one class only: there is no other to go to")
    images = network.send(images.detach())
    if label is None:
        own = scores_of(network, images).argmax(1)
    else:
        own = classes(network, label, len(images))
    wanted = None if target is None else classes(network, target, len(images))
    return Aim(images, own, wanted)


def classes(network: Network, given: Classes, count: int) -> Tensor:
    """A class for each of `count` images, (N,), on the network's device.

    Errors: `UnknownClass`; `BadSetting` unless there is one class, or one for each image.
    """
    if isinstance(given, str | int):
        found = torch.full((count,), network.class_index(given))
        return found.to(network.device)
    try:
        found = torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError, RuntimeError):  # words, nothing, rows of several lengths
        raise BadSetting(
            f"{reprlib.repr(given)} is no class: give one by its name or number, or a whole number "
            f"for each of the {count} images (answers are fooled, not the units of a layer)"
        ) from None
    whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if found.shape != (count,) or not whole:
        raise BadSetting(
            f"give one class, or a whole number for each of the {count} images, "
            f"not {tuple(found.shape)} of {found.dtype}"
        )
    for index in set(found.tolist()):
        network.class_index(index)
    return found.long().to(network.device)


def scores_of(network: Network, images: Tensor) -> Tensor:
    """Scores without a gradient, a few images at a time, on the network's device."""
    with torch.no_grad():
        parts = torch.split(images, at_once(network, images))
        return torch.cat([network.scores(part) for part in parts])


def slope(network: Network, images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of how far each image's wanted class is ahead, and all scores.

    Ahead is the score less the logarithm of the sum of the others' exponentials. That gradient
    is the cross-entropy's, divided by -(1 - P): the same direction, but it does not vanish where
    the network is so sure that P rounds to 1.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        scores = network.scores(images)
        (found,) = torch.autograd.grad(ahead(scores, wanted).sum(), images)
    return found, scores.detach()


def ahead(scores: Tensor, wanted: Tensor) -> Tensor:
    """log P / (1 - P) of the wanted classes (N,), without ever rounding P."""
    mine = torch.nn.functional.one_hot(wanted, scores.shape[1]).bool()
    others = scores.masked_fill(mine, -math.inf)
    return scores.gather(1, wanted[:, None])[:, 0] - others.logsumexp(1)


def at_once(network: Network, images: Tensor) -> int:
    """How many images go through in one pass."""
    room = _AT_ONCE.get(network.device.type, _ELSEWHERE)
    return max(1, room // images[0].numel())


# The changed images of a part, and the network's scores before and after, where it computes.
Outcome = tuple[Tensor, Tensor, Tensor]


def in_parts(
    network: Network, asked: Aim, work: Callable[[Aim], Outcome], eps: float, steps: int = 1
) -> Fooled:
    """The work, which takes so many steps, on a few images at a time."""
    size, cores = _share(network, asked.images, steps)
    parts = list(_parts(asked, size))
    images = torch.empty(asked.images.shape)  # each part is copied once, into its place
    scores = []
    outcomes = workers.in_order(lambda: work, parts, threads=cores)
    for place, (_, (changed, before, after)) in enumerate(outcomes):
        images[place * size :][: len(changed)] = changed.detach()
        scores.append((before.cpu(), after.cpu()))
    before, after = (torch.cat(several) for several in zip(*scores, strict=True))
    return told(asked, images, before, after, eps)


def _share(network: Network, images: Tensor, steps: int) -> tuple[int, int]:
    """How many images make a part, and how many threads take parts at a time.

    On a CPU many steps are for a thread on each core, with half as many images in a pass: such a
    thread keeps little memory, and fresh blocks are dear. One step is for all cores together: the
    calling thread keeps what it needs.
    """
    room = at_once(network, images)
    if network.device.type != "cpu" or steps == 1:
        return room, 1
    cores = torch.get_num_threads()
    return max(1, min(room // 2, math.ceil(len(images) / cores))), cores


def _parts(asked: Aim, size: int) -> Iterator[Aim]:
    for start in range(0, len(asked.images), size):
        own = slice(start, start + size)
        target = None if asked.target is None else asked.target[own]
        yield Aim(asked.images[own], asked.label[own], target)


def joined(parts: Sequence[Fooled]) -> Fooled:
    """Several results as one."""
    if len(parts) == 1:
        return parts[0]
    targets = [one.target for one in parts if one.target is not None]
    return Fooled(
        torch.cat([one.originals for one in parts]),
        torch.cat([one.images for one in parts]),
        torch.cat([one.before for one in parts]),
        torch.cat([one.after for one in parts]),
        torch.cat([one.label for one in parts]),
        torch.cat(targets) if targets else None,
        parts[0].eps,
    )


def told(asked: Aim, images: Tensor, before: Tensor, after: Tensor, eps: float | None) -> Fooled:
    """The result on the CPU, in the usual order of numbers in memory."""
    target = None if asked.target is None else asked.target.cpu()
    originals, images = (part.detach().cpu().contiguous() for part in (asked.images, images))
    return Fooled(
        originals, images, before.cpu(), after.cpu(), asked.label.cpu(), target, eps
    )  # fmt: skip
