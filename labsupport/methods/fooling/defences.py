"""What one might do against attacks, and how often networks err: treating a picture before the
network sees it, in the hope that a change is lost, and adversarial training.

A picture file rounds pixels to 256 steps (`quantize`); JPEG, blur and noise change more.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import images as images_
from labsupport.core import training
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.frames import Stepwise, framed
from labsupport.core.images import check
from labsupport.core.images.perturbations import signed_step
from labsupport.core.images.sets import LabelledImages
from labsupport.core.network import Network
from labsupport.methods.fooling import digit_networks
from labsupport.methods.fooling.gradient_signs import fgsm
from labsupport.methods.fooling.results import AttackResult, classes_of, scores_of

_SLACK = 1e-4  # of a grey value: k / 255 has no exact binary form


@dataclass(frozen=True)
class Defence:
    """One way: its usual strength, the least and the largest, and the strength in words."""

    usual: float
    limits: tuple[float, float]
    words: str
    act: Callable[[Tensor, float, int], Tensor]


def _jpeg(images: Tensor, quality: float, _: int) -> Tensor:
    files = [io.BytesIO() for _ in images]
    for file, image in zip(files, torch.split(images, 1), strict=True):
        images_.to_pil(image).save(file, "JPEG", quality=round(quality))
    return torch.cat([images_.load(file.getvalue()) for file in files])


def _blur(images: Tensor, sigma: float, _: int) -> Tensor:
    reach = 2 * math.ceil(3 * sigma) + 1
    sides = [min(reach, (side - 1) * 2 + 1) for side in (images.shape[3], images.shape[2])]
    blurred: Tensor = transforms.gaussian_blur(images, sides, [sigma, sigma])
    return blurred.clamp(0, 1)


def _noise(images: Tensor, spread: float, seed: int) -> Tensor:
    """The same noise on each image, so that an image's result does not depend on its batch."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape[1:], generator=random)
    return (images + spread / 255 * noise).clamp(0, 1)


DEFENCES: Mapping[str, Defence] = {
    "8 bits": Defence(1, (1, 1), "a PNG file", lambda images, *_: (images * 255).round() / 255),
    "jpeg": Defence(75, (5, 95), "JPEG, quality {:.0f}", _jpeg),
    "blur": Defence(1.0, (0.3, 4.0), "blur, σ = {:.1f} px", _blur),
    "noise": Defence(8, (1, 64), "noise, σ = {:.0f}/255", _noise),
}


def quantize(network: Network, attack: AttackResult) -> AttackResult:
    """The changed images as a PNG file holds them, in 256 steps, with what the network says then.

    Each pixel goes to the nearest step that is at most eps from the original. Where there is none
    (eps below half a grey value), it goes to the step nearest to the original.

    Errors: `BadImage` for a network that takes images of another size.
    """
    original, wanted = attack.originals.double() * 255, attack.images.double() * 255
    grey = 255 * (math.inf if attack.eps is None else attack.eps) + _SLACK
    low, high = (original - grey).ceil().clamp(0, 255), (original + grey).floor().clamp(0, 255)
    nearest = original.round()
    low, high = torch.where(low <= high, low, nearest), torch.where(low <= high, high, nearest)
    images = (wanted.round().clamp(low, high).float() / 255).clamp(0, 1)
    network.check(images)
    after = scores_of(network, network.send(images)).cpu()
    return replace(attack, images=images, after=after)


def defend(images: Tensor, defence: str, strength: float | None = None, *, seed: int = 0) -> Tensor:
    """Images (N, 3, H, W) after one of the `DEFENCES`: "8 bits", "jpeg", "blur" or "noise".

    `strength` is JPEG's quality, the blur's sigma in pixels, the noise's sigma in grey values.

    Errors: `BadImage`, `BadSetting`.
    """
    images_.check(images)
    chosen = DEFENCES[one_of(defence, DEFENCES, "defence")]
    (low, high), strength = chosen.limits, chosen.usual if strength is None else float(strength)
    if not low <= strength <= high:
        raise BadSetting(
            f"{defence}: the strength lies between {low:g} and {high:g}, not {strength}"
        )
    return chosen.act(images.detach().cpu(), strength, seed)


@dataclass(frozen=True)
class DefenceTrial:
    """What a defence does: the share of right answers on clean images (the control) and on
    attacked ones, and the share that still reach what the attack wanted."""

    clean_right: float
    attacked_right: float
    still_successful: float
    clean: Tensor
    attacked: Tensor


def try_defence(
    network: Network, attack: AttackResult, defence: str | None, strength: float | None = None
) -> DefenceTrial:
    """One defence against images that fool, and the same done to the clean ones as a control.

    `defence` None does nothing, for comparison. The scores (N, classes) are in `clean` and
    `attacked`.

    Errors: `BadSetting`; `BadImage` for a network that takes images of another size.
    """
    pair = (attack.originals, attack.images)
    for part in pair:
        network.check(part)
    treated = [part if defence is None else defend(part, defence, strength) for part in pair]
    clean, after = (scores_of(network, network.send(part)).cpu() for part in treated)
    success = replace(attack, after=after).success
    shares = [float((scores.argmax(1) == attack.label).float().mean()) for scores in (clean, after)]
    return DefenceTrial(shares[0], shares[1], float(success.float().mean()), clean, after)


# How often networks err on attacked images, and adversarial training, which makes it rarer


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
