"""How often networks err: on images that were attacked, and on those made for another network.

Szegedy et al., "Intriguing properties of neural networks", 2013 (`transfer`); Goodfellow, Shlens
and Szegedy, "Explaining and harnessing adversarial examples", 2014 (`robustness`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.images import check
from labsupport.core.network import Network
from labsupport.methods.fooling.gradient_signs import fgsm
from labsupport.methods.fooling.results import classes_of, scores_of


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
