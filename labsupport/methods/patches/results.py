"""What a search for top patches gives: kept in files, and merged with that of other images."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from labsupport.core import streams
from labsupport.core.errors import BadSetting, DamagedData
from labsupport.core.images.saving import whole_file
from labsupport.core.network import Network, Pair
from labsupport.core.streams import Images
from labsupport.methods.patches import scanning
from labsupport.methods.patches.scanning import Lists, Ranking, Suppress

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
