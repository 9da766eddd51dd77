"""Fooling a network: a change of the picture that nobody sees, and another answer.

Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow and Fergus, "Intriguing properties of neural
networks", 2013: `smallest`. Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial
examples", 2014: `fgsm`, `sign_line`, `adversarial`. Many small steps: `pgd`. What helps against it,
and what does not: `try_defences`, `harden`.

All of them keep their promise to the last bit: no pixel changes by more than eps or leaves [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from labsupport.core import training
from labsupport.core.errors import BadSetting
from labsupport.core.frames import last_of
from labsupport.core.images.perturbations import signed_step
from labsupport.core.images.sets import LabelledImages
from labsupport.core.network import Network
from labsupport.methods.fooling import (
    defences,
    digit_networks,
    signed_steps,
)
from labsupport.methods.fooling import minimal as minimal
from labsupport.methods.fooling.attacks import (
    Aim,
    Classes,
    Fooled,
    Outcome,
    ahead,
    aim,
    at_once,
    classes,
    in_parts,
    joined,
    scores_of,
    slope,
    told,
)
from labsupport.methods.fooling.defences import WAYS as DEFENCES
from labsupport.methods.fooling.digit_networks import RECIPES as DIGIT_NETWORKS
from labsupport.methods.fooling.digit_networks import Lesson

__all__ = ["DEFENCES", "DIGIT_NETWORKS", "TABLE", "Classes", "Fooled", "Lesson"]

TABLE = tuple(name for name, one in DIGIT_NETWORKS.items() if one.paper_error is not None)
_SHARE = 0.5  # of a batch is fooled in adversarial training: the paper's alpha
_LOOK = 25  # steps of a training between two measurements
_SLACK = 1e-4  # of a grey value: k / 255 has no exact binary form


# Goodfellow: one step, or many


def fgsm(
    network: Network,
    images: Tensor,
    target: Classes | None = None,
    *,
    eps: float = 8 / 255,
    label: Classes | None = None,
) -> Fooled:
    """The fast gradient sign method: every pixel by eps along the sign of its slope.

    Goodfellow et al. 2014: x + eps * sign(gradient of the loss). `images` are (N, 3, H, W) in
    [0, 1]. Without a `target` they leave their `label` (the network's own answer, unless it is
    given); with one, they go towards it. Both are one class, or a number for each image. `eps` is
    in units of pixel values: 8/255 is eight grey values.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.

    >>> from labsupport import networks
    >>> toy = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
    >>> _ = toy[1].weight.data.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))
    >>> plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "input_size": 1}
    >>> network = networks.wrap(toy, categories=["cat", "dog"], **plain)
    >>> found = fgsm(network, torch.full((1, 3, 1, 1), 0.5), "cat", eps=0.25)
    >>> found.images.flatten().tolist()
    [0.75, 0.25, 0.5]
    """
    asked = aim(network, images, label, target)
    signed_steps.pace(eps, None, 1, False, 0)

    def one_step(part: Aim) -> Outcome:
        direction, before = slope(network, part.images, part.wanted)
        changed = signed_step(part.images, part.towards * direction, eps)
        return changed, before, scores_of(network, changed)

    return in_parts(network, asked, one_step, eps)


@dataclass(frozen=True)
class Step:
    """Where many small steps stand, after `step` of `steps`."""

    step: int
    steps: int
    fooled: Fooled

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return self.step / self.steps


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
) -> Fooled:
    """Many small sign steps, each brought back to at most eps from the picture and into [0, 1].

    Kurakin et al. 2016; Madry et al. 2017 call it projected gradient descent. `step` is one step's
    size, eps / 10 unless it is given. The rest is as in `fgsm`, which this is with one step of
    size eps. `random_start` begins anywhere in the ball, the same place every time.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    asked = aim(network, images, label, target)
    how = signed_steps.pace(eps, step, steps, random_start, 0)

    def all_steps(part: Aim) -> Outcome:
        _, changed, before, after = last_of(signed_steps.climb(network, part, how))
        return changed, before, after

    return in_parts(network, asked, all_steps, eps, how.steps)


def pgd_frames(
    network: Network,
    images: Tensor,
    target: Classes | None = None,
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    steps: int = 40,
    random_start: bool = False,
    label: Classes | None = None,
) -> Iterator[Step]:
    """`pgd` as frames, the start first; the last one is what `pgd` gives."""
    asked = aim(network, images, label, target)
    how = signed_steps.pace(eps, step, steps, random_start, 0)
    return _frames(network, asked, how)


def _frames(network: Network, asked: Aim, how: signed_steps.Pace) -> Iterator[Step]:
    for place, changed, before, after in signed_steps.climb(network, asked, how):
        yield Step(place, how.steps, told(asked, changed, before, after, how.eps))


