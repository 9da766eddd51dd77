"""The cone of a box: which part of every layer's map can change when a box of the image changes.

Rows and columns are independent, so everything here is along one axis, for several boxes at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import fx

from labsupport.core.network.layers import Size
from labsupport.core.network.operations import MERGING, POINTWISE, WINDOWED, Operation

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
