"""Top patches: the parts of many images that make a unit fire most.

Girshick, Donahue, Darrell and Malik, "Rich feature hierarchies for accurate object detection and
semantic segmentation", CVPR 2014, figure 4: let a unit rank all regions of all images, leave out
what overlaps a better one, and look at the best. Here a region is the receptive field of one
position of a layer, and all units of the layer rank theirs in one pass over the images.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, overload

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from labsupport.core import images as pictures_
from labsupport.core.errors import BadImage, BadSetting, DamagedData, nearest
from labsupport.core.imagesets import Picture
from labsupport.core.layers import receptive_box
from labsupport.core.networks import Network
from labsupport.core.operations import Pair

Item: TypeAlias = torch.Tensor | Picture
Images: TypeAlias = torch.Tensor | Sequence[Item]
Channels: TypeAlias = Sequence[int] | torch.Tensor | None
Suppress: TypeAlias = float | Literal["picture"]
Progress: TypeAlias = Callable[[float], object]

ORDERS = ("most", "least")
_BATCH_PIXELS = 8 * 224**2  # larger batches are slower on a CPU
_WAITING = 4  # batches that may wait for more images of their size
_PAIRS = 1024  # maps that are searched at once, at most ...
_CELLS = 2**21  # ... and their positions
_TABLE = 1024  # positions up to which all overlaps are kept as a table
_PRIME, _BASE = 2**127 - 1, 3**61  # of the images' fingerprint
_IMAGE, _PICTURE, _ROW, _COLUMN, _BOX = 0, 1, 2, 3, slice(4, 8)  # what `places` holds
_FORMAT = "top patches 1"

Numbers: TypeAlias = np.ndarray


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
    units: torch.Tensor
    values: torch.Tensor
    images: torch.Tensor
    pictures: torch.Tensor
    positions: torch.Tensor
    boxes: torch.Tensor
    order: str
    suppress: Suppress
    scanned: tuple[Pair, ...]
    fingerprints: Mapping[str, str]  # of the "network" up to the layer, and of the "images"

    @property
    def k(self) -> int:
        """How many patches each unit may have."""
        return self.values.shape[1]

    def row(self, channel: int) -> int:
        """In which row of the tensors a channel is.

        Errors: `BadSetting` for a channel that was not scanned.
        """
        found = (self.units == channel).nonzero() if self.units.ndim == 1 else self.units[:0]
        if len(found) != 1:
            raise BadSetting(f"{self.layer}: channel {channel} is not among the scanned units")
        return int(found[0])

    def shifted(self, count: int) -> TopPatches:
        """The same patches, their images counted from `count` on instead of from 0.

        That is what the second part of a set needs before `merge`.
        """
        if count < 0:
            raise BadSetting(f"images are counted from 0: {count} is none")
        moved = (int(self.fingerprints["images"], 16) * pow(_BASE, count, _PRIME)) % _PRIME
        return replace(
            self,
            images=torch.where(self.images < 0, -1, self.images + count),
            pictures=torch.where(self.pictures < 0, -1, self.pictures + count),
            scanned=tuple((first + count, end + count) for first, end in self.scanned),
            fingerprints={**self.fingerprints, "images": f"{moved:032x}"},
        )

    def save(self, path: str | Path) -> Path:
        """Write everything to a safetensors file, which `TopPatches.load` reads again."""
        file = Path(path).expanduser()
        if not file.parent.is_dir():
            raise BadSetting(f"There is no folder {file.parent}. Make it first.")
        header = {"format": _FORMAT, "layer": self.layer, "order": self.order}
        notes = {**header, "suppress": self.suppress, "scanned": self.scanned}
        words = json.dumps({**notes, "fingerprints": dict(self.fingerprints)})
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        part = file.with_name(f".{file.name}.part")
        try:
            save_file(tensors, part, metadata={"patches": words})
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
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
        found = cls(**kept, **tensors, scanned=scanned, fingerprints=prints)
        found._belongs_to(network, images, file.name)
        return found

    def _belongs_to(self, network: Network | None, images: Images | None, name: str) -> None:
        if network is not None and _print_of(network, self.layer) != self.fingerprints["network"]:
            raise BadSetting(
                f"{name} was made with another network than {network.name}, or with other weights "
                f"below {self.layer}. Scan again: top_patches(network, {self.layer!r}, images)"
            )
        if images is None:
            return
        seen = 0
        for number, _, image in _numbered(images):
            seen = (seen + _print(image) * pow(_BASE, number, _PRIME)) % _PRIME
        if self.scanned != ((0, len(images)),) or f"{seen:032x}" != self.fingerprints["images"]:
            raise BadSetting(
                f"{name} was made with other images than these {len(images)}, or in another "
                "order. Scan these: top_patches(network, layer, images)"
            )


_TENSORS = ("units", "values", "images", "pictures", "positions", "boxes")


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
    >>> from labsupport.core import networks
    >>> red = nn.Sequential(nn.Conv2d(3, 1, 2, stride=2), nn.Flatten(), nn.Linear(16, 2))
    >>> red[0].weight.data = torch.tensor([0.25, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    >>> network = networks.wrap(red, mean=(0, 0, 0), std=(1, 1, 1), input_size=8)
    >>> image = torch.zeros(1, 3, 8, 8)
    >>> image[0, 0, 2:4, 6:8] = 1
    >>> top_patches(network, "conv1", image, k=1).boxes.tolist()
    [[[6, 2, 8, 4]]]
    """
    _check_settings(k, suppress, order)
    scan = _Scan(network, layer, channels, _Rules(k, suppress, order))
    if len(images) == 0:
        raise BadSetting("there are no images to look for patches in")
    with torch.no_grad():
        for done in scan.over(images):
            if progress is not None:
                progress(done / len(images))
    return scan.result(len(images))


