"""The search for top patches: every unit of a layer keeps its best list, batch after batch.

Most batches change nothing. A list changes only where an image's largest value comes before the
list's last entry; only those maps are looked at further.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from labsupport.core import device
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.network import Network, Pair, receptive_box
from labsupport.core.streams import Batch, Images, batches, image_fingerprint

Channels: TypeAlias = Sequence[int] | Tensor | None
Suppress: TypeAlias = float | Literal["picture"]
Numbers: TypeAlias = np.ndarray

IMAGE, PICTURE, ROW, COLUMN, BOX = 0, 1, 2, 3, slice(4, 8)  # the columns of `Lists.places`
PAIRS = 1024  # maps that are searched at once, at most ...
CELLS = 2**21  # ... and their positions
TABLE = 1024  # positions up to which all overlaps are kept as a table
_GRIDS = 64  # image sizes whose grids are kept
ORDERS = ("most", "least")


@dataclass(frozen=True)
class Ranking:
    """What a list holds: `k` patches, how far they may overlap, and whether large or small."""

    k: int
    suppress: Suppress
    order: str

    def __post_init__(self) -> None:
        k, suppress, order = self.k, self.suppress, self.order
        if not isinstance(k, int) or k < 1:
            raise BadSetting(
                f"k is how many patches each unit shows, a number from 1 on, not {k!r}"
            )
        share = isinstance(suppress, int | float) and 0 <= suppress <= 1
        if not share and suppress != "picture":
            raise BadSetting(
                f"suppress is the overlap that is allowed, 0 to 1, or 'picture', not {suppress!r}"
            )
        one_of(order, ORDERS, "order")

    @property
    def sign(self) -> int:
        return 1 if self.order == "most" else -1

    @property
    def apart(self) -> bool:
        """Whether a picture has one patch at most."""
        return self.suppress == "picture"


@dataclass
class Lists:
    """A list of patches for each unit, best first; larger is better.

    `values` (units, k), minus infinity where nothing is; `places` (units, k, 8) holds image,
    picture, row, column and box, -1 where nothing is.
    """

    values: Numbers
    places: Numbers

    @classmethod
    def empty(cls, *shape: int) -> Lists:
        values = np.full(shape, -np.inf, dtype=np.float32)
        return cls(values, np.full((*shape, 8), -1, dtype=np.int64))

    def with_more(self, more: Lists, ranking: Ranking) -> Lists:
        """The first `k` of these and of `more`: by value, then by image, row and column."""
        values = np.concatenate([self.values, more.values], 1)
        places = np.concatenate([self.places, more.places], 1)
        keys = (places[..., COLUMN], places[..., ROW], places[..., IMAGE], -values)
        order = np.lexsort(keys, axis=-1)
        both = Lists(values, places)._in_order(order if ranking.apart else order[:, : ranking.k])
        if ranking.apart:
            both = both._one_of_each_picture()
        return Lists(both.values[:, : ranking.k], both.places[:, : ranking.k])

    def _one_of_each_picture(self) -> Lists:
        picture = self.places[..., PICTURE]
        order = np.argsort(picture, axis=1, kind="stable")
        grouped = np.take_along_axis(picture, order, 1)
        again = np.zeros(picture.shape, dtype=bool)  # an earlier one is of the same picture
        repeated = (grouped[:, 1:] == grouped[:, :-1]) & (grouped[:, 1:] >= 0)
        np.put_along_axis(again, order[:, 1:], repeated, 1)
        self.values[again], self.places[again] = -np.inf, -1
        return self._in_order(np.argsort(again, axis=1, kind="stable"))

    def _in_order(self, order: Numbers) -> Lists:
        values = np.take_along_axis(self.values, order, 1)
        return Lists(values, np.take_along_axis(self.places, order[..., None], 1))


class Units:
    """Some channels of a layer, or directions in its channel space, as maps of activations.

    `chosen` holds the channels (units,) or the directions (units, C).
    """

    def __init__(self, network: Network, layer: str, channels: Channels) -> None:
        described = network.with_maps(layer, or_vector=True)
        self.network, self.layer = network, described.name
        self.chosen = _chosen(channels, described.shape[0], described.title)
        self._up_to = network.up_to(layer)
        every = torch.equal(self.chosen, torch.arange(described.shape[0]))
        self._picked = None if every else self.chosen.to(network.device)

    def __len__(self) -> int:
        return len(self.chosen)

    def maps(self, images: Tensor) -> Tensor:
        """Activations (N, units, H, W), on the CPU; a layer without maps has one position.

        On a device that runs out of memory, fewer images at a time are computed.
        """
        return device.in_batches(self._maps, images, device=self.network.device, batch=len(images))

    def _maps(self, images: Tensor) -> Tensor:
        return self.of(self._up_to(images))

    def of(self, values: Tensor) -> Tensor:
        """The units' maps (N, units, H, W) from the layer's activations."""
        if values.ndim == 2:
            values = values[:, :, None, None]
        if self._picked is None:
            return values
        if self._picked.ndim == 1:
            return values[:, self._picked]
        return torch.nn.functional.conv2d(values, self._picked[:, :, None, None])


def maps_together(units: Sequence[Units], images: Tensor) -> list[Tensor]:
    """The maps of several layers' units, from one pass over the images."""
    if len(units) == 1:
        return [units[0].maps(images)]
    network, shapes = units[0].network, list[torch.Size]()
    part = network.part(tuple(network.node(one.layer) for one in units))

    def flat(some: Tensor) -> Tensor:
        values = [one.of(value) for one, value in zip(units, part(network.send(some)), strict=True)]
        shapes[:] = [value.shape[1:] for value in values]
        return torch.cat([value.flatten(1) for value in values], 1)

    together = device.in_batches(flat, images, device=network.device, batch=len(images))
    pieces = torch.split(together, [shape.numel() for shape in shapes], 1)
    return [piece.reshape(-1, *shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _chosen(channels: Channels, count: int, title: str) -> Tensor:
    if channels is None:
        return torch.arange(count)
    if isinstance(channels, Tensor) and channels.is_floating_point():
        if channels.ndim != 2 or channels.shape[1] != count or not len(channels):
            raise BadSetting(
                f"directions are a matrix (units, {count}) for {title}, not "
                f"{tuple(channels.shape)}: random_directions({count}) makes one"
            )
        return channels.detach().float().cpu()
    try:
        numbers = [operator.index(channel) for channel in channels]
    except TypeError:
        raise BadSetting(
            f"channels of {title} are whole numbers, 0 to {count - 1}, not {channels!r}"
        ) from None
    wrong = [channel for channel in numbers if not 0 <= channel < count]
    if wrong or not numbers or len(set(numbers)) < len(numbers):
        raise BadSetting(
            f"{title} has the channels 0 to {count - 1}: name at least one of them, and each once; "
            f"{wrong or numbers} cannot be"
        )
    return torch.tensor(numbers)


class Scan:
    """The units' lists so far, and the fingerprint of the images that have been seen."""

    def __init__(self, units: Units, ranking: Ranking) -> None:
        self.units, self.ranking = units, ranking
        self.lists, self.fingerprint = Lists.empty(len(units), ranking.k), 0
        self._grids: dict[Pair, Grid] = {}

    def take(self, maps: Tensor, batch: Batch, fingerprint: int) -> None:
        """A batch's maps (N, units, H, W), and the sum of its images' fingerprints."""
        self._compete(maps if self.ranking.sign > 0 else -maps, batch)
        self.fingerprint += fingerprint

    def _compete(self, maps: Tensor, batch: Batch) -> None:
        """Search the maps whose largest value can still enter its unit's list."""
        grid = self._grid(batch.size, (maps.shape[2], maps.shape[3]))
        # Channels-last, the largest value is a maximum of whole rows of channels.
        peaks = maps.permute(0, 2, 3, 1).flatten(1, 2).amax(1).numpy()  # (N, units)
        numbers, pictures = np.array(batch.numbers), np.array(batch.pictures)
        where, unit = self._enters(peaks, numbers[:, None], slice(None)).nonzero()
        step = max(1, min(PAIRS, CELLS // grid.cells))
        for first in range(0, len(where), step):
            n, u = where[first : first + step], unit[first : first + step]
            still = self._enters(peaks[n, u], numbers[n], u)  # the lists have moved on
            n, u = n[still], u[still]
            if not len(n):
                continue
            chosen = maps[torch.from_numpy(n), torch.from_numpy(u)].flatten(1)
            rounds = 1 if self.ranking.apart else min(self.ranking.k, grid.cells)
            values, cells = _greedy(chosen, self.lists.values[u, -1], rounds, grid)
            self._insert(u, Lists(values, grid.places(cells, numbers[n], pictures[n])))

    def _enters(self, values: Numbers, numbers: Numbers, units: slice | Numbers) -> Numbers:
        """Where a value comes before the last of its unit's list; of equals, the earlier image."""
        last, image = self.lists.values[units, -1], self.lists.places[units, -1, IMAGE]
        enters: Numbers = (values > last) | ((values == last) & (numbers < image))
        return enters

    def _insert(self, units: Numbers, more: Lists) -> None:
        """Lists (M, R), each for one of `units` (M,), into the lists of those units."""
        there = more.places[..., IMAGE] >= 0
        units = units.repeat(there.sum(1))  # one for each entry
        order = np.argsort(units, kind="stable")
        touched, start, group = np.unique(units[order], return_index=True, return_inverse=True)
        slot = np.arange(len(order)) - start[group]
        fresh = Lists.empty(len(touched), int(slot.max()) + 1)
        fresh.values[group, slot] = more.values[there][order]
        fresh.places[group, slot] = more.places[there][order]
        before = Lists(self.lists.values[touched], self.lists.places[touched])
        after = before.with_more(fresh, self.ranking)
        self.lists.values[touched], self.lists.places[touched] = after.values, after.places

    def _grid(self, size: Pair, shape: Pair) -> Grid:
        if size not in self._grids:
            while len(self._grids) >= _GRIDS:  # sizes mostly come one after the other
                del self._grids[next(iter(self._grids))]
            spans = self.units.network.remember(
                ("receptive spans", self.units.layer, size),
                lambda: _spans(self.units.network, self.units.layer, size, shape),
                keep=32,
            )
            self._grids[size] = Grid(*spans, self.ranking.suppress)
        return self._grids[size]


def scan_together(scans: Sequence[Scan], images: Images) -> Iterator[int]:
    """Let scans go through the images together; after each batch, how many are done."""
    units = [scan.units for scan in scans]
    for batch in batches(units[0].network, images):
        fingerprint = sum(
            image_fingerprint(image[None], number)
            for image, number in zip(batch.images, batch.numbers, strict=True)
        )
        for scan, maps in zip(scans, maps_together(units, batch.images), strict=True):
            scan.take(maps, batch, fingerprint)
        yield batch.done


def _greedy(maps: Tensor, last: Numbers, rounds: int, grid: Grid) -> tuple[Numbers, Numbers]:
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


class Grid:
    """A layer's positions in images of one size: their boxes, and which boxes overlap.

    A box is a span of rows (of `rows` (H, 2)) and a span of columns (of `columns` (W, 2)), for
    each depends on one coordinate alone. Positions are counted row by row.
    """

    def __init__(self, rows: Numbers, columns: Numbers, suppress: Suppress) -> None:
        self._rows, self._columns, self._most = rows, columns, suppress
        self.width, self.cells = len(columns), len(rows) * len(columns)
        self._shared_rows, self._shared_columns = _shared(rows), _shared(columns)
        self._areas = np.outer(rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0]).ravel()
        small = self.cells <= TABLE and suppress not in ("picture", 1.0)
        self._table = self._compare(np.arange(self.cells)) if small else None

    def boxes(self, cells: Numbers) -> Numbers:
        """(left, top, right, bottom) of positions (...), as (..., 4)."""
        row, column = np.divmod(cells, self.width)
        down, across = self._rows[row], self._columns[column]
        return np.stack([across[..., 0], down[..., 0], across[..., 1], down[..., 1]], axis=-1)

    def places(self, cells: Numbers, images: Numbers, pictures: Numbers) -> Numbers:
        """The entries (M, R, 8) of positions (M, R), whose rows are of these images (M,)."""
        there = cells >= 0
        places = np.full((*cells.shape, 8), -1, dtype=np.int64)
        places[..., IMAGE] = np.where(there, images[:, None], -1)
        places[..., PICTURE] = np.where(there, pictures[:, None], -1)
        places[there, ROW], places[there, COLUMN] = np.divmod(cells[there], self.width)
        places[there, BOX] = self.boxes(cells[there])
        return places

    def overlapping(self, cells: Numbers) -> Tensor:
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
    for row, column in {(shape[0] - 1, shape[1] - 1), (shape[0] // 2, shape[1] // 3)}:
        left, top, right, bottom = receptive_box(network, layer, (row, column), size)
        if (down[row], across[column]) != ((top, bottom), (left, right)):
            # its rows are the image's columns, or the like: all, as where nothing is known
            return np.array([(0, size[0])] * shape[0]), np.array([(0, size[1])] * shape[1])
    return np.array(down), np.array(across)


def _shared(spans: Numbers) -> Numbers:
    """How many pixels each pair of spans has in common."""
    first = np.maximum(spans[:, None, 0], spans[None, :, 0])
    end = np.minimum(spans[:, None, 1], spans[None, :, 1])
    common: Numbers = np.maximum(end - first, 0)
    return common
