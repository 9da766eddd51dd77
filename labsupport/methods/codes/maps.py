"""Maps: codes laid out in a plane, by t-SNE or by their principal components."""

import functools
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from labsupport.core.errors import BadSetting, one_of
from labsupport.core.frames import Shortcut, framed, last_of
from labsupport.methods.codes import distances, tsne

METHODS = ("tsne", "pca")


@dataclass(frozen=True)
class Embedding:
    """Codes laid out in a plane: `points` (N, 2), on the CPU, in units that mean nothing.

    `cost` is the Kullback-Leibler divergence of t-SNE (0 for a perfect map; nan before the first
    step, and for principal components). `stage` says in words what is going on; `progress` is
    0 to 1.
    """

    points: Tensor
    step: int
    steps: int
    cost: float
    stage: str
    progress: float


@framed
def embed(
    codes: Tensor,
    *,
    method: str = "tsne",
    perplexity: float = 30.0,
    metric: str = "cosine",
    learning_rate: float | None = None,
    steps: int = 750,
    seed: int | None = None,
    every: int = 10,
) -> Iterator[Embedding]:
    """Codes (N, D) in a plane: by t-SNE, or by their two principal components ("pca").

    `embed.frames` shows t-SNE while it works: a frame at the start and after each `every` steps.

    `perplexity` is, roughly, how many neighbours an image has; `learning_rate` None is N / 48, at
    least 50, or N / 3 where even that is less. The points start at the principal components, or,
    with a `seed`, at random. Up to 1000 points each pair is computed; above, only neighbours
    attract and a grid repels.

    Errors: `BadSetting` for fewer than 3 codes, and for a setting that cannot work.

    >>> groups = torch.cat([torch.eye(2).repeat(6, 1), torch.rand(12, 1) / 10], dim=1)
    >>> embed(groups, perplexity=3).points.shape
    torch.Size([12, 2])
    """
    codes = distances.checked(codes)
    if one_of(method, METHODS, "method") == "pca":
        _check_settings(len(codes), min(2.0, len(codes) - 0.5), None, 1, 1)
        points = _components(distances.normalized(codes, metric)).float()
        return iter([Embedding(points, 1, 1, math.nan, "principal components", 1.0)])
    _check_settings(len(codes), perplexity, learning_rate, steps, every)
    start = _start(distances.normalized(codes, metric), seed)
    run = functools.partial(_descent, codes, start, perplexity, metric, learning_rate, steps)
    return Shortcut(run(every), lambda: last_of(run(steps)))


