"""What is explained: a class, a channel of a layer, or one neuron."""

from dataclasses import dataclass

import torch

from labsupport.core.errors import BadSetting
from labsupport.core.network.operations import Pair


@dataclass(frozen=True)
class Target:
    """A number that a network computes from an image.

    A class's value is its score before softmax; a channel's is the mean over its map; a neuron's
    is its activation. Build one with `network.target(...)`, which checks it.
    """

    layer: str | None  # None: the scores
    index: int  # the class, or the channel
    position: Pair | None
    title: str

    def __str__(self) -> str:
        return self.title

    def value(self, activations: torch.Tensor) -> torch.Tensor:
        """The target's value (N,) from the activations (N, C, H, W) or (N, C) of its layer."""
        channel = activations[:, self.index]
        if self.position is not None:
            return channel[:, self.position[0], self.position[1]]
        return channel.flatten(1).mean(1) if channel.ndim > 1 else channel


def checked_position(position: object) -> Pair:
    """A position (row, column) in a map, as it came; `BadSetting` for anything else."""
    match position:
        case (int(row), int(column)) if row >= 0 and column >= 0:
            return (row, column)
    raise BadSetting(f"a position is (row, column), counted from 0, not {position!r}")
