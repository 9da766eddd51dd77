"""Lab 06: the units that change most from one picture to another."""

from collections.abc import Sequence

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.labs.lab06_activations.mosaics import has_maps, short, unit_over
from labsupport.methods.activations import UnitChanges, unit_changes
from labsupport.ui import figures
from labsupport.ui.declare import layer_of, network_of, panel, photo, whole

_Changed = tuple[list[torch.Tensor], list[torch.Tensor], UnitChanges, str]


def _changes(
    first: torch.Tensor = photo("koala", label="picture A"),
    second: torch.Tensor = photo("red_panda", label="picture B"),
    network: Network = network_of(),
    layer: str = layer_of("network", "fire9", keep=has_maps),
) -> _Changed:
    one, other = (images.standard(image, network.input_size[0]) for image in (first, second))
    maps = list(network.activations(torch.cat([one, other]), [layer])[layer])
    changes = unit_changes(network, one, other, layer)
    return [one, other], maps, changes, network.layer(layer).title


@panel("What changed from A to B?", compute=_changes, cost="quick")
def changes_panel(
    changed: _Changed, count: int = whole(6, 2, 7, label="units")
) -> tuple[Image.Image, str]:
    """Which units of a layer change most between picture A and picture B?"""
    pair, maps, changes, title = changed
    picture = changes_picture(pair, maps, changes, count=count)
    return picture, changes_words(changes, title)


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
