"""What an operation without a rule of its own reads of the maps before it, found out by trying it.

One row of such a map after the other becomes NaN. Where the result changes, it has read that row:
NaN goes through sums, products and maxima alike, so padding, resampling, transposed convolutions
and whatever a student writes between two maps show what they read. It is tried at two sizes; what
is read alike at both is a band that moves along with the position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import fx

from labsupport.core.network import graphs
from labsupport.core.network.operations import MERGING, POINTWISE, WINDOWED, Operation, Pair, Size

KNOWN = POINTWISE | MERGING | WINDOWED | {"placeholder", "adaptive_pool"}

_SIZES: tuple[Pair, Pair] = ((64, 96), (96, 64))  # of images, in which operations are tried
_LONGEST = 24  # operations that are tried together
_NUMBERS = 2**23  # in memory at once, of each map
_STEPS = [Fraction(n) for n in (1, 2, 3, 4)] + [Fraction(1, n) for n in (2, 3, 4)]
_ROUNDING = 1e-3  # of the largest number: less is no change

Shapes = Mapping[fx.Node, Size]  # of all nodes, for one size of images


@dataclass(frozen=True)
class Band:
    """Along one axis: position i reads `first` to `last` from floor(i * step) on, its input's
    positions; everything where there is no step."""

    step: Fraction | None
    first: int = 0
    last: int = 0

    def read_by(self, asked: np.ndarray, length: int) -> np.ndarray:
        """The positions of an input of this length that the asked ones read, and those over its
        border."""
        if self.step is None:
            return np.arange(length)
        start = asked * self.step.numerator // self.step.denominator
        return np.unique(start[:, None] + np.arange(self.first, self.last + 1)[None, :])


Bands = tuple[Band, Band]  # along the rows and along the columns
Reads = Mapping[fx.Node, Bands]  # of the maps that an operation reads, perhaps through others


def trial_sizes(own: Pair) -> tuple[Pair, Pair]:
    """Two sizes of images, no squares, for a network of this size."""
    height, width = own
    return _SIZES if max(own) >= min(_SIZES[0]) else ((height * 3 // 2, width), (height, width * 2))


def probed(
    graph: fx.GraphModule, operations: Sequence[Operation], shapes: Sequence[Shapes]
) -> dict[fx.Node, Reads]:
    """What each operation reads that there is no rule for, by the maps before it.

    `shapes` are the nodes' for images of one size or two. Left out is what cannot be found out, and
    what has no map of places of the image.
    """
    maps: set[fx.Node] = set()  # (N, C, H, W) whose positions are places of the image
    found: dict[fx.Node, Reads] = {}
    for operation in operations:
        node = operation.node
        if operation.kind in KNOWN:
            if maps.issuperset(operation.inputs):
                maps.add(node)
        elif len(shapes[0][node]) == 4:
            reads = _reads(graph, node, _nearest(node, maps), shapes)
            if reads:
                found[node] = reads
                maps.add(node)
    return found


def _reads(
    graph: fx.GraphModule, node: fx.Node, before: Sequence[fx.Node], shapes: Sequence[Shapes]
) -> Reads:
    """What a node reads of the nearest maps before it; nothing where that cannot be found out."""
    if not before or len(graphs.needed_for([node], besides=before)) > _LONGEST + len(before):
        return {}
    try:
        part = graphs.between(graph, before, node)
        tables = [_tables(part, [known[one] for one in before]) for known in shapes]
    except Exception:  # an operation that takes one size alone, or no such numbers
        return {}
    reads = {}
    for place, one in enumerate(before):
        rows, columns = (_band([every[place][axis] for every in tables]) for axis in (0, 1))
        reads[one] = (rows, columns)
    local = any(band.step is not None for bands in reads.values() for band in bands)
    # What mixes all places is a map all the same where it has the very sides of one before it.
    same = any(all(_same_places(node, one, known) for known in shapes) for one in before)
    return reads if local or same else {}


def _same_places(node: fx.Node, other: fx.Node, shapes: Shapes) -> bool:
    height, width = shapes[node][2:]
    return height != width and shapes[other][2:] == (height, width)


def _nearest(node: fx.Node, maps: set[fx.Node]) -> list[fx.Node]:
    """The maps from which the node is computed without going through another one."""
    found: dict[fx.Node, None] = {}
    waiting, seen = [node], {node}
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source in maps:
                found[source] = None
            elif source not in seen and source.op != "get_attr":
                waiting.append(source)
            seen.add(source)
    return list(found)


def _tables(
    part: fx.GraphModule, shapes: Sequence[Size]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each input and along each axis, which position of the result (the rows of a table) reads
    which of the input (its columns)."""
    generator = torch.Generator().manual_seed(0)
    device = next((one.device for one in part.parameters()), torch.device("cpu"))
    clean = [torch.rand((1, *shape[1:]), generator=generator).to(device) for shape in shapes]
    places = range(len(clean))
    with torch.no_grad():
        return [(_table(part, clean, place, 2), _table(part, clean, place, 3)) for place in places]


def _table(
    part: fx.GraphModule, clean: Sequence[torch.Tensor], place: int, axis: int
) -> np.ndarray:
    length = clean[place].shape[axis]
    at_once = max(1, _NUMBERS // max(one.numel() for one in clean))
    columns = [_readers(part, clean, place, axis, range(1))]
    if not columns[0].all():  # else all read all there is
        for first in range(1, length, at_once):
            spoilt = range(first, min(length, first + at_once))
            columns.append(_readers(part, clean, place, axis, spoilt))
    table = torch.cat(columns).T.numpy()
    return np.broadcast_to(table[:, :1], (len(table), length)) if len(columns) == 1 else table


def _readers(
    part: fx.GraphModule, clean: Sequence[torch.Tensor], place: int, axis: int, spoilt: range
) -> torch.Tensor:
    """(spoilt, positions): which positions of the result change with each spoilt row."""
    given = [one.repeat(len(spoilt) + 1, 1, 1, 1) for one in clean]  # the last one stays clean
    for number, index in enumerate(spoilt):
        given[place][number].select(axis - 1, index).fill_(torch.nan)
    result = part(*given)
    reference = result[-1:]
    if not bool(reference.isfinite().all()):
        raise ValueError("the images of a batch are not computed apart")
    near = _ROUNDING * float(reference.abs().max())
    changed = ~((result[:-1] - reference).abs() <= near)  # NaN is never near
    return changed.transpose(1, axis).flatten(2).any(2).cpu()


def _band(tables: Sequence[np.ndarray]) -> Band:
    """The narrowest band that is the same in every table (result, input); everything where there is
    none."""
    bands = []
    for step in _STEPS:
        ends = {_ends(table, step) for table in tables}
        if len(ends) == 1:
            first, last = ends.pop()
            bands.append(Band(step, first, last))
    narrow = min(bands, key=lambda band: band.last - band.first, default=Band(None))
    # At one size alone, a narrow band and everything cannot be told apart in a small map.
    least = min(table.shape[1] for table in tables)
    if len(tables) == 1 and 2 * (narrow.last - narrow.first + 1) > least > 1:
        return Band(None)
    return narrow


def _ends(table: np.ndarray, step: Fraction) -> Pair:
    """From where to where from floor(i * step) on the positions of a table read."""
    reading = np.flatnonzero(table.any(1))
    if not len(reading):
        return (0, 0)
    start = reading * step.numerator // step.denominator
    first = table[reading].argmax(1)
    last = table.shape[1] - 1 - table[reading, ::-1].argmax(1)
    return (int((first - start).min()), int((last - start).max()))
