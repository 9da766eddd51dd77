"""Faithfulness: which of several maps of one image is to be believed?

Petsiuk, Das and Saenko, "RISE: randomized input sampling for explanation of black-box models", BMVC
2018, section 4: a map orders the pixels. Take them out of the image in this order, the highest
first, and a right map makes the answer fall soon (deletion). Bring them into a blurred image, and a
right map makes the answer rise soon (insertion). The area under either curve is the measure.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core import device as devices
from labsupport.core import images as pictures
from labsupport.core import modes
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.network import Network, Pair, TargetLike
from labsupport.methods.occlusion import Fill, fill_image

# What stands for pixels that are not there, unless another fill is asked for: Petsiuk et al.'s.
WAYS = {"deletion": "mean", "insertion": "blur"}
VIEWS = ("probability", "score")


@dataclass(frozen=True)
class PixelCurve:
    """What the network answers while the pixels of an image are exchanged in the order of a map.

    `fractions` (S,) is the share of the pixels that is exchanged, from 0 to 1, and `values` (S,)
    the target's probability or score there. `area` is the area under the curve: the mean value
    over all shares. Small is good for the way "deletion", large for "insertion".
    """

    fractions: Tensor
    values: Tensor
    way: str

    @property
    def area(self) -> float:
        """The area under the curve, in the unit of the values."""
        return float(torch.trapezoid(self.values.double(), self.fractions))


def pixel_curve(
    network: Network,
    image: Tensor,
    target: TargetLike,
    map: Tensor,  # noqa: A002 - the word that the lecture uses
    *,
    way: str = "deletion",
    fill: Fill | None = None,
    steps: int = 32,
    view: str = "probability",
) -> PixelCurve:
    """Deletion or insertion: exchange the pixels of an image (1, 3, H, W) in the order of a map
    (H, W), and record what becomes of the target.

    `way` is "deletion": pixels of the fill take the place of the image's; or "insertion": the other
    way round. `fill` is one of `occlusion_map`; without it, it is "mean" for deletion and "blur"
    for insertion, as in the paper. `steps` is the number of equal parts of the pixels. Pixels with
    equal numbers come row by row, from left to right. `view` is "probability", or "score", which a
    unit has as well.

    Errors: `BadSetting` (way, view, steps, a map of another size, with NaN, or the same
    everywhere), `BadImage`, `UnknownClass`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> bright = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    >>> network = networks.wrap(bright, categories=["dark", "bright"], input_size=4)
    >>> image, map = torch.ones(1, 3, 4, 4), torch.arange(16.0).view(4, 4)
    >>> pixel_curve(network, image, "bright", map, steps=4).fractions.tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    network.check(image, one=True)
    one_of(way, WAYS, "a way")
    one_of(view, VIEWS, "a view")
    wanted = network.placed(network.target(target), (image.shape[2], image.shape[3]))
    if view == "probability" and wanted.layer is not None:
        raise BadSetting(f"{wanted} is no class, so it has no probability: ask for view='score'")
    image = image.detach().cpu()
    filled = fill_image(network, image, WAYS[way] if fill is None else fill)
    before, after = (image, filled) if way == "deletion" else (filled, image)
    ranks = _ranks(pictures.checked_map(image, map))
    counts = _counts(steps, ranks.numel())
    part = network.part((network.node_of(wanted),))

    def answers(counts: Tensor) -> Tensor:
        activations = part(network.send(_exchanged(before, after, ranks, counts.cpu())))[0]
        asked = activations.softmax(1) if view == "probability" else activations
        return wanted.value(asked)

    values = devices.in_batches(answers, counts, device=network.device)
    return PixelCurve(counts.double() / ranks.numel(), values, way)


def exchanged(
    image: Tensor,
    other: Tensor,
    map: Tensor,  # noqa: A002
    share: float,
) -> Tensor:
    """The image (1, 3, H, W) with a share of its pixels from the other one: those where the map
    (H, W) is highest.

    Errors: as `pixel_curve`; `BadSetting` for a share outside 0 to 1.

    >>> black, white = torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2)
    >>> exchanged(black, white, torch.tensor([[1, 2]]), 0.5)[0, 0]
    tensor([[0., 1.]])
    """
    ranks = _ranks(pictures.checked_map(image, map))
    if other.shape != image.shape or not 0 <= share <= 1:
        raise BadSetting(
            f"share lies between 0 and 1, and both images have one size; not {share}, "
            f"{tuple(image.shape)} and {tuple(other.shape)}"
        )
    count = torch.tensor([round(share * ranks.numel())])
    return _exchanged(image.detach().cpu(), other.detach().cpu(), ranks, count)


def controls(size: Pair, *, seed: int = 0) -> dict[str, Tensor]:
    """Two maps (height, width) that know nothing of an image or a network: "random" numbers from 0
    to 1, and "centre", which is 1 in the middle and falls to 0 in the corners.

    A map that shows something has better areas than both. Errors: `BadSetting`.

    >>> controls((3, 3))["centre"]
    tensor([[0.0000, 0.2929, 0.0000],
            [0.2929, 1.0000, 0.2929],
            [0.0000, 0.2929, 0.0000]])
    """
    height, width = pictures.checked_size(size)
    random = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    down, across = (torch.linspace(-1, 1, side) for side in (height, width))
    distance = torch.hypot(down[:, None], across[None, :])
    return {"random": random, "centre": 1 - distance / distance.amax()}


def _ranks(values: Tensor) -> Tensor:
    """The place of each pixel in the order of a map, (H, W): 0 is the highest; of equal ones the
    first in reading order."""
    order = values.flatten().argsort(descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return ranks.view(values.shape)


def _counts(steps: int, pixels: int) -> Tensor:
    """How many pixels are exchanged at each step, (steps + 1,)."""
    if not isinstance(steps, int) or not 1 <= steps <= pixels:
        raise BadSetting(f"steps is a whole number from 1 to {pixels}, the pixels, not {steps!r}")
    return (torch.linspace(0, 1, steps + 1, dtype=torch.float64) * pixels).round().long()


def _exchanged(before: Tensor, after: Tensor, ranks: Tensor, counts: Tensor) -> Tensor:
    """(N, 3, H, W): for each count, so many pixels of the image after in that before."""
    return torch.where(ranks < counts[:, None, None, None], after, before)


modes.keep(__name__)
