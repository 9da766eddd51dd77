"""Distances between codes, a few rows of the table at a time, and what may be asked of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.nn import functional as F

from labsupport.core.errors import BadSetting, nearest

METRICS = ("cosine", "euclidean")
ROWS = 512  # of a table of distances that are held at a time


def sampled(count: int, sample: int | None, seed: int) -> torch.Tensor:
    """The numbers of all images, or of some."""
    if sample is None or sample >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:sample]


def check_k(k: int, count: int) -> None:
    if not 1 <= k < count:
        raise BadSetting(f"of {count} images there are 1 to {count - 1} neighbours, not {k}")


def checked(codes: torch.Tensor) -> torch.Tensor:
    if not isinstance(codes, torch.Tensor) or codes.ndim != 2 or 0 in codes.shape:
        shape = tuple(getattr(codes, "shape", ()))
        raise BadSetting(f"codes are a tensor (images, numbers); this is {shape or type(codes)}")
    found = codes.detach().to("cpu", torch.float32)
    if not bool(found.isfinite().all()):
        raise BadSetting("the codes contain NaN or infinity: codes.isfinite().all(1) says where")
    return found


def ready(codes: torch.Tensor, metric: str) -> torch.Tensor:
    """Rows to measure between: of length 1 for "cosine", centred else."""
    if metric == "cosine":
        return F.normalize(codes, dim=1)
    if metric == "euclidean":
        return codes - codes.mean(0)
    near = nearest(str(metric), METRICS, 1)[0]
    raise BadSetting(f"no metric {metric!r}; did you mean {near!r}?")


def distances_between(some: torch.Tensor, others: torch.Tensor, metric: str) -> torch.Tensor:
    """A table of distances (n, N); rounding must not make one negative."""
    if metric == "cosine":
        return (1 - some @ others.T).clamp_(min=0)
    return torch.cdist(some, others, compute_mode="use_mm_for_euclid_dist_if_necessary")


def distances_to_others(rows: torch.Tensor, some: torch.Tensor, metric: str) -> torch.Tensor:
    """The distances (n, N) of some rows to all; infinite to themselves."""
    away = distances_between(rows[some], rows, metric)
    away[torch.arange(len(some)), some] = math.inf
    return away


def nearest_in_parts(
    codes: torch.Tensor, k: int, metric: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """Each image's k nearest others, numbers and distances (N, k), and the share that is done."""
    check_k(k, len(codes))
    rows = ready(codes, metric)
    numbers = torch.empty(len(codes), k, dtype=torch.long)
    distances = torch.empty(len(codes), k)
    for some in torch.split(torch.arange(len(codes)), ROWS):
        found = distances_to_others(rows, some, metric).topk(k, dim=1, largest=False)
        numbers[some], distances[some] = found.indices, found.values
        yield numbers, distances, (int(some[-1]) + 1) / len(codes)
