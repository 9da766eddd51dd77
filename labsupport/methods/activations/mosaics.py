"""All maps of a layer as one mosaic, and where each of them lies in it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Box, Pair
from labsupport.methods.activations.correlations import real_numbers


@dataclass(frozen=True)
class Layout:
    """Where each of `count` tiles (`height` x `width`) lies in a mosaic: row by row, `columns` in
    a row, `gap` between two tiles and around all of them."""

    count: int
    height: int
    width: int
    columns: int
    gap: int

    @property
    def rows(self) -> int:
        return math.ceil(self.count / self.columns)

    @property
    def size(self) -> Pair:
        """(height, width) of the whole mosaic."""
        return (
            self.rows * (self.height + self.gap) + self.gap,
            self.columns * (self.width + self.gap) + self.gap,
        )

    def place(self, channel: int) -> Pair:
        """The (row, column) of a channel's tile in the mosaic."""
        if not 0 <= channel < self.count:
            raise BadSetting(f"this mosaic has the channels 0 to {self.count - 1}, not {channel}")
        return divmod(channel, self.columns)

    def box(self, channel: int) -> Box:
        """A channel's tile, (left, top, right, bottom)."""
        row, column = self.place(channel)
        left = self.gap + column * (self.width + self.gap)
        top = self.gap + row * (self.height + self.gap)
        return (left, top, left + self.width, top + self.height)

    def channel_at(self, x: float, y: float) -> int | None:
        """The channel whose tile, or the gap right below or after it, holds a point."""
        column = math.floor((x - self.gap) / (self.width + self.gap))
        row = math.floor((y - self.gap) / (self.height + self.gap))
        channel = row * self.columns + column
        inside = 0 <= column < self.columns and row >= 0 and channel < self.count
        return channel if inside else None


def layout(
    count: int, height: int, width: int, *, columns: int | None = None, gap: int = 1
) -> Layout:
    """The layout of so many tiles; without `columns` it is nearly a square.

    Errors: `BadSetting` for no tiles, no columns or a negative gap.

    >>> layout(10, 5, 5, columns=4).box(6)
    (13, 7, 18, 12)
    """
    if min(count, height, width) < 1 or gap < 0:
        raise BadSetting("a mosaic has at least one tile of one pixel, and a gap of 0 or more")
    if columns is None:
        columns = max(1, math.ceil(math.sqrt(count * (height + gap) / (width + gap))))
    if columns < 1:
        raise BadSetting(f"a mosaic has at least one column, not {columns}")
    return Layout(count, height, width, min(columns, count), gap)


def mosaic(
    maps: Tensor, *, columns: int | None = None, gap: int = 1, shared: bool | None = None
) -> Tensor:
    """All maps (C, H, W) of a layer as one matrix, NaN between them and where no tile is.

    `shared` None leaves the numbers as they are; False divides each map by its own largest
    absolute value, True all of them by the largest of all. A map of zeros stays one.

    Errors: `BadSetting` for anything but finite numbers (C, H, W), and as `layout`.

    >>> mosaic(torch.tensor([[[2.0]], [[4.0]]]), gap=0, shared=False)
    tensor([[1., 1.]])
    """
    maps = real_numbers(maps)
    if maps.ndim != 3:
        raise BadSetting(
            f"a layer's maps are (C, H, W), not {tuple(maps.shape)}: take one image's, maps[0]"
        )
    maps = maps if maps.is_floating_point() else maps.float()  # whole numbers have no NaN
    if not bool(maps.isfinite().all()):
        raise BadSetting("the maps contain NaN or infinity: maps.isfinite().all() finds out when")
    where = layout(*maps.shape, columns=columns, gap=gap)
    if shared is not None:
        size = maps.abs().amax() if shared else maps.abs().amax((1, 2), keepdim=True)
        maps = maps / torch.where(size > 0, size, 1)
    cells = maps.new_full(
        (where.rows * where.columns, where.height + gap, where.width + gap), math.nan
    )
    cells[: where.count, : where.height, : where.width] = maps
    block = cells.view(where.rows, where.columns, *cells.shape[1:]).transpose(1, 2)
    sheet = maps.new_full(where.size, math.nan)
    sheet[gap:, gap:] = block.reshape(where.size[0] - gap, where.size[1] - gap)
    return sheet
