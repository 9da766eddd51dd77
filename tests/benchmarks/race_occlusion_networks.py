"""Occlusion maps of other networks, with random weights, against plain batches."""

from __future__ import annotations

from contest import race
from race_occlusion import against_plain

from labsupport.core import network as networks

_WANTED = {"alexnet": 2.4, "resnet18": 2.0, "vgg16": 4.5}


def bench() -> None:
    """Print the ratios; of VGG-16's map the plain way, which takes minutes, does a fifth."""
    race(
        against_plain(
            networks.load(name, weights="random"),
            wanted,
            rounds=2 if name == "vgg16" else 3,
            every=5 if name == "vgg16" else 1,
        )
        for name, wanted in _WANTED.items()
    )