def merge(first: TopPatches, second: TopPatches) -> TopPatches:
    """The patches of two parts of a set as if it had been scanned at once.

    The parts' images must be numbered apart: `second.shifted(len(first_images))`. In which order
    parts are merged does not matter.

    Errors: `BadSetting` for scans of other units or with other settings, and for an image that
    both have seen.
    """
    _check_parts(first, second)
    sign = 1 if first.order == "most" else -1
    values, places = (
        np.concatenate(pair, axis=1) for pair in zip(_lists(first), _lists(second), strict=True)
    )
    kept = _best(values, places, first.k, first.suppress == "picture")
    seen = sum(int(one.fingerprints["images"], 16) for one in (first, second)) % _PRIME
    prints = {**first.fingerprints, "images": f"{seen:032x}"}
    scanned = _joined(first.scanned + second.scanned)
    return _published(replace(first, scanned=scanned, fingerprints=prints), *kept, sign)


def random_directions(channels: int, count: int = 8, *, seed: int = 0) -> torch.Tensor:
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
    unit: torch.Tensor = torch.nn.functional.normalize(directions)
    return unit


def several_scales(images: Images, sizes: Sequence[int] = (224, 320, 448)) -> ScaledImages:
    """The middle square of every image at several sizes, so that many more patches compete.

    All images of the first size come first, then those of the second, and so on.

    Errors: `BadSetting` for no sizes, or one below 1.

    >>> len(several_scales(torch.rand(5, 3, 40, 60), (32, 48)))
    10
    """
    if not sizes or min(sizes) < 1:
        raise BadSetting(f"sizes are numbers of pixels from 1 on, not {tuple(sizes)}")
    return ScaledImages(images, tuple(sizes))


