"""What a position sees of the image, and what a box of the image reaches: its cone, the part of
every layer's map that can change with it.

A box is worked out from the rows and columns that are asked for at a layer to those that its inputs
must give, back to the image. Sets of indices, and not just their ends, are carried along, so that
dilated and strided convolutions are exact at the border too; and each way back by itself, for one
that meets nothing but padding along the rows sees none of its columns either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx

from labsupport.core.errors import BadSetting
from labsupport.core.network import graphs
from labsupport.core.network.layers import Box
from labsupport.core.network.network import Network
from labsupport.core.network.operations import MERGING, POINTWISE, WINDOWED, Operation, Pair, Size
from labsupport.core.network.probing import Reads, reads_anywhere

Region = tuple[np.ndarray | None, np.ndarray | None]  # rows and columns; None: all there are


def receptive_box(
    network: Network,
    layer: str,
    position: Pair | None = None,
    image_size: Pair | None = None,
    *,
    clip: bool = True,
) -> Box:
    """The part of the image that one position (row, column) of a layer can see.

    The box is in image pixels; `image_size` is (height, width), the network's own by default.
    With `clip` it is the hull of the pixels that can change the value; without, the whole field,
    which reaches over the image's border. A layer without a map needs no position. Where the field
    is unknown (attention, a forward pass that cannot be looked into) the box is measured: the hull
    of the pixels of three images of chance colours that have a gradient; or it is all of the image,
    where the field turns out to be another in other images.

    Errors: `UnknownLayer`; `BadSetting` for a position outside the layer's map.

    >>> from labsupport import networks
    >>> alexnet = networks.load("alexnet", weights="random")
    >>> receptive_box(alexnet, "conv1", (0, 0), clip=False)
    (-2, -2, 9, 9)
    >>> receptive_box(alexnet, "conv1", (0, 0))
    (0, 0, 9, 9)
    """
    size = network.input_size if image_size is None else image_size
    network = network.at(size)
    node = network.node(layer)
    lengths = network.shapes(size, (node,))
    start = _start(network, node, position, lengths[node])
    if position is not None and network.layer_of(node).receptive_field is None:
        return _measured(network, node, position, size)
    seen = _regions(network, node, start, lengths, clip)
    if not seen:  # a position that reads only padding
        return (0, 0, 0, 0)
    rows, columns = (np.concatenate(sets) for sets in zip(*seen, strict=True))
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return (int(left), int(top), int(right), int(bottom))


def _start(network: Network, node: fx.Node, position: Pair | None, shape: Size) -> Region:
    if len(shape) != 4:
        return None, None
    height, width = shape[2:]
    if position is None:
        raise BadSetting(
            f"{network.layer_of(node).title} has {height} x {width} positions: say which one, "
            f"for example position=({height // 2}, {width // 2})"
        )
    row, column = position
    if not (0 <= row < height and 0 <= column < width):
        raise BadSetting(
            f"{network.layer_of(node).title} has {height} x {width} positions; ({row}, {column}) "
            f"is none of them (rows 0 to {height - 1}, columns 0 to {width - 1})"
        )
    return np.array([row]), np.array([column])


def _regions(
    network: Network, node: fx.Node, start: Region, shapes: Mapping[fx.Node, Size], clip: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What each way back reads of the image: its rows and its columns."""
    wanted: dict[fx.Node, list[Region]] = {node: [start]}
    for operation in reversed(network.operations):
        if operation.node not in wanted:
            continue
        asked = wanted[operation.node]
        if operation.kind == "placeholder":
            whole = [np.arange(length) for length in shapes[operation.node][2:]]
            return [
                (whole[0] if rows is None else rows, whole[1] if columns is None else columns)
                for rows, columns in asked
            ]
        bands = network.reads.get(operation.node, {})
        for source in bands or operation.inputs:
            read = [_read_both(operation, region, source, shapes, bands, clip) for region in asked]
            wanted[source] = _largest([*wanted.get(source, []), *read])
    raise BadSetting("that layer does not depend on the image")


