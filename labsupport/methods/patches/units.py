"""Looking closer at units: all of their activations, and how well a word names their patches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from labsupport.core.errors import BadSetting, nearest
from labsupport.core.network import Network
from labsupport.core.streams import Images, batches
from labsupport.methods.patches.results import TopPatches
from labsupport.methods.patches.scanning import Units
from labsupport.methods.patches.search import Progress


@dataclass(frozen=True)
class UnitActivations:
    """Every activation of one unit in a set, whole and unsorted: what its top patches leave out.

    `values` (P,), with the image and the (row, column) of each, `images` (P,) and `positions`
    (P, 2). There are as many as there are positions, so memory does grow with the set.
    """

    layer: str
    channel: int
    values: torch.Tensor
    images: torch.Tensor
    positions: torch.Tensor

    def near(self, value: float, count: int = 9) -> torch.Tensor:
        """The places (count,) in `values` of other images each, as near to `value` as there are."""
        order = (self.values - value).abs().argsort(stable=True)
        _, first = np.unique(self.images[order].numpy(), return_index=True)
        return order[torch.from_numpy(np.sort(first)[:count])]


def unit_activations(
    network: Network, layer: str, images: Images, channel: int, *, progress: Progress | None = None
) -> UnitActivations:
    """What one unit answers at every position of every image: the whole distribution.

    Errors: `UnknownLayer`; `BadSetting` for a channel that the layer does not have or no images.
    """
    unit = Units(network, layer, [channel])
    values, numbers, cells = [], [], []
    for batch in batches(network, images):
        maps = unit.maps(batch.images)[:, 0]  # (N, H, W)
        values.append(maps.flatten())
        numbers.append(torch.tensor(batch.numbers).repeat_interleave(maps[0].numel()))
        cells.append(torch.ones_like(maps[0]).nonzero().repeat(len(maps), 1))
        if progress is not None:
            progress(batch.done / len(images))
    if not values:
        raise BadSetting("there are no images to look at")
    return UnitActivations(
        unit.layer, channel, torch.cat(values), torch.cat(numbers), torch.cat(cells)
    )


def precision_at_k(patches: TopPatches, labels: Sequence[str], wanted: str) -> torch.Tensor:
    """Precision at 1, 2, ... k: how many of a unit's best patches come from pictures of a label.

    `labels` has one word for each picture of the set. The result is (units, k), 0 to 1; a patch
    that is missing counts as a miss.

    Errors: `BadSetting` for a label that no picture has, or too few labels.

    >>> from torch import nn
    >>> from labsupport import networks, patches
    >>> module = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(4, 2))
    >>> network = networks.wrap(module, input_size=2)
    >>> shown = torch.rand(3, 3, 2, 2)
    >>> best = patches.top_patches(network, "conv1", shown, k=3, suppress="picture")
    >>> precision_at_k(best, ["cat", "cat", "cat"], "cat")
    tensor([[1., 1., 1.]])
    """
    if wanted not in labels:
        close = ", ".join(nearest(wanted, labels))
        raise BadSetting(f"no picture has the label {wanted!r}; the nearest are {close}")
    if len(labels) <= int(patches.pictures.max()):
        raise BadSetting(f"{len(labels)} labels are too few: every picture of the set needs one")
    right = torch.tensor([label == wanted for label in labels])
    hits = right[patches.pictures.clamp_min(0)] & (patches.pictures >= 0)
    share: torch.Tensor = hits.cumsum(1) / torch.arange(1, patches.k + 1)
    return share


def units_for(patches: TopPatches, labels: Sequence[str], wanted: str, count: int = 6) -> list[int]:
    """The units whose top patches come most often from pictures of a label, the best first.

    Of units with equal precision, the one whose hits come earlier is first. For directions, their
    row numbers.

    Errors: as `precision_at_k`.
    """
    share = precision_at_k(patches, labels, wanted)
    order = np.lexsort((-share.mean(1).numpy(), -share[:, -1].numpy()))[:count]
    units = patches.units if patches.units.ndim == 1 else torch.arange(len(patches.units))
    return [int(units[row]) for row in order]
