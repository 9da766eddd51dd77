"""Lab 12 on handwritten digits: the smallest change, Szegedy's tables, and learning to resist."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.methods import fooling
from labsupport.methods.fooling import (
    DIGIT_NETWORKS,
    AdversarialTraining,
    AttackResult,
    Robustness,
    SearchFrame,
)
from labsupport.ui import declare, figures

EPOCHS = 5
NOISE = "Gaussian noise"
_WITHOUT_AUTOENCODER = [one for one in DIGIT_NETWORKS if not one.startswith("AE")]


@lru_cache(maxsize=16)
def trained(name: str, epochs: float) -> Network:
    """One of the digit networks, trained to the end and kept; LeNet-5 is the bundled one."""
    if name == "LeNet-5":
        return networks.load("lenet5")
    return fooling.train_digits(name, images.digits(), epochs=epochs)


@lru_cache(maxsize=32)
def handwritten(digit: int, place: int = 0) -> torch.Tensor:
    """One of the test digits, (1, 3, 28, 28): the place-th of its kind."""
    test = images.digits("test")
    own = torch.nonzero(test.labels == digit).flatten()
    return test.images[own[place % len(own)]][None]


# One digit into all others


def _draw_becoming(
    now: SearchFrame,
    name: str,
    factor: int = declare.whole(3, 1, 12, unit="times", label="enlarged"),
) -> tuple[Image.Image, str]:
    picture, result = becoming_picture(now, factor), now.result
    own, there = int(result.label[0]), result.success
    if not bool(there.any()):
        return picture, f"{name} reads a {own}. Press Run."
    lengths, targets = grey_lengths(result)[there], torch.as_tensor(result.target)[there]
    words = (
        f"{name} reads a {own}; {len(lengths)} of 9 targets reached, now with c = {now.c:.2g}. "
        f"Lengths of the change from {float(lengths.min()):.2f} (to a "
        f"{int(targets[lengths.argmin()])}) to {float(lengths.max()):.2f}; the digit itself has a "
        f"length of {float(result.originals[0, 0].norm()):.1f}."
    )
    return picture, words


@declare.live("The smallest change", draw=_draw_becoming, autostart=False)
def minimal_perturbation_panel(
    name: str = declare.choice(list(DIGIT_NETWORKS), "FC100-100-10", label="network"),
    digit: int = declare.whole(3, 0, 9),
    place: int = declare.whole(0, 0, 19, label="whose hand"),
) -> Iterator[SearchFrame]:
    """One digit, and the smallest changes that make it each of the nine others."""
    image, network = handwritten(digit, place), trained(name, EPOCHS)
    own = int(network.scores(image).argmax())
    others = [target for target in range(10) if target != own]
    same = image.expand(len(others), -1, -1, -1)
    for search in fooling.minimal_perturbation.frames(network, same, others):
        yield search
    yield replace(search, round=search.rounds)  # fewer rounds may have been enough


def becoming_picture(now: SearchFrame, factor: int) -> Image.Image:
    """Ten digits that the network reads as 0 to 9, and below each what was added, enlarged.

    Grey is zero there; white and black are the numbers above. The digit itself stands at the place
    of the network's own answer to it.
    """
    result = now.result
    targets, own = torch.as_tensor(result.target), int(result.label[0])
    tops = result.originals[:1].repeat(10, 1, 1, 1)
    changes, words = torch.zeros_like(tops), ["waits"] * 10
    tops[targets], changes[targets], words[own] = result.images, result.perturbation, "as it is"
    for target, length, there in zip(targets, grey_lengths(result), result.success, strict=True):
        words[int(target)] = f"length {float(length):.2f}" if bool(there) else "not yet"
    belows = (0.5 + factor * changes / 2).clamp(0, 1)
    titles = [f"{digit}: {said}" for digit, said in enumerate(words)]
    numbers = [f"± {1 / factor:.2g}"] * 5
    return figures.mosaic(
        torch.cat([tops[:5], belows[:5], tops[5:], belows[5:]]),
        columns=5,
        enlarge=3,
        titles=[*titles[:5], *numbers, *titles[5:], *numbers],
        rows=["sum", "added"] * 2,
    )


def grey_lengths(result: AttackResult) -> torch.Tensor:
    """The lengths of the changes over 784 grey pixels, (N,): the three channels are equal."""
    return result.length / 3**0.5


# Szegedy's tables


@dataclass(frozen=True)
class Row:
    """One network of Table 1: its test error, and what fools it on some pictures."""

    network: Network
    error: float
    fooled: AttackResult


def table_rows(
    names: Sequence[str], *, pictures: int = 10, epochs: float = EPOCHS
) -> dict[str, Row]:
    """Networks of Table 1: each is trained, tested, and fooled on the first test digits."""
    test, rows = images.digits("test"), {}
    for name in names:
        network = trained(name, epochs)
        error = fooling.error_rate(network, test.images, test.labels)
        fooled = fooling.minimal_perturbation(network, test.images[:pictures])
        rows[name] = Row(network, error, fooled)
    return rows


def who_fools_whom(rows: Mapping[str, Row]) -> dict[str, dict[str, float]]:
    """The errors of each network on the images that were made for each, and on noise of the same
    mean size: `result[made_for][judge]`, 0 to 1."""
    made_for = {name: row.fooled.images for name, row in rows.items()}
    size = torch.stack([row.fooled.rms for row in rows.values()]).mean()
    [clean, *_] = [row.fooled.originals for row in rows.values()]
    made_for[NOISE] = fooling.noisy(clean, size)
    judges = {name: row.network for name, row in rows.items()}
    labels = images.digits("test").labels[: len(clean)]
    errors = zip(made_for, fooling.transfer(made_for, judges, labels).tolist(), strict=True)
    return {name: dict(zip(judges, shares, strict=True)) for name, shares in errors}


# The famous step, on digits


def robustness_compared(
    names: Sequence[str], *, eps: float = 0.25, count: int = 2000
) -> Mapping[str, Robustness]:
    """Errors and confidence of several digit networks before and after FGSM."""
    test = images.digits("test")
    some, labels = test.images[:count], test.labels[:count]
    return {
        name: fooling.robustness(trained(name, EPOCHS), some, labels, eps=eps) for name in names
    }


def digit_lines(names: Sequence[str], digit: int = 3, reach: float = 0.5) -> Image.Image:
    """The ten scores along the sign direction, a network beside the other, with R²."""
    image, pictures, titles = handwritten(digit), [], []
    for name in names:
        line = fooling.sign_line(trained(name, EPOCHS), image, reach=reach, points=61)
        best = sorted(line.scores.amax(0).topk(5).indices.tolist())
        shown = {str(one): (line.eps, line.scores[:, one]) for one in best}
        pictures.append(
            figures.curve(shown, across="ε", up="score before softmax", size=(330, 270))
        )
        titles.append(f"{name}: median R² {float(line.r_squared().median()):.3f}")
    return figures.side_by_side(pictures, titles)


# Learning to resist


def draw_training(
    now: AdversarialTraining,
    show: str = declare.choice({"errors": "errors", "confidence when wrong": "confidence"}),
) -> tuple[Image.Image, str]:
    """Errors on clean and on fooled digits while both learn, or the confidence in wrong ones."""
    shown = {"plain": (0, "confidence"), "adversarial": (1, "confidence")}
    up = "confidence in wrong answers"
    if show == "errors":
        shown = {
            "plain, fooled": (0, "adversarial_error"),
            "adversarial, fooled": (1, "adversarial_error"),
            "plain, clean": (0, "error"),
            "adversarial, clean": (1, "error"),
        }
        up = f"wrong answers, ε = {now.eps:g}"
    steps, pairs = list(now.measured), list(now.measured.values())
    lines = {
        title: (steps, [getattr(pair[which], name) for pair in pairs])
        for title, (which, name) in shown.items()
    }
    size, limits = (704, 300), (-0.02, 1.05)
    picture = figures.curve(
        lines, across="training steps", up=up, size=size, limits=limits, reach=now.steps
    )
    plain, robust = pairs[-1]
    return picture, (
        f"Step {now.step} of {now.steps}. After one step of {now.eps:g}: plain training errs on "
        f"{plain.adversarial_error:.1%}, adversarial training on {robust.adversarial_error:.1%}; "
        f"on clean digits {plain.error:.1%} and {robust.error:.1%}."
    )


@declare.live("Learning to resist", draw=draw_training, autostart=False)
def adversarial_training_panel(
    name: str = declare.choice(_WITHOUT_AUTOENCODER, "ReLU 200-200-10", label="network"),
    eps: float = declare.real(0.25, 0.05, 0.4, label="step ε"),
    epochs: float = declare.whole(3, 1, 20),
    share: float = declare.real(0.5, 0.0, 1.0, label="share fooled"),
    count: int = 300,
) -> Iterator[AdversarialTraining]:
    """Two copies of one network learn side by side, one of them from fooled pictures too; both are
    measured on the first test digits, so many."""
    test = images.digits("test")
    some = images.LabelledImages(test.images[:count], test.labels[:count], test.categories)
    return fooling.adversarial_training.frames(
        name, images.digits(), some, eps=eps, epochs=epochs, share=share
    )
