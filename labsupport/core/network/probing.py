"""What an operation without a rule of its own reads of the maps before it, found out by trying it.

One row of such a map after the other becomes NaN. Where the result changes, it has read that row:
NaN goes through sums, products and maxima alike, so padding, resampling, transposed convolutions
and whatever a student writes between two maps show what they read. It is tried at two sizes; what
is read alike at both is a band that moves along with the position.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

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
_MARGIN = 4  # positions at each border that may read otherwise
_ROUNDING = 1e-3  # of the largest number: less is no change

Shapes = Mapping[fx.Node, Size]  # of all nodes, for one size of images


@dataclass(frozen=True)
class Band:
    """Along one axis: position i reads the `spans` from floor(i * step) on, first and last of its
    input's positions, in turn for each phase of a step below 1; everything where there is no step.

    `borders` are those that read others: by their place, negative if it is counted from the end,
    from where to where they read, counted alike; None means everything.
    """

    step: Fraction | None
    spans: tuple[Pair, ...] = ()
    borders: Mapping[int, Pair | None] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The first one of all phases."""
        return min(first for first, _ in self.spans)

    @property
    def last(self) -> int:
        """The last one of all phases."""
        return max(last for _, last in self.spans)

    def read_by(self, asked: np.ndarray, positions: int, length: int) -> np.ndarray:
        """What the asked ones of so many positions read of an input of this length, and over its
        border."""
        spans = [self.read_between(int(one), positions, length) for one in asked]
        return np.unique(np.concatenate([asked[:0], *(np.arange(*span) for span in spans)]))

    def read_between(self, position: int, positions: int, length: int) -> Pair:
        """From where to before where a position reads."""
        inside = self.step is not None and 0 <= position < positions
        place = position if position in self.borders else position - positions
        if self.step is None or (inside and self.borders.get(place, ()) is None):
            return (0, length)
        if inside and place in self.borders:
            first, last = self.borders[place] or (0, 0)
            return (first % length, last % length + 1)
        start = position * self.step.numerator // self.step.denominator
        first, last = self.spans[position % len(self.spans)]
        return (start + first, start + last + 1)


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


def reads_anywhere(nodes: Iterable[fx.Node]) -> bool:
    """Whether one of the nodes reads where its own numbers say."""
    return any("deform_conv" in str(node.target) for node in nodes)


def _tables(part: fx.GraphModule, shapes: Sequence[Size]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each input and along each axis, which position of the result (the rows of a table) reads
    which of the input (its columns)."""
    if reads_anywhere(part.graph.nodes):
        raise ValueError("NaN as a place to read ends the process")
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
    changed: torch.Tensor = ~((result[:-1] - reference).abs() <= near)  # NaN is never near
    return changed.transpose(1, axis).flatten(2).any(2).cpu()


def _band(tables: Sequence[np.ndarray]) -> Band:
    """The narrowest band that is the same in every table (result, input); everything where there is
    none."""
    margin = min(_MARGIN, (min(len(table) for table in tables) - 1) // 2)
    bands = []
    for step in _STEPS:
        ends = {_ends(table, step, margin) for table in tables}
        if len(ends) == 1:
            bands.append(Band(step, ends.pop()))
    narrow = min(bands, key=lambda band: band.last - band.first, default=Band(None))
    # At one size alone, a narrow band and everything cannot be told apart in a small map.
    least = min(table.shape[1] for table in tables)
    if narrow.step is None or (
        len(tables) == 1 and 2 * (narrow.last - narrow.first + 1) > least > 1
    ):
        return Band(None)
    borders: dict[int, Any] = {}
    for place in (*range(margin), *range(-margin, 0)):
        spans = {_at_border(table, place, narrow) for table in tables}
        if spans != {()}:  # not what the band says
            one_alike = len(spans) == 1
            borders[place] = spans.pop() if one_alike else None
    return replace(narrow, borders=borders)


def _ends(table: np.ndarray, step: Fraction, margin: int) -> tuple[Pair, ...]:
    """For each phase, from where to where from floor(i * step) on the positions of a table read,
    but for those at the border."""
    reading = np.flatnonzero(table.any(1))
    reading = reading[(reading >= margin) & (reading < len(table) - margin)]
    start = reading * step.numerator // step.denominator
    first = table[reading].argmax(1) - start
    last = table.shape[1] - 1 - table[reading, ::-1].argmax(1) - start
    spans = []
    for phase in range(step.denominator):
        own = reading % step.denominator == phase
        spans.append((int(first[own].min()), int(last[own].max())) if own.any() else (0, 0))
    return tuple(spans)


def _at_border(table: np.ndarray, place: int, band: Band) -> tuple[int, ...]:
    """From where to where a position reads, counted as its place is; nothing where a band says the
    same, or it reads nothing."""
    positions, length = table.shape
    reads = np.flatnonzero(table[place])
    first, end = band.read_between(place % positions, positions, length)
    if not len(reads) or (reads[0], reads[-1]) == (max(0, first), min(length, end) - 1):
        return ()
    from_end = length if place < 0 else 0
    return (int(reads[0]) - from_end, int(reads[-1]) - from_end)
