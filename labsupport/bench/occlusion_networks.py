"""Occlusion maps of other networks, with random weights, against plain batches: takes minutes."""

from __future__ import annotations

from labsupport.bench.occlusion import against_plain, tell
from labsupport.core import networks

_WANTED = {"alexnet": 2.4, "resnet18": 2.0, "vgg16": 4.5}


def bench() -> None:
    """Print the ratios; VGG-16's plain way takes minutes and so has one round."""
    tell(
        against_plain(
            networks.load(name, weights="random"), wanted, rounds=1 if name == "vgg16" else 3
        )
        for name, wanted in _WANTED.items()
    )
