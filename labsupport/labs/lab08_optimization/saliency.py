"""Lab 08, second half: saliency maps and the objects that they cut out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.images.sets import ImageSet, Picture
from labsupport.core.network import Network, TargetLike
from labsupport.methods import saliency
from labsupport.methods.saliency import Localization, Scene, Segmentation
from labsupport.ui import declare, figures
from labsupport.ui.objects import seeds_picture, spotlight

REDUCTION_WORDS = {
    "max": "max: the largest absolute value",
    "mean": "mean of the absolute values",
    "L2": "L2: length of the vector",
    "signed": "signed mean",
}
_REDUCTIONS = {words: way for way, words in REDUCTION_WORDS.items()}
SAMPLES = {"1: the plain gradient": 1, "8 noisy copies": 8, "32 noisy copies": 32}
_BRIGHT = 0.995  # this quantile of a map is shown brightest: a few pixels would dim all others


# The map


@dataclass(frozen=True)
class MappedImage:
    """A saliency map (H, W), the image it belongs to, what was asked, and the true mask (H, W)
    of the thing where it is known. A unit has no `probability`. `large` is the image once more,
    twice as large and as sharp as the picture that it comes from."""

    image: torch.Tensor
    map: torch.Tensor
    title: str
    probability: float | None
    large: torch.Tensor
    truth: torch.Tensor | None = None


def _standard_map(
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    target: int | None = declare.class_of(),
    reduce: str = declare.choice(_REDUCTIONS, label="M ="),
    samples: int = declare.choice(SAMPLES, label="averaged over"),
    noise: float = declare.real(0.15, 0.0, 0.5),
) -> MappedImage:
    seen, wanted = declare.seen_and_class(image, network, target)
    large = images.standard(image, figures.sharp_side(seen.shape[2]))
    return _map_of(seen, large, network, wanted, reduce=reduce, samples=samples, noise=noise)


def _map_of(
    seen: torch.Tensor, large: torch.Tensor, network: Network, wanted: TargetLike, **knobs: Any
) -> MappedImage:
    target, chance = network.target(wanted), None
    map_ = saliency.saliency_map(network, seen, target, **knobs)[0]
    if target.layer is None:
        chance = float(network(seen).softmax(1)[0, target.index])
    return MappedImage(seen, map_, target.title, chance, large)


@declare.panel("Saliency map", compute=_standard_map, cost="quick")
def map_panel(
    mapped: MappedImage,
    reduce: str,
    opacity: float = declare.real(0.0, 0.0, 1.0, label="photo under it"),
) -> tuple[Image.Image, str]:
    """The saliency map of any picture, network and class, with every way from three to one."""
    colours, limits = _scale(mapped.map, signed=reduce == "signed")
    how: dict[str, Any] = {"colours": colours, "limits": limits, "opacity": 1 - opacity / 2}
    painted = figures.overlay(mapped.large, mapped.map, bar=False, **how)
    titles = [REDUCTION_WORDS[reduce], mapped.title]
    has = "" if mapped.probability is None else f" has {figures.per_cent(mapped.probability)}"
    share = _concentration(mapped.map)
    words = f"{mapped.title}{has}. Half of the map's sum lies on {share:.0%} of the pixels."
    return figures.side_by_side([painted, mapped.image], titles), words


def _scale(map_: torch.Tensor, *, signed: bool) -> tuple[str, figures.Limits]:
    most = max(float(np.quantile(map_.abs().numpy(), _BRIGHT)), 1e-12)
    return ("signed", (-most, most)) if signed else ("grey", (0.0, most))


def map_picture(map_: torch.Tensor, *, signed: bool = False) -> Image.Image:
    """A map (H, W) as the paper prints it, white on black; with signs, red above zero and blue
    below. The highest half per cent is cut off."""
    colours, limits = _scale(map_, signed=signed)
    return figures.heat_map(map_, colours=colours, limits=limits, enlarge=1, bar=False)


def _concentration(map_: torch.Tensor) -> float:
    """The share of the pixels, the largest first, that hold half of the map's absolute sum."""
    ordered = map_.abs().flatten().sort(descending=True).values.double().cumsum(0)
    return float((ordered < ordered[-1] / 2).float().mean())


def reductions(image: torch.Tensor, maps: Mapping[str, torch.Tensor]) -> Image.Image:
    """An image and its map (H, W) under each of these ways to make one number of three."""
    painted = [map_picture(one, signed=way == "signed") for way, one in maps.items()]
    titles = ["image", *(REDUCTION_WORDS[way] for way in maps)]
    return figures.side_by_side([image, *painted], titles, columns=3)


