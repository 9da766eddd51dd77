"""Masks and boxes of objects: their largest component, their extent, their overlap."""

import numpy as np
import torch

from labsupport.core.errors import BadSetting
from labsupport.core.network.layers import Box


def largest_component(mask: torch.Tensor) -> torch.Tensor:
    """The largest connected part of a mask (H, W); pixels that touch at a corner belong together.

    Errors: `BadSetting` for an empty mask.

    >>> largest_component(torch.tensor([[True, False, True, True]]))
    tensor([[False, False,  True,  True]])
    """
    import cv2

    _check(mask)
    inside = (mask != 0).cpu().numpy().astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    sizes = statistics[1:, cv2.CC_STAT_AREA]  # the first one is what is not in the mask
    return torch.from_numpy(labels == 1 + int(sizes.argmax()))


def box_of(mask: torch.Tensor) -> Box:
    """The smallest box (left, top, right, bottom) around a mask (H, W).

    Errors: `BadSetting` for an empty mask.

    >>> box_of(torch.tensor([[False, True, True], [False, True, False]]))
    (1, 0, 3, 2)
    """
    _check(mask)
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    left, right = int(columns[0]), int(columns[-1]) + 1
    return (left, int(rows[0]), right, int(rows[-1]) + 1)


def _check(mask: torch.Tensor) -> None:
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


def mask_iou(one: torch.Tensor, other: torch.Tensor) -> float:
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