class ScaledImages(Sequence[torch.Tensor]):
    """Every picture of a set at several sizes; made by `several_scales`, resized when asked for."""

    def __init__(self, images: Images, sizes: tuple[int, ...]) -> None:
        self.images, self.sizes = images, sizes

    def __len__(self) -> int:
        return len(self.images) * len(self.sizes)

    def picture(self, number: int) -> int:
        """Which picture of the set an image shows."""
        return number % len(self.images)

    @overload
    def __getitem__(self, number: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[torch.Tensor]: ...
    def __getitem__(self, number: int | slice) -> torch.Tensor | Sequence[torch.Tensor]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        scale, picture = divmod(number % len(self), len(self.images))
        side = self.sizes[scale]
        return pictures_.resize(image_of(self.images, picture), side, crop=side)


def image_of(images: Images, number: int) -> torch.Tensor:
    """One image (1, 3, H, W) of a set, of a sequence or of a tensor."""
    if isinstance(images, torch.Tensor):
        return images[number][None]
    item = images[number]
    if isinstance(item, Picture):
        return item.image
    return item[None] if isinstance(item, torch.Tensor) and item.ndim == 3 else item


# Looking closer at units


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
    scan = _Scan(network, layer, [channel], _Rules(1, 1.0, "most"))
    values, numbers, cells = [], [], []
    with torch.no_grad():
        for batch in _batches(network, images):
            maps = scan.maps(batch.images)[:, 0].cpu()  # (N, H, W)
            values.append(maps.flatten())
            numbers.append(torch.tensor(batch.numbers).repeat_interleave(maps[0].numel()))
            cells.append(torch.ones_like(maps[0]).nonzero().repeat(len(maps), 1))
            if progress is not None:
                progress(batch.done / len(images))
    if not values:
        raise BadSetting("there are no images to look at")
    return UnitActivations(
        scan.layer, channel, torch.cat(values), torch.cat(numbers), torch.cat(cells)
    )


def agreement(patches: TopPatches, labels: Sequence[str], wanted: str) -> torch.Tensor:
    """Precision at 1, 2, ... k: how many of a unit's best patches come from pictures of a label.

    `labels` has one word for each picture of the set. The result is (units, k), 0 to 1; a patch
    that is missing agrees with nothing.

    Errors: `BadSetting` for a label that no picture has, or too few labels.

    >>> from torch import nn
    >>> from labsupport.core import networks
    >>> module = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(4, 2))
    >>> network = networks.wrap(module, input_size=2)
    >>> patches = top_patches(network, "conv1", torch.rand(3, 3, 2, 2), k=3, suppress="picture")
    >>> agreement(patches, ["cat", "cat", "cat"], "cat")
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

    Errors: as `agreement`.
    """
    share = agreement(patches, labels, wanted)
    order = np.lexsort((-share.mean(1).numpy(), -share[:, -1].numpy()))[:count]
    units = patches.units if patches.units.ndim == 1 else torch.arange(len(patches.units))
    return [int(units[row]) for row in order]


# What is asked


@dataclass(frozen=True)
class _Rules:
    k: int
    suppress: Suppress
    order: str

    @property
    def sign(self) -> int:
        return 1 if self.order == "most" else -1


def _check_settings(k: int, suppress: Suppress, order: str) -> None:
    if not isinstance(k, int) or k < 1:
        raise BadSetting(f"k is how many patches each unit shows, a number from 1 on, not {k!r}")
    share = isinstance(suppress, int | float) and 0 <= suppress <= 1
    if not share and suppress != "picture":
        raise BadSetting(
            f"suppress is the overlap that is allowed, 0 to 1, or 'picture', not {suppress!r}"
        )
    if order not in ORDERS:
        raise BadSetting(f"order is one of {', '.join(ORDERS)}, not {order!r}")


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


def _joined(spans: Sequence[Pair]) -> tuple[Pair, ...]:
    """The spans in order, those that touch made one."""
    found: list[Pair] = []
    for first, end in sorted(spans):
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return tuple(found)


# The images, in batches of one size


@dataclass(frozen=True)
class _Batch:
    images: torch.Tensor  # (N, 3, H, W)
    numbers: list[int]
    pictures: list[int]
    prints: list[int]
    done: int  # images so far

    @property
    def size(self) -> Pair:
        return (self.images.shape[2], self.images.shape[3])


def _numbered(images: Images) -> Iterator[tuple[int, int, torch.Tensor]]:
    picture = images.picture if isinstance(images, ScaledImages) else lambda number: number
    for number in range(len(images)):
        image = image_of(images, number)
        pictures_.check(image)
        if len(image) != 1:
            raise BadImage(f"image {number} is a batch of {len(image)}: one image at a time")
        yield number, picture(number), image.detach()


def _batches(network: Network, images: Images) -> Iterator[_Batch]:
    """Images of one size together; those of rare sizes wait, but never many of them."""
    waiting: dict[Pair, list[tuple[int, int, torch.Tensor]]] = {}
    held = done = 0
    for one in _numbered(images):
        size = (one[2].shape[2], one[2].shape[3])
        network.shapes(size)  # refuses a size that the network cannot take
        waiting.setdefault(size, []).append(one)
        held += math.prod(size)
        full = (len(waiting[size]) + 1) * math.prod(size) > _BATCH_PIXELS
        if full or held > _WAITING * _BATCH_PIXELS:
            out = size if full else max(waiting, key=lambda s: len(waiting[s]) * math.prod(s))
            held -= len(waiting[out]) * math.prod(out)
            done += len(waiting[out])
            yield _batch(waiting.pop(out), done)
    for group in waiting.values():
        done += len(group)
        yield _batch(group, done)


def _batch(group: list[tuple[int, int, torch.Tensor]], done: int) -> _Batch:
    numbers, pictures, images = zip(*group, strict=True)
    prints = [_print(image) for image in images]
    return _Batch(torch.cat(images), list(numbers), list(pictures), prints, done)


def _print(image: torch.Tensor) -> int:
    """A number that stands for an image's size and its pixels, to 8 bits."""
    pixels = (image * 255).round_().to("cpu", torch.uint8).contiguous()
    digest = hashlib.sha256(str(tuple(image.shape)).encode())
    digest.update(pixels.numpy().data)
    return int.from_bytes(digest.digest()) % _PRIME


def _print_of(network: Network, layer: str) -> str:
    """A word that stands for a layer and all weights below it."""
    part = network.part((network.node(layer),))
    digest = hashlib.sha256(f"{network.layer(layer).name} {network.mean} {network.std}".encode())
    for name, weight in part.state_dict().items():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:32]


