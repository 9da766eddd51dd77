"""Lab 06: the units that change most from one picture to another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.labs.lab06_activations.mosaics import has_maps, short, unit_over
from labsupport.methods.activations import UnitChanges, unit_changes
from labsupport.ui import controls, figures
from labsupport.ui.control import Control
from labsupport.ui.declare import photograph_networks
from labsupport.ui.panel import Panel


def changes_panel(first: str = "koala", second: str = "red_panda", layer: str = "fire9") -> Panel:
    """Which units of a layer change most between picture A and picture B?"""
    network = controls.network_menu(names=photograph_networks())
    layers = controls.layer_menu(network, layer, keep=has_maps)

    def compute(
        first: torch.Tensor, second: torch.Tensor, network: Network, layer: str
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], UnitChanges, str]:
        size = network.input_size[0]
        one, other = images.standard(first, size), images.standard(second, size)
        maps = list(network.activations(torch.cat([one, other]), [layer])[layer])
        changes = unit_changes(network, one, other, layer)
        return [one, other], maps, changes, network.layer(layer).title

    def draw(
        computed: tuple[list[torch.Tensor], list[torch.Tensor], UnitChanges, str], count: int
    ) -> tuple[Image.Image, str]:
        pair, maps, changes, title = computed
        picture = changes_picture(pair, maps, changes, count=count)
        return picture, changes_words(changes, title)

    shown: dict[str, Control] = {
        "first": controls.image_menu(images.photos(), first, label="picture A"),
        "second": controls.image_menu(images.photos(), second, label="picture B"),
        "network": network,
        "layer": layers,
        "count": controls.whole("units", 6, 2, 7),
    }
    return Panel(draw, shown, title="What changed from A to B?", compute=compute, cost="quick")


def changes_picture(
    pair: Sequence[torch.Tensor],
    maps: Sequence[torch.Tensor],
    changes: UnitChanges,
    *,
    count: int = 6,
) -> Image.Image:
    """The units that changed most, in columns: each over picture A and over picture B, its mean
    in white, and its name above with the sign of the change."""
    units = changes.order[:count].tolist()
    tiles, values = [], []
    for image, own, means in zip(pair, maps, (changes.first, changes.second), strict=True):
        for unit in units:
            most = max(float(one[unit].abs().max()) for one in maps)
            tiles.append(unit_over(image, own[unit], 96, most=most))
            values.append(short(means[unit]))
    titles = [f"{'▲' if changes.change[unit] > 0 else '▼'} unit {unit}" for unit in units]
    return figures.mosaic(
        tiles,
        columns=len(units),
        titles=[*titles, *[""] * len(units)],
        values=values,
        rows=["A", "B"],
        gap=6,
    )


def changes_words(changes: UnitChanges, title: str) -> str:
    """The unit that rose most and the one that fell most, in words."""
    change = changes.change
    up, down = int(change.argmax()), int(change.argmin())
    return (
        f"{title}: unit {up} rose most, from {short(changes.first[up])} to "
        f"{short(changes.second[up])}; unit {down} fell most, from {short(changes.first[down])} "
        f"to {short(changes.second[down])}."
    )
