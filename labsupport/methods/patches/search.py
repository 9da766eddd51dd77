"""The search for top patches in one pass over the images; what it gives, kept in files, and merged
with that of other images; and a closer look at single units."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from labsupport.core import streams
from labsupport.core.errors import BadSetting, DamagedData, nearest
from labsupport.core.images.saving import whole_file
from labsupport.core.network import Network, Pair
from labsupport.core.streams import Images, ScaledImages, batches
from labsupport.methods.patches import scanning
from labsupport.methods.patches.scanning import Channels, Lists, Ranking, Suppress

_FORMAT = "top patches 1"
_TENSORS = ("units", "values", "images", "pictures", "positions", "boxes")


@dataclass(frozen=True)
class TopPatches:
    """For each unit of a layer, the `k` patches that make it fire most (or least), best first.

    `values` (units, k) are activations, NaN where there are fewer patches; `images` (units, k)
    says in which image of the set, -1 for none; `pictures` the same without counting scales apart.
    `positions` (units, k, 2) are (row, column) in the layer's map, `boxes` (units, k, 4) the
    receptive fields, (left, top, right, bottom) in that image's pixels, clipped to it.
    `units` holds the channels (units,), or the directions (units, C) that took their place.
    `scanned` are the images that have competed, as spans (first, one past the last).
    """

    layer: str
    units: Tensor
    values: Tensor
    images: Tensor
    pictures: Tensor
    positions: Tensor
    boxes: Tensor
    order: str
    suppress: Suppress
    scanned: tuple[Pair, ...]
    fingerprints: Mapping[str, str]  # of the "network" up to the layer, and of the "images"

    @property
    def k(self) -> int:
        """How many patches each unit may have."""
        return self.values.shape[1]

    def row(self, unit: int) -> int:
        """In which row of the tensors a unit is: a channel, or the number of a direction.

        Errors: `BadSetting` for a unit that was not scanned.
        """
        known = self.units if self.units.ndim == 1 else torch.arange(len(self.units))
        rows = (known == unit).nonzero()
        if len(rows) != 1:
            what = "channel" if self.units.ndim == 1 else "direction"
            near = (known - unit).abs().argsort(stable=True)[:3]
            close = ", ".join(map(str, known[near].tolist()))
            raise BadSetting(
                f"{self.layer}: {what} {unit} is not among the {len(known)} that were scanned; "
                f"the nearest are {close}"
            )
        return int(rows[0])

    def shifted(self, count: int) -> TopPatches:
        """The same patches, their images counted from `count` on instead of from 0.

        That is what the second part of a set needs before `merge`.
        """
        if count < 0:
            raise BadSetting(f"images are counted from 0: {count} is none")
        moved = streams.fingerprint_text(
            streams.shifted_fingerprint(int(self.fingerprints["images"], 16), count)
        )
        return replace(
            self,
            images=torch.where(self.images < 0, -1, self.images + count),
            pictures=torch.where(self.pictures < 0, -1, self.pictures + count),
            scanned=tuple((first + count, end + count) for first, end in self.scanned),
            fingerprints={**self.fingerprints, "images": moved},
        )

    def save(self, path: str | Path) -> Path:
        """Write everything to a safetensors file, which `TopPatches.load` reads again."""
        file = Path(path).expanduser()
        header = {"format": _FORMAT, "layer": self.layer, "order": self.order}
        notes = {**header, "suppress": self.suppress, "scanned": self.scanned}
        words = json.dumps({**notes, "fingerprints": dict(self.fingerprints)})
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        with whole_file(file) as part:
            part.write_bytes(save(tensors, metadata={"patches": words}))
        return file

    @classmethod
    def load(
        cls, path: str | Path, network: Network | None = None, images: Images | None = None
    ) -> TopPatches:
        """What `save` wrote; with a network or images, only if they are those of the scan.

        Errors: `DamagedData` for another kind of file, `BadSetting` for patches of another
        network, of other weights, or of other images.
        """
        file = Path(path).expanduser()
        try:
            with safe_open(file, "pt") as opened:
                notes = json.loads((opened.metadata() or {})["patches"])
                tensors = {name: opened.get_tensor(name) for name in _TENSORS}
                kept = {name: notes[name] for name in ("layer", "order", "suppress")}
                scanned = tuple((int(first), int(end)) for first, end in notes["scanned"])
                prints = {name: str(notes["fingerprints"][name]) for name in ("network", "images")}
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedData(f"{file} holds no top patches ({error}). Scan again.") from error
        patches = cls(**kept, **tensors, scanned=scanned, fingerprints=prints)
        patches._belongs_to(network, images, file.name)
        return patches

    def _belongs_to(self, network: Network | None, images: Images | None, name: str) -> None:
        if (
            network is not None
            and streams.network_fingerprint(network, self.layer) != self.fingerprints["network"]
        ):
            raise BadSetting(
                f"{name} was made with another network than {network.name}, or with other weights "
                f"below {self.layer}. Scan again: top_patches(network, {self.layer!r}, images)"
            )
        if images is None:
            return
        fingerprint = streams.fingerprint_text(
            sum(
                streams.image_fingerprint(one.image, one.number)
                for one in streams.numbered_images(images)
            )
        )
        if self.scanned != ((0, len(images)),) or fingerprint != self.fingerprints["images"]:
            raise BadSetting(
                f"{name} was made with other images than these {len(images)}, or in another "
                "order. Scan these: top_patches(network, layer, images)"
            )


def merge(first: TopPatches, second: TopPatches) -> TopPatches:
    """The patches of two parts of a set as if it had been scanned at once.

    The parts' images must be numbered apart: `second.shifted(len(first_images))`. In which order
    parts are merged does not matter.

    Errors: `BadSetting` for scans of other units or with other settings, and for an image that
    both have seen.
    """
    _check_parts(first, second)
    ranking = Ranking(first.k, first.suppress, first.order)
    lists = _lists(first, ranking.sign).with_more(_lists(second, ranking.sign), ranking)
    images = sum(int(one.fingerprints["images"], 16) for one in (first, second))
    changes: dict[str, Any] = {
        "scanned": _connected(first.scanned + second.scanned),
        "fingerprints": {**first.fingerprints, "images": streams.fingerprint_text(images)},
    }
    return replace(first, **changes, **published(lists, ranking.sign))


def _lists(patches: TopPatches, sign: int) -> Lists:
    """The lists as a scan keeps them."""
    values = (patches.values * sign).nan_to_num(nan=-torch.inf).numpy()
    images, pictures = patches.images[..., None], patches.pictures[..., None]
    return Lists(values, torch.cat([images, pictures, patches.positions, patches.boxes], 2).numpy())


def published(lists: Lists, sign: int) -> dict[str, Any]:
    """The lists as a result shows them."""
    places = torch.from_numpy(lists.places.copy())
    values = torch.from_numpy(lists.values.copy()) * sign
    return {
        "values": torch.where(places[..., scanning.IMAGE] < 0, torch.nan, values),
        "images": places[..., scanning.IMAGE],
        "pictures": places[..., scanning.PICTURE],
        "positions": places[..., scanning.ROW : scanning.COLUMN + 1],
        "boxes": places[..., scanning.BOX],
    }


def _check_parts(first: TopPatches, second: TopPatches) -> None:
    for name in ("layer", "k", "order", "suppress"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise BadSetting(f"these scans do not fit together: {name} is {one!r} and {other!r}")
    if not torch.equal(first.units, second.units):
        raise BadSetting("these scans do not fit together: they are of other units")
    if first.fingerprints["network"] != second.fingerprints["network"]:
        raise BadSetting("these scans do not fit together: they are of other networks or weights")
    spans = sorted(first.scanned + second.scanned)
    for (_, end), (start, _) in itertools.pairwise(spans):
        if start < end:
            raise BadSetting(
                f"both scans have seen image {start}: number the second part's images from where "
                "the first ends, second.shifted(len(first_images))"
            )


def _connected(spans: Sequence[Pair]) -> tuple[Pair, ...]:
    """The spans in order, those that touch made one."""
    connected: list[Pair] = []
    for first, end in sorted(spans):
        if connected and connected[-1][1] == first:
            connected[-1] = (connected[-1][0], end)
        else:
            connected.append((first, end))
    return tuple(connected)


# What a search gives: kept in files, and merged with that of other images


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
    by_layer = top_patches_by_layer(
        network, {layer: channels}, images, k=k, suppress=suppress, order=order, progress=progress
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
