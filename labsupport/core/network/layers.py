"""What is known of a layer: its names, shape, stride, receptive field; what is explained of it.

Strides and fields are worked out by the recurrence that the lecture does by hand, from the image to
the scores, along the rows and along the columns separately.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import fx

from labsupport.core.errors import BadSetting
from labsupport.core.network.operations import MERGING, POINTWISE, WINDOWED, Operation, Pair, Size
from labsupport.core.network.probing import KNOWN, Reads

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are one past the end


@dataclass(frozen=True)
class Layer:
    """A named place in a network.

    `shape` is (C, H, W) at the network's standard input size, or (units,) for a layer without a
    map. `stride` and `receptive_field` are (rows, columns) in image pixels; the field is not
    clipped to the image; None where it is unknown. A layer without a map has no stride.
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

    @property
    def ends_block(self) -> bool:
        """Whether everything after it is computed from it: it is no branch of a block."""
        return "/" not in self.title or self.title.endswith("/output")


@dataclass(frozen=True)
class _Field:
    """Along one axis: position i sees image pixels first + i * stride to last + i * stride."""

    stride: Fraction
    first: Fraction
    last: Fraction


Fields = dict[fx.Node, tuple[Pair | None, Pair | None]]  # stride and receptive field of a node


def fields(
    operations: Sequence[Operation], shapes: Mapping[fx.Node, Size], reads: Mapping[fx.Node, Reads]
) -> Fields:
    """For each node its stride and its unclipped receptive field, (rows, columns) in pixels.

    One sweep from the image to the scores: the recurrence that the lecture does by hand. `reads`
    says what operations read that there is no rule for; a map that it does not know has no field.
    """
    axes: dict[fx.Node, tuple[_Field, _Field]] = {}  # along the rows, along the columns
    result: Fields = {}
    for operation in operations:
        node = operation.node
        result[node] = (None, None)
        if operation.kind == "placeholder":
            pixel = _Field(Fraction(1), Fraction(0), Fraction(0))
            axes[node] = (pixel, pixel)
        elif node in reads:
            rows, columns = (_read(reads[node], axes, shapes, axis) for axis in (0, 1))
            axes[node] = (rows, columns)
        else:
            known = [source for source in operation.inputs if shapes[source]]
            reckoned = operation.kind in KNOWN or len(shapes[node]) != 4
            if not known or not reckoned or not axes.keys() >= set(known):
                continue
            rows, columns = (_field(operation, known, axes, shapes, axis) for axis in (0, 1))
            axes[node] = (rows, columns)
        result[node] = _in_pixels(*axes[node], has_map=len(shapes[node]) == 4)
    return result


def _in_pixels(rows: _Field, columns: _Field, *, has_map: bool) -> tuple[Pair | None, Pair]:
    """Stride and field; there is no stride in a map that is finer than the image."""
    whole = has_map and rows.stride.denominator == columns.stride.denominator == 1
    stride = (int(rows.stride), int(columns.stride)) if whole else None
    down, across = (math.ceil(axis.last - axis.first) + 1 for axis in (rows, columns))
    return stride, (down, across)


def _hull(read: Sequence[_Field], lengths: Sequence[int]) -> _Field:
    """What all of these see, with the stride of the longest: a map of one position is spread out
    over the others'."""
    longest = lengths.index(max(lengths))
    return _Field(read[longest].stride, min(f.first for f in read), max(f.last for f in read))


def _field(
    operation: Operation,
    known: Sequence[fx.Node],
    axes: Mapping[fx.Node, tuple[_Field, _Field]],
    shapes: Mapping[fx.Node, Size],
    axis: int,
) -> _Field:
    lengths = [(*shapes[source], 1, 1, 1, 1)[2 + axis] for source in known]
    before = _hull([axes[source][axis] for source in known], lengths)
    if operation.kind in WINDOWED:
        step, padding = operation.stride[axis], operation.padding[axis]
        over = operation.reach[axis] - 1 - padding
        return _Field(
            before.stride * step,
            before.first - padding * before.stride,
            before.last + over * before.stride,
        )
    if operation.kind in POINTWISE | MERGING or len(shapes[known[0]]) != 4:
        return before
    length = shapes[known[0]][2 + axis]
    out = shapes[operation.node]
    if operation.kind == "adaptive_pool":
        bins = out[2 + axis]
        widest = max(-(-(i + 1) * length // bins) - i * length // bins for i in range(bins))
        step = length // bins
        return _Field(
            before.stride * step, before.first, before.last + (widest - 1) * before.stride
        )
    return _everything(before, length)


def _everything(before: _Field, length: int) -> _Field:
    return _Field(before.stride, before.first, before.last + (length - 1) * before.stride)


def _read(
    reads: Reads,
    axes: Mapping[fx.Node, tuple[_Field, _Field]],
    shapes: Mapping[fx.Node, Size],
    axis: int,
) -> _Field:
    """That of an operation that reads these maps."""
    fields_ = []
    for source, bands in reads.items():
        before, band = axes[source][axis], bands[axis]
        if band.step is None:
            fields_.append(_everything(before, shapes[source][2 + axis]))
            continue
        rounded = before.stride * max(Fraction(0), 1 - band.step)  # floor(i * step) is up to so
        fields_.append(
            _Field(
                before.stride * band.step,
                before.first + band.first * before.stride - rounded,
                before.last + band.last * before.stride,
            )
        )
    return _hull(fields_, [shapes[source][2 + axis] for source in reads])


# What is explained: a class, a channel of a layer, or one neuron


@dataclass(frozen=True)
class Target:
    """A number that a network computes from an image.

    A class's value is its score before softmax; a channel's is the mean over its map; a neuron's
    is its activation. Build one with `network.target(...)`, which checks it.
    """

    layer: str | None  # None: the scores
    index: int  # the class, or the channel
    position: Pair | None
    title: str

    def __str__(self) -> str:
        return self.title

    def value(self, activations: torch.Tensor) -> torch.Tensor:
        """The target's value (N,) from the activations (N, C, H, W) or (N, C) of its layer."""
        return at_or_mean(activations[:, self.index], self.position)


def at_or_mean(maps: torch.Tensor, position: Pair | None) -> torch.Tensor:
    """(N,) or (N, H, W) at a position, or averaged over all.

    Errors: `BadSetting` for a position that is not there.
    """
    if position is not None:
        height, width = maps.shape[1:]
        if position[0] >= height or position[1] >= width:
            raise BadSetting(f"a map of {height} x {width} positions has no {position}")
        return maps[:, position[0], position[1]]
    return maps.flatten(1).mean(1) if maps.ndim > 1 else maps


def checked_position(position: object) -> Pair:
    """A position (row, column) in a map, as it came; `BadSetting` for anything else."""
    match position:
        case (int(row), int(column)) if row >= 0 and column >= 0:
            return (row, column)
    raise BadSetting(f"a position is (row, column), counted from 0, not {position!r}")
