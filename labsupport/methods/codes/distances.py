"""Distances between codes, and the nearest neighbours that they make."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from labsupport.core.errors import BadSetting, one_of

METRICS = ("cosine", "euclidean")
CHUNK = 512  # rows of a table of distances that are held at a time


@dataclass(frozen=True)
class Neighbours:
    """The images nearest to one, the nearest first: their numbers and their distances."""

    numbers: tuple[int, ...]
    distances: tuple[float, ...]


def neighbours(codes: Tensor, number: int, *, k: int = 5, metric: str = "cosine") -> Neighbours:
    """The k images whose codes (N, D) are nearest to that of one image.

    `metric` is "cosine" (1 minus the cosine of the angle) or "euclidean".

    >>> neighbours(torch.tensor([[0.0], [3.0], [1.0]]), 0, k=2, metric="euclidean")
    Neighbours(numbers=(2, 1), distances=(1.0, 3.0))
    """
    codes = checked(codes)
    if not 0 <= number < len(codes):
        raise BadSetting(f"there are the images 0 to {len(codes) - 1}, not {number}")
    _check_k(k, len(codes))
    vectors = normalized(codes, metric)
    distances = distances_to_others(vectors, torch.tensor([number]), metric)[0]
    order = distances.argsort(stable=True)[:k]
    return Neighbours(tuple(order.tolist()), tuple(distances[order].tolist()))


def label_agreement(
    codes: Tensor,
    labels: Sequence[Any],
    *,
    k: int = 5,
    metric: str = "cosine",
    sample: int | None = None,
    seed: int = 0,
) -> float:
    """The share (0 to 1) of each image's k nearest neighbours that have its label, on average.

    `sample` asks only so many images, drawn by `seed`.

    >>> label_agreement(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), "aabb", k=1, metric="euclidean")
    1.0
    """
    codes = checked(codes)
    if len(labels) != len(codes):
        raise BadSetting(f"{len(codes)} codes and {len(labels)} labels: one label for each code")
    _check_k(k, len(codes))
    words = labels.tolist() if isinstance(labels, Tensor) else list(labels)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(words))}
    groups = torch.tensor([numbers[label] for label in words])
    vectors, same = normalized(codes, metric), []
    for some in _chunks(_sample(len(vectors), sample, seed)):
        near = _nearest(vectors, some, k, metric).indices
        same.append(groups[near] == groups[some][:, None])
    return float(torch.cat(same).double().mean())


def trustworthiness(
    codes: Tensor,
    points: Tensor,
    *,
    k: int = 5,
    metric: str = "cosine",
    sample: int | None = None,
    seed: int = 0,
) -> float:
    """How far the neighbours in a map (N, 2) can be trusted to be neighbours in code: 0 to 1.

    Venna and Kaski 2001: every one of the k nearest in the map that is not among the k nearest in
    code costs as much as its rank there is beyond k. 1 is a map without false neighbours, about
    0.5 a random one. `sample` asks only so many images, drawn by `seed`.
    """
    codes, points = checked(codes), checked(points)
    count = len(codes)
    if len(points) != count:
        raise BadSetting(f"{count} codes and {len(points)} points: one point for each code")
    _check_k(k, count)
    if 2 * count <= 3 * k + 1:
        raise BadSetting(f"trustworthiness of {k} neighbours needs more than {count} images")
    asked = _sample(count, sample, seed)
    vectors, places = normalized(codes, metric), normalized(points, "euclidean")
    beyond = 0.0
    for some in _chunks(asked):
        distances = distances_to_others(vectors, some, metric)
        for neighbour in _nearest(places, some, k, "euclidean").indices.T:
            rank = (distances < distances.gather(1, neighbour[:, None])).sum(1) + 1
            beyond += float((rank - k).clamp(min=0).sum())
    worst = len(asked) * k * (2 * count - 3 * k - 1)
    return 1 - 2 * beyond / worst


# The table of distances


def _sample(count: int, sample: int | None, seed: int) -> Tensor:
    """The numbers of all images, or of some."""
    if sample is None or sample >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:sample]


def _check_k(k: int, count: int) -> None:
    if not 1 <= k < count:
        raise BadSetting(f"of {count} images there are 1 to {count - 1} neighbours, not {k}")


def checked(codes: Tensor) -> Tensor:
    if not isinstance(codes, Tensor) or codes.ndim != 2 or 0 in codes.shape:
        shape = tuple(getattr(codes, "shape", ()))
        raise BadSetting(f"codes are a tensor (images, numbers); this is {shape or type(codes)}")
    values = codes.detach().to("cpu", torch.float32)
    if not bool(values.isfinite().all()):
        raise BadSetting("the codes contain NaN or infinity: codes.isfinite().all(1) says where")
    return values


def normalized(codes: Tensor, metric: str) -> Tensor:
    """Codes to measure between: of length 1 for "cosine", centred else."""
    if one_of(metric, METRICS, "metric") == "cosine":
        return F.normalize(codes, dim=1)
    return codes - codes.mean(0)


def distances_between(some: Tensor, others: Tensor, metric: str) -> Tensor:
    """A table of distances (n, N); rounding must not make one negative."""
    if metric == "cosine":
        return (1 - some @ others.T).clamp_(min=0)
    return torch.cdist(some, others, compute_mode="use_mm_for_euclid_dist_if_necessary")


def distances_to_others(vectors: Tensor, some: Tensor, metric: str) -> Tensor:
    """The distances (n, N) of some vectors to all; infinite to themselves."""
    distances = distances_between(vectors[some], vectors, metric)
    distances[torch.arange(len(some)), some] = math.inf
    return distances


def _nearest(vectors: Tensor, some: Tensor, k: int, metric: str) -> Any:
    """The k others nearest to some vectors: `indices` and `values` (n, k)."""
    return distances_to_others(vectors, some, metric).topk(k, dim=1, largest=False)


def _chunks(numbers: Tensor) -> tuple[Tensor, ...]:
    return torch.split(numbers, CHUNK)


def nearest_in_parts(codes: Tensor, k: int, metric: str) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Each image's k nearest others, numbers and distances (N, k), and the share that is done."""
    _check_k(k, len(codes))
    vectors = normalized(codes, metric)
    numbers = torch.empty(len(codes), k, dtype=torch.long)
    distances = torch.empty(len(codes), k)
    for some in _chunks(torch.arange(len(codes))):
        near = _nearest(vectors, some, k, metric)
        numbers[some], distances[some] = near.indices, near.values
        yield numbers, distances, (int(some[-1]) + 1) / len(codes)
