"""Lab 08, second half: saliency maps, the objects that they cut out, and a second opinion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import images, networks
from labsupport.core.networks import Network
from labsupport.methods import saliency
from labsupport.methods.saliency import (
    REDUCTIONS,
    Localization,
    Scene,
    Segmentation,
    saliency_map,
    segment,
)
from labsupport.ui import controls, figures
from labsupport.ui.control import Control
from labsupport.ui.panels import Panel

REDUCTION_WORDS = {
    "max": "max: the largest absolute value",
    "mean": "mean of the absolute values",
    "L2": "L2: length of the vector",
    "signed": "signed mean",
}
SAMPLES = {"1: the plain gradient": 1, "8 noisy copies": 8, "32 noisy copies": 32}
_BRIGHT = 0.995  # this quantile of a map is shown brightest: a few pixels would dim all others
_OBJECT, _GROUND = (213, 94, 0), (0, 114, 178)  # the seeds: orange and blue


def photographs() -> list[str]:
    """The course's networks that answer about photographs: all but the two small ones."""
    return [name for name in networks.names() if name not in ("lenet5", "convnetjs")]


# The map


@dataclass(frozen=True)
class Mapped:
    """A saliency map (H, W), the image it belongs to, and what was asked."""

    image: torch.Tensor
    map: torch.Tensor
    title: str
    probability: float


def map_panel(image: str = "koala") -> Panel:
    """The saliency map of any picture, network and class, with every way from three to one."""
    network = controls.network_menu(names=photographs())
    return Panel(
        _draw_map,
        {
            "image": controls.image_menu(images.photos(), image),
            "network": network,
            "target": controls.class_box(network),
            "reduce": controls.choice("M =", {REDUCTION_WORDS[r]: r for r in REDUCTIONS}),
            "samples": controls.choice("averaged over", SAMPLES),
            "noise": controls.real("noise", 0.15, 0.0, 0.5),
            "opacity": controls.real("photo under it", 0.0, 0.0, 1.0),
        },
        compute=_mapped,
        title="Saliency map",
    )


def _mapped(
    image: torch.Tensor,
    network: Network,
    target: int | None,
    reduce: str,
    samples: int,
    noise: float,
) -> Mapped:
    seen = images.standard(image, network.input_size[0])
    target = _own_answer(network, seen) if target is None else target
    settings: dict[str, Any] = {"reduce": reduce, "samples": samples, "noise": noise}
    found = saliency_map(network, seen, target, **settings)[0]
    with torch.no_grad():
        probability = float(network(seen).softmax(1)[0, target])
    return Mapped(seen, found, network.categories[target], probability)


def _own_answer(network: Network, image: torch.Tensor) -> int:
    return network.predict(image, k=1)[0][0].index


def _draw_map(mapped: Mapped, reduce: str, opacity: float) -> tuple[Image.Image, str]:
    painted = map_picture(mapped.map, signed=reduce == "signed", enlarge=2)
    if opacity:
        under = figures.pixels(figures.mosaic(mapped.image, gap=0, enlarge=2)).mean(
            2, keepdims=True
        )
        mixed = np.asarray(painted) * (1 - opacity / 2) + under * (opacity / 2)
        painted = Image.fromarray(mixed.astype(np.uint8))
    clean = figures.mosaic(mapped.image, gap=0)
    picture = figures.side_by_side([painted, clean], [REDUCTION_WORDS[reduce], mapped.title])
    words = (
        f"{mapped.title} has {figures.per_cent(mapped.probability)}. "
        f"Half of the map's sum lies on {_concentration(mapped.map):.0%} of the pixels."
    )
    return picture, words


def map_picture(map_: torch.Tensor, *, signed: bool = False, enlarge: int = 1) -> Image.Image:
    """A map (H, W) as the paper prints it, white on black; with signs, red above zero and blue
    below. The highest half per cent is cut off."""
    most = max(float(np.quantile(map_.abs().numpy(), _BRIGHT)), 1e-12)
    colours, limits = ("signed", (-most, most)) if signed else ("grey", (0.0, most))
    return figures.heat_map(map_, colours=colours, limits=limits, enlarge=enlarge, bar=False)


def _concentration(map_: torch.Tensor) -> float:
    """The share of the pixels, the largest first, that hold half of the map's absolute sum."""
    ordered = map_.abs().flatten().sort(descending=True).values.double().cumsum(0)
    return float((ordered < ordered[-1] / 2).float().mean())


def reductions(network: Network, image: torch.Tensor, target: int | str) -> Image.Image:
    """An image and its map under each way to make one number of three."""
    maps = [saliency_map(network, image, target, reduce=way)[0] for way in REDUCTIONS]
    painted = [
        map_picture(one, signed=way == "signed") for way, one in zip(REDUCTIONS, maps, strict=True)
    ]
    clean = figures.mosaic(image, gap=0)
    return figures.side_by_side([clean, *painted], ["image", *REDUCTION_WORDS.values()], columns=3)