@dataclass(frozen=True)
class SignLine:
    """The scores along one direction: x + eps * sign(slope), for eps on both sides of zero.

    `eps` is (P,), `scores` (P, classes); `direction` (1, 3, H, W) holds the signs. `label` is the
    class to leave, `target` the one to reach or None. `rate` is the slope's own promise: by how
    much the log-odds of the wanted class change for each unit of eps, at eps 0.
    """

    eps: Tensor
    scores: Tensor
    direction: Tensor
    label: int
    target: int | None
    rate: float

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
    def promised(self) -> Tensor:
        """The wanted class's log-odds, (P,), if the network were linear."""
        return self.rate * self.eps + self.log_odds[self.eps.abs().argmin()]

    @property
    def log_odds(self) -> Tensor:
        """log P / (1 - P) of the wanted class, (P,): what it is ahead of all others."""
        wanted = self.label if self.target is None else self.target
        return ahead(self.scores, torch.full((len(self.scores),), wanted))


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
    asked = aim(network, image, label, target)
    found, _ = slope(network, asked.images, asked.wanted)
    direction = asked.towards * found.sign()
    eps = torch.linspace(-reach, reach, int(points))
    rows = []
    for few in torch.split(eps.to(network.device), at_once(network, image)):
        along = asked.images + few[:, None, None, None] * direction
        rows.append(scores_of(network, along.clamp(0, 1) if clip else along))
    rate = float((found * direction).sum())
    wanted = None if asked.target is None else int(asked.target)
    line = direction.cpu().contiguous()
    return SignLine(eps, torch.cat(rows).cpu(), line, int(asked.label), wanted, rate)


# Szegedy: as little as possible


@dataclass(frozen=True)
class Search:
    """A search for the smallest change on its way.

    `now` is the image that is tried at present, with the price `c` on its length; `best` the
    shortest change so far that fools, or None. `round` counts the values of c, 1 to `rounds`.
    """

    round: int
    rounds: int
    c: float
    now: Fooled
    best: Fooled | None

    @property
    def progress(self) -> float:
        """The share of the rounds that is done, 0 to 1."""
        return self.round / self.rounds


def smallest(
    network: Network,
    images: Tensor,
    target: Classes | None = None,
    *,
    label: Classes | None = None,
    rounds: int = 12,
    steps: int = 50,
) -> Fooled:
    """The smallest change that brings each image into its target, by box-constrained L-BFGS.

    Szegedy et al. 2013: minimize c ||r||² + loss(x + r, target) with x + r in [0, 1], and search
    for the largest c whose minimum still fools (at most `rounds` values of c, each with at most
    `steps` steps of L-BFGS-B, in double precision). Without a `target` it is the class that comes
    second. The result is the shortest change that was met; where nothing fools, `reached` says so.

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    asked = _asked_for(network, images, label, target)
    found = []
    for part in _one_by_one(asked):
        *_, last = _search(network, part, rounds, steps)
        found.append(last.now if last.best is None else last.best)
    return joined(found)


def smallest_frames(
    network: Network,
    image: Tensor,
    target: Classes | None = None,
    *,
    label: Classes | None = None,
    rounds: int = 12,
    steps: int = 50,
) -> Iterator[Search]:
    """`smallest` for one image (1, 3, H, W) as frames; the last one's `best` is its result."""
    network.check(image, one=True)
    return _search(network, _asked_for(network, image, label, target), rounds, steps)


def _asked_for(
    network: Network, images: Tensor, label: Classes | None, target: Classes | None
) -> Aim:
    asked = aim(network, images, label, target)
    if target is not None:
        return asked
    scores = scores_of(network, asked.images)
    mine = nn.functional.one_hot(asked.label, scores.shape[1]).bool()
    return replace(asked, target=scores.masked_fill(mine, -math.inf).argmax(1))


def _one_by_one(asked: Aim) -> Iterator[Aim]:
    for place in range(len(asked.images)):
        own = slice(place, place + 1)
        yield Aim(asked.images[own], asked.label[own], asked.wanted[own])


def _search(network: Network, asked: Aim, rounds: int, steps: int) -> Iterator[Search]:
    for name, value in (("rounds", rounds), ("steps", steps)):
        if not 1 <= value < math.inf or value != int(value):
            raise BadSetting(f"{name} is a whole number from 1 upwards, not {value}")
    before = scores_of(network, asked.images)
    if bool((before.argmax(1) == asked.wanted).all()):  # it is there already
        same = told(asked, asked.images, before, before, None)
        yield Search(rounds, rounds, math.inf, same, same)
        return
    best = None
    for done, tried in enumerate(minimal.search(network, asked, rounds, steps), start=1):
        now = told(asked, tried.image, before, tried.scores, None)
        if tried.fools and (best is None or float(now.length) < float(best.length)):
            best = now
        yield Search(done, rounds, tried.c, now, best)


