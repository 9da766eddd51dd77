"""Adversarial training: a network that learns from attacked images too resists them better.

Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", 2014, section 6.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labsupport.core import training
from labsupport.core.errors import BadSetting
from labsupport.core.frames import framed
from labsupport.core.images.perturbations import signed_step
from labsupport.core.images.sets import LabelledImages
from labsupport.core.network import Network
from labsupport.methods.fooling import digit_networks
from labsupport.methods.fooling.evaluation import Robustness, robustness

_SHARE = 0.5  # of a batch is changed in adversarial training: the paper's alpha
_MEASURED = 25  # steps of a training between two measurements


@dataclass(frozen=True)
class AdversarialBatches:
    """Adversarial training, an augmentation for `training.train`: FGSM on a share of each batch.

    Goodfellow et al. 2014, section 6: in every step the images are changed by `fgsm` for the
    network as it is now. It is for modules that take images in [0, 1] as they are.

    Errors: `BadSetting`.
    """

    eps: float = 0.25
    share: float = _SHARE

    def __post_init__(self) -> None:
        if not self.eps >= 0 or not 0 <= self.share <= 1:
            raise BadSetting(
                f"eps is 0 or more and share between 0 and 1, not {self.eps} and {self.share}"
            )

    def __call__(self, batch: training.Batch) -> Tensor:
        with torch.enable_grad():
            images = batch.images.detach().requires_grad_(True)
            loss = nn.functional.cross_entropy(batch.module(images), batch.labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, images)
        changed = signed_step(batch.images, gradient, self.eps)
        chosen = torch.rand(len(images), generator=batch.random) < self.share
        return torch.where(chosen.to(images.device)[:, None, None, None], changed, batch.images)


@dataclass(frozen=True)
class AdversarialTraining:
    """Two copies of one network, after `step` of `steps`: one learns plainly, one adversarially.

    `measured` holds the robustness to steps of size `eps` so far, from step to (plain,
    adversarial); `plain` and `adversarial` are the two networks as they are now.
    """

    step: int
    steps: int
    eps: float
    measured: Mapping[int, tuple[Robustness, Robustness]]
    plain: Network
    adversarial: Network

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return self.step / self.steps


@framed
def adversarial_training(
    name: str,
    examples: LabelledImages,
    test: LabelledImages,
    *,
    eps: float = 0.25,
    epochs: float = 5,
    share: float = _SHARE,
    seed: int = 0,
) -> Iterator[AdversarialTraining]:
    """Train one of `DIGIT_NETWORKS` twice from the same start, once with adversarial training.

    `.frames` come every few steps, with the robustness of both on the images of `test`.

    Errors: `BadSetting`.
    """
    recipe = digit_networks.recipe(name)
    if name.startswith("AE"):
        raise BadSetting(f"{name} learns in two parts; choose a network that learns in one")
    start = digit_networks.fresh(name, seed)
    runs = [
        digit_networks.trained(
            start, examples.images, examples.labels, recipe, epochs, seed, change
        )
        for change in (None, AdversarialBatches(eps, share))
    ]
    return _measure_both(name, zip(*runs, strict=True), test, eps)


def _measure_both(
    name: str,
    frames: Iterator[tuple[training.TrainingFrame, ...]],
    test: LabelledImages,
    eps: float,
) -> Iterator[AdversarialTraining]:
    measured: dict[int, tuple[Robustness, Robustness]] = {}
    for pair in frames:
        step, steps = pair[0].step, pair[0].steps
        if step != 1 and step % _MEASURED and step != steps:
            continue
        both = [digit_networks.as_network(name, one.module, test.categories) for one in pair]
        plain, adversarial = (robustness(one, test.images, test.labels, eps=eps) for one in both)
        measured = {**measured, step: (plain, adversarial)}
        yield AdversarialTraining(step, steps, eps, measured, *both)
