"""Codes: an image as a point in representation space, and maps of that space.

Just before its classifier a network has turned every image into a vector, its code (4096 numbers at
fc7 of AlexNet). Two images are alike to the network if their codes are near. t-SNE (van der Maaten
and Hinton, "Visualizing data using t-SNE", JMLR 2008) lays the codes out in a plane; Karpathy's
cnnembed (2014) puts the images themselves there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, overload

import torch
from torch import fx
from torch.nn import functional as F

from labsupport.core import device, images, workers
from labsupport.core.errors import BadImage, BadSetting, nearest
from labsupport.core.images.preparation import checked_size
from labsupport.core.images.sets import Picture
from labsupport.core.network import Network
from labsupport.core.network.operations import Pair
from labsupport.core.streams import count_of
from labsupport.methods.codes import tsne
from labsupport.methods.codes.distances import (
    METRICS,
    ROWS,
    check_k,
    checked,
    distances_between,
    distances_to_others,
    nearest_in_parts,
    ready,
    sampled,
)
from labsupport.methods.codes.grids import Grid, Seams, one_to_one, seam, to_cells

__all__ = [
    "LARGEST_GRID",
    "METHODS",
    "METRICS",
    "Embedding",
    "Grid",
    "Images",
    "Neighbours",
    "Progress",
    "Seams",
    "affinities",
    "code_layer",
    "codes",
    "codes_by_layer",
    "divergence",
    "embed",
    "embedding_frames",
    "fitted",
    "grid",
    "grid_shape",
    "label_agreement",
    "neighbours",
    "pixel_codes",
    "place",
    "seams",
    "trustworthiness",
]

METHODS = ("tsne", "pca")
LARGEST_GRID = 4000  # points: the one-to-one assignment grows with their third power

Images: TypeAlias = torch.Tensor | Sequence[Picture] | Sequence[torch.Tensor]
Progress: TypeAlias = Callable[[float], object]

_BATCH, _MOST_CORES = 8, 8  # images that a core takes at a time; each holds their activations
_THROUGH = frozenset({"dropout", "flatten", "identity"})  # they change nothing that a code holds


@dataclass(frozen=True)
class Neighbours:
    """The images nearest to one, the nearest first: their numbers and their distances."""

    numbers: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True)
class Embedding:
    """Codes laid out in a plane: `points` (N, 2), on the CPU, in units that mean nothing.

    `cost` is the Kullback-Leibler divergence of t-SNE (0 for a perfect map; nan before the first
    step, and for principal components). `stage` says in words what is going on; `progress` is
    0 to 1.
    """

    points: torch.Tensor
    step: int
    steps: int
    cost: float
    stage: str
    progress: float


# Codes


def code_layer(network: Network) -> str:
    """The layer whose activations are the code: what the classifier reads.

    fc7 after its ReLU in AlexNet and VGG, the pooled maps in GoogLeNet and ResNet, fire9 in
    SqueezeNet, whose classifier is a convolution.

    >>> from labsupport import networks
    >>> code_layer(networks.load())
    'fire9'
    """
    weighted = [one for one in network.operations if one.kind in ("conv", "linear")]
    by_node = {one.node: one for one in network.operations}
    node: fx.Node = weighted[-1].inputs[0]
    while by_node[node].kind in _THROUGH:
        node = by_node[node].inputs[0]
    if by_node[node].kind == "normalize":
        raise BadSetting(f"{network.name} reads its classes from the pixels: it has no code")
    return network.layer_of(node).title


def codes(
    network: Network,
    pictures: Images,
    layer: str | None = None,
    *,
    pooled: bool = True,
    progress: Progress | None = None,
) -> torch.Tensor:
    """The codes (N, D) of images at a layer (by default `code_layer`), on the CPU.

    `pictures` are images (N, 3, H, W), or a sequence of pictures that are read as they are needed
    (by several threads) and brought to the network's size. A layer with maps gives the mean of
    each map, or every position where `pooled` is False. Nothing behind the layer is computed.

    Errors: `UnknownLayer`; `BadImage`.

    >>> from labsupport import images, networks
    >>> codes(networks.load(), images.cutouts()[:2]).shape
    torch.Size([2, 512])
    """
    name = code_layer(network) if layer is None else layer
    (found,) = codes_by_layer(network, pictures, [name], pooled=pooled, progress=progress).values()
    return found


def codes_by_layer(
    network: Network,
    pictures: Images,
    layers: Sequence[str],
    *,
    pooled: bool = True,
    progress: Progress | None = None,
) -> dict[str, torch.Tensor]:
    """The same at several layers from one pass over the images, by the names asked for."""
    part = network.part(tuple(network.node(layer) for layer in layers))
    widths: list[int] = []

    def all_codes(batch: torch.Tensor) -> torch.Tensor:
        network.check(batch)
        found = [_as_codes(value, pooled) for value in part(network.send(batch))]
        widths[:] = [one.shape[1] for one in found]
        return torch.cat(found, 1)

    joined = _for_all(network, all_codes, pictures, progress)
    return dict(zip(layers, torch.split(joined, widths, 1), strict=True))


def _as_codes(value: torch.Tensor, pooled: bool) -> torch.Tensor:
    return value.flatten(2).mean(2) if pooled and value.ndim == 4 else value.flatten(1)


def pixel_codes(
    pictures: Images, *, side: int = 32, progress: Progress | None = None
) -> torch.Tensor:
    """What there is without a network: the images themselves, shrunk, as vectors (N, 3 side side).

    >>> pixel_codes(torch.zeros(2, 3, 40, 60), side=8).shape
    torch.Size([2, 192])
    """
    if side < 1:
        raise BadSetting(f"a side is at least 1 pixel, not {side}")

    def shrunk(batch: torch.Tensor) -> torch.Tensor:
        return images.resize(batch.detach(), (side, side)).flatten(1)

    if isinstance(pictures, torch.Tensor):
        images.check(pictures)
    return device.in_batches(shrunk, _prepared(pictures, (224, 224)), progress=progress)


def _for_all(
    network: Network,
    fn: Callable[[torch.Tensor], torch.Tensor],
    pictures: Images,
    progress: Progress | None,
) -> torch.Tensor:
    """`fn` on all images, a batch at a time; on a CPU each core takes batches of its own."""
    if isinstance(pictures, torch.Tensor):
        network.check(pictures)
    prepared = _prepared(pictures, network.input_size)
    cores = min(torch.get_num_threads(), _MOST_CORES)
    if network.device.type != "cpu" or cores == 1:
        return device.in_batches(fn, prepared, device=network.device, progress=progress)
    parts = []
    starts = range(0, len(prepared), _BATCH)
    for start, part in workers.in_order(
        lambda: partial(_batch, fn, prepared), starts, threads=cores
    ):
        parts.append(part)
        if progress is not None:
            progress(min(start + _BATCH, len(prepared)) / len(prepared))
    return torch.cat(parts)


def _batch(
    fn: Callable[[torch.Tensor], torch.Tensor],
    prepared: torch.Tensor | Sequence[torch.Tensor],
    start: int,
) -> torch.Tensor:
    chunk = prepared[start : start + _BATCH]
    with torch.no_grad():
        return fn(chunk if isinstance(chunk, torch.Tensor) else torch.stack(list(chunk)))


def _prepared(pictures: Images, size: Pair) -> torch.Tensor | Sequence[torch.Tensor]:
    if count_of(pictures) == 0:
        raise BadImage("there is no image: an empty set has no codes")
    return pictures if isinstance(pictures, torch.Tensor) else _Prepared(pictures, size)


class _Prepared(Sequence[torch.Tensor]):
    """Pictures as tensors (3, H, W) of one size, each read when it is asked for."""

    def __init__(self, pictures: Sequence[Picture] | Sequence[torch.Tensor], size: Pair) -> None:
        self._pictures, self._size = pictures, size

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, key: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, key: slice) -> list[torch.Tensor]: ...
    def __getitem__(self, key: int | slice) -> torch.Tensor | list[torch.Tensor]:
        if isinstance(key, slice):
            return [self[place] for place in range(*key.indices(len(self)))]
        picture = self._pictures[key]
        image = picture.image if isinstance(picture, Picture) else picture
        return fitted(image, self._size)[0]


def fitted(image: torch.Tensor, size: Pair) -> torch.Tensor:
    """An image (1, 3, H, W) in a size (height, width): shrunk until it just covers it, then cut.

    Nothing of a square picture is cut off, which the networks' standard crop would do.

    >>> fitted(torch.zeros(1, 3, 100, 200), (50, 50)).shape
    torch.Size([1, 3, 50, 50])
    """
    images.check(image)
    size = checked_size(size)
    height, width = image.shape[2:]
    scale = max(size[0] / height, size[1] / width)
    covering = (max(round(height * scale), size[0]), max(round(width * scale), size[1]))
    return images.resize(image.detach(), covering, crop=size)


# Distances


def neighbours(
    codes: torch.Tensor, number: int, *, k: int = 5, metric: str = "cosine"
) -> Neighbours:
    """The k images whose codes (N, D) are nearest to that of one image.

    `metric` is "cosine" (1 minus the cosine of the angle) or "euclidean".

    >>> neighbours(torch.tensor([[0.0], [3.0], [1.0]]), 0, k=2, metric="euclidean")
    Neighbours(numbers=(2, 1), distances=(1.0, 3.0))
    """
    codes = checked(codes)
    if not 0 <= number < len(codes):
        raise BadSetting(f"there are the images 0 to {len(codes) - 1}, not {number}")
    check_k(k, len(codes))
    rows = ready(codes, metric)
    away = distances_between(rows[number : number + 1], rows, metric)[0]
    away[number] = math.inf
    order = away.argsort(stable=True)[:k]
    return Neighbours(tuple(order.tolist()), tuple(away[order].tolist()))


def label_agreement(
    codes: torch.Tensor,
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
    check_k(k, len(codes))
    words = labels.tolist() if isinstance(labels, torch.Tensor) else list(labels)
    known = {label: place for place, label in enumerate(dict.fromkeys(words))}
    found = torch.tensor([known[label] for label in words])
    rows, same = ready(codes, metric), []
    for some in torch.split(sampled(len(rows), sample, seed), ROWS):
        away = distances_to_others(rows, some, metric)
        near = away.topk(k, dim=1, largest=False).indices
        same.append(found[near] == found[some][:, None])
    return float(torch.cat(same).double().mean())


def trustworthiness(
    codes: torch.Tensor,
    points: torch.Tensor,
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
    check_k(k, count)
    if 2 * count <= 3 * k + 1:
        raise BadSetting(f"trustworthiness of {k} neighbours needs more than {count} images")
    asked = sampled(count, sample, seed)
    rows, places = ready(codes, metric), ready(points, "euclidean")
    beyond = 0.0
    for some in torch.split(asked, ROWS):
        near = distances_to_others(places, some, "euclidean").topk(k, dim=1, largest=False).indices
        apart = distances_to_others(rows, some, metric)
        for neighbour in near.T:
            rank = (apart < apart.gather(1, neighbour[:, None])).sum(1) + 1
            beyond += float((rank - k).clamp(min=0).sum())
    worst = len(asked) * k * (2 * count - 3 * k - 1)
    return 1 - 2 * beyond / worst


# Maps


def embed(
    codes: torch.Tensor,
    *,
    method: str = "tsne",
    perplexity: float = 30.0,
    metric: str = "cosine",
    learning_rate: float | None = None,
    steps: int = 750,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Embedding:
    """Codes (N, D) in a plane: by t-SNE, or by their two principal components ("pca").

    The settings are those of `embedding_frames`; this is its last frame.

    Errors: `BadSetting` for fewer than 3 codes, and for a setting that cannot work.

    >>> groups = torch.cat([torch.eye(2).repeat(6, 1), torch.rand(12, 1) / 10], dim=1)
    >>> embed(groups, perplexity=3).points.shape
    torch.Size([12, 2])
    """
    if method == "pca":
        return _principal(checked(codes), metric)
    if method != "tsne":
        near = nearest(str(method), METHODS, 1)[0]
        raise BadSetting(f"no method {method!r}; did you mean {near!r}?")
    frames = embedding_frames(
        codes,
        perplexity=perplexity,
        metric=metric,
        learning_rate=learning_rate,
        steps=steps,
        seed=seed,
        every=25,
    )
    for frame in frames:
        if progress is not None:
            progress(frame.progress)
    return frame


def embedding_frames(
    codes: torch.Tensor,
    *,
    perplexity: float = 30.0,
    metric: str = "cosine",
    learning_rate: float | None = None,
    steps: int = 750,
    seed: int | None = None,
    every: int = 10,
) -> Iterator[Embedding]:
    """t-SNE of codes (N, D) as it goes on: a frame for each `every` steps, the first at the start.

    `perplexity` is, roughly, how many neighbours an image has; `learning_rate` None is N / 48, at
    least 50, or N / 3 where even that is less. The points start at the principal components, or,
    with a `seed`, at random. Up to 1000 points each pair is computed; above, only neighbours
    attract and a grid repels.

    Errors: `BadSetting`, as in `embed`.
    """
    codes = checked(codes)
    _check_settings(len(codes), perplexity, learning_rate, steps, every)
    rows = ready(codes, metric)
    return _frames(codes, rows, perplexity, metric, learning_rate, steps, seed, every)


def _frames(
    codes: torch.Tensor,
    rows: torch.Tensor,
    perplexity: float,
    metric: str,
    learning_rate: float | None,
    steps: int,
    seed: int | None,
    every: int,
) -> Iterator[Embedding]:
    start = _start(rows, seed)
    points = torch.from_numpy(start).float()
    search = 0.0 if len(codes) <= tsne.EXACT else 0.15  # its share of the whole time
    yield Embedding(points, 0, steps, math.nan, "start", 0.0)
    if search:
        k = min(len(codes) - 1, int(3 * perplexity))
        for part in nearest_in_parts(codes, k, metric):
            numbers, distances, share = part
            words = f"looking for neighbours, {share:.0%}"
            yield Embedding(points, 0, steps, math.nan, words, search * share)
        one_way = tsne.conditional(distances.double().square().numpy(), perplexity)
        forces: tsne.Forces = tsne.NeighboursAndGrid(numbers.numpy(), one_way)
    else:
        forces = tsne.AllPairs(affinities(codes, perplexity=perplexity, metric=metric).numpy())
    moments = tsne.descend(forces, start, learning_rate=learning_rate, steps=steps, every=every)
    early = min(tsne.EARLY, steps // 3)
    for moment in moments:
        points = torch.from_numpy(moment.points).float()
        stage = "exaggerated" if moment.step <= early else "fine"
        done = search + (1 - search) * moment.step / steps
        yield Embedding(points, moment.step, steps, moment.cost, stage, done)


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


def _start(rows: torch.Tensor, seed: int | None) -> Any:
    """The first positions (N, 2) as a numpy array: small, so that all repel all."""
    if seed is None:
        first = _components(rows)
        return (first / first[:, 0].std(correction=0).clamp(min=1e-12) * tsne.SCALE).numpy()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(rows), 2, generator=generator, dtype=torch.float64)
    return (drawn * tsne.SCALE).numpy()


def _principal(codes: torch.Tensor, metric: str) -> Embedding:
    _check_settings(len(codes), min(2.0, len(codes) - 0.5), None, 1, 1)
    points = _components(ready(codes, metric)).float()
    return Embedding(points, 1, 1, math.nan, "principal components", 1.0)


def _components(rows: torch.Tensor) -> torch.Tensor:
    """The first two principal components (N, 2), in double precision, each with a fixed sign."""
    centred = rows.double() - rows.double().mean(0)
    wide = centred.shape[1] > centred.shape[0]
    _, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    axes = centred.T @ vectors if wide else vectors
    axes = F.pad(axes.flip(1), (0, max(0, 2 - axes.shape[1])))[:, :2]
    found = centred @ F.normalize(axes, dim=0)
    signs = found.gather(0, found.abs().argmax(0)[None]).sign()
    return found * torch.where(signs == 0, 1.0, signs)


def affinities(
    codes: torch.Tensor, *, perplexity: float = 30.0, metric: str = "cosine"
) -> torch.Tensor:
    """t-SNE's p_ij of all pairs of codes: (N, N), double, symmetric, with the sum 1.

    p(j|i) is a Gaussian of the distance around i, so wide that it holds `perplexity` neighbours;
    p_ij is the mean of both ways, divided by N.
    """
    codes = checked(codes)
    _check_settings(len(codes), perplexity, None, 1, 1)
    rows = ready(codes.double(), metric)
    squared = distances_between(rows, rows, metric).square()
    squared.fill_diagonal_(math.inf)
    return torch.from_numpy(tsne.joint(squared.numpy(), perplexity))


def divergence(affinities: torch.Tensor, points: torch.Tensor) -> tuple[float, torch.Tensor]:
    """t-SNE's cost of a map (N, 2): the Kullback-Leibler divergence, and its gradient (N, 2).

    The nearness of two points in the map is 1 / (1 + squared distance), over the sum of all pairs.
    """
    if affinities.shape != (len(points), len(points)):
        raise BadSetting(f"{len(points)} points have affinities of {len(points)} x {len(points)}")
    if not bool(affinities.isfinite().all()):
        raise BadSetting("affinities are probabilities: these contain NaN or infinity")
    forces = tsne.AllPairs(affinities.detach().cpu().double().numpy())
    places = checked(points).double().numpy()
    return forces.cost(places), torch.from_numpy(forces.gradient(places))


def place(
    codes: torch.Tensor,
    points: torch.Tensor,
    new: torch.Tensor,
    *,
    k: int = 3,
    metric: str = "cosine",
) -> torch.Tensor:
    """Where new codes (M, D) belong in a map of others: (M, 2).

    t-SNE has no formula for a new image: each goes to the mean place of its k nearest images in
    code, the nearer the heavier (1 / distance). If these lie apart, so does their mean from all.
    """
    codes, new, points = checked(codes), checked(new), checked(points)
    if new.shape[1] != codes.shape[1] or len(points) != len(codes):
        raise BadSetting(
            f"codes {tuple(codes.shape)}, points {tuple(points.shape)} and new codes "
            f"{tuple(new.shape)} do not belong together: all codes come from one layer"
        )
    if not 1 <= k <= len(codes):
        raise BadSetting(f"of {len(codes)} images 1 to {len(codes)} can be asked, not {k}")
    rows = ready(torch.cat([codes, new]), metric)
    found = distances_between(rows[len(codes) :], rows[: len(codes)], metric).topk(k, largest=False)
    weights = 1 / found.values.clamp(min=1e-6)
    weights = weights / weights.sum(1, keepdim=True)
    return (points[found.indices] * weights[..., None]).sum(1)


# Grids


def grid_shape(count: int) -> Pair:
    """(rows, columns) of a grid for so many images: every cell filled, as few as can be left out.

    It is between square and twice as wide as high.

    >>> grid_shape(283)
    (14, 20)
    """
    if count < 1:
        raise BadSetting("a grid needs at least one image")
    shapes = [
        (rows, columns)
        for rows in range(1, math.isqrt(count) + 1)
        for columns in range(rows, 2 * rows + 1)
        if rows * columns <= count
    ]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], shape[0]))


def grid(points: torch.Tensor, *, shape: Pair | None = None, repeats: bool = False) -> Grid:
    """A map (N, 2) as a grid of (rows, columns), by default `grid_shape`.

    Each image gets one cell so that the sum of squared distances between places and cells is the
    smallest that there is. With `repeats`, as in cnnembed, each cell takes the nearest image
    instead: some are then shown several times, and some never.

    Errors: `BadSetting` for more than 4000 images, and for a shape that cannot be.

    >>> grid(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])).cells.tolist()
    [[2, 1], [0, 3]]
    """
    points = checked(points)
    if len(points) > LARGEST_GRID:
        raise BadSetting(
            f"{len(points)} images are too many for a grid, {LARGEST_GRID} are not: take a part, "
            "points[::3]"
        )
    rows, columns = grid_shape(len(points)) if shape is None else shape
    if rows < 1 or columns < 1 or rows * columns > 4 * LARGEST_GRID:
        raise BadSetting(f"a grid has at least one row and one column, not {rows} x {columns}")
    squared = to_cells(points, (rows, columns))
    if repeats:
        cells, least = squared.argmin(0), squared.min(0).values
        left = set(range(len(points))) - set(cells.tolist())
        return Grid(cells.view(rows, columns), float(least.mean()), tuple(sorted(left)))
    return one_to_one(squared, (rows, columns))


def seams(grid: Grid, codes: torch.Tensor, *, metric: str = "cosine") -> Seams:
    """The distances in code between the images of cells that touch.

    In a plane not all that touches is near in code: where a seam is large, two regions meet.
    """
    rows = ready(checked(codes), metric)
    if int(grid.cells.max()) >= len(rows):
        raise BadSetting(f"the grid shows image {int(grid.cells.max())}, of {len(rows)} codes")
    cells = grid.cells
    right = seam(rows, cells[:, :-1], cells[:, 1:], metric)
    return Seams(right, seam(rows, cells[:-1], cells[1:], metric))
