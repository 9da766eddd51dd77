"""Saliency: the gradient of a score as a heat map, and the object that it finds.

Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks: visualising image
classification models and saliency maps", 2013, section 3: one backward pass says which pixels need
to be changed least to change the score most. Where these pixels are, there is the object. GrabCut
(Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph
cuts", SIGGRAPH 2004) turns them into a mask and a box, although the network was never told where
anything is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import images as pictures
from labsupport.core import modes
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.images.sets import CutOut, Picture
from labsupport.core.network import Box, Network, TargetLike
from labsupport.methods import backprop

Progress = Callable[[float], object]

_HIT = 0.5  # the least overlap with the true box: ILSVRC's measure for one guess an image
_BLUR_ALONE = 10.0  # pixels: the best of 3, 6, 10 and 14 for a threshold

# From a gradient (N, 3, H, W) to a map (N, H, W).
REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "max": lambda gradient: gradient.abs().amax(1),
    "mean": lambda gradient: gradient.abs().mean(1),
    "L2": lambda gradient: gradient.square().sum(1).sqrt(),
    "signed": lambda gradient: gradient.mean(1),
}


def saliency_map(
    network: Network,
    images: Tensor,
    target: TargetLike,
    *,
    reduce: str = "max",
    samples: int = 1,
    noise: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """How much each pixel of the images (N, 3, H, W) matters to the target: (N, H, W).

    The gradient w of the target's value with respect to the image has three numbers a pixel;
    `reduce` makes them one. "max" is Simonyan's M = max over channels of abs(w); "mean" and "L2"
    are the mean of the absolute values and their Euclidean length, "signed" the mean with its sign
    (positive where a brighter pixel raises the value).

    With `samples` above 1 the gradients of that many noisy copies are averaged first (SmoothGrad,
    Smilkov et al. 2017); `noise` is the noise's standard deviation, as a share of each image's
    range. The map is on the CPU.

    Errors: `BadSetting`, `BadImage`, `UnknownClass`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> linear = nn.Linear(3 * 4, 1, bias=False)
    >>> _ = nn.init.constant_(linear.weight, -2.0)
    >>> plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "categories": ["toy"], "input_size": 2}
    >>> network = networks.wrap(nn.Sequential(nn.Flatten(), linear), **plain)
    >>> saliency_map(network, torch.rand(1, 3, 2, 2), "toy")
    tensor([[[2., 2.], [2., 2.]]])
    """
    network.check(images)
    one_of(reduce, REDUCTIONS, "reduce")
    if samples != int(samples):
        raise BadSetting(f"samples is {samples}; it is a whole number from 1 upwards")
    if samples == 1:
        gradient = backprop.gradient(network, images, target)
    else:
        settings: dict[str, Any] = {"noise": noise, "samples": int(samples), "seed": seed}
        gradient = backprop.smooth_gradient(network, images, target, **settings)
    return REDUCTIONS[reduce](gradient.values)


# From a map to the object that it points at


@dataclass(frozen=True)
class Segmentation:
    """An object found in an image: `mask` (H, W), True where it is, and the `box` around it.

    `seeds` (H, W) is what it grew from: 1 where the map was sure of the object, -1 where it was
    sure of the background, 0 where the colours had to decide.
    """

    mask: Tensor
    box: Box
    seeds: Tensor


def segment(
    image: Tensor,
    map: Tensor,  # noqa: A002 - the word that the lecture uses
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


def _grab_cut(image: Tensor, seeds: Tensor, iterations: int, seed: int) -> Tensor:
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
    image: Tensor,
    map: Tensor,  # noqa: A002
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
    above = smoothed > level
    # Where many pixels are equal, "above" may be empty: then the highest ones are it.
    chosen = above if bool(above.any()) else smoothed >= level
    mask = largest_component(chosen)
    return Segmentation(mask, box_of(mask), torch.where(chosen, 1, -1).to(torch.int8))


def _smoothed(image: Tensor, map_: Tensor, smooth: float) -> Tensor:
    values = pictures.checked_map(image, map_)
    if not 0 <= smooth < math.inf:
        raise BadSetting(f"smooth is {smooth} pixels; it is 0 or more")
    return pictures.checked_map(image, _blurred(values, smooth)) if smooth else values


def _blurred(values: Tensor, smooth: float) -> Tensor:
    side = 2 * math.ceil(2 * smooth) + 1  # two standard deviations to either side
    side = min(side, 2 * min(values.shape) - 1)  # the border is mirrored: no wider than the map
    blurred: Tensor = transforms.gaussian_blur(values[None], [side, side], [smooth, smooth])
    return blurred[0]


def _seeds(map_: Tensor, foreground: float, background: float) -> Tensor:
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
    return seeds


# Masks and boxes


def largest_component(mask: Tensor) -> Tensor:
    """The largest connected part of a mask (H, W); pixels that touch at a corner belong together.

    Errors: `BadSetting` for an empty mask.

    >>> largest_component(torch.tensor([[True, False, True, True]]))
    tensor([[False, False,  True,  True]])
    """
    import cv2

    _check_mask(mask)
    inside = (mask != 0).cpu().numpy().astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    sizes = statistics[1:, cv2.CC_STAT_AREA]  # the first one is what is not in the mask
    return torch.from_numpy(labels == 1 + int(sizes.argmax()))


def box_of(mask: Tensor) -> Box:
    """The smallest box (left, top, right, bottom) around a mask (H, W).

    Errors: `BadSetting` for an empty mask.

    >>> box_of(torch.tensor([[False, True, True], [False, True, False]]))
    (1, 0, 3, 2)
    """
    _check_mask(mask)
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    left, right = int(columns[0]), int(columns[-1]) + 1
    return (left, int(rows[0]), right, int(rows[-1]) + 1)


def _check_mask(mask: Tensor) -> None:
    if mask.ndim != 2 or not bool(mask.any()):
        raise BadSetting(f"a mask is (H, W) with one pixel at least, not {tuple(mask.shape)}")


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (left, top, right, bottom): 0 (apart) to 1 (equal).

    Errors: `BadSetting` for what is no box.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    for box in (one, other):
        if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
            raise BadSetting(f"a box is (left, top, right, bottom), not {tuple(box)}")
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    both = sum((right - left) * (bottom - top) for left, top, right, bottom in (one, other))
    return shared / (both - shared)


def mask_iou(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two masks (H, W): 0 (apart) to 1 (equal).

    Errors: `BadSetting` for masks of two sizes, or two empty ones.

    >>> mask_iou(torch.tensor([[True, True, False]]), torch.tensor([[False, True, True]]))
    0.3333333333333333
    """
    shapes, one, other = (one.shape, other.shape), one != 0, other != 0
    if shapes[0] != shapes[1] or not bool((one | other).any()):
        raise BadSetting(
            f"two masks of one size are compared, and not two empty ones: these are "
            f"{tuple(one.shape)} and {tuple(other.shape)}"
        )
    return int((one & other).sum()) / int((one | other).sum())


