"""From an image to its code, whole or in part, and from a code to an image that has it."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.frames import framed
from labsupport.core.images import hog as hogs
from labsupport.core.network import Network, Pair
from labsupport.core.network.layers import checked_position
from labsupport.methods import optimize
from labsupport.methods.optimize import Frame
from labsupport.methods.optimize.distances import CodeDistance, codes_of

HOG = "HOG"


@dataclass(frozen=True)
class Hog:
    """The histograms of oriented gradients of an image, as a representation; see `core.hog`."""

    cell: int = hogs.CELL
    block: int = hogs.BLOCK
    bins: int = hogs.BINS

    def __str__(self) -> str:
        return HOG

    def __call__(self, images: Tensor) -> Tensor:
        """The codes (N, D) of images (N, 3, H, W); gradients flow through."""
        return hogs.hog(images, cell=self.cell, block=self.block, bins=self.bins)


@dataclass(frozen=True)
class Code:
    """What is kept of images: their activations, and nothing of their pixels.

    `values` is (N, C, H, W) or (N, D), on the CPU; `layer` is where they come from, `size` the
    images' (height, width). `mask`, which multiplies the values, keeps a part of them.
    """

    layer: str | Hog
    values: Tensor
    size: Pair
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: int | slice) -> Code:
        """The code of one of the images, or of some."""
        part = slice(place, place + 1 or None) if isinstance(place, int) else place
        return replace(self, values=self.values[part])

    @property
    def title(self) -> str:
        """The layer's name."""
        return str(self.layer)

    @property
    def numbers(self) -> int:
        """How many numbers are kept of each image."""
        kept = torch.ones_like(self.values[:1])
        return int(kept.sum() if self.mask is None else (kept * (self.mask != 0)).sum())

    @property
    def kept(self) -> Tensor:
        """The values that count, (N, D), the others as zeros."""
        kept = self.values if self.mask is None else self.values * self.mask
        return kept.flatten(1)

    @property
    def distance(self) -> CodeDistance:
        """The distance to this code, as an objective."""
        return CodeDistance(self.layer, self.values, self.mask)


def encode(network: Network, images: Tensor, layer: str | Hog) -> Code:
    """The codes of images (N, 3, H, W) at a layer, at "log-probabilities" or "scores", or `Hog()`.

    Errors: `BadImage`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> network = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), input_size=8)
    >>> encode(network, torch.rand(2, 3, 8, 8), "1").values.shape
    torch.Size([2, 5])
    """
    return Code(layer, codes_of(network, layer, images), (images.shape[2], images.shape[3]))


def neighbourhood(code: Code, position: Pair, *, size: int = 5) -> Code:
    """The code with `size` x `size` positions about (row, column) kept, and nothing else.

    Errors: `BadSetting` for a code without positions, or a place outside its map.

    >>> maps = Code("fire2", torch.ones(1, 4, 9, 9), (36, 36))
    >>> neighbourhood(maps, (0, 4), size=5).numbers  # 3 rows are inside
    60
    """
    if code.values.ndim != 4:
        raise BadSetting(f"the code at {code.title} has no map, so it has no positions")
    height, width = code.values.shape[2:]
    row, column = checked_position(position)
    if not (row < height and column < width and 1 <= size < math.inf) or size != int(size):
        raise BadSetting(
            f"the map of {code.title} has the rows 0 to {height - 1} and the columns 0 to "
            f"{width - 1}; {position} with size {size} is none of its neighbourhoods"
        )
    first, left = row - (size - 1) // 2, column - (size - 1) // 2
    mask = torch.zeros(1, 1, height, width)
    mask[:, :, max(0, first) : first + size, max(0, left) : left + size] = 1
    return _masked(code, mask)


