"""What an image is optimized for: small values that can be added and weighted.

Every objective reads activations and gives terms (name, value of each image, weight); what is
raised is the sum of weight times value. A distance has a negative weight, so it is lowered.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, fx

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network, Pair, Target, TargetLike
from labsupport.core.network.layers import at_or_mean
from labsupport.core.network.operations import Operation, Size

SCORES = "scores"
LOG_PROBABILITIES = "log-probabilities"
# What objectives read: a layer's name, one of these two, or a function of images (N, 3, H, W).
Representation: TypeAlias = str | Callable[[Tensor], Tensor]
Activations: TypeAlias = Mapping[Any, Tensor]  # by representation


@dataclass(frozen=True)
class Term:
    """One number for each image, (N,), and how much it counts: below zero, it is lowered."""

    value: Tensor
    weight: float


Terms = dict[str, Term]


class Objective(ABC):
    """Something to optimize an image for.

    One of your own needs `layers` (the names of what it reads: layers, "scores" or
    "log-probabilities") and `terms`; `bound` checks it for a network and moves it to its device.
    Fields that may have an entry for each image are named in `per_image`.
    `a + b`, `a - b`, `2 * a` and `-a` are objectives too.
    """

    per_image: tuple[str, ...] = ()

    @property
    @abstractmethod
    def layers(self) -> tuple[Representation, ...]:
        """The names of the activations that `terms` reads."""

    @abstractmethod
    def terms(self, activations: Activations) -> Terms:
        """The terms by name, from activations (N, C, H, W) or (N, D) by layer."""

    def bound(self, _network: Network) -> Objective:
        """The same, checked for this network and on its device."""
        return self

    def evaluate(self, network: Network, images: Tensor) -> tuple[Terms, Activations]:
        """The terms of images (N, 3, H, W), and the activations that they come from."""
        activations = read(network, self.layers, images)
        return self.terms(activations), activations

    @property
    def count(self) -> int | None:
        """How many images it is for; None: as many as there are."""
        count = max((len(getattr(self, name)) for name in self.per_image), default=1)
        return count if count > 1 else None

    @property
    def classes(self) -> tuple[int, ...] | None:
        """The class that is asked for in each image, where classes are asked for."""
        return None

    def part(self, images: slice) -> Objective:
        """The same for some of the images."""
        if self.count is None:
            return self
        some = {name: getattr(self, name)[images] for name in self.per_image}
        return cast(Objective, replace(cast(Any, self), **some))

    def __add__(self, other: Objective) -> Objective:
        return Sum((1.0, 1.0), (self, other))

    def __sub__(self, other: Objective) -> Objective:
        return Sum((1.0, -1.0), (self, other))

    def __mul__(self, weight: float) -> Objective:
        return Sum((float(weight),), (self,))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return self * -1.0


@dataclass(frozen=True)
class Sum(Objective):
    """Objectives with a weight each; written `2 * a + b`."""

    weights: tuple[float, ...]
    parts: tuple[Objective, ...]

    @property
    def layers(self) -> tuple[Representation, ...]:
        return tuple(dict.fromkeys(name for part in self.parts for name in part.layers))

    def bound(self, network: Network) -> Objective:
        return replace(self, parts=tuple(part.bound(network) for part in self.parts))

    @property
    def count(self) -> int | None:
        counts = {part.count for part in self.parts} - {None, 1}
        if len(counts) > 1:
            raise BadSetting(f"the parts of a sum are for different numbers of images: {counts}")
        return counts.pop() if counts else max(part.count or 0 for part in self.parts) or None

    @property
    def classes(self) -> tuple[int, ...] | None:
        return next((part.classes for part in self.parts if part.classes), None)

    def part(self, images: slice) -> Sum:
        return replace(self, parts=tuple(one.part(images) for one in self.parts))

    def terms(self, activations: Activations) -> Terms:
        terms: Terms = {}
        for weight, part in zip(self.weights, self.parts, strict=True):
            for name, term in part.terms(activations).items():
                terms[free_name(name, terms)] = Term(term.value, weight * term.weight)
        return terms


def free_name(name: str, taken: Mapping[str, Term]) -> str:
    """The name, numbered where another term has it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