# The scan


class _Scan:
    """All units of one layer, and the best patches of each so far."""

    def __init__(self, network: Network, layer: str, channels: Channels, rules: _Rules) -> None:
        self.network, self.rules = network, rules
        described = network.layer(layer)
        self.layer = described.name
        self._up_to = network.up_to(layer)
        self.units = _units(channels, described.shape[0], described.title)
        every = torch.equal(self.units, torch.arange(described.shape[0]))
        self._chosen = None if every else self.units.to(network.device)
        self._grids: dict[Pair, _Grid] = {}
        shape = (len(self.units), rules.k)
        self._values = np.full(shape, -np.inf, dtype=np.float32)
        self._places = np.full((*shape, 8), -1, dtype=np.int64)
        self._seen = 0

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """The units' activations (N, units, H, W); a layer without maps has one position."""
        values = self._up_to(images)
        if values.ndim == 2:
            values = values[:, :, None, None]
        if self._chosen is None:
            return values
        if self._chosen.ndim == 1:
            return values[:, self._chosen]
        return torch.nn.functional.conv2d(values, self._chosen[:, :, None, None])

    def over(self, images: Images) -> Iterator[int]:
        """Go through the images; after each batch, how many are done."""
        for batch in _batches(self.network, images):
            maps = self.maps(batch.images)
            self._compete(maps if self.rules.sign > 0 else -maps, batch)
            for number, one in zip(batch.numbers, batch.prints, strict=True):
                self._seen = (self._seen + one * pow(_BASE, number, _PRIME)) % _PRIME
            yield batch.done

    def result(self, count: int) -> TopPatches:
        prints = {"network": _print_of(self.network, self.layer), "images": f"{self._seen:032x}"}
        none = torch.empty(0)
        empty = TopPatches(
            layer=self.layer,
            units=self.units,
            values=none,
            images=none,
            pictures=none,
            positions=none,
            boxes=none,
            order=self.rules.order,
            suppress=self.rules.suppress,
            scanned=((0, count),),
            fingerprints=prints,
        )
        return _published(empty, self._values, self._places, self.rules.sign)

    def _compete(self, maps: torch.Tensor, batch: _Batch) -> None:
        """Only where an image's largest value can still enter a unit's list is there work."""
        grid = self._grid(batch.size, (maps.shape[2], maps.shape[3]))
        # Channels-last, the largest value is a maximum of whole rows of channels.
        peaks = maps.permute(0, 2, 3, 1).flatten(1, 2).amax(1).cpu().numpy()  # (N, units)
        numbers = np.array(batch.numbers)
        where, unit = self._enters(peaks, numbers[:, None], slice(None)).nonzero()
        step = max(1, min(_PAIRS, _CELLS // grid.cells))
        for first in range(0, len(where), step):
            n, u = where[first : first + step], unit[first : first + step]
            still = self._enters(peaks[n, u], numbers[n], u)  # the lists have moved on
            n, u = n[still], u[still]
            if not len(n):
                continue
            chosen = maps[torch.from_numpy(n), torch.from_numpy(u)].cpu().flatten(1)
            rounds = 1 if self.rules.suppress == "picture" else min(self.rules.k, grid.cells)
            values, cells = _greedy(chosen, self._values[u, -1], rounds, grid)
            places = np.full((*cells.shape, 8), -1, dtype=np.int64)
            found = cells >= 0
            places[..., _IMAGE] = np.where(found, numbers[n][:, None], -1)
            places[..., _PICTURE] = np.where(found, np.array(batch.pictures)[n][:, None], -1)
            places[found, _ROW], places[found, _COLUMN] = np.divmod(cells[found], grid.width)
            places[found, _BOX] = grid.boxes(cells[found])
            self._insert(u, values, places)

    def _enters(self, values: Numbers, numbers: Numbers, units: slice | Numbers) -> Numbers:
        """Where a value comes before the last of its unit's list; of equals, the earlier image."""
        last, image = self._values[units, -1], self._places[units, -1, _IMAGE]
        enters: Numbers = (values > last) | ((values == last) & (numbers < image))
        return enters

    def _insert(self, units: Numbers, values: Numbers, places: Numbers) -> None:
        """Lists (M, R) of patches, each for one of `units` (M,), into the lists of those units."""
        order = np.argsort(units, kind="stable")
        touched, start, group = np.unique(units[order], return_index=True, return_inverse=True)
        slot = np.arange(len(order)) - start[group]
        many, rounds = int(slot.max()) + 1, values.shape[1]
        fresh = np.full((len(touched), many, rounds), -np.inf, dtype=np.float32)
        where = np.full((len(touched), many, rounds, 8), -1, dtype=np.int64)
        fresh[group, slot], where[group, slot] = values[order], places[order]
        both = np.concatenate([self._values[touched], fresh.reshape(len(touched), -1)], 1)
        spots = np.concatenate([self._places[touched], where.reshape(len(touched), -1, 8)], 1)
        kept = _best(both, spots, self.rules.k, self.rules.suppress == "picture")
        self._values[touched], self._places[touched] = kept

    def _grid(self, size: Pair, shape: Pair) -> _Grid:
        if size not in self._grids:
            # One size after the other, so few of them are needed at a time.
            while len(self._grids) >= 64:
                del self._grids[next(iter(self._grids))]
            self._grids[size] = _Grid(self.network, self.layer, size, shape, self.rules.suppress)
        return self._grids[size]


def _units(channels: Channels, count: int, title: str) -> torch.Tensor:
    if channels is None:
        return torch.arange(count)
    if isinstance(channels, torch.Tensor) and channels.is_floating_point():
        if channels.ndim != 2 or channels.shape[1] != count or not len(channels):
            raise BadSetting(
                f"directions are a matrix (units, {count}) for {title}, not "
                f"{tuple(channels.shape)}: random_directions({count}) makes one"
            )
        return channels.detach().float().cpu()
    chosen = [int(channel) for channel in channels]
    wrong = [channel for channel in chosen if not 0 <= channel < count]
    if wrong or not chosen or len(set(chosen)) < len(chosen):
        raise BadSetting(
            f"{title} has the channels 0 to {count - 1}: name at least one of them, and each once; "
            f"{wrong or chosen} cannot be"
        )
    return torch.tensor(chosen)


class _Grid:
    """A layer's positions in images of one size: their boxes, and which boxes overlap.

    A box is a span of rows and a span of columns, and each depends on one coordinate alone.
    """

    def __init__(
        self, network: Network, layer: str, size: Pair, shape: Pair, suppress: Suppress
    ) -> None:
        self.height, self.width = shape
        self.cells = self.height * self.width
        key = ("receptive spans", layer, size)
        self._rows, self._columns = network.remember(
            key, lambda: _spans(network, layer, size, shape), keep=32
        )
        self._most = suppress
        self._shared_rows, self._shared_columns = map(_shared, (self._rows, self._columns))
        self._areas = np.outer(*(s[:, 1] - s[:, 0] for s in (self._rows, self._columns))).ravel()
        small = self.cells <= _TABLE and suppress not in ("picture", 1.0)
        self._table = self._compare(np.arange(self.cells)) if small else None

    def boxes(self, cells: Numbers) -> Numbers:
        """(left, top, right, bottom) of positions counted row by row."""
        row, column = np.divmod(cells, self.width)
        down, across = self._rows[row], self._columns[column]
        return np.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], axis=-1)

    def overlapping(self, cells: Numbers) -> torch.Tensor:
        """For each of the cells (M,), which positions (M, cells) it suppresses, itself too."""
        compared = self._compare(cells) if self._table is None else self._table[cells]
        return torch.from_numpy(compared)

    def _compare(self, cells: Numbers) -> Numbers:
        here: Numbers = np.arange(self.cells)[None, :] == cells[:, None]
        if isinstance(self._most, str) or self._most == 1.0:
            return here
        row, column = np.divmod(cells, self.width)
        both = self._shared_rows[row][:, :, None] * self._shared_columns[column][:, None, :]
        inside = both.reshape(len(cells), -1)
        either = self._areas[cells][:, None] + self._areas[None, :] - inside
        suppressed: Numbers = here | (inside / np.maximum(either, 1) > self._most)
        return suppressed


