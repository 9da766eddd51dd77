"""Lab 01: LeNet-5 and others learn to read digits before the student's eyes."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn

from labsupport.core import images, training
from labsupport.core.frames import Stepwise, framed
from labsupport.core.network.architectures.lenet import LeNet5, LeNet5Of1998
from labsupport.methods.fooling.digit_networks import Grey
from labsupport.ui import declare, figures, ink

# The scores of 1998 are sums of 84 squares, and so are their gradients: its steps are shorter.
_STEP_SHARE = {"LeNet-5 of 1998": 0.04}
PIXELS = {"in their places": False, "shuffled, all images alike": True}
VIEWS = ("curves", "confusion matrix", "worst mistakes")
_EVERY = 3  # steps from frame to frame
_TESTED = 250  # digits of the test set that are asked on the way


def fully_connected() -> nn.Module:
    """A network without convolutions that has as many parameters as LeNet-5, or a few less.

    >>> sum(weights.numel() for weights in fully_connected().parameters())
    61225
    """
    return nn.Sequential(Grey(), nn.Linear(28 * 28, 77), nn.ReLU(), nn.Linear(77, 10))


READERS: Mapping[str, Callable[[], nn.Module]] = {
    "LeNet-5": LeNet5,
    "LeNet-5 of 1998": LeNet5Of1998,
    "fully connected": fully_connected,
}


@dataclass(frozen=True)
class ReadingFrame(Stepwise):
    """Where the training stands: losses and accuracies so far, and what the test says.

    `curve` has a row (epoch, loss, accuracy) for each frame, `tested` a row (epoch, accuracy) for
    each test; `scores` (N, 10) are the last test's.
    """

    step: int
    steps: int
    curve: torch.Tensor
    tested: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    pictures: torch.Tensor
    settings: str

    @property
    def accuracy(self) -> float:
        """On the test digits, 0 to 1."""
        return float((self.scores.argmax(1) == self.labels).float().mean())


@functools.cache
def _digits(split: str, shuffled: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits (N, 3, 28, 28) and labels; shuffled: all with the same pixels in other places."""
    digits = images.digits(split)
    pictures = digits.images
    if shuffled:
        order = torch.randperm(28 * 28, generator=torch.Generator().manual_seed(0))
        pictures = pictures.flatten(2)[:, :, order].reshape(pictures.shape)
    return pictures, digits.labels


@framed
def train_reader(
    reader: str = "LeNet-5",
    *,
    shuffled: bool = False,
    epochs: int = 12,
    learning_rate: float = 0.05,
    shift: int = 2,
    count: int = 8000,
    seed: int = 0,
) -> Iterator[ReadingFrame]:
    """A small network learns the digits: what it says to all 2000 test digits in the end.

    `train_reader.frames` gives one after every few steps, with a part of the test digits.
    """
    (pictures, labels), (shown, answers) = _digits("train", shuffled), _digits("test", False)
    module = training.seeded(READERS[reader], seed)
    rate = learning_rate * _STEP_SHARE.get(reader, 1.0)
    settings = f"{reader}, learning rate {rate:.3g}, shifts up to {shift} px, seed {seed}"
    rows: list[tuple[float, float, float]] = []
    tests: list[tuple[float, float]] = []
    scores = torch.empty(0, 10)
    frames = training.train.frames(
        module,
        pictures[:count],
        labels[:count],
        epochs=epochs,
        learning_rate=rate,
        augment=training.random_shifts(shift) if shift else None,
        seed=seed,
    )
    for frame in _single_threaded(frames):
        last = frame.step == frame.steps
        if frame.step % _EVERY and not last and frame.step > 1:
            continue
        rows.append((frame.epoch, frame.loss, frame.accuracy))
        if not tests or frame.epoch - tests[-1][0] >= 0.5 or last:
            asked = _digits("test", shuffled)[0][: None if last else _TESTED]
            scores = training.scores(frame.module, asked)
            right = scores.argmax(1) == answers[: len(scores)]
            tests.append((frame.epoch, float(right.float().mean())))
        yield ReadingFrame(
            frame.step,
            frame.steps,
            torch.tensor(rows),
            torch.tensor(tests),
            scores,
            answers[: len(scores)],
            shown[: len(scores)],
            settings,
        )


