"""The search for top patches in one pass over the images, and a closer look at single units."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from labsupport.core import streams
from labsupport.core.errors import BadSetting, nearest
from labsupport.core.network import Network
from labsupport.core.streams import Images, ScaledImages, batches
from labsupport.methods.patches import scanning
from labsupport.methods.patches.results import TopPatches, published
from labsupport.methods.patches.scanning import Channels, Suppress

Progress: TypeAlias = Callable[[float], object]


def top_patches(
    network: Network,
    layer: str,
    images: Images,
    *,
    k: int = 9,
    channels: Channels = None,
    suppress: Suppress = 0.3,
    order: str = "most",
    progress: Progress | None = None,
) -> TopPatches:
    """The `k` patches of all images that make each unit of a layer fire most.

    `images` is an `ImageSet`, a sequence of images (1, 3, H, W) of any sizes, a tensor
    (N, 3, H, W), or what `several_scales` gives. `channels` picks channels by number; a matrix
    (units, C) of directions in channel space takes weighted sums of channels for units.
    `suppress` thins out each image as R-CNN does: from the best patch on, those whose boxes
    overlap a better one by more than this share (intersection over union) are left out; 1.0
    leaves out none, "picture" all but the best of a picture. `order` "least" looks for the
    smallest activations. Equal activations stand in the order of images, rows, columns.

    One pass over the images, in small batches, no further than the layer; memory does not grow
    with their number. `progress` is called with the share that is done.

    Errors: `UnknownLayer`; `BadSetting` (k, channels, suppress, order, no images); `BadImage`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> red = nn.Sequential(nn.Conv2d(3, 1, 2, stride=2), nn.Flatten(), nn.Linear(16, 2))
    >>> red[0].weight.data = torch.tensor([0.25, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    >>> network = networks.wrap(red, mean=(0, 0, 0), std=(1, 1, 1), input_size=8)
    >>> image = torch.zeros(1, 3, 8, 8)
    >>> image[0, 0, 2:4, 6:8] = 1
    >>> top_patches(network, "conv1", image, k=1).boxes.tolist()
    [[[6, 2, 8, 4]]]
    """
    settings: dict[str, Any] = {"k": k, "suppress": suppress, "order": order}
    by_layer = top_patches_by_layer(
        network, {layer: channels}, images, **settings, progress=progress
    )
    return by_layer[layer]


def top_patches_by_layer(
    network: Network,
    layers: Sequence[str] | Mapping[str, Channels],
    images: Images,
    *,
    k: int = 9,
    suppress: Suppress = 0.3,
    order: str = "most",
    progress: Progress | None = None,
) -> dict[str, TopPatches]:
    """`top_patches` of several layers, from one pass over the images that ends at the deepest.

    `layers` are names, or a table with the `channels` of each. The results have the same names.

    Errors: as `top_patches`; `BadSetting` for no layers.
    """
    wanted = layers if isinstance(layers, Mapping) else dict.fromkeys(layers)
    ranking = scanning.Ranking(k, suppress, order)
    scans = {
        name: scanning.Scan(scanning.Units(network, name, chosen), ranking)
        for name, chosen in wanted.items()
    }
    if not scans:
        raise BadSetting("there are no layers to look for patches in: name one at least")
    if streams.count_of(images) == 0:
        raise BadSetting("there are no images to look for patches in")
    for done in scanning.scan_together(list(scans.values()), images):
        if progress is not None:
            progress(done / len(images))
    return {name: _result(scan, len(images)) for name, scan in scans.items()}


def _result(scan: scanning.Scan, count: int) -> TopPatches:
    network, layer = scan.units.network, scan.units.layer
    prints = {
        "network": streams.network_fingerprint(network, layer),
        "images": streams.fingerprint_text(scan.fingerprint),
    }
    return TopPatches(
        layer=layer,
        units=scan.units.chosen,
        order=scan.ranking.order,
        suppress=scan.ranking.suppress,
        scanned=((0, count),),
        fingerprints=prints,
        **published(scan.lists, scan.ranking.sign),
    )


def random_directions(channels: int, count: int = 8, *, seed: int = 0) -> Tensor:
    """Unit vectors (count, channels) that point anywhere in a layer's channel space.

    Szegedy et al. 2013 ask whether a unit is any more special than these: hand them to
    `top_patches` as its `channels`.

    >>> random_directions(512, 4).norm(dim=1)
    tensor([1.0000, 1.0000, 1.0000, 1.0000])
    """
    if channels < 1 or count < 1:
        raise BadSetting("a direction needs at least one channel, and there is at least one")
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(count, channels, generator=generator)
    unit: Tensor = torch.nn.functional.normalize(directions)
    return unit


def several_scales(images: Images, sizes: Sequence[int] = (224, 320, 448)) -> ScaledImages:
    """The middle square of every image at several sizes, so that many more patches compete.

    All images of the first size come first, then those of the second, and so on.

    Errors: `BadSetting` for no sizes, or one below 1.

    >>> len(several_scales(torch.rand(5, 3, 40, 60), (32, 48)))
    10
    """
    streams.count_of(images)
    if not sizes or min(sizes) < 1:
        raise BadSetting(f"sizes are numbers of pixels from 1 on, not {tuple(sizes)}")
    return ScaledImages(images, tuple(sizes))


# Single units: all of their activations, and how well a word names their patches


@dataclass(frozen=True)
class UnitActivations:
    """Every activation of one unit in a set, whole and unsorted: what its top patches leave out.

    `values` (P,), with the image and the (row, column) of each, `images` (P,) and `positions`
    (P, 2). There are as many as there are positions, so memory does grow with the set.
    """

    layer: str
    channel: int
    values: Tensor
    images: Tensor
    positions: Tensor

    def near(self, value: float, count: int = 9) -> Tensor:
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
    unit = scanning.Units(network, layer, [channel])
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


def precision_at_k(patches: TopPatches, labels: Sequence[str], wanted: str) -> Tensor:
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
    share: Tensor = hits.cumsum(1) / torch.arange(1, patches.k + 1)
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
