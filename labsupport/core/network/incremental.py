"""Exact recomputation of a network when only a box of its image changes.

An occluded image differs from the clean one inside a box, so each layer's activations differ only
inside the box's cone. Many boxes are followed through the network at once: a layer recomputes,
for each box, one window of its map, and reads whatever lies around the window from the clean
image's activations (Nakandala et al., "Incremental and approximate inference for faster
occlusion-based deep CNN explanations", SIGMOD 2019, call the idea Krypton).

Inside, activations are kept as rows of channels: a map of H x W positions is a (H * W, C) matrix.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from labsupport.core.network import graphs
from labsupport.core.network.network import Network
from labsupport.core.network.operations import (
    MERGING,
    PER_CHANNEL,
    POINTWISE,
    WINDOWED,
    Operation,
    Pair,
    Size,
    argument,
    scale_and_shift,
)
from labsupport.core.network.receptive_boxes import Spans, Window, cone

# After the rows of a clean map: a row of zeros, a row of -inf (what convolutions and max-pools
# read beyond the border), then the recomputed windows.
_ZEROS, _LOWEST, _EXTRA_ROWS = 0, 1, 2
_INDEX_ROOM = 96 * 2**20  # bytes of row numbers that one plan keeps


@dataclass(frozen=True)
class Output:
    """A number per channel that is wanted from a node.

    A node without a map gives its values; one with a map gives the mean over the map, or the
    value at `position`. `channel` restricts the answer, and the work, to one channel.
    """

    node: fx.Node
    channel: int | None = None
    position: Pair | None = None

    def of(self, value: torch.Tensor) -> torch.Tensor:
        """What is wanted, (N, channels), from the node's activations (N, C, ...)."""
        if self.position is not None:
            value = value[:, :, self.position[0], self.position[1]]
        means = value.flatten(2).mean(2) if value.ndim > 2 else value
        return means if self.channel is None else means.narrow(1, self.channel, 1)


@dataclass(frozen=True)
class Chunk:
    """A grid of boxes that are computed together: every row span with every column span."""

    rows: Spans
    columns: Spans

    @property
    def count(self) -> int:
        return len(self.rows) * len(self.columns)