# The object


@dataclass(frozen=True)
class ScenePicture(Picture):
    """A scene as a picture of a menu."""

    scene: Scene

    @property
    def image(self) -> torch.Tensor:
        return self.scene.image


@cache
def _staged() -> tuple[ScenePicture, ...]:
    return tuple(
        ScenePicture(f"scene {n}", f"Scene: {one.target}", "scenes", one.target, None, Path, one)
        for n, one in enumerate(saliency.scenes(12), start=1)
    )


def _photos_and_scenes() -> ImageSet[Picture]:
    return ImageSet([*images.photos(), *_staged()], "Photos and scenes")


def _scene_map(scene: Scene, network: Network, target: int | None) -> MappedImage:
    """A scene is shown whole, not cropped to its middle as a photo is."""
    size = network.input_size
    seen = images.resize(scene.image, size)
    large = images.resize(scene.image, (2 * size[0], 2 * size[1]))
    wanted = network.class_index(scene.target) if target is None else target
    truth = torch.from_numpy(figures.stretched(scene.mask.numpy(), *size))
    return replace(_map_of(seen, large, network, wanted), truth=truth)


def _photo_or_scene_map(
    image: torch.Tensor = declare.photo("koala", _photos_and_scenes),
    network: Network = declare.network_of(),
    target: int | None = declare.class_of(),
) -> MappedImage:
    for one in _staged():
        if one.image is image:
            return _scene_map(one.scene, network, target)
    return _standard_map(image, network, target, "max", 1, 0.0)


@declare.panel("From map to object", compute=_photo_or_scene_map, cost="quick")
def segment_panel(
    mapped: MappedImage,
    foreground: float = declare.real(0.95, 0.60, 0.99, step=0.01, label="object: above"),
    background: float = declare.real(0.50, 0.05, 0.59, step=0.01, label="rest: below"),
    smooth: int = declare.whole(6, 0, 12, unit="px", label="blur"),
) -> tuple[Image.Image, str]:
    """GrabCut from the map of any picture, with the quantiles that seed it.

    The menu also has twelve scenes, cut-outs before photographs: there the true mask is known, and
    the readout says how much of it was found.
    """
    knobs: dict[str, Any] = {"foreground": foreground, "background": background}
    cut = saliency.segment(mapped.image, mapped.map, smooth=smooth, **knobs)
    left, top, right, bottom = cut.box
    chance = "" if mapped.probability is None else f" ({figures.per_cent(mapped.probability)})"
    words = (
        f"{mapped.title}{chance}: {float(cut.mask.float().mean()):.0%} of the picture, "
        f"columns {left} to {right}, rows {top} to {bottom}."
    )
    if mapped.truth is not None:
        box = saliency.box_of(mapped.truth)
        words += (
            f" Overlap with the true mask {saliency.mask_iou(cut.mask, mapped.truth):.2f}, "
            f"with the true box {saliency.box_iou(cut.box, box):.2f}."
        )
    return object_picture(mapped, cut), words


def object_picture(mapped: MappedImage, cut: Segmentation) -> Image.Image:
    """The object lit up with its box; beside it the map, and the seeds on the picture."""
    lit = figures.boxes(spotlight(mapped.large, cut.mask), [[2 * edge for edge in cut.box]])
    seeds = seeds_picture(mapped.image, cut.seeds)
    titles = ["the map", "dots: object, stripes: rest"]
    small = figures.side_by_side([map_picture(mapped.map), seeds], titles, columns=1, gap=8)
    large = figures.side_by_side([lit], [mapped.title])
    return figures.side_by_side([large, small])


# Scenes whose objects are known


def scenes_picture(scenes: Sequence[Scene], result: Localization) -> Image.Image:
    """The truth above, the result below, with the overlap of the masks."""
    shown = scenes[:4]
    true = [figures.boxes(spotlight(one.image, one.mask), [one.box]) for one in shown]
    found = list(zip(shown, result.masks, result.boxes, strict=False))
    cut = [figures.boxes(spotlight(one.image, mask), [box]) for one, mask, box in found]
    overlaps = [f"{saliency.mask_iou(mask, one.mask):.2f}" for one, mask, _ in found]
    values = [one.target for one in shown] + overlaps
    return figures.mosaic([*true, *cut], columns=len(shown), values=values, rows=["true", "found"])
