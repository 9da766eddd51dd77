"""How many images there are, where a module has asked in a way that no recorder sees.

`len(x)` is an integer like any other. So the module is recorded for two numbers of images: what
differs between the recordings is worked out from that number.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from labsupport.core.errors import CannotRecord
from labsupport.core.network.recorder import LINE, SHAPE, Recorder


def follow_count(one: Recorder, other: Recorder) -> bool:
    """Write numbers that follow from the number of images as such into a recording, in place;
    whether there were any. The `other` recording is that of one image more.

    Errors: `CannotRecord`, with the line, where the two do other things.
    """
    images = next(node for node in one.graph.nodes if node.op == "placeholder")
    count = images.next.meta[SHAPE][0]
    own, others = list(one.graph.nodes), list(other.graph.nodes)
    with one.graph.inserting_after(images):
        size = one.graph.call_method("size", (images, 0))
    for node, twin in zip(own, others, strict=False):
        if not _same_call(node, twin, one, other):
            raise _unseen(twin)
        with one.graph.inserting_before(node):
            try:
                merged = _Merged(one.graph, size, count)
                node.args = merged.of(node.args, twin.args)
                node.kwargs = merged.of(dict(node.kwargs), dict(twin.kwargs))
            except ValueError:
                raise _unseen(twin) from None
    if len(own) != len(others):
        raise _unseen(others[len(own)])
    found = bool(size.users)
    if not found:
        one.graph.erase_node(size)
    return found


def _same_call(node: fx.Node, twin: fx.Node, one: Recorder, other: Recorder) -> bool:
    names = [getattr(call.target, "__name__", call.target) for call in (node, twin)]
    if node.op != twin.op or names[0] != names[1]:
        return False
    constants = one.constants.get(str(node.target)), other.constants.get(str(twin.target))
    return None in constants or torch.equal(*constants)  # type: ignore[arg-type]


def _unseen(node: fx.Node) -> CannotRecord:
    return CannotRecord(
        "its forward goes through a batch image by image, or counts the images where that is not "
        f"seen (len(x), x.split(1), for image in x) {node.meta.get(LINE, '')}(work on all images "
        "at once, and write x.size(0) for their number)"
    )


class _Merged:
    """Arguments of one call in two recordings, the nodes of one graph in them."""

    def __init__(self, graph: fx.Graph, size: fx.Node, count: int) -> None:
        self.graph, self.size, self.count = graph, size, count

    def of(self, one: Any, other: Any) -> Any:
        """The same for any number of images.

        Errors: `ValueError` where that cannot be told.
        """
        if isinstance(one, fx.Node) and isinstance(other, fx.Node):
            return one
        if isinstance(one, tuple | list) and len(one) == len(other):
            parts = [self.of(*pair) for pair in zip(one, other, strict=True)]
            return parts if isinstance(one, list) else tuple(parts)
        if isinstance(one, slice):
            sides = ((s.start, s.stop, s.step) for s in (one, other))
            return slice(*self.of(*sides))
        if isinstance(one, Mapping):
            return {key: self.of(value, other[key]) for key, value in one.items()}
        if one == other:
            return one
        if type(one) is type(other) is int:
            return self._number(one, other)
        raise ValueError(f"{one} and {other}")

    def _number(self, one: int, other: int) -> fx.Node:
        """A whole number that grows with each image by as much as it does here."""
        each = other - one
        product = self.graph.call_function(operator.mul, (self.size, each))
        return self.graph.call_function(operator.add, (product, one - each * self.count))