def _largest(regions: Iterable[Region]) -> list[Region]:
    """The regions that are not empty and lie in none of the others."""
    kept: list[Region] = []
    for one in regions:
        if any(indices is not None and not len(indices) for indices in one):
            continue
        if not any(_lies_in(one, other) for other in kept):
            kept = [other for other in kept if not _lies_in(other, one)] + [one]
    return kept


def _lies_in(one: Region, other: Region) -> bool:
    return all(
        outer is None or (inner is not None and bool(np.isin(inner, outer).all()))
        for inner, outer in zip(one, other, strict=True)
    )


def _read_both(
    operation: Operation,
    asked: Region,
    source: fx.Node,
    shapes: Mapping[fx.Node, Size],
    bands: Reads,
    clip: bool,
) -> Region:
    """The rows and columns of `source` that a region of the operation's output depends on."""
    rows, columns = (
        bands[source][axis].read_by(
            indices, shapes[operation.node][2 + axis], shapes[source][2 + axis]
        )
        if bands and indices is not None
        else _read(operation, indices, source, shapes, axis)
        for axis, indices in enumerate(asked)
    )
    if clip and rows is not None and columns is not None:
        height, width = shapes[source][2:]
        rows, columns = (
            rows[(rows >= 0) & (rows < height)],
            columns[(columns >= 0) & (columns < width)],
        )
    return rows, columns


def _read(
    operation: Operation,
    asked: np.ndarray | None,
    source: fx.Node,
    shapes: Mapping[fx.Node, Size],
    axis: int,
) -> np.ndarray | None:
    """The indices of `source` that the asked indices of the operation's output depend on."""
    given = shapes[source]
    if len(given) != 4:
        return None
    length = given[2 + axis]
    if asked is None or operation.kind not in POINTWISE | MERGING | WINDOWED | {"adaptive_pool"}:
        return np.arange(length)
    if operation.kind == "adaptive_pool":
        return _adaptive(asked, length, shapes[operation.node][2 + axis])
    if operation.kind in WINDOWED:
        offsets = operation.dilation[axis] * np.arange(operation.kernel[axis])
        first = asked * operation.stride[axis] - operation.padding[axis]
        return np.unique(first[:, None] + offsets[None, :])
    if length == 1 and shapes[operation.node][2 + axis] > 1:
        return np.zeros(1, dtype=np.int64)  # broadcast
    return asked


def _adaptive(asked: np.ndarray, length: int, out: int) -> np.ndarray:
    """The bins of adaptive pooling: from floor(i L / n) to ceil((i + 1) L / n)."""
    kept = asked[(asked >= 0) & (asked < out)]
    starts, ends = kept * length // out, -(-(kept + 1) * length // out)
    bins = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
    return np.unique(np.concatenate([kept[:0], *bins]))


def _measured(network: Network, node: fx.Node, position: Pair, size: Pair) -> Box:
    """The hull of the pixels with a gradient of what a node gives at a position."""
    if network.remember(("moves", node, size), lambda: _moves(network, node, size), keep=32):
        return (0, 0, size[1], size[0])
    return _box_of(_support(network, node, position, _chance(size)))