# The same change, another network


def error(network: Network, images: Tensor, labels: Tensor) -> float:
    """The share of images (N, 3, H, W) whose first answer is not their label (N,), 0 to 1.

    Errors: `BadImage`, `BadSetting`.
    """
    network.check(images)
    wanted = classes(network, labels, len(images))
    return float((scores_of(network, images.detach()).argmax(1) != wanted).float().mean())


def noisy(images: Tensor, rms: float | Tensor, *, seed: int = 0) -> Tensor:
    """Images with Gaussian noise of a given size: the control for every change that was searched.

    `rms` is the noise's root of the mean square, one number or one for each image (N,). What
    leaves [0, 1] is clipped, so that on black and white a little less remains.

    Errors: `BadImage`, `BadSetting`.
    """
    from labsupport.core.images import check

    check(images)
    images = images.detach().cpu()
    size = torch.as_tensor(rms, dtype=images.dtype).detach().cpu()
    if size.shape not in ((), (len(images),)) or not bool((size >= 0).all()):
        raise BadSetting("rms is a number from 0 upwards, or one for each image")
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape[1:], generator=random)  # one image's does not hang on others
    return (images + size.view(-1, 1, 1, 1) * noise / noise.square().mean().sqrt()).clamp(0, 1)


def transfer(fooled: Mapping[str, Fooled], judges: Mapping[str, Network], labels: Tensor) -> Tensor:
    """Do images that fool one network fool another? Errors (rows of images, columns of judges).

    Szegedy et al. 2013, table 2. `fooled` holds what was made for each network, `labels` (N,) the
    right answers.

    Errors: `BadImage`, `BadSetting`.
    """
    rows = [
        [error(judge, one.images, labels) for judge in judges.values()] for one in fooled.values()
    ]
    return torch.tensor(rows)


# Digits: networks that learn in seconds


def lessons(
    name: str, examples: LabelledImages, *, epochs: float = 10, seed: int = 0
) -> Iterator[Lesson]:
    """One of `DIGIT_NETWORKS` while it learns from images (N, 3, 28, 28); a frame each step.

    The same seed gives the same network. `taught` makes a `Network` of the last frame.

    Errors: `BadSetting` with the nearest names.
    """
    digit_networks.recipe(name)
    return digit_networks.lessons(name, examples, epochs, seed)


def taught(lesson: Lesson, categories: Sequence[str]) -> Network:
    """A digit network as it is after this lesson, for all methods that take a network."""
    return digit_networks.as_network(lesson.name, lesson.module, categories)


@dataclass(frozen=True)
class Struck:
    """How often a network errs: on images as they are, and on the same with one sign step.

    `confidence` is its mean probability for the wrong answers after the step, 0 if there are none.
    """

    error: float
    fooled_error: float
    confidence: float