class Plan:
    """One network, one image size and what is wanted, ready to recompute boxes.

    It holds geometry and weights and no image: keep it, and use it from several threads.
    """

    def __init__(self, network: Network, outputs: Sequence[Output], size: Pair) -> None:
        self.network, self.size = network.at(size), size
        nodes = self.network.same_layers([output.node for output in outputs], network)
        outputs = [replace(one, node=node) for one, node in zip(outputs, nodes, strict=True)]
        self.outputs, self.shapes = tuple(outputs), self.network.shapes(size)
        needed = graphs.needed_for(nodes)
        self.operations = [one for one in self.network.operations if one.node in needed]
        self.dense = _dense(self.operations, self.shapes)
        self.users = Counter(source for one in self.operations for source in one.inputs)
        self.users.update(output.node for output in outputs)
        self.windowed = [o for o in self.operations if o.node not in self.dense]
        self.alone = _restrictions(self, outputs)
        self.norms = _foldable(self.windowed, self.users)
        self.weights = {o.node: self._weights(o) for o in self.windowed if o.kind == "conv"}
        self.around = self._read_around()
        self.places = _places(self.windowed, self.users, self.shapes)
        self._cones: dict[tuple[int, Spans], dict[fx.Node, Window]] = {}
        self._indices: dict[Hashable, torch.Tensor] = {}
        self._index_bytes = 0

    @property
    def possible(self) -> bool:
        """Whether windows can do it: convolutions, pools, element-wise operations, concatenation
        and addition, and after them a head of global pooling, flattening and linear layers."""
        whole = {"adaptive_pool", "flatten", "dropout", "identity"}
        if self.network.one_by_one:
            return False
        head = [one for one in self.operations if one.node in self.dense]
        return all(one.kind in whole or self.shapes[one.node][2:] in ((), (1, 1)) for one in head)

    def cones(self, chunk: Chunk) -> tuple[dict[fx.Node, Window], dict[fx.Node, Window]]:
        """The windows of all nodes along the rows and along the columns."""
        return self._cone(0, chunk.rows), self._cone(1, chunk.columns)

    def _cone(self, axis: int, spans: Spans) -> dict[fx.Node, Window]:
        key = (axis, spans)
        if key not in self._cones:
            self._cones[key] = cone(self.windowed, self.shapes, self.users, spans, axis)
        return self._cones[key]

    def index(self, key: Hashable, build: Callable[[], np.ndarray]) -> torch.Tensor:
        """Row numbers, or any array of a chunk's geometry, on the network's device; kept while
        there is room."""
        known = self._indices.get(key)
        if known is None:
            known = torch.from_numpy(build()).to(self.network.device)
            if self._index_bytes + known.nbytes < _INDEX_ROOM:
                self._index_bytes += known.nbytes
                self._indices[key] = known
        return known

    def channels(self, node: fx.Node) -> int:
        """How many channels of a node are computed."""
        return 1 if node in self.alone else self.shapes[node][1]

    def _read_around(self) -> frozenset[fx.Node]:
        """The nodes whose clean activations are read beside recomputed windows."""
        nodes = {output.node for output in self.outputs}
        for operation in self.operations:
            if operation.node in self.dense or operation.kind in WINDOWED:
                nodes.update(operation.inputs)
            elif operation.kind in MERGING | POINTWISE:
                nodes.update(s for s in operation.inputs if self.users[s] > 1)
        return frozenset(nodes - self.dense)

    def _weights(self, operation: Operation) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A convolution's weights with the batch norm after it folded in, and of them only the
        rows that are asked for."""
        module = operation.module
        if not isinstance(module, nn.Conv2d):
            raise TypeError(f"{operation.node} is no convolution")
        weight, bias = module.weight.detach(), module.bias
        norm = self.norms.get(operation.node)
        if norm is not None:
            scale, shift = scale_and_shift(norm)
            weight = weight * scale[:, None, None, None]
            bias = shift if bias is None else bias * scale + shift
        if operation.node in self.alone:
            kept = slice(self.alone[operation.node], self.alone[operation.node] + 1)
            weight, bias = weight[kept], None if bias is None else bias[kept]
        weight = weight.contiguous(memory_format=torch.channels_last)
        return weight, None if bias is None else bias.detach()


def _dense(operations: Sequence[Operation], shapes: Mapping[fx.Node, Size]) -> set[fx.Node]:
    """The nodes of the head, which are computed whole for each box."""
    dense: set[fx.Node] = set()
    for operation in operations:
        fits = operation.kind in POINTWISE | WINDOWED | MERGING and _divides_evenly(operation)
        # Added maps of different sizes: one position of the smaller one changes all of the sum.
        alike = len({shapes[source][2:] for source in operation.inputs}) == 1
        fits = fits and (operation.kind not in MERGING or alike)
        if operation.kind == "placeholder" or (fits and not dense.intersection(operation.inputs)):
            continue
        dense.add(operation.node)
    return dense


def _divides_evenly(operation: Operation) -> bool:
    """False for an average pool whose divisor is smaller at the border."""
    if operation.kind != "avg_pool":
        return True
    given = argument(operation.node, 6, "divisor_override", None)
    divisor = getattr(operation.module, "divisor_override", given)
    whole = operation.count_padding or operation.padding == (0, 0)
    return whole and not operation.ceil_mode and divisor is None


def _restrictions(plan: Plan, outputs: Sequence[Output]) -> dict[fx.Node, int]:
    """The nodes of which one channel is enough, and which: from an output with one channel back
    to the layer that has a row of weights for it."""
    by_node = {operation.node: operation for operation in plan.operations}
    channels: dict[fx.Node, int] = {}
    for output in outputs:
        chain: list[fx.Node] = []
        node = output.node
        while output.channel is not None and plan.users[node] == 1:
            operation = by_node[node]
            chain.append(node)
            if _has_rows(operation, plan.dense):
                channels.update(dict.fromkeys(chain, output.channel))
                break
            if not _keeps_channels(operation, plan.shapes):
                break
            node = operation.inputs[0]
    return channels


def _has_rows(operation: Operation, dense: set[fx.Node]) -> bool:
    """Whether one row of the operation's weights makes one of its channels."""
    if isinstance(operation.module, nn.Conv2d):
        return operation.module.groups == 1 and operation.node not in dense
    return isinstance(operation.module, nn.Linear)