def _moves(network: Network, node: fx.Node, size: Pair) -> bool:
    """Whether a position sees more in other images: then it goes by their numbers where it looks.

    The others fade to black towards each of their sides.
    """
    if reads_anywhere(graphs.needed_for([node])):
        return True
    height, width = network.shapes(size, (node,))[node][2:]
    middle = (height // 2, width // 2)
    down, across = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    light = torch.stack([one.expand(size) for one in (down, 1 - down, across, 1 - across)])
    seen = _support(network, node, middle, _chance(size))
    others = _support(network, node, middle, _chance(size)[:1] * light[:, None])
    return _box_of(seen) != _box_of(seen | others)


def _chance(size: Pair) -> torch.Tensor:
    return torch.rand((3, 3, *size), generator=torch.Generator().manual_seed(0))


def _support(network: Network, node: fx.Node, position: Pair, images: torch.Tensor) -> np.ndarray:
    """(H, W): the pixels of any of the images with a gradient of what a node gives there."""
    images = images.to(network.device)
    with torch.enable_grad():
        images.requires_grad_(True)
        values = network.part((node,))(images)[0][..., position[0], position[1]]
        weights = torch.rand(values.shape, generator=torch.Generator().manual_seed(0)).to(values)
        try:
            (gradient,) = torch.autograd.grad((values * weights).sum(), images)
        except RuntimeError as error:
            raise BadSetting(
                f"what a position of {network.layer_of(node).title} sees can only be measured, by "
                f"its gradient, and PyTorch has none: {str(error)[:90]} ..."
            ) from None
    seen: np.ndarray = (gradient != 0).flatten(0, 1).any(0).cpu().numpy()
    return seen


def _box_of(seen: np.ndarray) -> Box:
    """The hull of the pixels (H, W) that are True."""
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


# Cones, for several boxes at once


Spans = tuple[tuple[int, int], ...]  # each box's first pixel along the axis, and one past its last


@dataclass(frozen=True)
class Window:
    """For each box the first index of the window that a layer recomputes, and its size.

    All boxes' windows have one size, that of the widest; a window larger than a box's cone is
    harmless. None reaches over the map.
    """

    start: np.ndarray  # (boxes,)
    size: int

    def same_as(self, other: Window) -> bool:
        """Whether both cover the same indices for every box."""
        return self.size == other.size and bool(np.array_equal(self.start, other.start))


def cone(
    operations: Sequence[Operation],
    shapes: Mapping[fx.Node, Size],
    users: Mapping[fx.Node, int],
    spans: Spans,
    axis: int,
) -> dict[fx.Node, Window]:
    """The window of every node; `users` counts the operations that read a node."""
    changed: dict[fx.Node, tuple[np.ndarray, np.ndarray]] = {}
    for operation in operations:
        length = shapes[operation.node][2 + axis]
        if operation.kind == "placeholder":
            low, high = np.array(spans).T
        elif operation.kind in WINDOWED:
            low, high = _slid(operation, *changed[operation.inputs[0]], axis)
        else:
            low, high = _hull([changed[source] for source in operation.inputs])
        # A cone can be empty: pixels that no window of a strided layer reads. One index is kept.
        low = np.clip(low, 0, length - 1)
        changed[operation.node] = low, np.clip(high, low + 1, length)
    _widen_inputs(operations, users, changed)
    return {
        node: _window(low, high, shapes[node][2 + axis]) for node, (low, high) in changed.items()
    }


def _slid(
    operation: Operation, low: np.ndarray, high: np.ndarray, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Output indices whose window over the input touches [low, high)."""
    step, padding = operation.stride[axis], operation.padding[axis]
    first = -(-(low + padding - operation.reach[axis] + 1) // step)
    return first, (high - 1 + padding) // step + 1


def _hull(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.minimum.reduce([low for low, _ in parts]),
        np.maximum.reduce([high for _, high in parts]),
    )


def _widen_inputs(
    operations: Sequence[Operation],
    users: Mapping[fx.Node, int],
    changed: dict[fx.Node, tuple[np.ndarray, np.ndarray]],
) -> None:
    """Let the branches of a merge compute the merge's window, so that nothing is gathered again."""
    for operation in reversed(operations):
        if operation.kind not in POINTWISE | MERGING:
            continue
        for source in operation.inputs:
            if users[source] == 1:
                changed[source] = _hull([changed[source], changed[operation.node]])


def _window(low: np.ndarray, high: np.ndarray, length: int) -> Window:
    size = int((high - low).max())
    return Window(np.minimum(low, length - size), size)
