"""How alike two maps are: by the order of their values, and by their local structure.

Both are other people's measures and code; here they take the workbook's maps and refuse in words.
"""

from typing import Any

import torch

from labsupport.core.errors import BadSetting

_WINDOW = 7  # pixels, the side of the window that structure is compared in


def rank_correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Spearman's rank correlation of two maps' values, -1 to 1: 1 where they have one order.

    Equal values share their mean rank. A map whose values are all equal has no order: the result
    is NaN.

    Errors: `BadSetting` for maps of different shapes.

    >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([0.1, 0.2, 0.3]))
    1.0
    """
    from scipy.stats import spearmanr  # takes a second to load, and few ask for it

    _check_shapes(one, other)
    first, second = (values.detach().cpu().flatten() for values in (one, other))
    if (first == first[0]).all() or (second == second[0]).all():
        return float("nan")
    return round(float(spearmanr(first.numpy(), second.numpy()).statistic), 12)


def structural_similarity(one: torch.Tensor, other: torch.Tensor, *, scale: float = 1.0) -> float:
    """SSIM of two maps (H, W), at most 1: the mean over windows of 7 x 7 of how alike their
    brightness, contrast and structure are (Wang et al. 2004).

    `scale` is the range that the values come from: 1 for maps in [0, 1].

    Errors: `BadSetting` for other shapes, or maps smaller than the window.

    >>> ramp = torch.linspace(0, 1, 64).view(8, 8)
    >>> structural_similarity(ramp, ramp)
    1.0
    """
    from skimage import metrics

    _check_shapes(one, other)
    if one.ndim != 2 or min(one.shape) < _WINDOW:
        raise BadSetting(f"a map has two sides of {_WINDOW} at least, not {tuple(one.shape)}")
    x, y = (values.detach().double().cpu().numpy() for values in (one, other))
    measure: Any = metrics.structural_similarity  # which ships no types
    return round(float(measure(x, y, win_size=_WINDOW, data_range=scale)), 12)


def _check_shapes(one: torch.Tensor, other: torch.Tensor) -> None:
    if one.shape != other.shape:
        raise BadSetting(
            f"two maps of one shape can be compared, not {tuple(one.shape)} and "
            f"{tuple(other.shape)}"
        )
