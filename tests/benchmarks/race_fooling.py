"""FGSM and PGD against foolbox and torchattacks, which are raced only where they are installed.

All get the frozen network channels-last, and images that lie so too: their best setting. Ours ask
the network once more, about the finished pictures; the peers leave that to their caller. Beside
them runs the least that a finished result costs: the bare passes and that last question, a group of
images a core.

There are two sizes. Of four photos, one step is little more than one bare pass, and less is asked
there. Of 32 pictures a peer makes one batch, which needs fresh memory all the time, and ours are
parts of it.

Neither is a dependency: torchattacks asks for a version of requests that JupyterLab refuses.
"""

import importlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from contest import Contest, Peer, race
from peers import at_first_call, normalizing_module
from torch import Tensor, nn

from labsupport.core import device, images, workers
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.methods.fooling import fgsm, pgd

Attack = Callable[[], Tensor]

_PICTURES = ("koala", "macaw", "kitten", "coffee")
_MANY = 32  # a usual batch
_EPS, _STEP, _STEPS = 4 / 255, 0.5 / 255, 40
_ALIKE = 0.995  # of the pixels: where a gradient is nearly 0, its sign hangs on rounding
_AS_GOOD = 0.05  # of the loss: after 40 such signs the ways have parted, and end equally high
_WANTED = {  # of FGSM and of PGD
    "foolbox": (1.8, 1.3),
    "torchattacks": (1.3, 1.1),
    "bare passes, by cores": (0.9, 0.9),
}
_WANTED_OF_FEW = _WANTED | {"foolbox": (1.2, 1.1), "torchattacks": (0.9, 1.0)}


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    race(_contests(networks.load()))


def _labeled(network: Network, pictures: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The pictures (N, 3, 224, 224), and what the network calls them (N,)."""
    seen = torch.cat([images.standard(picture) for picture in pictures])
    with torch.no_grad():
        return seen, network(seen).argmax(1).cpu()


def _contests(network: Network) -> Iterator[Contest]:
    few = _labeled(network, map(images.sample, _PICTURES))
    many = _labeled(network, [thing.image for thing in images.cutouts()[:_MANY]])
    for size, (seen, labels), wanted, fgsm_rounds, pgd_rounds in (
        ("4 photos", few, _WANTED_OF_FEW, 9, 3),
        (f"{_MANY} pictures", many, _WANTED, 5, 2),
    ):
        yield Contest(
            f"squeezenet1_1, FGSM, {size}",
            partial(_fgsm, network, seen, labels),
            _peers(seen, labels, 0, wanted),
            rounds=fgsm_rounds,
            equal=_same,
        )
        yield Contest(
            f"squeezenet1_1, PGD-{_STEPS}, {size}",
            partial(_pgd, network, seen, labels),
            _peers(seen, labels, _STEPS, wanted),
            rounds=pgd_rounds,
            equal=partial(_as_high, network, labels),
        )


def _fgsm(network: Network, seen: Tensor, labels: Tensor) -> Tensor:
    return fgsm(network, seen, eps=_EPS, label=labels).images


def _pgd(network: Network, seen: Tensor, labels: Tensor) -> Tensor:
    return pgd(network, seen, eps=_EPS, step=_STEP, steps=_STEPS, label=labels).images


def _peers(
    seen: Tensor, labels: Tensor, steps: int, wanted: Mapping[str, tuple[float, float]]
) -> dict[str, Peer]:
    """Each peer's PGD with so many steps; with none, its FGSM."""
    return {
        name: Peer(at_first_call(partial(_ATTACKS[name], seen, labels, steps)), ratios[steps > 0])
        for name, ratios in wanted.items()
    }


def _module() -> nn.Module:
    return normalizing_module().to(memory_format=torch.channels_last)


def _torchattacks(seen: Tensor, labels: Tensor, steps: int) -> Attack:
    peer: Any = importlib.import_module("torchattacks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attack = (
            peer.FGSM(_module(), eps=_EPS)
            if not steps
            else peer.PGD(_module(), eps=_EPS, alpha=_STEP, steps=steps, random_start=False)
        )
    return lambda: attack(_sent(seen), labels.to(device.pick())).cpu()


def _foolbox(seen: Tensor, labels: Tensor, steps: int) -> Attack:
    peer: Any = importlib.import_module("foolbox")
    model = peer.PyTorchModel(_module(), bounds=(0, 1), device=device.pick())
    attack = (
        peer.attacks.LinfFastGradientAttack(random_start=False)
        if not steps
        else peer.attacks.LinfPGD(abs_stepsize=_STEP, steps=steps, random_start=False)
    )
    return lambda: attack(model, _sent(seen), labels.to(device.pick()), epsilons=_EPS)[0].cpu()


def _bare(seen: Tensor, labels: Tensor, steps: int) -> Attack:
    module = _module()
    steps, step = (steps, _STEP) if steps else (1, _EPS)

    def ascend(part: tuple[Tensor, Tensor]) -> Tensor:
        start, wanted = part
        moving, low, high = start, (start - _EPS).clamp(min=0), (start + _EPS).clamp(max=1)
        for _ in range(steps):
            moving = moving.detach().requires_grad_(True)
            loss = nn.functional.cross_entropy(module(moving), wanted, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moving)
            moving = torch.clamp(moving.detach() + step * gradient.sign(), low, high)
        with torch.no_grad():
            module(moving)  # what a finished result says about its pictures
        return moving

    def attack() -> Tensor:
        cores = torch.get_num_threads()
        parts = list(
            zip(
                _sent(seen).tensor_split(cores),
                labels.to(device.pick()).tensor_split(cores),
                strict=True,
            )
        )
        ways = workers.in_order(lambda: ascend, parts, threads=cores)
        return torch.cat([attacked for _, attacked in ways]).cpu()

    return attack


_ATTACKS = dict(zip(_WANTED, (_foolbox, _torchattacks, _bare), strict=True))


def _sent(seen: Tensor) -> Tensor:
    return seen.to(device.pick()).contiguous(memory_format=torch.channels_last)


def _same(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape:
        return False
    return bool(((ours - theirs).abs() < 1e-6).float().mean() >= _ALIKE)


def _as_high(network: Network, labels: Tensor, ours: Tensor, theirs: Tensor) -> bool:
    """Whether both raised the loss equally far, without leaving the ball."""
    with torch.no_grad():
        one, other = (
            nn.functional.cross_entropy(network(images).cpu(), labels) for images in (ours, theirs)
        )
    near = float((ours - theirs).abs().max()) <= 2 * _EPS + 1e-6
    return near and abs(float(one / other) - 1) <= _AS_GOOD
