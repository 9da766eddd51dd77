"""Lab 08, second half: saliency maps, the objects that they cut out, and a second opinion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import images
from labsupport.core.images.sets import ImageSet, Picture
from labsupport.core.network import Network
from labsupport.methods import saliency
from labsupport.methods.saliency import REDUCTIONS, Localization, Scene, Segmentation
from labsupport.ui import controls, declare, figures
from labsupport.ui.control import Control

REDUCTION_WORDS = {
    "max": "max: the largest absolute value",
    "mean": "mean of the absolute values",
    "L2": "L2: length of the vector",
    "signed": "signed mean",
}
REDUCTION_MENU = {REDUCTION_WORDS[way]: way for way in REDUCTIONS}
SAMPLES = {"1: the plain gradient": 1, "8 noisy copies": 8, "32 noisy copies": 32}
_BRIGHT = 0.995  # this quantile of a map is shown brightest: a few pixels would dim all others
_OBJECT, _GROUND = (213, 94, 0), (0, 114, 178)  # the seeds: orange and blue


# The map


@dataclass(frozen=True)
class MappedImage:
    """A saliency map (H, W), the image it belongs to, what was asked, and the true mask (H, W)
    of the thing where it is known. `large` is the image once more, twice as large and as sharp as
    the picture that it comes from."""

    image: torch.Tensor
    map: torch.Tensor
    title: str
    probability: float
    large: torch.Tensor
    truth: torch.Tensor | None = None


def _standard_map(
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    target: int | None = declare.class_of(),
    reduce: str = declare.choice(REDUCTION_MENU, label="M ="),
    samples: int = declare.choice(SAMPLES, label="averaged over"),
    noise: float = declare.real(0.15, 0.0, 0.5),
) -> MappedImage:
    seen, wanted = declare.seen_and_class(image, network, target)
    large = images.standard(image, 2 * seen.shape[2])
    return _map_of(seen, large, network, wanted, reduce=reduce, samples=samples, noise=noise)


def _map_of(
    seen: torch.Tensor, large: torch.Tensor, network: Network, wanted: int, **knobs: Any
) -> MappedImage:
    map_ = saliency.saliency_map(network, seen, wanted, **knobs)[0]
    with torch.no_grad():
        probability = float(network(seen).softmax(1)[0, wanted])
    return MappedImage(seen, map_, network.categories[wanted], probability, large)


@declare.panel("Saliency map", compute=_standard_map, cost="quick")
def map_panel(
    mapped: MappedImage,
    reduce: str,
    opacity: float = declare.real(0.0, 0.0, 1.0, label="photo under it"),
) -> tuple[Image.Image, str]:
    """The saliency map of any picture, network and class, with every way from three to one."""
    painted = map_picture(mapped.map, signed=reduce == "signed", enlarge=2)
    if opacity:
        under = figures.pixels(mapped.large).mean(2, keepdims=True)
        mixed = np.asarray(painted) * (1 - opacity / 2) + under * (opacity / 2)
        painted = Image.fromarray(mixed.astype(np.uint8))
    titles = [REDUCTION_WORDS[reduce], mapped.title]
    words = (
        f"{mapped.title} has {figures.per_cent(mapped.probability)}. "
        f"Half of the map's sum lies on {_concentration(mapped.map):.0%} of the pixels."
    )
    return figures.side_by_side([painted, mapped.image], titles), words


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
    maps = [saliency.saliency_map(network, image, target, reduce=way)[0] for way in REDUCTIONS]
    painted = [
        map_picture(one, signed=way == "signed") for way, one in zip(REDUCTIONS, maps, strict=True)
    ]
    return figures.side_by_side([image, *painted], ["image", *REDUCTION_WORDS.values()], columns=3)


# The object


@dataclass(frozen=True)
class ScenePicture(Picture):
    """A scene as a picture of a menu."""

    scene: Scene

    @property
    def image(self) -> torch.Tensor:
        return self.scene.image


@lru_cache(maxsize=4)
def _staged(count: int) -> tuple[ScenePicture, ...]:
    return tuple(
        ScenePicture(f"scene {place}", f"Scene: {one.title}", "scenes", one.target, None, Path, one)
        for place, one in enumerate(saliency.scenes(count), start=1)
    )


def _scene_map(scene: Scene, network: Network, target: int | None) -> MappedImage:
    """A scene is shown whole, not cropped to its middle as a photo is."""
    size = network.input_size
    seen = images.resize(scene.image, size)
    large = images.resize(scene.image, (2 * size[0], 2 * size[1]))
    wanted = network.class_index(scene.target) if target is None else target
    truth = torch.from_numpy(figures.stretched(scene.mask.numpy(), *size))
    return replace(_map_of(seen, large, network, wanted), truth=truth)


def _photo_or_scene(label: str, start: str, made: declare.Made) -> Control:
    menu = ImageSet([*images.photos(), *_staged(made["count"])], "Photos and scenes")
    return controls.ImageMenu(menu, start, label=label)


_IMAGE: Any = declare.Declared(_photo_or_scene, "koala")


def _photo_or_scene_map(
    image: torch.Tensor = _IMAGE,
    network: Network = declare.network_of(),
    target: int | None = declare.class_of(),
    count: int = 12,
) -> MappedImage:
    for one in _staged(count):
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

    The menu also has `count` scenes, cut-outs before photographs: there the true mask is known,
    and the readout says how much of it was found.
    """
    knobs: dict[str, Any] = {"foreground": foreground, "background": background}
    cut = saliency.segment(mapped.image, mapped.map, smooth=smooth, **knobs)
    left, top, right, bottom = cut.box
    words = (
        f"{mapped.title} ({figures.per_cent(mapped.probability)}): "
        f"{float(cut.mask.float().mean()):.0%} of the picture, "
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
    mask = cut.mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
    lit = figures.boxes(spotlight(mapped.large, mask), [[2 * edge for edge in cut.box]])
    seeds = grabcut_seeds_picture(mapped.image, cut.seeds)
    titles = ["the map", "dots: object, stripes: rest"]
    small = figures.side_by_side([map_picture(mapped.map), seeds], titles, columns=1, gap=8)
    large = figures.side_by_side([lit], [mapped.title])
    return figures.side_by_side([large, small])


def spotlight(image: torch.Tensor, mask: torch.Tensor) -> Image.Image:
    """The image (1, 3, H, W) in colour inside the mask (H, W), pale grey outside."""
    pixels = figures.pixels(image).astype(np.float32)
    pale = 190 + 0.2 * pixels.mean(2, keepdims=True).repeat(3, axis=2)
    return Image.fromarray(np.where(mask.numpy()[..., None], pixels, pale).astype(np.uint8))


def grabcut_seeds_picture(image: torch.Tensor, seeds: torch.Tensor) -> Image.Image:
    """What GrabCut started from: dots where the object was certain, stripes where the rest was."""
    pixels = figures.pixels(image).astype(np.float32) * 0.6 + 90
    rows, columns = np.indices(seeds.shape)
    dots = (seeds.numpy() > 0) & (rows % 4 < 2) & (columns % 4 < 2)
    stripes = (seeds.numpy() < 0) & ((rows - columns) % 6 < 2)
    pixels[dots], pixels[stripes] = _OBJECT, _GROUND
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


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


def table(results: Mapping[str, Localization]) -> str:
    """Each way in a line: the share of boxes that miss, and the mean overlap of the masks."""
    widest = max(len(name) for name in results)
    head = f"{'way':<{widest}}   boxes missed   overlap of masks"
    lines = [
        f"{name:<{widest}}   {one.error:>12.0%}   {one.iou:>16.2f}" for name, one in results.items()
    ]
    return "\n".join([head, *lines])


# Does anybody else agree?

_OPINION = 112  # pixels a side: six of them are as wide as a page


def _middle(image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[2:]
    middle = images.resize(image, (height, width), crop=(2 * height // 3, 2 * width // 3))
    return images.resize(middle, (height, width))


def _as_jpeg(image: torch.Tensor) -> torch.Tensor:
    file = BytesIO()
    images.to_pil(image).save(file, "JPEG", quality=40)
    return images.load(file.getvalue())


# What is done to an image (1, 3, H, W) before it is asked about again.
VIEWS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "as it is": lambda image: image,
    "mirrored": lambda image: image.flip(3),
    "turned by 20°": lambda image: transforms.rotate(
        image, 20, fill=image.mean((0, 2, 3)).tolist()
    ),
    "middle two thirds": _middle,
    "blurred": lambda image: transforms.gaussian_blur(image, [5, 5], [1.0, 1.0]).clamp(0, 1),
    "JPEG": _as_jpeg,
}


def opinions(
    network: Network, pictures: Mapping[str, torch.Tensor], target: int | str
) -> Image.Image:
    """Each picture (1, 3, H, W) in every view, with the probability that it is the target."""
    index = network.class_index(target)
    rows: list[Image.Image] = []
    for name, picture in pictures.items():
        tiles = [look(picture) for look in VIEWS.values()]
        with torch.no_grad():
            chances = network(torch.cat(tiles)).softmax(1)[:, index].tolist()
        words = [figures.per_cent(chance) for chance in chances]
        titles = None if rows else list(VIEWS)
        small = [images.resize(tile, _OPINION) for tile in tiles]
        row = figures.mosaic(small, columns=len(small), titles=titles, values=words, gap=8)
        rows.append(figures.side_by_side([row], [name]))
    return figures.side_by_side(rows, columns=1, gap=4)


@declare.panel("A second opinion", cost="quick")
def opinion_panel(
    pictures: Mapping[str, torch.Tensor],
    network: Network = declare.network_of(label="second network"),
    target: int | None = declare.class_of(),
) -> tuple[Image.Image, str]:
    """Pictures that were made for one network, in every view, as any other network sees them."""
    first = next(iter(pictures.values()))
    wanted = network.predict(first, k=1)[0][0].index if target is None else target
    words = f"The probability of {network.categories[wanted]}, in the eyes of {network.name}."
    return opinions(network, pictures, wanted), words
