"""What an image is optimized for: small values that can be added and weighted.

Every objective reads activations and gives terms (name, value of each image, weight); what is
raised is the sum of weight times value. A distance has a negative weight, so it is lowered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from labsupport.core.errors import BadSetting
from labsupport.core.networks import Network, TargetLike
from labsupport.core.operations import Pair
from labsupport.core.targets import Target

SCORES = "scores"
LOG_PROBABILITIES = "log-probabilities"


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
    `a + b`, `a - b`, `2 * a` and `-a` are objectives too.
    """

    @property
    @abstractmethod
    def layers(self) -> tuple[str, ...]:
        """The names of the activations that `terms` reads."""

    @abstractmethod
    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        """The terms by name, from activations (N, C, H, W) or (N, D) by layer."""

    def bound(self, _network: Network) -> Objective:
        """The same, checked for this network and on its device."""
        return self

    @property
    def count(self) -> int | None:
        """How many images it is for; None: as many as there are."""
        return None

    @property
    def classes(self) -> tuple[int, ...] | None:
        """The class that is asked for in each image, where classes are asked for."""
        return None

    def part(self, _images: slice) -> Objective:
        """The same for some of the images."""
        return self

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
    def layers(self) -> tuple[str, ...]:
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

    def part(self, images: slice) -> Objective:
        return replace(self, parts=tuple(one.part(images) for one in self.parts))

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        found: Terms = {}
        for weight, part in zip(self.weights, self.parts, strict=True):
            for name, term in part.terms(activations).items():
                found[_free(name, found)] = Term(term.value, weight * term.weight)
        return found


def _free(name: str, taken: Mapping[str, Term]) -> str:
    """The name, numbered where another term has it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


@dataclass(frozen=True)
class TargetValue(Objective):
    """The value of a target: a class's score before softmax, a channel's mean, a neuron.

    A list of targets has one for each image of the batch.
    """

    targets: TargetLike | Sequence[TargetLike]

    @property
    def each(self) -> tuple[Target, ...]:
        """The targets, once `bound` has found them."""
        return self.targets  # type: ignore[return-value]

    def bound(self, network: Network) -> TargetValue:
        wanted = self.targets
        several = isinstance(wanted, list) or (
            isinstance(wanted, tuple) and all(isinstance(one, Target) for one in wanted)
        )
        if several and not wanted:
            raise BadSetting("an empty list has no target: give one target for each image")
        found = [network.target(one) for one in (wanted if several else (wanted,))]  # type: ignore[arg-type,union-attr]
        return TargetValue(tuple(found))

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.layer or SCORES for one in self.each))

    @property
    def count(self) -> int | None:
        return len(self.each) if len(self.each) > 1 else None

    @property
    def classes(self) -> tuple[int, ...] | None:
        inside = all(one.layer is None for one in self.each)
        return tuple(one.index for one in self.each) if inside else None

    def part(self, images: slice) -> TargetValue:
        return TargetValue(self.each[images]) if self.count else self

    @property
    def place(self) -> tuple[str, Pair] | None:
        """Layer and position, where all targets are neurons at one place."""
        places = {(one.layer, one.position) for one in self.each}
        layer, position = next(iter(places))
        return (layer, position) if len(places) == 1 and layer and position else None

    def moved(self, position: Pair) -> TargetValue:
        """The same neurons at another position of their layer's map."""
        return TargetValue(tuple(replace(one, position=position) for one in self.each))

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        name = self.each[0].title if len(set(self.each)) == 1 else "target"
        return {name: Term(self._values(activations), 1.0)}

    def _values(self, activations: Mapping[str, Tensor]) -> Tensor:
        if len(self.each) == 1:
            return self.each[0].value(activations[self.layers[0]])
        parts: list[Tensor] = []
        order: list[int] = []
        groups: dict[tuple[str, Pair | None], list[int]] = {}
        for image, one in enumerate(self.each):
            groups.setdefault((one.layer or SCORES, one.position), []).append(image)
        for (layer, position), images in groups.items():
            channels = [self.each[image].index for image in images]
            maps = activations[layer][images, channels]  # (n,) or (n, H, W)
            if position is not None:
                maps = maps[:, position[0], position[1]]
            parts.append(maps.flatten(1).mean(1) if maps.ndim > 1 else maps)
            order += images
        joined = torch.cat(parts)
        return joined[torch.tensor(order, device=joined.device).argsort()]