def strike(network: Network, images: Tensor, labels: Tensor, *, eps: float = 0.25) -> Struck:
    """Errors before and after FGSM with the right labels (Goodfellow et al. 2014, section 4).

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    found = fgsm(network, images, eps=eps, label=labels)
    wrong = found.reached
    surest = found.after.softmax(1).amax(1)
    confidence = float(surest[wrong].mean()) if bool(wrong.any()) else 0.0
    clean = float((found.before.argmax(1) != found.label).float().mean())
    return Struck(clean, float(wrong.float().mean()), confidence)


def adversarial(eps: float = 0.25, share: float = _SHARE) -> training.Change:
    """Adversarial training, as a change for `training.train`: a share of each batch is fooled.

    Goodfellow et al. 2014, section 6: in every step the images are changed by `fgsm` for the
    network as it is now. It is for modules that take images in [0, 1] as they are.

    Errors: `BadSetting`.
    """
    if not eps >= 0 or not 0 <= share <= 1:
        raise BadSetting(f"eps is 0 or more and share between 0 and 1, not {eps} and {share}")
    return _Adversarial(eps, share)


@dataclass(frozen=True)
class _Adversarial:
    eps: float
    share: float

    def __call__(self, batch: training.Batch) -> Tensor:
        with torch.enable_grad():
            images = batch.images.detach().requires_grad_(True)
            loss = nn.functional.cross_entropy(batch.module(images), batch.labels, reduction="sum")
            (found,) = torch.autograd.grad(loss, images)
        changed = signed_step(batch.images, found, self.eps)
        chosen = torch.rand(len(images), generator=batch.random) < self.share
        return torch.where(chosen.to(images.device)[:, None, None, None], changed, batch.images)


@dataclass(frozen=True)
class Hardening:
    """Two copies of one network, after `step` of `steps`: one learns plainly, one adversarially.

    `looks` holds what was measured so far, from step to (plain, hardened); `plain` and `hardened`
    are the two networks as they are now.
    """

    step: int
    steps: int
    looks: Mapping[int, tuple[Struck, Struck]]
    plain: Network
    hardened: Network

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return self.step / self.steps


def harden(
    name: str,
    examples: LabelledImages,
    test: LabelledImages,
    *,
    eps: float = 0.25,
    epochs: float = 5,
    share: float = _SHARE,
    seed: int = 0,
) -> Iterator[Hardening]:
    """Train one of `DIGIT_NETWORKS` twice from the same start, once with adversarial training.

    A frame comes every few steps, with the errors of both on the images of `test`.

    Errors: `BadSetting`.
    """
    found = digit_networks.recipe(name)
    if name.startswith("AE"):
        raise BadSetting(f"{name} learns in two parts; choose a network that learns in one")
    settings: dict[str, Any] = {"epochs": epochs, "learning_rate": found.rate, "seed": seed}
    start = digit_networks.fresh(name, seed)
    runs = [
        training.train(
            start, examples.images, examples.labels, decay=found.decay, change=change, **settings
        )
        for change in (None, adversarial(eps, share))
    ]
    return _look_at_both(name, zip(*runs, strict=True), test, eps)


def _look_at_both(
    name: str,
    frames: Iterator[tuple[training.Frame, ...]],
    test: LabelledImages,
    eps: float,
) -> Iterator[Hardening]:
    looks: dict[int, tuple[Struck, Struck]] = {}
    for plain, hard in frames:
        if plain.step != 1 and plain.step % _LOOK and plain.step != plain.steps:
            continue
        pair = [
            digit_networks.as_network(name, one.module, test.categories) for one in (plain, hard)
        ]
        first, second = (strike(one, test.images, test.labels, eps=eps) for one in pair)
        looks = {**looks, plain.step: (first, second)}
        yield Hardening(plain.step, plain.steps, looks, pair[0], pair[1])


# Files and defences


def for_file(network: Network, fooled: Fooled) -> Fooled:
    """The changed images as a PNG file holds them, in 256 steps, with what the network says then.

    Each pixel goes to the nearest step that is at most eps from the original. Where there is none
    (eps below half a grey value), it goes to the step nearest to the original.

    Errors: `BadImage` for a network that takes images of another size.
    """
    original, wanted = fooled.originals.double() * 255, fooled.images.double() * 255
    grey = 255 * (math.inf if fooled.eps is None else fooled.eps) + _SLACK
    low, high = (original - grey).ceil().clamp(0, 255), (original + grey).floor().clamp(0, 255)
    nearest = original.round()
    low, high = torch.where(low <= high, low, nearest), torch.where(low <= high, high, nearest)
    images = (wanted.round().clamp(low, high).float() / 255).clamp(0, 1)
    network.check(images)
    after = scores_of(network, network.send(images)).cpu()
    return replace(fooled, images=images, after=after)


def defend(images: Tensor, way: str, strength: float | None = None, *, seed: int = 0) -> Tensor:
    """Images (N, 3, H, W) after one of the `DEFENCES`: "8 bits", "jpeg", "blur" or "noise".

    `strength` is JPEG's quality, the blur's sigma in pixels, the noise's sigma in grey values.

    Errors: `BadImage`, `BadSetting`.
    """
    from labsupport.core.images import check

    check(images)
    found = defences.find(way)
    return found.act(images.detach().cpu(), defences.strength_of(way, strength), seed)


@dataclass(frozen=True)
class Trial:
    """What a defence does: the share of right answers on clean images (the control) and on fooled
    ones, and the share that still reach what the attack wanted."""

    clean_right: float
    fooled_right: float
    still_reached: float
    clean: Tensor
    fooled: Tensor


def try_defence(
    network: Network, fooled: Fooled, way: str | None, strength: float | None = None
) -> Trial:
    """One defence against images that fool, and the same done to the clean ones as a control.

    `way` None does nothing, for comparison. The scores are in `clean` and `fooled`, (N, classes).

    Errors: `BadSetting`; `BadImage` for a network that takes images of another size.
    """
    pair = (fooled.originals, fooled.images)
    for part in pair:
        network.check(part)
    treated = [part if way is None else defend(part, way, strength) for part in pair]
    clean, after = (scores_of(network, network.send(part)).cpu() for part in treated)
    reached = replace(fooled, after=after).reached
    shares = [float((scores.argmax(1) == fooled.label).float().mean()) for scores in (clean, after)]
    return Trial(shares[0], shares[1], float(reached.float().mean()), clean, after)