def _keeps_channels(operation: Operation, shapes: Mapping[fx.Node, Size]) -> bool:
    if operation.kind == "flatten":
        return shapes[operation.inputs[0]][2:] == (1, 1)
    return operation.kind in PER_CHANNEL | {"adaptive_pool"}


def _places(
    operations: Sequence[Operation], users: Mapping[fx.Node, int], shapes: Mapping[fx.Node, Size]
) -> dict[fx.Node, tuple[fx.Node, slice]]:
    """The nodes that only a concatenation reads: where in its channels they are written."""
    places: dict[fx.Node, tuple[fx.Node, slice]] = {}
    for operation in operations:
        if operation.kind != "concat":
            continue
        first = 0
        for source in operation.inputs:
            end = first + shapes[source][1]
            if users[source] == 1:
                places[source] = (operation.node, slice(first, end))
            first = end
    return places


def _foldable(
    operations: Sequence[Operation], users: Mapping[fx.Node, int]
) -> dict[fx.Node, nn.BatchNorm2d]:
    """Convolutions whose only reader is a batch norm."""
    convolutions = {o.node for o in operations if o.kind == "conv" and users[o.node] == 1}
    return {
        operation.inputs[0]: operation.module
        for operation in operations
        if isinstance(operation.module, nn.BatchNorm2d) and operation.inputs[0] in convolutions
    }


class CleanImage:
    """The clean image's activations and the fill, shared by all threads."""

    def __init__(self, plan: Plan, image: torch.Tensor, fill: torch.Tensor) -> None:
        self.plan = plan
        nodes = tuple(plan.around | {o.node for o in plan.outputs})
        with torch.no_grad():
            values = plan.network.part(nodes)(plan.network.send(image))
        self.values: dict[fx.Node, torch.Tensor] = dict(zip(nodes, values, strict=True))
        self.image, self.fill = (_rows(plan.network.send(x)) for x in (image, fill))
        self._sums: dict[fx.Node, torch.Tensor] = {}

    def value(self, node: fx.Node) -> torch.Tensor:
        """(1, C, H, W), with the one channel only where one is enough."""
        value = self.values[node]
        alone = self.plan.alone.get(node)
        return value if alone is None else value[:, alone : alone + 1]

    def sums(self, node: fx.Node) -> torch.Tensor:
        """Sums over all rectangles from the upper left corner, (H + 1, W + 1, C), exactly."""
        if node not in self._sums:
            exact = torch.float32 if self.plan.network.device.type == "mps" else torch.float64
            map_ = self.value(node)[0].permute(1, 2, 0).to(exact)
            self._sums[node] = F.pad(map_.cumsum(0).cumsum(1), (0, 0, 1, 0, 1, 0))
        return self._sums[node]