@dataclass(frozen=True)
class LogOdds(Objective):
    """The log of p / (1 - p) of a class: its score minus the log of the sum of exp(other scores).

    A score rises with everything that many classes like. This rises only with what sets the class
    apart, and unlike log p it never saturates. A list has a class for each image.
    """

    names: str | int | Sequence[str | int]

    def bound(self, network: Network) -> LogOdds:
        several = not isinstance(self.names, str | int)
        found = [network.class_index(one) for one in (self.names if several else (self.names,))]  # type: ignore[union-attr]
        if not found:
            raise BadSetting("an empty list has no class: give one for each image")
        return LogOdds(tuple(found))

    @property
    def layers(self) -> tuple[str, ...]:
        return (SCORES,)

    @property
    def count(self) -> int | None:
        return len(self.classes) if len(self.classes) > 1 else None

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes' indices, once `bound` has found them."""
        return self.names  # type: ignore[return-value]

    def part(self, images: slice) -> LogOdds:
        return LogOdds(self.classes[images]) if self.count else self

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        scores = activations[SCORES]
        wanted = torch.tensor(self.classes, device=scores.device).expand(len(scores))[:, None]
        others = scores.scatter(1, wanted, float("-inf")).logsumexp(1)
        return {"log-odds": Term(scores.gather(1, wanted)[:, 0] - others, 1.0)}


@dataclass(frozen=True)
class Direction(Objective):
    """How far a layer's activations point along a vector (C,), averaged over its positions.

    With `position` (row, column), at that position alone.
    """

    layer: str
    vector: Tensor
    position: Pair | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    def bound(self, network: Network) -> Objective:
        channels = network.layer(self.layer).shape[0]
        if self.vector.shape != (channels,):
            raise BadSetting(
                f"a direction in {self.layer} has {channels} numbers, one for each channel; "
                f"this has the shape {tuple(self.vector.shape)}"
            )
        return replace(self, vector=_on(network, self.vector))

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        maps = activations[self.layer]
        along = torch.einsum("nc...,c->n...", maps, self.vector)
        if self.position is not None:
            along = along[:, self.position[0], self.position[1]]
        value = along.flatten(1).mean(1) if along.ndim > 1 else along
        return {f"direction in {self.layer}": Term(value, 1.0)}


@dataclass(frozen=True)
class Energy(Objective):
    """Half the sum of a layer's squared activations: its gradient there is the activation itself.

    DeepDream's objective (Mordvintsev et al. 2015): whatever the layer sees, more of it.
    """

    layer: str

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    def bound(self, network: Network) -> Objective:
        network.node(self.layer)
        return self

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        value = 0.5 * activations[self.layer].square().flatten(1).sum(1)
        return {f"energy of {self.layer}": Term(value, 1.0)}


@dataclass(frozen=True)
class CodeDistance(Objective):
    """How far an image's code is from a given one, squared, over that one's squared norm.

    Mahendran and Vedaldi, "Understanding deep image representations by inverting them", CVPR 2015.
    `code` is (1, C, H, W) or (1, D), or one for each image; `CodeDistance.to(network, layer,
    images)` takes it from images. The layer may be "scores" or "log-probabilities". `mask`, which
    multiplies both codes, keeps some positions or channels only. It is lowered.
    """

    layer: str
    code: Tensor
    mask: Tensor | None = None

    @classmethod
    def to(
        cls, network: Network, layer: str, images: Tensor, mask: Tensor | None = None
    ) -> CodeDistance:
        """The distance to the codes of these images (N, 3, H, W)."""
        return cls(layer, _codes(network, layer, images), mask)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def count(self) -> int | None:
        return len(self.code) if len(self.code) > 1 else None

    def part(self, images: slice) -> Objective:
        return replace(self, code=self.code[images]) if self.count else self

    def bound(self, network: Network) -> Objective:
        node_of(network, self.layer)
        mask = None if self.mask is None else _on(network, self.mask)
        bound = replace(self, code=_on(network, self.code), mask=mask)
        if not bool(bound._squared(bound.code).gt(0).all()):
            raise BadSetting(
                f"the code at {self.layer} is zero everywhere: nothing to come near to"
            )
        return bound

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        found = activations[self.layer]
        if found.shape[1:] != self.code.shape[1:]:
            raise BadSetting(
                f"the code at {self.layer} is {tuple(self.code.shape[1:])}, but this image's is "
                f"{tuple(found.shape[1:])}: the image must have the size of the code's own"
            )
        value = self._squared(found - self.code) / self._squared(self.code)
        return {f"code distance at {self.layer}": Term(value, -1.0)}

    def _squared(self, code: Tensor) -> Tensor:
        kept = code if self.mask is None else code * self.mask
        return kept.square().flatten(1).sum(1)


