"""The search for top patches against the bare forward pass over the same images."""

from collections.abc import Sequence
from functools import partial

import torch
from contest import Contest, Peer, race

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.methods.patches import top_patches


def bench() -> None:
    """Print how near the search for all units comes to computing their activations alone."""
    network = networks.load()
    shown = [images.standard(one) for one in [*images.photos(), *images.cutouts()]]
    layer = "fire9"
    bare = Peer(partial(_bare, network, layer, shown), 0.88)
    contest = Contest(
        f"top 9 patches of all {network.layer(layer).shape[0]} units of {layer}",
        lambda: top_patches(network, layer, shown).values[:, 0],
        {"bare forward to the layer, batches of 8": bare},
        equal=_same,
    )
    race([contest], f"{len(shown)} photos and cut-outs of 224 pixels, decoded before")


def _bare(network: Network, layer: str, shown: Sequence[torch.Tensor]) -> torch.Tensor:
    """Every activation, and from the last few the largest, so that something can be compared."""
    up_to = network.up_to(layer)
    with torch.no_grad():
        for first in range(0, len(shown), 8):
            maps = up_to(torch.cat(list(shown[first : first + 8])))
    return maps.amax((0, 2, 3))


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """No unit's best patch of all lies below its best of the last images."""
    return bool((ours >= theirs - 1e-3 * theirs.abs()).all())