def _rows(maps: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) as rows of channels (N * H * W, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


class Recomputer:
    """Passes chunks of boxes through the network, in one thread.

    `recompute` gives, for each output, the values (boxes, channels), boxes in row-major order.
    """

    def __init__(self, clean: CleanImage) -> None:
        self.clean, self.plan = clean, clean.plan
        self.graph = fx.Interpreter(self.plan.network.graph, garbage_collect_values=False)
        self._stores: dict[fx.Node, torch.Tensor] = {}

    def recompute(self, chunk: Chunk) -> list[torch.Tensor]:
        with torch.no_grad():
            return _Pass(self, chunk).results()

    def store(self, node: fx.Node, rows: int) -> torch.Tensor:
        """A matrix with the clean map's rows, the rows of padding, and `rows` free ones."""
        height, width = self.plan.shapes[node][2:]
        before = height * width + _EXTRA_ROWS
        known = self._stores.get(node)
        if known is None or len(known) < before + rows:
            clean = _rows(self.clean.value(node))
            known = clean.new_empty((before + rows, clean.shape[1]))
            known[: height * width] = clean
            known[height * width] = 0
            known[height * width + 1] = -torch.inf
            self._stores[node] = known
        return known[: before + rows]


@dataclass(frozen=True)
class _Reading:
    """Along one axis, what is read of a node: for each box `size` indices from its start on,
    which may lie outside the map; the node's recomputed window, if it has one; its length."""

    start: np.ndarray
    size: int
    length: int
    window: Window | None = None

    @property
    def wanted(self) -> np.ndarray:
        return np.asarray(self.start[:, None] + np.arange(self.size))  # (boxes, size)

    def within(self) -> np.ndarray:
        return (self.wanted >= 0) & (self.wanted < self.length)

    def recomputed(self) -> np.ndarray:
        """Each wanted index inside the recomputed window, negative or too large outside."""
        if self.window is None:
            return np.full(self.wanted.shape, -1)
        return np.asarray(self.wanted - self.window.start[:, None])


def _row_numbers(rows: _Reading, columns: _Reading, padding: int) -> np.ndarray:
    """For each box and position that is read, the row of the node's store that holds it."""
    height, width = rows.length, columns.length
    clean = _cross(rows.wanted * width, columns.wanted)
    inside = _both(rows.within(), columns.within())
    numbers: np.ndarray = np.where(inside, clean, height * width + padding)
    if rows.window is not None and columns.window is not None:
        high, wide = rows.window.size, columns.window.size
        down, across = rows.recomputed(), columns.recomputed()
        box = (high * wide) * np.arange(len(down))[:, None] * len(across) + down * wide
        place = _cross(box, (high * wide) * np.arange(len(across))[:, None] + across)
        fresh = _both((down >= 0) & (down < high), (across >= 0) & (across < wide))
        numbers = np.where(fresh, height * width + _EXTRA_ROWS + place, numbers)
    return numbers.reshape(-1).astype(np.int32)


def _cross(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray(rows[:, None, :, None] + columns[None, :, None, :])


def _both(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray(rows[:, None, :, None] & columns[None, :, None, :])


class _Pass:
    """One chunk, passed through the network."""

    def __init__(self, recomputer: Recomputer, chunk: Chunk) -> None:
        self.recomputer, self.chunk = recomputer, chunk
        self.plan, self.clean = recomputer.plan, recomputer.clean
        self.windows = self.plan.cones(chunk)  # along the rows, along the columns
        self.patches: dict[fx.Node, torch.Tensor] = {}  # (boxes, h, w, C)
        self.values: dict[fx.Node, Any] = {}  # what the head computes, (boxes, ...)

    def results(self) -> list[torch.Tensor]:
        for operation in self.plan.operations:
            if operation.node in self.plan.dense:
                self.values[operation.node] = self._head(operation)
            else:
                self._recompute(operation)
        return [self._answer(output) for output in self.plan.outputs]

    # The recomputed windows

    def _recompute(self, operation: Operation) -> None:
        node = operation.node
        if operation.kind == "placeholder":
            self._keep(node, self._occluded(node))
        elif operation.kind in WINDOWED:
            self._keep(node, self._slide(operation).permute(0, 2, 3, 1))
        elif operation.kind == "concat":
            self._concatenate(operation)
        elif operation.kind == "add":
            first, second = (self._fitted(source, node) for source in operation.inputs)
            self._keep(node, first + second)
        elif operation.kind == "combine":
            read = {source: self._fitted(source, node) for source in operation.inputs}
            maps = self._call(node, {one: patch.permute(0, 3, 1, 2) for one, patch in read.items()})
            self._keep(node, maps.permute(0, 2, 3, 1))
        else:
            self._pointwise(operation)

    def _occluded(self, node: fx.Node) -> torch.Tensor:
        """The image around each box, with the fill inside it."""
        rows, columns = (
            _Reading(window.start, window.size, length)
            for window, length in zip(
                (self._window(node, 0), self._window(node, 1)), self.plan.size, strict=True
            )
        )

        def hidden() -> np.ndarray:
            spans = (self.chunk.rows, self.chunk.columns)
            low, high = zip(*(np.array(along).T[:, :, None] for along in spans), strict=True)
            down = (rows.wanted >= low[0]) & (rows.wanted < high[0])
            across = (columns.wanted >= low[1]) & (columns.wanted < high[1])
            return _both(down, across).reshape(-1, 1)

        index = self.plan.index((self.chunk, "image"), lambda: _row_numbers(rows, columns, _ZEROS))
        inside = self.plan.index((self.chunk, "box"), hidden)
        clean, fill = (x.index_select(0, index) for x in (self.clean.image, self.clean.fill))
        return torch.where(inside, fill, clean).view(self._shape(node))

    def _slide(self, operation: Operation) -> torch.Tensor:
        """A convolution or pool over the windows and what lies around them, (boxes, C, h, w)."""
        maps = self._input(operation)
        if operation.kind == "conv":
            weight, bias = self.plan.weights[operation.node]
            groups = int(operation.module.groups)  # type: ignore[union-attr,arg-type]
            return F.conv2d(maps, weight, bias, operation.stride, 0, operation.dilation, groups)
        if operation.kind == "max_pool":
            return F.max_pool2d(maps, operation.kernel, operation.stride, 0, operation.dilation)
        return F.avg_pool2d(maps, operation.kernel, operation.stride)

    def _input(self, operation: Operation) -> torch.Tensor:
        source, node = operation.inputs[0], operation.node
        single = operation.kernel == operation.stride == (1, 1) and operation.padding == (0, 0)
        if single and self._aligned(source, node):
            return self.patches[source].permute(0, 3, 1, 2)
        readings = []
        for axis in (0, 1):
            window = self._window(node, axis)
            start = window.start * operation.stride[axis] - operation.padding[axis]
            size = (window.size - 1) * operation.stride[axis] + operation.reach[axis]
            readings.append(self._reading(source, axis, Window(start, size)))
        padding = _LOWEST if operation.kind == "max_pool" else _ZEROS
        return self._gather(source, readings[0], readings[1], (node, padding)).permute(0, 3, 1, 2)

    def _concatenate(self, operation: Operation) -> None:
        whole = self._slot(operation.node)
        if whole is None:
            like = self.patches[operation.inputs[0]]
            whole = self.patches[operation.node] = like.new_empty(self._shape(operation.node))
        first = 0
        for source in operation.inputs:
            end = first + self.plan.shapes[source][1]
            if source not in self.plan.places:
                whole[..., first:end] = self._fitted(source, operation.node)
            first = end

    def _pointwise(self, operation: Operation) -> None:
        node, source = operation.node, operation.inputs[0]
        patch = self._fitted(source, node)
        own = self.plan.users[source] == 1  # nobody else reads it, so it may be overwritten
        if operation.kind in {"dropout", "identity"} or source in self.plan.norms:
            self._keep(node, patch if own else patch.clone())
        elif operation.kind == "relu":
            slot = self._slot(node)
            if slot is None:
                self.patches[node] = patch.relu_() if own else patch.relu()
            else:
                torch.clamp_min(patch, 0, out=slot)
        else:
            maps = self._call(operation.node, {source: patch.permute(0, 3, 1, 2)})
            self._keep(node, maps.permute(0, 2, 3, 1))

    def _keep(self, node: fx.Node, patch: torch.Tensor) -> None:
        slot = self._slot(node)
        if slot is None:
            self.patches[node] = patch
        else:
            slot.copy_(patch)

    def _slot(self, node: fx.Node) -> torch.Tensor | None:
        """Where a node's windows are read next, so that they are written there at once."""
        if node in self.patches:
            return self.patches[node]
        if node in self.plan.places:
            whole, channels = self.plan.places[node]
            target = self._slot(whole)
            if target is None:
                like = next(iter(self.patches.values()))
                target = self.patches[whole] = like.new_empty(self._shape(whole))
            self.patches[node] = target[..., channels]
        elif node in self.plan.around:
            shape = self._shape(node)
            count = shape[0] * shape[1] * shape[2]
            self.patches[node] = self.recomputer.store(node, count)[-count:].view(shape)
        return self.patches.get(node)

    def _shape(self, node: fx.Node) -> tuple[int, int, int, int]:
        high, wide = (self._window(node, axis).size for axis in (0, 1))
        return (self.chunk.count, high, wide, self.plan.channels(node))

    # Reading

    def _window(self, node: fx.Node, axis: int) -> Window:
        return self.windows[axis][node]

    def _aligned(self, source: fx.Node, node: fx.Node) -> bool:
        return all(self._window(source, axis).same_as(self._window(node, axis)) for axis in (0, 1))

    def _fitted(self, source: fx.Node, node: fx.Node) -> torch.Tensor:
        """The source's activations over the node's windows."""
        if self._aligned(source, node):
            return self.patches[source]
        rows, columns = (self._reading(source, axis, self._window(node, axis)) for axis in (0, 1))
        return self._gather(source, rows, columns, (node, _ZEROS))

    def _reading(self, source: fx.Node, axis: int, wanted: Window) -> _Reading:
        length = self.plan.shapes[source][2 + axis]
        return _Reading(wanted.start, wanted.size, length, self._window(source, axis))

    def _gather(
        self, source: fx.Node, rows: _Reading, columns: _Reading, reader: tuple[Hashable, int]
    ) -> torch.Tensor:
        """Recomputed windows and the clean map around them, (boxes, h, w, C)."""
        index = self.plan.index(
            (self.chunk, source, reader), lambda: _row_numbers(rows, columns, reader[1])
        )
        patch = self.patches[source]
        count = patch.shape[0] * patch.shape[1] * patch.shape[2]
        store = self.recomputer.store(source, count)
        if source in self.plan.places:  # it lies inside a concatenation's windows
            store[-count:] = patch.reshape(count, -1)
        return store.index_select(0, index).view(
            self.chunk.count, rows.size, columns.size, store.shape[1]
        )

    # The head

    def _head(self, operation: Operation) -> Any:
        node = operation.node
        source = operation.inputs[0]
        if (
            operation.kind == "adaptive_pool"
            and source not in self.plan.dense
            and self.plan.shapes[node][2:] == (1, 1)
        ):
            return self._mean(source)[:, :, None, None]
        inputs = {
            given: self.values[given] if given in self.plan.dense else self._whole(given)
            for given in operation.inputs
        }
        if operation.kind == "linear" and node in self.plan.alone:
            return self._one_row(operation, inputs[source])
        return self._call(node, inputs)

    def _one_row(self, operation: Operation, values: torch.Tensor) -> torch.Tensor:
        module, row = operation.module, self.plan.alone[operation.node]
        if not isinstance(module, nn.Linear):
            raise TypeError(f"{operation.node} is no linear layer")
        bias = None if module.bias is None else module.bias[row : row + 1]
        return F.linear(values, module.weight[row : row + 1], bias)

    def _whole(self, node: fx.Node) -> torch.Tensor:
        """The whole map for each box, (boxes, C, H, W)."""
        height, width = self.plan.shapes[node][2:]
        return self._part(node, (0, 0), (height, width))

    def _part(self, node: fx.Node, corner: Pair, size: Pair) -> torch.Tensor:
        """The same rectangle of the map for each box, (boxes, C, h, w)."""
        counts = (len(self.chunk.rows), len(self.chunk.columns))
        rows, columns = (
            self._reading(node, axis, Window(np.full(counts[axis], corner[axis]), size[axis]))
            for axis in (0, 1)
        )
        return self._gather(node, rows, columns, ((corner, size), _ZEROS)).permute(0, 3, 1, 2)

    def _mean(self, node: fx.Node) -> torch.Tensor:
        """The map's mean for each box: the clean sum, its window's part replaced, (boxes, C)."""
        sums = self.clean.sums(node)
        rows, columns = (self._window(node, axis) for axis in (0, 1))
        down = torch.from_numpy(rows.start).to(sums.device)
        across = torch.from_numpy(columns.start).to(sums.device)
        upper, lower = sums[down], sums[down + rows.size]
        clean = (
            lower[:, across + columns.size]
            - lower[:, across]
            - upper[:, across + columns.size]
            + upper[:, across]
        ).flatten(0, 1)
        # Rows as they are, their sums in double precision: all in doubles would be a copy.
        fresh = self.patches[node].sum(2).sum(1, dtype=sums.dtype)
        height, width = self.plan.shapes[node][2:]
        return ((sums[-1, -1] - clean + fresh) / (height * width)).float()

    def _call(self, node: fx.Node, inputs: Mapping[fx.Node, Any]) -> Any:
        """Apply a node's own operation."""
        graph = self.recomputer.graph
        own = [source for source in node.all_input_nodes if source.op == "get_attr"]
        graph.env = {**inputs, **{one: graph.fetch_attr(str(one.target)) for one in own}}
        return graph.run_node(node)

    # The answers

    def _answer(self, output: Output) -> torch.Tensor:
        node = output.node
        if node in self.plan.dense:
            value = self.values[node]
        else:
            value = self._whole(node) if output.position is not None else self._mean(node)
        if node in self.plan.alone:  # there is no other channel
            output = replace(output, channel=None)
        return output.of(value).cpu()
