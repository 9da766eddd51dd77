"""What is dreamed of: layers, weighed layers, or the features of a guide picture; also in tiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Box, Network, Pair, gradients, receptive_box
from labsupport.methods.optimize import objectives
from labsupport.methods.optimize.objectives import Energy, Objective, Sum, Term, Terms, read

DreamObjective = str | Sequence[str] | Mapping[str, float] | Objective
_PRODUCTS = 1 << 23  # dot products at a time: 32 MiB


def as_objective(objective: DreamObjective) -> Objective:
    """A layer, several, or layers with weights as the energy of the layers; others as they are."""
    if isinstance(objective, Objective):
        return objective
    layers = [objective] if isinstance(objective, str) else objective
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    if not weights:
        raise BadSetting("no layer to dream of: give one, a list of them, or {layer: weight}")
    if list(weights.values()) == [1.0]:
        return Energy(*weights)
    return Sum(tuple(float(w) for w in weights.values()), tuple(map(Energy, weights)))


def balanced_weights(network: Network, image: Tensor, layers: Sequence[str]) -> dict[str, float]:
    """Weights with which these layers pull equally hard on the pixels of this image.

    A layer's gradient can be a thousand times another's. A weight is one over the mean absolute
    gradient; multiply some of them to have more of those layers.
    """
    network.check(image, up_to=[network.node(layer) for layer in layers])
    weights = {}
    for layer in layers:
        energy = Energy(layer).bound(network)
        with torch.enable_grad():
            moving = image.detach().float().to(network.device).requires_grad_(True)
            (term,) = energy.terms(read(network, energy.layers, moving)).values()
            gradient = gradients.gradient_of(term.value.sum(), moving)
        size = float(gradient.abs().mean())
        if not size > 0:
            raise BadSetting(f"{layer} is silent on this image: nothing to dream of")
        weights[layer] = 1 / size
    return weights


@dataclass(frozen=True)
class Guided(objectives.LayerObjective):
    """At each position of a layer, the dot product with the guide's feature that fits best there.

    Its gradient at that position is that feature: the 2015 notebook sets it so by hand. `features`
    (G, C) has a row for each position of the guide; `Guided.by(network, layer, guide)` takes them
    from pictures.
    """

    layer: str
    features: Tensor

    @classmethod
    def by(cls, network: Network, layer: str, guide: Tensor) -> Guided:
        """Guided by pictures (N, 3, H, W) of any size."""
        _needs_map(network, layer)
        network.check(guide, up_to=[network.node(layer)])
        with torch.no_grad():
            maps = read(network, (layer,), guide)[layer]  # (N, C, H, W)
        return cls(layer, maps.permute(0, 2, 3, 1).flatten(0, 2).cpu())

    def bound(self, network: Network) -> Objective:
        _needs_map(network, self.layer)
        channels = network.layer(self.layer).shape[0]
        if self.features.ndim != 2 or self.features.shape[1] != channels:
            raise BadSetting(
                f"a guide's features in {self.layer} are rows of {channels} numbers, one for each "
                f"channel; these have the shape {tuple(self.features.shape)}"
            )
        return replace(self, features=objectives.on_device(network, self.features))

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        rows = activations[self.layer].flatten(2).transpose(1, 2)  # (N, P, C)
        value = (rows * self.features[self._best(rows)]).flatten(1).sum(1)
        return {f"guide at {self.layer}": Term(value, 1.0)}

    def _best(self, rows: Tensor) -> Tensor:
        """Which feature of the guide has the largest product with each row: (..., C) to (...)."""
        count = max(1, _PRODUCTS // len(self.features))
        with torch.no_grad():
            parts = torch.split(rows.reshape(-1, rows.shape[-1]), count)
            best = torch.cat([(part @ self.features.T).argmax(1) for part in parts])
        return best.view(rows.shape[:-1])


def _needs_map(network: Network, name: str) -> None:
    layer = network.layer(name)
    if not layer.has_map:
        raise BadSetting(
            f"{layer.title} has no positions to guide: take a layer with a map, not a vector"
        )


# Gradients of pictures that are too large for one pass: tile by tile, and the same numbers


@dataclass(frozen=True)
class Tiled(Objective):
    """An objective that sums over positions, computed in tiles: memory for one tile is enough.

    Each tile of `side` pixels brings `halo` pixels of its surroundings along. None takes what its
    positions can see: then value and gradient are those of the whole picture, at seams too. 0 is
    quickest; the gradient is then right where no position that sees a pixel sees over a seam, and
    jitter moves the seams about. An image that fits into one tile is computed as ever.
    """

    objective: Objective
    side: int = 384
    halo: int | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(str(layer) for layer in self.objective.layers)

    @property
    def count(self) -> int | None:
        return self.objective.count

    def part(self, images: slice) -> Objective:
        return replace(self, objective=self.objective.part(images))

    def bound(self, network: Network) -> Objective:
        if self.side < 16 or (self.halo is not None and self.halo < 0):
            raise BadSetting(
                f"a tile has 16 pixels or more and a halo 0 or more, not {self.side}, {self.halo}"
            )
        _check_sums(self.objective)
        for name in self.layers:
            layer = network.layer(name)
            if not layer.has_map or layer.stride is None:
                raise BadSetting(
                    f"{layer.title} sees the whole picture at once, so it cannot be tiled: "
                    "leave tile out, or take a layer with a map"
                )
        return replace(self, objective=self.objective.bound(network))

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        return self.objective.terms(activations)

    def evaluate(self, network: Network, images: Tensor) -> tuple[Terms, Mapping[str, Tensor]]:
        if max(images.shape[2:]) <= self.side:
            return self.objective.evaluate(network, images)
        plan = tiles(network, self.layers, (images.shape[2], images.shape[3]), self.side, self.halo)
        value = _InTiles.apply(images, network, self.objective, plan)
        return {f"sum of {len(plan)} tiles": Term(value, 1.0)}, {}


def _check_sums(objective: Objective) -> None:
    if isinstance(objective, Sum):
        for part in objective.parts:
            _check_sums(part)
    elif not isinstance(objective, Energy | Guided):
        raise BadSetting(
            f"{type(objective).__name__} is no sum over positions, so it cannot be tiled: tiles "
            "work for layers that are dreamed of (Energy), guides (Guided) and their sums"
        )


@dataclass(frozen=True)
class Tile:
    """A part of the picture, and the positions of each layer that are counted in it.

    `box` is in image pixels; `rows` and `columns` are (first, end) in the part's own maps.
    """

    box: Box
    rows: Mapping[str, Pair]
    columns: Mapping[str, Pair]


def tiles(
    network: Network, layers: Sequence[str], size: Pair, side: int, halo: int | None
) -> tuple[Tile, ...]:
    """Tiles that cover an image of this size, so that each position counts in just one of them."""

    def planned() -> tuple[Tile, ...]:
        spans = [_spans(network, layers, size, axis, side, halo) for axis in (0, 1)]
        return tuple(
            Tile((left, top, right, bottom), rows, columns)
            for (top, bottom), rows in spans[0]
            for (left, right), columns in spans[1]
        )

    return network.remember(("tiles", tuple(layers), size, side, halo), planned)


_Span = tuple[Pair, dict[str, Pair]]


def _spans(
    network: Network, layers: Sequence[str], size: Pair, axis: int, side: int, halo: int | None
) -> list[_Span]:
    """Along one axis: the pixels of each tile, and the positions of each layer that count there."""
    strides = {name: network.stride(network.node(name))[axis] for name in layers}
    whole = math.lcm(*strides.values())  # tiles begin where every layer's positions begin anew
    core = max(1, side // whole) * whole
    shapes = network.shapes(size, [network.node(name) for name in layers])
    ends = {name: shapes[network.node(name)][2 + axis] for name in layers}
    spans: list[_Span] = []
    for low in range(0, size[axis], core):
        last = low + core >= size[axis]
        counted = {
            name: (low // step, ends[name] if last else min(ends[name], (low + core) // step))
            for name, step in strides.items()
        }
        seen = [
            _seen(network, *one, size, axis) for one in counted.items() if one[1][0] < one[1][1]
        ]
        if not seen:
            continue
        first, end = min(a for a, _ in seen), max(b for _, b in seen)
        if halo is not None:
            first, end = max(first, low - halo), min(end, low + core + halo)
        first = max(0, first // whole * whole)
        end = size[axis] if last else min(size[axis], max(end, min(low + core, size[axis])))
        local = {
            name: (a - first // strides[name], b - first // strides[name])
            for name, (a, b) in counted.items()
        }
        spans.append(((first, end), local))
    return spans


def _seen(network: Network, layer: str, span: Pair, size: Pair, axis: int) -> Pair:
    """The pixels along an axis that positions from span[0] to before span[1] can see."""
    places = [(place, 0) if axis == 0 else (0, place) for place in (span[0], span[1] - 1)]
    boxes = [receptive_box(network, layer, place, size, clip=False) for place in places]
    return (min(box[1 - axis] for box in boxes), max(box[3 - axis] for box in boxes))


class _InTiles(torch.autograd.Function):
    """The sum over the tiles; the gradient is gathered on the way there, a tile at a time."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, network: Network, objective: Objective, plan: Sequence[Tile]
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        total = images.new_zeros(len(images))
        gradient = torch.zeros_like(images) if wanted else images.new_empty(0)
        for tile in plan:
            left, top, right, bottom = tile.box
            with torch.set_grad_enabled(wanted):
                part = images[:, :, top:bottom, left:right].detach().requires_grad_(wanted)
                value = _of_tile(network, objective, part, tile)
                if wanted:
                    own = gradients.gradient_of(value.sum(), part)
                    gradient[:, :, top:bottom, left:right] += own
            total += value.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.view(-1, 1, 1, 1), None, None, None


def _of_tile(network: Network, objective: Objective, part: Tensor, tile: Tile) -> Tensor:
    """The value (N,) of the positions that count in a tile."""
    maps = read(network, objective.layers, part)
    counted = {
        str(layer): values[:, :, slice(*tile.rows[str(layer)]), slice(*tile.columns[str(layer)])]
        for layer, values in maps.items()
    }
    terms = objective.terms(counted)
    return torch.stack([term.weight * term.value for term in terms.values()]).sum(0)
