"""Lab 12 on handwritten digits: the smallest change, Szegedy's tables, and learning to resist."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.labs.lab12_fooling.fooling import plot_lines
from labsupport.methods import fooling
from labsupport.methods.fooling import DIGIT_NETWORKS, AdversarialTraining, AttackResult, Robustness
from labsupport.ui import declare, figures
from labsupport.ui.control import Remembered

EPOCHS = 5
NOISE = "Gaussian noise"
_WITHOUT_AUTOENCODER = [one for one in DIGIT_NETWORKS if not one.startswith("AE")]
_PACE = 12  # steps of a training between two frames
_trained = Remembered(16)  # networks


def trained(name: str, epochs: float = EPOCHS) -> Network:
    """One of the digit networks, trained to the end and kept; LeNet-5 is the bundled one."""
    if name == "LeNet-5":
        return networks.load("lenet5")
    learn = partial(fooling.train_digits, name, images.digits(), epochs=epochs)
    network: Network = _trained.get((name, epochs), learn)
    return network


@lru_cache(maxsize=32)
def handwritten(digit: int, place: int = 0) -> torch.Tensor:
    """One of the test digits, (1, 3, 28, 28): the place-th of its kind."""
    test = images.digits("test")
    own = torch.nonzero(test.labels == digit).flatten()
    return test.images[own[place % len(own)]][None]


# One digit into all others


@dataclass(frozen=True)
class _Becoming:
    """One digit on its way into each of the ten; its own place holds None."""

    image: torch.Tensor
    network: Network
    own: int
    results: tuple[AttackResult | None, ...]
    tried: int
    progress: float


def _draw_becoming(
    now: _Becoming, factor: int = declare.whole(3, 1, 12, unit="times", label="enlarged")
) -> tuple[Image.Image, str]:
    picture = becoming_picture(now, factor)
    there = [one for one in now.results if one is not None and bool(one.success)]
    if not there:
        return picture, f"{now.network.name} reads a {now.own}. Press Run."
    lengths = [float(one.length) / 3**0.5 for one in there]
    near = min(there, key=lambda one: float(one.length))
    words = (
        f"{now.network.name} reads a {now.own}; {len(there)} of 9 targets reached with "
        f"{now.tried} values of c. Lengths of the change from {min(lengths):.2f} (to a "
        f"{int(near.target or 0)}) to {max(lengths):.2f}; the digit itself has a length of "
        f"{float(now.image[0, 0].norm()):.1f}."
    )
    return picture, words


@declare.live("The smallest change", draw=_draw_becoming, autostart=False)
def minimal_perturbation_panel(
    name: str = declare.choice(list(DIGIT_NETWORKS), "FC100-100-10", label="network"),
    digit: int = declare.whole(3, 0, 9),
    place: int = declare.whole(0, 0, 19, label="whose hand"),
) -> Iterator[_Becoming]:
    """One digit, and the smallest changes that make it each of the nine others."""
    image, network = handwritten(digit, place), trained(name)
    own = int(network.scores(image).argmax())
    now = _Becoming(image, network, own, (None,) * 10, 0, 0.0)
    yield now
    others = [target for target in range(10) if target != own]
    for done, target in enumerate(others):
        for one in fooling.minimal_perturbation.frames(network, image, target):
            best = one.now if one.best is None else one.best
            results = (*now.results[:target], best, *now.results[target + 1 :])
            share = (done + one.progress) / len(others)
            now = replace(now, results=results, tried=now.tried + 1, progress=min(share, 0.999))
            yield now
    yield replace(now, progress=1.0)


def becoming_picture(now: _Becoming, factor: int) -> Image.Image:
    """Ten digits that the network reads as 0 to 9, and below each what was added, enlarged.

    Grey is zero there; white and black are the numbers above. The digit itself stands at the place
    of the network's own answer to it.
    """
    tops, belows, titles = [], [], []
    for target, one in enumerate(now.results):
        tops.append(now.image if one is None else one.images)
        change = torch.zeros_like(now.image) if one is None else one.perturbation
        belows.append((0.5 + factor * change / 2).clamp(0, 1))
        titles.append(f"{target}: {'as it is' if target == now.own else _length(one)}")
    numbers = [f"± {1 / factor:.2g}"] * 5
    return figures.mosaic(
        torch.cat([*tops[:5], *belows[:5], *tops[5:], *belows[5:]]),
        columns=5,
        enlarge=3,
        titles=[*titles[:5], *numbers, *titles[5:], *numbers],
        rows=["sum", "added"] * 2,
    )


def _length(one: AttackResult | None) -> str:
    """The length over 784 grey pixels: the three channels are equal."""
    if one is None:
        return "waits"
    if not bool(one.success):
        return "not yet"
    return f"length {float(one.length) / 3**0.5:.2f}"


# Szegedy's tables


@dataclass(frozen=True)
class Row:
    """One network of Table 1: its test error, and what fools it on some pictures."""

    name: str
    network: Network
    error: float
    fooled: AttackResult


@dataclass(frozen=True)
class Tables:
    """Table 1 and the table of transfers, as far as they are."""

    rows: tuple[Row, ...] = ()
    transfer: torch.Tensor | None = None
    doing: str = "waits"
    progress: float = 0.0

    def share(self, made_for: str, judge: str) -> float:
        """The error of one network on the images that were made for another, or with noise."""
        if self.transfer is None:
            return float("nan")
        names = [row.name for row in self.rows]
        return float(self.transfer[[*names, NOISE].index(made_for), names.index(judge)])


def tables(pictures: int = 10, epochs: float = EPOCHS) -> Iterator[Tables]:
    """Table 1 and the transfers, as frames: every network learns and is fooled, one by one."""
    now = Tables()
    yield now
    test, step = images.digits("test"), 1 / (2 * len(fooling.TABLE_1) + 1)
    for place, name in enumerate(fooling.TABLE_1):
        base = 2 * place * step
        if (name, epochs) not in _trained:
            for frame in fooling.train_digits.frames(name, images.digits(), epochs=epochs):
                if frame.step % _PACE == 0:
                    share = base + step * frame.progress
                    yield replace(now, doing=f"{name} learns", progress=share)
            _trained.get((name, epochs), frame.network)
        network = trained(name, epochs)
        error = fooling.error_rate(network, test.images, test.labels)
        results: list[AttackResult] = []
        for image in torch.split(test.images[:pictures], 1):
            results.append(fooling.minimal_perturbation(network, image))
            rows = (*now.rows, Row(name, network, error, fooling.concatenate(results)))
            share = base + step * (1 + len(results) / pictures)
            yield replace(now, rows=rows, doing=f"{name} is fooled", progress=share)
        now = replace(now, rows=rows)
    transfer = who_fools_whom(now.rows, test.images[:pictures], test.labels[:pictures])
    yield replace(now, transfer=transfer, doing="done", progress=1.0)


def who_fools_whom(rows: Sequence[Row], clean: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Errors of each network (columns) on the images made for each (rows), and last on noise of
    the same mean size."""
    size = torch.stack([row.fooled.rms for row in rows]).mean()
    made_for = {row.name: row.fooled.images for row in rows}
    made_for[NOISE] = fooling.noisy(clean, size)
    return fooling.transfer(made_for, {row.name: row.network for row in rows}, labels)