@dataclass(frozen=True)
class TargetValue(Objective):
    """The value of a target: a class's score before softmax, a channel's mean, a neuron.

    A list of targets has one for each image of the batch. A unit that its ReLU silences on the
    whole image has the value 0 and no gradient. With `before_relu`, the value before its ReLU,
    which is below 0, stands for it until it fires.
    """

    targets: TargetLike | Sequence[TargetLike]
    before_relu: bool = True
    units_before: tuple[Unit | None, ...] = field(default=(), repr=False)
    name: str = field(default="", repr=False)  # the term's, the same for all parts of a batch
    per_image = ("targets", "units_before")

    @property
    def each(self) -> tuple[Target, ...]:
        """The targets, after `bound`."""
        return self.targets  # type: ignore[return-value]

    def bound(self, network: Network) -> TargetValue:
        wanted = self.targets
        several = isinstance(wanted, list) or (
            isinstance(wanted, tuple) and all(isinstance(one, Target) for one in wanted)
        )
        if several and not wanted:
            raise BadSetting("an empty list has no target: give one target for each image")
        targets = tuple(network.target(one) for one in (wanted if several else (wanted,)))  # type: ignore[arg-type,union-attr]
        before = tuple(before_relu(network, one) for one in targets) if self.before_relu else ()
        name = targets[0].title if len(set(targets)) == 1 else "target"
        return TargetValue(targets, self.before_relu, before, name)

    @property
    def layers(self) -> tuple[str, ...]:
        own = [one.layer or SCORES for one in self.each]
        return tuple(dict.fromkeys([*own, *(one.layer for one in self.units_before if one)]))

    @property
    def classes(self) -> tuple[int, ...] | None:
        inside = all(one.layer is None for one in self.each)
        return tuple(one.index for one in self.each) if inside else None

    @property
    def place(self) -> tuple[str, Pair] | None:
        """Layer and position, where all targets are neurons at one place."""
        places = {(one.layer, one.position) for one in self.each}
        layer, position = next(iter(places))
        return (layer, position) if len(places) == 1 and layer and position else None

    def moved(self, position: Pair) -> TargetValue:
        """The same neurons at another position of their layer's map."""
        targets = tuple(replace(one, position=position) for one in self.each)
        before = tuple(one and replace(one, position=position) for one in self.units_before)
        return replace(self, targets=targets, units_before=before)

    def terms(self, activations: Activations) -> Terms:
        own = [(one.layer or SCORES, one.index, one.position) for one in self.each]
        values = _values(own, activations)
        silent = values.detach() == 0
        if any(self.units_before) and bool(silent.any()):
            before = [
                (one.layer, one.channel, one.position) if one else unit
                for unit, one in zip(own, self.units_before, strict=True)
            ]
            values = torch.where(silent, _values(before, activations), values)
        return {self.name: Term(values, 1.0)}


def _values(
    units: Sequence[tuple[str, int, Pair | None]], activations: Mapping[str, Tensor]
) -> Tensor:
    """The value (N,) of one unit in all images, or of each image's own unit."""
    if len(units) == 1:
        ((layer, channel, position),) = units
        return at_or_mean(activations[layer][:, channel], position)
    groups: dict[tuple[str, Pair | None], list[int]] = {}
    for image, (layer, _, position) in enumerate(units):
        groups.setdefault((layer, position), []).append(image)
    parts = [
        at_or_mean(activations[layer][images, [units[image][1] for image in images]], position)
        for (layer, position), images in groups.items()
    ]
    order = torch.tensor([image for images in groups.values() for image in images])
    values = torch.cat(parts)
    return values[order.argsort().to(values.device)]


@dataclass(frozen=True)
class LogOdds(Objective):
    """The log of p / (1 - p) of a class: its score minus the log of the sum of exp(other scores).

    A score rises with everything that many classes like. This rises only with what sets the class
    apart, and unlike log p it never saturates. A list has a class for each image.
    """

    names: str | int | Sequence[str | int]
    per_image = ("names",)

    def bound(self, network: Network) -> LogOdds:
        names = (self.names,) if isinstance(self.names, str | int) else self.names
        if not names:
            raise BadSetting("an empty list has no class: give one for each image")
        return LogOdds(tuple(network.class_index(one) for one in names))

    @property
    def layers(self) -> tuple[str, ...]:
        return (SCORES,)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes' indices, after `bound`."""
        return self.names  # type: ignore[return-value]

    def terms(self, activations: Activations) -> Terms:
        scores = activations[SCORES]
        wanted = torch.tensor(self.classes, device=scores.device).expand(len(scores))
        return {"log-odds": Term(log_odds(scores, wanted), 1.0)}


def log_odds(scores: Tensor, wanted: Tensor) -> Tensor:
    """log p / (1 - p) of the wanted classes (N,), from scores (N, classes), without rounding p.

    It is the score less the logarithm of the sum of the others' exponentials.
    """
    others = scores.scatter(1, wanted[:, None], -math.inf).logsumexp(1)
    return scores.gather(1, wanted[:, None])[:, 0] - others


@dataclass(frozen=True)
class LayerObjective(Objective):
    """An objective that reads one layer."""

    layer: Representation

    @property
    def layers(self) -> tuple[Representation, ...]:
        return (self.layer,)


