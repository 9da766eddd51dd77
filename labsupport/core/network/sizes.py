"""Sizes of tensors as true integers that remember where they came from.

While a module is recorded, `x.shape` is a `SizeTuple` and each side that is read from it a
`SizeNumber`. For the module these are a tuple and integers like any others, so it may branch on
them, count with them and cut with them; for the recorder each is a node of the graph as well, and
so is what is worked out from it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import fx

READ = "read as"  # in the meta of a node that gives a size: what the module was told


class SizeNumber(int):
    """An integer, and the node of a graph that computes it."""

    node: fx.Node

    @classmethod
    def of(cls, value: int, node: fx.Node) -> SizeNumber:
        number = cls(value)
        number.node = node
        return number


def _arithmetic(function: Callable[..., Any], name: str, *, swapped: bool) -> Callable[..., Any]:
    plain = getattr(int, f"__r{name}__" if swapped else f"__{name}__")

    def method(self: SizeNumber, other: Any) -> Any:
        value = plain(self, other)
        if type(value) is not int:  # `NotImplemented`
            return value
        same = isinstance(other, SizeNumber) and other.node.graph is self.node.graph
        both = (self.node, other.node if same else int(other))
        node = self.node.graph.call_function(function, both[::-1] if swapped else both)
        return SizeNumber.of(value, node)

    return method


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    for _swapped in (False, True):
        setattr(
            SizeNumber,
            f"__r{_name}__" if _swapped else f"__{_name}__",
            _arithmetic(getattr(operator, _name), _name, swapped=_swapped),
        )


class SizeTuple(tuple[int, ...]):
    """The sides of a tensor; `read` gives each as it is asked for, by its dimension."""

    dims: Sequence[int]
    read: Callable[[int], int]

    @classmethod
    def of(cls, shape: Sequence[int], dims: Sequence[int], read: Callable[[int], int]) -> SizeTuple:
        sides = cls(shape[dim] for dim in dims)
        sides.dims, sides.read = dims, read
        return sides

    def __iter__(self) -> Iterator[int]:
        return (self.read(dim) for dim in self.dims)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self.read(self.dims[index])
        places = range(len(self))[index]
        part = SizeTuple(tuple.__getitem__(self, place) for place in places)
        part.dims, part.read = [self.dims[place] for place in places], self.read
        return part

    def __eq__(self, other: object) -> bool:
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __add__(self, other: Any) -> Any:
        return (*self, *other)

    def __radd__(self, other: Any) -> Any:
        return (*other, *self)

    def numel(self) -> int:
        """How many numbers there are."""
        return math.prod(self)