@dataclass(frozen=True)
class GramDistance(Objective):
    """How far a layer's Gram matrix is from a given one: the sum of the squared differences.

    Gatys, Ecker and Bethge, CVPR 2016. `matrix` is (1, C, C), see `gram`, or one for each image;
    `GramDistance.to(network, layer, images)` takes it from images. It is lowered.
    """

    layer: str
    matrix: Tensor

    @classmethod
    def to(cls, network: Network, layer: str, images: Tensor) -> GramDistance:
        """The distance to the Gram matrices of these images (N, 3, H, W)."""
        return cls(layer, gram(_codes(network, layer, images)).cpu())

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def count(self) -> int | None:
        return len(self.matrix) if len(self.matrix) > 1 else None

    def part(self, images: slice) -> Objective:
        return replace(self, matrix=self.matrix[images]) if self.count else self

    def bound(self, network: Network) -> Objective:
        layer = network.layer(self.layer)
        if not layer.has_map:
            raise BadSetting(f"{layer.title} has no map, so it has no Gram matrix")
        if self.matrix.shape[1:] != (layer.shape[0], layer.shape[0]):
            raise BadSetting(
                f"a Gram matrix of {layer.title} is {layer.shape[0]} x {layer.shape[0]}, "
                f"not {tuple(self.matrix.shape[1:])}"
            )
        return replace(self, matrix=_on(network, self.matrix))

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        apart = gram(activations[self.layer]) - self.matrix
        value = apart.square().flatten(1).sum(1)
        return {f"Gram distance at {self.layer}": Term(value, -1.0)}


def gram(maps: Tensor) -> Tensor:
    """How often any two channels fire together: maps (N, C, H, W) to (N, C, C).

    The products are summed over the positions and divided by C H W. Where things lie is lost.

    >>> gram(torch.tensor([1.0, 2.0, 3.0, 0.0]).view(1, 2, 1, 2))
    tensor([[[1.2500, 0.7500],
             [0.7500, 2.2500]]])
    """
    count, channels, height, width = maps.shape
    # Channels-last memory gives (N, H W, C) without a copy.
    rows = maps.permute(0, 2, 3, 1).reshape(count, height * width, channels)
    return rows.transpose(1, 2) @ rows / (channels * height * width)


def node_of(network: Network, layer: str) -> fx.Node:
    """The node behind a name that objectives use."""
    return network.output if layer in (SCORES, LOG_PROBABILITIES) else network.node(layer)


def read(network: Network, layers: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """The activations that objectives read, by name, in one pass that goes no further.

    The images are not checked, gradients flow through, the results stay on the device.
    """
    nodes = tuple(dict.fromkeys(node_of(network, layer) for layer in layers))
    values = dict(zip(nodes, network.part(nodes)(network.send(images)), strict=True))
    found = {layer: values[node_of(network, layer)] for layer in layers}
    if LOG_PROBABILITIES in found:
        found[LOG_PROBABILITIES] = found[LOG_PROBABILITIES].log_softmax(1)
    return found


def _codes(network: Network, layer: str, images: Tensor) -> Tensor:
    network.check(images)
    with torch.no_grad():
        return read(network, (layer,), images)[layer].cpu()


def _on(network: Network, values: Tensor) -> Tensor:
    return values.detach().to(network.device, torch.float32)
