"""FGSM and PGD against foolbox and torchattacks, which are raced only where they are installed.

All get the frozen network channels-last, and images that lie so too: their best setting. Beside
them runs the least that any of them must compute: the bare passes, a group of images a core.

There are two sizes. Of four photos, one step is little more than one bare pass: the targets, which
name no size, are out of reach there. Of 32 pictures a peer makes one batch, which needs fresh
memory all the time, and ours are parts of it.

Neither is a dependency: torchattacks asks for a version of requests that JupyterLab refuses, and
the tests have a way of their own to the same numbers.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from contest import Contest, race
from torch import nn

from labsupport.core import images, workers
from labsupport.core import network as networks
from labsupport.core.network import Network, catalog
from labsupport.core.network.operations import Normalize
from labsupport.methods.fooling import fgsm, pgd

Attack = Callable[[], torch.Tensor]

_PICTURES = ("koala", "macaw", "kitten", "coffee")
_MANY = 32  # a usual batch
_EPS, _STEP, _STEPS = 4 / 255, 0.5 / 255, 40
_COMPARED = (0, 1, 5, 20)  # steps that a peer has taken before ours is compared with its next
_ALIKE = 0.995  # of the pixels: where a slope is nearly 0, its sign hangs on rounding
_AS_GOOD = 0.05  # of the loss: after 40 such signs the ways have parted, and end equally high
_BARE = "bare forward + backward, by cores"
_WANTED = {
    "FGSM": {"foolbox": 1.8, "torchattacks": 1.3, _BARE: 0.9},
    "PGD-40": {"foolbox": 1.3, "torchattacks": 1.1, _BARE: 0.9},
}


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    race(_contests(networks.load()))
    for words in _step_by_step(networks.load()):
        print(words, flush=True)


def _step_by_step(network: Network) -> Iterator[str]:
    """How alike one step is that begins at a peer's own picture.

    Whole ways part after some steps: where a slope is 0 but for rounding, its sign is a matter of
    chance, and the next step begins elsewhere.
    """
    seen, labels = _asked(network)
    low, high = (seen - _EPS).clamp(min=0), (seen + _EPS).clamp(max=1)
    for name in _there():
        for steps in _COMPARED:
            begun = _PEERS[name](seen, labels, steps)() if steps else seen
            theirs = _PEERS[name](seen, labels, steps + 1)()
            ours = fgsm(network, begun.contiguous(), eps=_STEP, label=labels).images
            alike = float(((ours.clamp(low, high) - theirs).abs() < 1e-6).float().mean())
            yield f"step {steps + 1} from the picture of {name}: {alike:.4%} of the numbers alike"


def _asked(network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """The photos (4, 3, 224, 224), and what the network calls them (4,)."""
    return _called(network, [images.sample(name) for name in _PICTURES])


def _called(
    network: Network, pictures: Iterable[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    seen = torch.cat([images.standard(picture) for picture in pictures])
    with torch.no_grad():
        return seen, network(seen).argmax(1).cpu()


def _there() -> list[str]:
    return [name for name in _PEERS if importlib.util.find_spec(name)]


def _contests(network: Network) -> Iterator[Contest]:
    few = _asked(network)
    many = _called(network, [thing.image for thing in images.cutouts()[:_MANY]])
    yield _contest(network, "FGSM, 4 photos", *few, steps=0, rounds=9)
    yield _contest(network, "PGD-40, 4 photos", *few, steps=_STEPS, rounds=3)
    yield _contest(network, f"FGSM, {_MANY} pictures", *many, steps=0, rounds=5)
    yield _contest(network, f"PGD-40, {_MANY} pictures", *many, steps=_STEPS, rounds=2)


def _contest(
    network: Network,
    task: str,
    seen: torch.Tensor,
    labels: torch.Tensor,
    *,
    steps: int,
    rounds: int,
) -> Contest:
    def ours() -> torch.Tensor:
        if not steps:
            return fgsm(network, seen, eps=_EPS, label=labels).images
        return pgd(network, seen, eps=_EPS, step=_STEP, steps=steps, label=labels).images

    peers: dict[str, Callable[[], object]] = {
        name: _PEERS[name](seen, labels, steps) for name in _there()
    }
    peers[_BARE] = _bare(seen, labels, steps)
    return Contest(
        f"squeezenet1_1, {task}",
        ours,
        peers,
        _WANTED["PGD-40" if steps else "FGSM"],
        rounds=rounds,
        equal=partial(_as_high, network, labels) if steps else _same,
    )


def _module() -> nn.Module:
    """The bare torchvision module behind its normalization, frozen and channels-last."""
    recipe = catalog.recipe("squeezenet1_1")
    state, source = catalog.state(recipe, "auto")
    bare = catalog.build(recipe, state, source)
    whole = nn.Sequential(Normalize(recipe.mean, recipe.std), bare).eval().requires_grad_(False)
    return whole.to(memory_format=torch.channels_last)


def _torchattacks(seen: torch.Tensor, labels: torch.Tensor, steps: int) -> Attack:
    """Its PGD with so many steps; with none, its FGSM."""
    peer: Any = importlib.import_module("torchattacks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attack = (
            peer.FGSM(_module(), eps=_EPS)
            if not steps
            else peer.PGD(_module(), eps=_EPS, alpha=_STEP, steps=steps, random_start=False)
        )
    return partial(attack, _as_it_likes(seen), labels)


def _foolbox(seen: torch.Tensor, labels: torch.Tensor, steps: int) -> Attack:
    """Its PGD with so many steps; with none, its FGSM."""
    peer: Any = importlib.import_module("foolbox")
    model = peer.PyTorchModel(_module(), bounds=(0, 1), device="cpu")
    attack = (
        peer.attacks.LinfFastGradientAttack(random_start=False)
        if not steps
        else peer.attacks.LinfPGD(abs_stepsize=_STEP, steps=steps, random_start=False)
    )

    def call() -> torch.Tensor:
        raw: torch.Tensor
        raw, *_ = attack(model, _as_it_likes(seen), labels, epsilons=_EPS)
        return raw

    return call


def _bare(seen: torch.Tensor, labels: torch.Tensor, steps: int) -> Attack:
    module = _module()
    steps, step = (steps, _STEP) if steps else (1, _EPS)

    def climb(part: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        start, wanted = part
        moving, low, high = start, (start - _EPS).clamp(min=0), (start + _EPS).clamp(max=1)
        for _ in range(steps):
            moving = moving.detach().requires_grad_(True)
            loss = nn.functional.cross_entropy(module(moving), wanted, reduction="sum")
            (slope,) = torch.autograd.grad(loss, moving)
            moving = torch.clamp(moving.detach() + step * slope.sign(), low, high)
        return moving

    def call() -> torch.Tensor:
        cores = torch.get_num_threads()
        pictures = _as_it_likes(seen).tensor_split(cores)
        parts = list(zip(pictures, labels.tensor_split(cores), strict=True))
        return torch.cat([one for _, one in workers.in_order(lambda: climb, parts, threads=cores)])

    return call


_PEERS = {"foolbox": _foolbox, "torchattacks": _torchattacks}


def _as_it_likes(seen: torch.Tensor) -> torch.Tensor:
    return seen.contiguous(memory_format=torch.channels_last)


def _same(ours: object, theirs: object) -> bool:
    if not isinstance(ours, torch.Tensor) or not isinstance(theirs, torch.Tensor):
        return False
    alike = ((ours - theirs).abs() < 1e-6).float().mean()
    return bool(alike >= (_ALIKE if ours.shape == theirs.shape else 2))


def _as_high(network: Network, labels: torch.Tensor, ours: object, theirs: object) -> bool:
    """Whether both raised the loss equally far, without leaving the ball."""
    if not isinstance(ours, torch.Tensor) or not isinstance(theirs, torch.Tensor):
        return False
    with torch.no_grad():
        one, other = (
            nn.functional.cross_entropy(network(images).cpu(), labels) for images in (ours, theirs)
        )
    near = float((ours - theirs).abs().max()) <= 2 * _EPS + 1e-6
    return near and abs(float(one / other) - 1) <= _AS_GOOD
