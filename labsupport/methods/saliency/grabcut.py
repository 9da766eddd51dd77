"""From a saliency map to the object that it points at: GrabCut, or a threshold alone.

Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph
cuts", SIGGRAPH 2004.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import images as pictures
from labsupport.core.errors import BadSetting
from labsupport.core.network.layers import Box
from labsupport.methods.saliency.masks import box_of, largest_component


@dataclass(frozen=True)
class Segmentation:
    """An object found in an image: `mask` (H, W), True where it is, and the `box` around it.

    `seeds` (H, W) is what it grew from: 1 where the map was sure of the object, -1 where it was
    sure of the background, 0 where the colours had to decide.
    """

    mask: torch.Tensor
    box: Box
    seeds: torch.Tensor


def segment(
    image: torch.Tensor,
    map: torch.Tensor,  # noqa: A002 - the word that the lecture uses
    *,
    foreground: float = 0.95,
    background: float = 0.50,
    smooth: float = 6.0,
    iterations: int = 5,
    seed: int = 0,
) -> Segmentation:
    """Cut out what a saliency map (H, W) points at in its image (1, 3, H, W).

    Pixels above the map's quantile `foreground` are taken for the object, those below its
    quantile `background` for the background. GrabCut learns the colours of both, decides about
    all other pixels, and the largest connected part of the object is the mask (Simonyan et al.
    2013, section 3.2). A gradient is grainy: the map is blurred first, with a standard deviation
    of `smooth` pixels (0: not at all). The defaults are what works on `scenes`.

    Errors: `BadSetting`, `BadImage`; a map that is the same everywhere points at nothing.

    >>> image = torch.full((1, 3, 40, 40), 0.2)
    >>> image[..., 10:30, 15:35] = 0.9
    >>> segment(image, image[0, 0] > 0.5, smooth=0).box
    (15, 10, 35, 30)
    """
    smoothed = _smoothed(image, map, smooth)
    seeds = _seeds(smoothed, foreground, background)
    if iterations < 1:
        raise BadSetting(f"iterations is {iterations}; GrabCut needs one at least")
    grown = _grab_cut(image, seeds, iterations, seed)
    mask = largest_component(grown)
    return Segmentation(mask, box_of(mask), seeds)


def _grab_cut(image: torch.Tensor, seeds: torch.Tensor, iterations: int, seed: int) -> torch.Tensor:
    """The pixels (H, W) that GrabCut gives to the object."""
    import cv2

    marks = np.full(tuple(seeds.shape), cv2.GC_PR_BGD, dtype=np.uint8)
    marks[seeds.numpy() > 0] = cv2.GC_FGD
    marks[seeds.numpy() < 0] = cv2.GC_BGD
    bytes_ = np.array(pictures.to_pil(image.detach().cpu()))[:, :, ::-1].copy()  # OpenCV's BGR
    models = np.zeros((1, 65)), np.zeros((1, 65))

    def cut() -> None:
        cv2.setRNGSeed(seed)
        cv2.grabCut(bytes_, marks, (0, 0, 0, 0), *models, iterations, cv2.GC_INIT_WITH_MASK)

    # OpenCV's random numbers belong to a thread: in one of its own, nobody else's are disturbed.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(cut).result()
    return torch.from_numpy((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))


def threshold(
    image: torch.Tensor,
    map: torch.Tensor,  # noqa: A002
    *,
    quantile: float = 0.85,
    smooth: float = 6.0,
) -> Segmentation:
    """The largest part of the map above one of its quantiles: `segment` without GrabCut.

    This is what GrabCut has to be better than. Errors: as of `segment`.

    >>> image = torch.full((1, 3, 40, 40), 0.2)
    >>> image[..., 10:30, 15:35] = 0.9
    >>> threshold(image, image[0, 0], quantile=0.6, smooth=0).box
    (15, 10, 35, 30)
    """
    smoothed = _smoothed(image, map, smooth)
    if not 0 < quantile < 1:
        raise BadSetting(f"quantile is {quantile}; it lies between 0 and 1")
    level = float(np.quantile(smoothed.numpy(), quantile))
    chosen = smoothed > level
    if not bool(chosen.any()):
        raise BadSetting("the map is the same everywhere, so it points at nothing")
    mask = largest_component(chosen)
    return Segmentation(mask, box_of(mask), torch.where(chosen, 1, -1).to(torch.int8))


def _smoothed(image: torch.Tensor, map_: torch.Tensor, smooth: float) -> torch.Tensor:
    pictures.check(image, one=True)
    if map_.shape != image.shape[2:]:
        height, width = image.shape[2:]
        raise BadSetting(
            f"the map is {tuple(map_.shape)}; for this image it is ({height}, {width}): "
            "take one map of a batch, maps[0]"
        )
    values = map_.detach().cpu().float()
    if not bool(values.isfinite().all()):
        raise BadSetting("the map holds NaN or infinity")
    if not 0 <= smooth < math.inf:
        raise BadSetting(f"smooth is {smooth} pixels; it is 0 or more")
    if smooth == 0:
        return values
    side = 2 * math.ceil(2 * smooth) + 1  # two standard deviations to either side
    side = min(side, 2 * min(values.shape) - 1)  # the border is mirrored: no wider than the map
    blurred: torch.Tensor = transforms.gaussian_blur(values[None], [side, side], [smooth, smooth])
    return blurred[0]


def _seeds(map_: torch.Tensor, foreground: float, background: float) -> torch.Tensor:
    if not 0 < background < foreground < 1:
        raise BadSetting(
            f"foreground is {foreground} and background {background}: both are quantiles of the "
            "map, 0 < background < foreground < 1"
        )
    low, high = np.quantile(map_.numpy(), (background, foreground))
    seeds = torch.zeros(map_.shape, dtype=torch.int8)
    seeds[map_ <= float(low)] = -1
    # Where many pixels are equal, "above" may be empty: then the highest ones are it.
    above = map_ > float(high)
    seeds[above if bool(above.any()) else map_ >= float(high)] = 1
    if not bool((seeds == -1).any()):
        raise BadSetting("the map is the same everywhere, so it points at nothing")
    return seeds
