"""Codes of images: what is kept of them, whole or in part."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.images import hog as hogs
from labsupport.core.network import Network, Pair
from labsupport.core.network.targets import checked_position
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
    height, width = _map_size(code)
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


def _map_size(code: Code) -> Pair:
    if code.values.ndim != 4:
        raise BadSetting(f"the code at {code.title} has no map, so it has no positions")
    return (code.values.shape[2], code.values.shape[3])


def _masked(code: Code, mask: Tensor) -> Code:
    if isinstance(code.layer, Hog):
        raise BadSetting("a HOG code is kept whole")
    return replace(code, mask=mask if code.mask is None else code.mask * mask)