@dataclass(frozen=True)
class Direction(LayerObjective):
    """How far a layer's activations point along a vector (C,), averaged over its positions.

    With `position` (row, column), at that position alone.
    """

    vector: Tensor
    position: Pair | None = None

    def bound(self, network: Network) -> Objective:
        channels = network.layer(str(self.layer)).shape[0]
        if self.vector.shape != (channels,):
            raise BadSetting(
                f"a direction in {self.layer} has {channels} numbers, one for each channel; "
                f"this has the shape {tuple(self.vector.shape)}"
            )
        return replace(self, vector=on_device(network, self.vector))

    def terms(self, activations: Activations) -> Terms:
        maps = activations[self.layer]
        along = torch.einsum("nc...,c->n...", maps, self.vector)
        return {f"direction in {self.layer}": Term(at_or_mean(along, self.position), 1.0)}


@dataclass(frozen=True)
class Energy(LayerObjective):
    """Half the sum of a layer's squared activations: its gradient there is the activation itself.

    DeepDream's objective (Mordvintsev et al. 2015): whatever the layer sees, more of it.
    """

    def bound(self, network: Network) -> Objective:
        network.node(str(self.layer))
        return self

    def terms(self, activations: Activations) -> Terms:
        value = 0.5 * activations[self.layer].square().flatten(1).sum(1)
        return {f"energy of {self.layer}": Term(value, 1.0)}


def node_of(network: Network, layer: str) -> fx.Node:
    """The node of a name that objectives use."""
    return network.output if layer in (SCORES, LOG_PROBABILITIES) else network.node(layer)


def nodes_of(network: Network, layers: Iterable[Representation]) -> tuple[fx.Node, ...]:
    """The nodes of the layers among what objectives read: as far as a network is computed."""
    return tuple(node_of(network, layer) for layer in layers if isinstance(layer, str))


def read(
    network: Network, layers: Sequence[Representation], images: Tensor
) -> dict[Representation, Tensor]:
    """The activations that objectives read, by name, in one pass that goes no further.

    The images are not checked, gradients flow through, the results stay on the device.
    """
    strange = [layer for layer in layers if not isinstance(layer, str) and not callable(layer)]
    if strange:
        raise BadSetting(
            f"a layer is a name, such as {network.layers[0].name!r}, not {strange[0]!r}"
        )
    nodes = {layer: node_of(network, layer) for layer in layers if isinstance(layer, str)}
    activations: dict[Representation, Tensor] = {}
    if nodes:
        needed = tuple(dict.fromkeys(nodes.values()))
        values = dict(zip(needed, network.part(needed)(network.send(images)), strict=True))
        activations |= {layer: values[node] for layer, node in nodes.items()}
    if LOG_PROBABILITIES in activations:
        activations[LOG_PROBABILITIES] = activations[LOG_PROBABILITIES].log_softmax(1)
    for layer in layers:
        if not isinstance(layer, str):
            activations[layer] = layer(images.to(network.device))
    return activations


def on_device(network: Network, values: Tensor) -> Tensor:
    """Numbers that belong to an objective, where the network computes."""
    return values.detach().to(network.device, torch.float32)


# Units that a ReLU silences: their value before it, which still has a gradient


_HANDING_ON = frozenset({"dropout", "identity"})
_POOLING = frozenset({"adaptive_pool", "avg_pool", "max_pool"})


@dataclass(frozen=True)
class Unit:
    """Where a unit's value lies before its ReLU: a layer, a channel, and perhaps a position."""

    layer: str
    channel: int
    position: Pair | None


def before_relu(network: Network, target: Target) -> Unit | None:
    """The value before a target's last ReLU; None where no ReLU can silence it."""
    by_node = {one.node: one for one in network.operations}
    shapes = network.shapes(network.input_size)
    node, channel, pooled = network.node_of(target), target.index, False
    while True:
        operation = by_node[node]
        if operation.kind in ("relu", "relu6"):
            layer = network.layer_of(operation.inputs[0]).name
            return None if pooled and target.position else Unit(layer, channel, target.position)
        if operation.kind == "concat":
            node, channel = _part(operation, channel, shapes)
            continue
        pooled = pooled or operation.kind in _POOLING
        flat = operation.kind == "flatten" and shapes[operation.inputs[0]][2:] in ((), (1, 1))
        if not (flat or operation.kind in _HANDING_ON | _POOLING):
            return None
        node = operation.inputs[0]


def _part(
    operation: Operation, channel: int, shapes: Mapping[fx.Node, Size]
) -> tuple[fx.Node, int]:
    """Which input of a concatenation a channel comes from, and its number there."""
    for source in operation.inputs:
        count = shapes[source][1]
        if channel < count:
            break
        channel -= count
    return source, channel