def draw_tables(
    now: Tables,
    show: str = declare.choice(["error and distortion", "who fools whom", "the fooled digits"]),
    columns: int = declare.whole(8, 4, 14, label="digits shown"),
) -> tuple[Image.Image, str]:
    """One of the three views of the tables, and what is going on."""
    if show == "who fools whom":
        picture = transfer_picture(now)
    elif show == "the fooled digits":
        picture = digits_picture(now, columns)
    else:
        picture = table_picture(now)
    done = f"{len(now.rows)} of {len(fooling.TABLE_1)} networks"
    return picture, f"{done}; {now.doing}."


@declare.live("Szegedy's tables", draw=draw_tables)
def table_panel(
    pictures: int = declare.whole(20, 5, 100, step=5, label="test pictures"),
    epochs: int = declare.whole(EPOCHS, 1, 20),
) -> Iterator[Tables]:
    """Train all six networks, fool each, and try each one's images on the others."""
    return tables(pictures, epochs)


def table_picture(now: Tables) -> Image.Image:
    """Table 1: test error and distortion (the mean root mean square of the changes), the paper's
    beside ours, and the share of pictures that a change was found for."""
    heads = ("network", "test error", "paper", "distortion", "paper", "fooled")
    waits: tuple[str, float | None] = ("", None)
    rows = []
    for name in fooling.TABLE_1:
        recipe = DIGIT_NETWORKS[name]
        paper, theirs = recipe.paper_error or 0, recipe.paper_distortion or 0
        error, size, reached = waits, waits, waits
        for mine in (row for row in now.rows if row.name == name):
            error = (f"{mine.error:.1%}", mine.error * 2)
            distortion = float(mine.fooled.rms.mean())
            size = (f"{distortion:.3f}", distortion * 4)
            reached = (f"{float(mine.fooled.success.float().mean()):.0%}", None)
        said = (f"{100 * paper:g}%", paper * 2)
        rows.append([(name, None), error, said, size, (f"{theirs:g}", theirs * 4), reached])
    return figures.table(heads, rows)


