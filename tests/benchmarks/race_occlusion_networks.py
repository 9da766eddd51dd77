"""Occlusion maps of other networks, with random weights, against plain batches."""

from contest import race
from race_occlusion import against_plain

from labsupport.core import network as networks

_WANTED = {"alexnet": 2.4, "resnet18": 2.0, "vgg16": 4.5}
_SLOW = {"vgg16": {"rounds": 2, "every": 5}}  # the plain way, which takes minutes, does a fifth


def bench() -> None:
    """Print the ratios."""
    race(
        against_plain(networks.load(name, weights="random"), wanted, **_SLOW.get(name, {}))
        for name, wanted in _WANTED.items()
    )
