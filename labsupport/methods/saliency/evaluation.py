"""How well objects are found, held against their true masks and boxes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from labsupport.core.errors import BadSetting
from labsupport.core.network.layers import Box
from labsupport.methods.saliency.composing import Scene
from labsupport.methods.saliency.grabcut import segment, threshold
from labsupport.methods.saliency.masks import box_iou, box_of, mask_iou

Progress = Callable[[float], object]

_HIT = 0.5  # the least overlap with the true box: ILSVRC's measure for one guess an image


@dataclass(frozen=True)
class Localization:
    """How well one method finds the objects of some scenes.

    `error` is the share of boxes whose intersection over union with the true one is under 0.5,
    `iou` the mean one of the masks; `boxes` and `masks` are its answers, one for each scene.
    """

    error: float
    iou: float
    boxes: tuple[Box, ...]
    masks: tuple[torch.Tensor, ...]


def localization(scenes: Sequence[Scene], masks: Sequence[torch.Tensor]) -> Localization:
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
    maps: Sequence[torch.Tensor],
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
    cuts: list[list[torch.Tensor]] = [[] for _ in quantiles]
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


_BLUR_ALONE = 10.0  # pixels: the best of 3, 6, 10 and 14 for a threshold


def _box_masks(scenes: Sequence[Scene], share: float) -> list[torch.Tensor]:
    """For each scene the box in its middle, `share` of each of its sides long."""
    masks = []
    for scene in scenes:
        mask = torch.zeros_like(scene.mask)
        top, left = (round(side * (1 - share) / 2) for side in mask.shape)
        mask[top : mask.shape[0] - top, left : mask.shape[1] - left] = True
        masks.append(mask)
    return masks


def _best(scenes: Sequence[Scene], tried: Sequence[Sequence[torch.Tensor]]) -> Localization:
    """The attempt with the fewest boxes missed; among equals, the largest overlap of the masks."""
    results = [localization(scenes, masks) for masks in tried]
    return min(results, key=lambda one: (one.error, -one.iou))