def _spans(network: Network, layer: str, size: Pair, shape: Pair) -> tuple[Numbers, Numbers]:
    """The rows (H, 2) and the columns (W, 2) of the image that each row and column sees."""
    if not network.layer(layer).has_map:
        left, top, right, bottom = receptive_box(network, layer, None, size)
        return np.array([[top, bottom]]), np.array([[left, right]])
    down = [receptive_box(network, layer, (row, 0), size)[1::2] for row in range(shape[0])]
    across = [receptive_box(network, layer, (0, column), size)[0::2] for column in range(shape[1])]
    return np.array(down), np.array(across)


def _shared(spans: Numbers) -> Numbers:
    """How many pixels each pair of spans has in common."""
    first = np.maximum(spans[:, None, 0], spans[None, :, 0])
    end = np.minimum(spans[:, None, 1], spans[None, :, 1])
    common: Numbers = np.maximum(end - first, 0)
    return common


def _greedy(maps: torch.Tensor, last: Numbers, rounds: int, grid: _Grid) -> tuple[Numbers, Numbers]:
    """From maps (M, cells), each one's largest values that do not overlap, (M, rounds).

    A map is left as soon as its next value lies below the last of its unit's list. Where there is
    nothing, the value is minus infinity and the cell -1.
    """
    values = np.full((len(maps), rounds), -np.inf, dtype=np.float32)
    cells = np.full((len(maps), rounds), -1, dtype=np.int64)
    active = np.arange(len(maps))
    for turn in range(rounds):
        best, cell = (part.numpy() for part in maps.max(1))  # of equals, the first
        good = (best >= last[active]) & (best > -np.inf)
        active = active[good]
        values[active, turn], cells[active, turn] = best[good], cell[good]
        if not len(active) or turn == rounds - 1:
            break
        hidden = grid.overlapping(cell[good])
        maps = maps[torch.from_numpy(good)].masked_fill_(hidden, -torch.inf)
    return values, cells


