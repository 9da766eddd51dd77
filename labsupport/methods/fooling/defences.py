"""What one might do to a picture before the network sees it, in the hope that a change is lost.

A picture file rounds pixels to 256 steps (`quantize`); JPEG, blur and noise change more.
"""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import images as images_
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.network import Network
from labsupport.methods.fooling.results import AttackResult, scores_of

_SLACK = 1e-4  # of a grey value: k / 255 has no exact binary form


@dataclass(frozen=True)
class Defence:
    """One way: its usual strength, the least and the largest, and the strength in words."""

    usual: float
    limits: tuple[float, float]
    words: str
    act: Callable[[Tensor, float, int], Tensor]


def _jpeg(images: Tensor, quality: float, _: int) -> Tensor:
    return torch.cat([_through_jpeg(one, round(quality)) for one in torch.split(images, 1)])


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    images_.to_pil(image).save(file, "JPEG", quality=quality)
    return images_.load(file.getvalue())


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
