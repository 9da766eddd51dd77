"""How much of a layer's activations stays when the picture changes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting, UnknownLayer
from labsupport.core.network import Network, Pair, receptive_box
from labsupport.methods.activations.distortions import Distortion, distort, positions, sampled


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation of the numbers of each row, (N, ...) and (N, ...) to (N,): 1 where one
    is the other times a positive factor plus a constant, 0 where they have nothing in common.

    NaN where all numbers of a row are equal. Numbers that are NaN in either are left out.

    Errors: `BadSetting` for different shapes, and for infinite numbers.

    >>> correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 4.0, 6.0]]))
    tensor([1.])
    """
    one, other = real_numbers(one), real_numbers(other)
    if one.shape != other.shape or one.ndim < 2:
        raise BadSetting(
            f"correlation compares (N, ...) with (N, ...) of one shape, not {tuple(one.shape)} "
            f"with {tuple(other.shape)}"
        )
    if bool(one.isinf().any() | other.isinf().any().to(one.device)):
        raise BadSetting("an infinite number has no correlation: leave it out, as NaN")
    x, y = (values.flatten(1).double() for values in (one, other))
    known = x.isfinite() & y.isfinite()
    if known.all():
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    else:
        count = known.sum(1, keepdim=True).clamp_min(1)
        x, y = (torch.where(known, values, 0) for values in (x, y))
        x, y = (torch.where(known, v - v.sum(1, keepdim=True) / count, 0) for v in (x, y))
    size = x.norm(dim=1) * y.norm(dim=1)
    ratio = torch.where(size > 0, (x * y).sum(1) / size, math.nan)
    return ratio.clamp(-1, 1).float().cpu()


@dataclass(frozen=True)
class Similarity:
    """How similar a layer's activations are before and after a change: three correlations, each
    (layers, N), 1 where nothing changed.

    `maps` compares every position with itself: that is invariance in the strictest sense.
    `aligned` first moves the old maps as the picture was moved (turned, scaled, shifted), and
    compares where both are known: high where activations merely moved (equivariance). `pooled`
    compares each channel's mean over its map, wherever it fires: that is what a classifier after a
    global average pool sees. Where a layer has one position only, or nothing moved, the first two
    are the same. NaN where all of the numbers are equal, or none is known: a silent layer, or one
    channel, does not correlate.
    """

    layers: tuple[str, ...]
    maps: Tensor
    aligned: Tensor
    pooled: Tensor


def similarity(
    network: Network,
    images: Tensor,
    change: Distortion | Tensor,
    layers: Sequence[str],
    *,
    seed: int = 0,
) -> Similarity:
    """Correlate each layer's activations for images (N, 3, H, W) with those after a change.

    `change` is a distortion; or other images (N, 3, H, W), which gives what two pictures have in
    common anyway: the floor that all other numbers stand on.

    Errors: `UnknownLayer`, also for no layers; `BadImage`; `BadSetting` for other images of
    another shape.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> network = networks.wrap(module, input_size=8)
    >>> same = similarity(network, torch.rand(2, 3, 8, 8), Distortion(), ["conv1"])
    >>> bool((same.maps > 0.999).all())
    True
    """
    if isinstance(layers, str) or not layers:
        raise UnknownLayer('name at least one layer, in a list: layers=["fire5", "fire9"]')
    for layer in layers:
        network.with_maps(layer, or_vector=True)
    network.check(images)
    before = images.detach()
    if isinstance(change, Tensor):
        if change.shape != images.shape:
            raise BadSetting(
                f"the other images have the shape {tuple(change.shape)}, these "
                f"{tuple(images.shape)}: one for one"
            )
        moved, after = Distortion(), change.detach()
    else:
        moved, after = change, distort(before, change, seed=seed)
    rows = []
    for one, other in zip(before, after, strict=True):
        pairs = network.activations(torch.stack([one, other]), layers)
        size = (one.shape[1], one.shape[2])
        rows.append([_correlations(network, name, pairs[name], moved, size) for name in layers])
    maps, aligned, pooled = torch.tensor(rows).permute(2, 1, 0)  # (3, layers, N)
    return Similarity(tuple(layers), maps, aligned, pooled)


def _correlations(
    network: Network, layer: str, pair: Tensor, moved: Distortion, image_size: Pair
) -> tuple[float, float, float]:
    """The three correlations of a layer's activations (2, C, ...), before and after."""
    clean, now = pair[:1], pair[1:]
    strict = float(correlation(clean, now))
    pooled = float(correlation(pooled_means(clean), pooled_means(now)))
    if not moved.moves or clean[0, 0].numel() == 1:
        return strict, strict, pooled
    aligned = _aligned(network, layer, clean, moved, image_size)
    return strict, float(correlation(aligned, now)), pooled


def _aligned(
    network: Network, layer: str, maps: Tensor, distortion: Distortion, image_size: Pair
) -> Tensor:
    """A layer's maps (N, C, h, w) moved as a distortion moves the picture of that size.

    A position stands for the middle of what it sees. NaN where the source lies outside the map.
    """
    height, width = maps.shape[2:]
    first = _centre(network, layer, (0, 0), image_size)
    last = _centre(network, layer, (height - 1, width - 1), image_size)
    counts = (max(width - 1, 1), max(height - 1, 1))
    stride = torch.tensor(
        [max((b - a) / n, 1e-9) for a, b, n in zip(first, last, counts, strict=True)]
    )
    start = torch.tensor(first)
    points = positions(height, width) * stride + start
    middle = ((image_size[1] - 1) / 2, (image_size[0] - 1) / 2)
    places = (distortion.sources(points, middle) - start) / stride
    slack = 1e-3
    ends = torch.tensor([width - 1.0, height - 1.0]) + slack
    inside = ((places >= -slack) & (places <= ends)).all(2)
    moved = sampled(maps, places)
    return torch.where(inside.to(moved.device), moved, math.nan)


def _centre(network: Network, layer: str, position: Pair, image_size: Pair) -> tuple[float, float]:
    """The (x, y) of the pixel in the middle of what a position sees, borders disregarded."""
    left, top, right, bottom = receptive_box(network, layer, position, image_size, clip=False)
    return ((left + right - 1) / 2, (top + bottom - 1) / 2)


def pooled_means(activations: Tensor) -> Tensor:
    """(N, C, ...) to (N, C): the mean over each map."""
    return activations.flatten(2).mean(2) if activations.ndim > 2 else activations


def real_numbers(numbers: Tensor) -> Tensor:
    """Numbers without a gradient; `BadSetting` for what is no tensor of real ones."""
    if not isinstance(numbers, Tensor) or numbers.is_complex():
        kind = numbers.dtype if isinstance(numbers, Tensor) else type(numbers).__name__
        raise BadSetting(f"this takes a tensor of real numbers, such as activations, not {kind}")
    return numbers.detach()