# The object


@dataclass(frozen=True)
class Found:
    """An image, its saliency map, and the object that was cut out."""

    image: torch.Tensor
    map: torch.Tensor
    title: str
    segmentation: Segmentation


def segment_panel(image: str = "koala") -> Panel:
    """GrabCut from the map of any picture, with the quantiles that seed it."""
    network = controls.network_menu(names=photographs())
    return Panel(
        _draw_object,
        {
            "image": controls.image_menu(images.photos(), image),
            "network": network,
            "target": controls.class_box(network),
            **_quantiles(),
        },
        compute=_smooth_map,
        title="From map to object",
        cost="quick",
    )


def _quantiles() -> dict[str, Control]:
    return {
        "foreground": controls.real("object above", 0.95, 0.5, 0.99, step=0.01, unit="quantile"),
        "background": controls.real("rest below", 0.30, 0.05, 0.49, step=0.01, unit="quantile"),
        "smooth": controls.whole("blur of the map", 6, 0, 12, unit="px"),
    }


def _smooth_map(image: torch.Tensor, network: Network, target: int | None) -> Mapped:
    return _mapped(image, network, target, "max", 1, 0.0)


def _draw_object(
    mapped: Mapped, foreground: float, background: float, smooth: int
) -> tuple[Image.Image, str]:
    knobs: dict[str, Any] = {"foreground": foreground, "background": background}
    cut = segment(mapped.image, mapped.map, smooth=smooth, **knobs)
    found = Found(mapped.image, mapped.map, mapped.title, cut)
    left, top, right, bottom = cut.box
    words = (
        f"{mapped.title}: {float(cut.mask.float().mean()):.0%} of the picture, "
        f"columns {left} to {right}, rows {top} to {bottom}."
    )
    return object_picture(found), words


def object_picture(found: Found) -> Image.Image:
    """The object lit up with its box; beside it the map, and the seeds on the picture."""
    lit = figures.boxes(spotlight(found.image, found.segmentation.mask), [found.segmentation.box])
    seeds = seeds_picture(found.image, found.segmentation.seeds)
    small = figures.side_by_side(
        [map_picture(found.map), seeds],
        ["the map", "dots: object, stripes: rest"],
        columns=1,
        gap=8,
    )
    large = figures.side_by_side([figures.enlarge(lit, 2)], [found.title])
    return figures.side_by_side([large, small])


def spotlight(image: torch.Tensor, mask: torch.Tensor) -> Image.Image:
    """The image (1, 3, H, W) in colour inside the mask (H, W), pale grey outside."""
    pixels = figures.pixels(image).astype(np.float32)
    pale = 190 + 0.2 * pixels.mean(2, keepdims=True).repeat(3, axis=2)
    return Image.fromarray(np.where(mask.numpy()[..., None], pixels, pale).astype(np.uint8))


def seeds_picture(image: torch.Tensor, seeds: torch.Tensor) -> Image.Image:
    """What GrabCut started from: dots where the object was certain, stripes where the rest was."""
    pixels = figures.pixels(image).astype(np.float32) * 0.6 + 90
    rows, columns = np.indices(seeds.shape)
    dots = (seeds.numpy() > 0) & (rows % 4 < 2) & (columns % 4 < 2)
    stripes = (seeds.numpy() < 0) & ((rows - columns) % 6 < 2)
    pixels[dots], pixels[stripes] = _OBJECT, _GROUND
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


# Scenes whose objects are known


@lru_cache(maxsize=4)
def _scenes(count: int) -> tuple[Scene, ...]:
    return tuple(saliency.scenes(count))


def scene_panel(count: int = 24) -> Panel:
    """Cut-outs before photographs: how much of the true mask do your quantiles find?"""
    network = controls.network_menu(names=photographs())
    names = {f"{place + 1}. {one.title}": place for place, one in enumerate(_scenes(count))}
    return Panel(
        lambda mapped, scene, foreground, background, smooth: _draw_scene(
            mapped, _scenes(count)[scene], (foreground, background, smooth)
        ),
        {"scene": controls.choice("scene", names), "network": network, **_quantiles()},
        compute=lambda scene, network: _scene_map(_scenes(count)[scene], network),
        title="Against the true mask",
        cost="quick",
    )


def _scene_map(scene: Scene, network: Network) -> Mapped:
    return _mapped(scene.image, network, network.class_index(scene.target), "max", 1, 0.0)