def some_channels(code: Code, channels: Sequence[int] | slice) -> Code:
    """The code with these channels kept, and nothing else.

    Errors: `BadSetting` for a channel that it does not have.
    """
    count = code.values.shape[1]
    try:
        all_or_some = range(count)[channels] if isinstance(channels, slice) else channels
        wanted = [operator.index(one) for one in all_or_some]
    except TypeError:  # nothing to go through, or no whole numbers in it
        wanted = []
    if not wanted or not all(0 <= one < count for one in wanted):
        raise BadSetting(f"{code.title} has the channels 0 to {count - 1}, not {channels}")
    mask = torch.zeros(1, count, *[1] * (code.values.ndim - 2))
    mask[:, wanted] = 1
    return _masked(code, mask)


def last_pooling(network: Network) -> str:
    """The name of the last pooling layer that still has a map: the lecture's pool5.

    Errors: `BadSetting` for a network without one.
    """
    pools = [one for one in network.layers if "pool" in one.kind and min(one.shape[1:] or (1,)) > 1]
    if not pools:
        raise BadSetting(f"{network.name} has no pooling layer with a map")
    return pools[-1].title


def _masked(code: Code, mask: Tensor) -> Code:
    if isinstance(code.layer, Hog):
        raise BadSetting("a HOG code is kept whole")
    return replace(code, mask=mask if code.mask is None else code.mask * mask)


# From a code to an image: the settings, the search, and a sweep of the prior


_WORTH = 0.01  # of the loss: a fall by less is not worth a code that is further away


@dataclass(frozen=True)
class Setting:
    """How a code is inverted.

    `tv` weighs the total variation (with the exponent `beta`), `alpha` the alpha-norm with the
    `exponent` 6, as in the paper; `edge` weighs pixels that leave the range. The picture is shifted
    by up to `jitter` pixels before each of the first share `until` of the `steps`: it hides from
    the network where a pooling window begins.
    """

    tv: float = 3.0
    alpha: float = 0.0
    beta: float = 2.0
    exponent: float = 6.0
    edge: float = 0.0
    jitter: int = 0
    until: float = 0.8
    parameterization: optimize.Parameterization = field(
        default_factory=lambda: optimize.Fourier(sd=0.1)
    )
    optimizer: optimize.Optimizer = field(default_factory=lambda: optimize.LBFGS(0.02))
    steps: int = 120

    @property
    def recipe(self) -> optimize.Recipe:
        """The same as the engine takes it."""
        for name, weight in (("tv", self.tv), ("alpha", self.alpha), ("edge", self.edge)):
            if not (weight >= 0 and math.isfinite(weight)):
                raise BadSetting(f"{name} is 0 or more, not {weight}")
        penalties: tuple[tuple[float, optimize.Regularizer], ...] = (
            (self.tv, optimize.TotalVariation(self.tv, self.beta)),
            (self.alpha, optimize.AlphaNorm(self.alpha, self.exponent)),
            (self.edge, optimize.Range(self.edge)),
        )
        used = tuple(one for weight, one in penalties if weight > 0)
        shifts = (optimize.Jitter(self.jitter, self.until),) if self.jitter else ()
        return optimize.Recipe(
            "inversion", "noise", self.parameterization, shifts, used, self.optimizer, self.steps
        )


def setting_for(network: Network, code: Code) -> Setting:
    """A setting that suits this code: the deeper its layer, the more the picture's prior has to
    say, as in the paper, whose weight of the total variation grows from 1 to 10 to 100.

    Log-probabilities lie far from zero for every image, so their relative distances are small, and
    small weights are enough. They and HOG tell nothing of contrast: the start has to bring it.
    """
    if isinstance(code.layer, Hog):
        return Setting(tv=0.3, parameterization=optimize.Fourier(sd=0.3))
    if code.layer in (optimize.SCORES, optimize.LOG_PROBABILITIES) or code.values.ndim < 4:
        return Setting(tv=0.1, parameterization=optimize.Fourier(sd=0.3))
    stride = max(network.stride(network.node(code.layer)))
    return Setting(tv=1.0 if stride <= 4 else 3.0 if stride <= 8 else 10.0)