def _best(values: Numbers, places: Numbers, k: int, apart: bool) -> tuple[Numbers, Numbers]:
    """The first `k` of each row: by value, then by image, row and column.

    With `apart`, a picture's best patch only.
    """
    keys = (places[..., _COLUMN], places[..., _ROW], places[..., _IMAGE], -values)
    order = np.lexsort(keys, axis=-1)
    values = np.take_along_axis(values, order, 1)
    places = np.take_along_axis(places, order[..., None], 1)
    if apart:
        picture = places[..., _PICTURE]
        same = (picture[:, :, None] == picture[:, None, :]) & (picture[:, :, None] >= 0)
        again = np.tril(same, -1).any(2)  # an earlier one is of the same picture
        values[again], places[again] = -np.inf, -1
        order = np.argsort(again, axis=1, kind="stable")
        values = np.take_along_axis(values, order, 1)
        places = np.take_along_axis(places, order[..., None], 1)
    return values[:, :k], places[:, :k]


def _lists(patches: TopPatches) -> tuple[Numbers, Numbers]:
    """The lists as the scan keeps them: larger is better, what is missing is minus infinity."""
    sign = 1 if patches.order == "most" else -1
    values = (patches.values * sign).nan_to_num(nan=-torch.inf).numpy()
    images, pictures = patches.images[..., None], patches.pictures[..., None]
    places = torch.cat([images, pictures, patches.positions, patches.boxes], 2)
    return values, places.numpy()


def _published(patches: TopPatches, values: Numbers, places: Numbers, sign: int) -> TopPatches:
    """The result with these lists in it."""
    spots = torch.from_numpy(places.copy())
    shown = torch.from_numpy(values.copy()) * sign
    return replace(
        patches,
        values=torch.where(spots[..., _IMAGE] < 0, torch.nan, shown),
        images=spots[..., _IMAGE],
        pictures=spots[..., _PICTURE],
        positions=spots[..., _ROW : _COLUMN + 1],
        boxes=spots[..., _BOX],
    )