# Scenes: cut-outs in front of photographs, whose true masks are known


@dataclass(frozen=True)
class Scene:
    """A cut-out in front of a photograph: `image` (1, 3, H, W), the true `mask` (H, W) and `box`.

    `target` is the ImageNet class of the object, `title` says what stands before what.
    """

    image: Tensor
    mask: Tensor
    target: str
    title: str

    @property
    def box(self) -> Box:
        """The true box (left, top, right, bottom)."""
        return box_of(self.mask)


def compose(
    cutout: CutOut,
    background: Picture,
    *,
    size: int = 224,
    share: float = 0.6,
    place: tuple[float, float] = (0.5, 0.5),
) -> Scene:
    """Put a cut-out in front of a photograph, as an image of `size` pixels square.

    The object's longer side is `share` of the image's; `place` (down, across) says where it
    stands, from (0, 0), the upper left corner, to (1, 1), the lower right one. It is all inside.

    Errors: `BadSetting` for a share or a place outside its range.

    >>> cutout, photo = pictures.cutouts()["zebra"], pictures.photos()["taj_mahal"]
    >>> compose(cutout, photo, share=0.5, place=(1, 0)).box[::3]
    (0, 224)
    """
    if not 0 < share <= 1 or len(place) != 2 or not all(0 <= one <= 1 for one in place):
        raise BadSetting(f"share is {share}, place {place}: share lies in (0, 1], place in [0, 1]")
    pixels = cutout.rgba()
    left, top, right, bottom = box_of(pixels[0, 3] > 0.5)
    pixels = pixels[:, :, top:bottom, left:right]
    times = share * size / max(pixels.shape[2:])
    height, width = (max(1, round(side * times)) for side in pixels.shape[2:])
    # Colours that are multiplied by their opacity leave no fringe when they are scaled.
    colour = pictures.resize(pixels[:, :3] * pixels[:, 3:], (height, width))
    opacity = pictures.resize(pixels[:, 3:].expand(-1, 3, -1, -1), (height, width))
    image = pictures.resize(background.image, size, crop=size).clone()
    top, left = round(place[0] * (size - height)), round(place[1] * (size - width))
    spot = (..., slice(top, top + height), slice(left, left + width))
    image[spot] = colour + image[spot] * (1 - opacity)
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[spot] = opacity[0, 0] > 0.5
    title = f"{cutout.title}, {background.title}"
    return Scene(image.clamp_(0, 1), mask, cutout.imagenet or cutout.title, title)


