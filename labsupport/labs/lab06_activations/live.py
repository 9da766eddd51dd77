"""Lab 06: a layer, live: its whole mosaic follows while the picture is distorted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from PIL import Image
from torch.nn import functional

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.labs.lab06_activations.mosaics import (
    SCALES,
    THUMB,
    WIDE,
    glow,
    has_maps,
    mosaic_picture,
    short,
    unit_over,
)
from labsupport.labs.lab06_activations.pointing import picked
from labsupport.methods.activations import Distortion, correlation, distort
from labsupport.ui import figures
from labsupport.ui.declare import (
    choice,
    layer_of,
    network_of,
    panel,
    photo,
    real,
    together,
    whole,
)

_UNIT = picked(WIDE)
_DISTORTION = together(
    rotate=whole(0, -180, 180, step=5, unit="°"),
    right=whole(0, -64, 64, step=2, unit="px", label="to the right"),
    scale=real(1.0, 0.5, 2.0, label="size"),
    brightness=real(1.0, 0.2, 2.0),
    noise=real(0.0, 0.0, 0.4, step=0.02),
)


@dataclass(frozen=True)
class LayerView:
    """A picture as it was and as it is distorted, and what a layer answers to each."""

    network: Network
    layer: Layer
    image: torch.Tensor
    maps: torch.Tensor
    clean: torch.Tensor
    scores: torch.Tensor
    distortion: Distortion


def _responses(
    network: Network, image: torch.Tensor, layer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's activations (C, ...) and the scores (1, classes), from one pass."""
    with torch.no_grad():
        part = network.part((network.node(layer), network.output))
        maps, scores = part(network.send(image))
    return maps[0].cpu().contiguous(), scores.cpu()


@lru_cache(maxsize=1)
def _undistorted(
    image: torch.Tensor, network: Network, layer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    standard = images.standard(image, network.input_size[0])
    return standard, _responses(network, standard, layer)[0]


def _view(
    image: torch.Tensor = photo("koala"),
    network: Network = network_of(),
    layer: str = layer_of("network", "fire8", keep=has_maps),
    distortion: Mapping[str, float] = _DISTORTION,
) -> LayerView:
    standard, clean = _undistorted(image, network, layer)
    change = Distortion(**distortion)
    changed = distort(standard, change)
    maps, scores = _responses(network, changed, layer)
    return LayerView(network, network.layer(layer), changed, maps, clean, scores, change)


_FIRST = ("image", "network", "layer", "unit", "shared")


@panel("A layer, live", compute=_view, cost="instant", first=_FIRST)
def live_panel(
    view: LayerView, unit: int = _UNIT, shared: bool = choice(SCALES, label="scale")
) -> tuple[Image.Image, str]:
    """A layer's whole mosaic, which follows while the picture is turned, moved or dimmed.

    A click in the mosaic chooses a unit; the arrow keys move from there.
    """
    tiles = mosaic_picture(view.maps, unit, shared=shared, reference=view.clean)
    side = figures.side_by_side(
        [
            figures.enlarge(images.resize(view.image, (THUMB, THUMB)), 1),
            unit_over(view.image, view.maps[unit], THUMB),
            _alone(view.maps[unit]),
        ],
        ["the picture", f"unit {unit} over it", f"unit {unit} alone"],
        columns=1,
        gap=10,
    )
    # the mosaic stands at the upper left, where clicks are counted from
    picture = figures.side_by_side([tiles, side])
    return picture, view_words(view, unit)


def _alone(map_: torch.Tensor) -> Image.Image:
    """A unit's map by itself, as large as a thumbnail may be."""
    size = max(map_.shape)
    if size > THUMB:
        map_ = functional.adaptive_avg_pool2d(map_[None], THUMB)[0]
    values = (map_ / map_.abs().max().clamp_min(1e-9)).numpy()
    return figures.enlarge(glow(values, bool((map_ < 0).any())), max(1, THUMB // size))


def view_words(view: LayerView, unit: int) -> str:
    """What a unit answers, and how far the layer has moved from the undistorted picture."""
    now, before = view.maps[unit], view.clean[unit]
    words = (
        f"{view.layer.title}, unit {unit} of {len(view.maps)}: mean {short(now.mean())}, "
        f"largest {short(now.max())}."
    )
    silent = int((view.maps.flatten(1).amax(1) <= 0).sum())
    if silent:
        words += f" {silent} {'unit is' if silent == 1 else 'units are'} silent."
    [[first]] = view.network.ranking(view.scores, k=1)
    words += f" The network says {first.name}, {figures.per_cent(first.probability)}."
    if view.distortion.words == "untouched":
        return words
    strict = float(correlation(view.clean[None], view.maps[None]))
    pooled = float(
        correlation(view.clean.flatten(1).mean(1)[None], view.maps.flatten(1).mean(1)[None])
    )
    return (
        f"{words} The picture is {view.distortion.words}; before, the unit's mean was "
        f"{short(before.mean())}. All maps together correlate {strict:.2f} with those before, "
        f"their means {pooled:.2f}."
    )
