"""Detectors: networks that answer with any number of names and boxes, made for just that.

torchvision has them, trained on the 80 kinds of things of COCO (Lin et al., "Microsoft COCO",
2014). None is bundled: each downloads when it is first asked for, where there is a network.
"""

import math
import os
from dataclasses import dataclass

import torch
import torchvision
from torch import nn

from labsupport.core import device as devices
from labsupport.core import images
from labsupport.core.errors import BadSetting, UnknownNetwork, nearest
from labsupport.core.network import catalog
from labsupport.core.network.catalog import Recipe
from labsupport.core.network.layers import Box

NAMES = {
    "ssdlite320_mobilenet_v3_large": "SSDlite",
    "fasterrcnn_mobilenet_v3_large_320_fpn": "Faster R-CNN, small",
    "fasterrcnn_resnet50_fpn_v2": "Faster R-CNN, ResNet-50",
}


@dataclass(frozen=True)
class Detection:
    """One thing in a picture: its class, how sure the network is (0 to 1), and its box (left,
    top, right, bottom) in pixels."""

    name: str
    index: int
    probability: float
    box: Box


@dataclass(frozen=True, eq=False)
class Detector:
    """A trained detector; build one with `load`. Calling it with a picture finds what is there."""

    name: str
    module: nn.Module
    categories: tuple[str, ...]
    source: str
    device: torch.device

    @property
    def title(self) -> str:
        """The name that people use."""
        return NAMES[self.name]

    def __call__(self, image: torch.Tensor, *, threshold: float = 0.5) -> tuple[Detection, ...]:
        """What is in one picture (1, 3, H, W), the surest first: all from `threshold` on.

        Errors: `BadImage`, also for several pictures; `BadSetting` for a threshold outside 0 to 1.
        """
        images.check(image, one=True)
        if not 0 <= threshold <= 1:
            raise BadSetting(f"threshold is a probability from 0 to 1, not {threshold}")
        with torch.no_grad():
            [output] = self.module([image[0].to(self.device, torch.float32)])
        rows = zip(
            *(output[key].cpu().tolist() for key in ("labels", "scores", "boxes")), strict=True
        )
        size = (image.shape[2], image.shape[3])
        sure = [row for row in rows if row[1] >= threshold]
        sure.sort(key=lambda row: -row[1])
        return tuple(
            Detection(self.categories[label], label, score, _whole(box, size))
            for label, score, box in sure
        )


def load(
    name: str = "ssdlite320_mobilenet_v3_large",
    *,
    weights: str | os.PathLike[str] = "torchvision",
    device: str | torch.device | None = None,
) -> Detector:
    """A detector by one of the `NAMES`.

    `weights`: "torchvision" (from its cache or a download), "random" (the same ones every time),
    or the path of a state dict.

    Errors: `UnknownNetwork`, `WeightsUnavailable`, `BadSetting`.
    """
    recipe = _recipe(name)
    given = catalog.loaded(recipe, weights)
    module = given.module.eval().requires_grad_(False)
    place = devices.pick(device)
    return Detector(name, module.to(place), recipe.categories(), given.source, place)


def is_cached(name: str) -> bool:
    """Whether a detector needs no download on this computer."""
    return catalog.cached(_recipe(name)).is_file()


def megabytes(name: str) -> int:
    """The size of the download."""
    size: float = _recipe(name).published.meta["_file_size"]
    return math.ceil(size)


def _recipe(name: str) -> Recipe:
    if name not in NAMES:
        close = ", ".join(nearest(str(name), NAMES))
        raise UnknownNetwork(f"no detector is called {name!r}; the nearest names are {close}")
    published = torchvision.models.get_model_weights(name).DEFAULT
    return Recipe(
        name,
        lambda: torchvision.models.get_model(name, weights=None, weights_backbone=None),
        lambda: tuple(published.meta["categories"]),
        published=published,
    )


def _whole(box: list[float], size: tuple[int, int]) -> Box:
    """Whole pixels, at least one in each direction, inside the picture."""
    left, top = (min(int(edge), side - 1) for edge, side in zip(box[:2], size[::-1], strict=True))
    right, bottom = (
        min(math.ceil(edge), side) for edge, side in zip(box[2:], size[::-1], strict=True)
    )
    return (left, top, max(right, left + 1), max(bottom, top + 1))
