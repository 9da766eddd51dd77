"""What is dreamed of: layers, weighed layers, or the features of a guide picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.methods.optimize.objectives import (
    Energy,
    Objective,
    Sum,
    Term,
    Terms,
    on_device,
    read,
)

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
    network.check(image)
    weights = {}
    for layer in layers:
        energy = Energy(layer).bound(network)
        with torch.enable_grad():
            moving = image.detach().float().to(network.device).requires_grad_(True)
            (term,) = energy.terms(read(network, energy.layers, moving)).values()
            (gradient,) = torch.autograd.grad(term.value.sum(), moving)
        size = float(gradient.abs().mean())
        if not size > 0:
            raise BadSetting(f"{layer} is silent on this image: nothing to dream of")
        weights[layer] = 1 / size
    return weights


@dataclass(frozen=True)
class Guided(Objective):
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
        network.check(guide)
        _needs_map(network, layer)
        with torch.no_grad():
            maps = read(network, (layer,), guide)[layer]  # (N, C, H, W)
        return cls(layer, maps.permute(0, 2, 3, 1).flatten(0, 2).cpu())

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    def bound(self, network: Network) -> Objective:
        _needs_map(network, self.layer)
        channels = network.layer(self.layer).shape[0]
        if self.features.ndim != 2 or self.features.shape[1] != channels:
            raise BadSetting(
                f"a guide's features in {self.layer} are rows of {channels} numbers, one for each "
                f"channel; these have the shape {tuple(self.features.shape)}"
            )
        return replace(self, features=on_device(network, self.features))

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
