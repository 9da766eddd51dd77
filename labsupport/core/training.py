"""One training loop for all labs that let a small network learn before the student's eyes.

Plain stochastic gradient descent with momentum, one frame a step: whoever asks for the frames
can show them, and stop after any of them.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from labsupport.core.errors import BadSetting
from labsupport.core.frames import Stepwise, framed

BATCH = 64
_MOMENTUM = 0.9
_MEMORY = 20  # steps over which loss and accuracy are averaged
_WARM_UP = 0.1  # the share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Batch:
    """What one step learns from: normalized `images` (N, C, H, W) with `labels` (N,), the network
    as it is now, and the run's own random numbers."""

    images: Tensor
    labels: Tensor
    module: nn.Module
    random: torch.Generator


@dataclass(frozen=True)
class TrainingFrame(Stepwise):
    """Where the training stands after `step` of `steps`.

    `epoch` counts the passes over the data; `loss` and `accuracy` are of the last batches, as they
    were met. `module` is the network that learns: it goes on changing with the next frame, so copy
    it (`copy.deepcopy`) to keep it.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    accuracy: float
    module: nn.Module


Augmentation = Callable[[Batch], Tensor]


@framed
def train(
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: float = 10,
    learning_rate: float = 0.02,
    weight_decay: float = 1e-4,
    augment: Augmentation | None = None,
    seed: int = 0,
) -> Iterator[TrainingFrame]:
    """Train a copy of a classifier on images (N, C, H, W) with labels (N,): the last frame.

    `train.frames` gives one after each step.

    The images are what the module itself takes: normalized, where it expects that. The learning
    rate rises to `learning_rate` over the first tenth of the steps and then falls to zero along a
    cosine. `weight_decay` pulls all weights (but no bias) towards zero. `augment(batch)` gives what
    a step really sees: `random_shifts(2)` moves each image a little. The same seed gives the same
    weights on one device; the module itself and the global random state stay as they are.

    Errors: `BadSetting` for settings that cannot work, at once; and for a loss that grows beyond
    all numbers, when it does.

    >>> toy = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> points = torch.randn(200, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> last = train(toy, points, (points.sum((1, 2, 3)) > 0).long(), learning_rate=0.2)
    >>> last.progress, last.accuracy > 0.9
    (1.0, True)
    """
    _check(images, labels, epochs, learning_rate, weight_decay)
    rates = (learning_rate, weight_decay)
    return _learn(_Training(module, images, labels, epochs, *rates, augment, seed))


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A new module with random weights, the same for the same seed.

    >>> one, two = (seeded(lambda: nn.Linear(3, 2), seed=4) for _ in range(2))
    >>> torch.equal(one.weight, two.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def random_shifts(pixels: int = 2) -> Augmentation:
    """An augmentation for `train`: each image moves by up to so many pixels; zeros come in."""

    def shifted(batch: Batch) -> Tensor:
        images = batch.images
        count, _, height, width = images.shape
        padded = functional.pad(images, (pixels,) * 4)
        corners = torch.randint(0, 2 * pixels + 1, (count, 2, 1), generator=batch.random)
        rows = (corners[:, 0] + torch.arange(height)).to(images.device)  # (N, H)
        columns = (corners[:, 1] + torch.arange(width)).to(images.device)  # (N, W)
        which = torch.arange(count, device=images.device)[:, None, None]
        moved = padded[which, :, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
        return moved.permute(0, 3, 1, 2).contiguous()

    return shifted


def scores(module: nn.Module, images: Tensor) -> Tensor:
    """A classifier's scores (N, classes) of images, as in a test, on the CPU; its modes stay."""
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
        with torch.no_grad():
            parts = [module(some.to(_device(module))) for some in torch.split(images, 256)]
            return torch.cat(parts).cpu()
    finally:
        for part, mode in modes.items():
            part.training = mode


def accuracy(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of the images that a classifier names rightly, 0 to 1; its modes stay."""
    right = scores(module, images).argmax(1) == labels.cpu()
    return int(right.sum()) / len(labels)


@dataclass(frozen=True)
class _Training:
    """All settings of one training."""

    module: nn.Module
    images: Tensor
    labels: Tensor
    epochs: float
    learning_rate: float
    weight_decay: float
    augment: Augmentation | None
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.images) / BATCH)

    @property
    def steps(self) -> int:
        return max(1, round(self.epochs * self.steps_per_epoch))

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = max(1, round(_WARM_UP * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        share = (step - warm) / (self.steps - warm)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def batches(self, random: torch.Generator) -> Iterator[Tensor]:
        """The indices of each step's images: every image once an epoch."""
        while True:
            order = torch.randperm(len(self.images), generator=random)
            yield from torch.split(order, BATCH)


def _learn(training: _Training) -> Iterator[TrainingFrame]:
    module = copy.deepcopy(training.module).train().requires_grad_(True)
    random = torch.Generator().manual_seed(training.seed)
    optimizer = _optimizer(module, training.weight_decay)
    batches = training.batches(random)
    loss = right = 0.0
    for step in range(training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate_at(step)
        chosen = next(batches)
        batch = Batch(
            training.images[chosen].to(_device(module)),
            training.labels[chosen].to(_device(module)),
            module,
            random,
        )
        with _own_randomness(module, training.seed + step):
            now, hits = _step(batch, optimizer, training.augment)
        if not math.isfinite(now):
            raise BadSetting(
                f"after {step + 1} steps the loss is no number any more: the learning rate "
                f"{training.learning_rate:g} is too large; try a tenth of it"
            )
        share = max(1 / _MEMORY, 1 / (step + 1))
        loss, right = loss + share * (now - loss), right + share * (hits - right)
        epoch = (step + 1) / training.steps_per_epoch
        yield TrainingFrame(step + 1, training.steps, epoch, loss, right, module)


def _step(
    batch: Batch, optimizer: torch.optim.Optimizer, augment: Augmentation | None
) -> tuple[float, float]:
    """One step down the gradient; the batch's loss and accuracy before it."""
    seen = augment(batch) if augment else batch.images
    with torch.enable_grad():
        scores = batch.module(seen)
        loss = functional.cross_entropy(scores, batch.labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
    optimizer.step()
    right = (scores.detach().argmax(1) == batch.labels).float().mean()
    return float(loss.detach()), float(right)


def _optimizer(module: nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    weights = [value for value in module.parameters() if value.ndim > 1]
    others = [value for value in module.parameters() if value.ndim <= 1]
    decayed: dict[str, Any] = {"params": weights, "weight_decay": weight_decay}
    groups = [decayed, {"params": others}]
    return torch.optim.SGD(groups, lr=0.0, momentum=_MOMENTUM, nesterov=True)


@contextlib.contextmanager
def _own_randomness(module: nn.Module, seed: int) -> Iterator[None]:
    """Dropout draws from the global random state: its numbers come from the seed, and the state
    is put back. Without dropout the state, which other threads may be using, is not touched."""
    if not any(isinstance(part, nn.modules.dropout._DropoutNd) for part in module.modules()):
        yield
        return
    device = _device(module)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _check(
    images: Tensor, labels: Tensor, epochs: float, learning_rate: float, weight_decay: float
) -> None:
    if len(images) != len(labels) or not len(images):
        raise BadSetting(f"{len(images)} images need as many labels, not {len(labels)}")
    if labels.ndim != 1 or labels.is_floating_point():
        raise BadSetting("labels are whole numbers (N,), one for each image: labels.long()")
    if not epochs > 0 or not math.isfinite(epochs):
        raise BadSetting(f"epochs is a number above 0, not {epochs}")
    if not learning_rate > 0 or not math.isfinite(learning_rate):
        raise BadSetting(f"learning_rate is a number above 0, such as 0.02, not {learning_rate}")
    if not weight_decay >= 0 or not math.isfinite(weight_decay):
        raise BadSetting(f"weight_decay is 0 or more, such as 0.0001, not {weight_decay}")
