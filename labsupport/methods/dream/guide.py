"""The guided dream: of all that a guide picture has, whatever fits best at each place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.methods.optimize.objectives import Objective, Term, Terms, on_device, read

_PRODUCTS = 1 << 23  # dot products at a time: 32 MiB


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
        value = (rows * self.features[self.best(rows)]).flatten(1).sum(1)
        return {f"guide at {self.layer}": Term(value, 1.0)}

    def best(self, rows: Tensor) -> Tensor:
        """Which feature of the guide has the largest product with each row: (..., C) to (...)."""
        count = max(1, _PRODUCTS // len(self.features))
        with torch.no_grad():
            flat = rows.reshape(-1, rows.shape[-1])
            parts = [flat[first : first + count] for first in range(0, len(flat), count)]
            found = torch.cat([(part @ self.features.T).argmax(1) for part in parts])
            return found.view(rows.shape[:-1])


def _needs_map(network: Network, layer: str) -> None:
    found = network.layer(layer)
    if not found.has_map:
        raise BadSetting(
            f"{found.title} has no positions to guide: take a layer with a map, not a vector"
        )