def scenes(
    count: int | None = None,
    *,
    size: int = 224,
    shares: tuple[float, float] = (0.4, 0.75),
    seed: int = 0,
) -> list[Scene]:
    """Every bundled cut-out that ImageNet has a class for, before a bundled photograph of a place.

    Each object's longer side is between `shares` of the image's, and it stands anywhere. The same
    seed gives the same scenes; `count` takes so many of them, all if it is None.

    Errors: `BadSetting`.

    >>> [scene.image.shape for scene in scenes(2, size=64)]
    [torch.Size([1, 3, 64, 64]), torch.Size([1, 3, 64, 64])]
    """
    if len(shares) != 2 or not 0 < shares[0] <= shares[1] <= 1:
        raise BadSetting(f"shares is (least, most), from above 0 to 1, not {tuple(shares)}")
    if seed < 0:
        raise BadSetting(f"a seed is a number from 0 on, not {seed}")
    random = np.random.default_rng(seed)
    objects = [one for one in pictures.cutouts() if one.imagenet]
    places = [one for one in pictures.photos() if one.category == "places"]
    order = random.permutation(len(objects))
    if count is not None and not 1 <= count <= len(objects):
        raise BadSetting(f"count is {count}; there are 1 to {len(objects)} such scenes")
    return [
        compose(
            objects[number],
            places[int(random.integers(len(places)))],
            size=size,
            share=float(random.uniform(*shares)),
            place=(float(random.random()), float(random.random())),
        )
        for number in order[:count].tolist()
    ]


# How well objects are found


@dataclass(frozen=True)
class Localization:
    """How well one method finds the objects of some scenes.

    `error` is the share of boxes whose intersection over union with the true one is under 0.5,
    `iou` the mean one of the masks; `boxes` and `masks` are its answers, one for each scene.
    """

    error: float
    iou: float
    boxes: tuple[Box, ...]
    masks: tuple[Tensor, ...]


def localization(scenes: Sequence[Scene], masks: Sequence[Tensor]) -> Localization:
    """Hold masks, (H, W) each, against the scenes' true ones.

    Errors: `BadSetting` unless there is one mask for each scene.
    """
    if len(scenes) != len(masks) or not scenes:
        raise BadSetting(f"{len(masks)} masks for {len(scenes)} scenes: one for each")
    boxes = tuple(box_of(mask) for mask in masks)
    ious = [mask_iou(mask, one.mask) for mask, one in zip(masks, scenes, strict=True)]
    missed = [box_iou(box, one.box) < _HIT for box, one in zip(boxes, scenes, strict=True)]
    error, iou = sum(missed) / len(missed), sum(ious) / len(ious)
    return Localization(error, iou, boxes, tuple(masks))


def compare_methods(
    scenes: Sequence[Scene],
    maps: Sequence[Tensor],
    *,
    shares: Sequence[float] = (0.5, 0.6, 0.7, 0.8),
    quantiles: Sequence[float] = (0.7, 0.75, 0.8, 0.85, 0.9),
    progress: Progress | None = None,
) -> dict[str, Localization]:
    """How well a box in the middle, a threshold alone and GrabCut find the objects of scenes.

    `maps` has the saliency map (H, W) of each scene. GrabCut has its default settings. The other
    two may choose on these very scenes, which flatters them: the box its size among `shares`, the
    threshold its quantile of the map, which is blurred for it as is best for it.

    Errors: as of `segment`; `BadSetting` unless there is one map for each scene.

    >>> from labsupport import saliency
    >>> few = saliency.scenes(2, size=48)
    >>> list(compare_methods(few, [one.mask.float() for one in few]))
    ['a box in the middle', 'a threshold alone', 'GrabCut']
    """
    if len(scenes) != len(maps) or not scenes:
        raise BadSetting(f"{len(maps)} maps for {len(scenes)} scenes: one for each")
    if not shares or not quantiles:
        raise BadSetting("name at least one share and one quantile to choose from")
    if not all(0 < share <= 1 for share in shares):
        raise BadSetting(f"shares lie above 0 and go up to 1, not {tuple(shares)}")
    boxes = [_box_masks(scenes, share) for share in shares]
    cuts: list[list[Tensor]] = [[] for _ in quantiles]
    grown = []
    for scene, map_ in zip(scenes, maps, strict=True):
        for place, quantile in enumerate(quantiles):
            alone = threshold(scene.image, map_, quantile=quantile, smooth=_BLUR_ALONE)
            cuts[place].append(alone.mask)
        grown.append(segment(scene.image, map_).mask)
        if progress is not None:
            progress(len(grown) / len(scenes))
    return {
        "a box in the middle": _best(scenes, boxes),
        "a threshold alone": _best(scenes, cuts),
        "GrabCut": localization(scenes, grown),
    }


def _box_masks(scenes: Sequence[Scene], share: float) -> list[Tensor]:
    """For each scene the box in its middle, `share` of each of its sides long."""
    masks = []
    for scene in scenes:
        mask = torch.zeros_like(scene.mask)
        top, left = (round(side * (1 - share) / 2) for side in mask.shape)
        mask[top : mask.shape[0] - top, left : mask.shape[1] - left] = True
        masks.append(mask)
    return masks


def _best(scenes: Sequence[Scene], tried: Sequence[Sequence[Tensor]]) -> Localization:
    """The attempt with the fewest boxes missed; among equals, the largest overlap of the masks."""
    results = [localization(scenes, masks) for masks in tried]
    return min(results, key=lambda one: (one.error, -one.iou))


modes.keep(__name__)