def _descent(
    codes: Tensor,
    start: tsne.Floats,
    perplexity: float,
    metric: str,
    rate: float | None,
    steps: int,
    every: int,
) -> Generator[Embedding, None, None]:
    """From first positions (N, 2): the search for neighbours, where there is one; the descent."""
    exact = len(codes) <= tsne.EXACT
    search = 0.0 if exact else 0.15  # its share of the whole time
    points = torch.from_numpy(start).float()
    yield Embedding(points, 0, steps, math.nan, "start", 0.0)
    if exact:
        shares = affinities(codes, perplexity=perplexity, metric=metric)
        forces: tsne.Forces = tsne.AllPairs(shares.numpy())
    else:
        k = min(len(codes) - 1, int(3 * perplexity))
        for near in distances.nearest_in_parts(codes, k, metric):
            numbers, lengths, share = near
            words = f"looking for neighbours, {share:.0%}"
            yield Embedding(points, 0, steps, math.nan, words, search * share)
        one_way = tsne.conditional(lengths.double().square().numpy(), perplexity)
        forces = tsne.NeighboursAndGrid(numbers.numpy(), one_way)
    early = min(tsne.EARLY, steps // 3)
    for step, positions, cost in tsne.descend(forces, start, rate, steps, every):
        stage = "exaggerated" if step <= early else "fine"
        done = search + (1 - search) * step / steps
        yield Embedding(torch.from_numpy(positions).float(), step, steps, cost, stage, done)


def _check_settings(
    count: int, perplexity: float, learning_rate: float | None, steps: int, every: int
) -> None:
    if count < 3:
        raise BadSetting(f"a map needs at least 3 codes, these are {count}")
    if not 1 < perplexity < count:
        raise BadSetting(
            f"the perplexity is a number of neighbours: above 1 and below {count}, the number of "
            f"images; not {perplexity:g}"
        )
    if learning_rate is not None and not learning_rate > 0:
        raise BadSetting(f"the learning rate lies above 0, not at {learning_rate:g}")
    if steps < 1 or every < 1:
        raise BadSetting(f"steps and every are at least 1, not {steps} and {every}")


def _start(vectors: Tensor, seed: int | None) -> tsne.Floats:
    """The first positions (N, 2): small, so that all repel all."""
    if seed is None:
        first = _components(vectors)
        first = first / first[:, 0].std(correction=0).clamp(min=1e-12)
    else:
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(len(vectors), 2, generator=generator, dtype=torch.float64)
    positions: tsne.Floats = (first * tsne.SCALE).numpy()
    return positions


def _components(vectors: Tensor) -> Tensor:
    """The first two principal components (N, 2), in double precision, each with a fixed sign."""
    centred = vectors.double() - vectors.double().mean(0)
    wide = centred.shape[1] > centred.shape[0]
    _, basis = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    axes = centred.T @ basis if wide else basis
    axes = F.pad(axes.flip(1), (0, max(0, 2 - axes.shape[1])))[:, :2]
    components = centred @ F.normalize(axes, dim=0)
    signs = components.gather(0, components.abs().argmax(0)[None]).sign()
    return components * torch.where(signs == 0, 1.0, signs)


def affinities(codes: Tensor, *, perplexity: float = 30.0, metric: str = "cosine") -> Tensor:
    """t-SNE's p_ij of all pairs of codes: (N, N), double, symmetric, with the sum 1.

    p(j|i) is a Gaussian of the distance around i, so wide that it holds `perplexity` neighbours;
    p_ij is the mean of both ways, divided by N.
    """
    codes = distances.checked(codes)
    _check_settings(len(codes), perplexity, None, 1, 1)
    vectors = distances.normalized(codes.double(), metric)
    squared = distances.distances_between(vectors, vectors, metric).square()
    squared.fill_diagonal_(math.inf)
    return torch.from_numpy(tsne.joint(squared.numpy(), perplexity))


def divergence(affinities: Tensor, points: Tensor) -> tuple[float, Tensor]:
    """t-SNE's cost of a map (N, 2): the Kullback-Leibler divergence, and its gradient (N, 2).

    The similarity of two points in the map is 1 / (1 + squared distance), as a share of all pairs'.
    """
    if affinities.shape != (len(points), len(points)):
        raise BadSetting(f"{len(points)} points have affinities of {len(points)} x {len(points)}")
    if not bool(affinities.isfinite().all()):
        raise BadSetting("affinities are probabilities: these contain NaN or infinity")
    forces = tsne.AllPairs(affinities.detach().cpu().double().numpy())
    places = distances.checked(points).double().numpy()
    return forces.cost(places), torch.from_numpy(forces.gradient(places))


def place_in_map(
    codes: Tensor,
    points: Tensor,
    new: Tensor,
    *,
    k: int = 3,
    metric: str = "cosine",
) -> Tensor:
    """New codes (M, D) in a map (N, 2) of others: (M, 2), an out-of-sample extension.

    t-SNE has no formula for a new image: each goes to the mean place of its k nearest images in
    code, the nearer the heavier (1 / distance). If these lie apart, so does their mean from all.
    """
    codes, new, points = distances.checked(codes), distances.checked(new), distances.checked(points)
    if new.shape[1] != codes.shape[1] or len(points) != len(codes):
        raise BadSetting(
            f"codes {tuple(codes.shape)}, points {tuple(points.shape)} and new codes "
            f"{tuple(new.shape)} do not belong together: all codes come from one layer"
        )
    if not 1 <= k <= len(codes):
        raise BadSetting(f"of {len(codes)} images 1 to {len(codes)} can be asked, not {k}")
    vectors = distances.normalized(torch.cat([codes, new]), metric)
    old, added = vectors[: len(codes)], vectors[len(codes) :]
    near = distances.distances_between(added, old, metric).topk(k, largest=False)
    weights = 1 / near.values.clamp(min=1e-6)
    weights = weights / weights.sum(1, keepdim=True)
    return (points[near.indices] * weights[..., None]).sum(1)
