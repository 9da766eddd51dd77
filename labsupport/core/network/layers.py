"""Where a layer looks: names, shapes, strides and exact receptive fields.

A receptive field is worked out along the rows and along the columns separately: from the indices
that are asked for at a layer to the indices that its inputs must give, back to the image. Sets of
indices, and not just their ends, are carried along, so that dilated and strided convolutions are
exact at the border too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import fx

from labsupport.core.errors import BadSetting
from labsupport.core.network.operations import MERGING, POINTWISE, WINDOWED, Operation, Pair

if TYPE_CHECKING:
    from labsupport.core.network.network import Network

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are one past the end
Size = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A named place in a network.

    `shape` is (C, H, W) at the network's standard input size, or (units,) for a layer without a
    map. `stride` and `receptive_field` are (rows, columns) in image pixels; the field is not
    clipped to the image. A layer without a map has no stride.
    """

    name: str
    aliases: tuple[str, ...]
    kind: str
    shape: Size
    stride: Pair | None
    receptive_field: Pair | None

    @property
    def has_map(self) -> bool:
        """Whether the layer has positions: feature maps, and not a plain vector."""
        return len(self.shape) == 3

    @property
    def title(self) -> str:
        """The name to show: the lecture's, where it has one."""
        return self.aliases[0] if self.aliases else self.name


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
    which reaches over the image's border. A layer without a map needs no position.

    Errors: `UnknownLayer`; `BadSetting` for a position outside the layer's map.

    >>> from labsupport import networks
    >>> alexnet = networks.load("alexnet", weights="random")
    >>> receptive_box(alexnet, "conv1", (0, 0), clip=False)
    (-2, -2, 9, 9)
    >>> receptive_box(alexnet, "conv1", (0, 0))
    (0, 0, 9, 9)
    """
    size = network.input_size if image_size is None else image_size
    node = network.node(layer)
    lengths = network.shapes(size)
    start = _start(network, node, position, lengths[node])
    rows, columns = (
        _image_indices(network.operations, node, start[axis], lengths, axis, clip)
        for axis in (0, 1)
    )
    (left, right), (top, bottom) = _ends(columns), _ends(rows)
    return (left, top, right, bottom)


def _ends(indices: np.ndarray) -> Pair:
    """The first index and one past the last; nothing for a position that reads only padding."""
    return (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 0)


def _start(
    network: Network, node: fx.Node, position: Pair | None, shape: Size
) -> tuple[np.ndarray | None, np.ndarray | None]:
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


def _image_indices(
    operations: Sequence[Operation],
    node: fx.Node,
    start: np.ndarray | None,
    shapes: Mapping[fx.Node, Size],
    axis: int,
    clip: bool,
) -> np.ndarray:
    wanted: dict[fx.Node, np.ndarray | None] = {node: start}
    for operation in reversed(operations):
        if operation.node not in wanted:
            continue
        asked = wanted[operation.node]
        if operation.kind == "placeholder":
            return asked if asked is not None else _all(shapes[operation.node], axis)
        for source in operation.inputs:
            indices = _read(operation, asked, source, shapes, axis)
            if indices is not None and clip:
                length = shapes[source][2 + axis]
                indices = indices[(indices >= 0) & (indices < length)]
            before = wanted.get(source)
            both = before is not None and indices is not None
            wanted[source] = np.union1d(before, indices) if both else indices  # type: ignore[arg-type]
    raise BadSetting("that layer does not depend on the image")


def _all(shape: Size, axis: int) -> np.ndarray:
    return np.arange(shape[2 + axis])


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


@dataclass(frozen=True)
class _Field:
    """Along one axis: position i sees image pixels first + i * stride to last + i * stride."""

    stride: int
    first: int
    last: int


Fields = dict[fx.Node, tuple[Pair | None, Pair | None]]  # stride and receptive field of a node


def fields(operations: Sequence[Operation], shapes: Mapping[fx.Node, Size]) -> Fields:
    """For each node its stride and its unclipped receptive field, (rows, columns) in pixels.

    One sweep from the image to the scores: the recurrence that the lecture does by hand.
    """
    found: dict[fx.Node, tuple[_Field, _Field]] = {}
    result: Fields = {}
    for operation in operations:
        node = operation.node
        known = [source for source in operation.inputs if source in found]
        if operation.kind == "placeholder":
            found[node] = (_Field(1, 0, 0), _Field(1, 0, 0))
        elif known:
            rows, columns = (_field(operation, known, found, shapes, axis) for axis in (0, 1))
            found[node] = (rows, columns)
        else:
            result[node] = (None, None)
            continue
        rows, columns = found[node]
        stride = (rows.stride, columns.stride) if len(shapes[node]) == 4 else None
        result[node] = (stride, (rows.last - rows.first + 1, columns.last - columns.first + 1))
    return result


def _field(
    operation: Operation,
    known: Sequence[fx.Node],
    found: Mapping[fx.Node, tuple[_Field, _Field]],
    shapes: Mapping[fx.Node, Size],
    axis: int,
) -> _Field:
    read = [found[source][axis] for source in known]
    before = _Field(read[0].stride, min(f.first for f in read), max(f.last for f in read))
    if operation.kind in WINDOWED:
        step, padding = operation.stride[axis], operation.padding[axis]
        over = operation.reach[axis] - 1 - padding
        return _Field(
            before.stride * step,
            before.first - padding * before.stride,
            before.last + over * before.stride,
        )
    if operation.kind in POINTWISE | MERGING:
        return before
    given = shapes[known[0]]
    if len(given) != 4:
        return before
    length = given[2 + axis]
    out = shapes[operation.node]
    if operation.kind == "adaptive_pool":
        bins = out[2 + axis]
        widest = max(-(-(i + 1) * length // bins) - i * length // bins for i in range(bins))
        step = length // bins
        return _Field(
            before.stride * step, before.first, before.last + (widest - 1) * before.stride
        )
    return _Field(before.stride, before.first, before.last + (length - 1) * before.stride)