def _single_threaded(frames: Iterator[training.TrainingFrame]) -> Iterator[training.TrainingFrame]:
    """The frames, each computed by one thread: in steps this small a second one is only waited for.

    In between the number of threads is what it was.
    """
    while True:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            frame = next(frames, None)
        finally:
            torch.set_num_threads(threads)
        if frame is None:
            return
        yield frame


def draw_reading(
    frame: ReadingFrame,
    view: str = declare.choice(VIEWS),
    lowest: int = declare.whole(0, 0, 95, step=5, unit="%", label="curve from"),
) -> tuple[Image.Image, str]:
    """One of the three views, and how the training goes; accuracies are drawn from `lowest` on."""
    wrong = int((frame.scores.argmax(1) != frame.labels).sum())
    words = (
        f"Epoch {float(frame.curve[-1, 0]):.1f}: loss {float(frame.curve[-1, 1]):.3f}; "
        f"{frame.accuracy:.2%} of {len(frame.labels)} test digits right, {wrong} wrong. "
        f"{frame.settings}."
    ).replace("%", " %")
    if view == "curves":
        return curves(frame, lowest), words
    return (confusion(frame) if view == "confusion matrix" else mistakes(frame)), words


@declare.live("Learning to read", draw=draw_reading, autostart=False)
def reading_panel(
    how: Mapping[str, Any] = declare.together(
        reader=declare.choice(list(READERS), label="network"),
        shuffled=declare.choice(PIXELS, label="pixels"),
        learning_rate=declare.logarithmic(0.05, 0.001, 0.2),
        epochs=declare.whole(12, 1, 20),
        shift=declare.whole(2, 0, 4, unit="px", label="random shifts"),
        seed=declare.seed(),
    ),
) -> Iterator[ReadingFrame]:
    """LeNet-5 and others learn the digits, live: curves, confusion matrix, worst mistakes."""
    return train_reader.frames(**how)


def curves(frame: ReadingFrame, lowest: int = 80) -> Image.Image:
    """Loss and accuracies against epochs; the accuracies from `lowest` per cent on."""
    epoch, loss, right = frame.curve.T
    lines = {
        "training, last batches": (epoch, 100 * right),
        "test digits": (frame.tested[:, 0], 100 * frame.tested[:, 1]),
    }
    reach = float(epoch[-1]) * frame.steps / max(frame.step, 1)  # the whole training
    falling = figures.curve(
        {"loss": (epoch, loss)}, across="epochs", up="loss", size=(330, 260), reach=reach
    )
    rising = figures.curve(
        lines, across="epochs", up="right (%)", size=(400, 260), limits=(lowest, 100), reach=reach
    )
    return figures.side_by_side([falling, rising])


def confusion(frame: ReadingFrame) -> Image.Image:
    """How often each digit (row) is read as each digit (column); right answers on pale green."""
    answers = 10 * frame.labels + frame.scores.argmax(1)
    table = answers.bincount(minlength=100).reshape(10, 10)
    wrong = table * (1 - torch.eye(10))
    painted = figures.paint(-wrong / max(float(wrong.max()), 1), colours="magma", limits=(-1.6, 0))
    painted[(wrong == 0).numpy()] = ink.GROUND
    painted[range(10), range(10)] = (235, 245, 235)
    words = [[str(count or "") for count in row] for row in table.tolist()]
    return figures.matrix(painted, words, named=("digit", "read as", list("0123456789")))


def mistakes(frame: ReadingFrame, count: int = 18) -> Image.Image:
    """The test digits that were read most wrongly, each with the answer and what is right."""
    sure = frame.scores.softmax(1)
    answers = frame.scores.argmax(1)
    wrong = (answers != frame.labels).nonzero().flatten()
    if not len(wrong):
        return figures.note("All of them are right.", 240)
    order = sure[wrong, frame.labels[wrong]].argsort()[:count]
    chosen = wrong[order]
    titles = [f"{int(answers[i])}, is {int(frame.labels[i])}" for i in chosen]
    return figures.mosaic(1 - frame.pictures[chosen], columns=9, enlarge=2, titles=titles)


def readers_compared(readings: Mapping[str, ReadingFrame]) -> Image.Image:
    """How many of the test digits several networks read wrongly, as bars."""
    most = max(1 - one.accuracy for one in readings.values()) or 1.0
    rows: list[list[figures.Cell]] = [
        [(name, None), (f"{100 - 100 * one.accuracy:.1f} %", (1 - one.accuracy) / most)]
        for name, one in readings.items()
    ]
    return figures.table(("learned by", "test digits read wrongly"), rows)