@framed
def invert(
    network: Network,
    code: Code,
    *,
    setting: Setting | None = None,
    tv: float | None = None,
    start: str | Tensor | Frame | None = None,
    steps: int | None = None,
    seed: int | Sequence[int] = 0,
    every: int = 5,
) -> Iterator[Frame]:
    """Change an image until it has this code: the last frame. `.frames` gives one before the first
    step, then each `every` steps, and the last.

    One code with several seeds, or several codes with one seed, make a batch. `tv` and `steps` go
    before the setting's. `start` is "noise", "zeros", "grey", "black", an image, or a frame to go
    on from. A frame's `score` is minus the code distance: of the image as the network saw it,
    shifted or not; in the last frame, of the image as it is. L-BFGS now and then tries a step that
    is too far, and takes it back: its frames (without jitter) show the best picture of those so
    far, also in the result. From one to the next the loss never rises, and the code distance rises
    only where that lowers the loss by more than a hundredth.

    Errors: `BadSetting`, `UnknownLayer`, `BadImage` at once; `BadSetting` for a value that is no
    number any more, when it happens.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> from labsupport.methods.inversion import encode
    >>> network = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), input_size=8)
    >>> code = encode(network, torch.rand(1, 3, 8, 8), "1")
    >>> first = next(invert.frames(network, code))
    >>> float(-invert(network, code, steps=20).score) < 0.1 * float(-first.score)
    True
    """
    setting = setting_for(network, code) if setting is None else setting
    setting = setting if tv is None else replace(setting, tv=tv)
    begin = setting.recipe.start if start is None else start
    frames = optimize.visualize.frames(
        network,
        code.distance,
        recipe=setting.recipe,
        start=begin,
        size=code.size if isinstance(begin, str) else None,
        steps=steps,
        seed=seed,
        every=every,
    )
    tries = isinstance(setting.optimizer, optimize.LBFGS) and not setting.jitter
    return _best_so_far(frames, setting.recipe) if tries else frames


def _best_so_far(frames: Iterator[Frame], recipe: optimize.Recipe) -> Iterator[Frame]:
    """Each frame with the pictures that were best so far. They look at the same thing, so their
    losses compare; what is gone on from stays the frame's own."""
    lowest, best = None, None
    for frame in frames:
        loss = _loss(frame, recipe)
        if lowest is None or best is None:
            lowest, best = loss, frame
        else:
            nearer = (frame.score >= best.score) | (loss < (1 - _WORTH) * lowest)
            better = (loss <= lowest) & nearer
            lowest = torch.where(better, loss, lowest)
            best = _chosen(better, frame, best)
        yield best


def _loss(frame: Frame, recipe: optimize.Recipe) -> Tensor:
    """What is being lowered, (N,): the code distance and the penalties, with their weights."""
    penalties = [one for one in recipe.regularizers if isinstance(one, optimize.Penalty)]
    values = list(frame.terms.values())[1:]  # the first one is the distance
    parts = [one.weight * value for one, value in zip(penalties, values, strict=True)]
    return torch.stack([-frame.score, *parts]).sum(0)


def _chosen(better: Tensor, frame: Frame, before: Frame) -> Frame:
    """The frame, with the pictures of the one before where those are better."""
    return replace(
        frame,
        image=torch.where(better[:, None, None, None], frame.image, before.image),
        terms={
            name: torch.where(better, value, before.terms[name])
            for name, value in frame.terms.items()
        },
        score=torch.where(better, frame.score, before.score),
    )


def weight_sweep(
    network: Network,
    code: Code,
    weights: Sequence[float],
    *,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[float, Frame]]:
    """One code with each of these weights of the total variation: (weight, last frame) each.

    Errors: those of `invert`.
    """
    for weight in weights:
        yield weight, invert(network, code, tv=weight, steps=steps, seed=seed)