def transfer_picture(now: Tables) -> Image.Image:
    """Whose images (rows) fool whom (columns): the share of wrong answers, darker is more."""
    names = [row.name for row in now.rows]
    if now.transfer is None:
        return table_picture(now)
    heads = ("made for", *names)
    cells = [
        [(name, None), *((f"{float(share):.0%}", float(share) / 2) for share in row)]
        for name, row in zip([*names, NOISE], now.transfer, strict=True)
    ]
    return figures.table(heads, cells)


def digits_picture(now: Tables, columns: int = 8) -> Image.Image:
    """A row for each network: the same digits, changed as little as fools it; each says as what."""
    if not now.rows:
        return table_picture(now)
    first = now.rows[0].fooled
    count = min(columns, len(first.images))
    tiles, said = [first.originals[:count]], [f"{int(one)}" for one in first.label[:count]]
    for row in now.rows:
        if len(row.fooled.images) >= count:
            tiles.append(row.fooled.images[:count])
            said += [f"{int(one)}" for one in row.fooled.after[:count].argmax(1)]
    rows = ["as they are", *(row.name for row in now.rows)][: len(tiles)]
    return figures.mosaic(torch.cat(tiles), columns=count, enlarge=2, rows=rows, titles=said, gap=4)


# The famous step, on digits


def robustness_compared(
    names: Sequence[str], *, eps: float = 0.25, count: int = 2000
) -> Mapping[str, Robustness]:
    """Errors and confidence of several digit networks before and after FGSM."""
    test = images.digits("test")
    some, labels = test.images[:count], test.labels[:count]
    return {name: fooling.robustness(trained(name), some, labels, eps=eps) for name in names}


def digit_lines(names: Sequence[str], digit: int = 3, reach: float = 0.5) -> Image.Image:
    """The ten scores along the sign direction, a network beside the other, with R²."""
    image, pictures, titles = handwritten(digit), [], []
    for name in names:
        line = fooling.sign_line(trained(name), image, reach=reach, points=61)
        best = sorted(line.scores.amax(0).topk(5).indices.tolist())
        shown = {str(one): (line.eps, line.scores[:, one]) for one in best}
        pictures.append(
            figures.curve(shown, across="ε", up="score before softmax", size=(330, 270))
        )
        titles.append(f"{name}: median R² {float(line.r_squared().median()):.3f}")
    return figures.side_by_side(pictures, titles)


# Learning to resist


def _draw_training(
    now: AdversarialTraining,
    show: str = declare.choice({"errors": "errors", "confidence when wrong": "confidence"}),
) -> tuple[Image.Image, str]:
    return adversarial_training_picture(now, show=show), adversarial_training_words(now)


@declare.live("Learning to resist", draw=_draw_training)
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


def adversarial_training_words(now: AdversarialTraining) -> str:
    """The errors of both networks when they were last measured."""
    plain, robust = now.measured[max(now.measured)]
    return (
        f"Step {now.step} of {now.steps}. After one step of {now.eps:g}: plain training errs on "
        f"{plain.adversarial_error:.1%}, adversarial training on {robust.adversarial_error:.1%}; "
        f"on clean digits {plain.error:.1%} and {robust.error:.1%}."
    )


def adversarial_training_picture(now: AdversarialTraining, *, show: str = "errors") -> Image.Image:
    """Errors on clean and on fooled digits while both learn, or the confidence in wrong ones."""
    shown = [("plain", 0, "confidence"), ("adversarial", 1, "confidence")]
    up = "confidence in wrong answers"
    if show == "errors":
        shown = [
            ("plain, fooled", 0, "adversarial_error"),
            ("adversarial, fooled", 1, "adversarial_error"),
            ("plain, clean", 0, "error"),
            ("adversarial, clean", 1, "error"),
        ]
        up = f"wrong answers, ε = {now.eps:g}"
    steps, pairs = torch.tensor(list(now.measured)), list(now.measured.values())
    lines = [
        (title, steps, torch.tensor([getattr(pair[which], name) for pair in pairs]))
        for title, which, name in shown
    ]

    def plot(axes: figures.Axes) -> None:
        plot_lines(axes, lines)
        axes.set_ylim(-0.02, 1.05)
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))

    return figures.drawn(plot, size=(704, 300), across="training steps", up=up)
