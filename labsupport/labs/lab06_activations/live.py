"""Lab 06: a layer, live: its whole mosaic follows while the picture is distorted."""

from __future__ import annotations

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
    glow,
    has_maps,
    mosaic_picture,
    mosaic_plan,
    short,
    unit_over,
)
from labsupport.labs.lab06_activations.pointing import UnitPicker
from labsupport.methods.activations import Distortion, correlation, distort
from labsupport.ui import controls, figures
from labsupport.ui.control import Control
from labsupport.ui.declare import photograph_networks
from labsupport.ui.panel import Panel


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


def live_panel(image: str = "koala", layer: str = "fire8", unit: int = 0) -> Panel:
    """A layer's whole mosaic, which follows while the picture is turned, moved or dimmed.

    A click in the mosaic chooses a unit; the arrow keys move from there.
    """
    network = controls.network_menu(names=photograph_networks())
    layers = controls.layer_menu(network, layer, keep=has_maps)

    @lru_cache(maxsize=1)
    def undistorted(
        image: torch.Tensor, network: Network, layer: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        standard = images.standard(image, network.input_size[0])
        return standard, _responses(network, standard, layer)[0]

    def compute(
        image: torch.Tensor,
        network: Network,
        layer: str,
        rotate: float,
        right: float,
        scale: float,
        brightness: float,
        noise: float,
    ) -> LayerView:
        standard, clean = undistorted(image, network, layer)
        distortion = Distortion(rotate, right, 0.0, scale, brightness, noise)
        changed = distort(standard, distortion)
        maps, scores = _responses(network, changed, layer)
        return LayerView(network, network.layer(layer), changed, maps, clean, scores, distortion)

    shown: dict[str, Control] = {
        "image": controls.image_menu(images.photos(), image),
        "network": network,
        "layer": layers,
        "unit": UnitPicker(layers, unit, lambda one: mosaic_plan(one.shape)),
        "shared": controls.choice("scale", SCALES),
        "rotate": controls.whole("rotate", 0, -180, 180, step=5, unit="°"),
        "right": controls.whole("to the right", 0, -64, 64, step=2, unit="px"),
        "scale": controls.real("size", 1.0, 0.5, 2.0),
        "brightness": controls.real("brightness", 1.0, 0.2, 2.0),
        "noise": controls.real("noise", 0.0, 0.0, 0.4, step=0.02),
    }
    return Panel(_draw_view, shown, title="A layer, live", compute=compute, cost="instant")


def _draw_view(view: LayerView, unit: int, shared: bool) -> tuple[Image.Image, str]:
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
