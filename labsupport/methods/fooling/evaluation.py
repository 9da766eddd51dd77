"""How often networks err on attacked images, and adversarial training, which makes it rarer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labsupport.core import training
from labsupport.core.errors import BadSetting
from labsupport.core.frames import Stepwise, framed
from labsupport.core.images import check
from labsupport.core.images.perturbations import signed_step
from labsupport.core.images.sets import LabelledImages
from labsupport.core.network import Network
from labsupport.methods.fooling import digit_networks
from labsupport.methods.fooling.gradient_signs import fgsm
from labsupport.methods.fooling.results import classes_of, scores_of

_SHARE = 0.5  # of a batch is changed in adversarial training: the paper's alpha
_MEASURED = 25  # steps of a training between two measurements


def error_rate(network: Network, images: Tensor, labels: Tensor) -> float:
    """The share of images (N, 3, H, W) whose first answer is not their label (N,), 0 to 1.

    Errors: `BadImage`, `BadSetting`.
    """
    network.check(images)
    wanted = classes_of(network, labels, len(images))
    return float((scores_of(network, images.detach()).argmax(1) != wanted).float().mean())


def noisy(images: Tensor, rms: float | Tensor, *, seed: int = 0) -> Tensor:
    """Images with Gaussian noise of a given size: the control for every change that was searched.

    `rms` is the noise's root of the mean square, one number or one for each image (N,). What
    leaves [0, 1] is clipped, so that on black and white a little less remains.

    Errors: `BadImage`, `BadSetting`.
    """
    check(images)
    images = images.detach().cpu()
    size = torch.as_tensor(rms, dtype=images.dtype).detach().cpu()
    if size.shape not in ((), (len(images),)) or not bool((size >= 0).all()):
        raise BadSetting("rms is a number from 0 upwards, or one for each image")
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape[1:], generator=random)  # one image's does not hang on others
    return (images + size.view(-1, 1, 1, 1) * noise / noise.square().mean().sqrt()).clamp(0, 1)


def transfer(images: Mapping[str, Tensor], judges: Mapping[str, Network], labels: Tensor) -> Tensor:
    """Do images that fool one network fool another? Errors (rows of images, columns of judges).

    Szegedy et al. 2013, table 2. `images` were made for each network, `labels` (N,) are the
    right answers.

    Errors: `BadImage`, `BadSetting`.
    """
    rows = [
        [error_rate(judge, one, labels) for judge in judges.values()] for one in images.values()
    ]
    return torch.tensor(rows)


@dataclass(frozen=True)
class Robustness:
    """How often a network errs: on images as they are, and on the same with one sign step.

    `confidence` is its mean probability for the wrong answers after the step, 0 if there are none.
    """

    error: float
    adversarial_error: float
    confidence: float


def robustness(
    network: Network, images: Tensor, labels: Tensor, *, eps: float = 0.25
) -> Robustness:
    """Errors before and after FGSM with the right labels (Goodfellow et al. 2014, section 4).

    Errors: `BadImage`, `UnknownClass`, `BadSetting`.
    """
    result = fgsm(network, images, eps=eps, label=labels)
    wrong = result.success
    highest = result.after.softmax(1).amax(1)
    confidence = float(highest[wrong].mean()) if bool(wrong.any()) else 0.0
    clean = float((result.before.argmax(1) != result.label).float().mean())
    return Robustness(clean, float(wrong.float().mean()), confidence)


# Adversarial training: a network that learns from attacked images too resists them better


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
class AdversarialTraining(Stepwise):
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