def _draw_scene(
    mapped: Mapped, scene: Scene, settings: tuple[float, float, int]
) -> tuple[Image.Image, str]:
    foreground, background, smooth = settings
    knobs: dict[str, Any] = {"foreground": foreground, "background": background}
    cut = segment(mapped.image, mapped.map, smooth=smooth, **knobs)
    boxes = saliency.box_overlap(cut.box, scene.box)
    masks = saliency.mask_overlap(cut.mask, scene.mask)
    verdict = "found" if boxes >= 0.5 else "missed"
    words = (
        f"{scene.target} ({figures.per_cent(mapped.probability)}): overlap of the masks "
        f"{masks:.2f}, of the boxes {boxes:.2f}: {verdict}."
    )
    picture = object_picture(Found(mapped.image, mapped.map, "what was found", cut))
    true = figures.boxes(spotlight(scene.image, scene.mask), [scene.box])
    return figures.side_by_side([picture, true], ["", "the truth"]), words


def scenes_picture(scenes: Sequence[Scene], found: Localization, *, most: int = 4) -> Image.Image:
    """The truth above, what was found below, with the overlap of the masks."""
    shown = scenes[:most]
    true = [figures.boxes(spotlight(one.image, one.mask), [one.box]) for one in shown]
    cut = [
        figures.boxes(spotlight(one.image, mask), [box])
        for one, mask, box in zip(shown, found.masks, found.boxes, strict=False)
    ]
    overlaps = [
        f"{saliency.mask_overlap(mask, one.mask):.2f}"
        for one, mask in zip(shown, found.masks, strict=False)
    ]
    values = [one.target for one in shown] + overlaps
    return figures.mosaic([*true, *cut], columns=len(shown), values=values, rows=["true", "found"])


def table(results: Mapping[str, Localization]) -> str:
    """Each way in a line: the share of boxes that miss, and the mean overlap of the masks."""
    widest = max(len(name) for name in results)
    head = f"{'way':<{widest}}   boxes missed   overlap of masks"
    lines = [
        f"{name:<{widest}}   {one.error:>12.0%}   {one.overlap:>16.2f}"
        for name, one in results.items()
    ]
    return "\n".join([head, *lines])


# Does anybody else agree?

VIEWS = ("as it is", "mirrored", "turned by 20 degrees", "middle two thirds", "blurred", "JPEG")


def seen_otherwise(image: torch.Tensor, view: str) -> torch.Tensor:
    """The image (1, 3, H, W) as one of `VIEWS`, still of its size: the thing stays what it is."""
    height, width = image.shape[2:]
    if view == "mirrored":
        return image.flip(3)
    if view == "turned by 20 degrees":
        colour = image.mean((0, 2, 3)).tolist()
        turned: torch.Tensor = transforms.rotate(image, 20, fill=colour)
        return turned
    if view == "middle two thirds":
        middle = images.resize(image, (height, width), crop=(2 * height // 3, 2 * width // 3))
        return images.resize(middle, (height, width))
    if view == "blurred":
        blurred: torch.Tensor = transforms.gaussian_blur(image, [5, 5], [1.0, 1.0])
        return blurred.clamp(0, 1)
    if view == "JPEG":
        file = BytesIO()
        images.to_pil(image).save(file, "JPEG", quality=40)
        return images.load(file.getvalue())
    return image


def opinions(network: Network, pictures: Mapping[str, torch.Tensor], target: str) -> Image.Image:
    """Each picture (1, 3, H, W) in every view, with the probability that it is the target."""
    index = network.class_index(target)
    rows: list[Image.Image] = []
    for name, picture in pictures.items():
        tiles = [seen_otherwise(picture, view) for view in VIEWS]
        with torch.no_grad():
            chances = network(torch.cat(tiles)).softmax(1)[:, index].tolist()
        words = [figures.per_cent(chance) for chance in chances]
        titles = None if rows else VIEWS
        row = figures.mosaic(tiles, columns=len(tiles), titles=titles, values=words, gap=8)
        rows.append(figures.side_by_side([row], [name]))
    return figures.side_by_side(rows, columns=1, gap=4)


def opinion_panel(pictures: torch.Tensor, names: Sequence[str]) -> Panel:
    """What any network says about pictures (N, 3, H, W) that were made for one, in any view."""
    network = controls.network_menu(names=photographs(), label="second network")
    menu = {name: place for place, name in enumerate(names)}
    return Panel(
        lambda picture, view, network: _opinion(
            pictures[picture : picture + 1], view, network, names[picture]
        ),
        {
            "picture": controls.choice("picture of", menu),
            "view": controls.choice("seen", VIEWS),
            "network": network,
        },
        title="A second opinion",
        cost="quick",
    )


def _opinion(
    image: torch.Tensor, view: str, network: Network, name: str
) -> tuple[Image.Image, str]:
    seen = seen_otherwise(image, view)
    [answers] = network.predict(seen)
    with torch.no_grad():
        chance = float(network(seen).softmax(1)[0, network.class_index(name)])
    words = f"{network.name} on the picture of {name}, {view}: {figures.per_cent(chance)}."
    times = max(1, round(320 / image.shape[3]))
    shown = [figures.enlarge(seen, times), figures.bars(answers, highlight=name)]
    return figures.side_by_side(shown, [f"{name}, {view}", f"{network.name} says"]), words
