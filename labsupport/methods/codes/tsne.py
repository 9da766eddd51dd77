"""The engine of t-SNE: affinities, forces and the descent, in numpy, one frame at a time.

van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008. Few points: every pair is
computed. Many: only neighbours attract (van der Maaten 2014), and the repulsion of all by all is a
convolution on a grid, done by Fourier transform (Linderman, Rachh, Hoskins, Steinerberger and
Kluger, "Fast interpolation-based t-SNE", 2019).
"""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT = 1000  # points, up to which every pair is computed
EARLY, EXAGGERATION = 250, 12.0  # the first steps, in which neighbours attract more strongly
SCALE = 1e-4  # standard deviation of the first positions
_TINY = 1e-12
_SPACING = 0.4  # of the grid; the forces' length scale is 1
_BISECTIONS = 50


class Forces(Protocol):
    """What a descent needs of the points' affinities."""

    def gradient(self, points: Floats, exaggeration: float) -> Floats: ...
    def cost(self, points: Floats) -> float: ...


def conditional(squared: Floats, perplexity: float) -> Floats:
    """p(j|i) from squared distances (N, M), infinite for a point to itself.

    Each row's Gaussian has the width at which 2 to the power of its entropy is the perplexity.
    """
    nearest = squared.min(axis=1, keepdims=True)
    ahead = squared - nearest
    known = np.isfinite(ahead)
    spread = np.where(known, ahead, 0).sum(1, keepdims=True) / known.sum(1, keepdims=True)
    ahead = ahead / np.maximum(spread, _TINY)
    low, high = np.full((len(ahead), 1), -25.0), np.full((len(ahead), 1), 25.0)
    flat = np.where(known, ahead, 0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2  # the logarithm of 1 / (2 sigma^2)
        weights = np.exp(-ahead * np.exp(middle))
        total = weights.sum(1, keepdims=True)
        entropy = np.log(total) + np.exp(middle) * (weights * flat).sum(1, keepdims=True) / total
        wide = entropy > math.log(perplexity)
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    weights = np.exp(-ahead * np.exp((low + high) / 2))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def joint(squared: Floats, perplexity: float) -> Floats:
    """The symmetric affinities p_ij (N, N) of all pairs; they add up to 1."""
    one_way = conditional(squared, perplexity)
    return np.asarray((one_way + one_way.T) / (2 * len(one_way)))


class AllPairs:
    """Forces between all points, each pair computed."""

    def __init__(self, affinities: Floats) -> None:
        self.affinities = affinities

    def gradient(self, points: Floats, exaggeration: float = 1.0) -> Floats:
        near = _student_t(points)
        pull = (exaggeration * self.affinities - near / near.sum()) * near
        return np.asarray(4 * (pull.sum(1, keepdims=True) * points - pull @ points))

    def cost(self, points: Floats) -> float:
        near = _student_t(points)
        shown = np.maximum(near / near.sum(), _TINY)
        wanted = np.maximum(self.affinities, _TINY)
        return float((self.affinities * np.log(wanted / shown)).sum())


def _student_t(points: Floats) -> Floats:
    """Student's t kernel, 1 / (1 + squared distance), of all pairs (N, N); 0 on the diagonal."""
    lengths = np.square(points).sum(1)
    squared = lengths[:, None] + lengths[None] - 2 * points @ points.T
    near = 1 / (1 + np.maximum(squared, 0))
    np.fill_diagonal(near, 0)
    return np.asarray(near)


class NeighboursAndGrid:
    """Attraction along the edges of a neighbour graph, repulsion by a grid."""

    def __init__(self, neighbours: NDArray[np.intp], one_way: Floats) -> None:
        """`neighbours` (N, M) and their p(j|i) (N, M)."""
        from scipy import sparse

        count, most = neighbours.shape
        starts = np.arange(0, count * most + 1, most)
        graph = sparse.csr_matrix((one_way.ravel(), neighbours.ravel(), starts), (count, count))
        both = sparse.triu(graph + graph.T, k=1).tocoo()
        self._rows, self._columns, self._count = both.row, both.col, count
        self._shares: Floats = both.data / (2 * count)  # p_ij of each pair, counted once
        self._repulsion = FourierRepulsion()

    def gradient(self, points: Floats, exaggeration: float = 1.0) -> Floats:
        push, total = self._repulsion.of(points)
        return np.asarray(4 * (exaggeration * self._attraction(points) - push / total))

    def cost(self, points: Floats) -> float:
        _, total = self._repulsion.of(points)
        apart = points[self._rows] - points[self._columns]
        shown = 1 / (1 + np.square(apart).sum(1)) / total
        return float(2 * (self._shares * np.log(np.maximum(self._shares, _TINY) / shown)).sum())

    def _attraction(self, points: Floats) -> Floats:
        """The sum of p_ij (y_i - y_j) / (1 + distance^2) over j, (N, 2)."""
        attraction = np.empty_like(points)
        apart = [points[self._rows, axis] - points[self._columns, axis] for axis in (0, 1)]
        strength = self._shares / (1 + apart[0] ** 2 + apart[1] ** 2)
        for axis in (0, 1):
            force = strength * apart[axis]
            attraction[:, axis] = np.bincount(self._rows, force, self._count)
            attraction[:, axis] -= np.bincount(self._columns, force, self._count)
        return attraction


class FourierRepulsion:
    """The repulsion of all points by all, as a convolution on a grid of nodes 0.4 apart.

    Charges are spread over the nodes and potentials are read from them with cubic B-splines, so
    between the nodes the kernel is a cubic spline through its values there: the forces are right
    to within 1 %.
    """

    def __init__(self) -> None:
        self._kernels: dict[int, NDArray[np.float32]] = {}

    def of(self, points: Floats) -> tuple[Floats, float]:
        """The sum of (y_i - y_j) / (1 + d^2)^2 over j, (N, 2), and of 1 / (1 + d^2) over pairs."""
        from scipy import fft

        centred = points - (points.max(0) + points.min(0)) / 2
        side = 32 * math.ceil((2 * np.abs(centred).max() / _SPACING + 6) / 32)
        spread = self._splines(centred / _SPACING + side / 2, side)
        charges = np.column_stack([np.ones(len(points)), centred])
        onto = (spread.T @ charges).T.reshape(3, side, side).astype(np.float32)
        waves = fft.rfft2(onto, (2 * side, 2 * side))
        plain, square = self._kernel(side)
        answers = np.concatenate([waves * square, waves[:1] * plain])
        fields = fft.irfft2(answers, (2 * side, 2 * side))[:, :side, :side]
        felt = spread @ fields.reshape(4, -1).T  # (N, 4)
        push = centred * felt[:, :1] - felt[:, 1:3]
        return push, float(felt[:, 3].sum()) - len(points)

    def _splines(self, places: Floats, side: int) -> Any:
        """The weights of the 4 x 4 nodes around each place: a sparse matrix (N, side * side)."""
        from scipy import sparse

        first = np.floor(places).astype(np.int32)
        t = (places - first)[..., None]
        powers = np.concatenate([t**0, t, t**2, t**3], axis=2)
        weights = powers @ _B_SPLINE  # (N, 2, 4)
        offsets = np.arange(-1, 3, dtype=np.int32)
        rows = (first[:, :1] + offsets)[:, :, None] * np.int32(side)
        nodes = rows + (first[:, 1:] + offsets)[:, None, :]
        both = weights[:, 0, :, None] * weights[:, 1, None, :]
        starts = np.arange(0, 16 * len(places) + 1, 16, dtype=np.int32)
        shape = (len(places), side * side)
        return sparse.csr_matrix((both.ravel(), nodes.ravel(), starts), shape)

    def _kernel(self, side: int) -> NDArray[np.float32]:
        """The spectra of 1 / (1 + d^2) and of its square, made to fit the splines."""
        if side not in self._kernels:
            from scipy import fft

            steps = np.arange(2 * side)
            across = np.square(np.minimum(steps, 2 * side - steps) * _SPACING)
            plain = 1 / (1 + across[:, None] + across[None])
            spectra = fft.rfft2(np.stack([plain, plain**2])).real
            soft = (2 + np.cos(np.pi * steps / side)) / 3  # the spectrum of a sampled B-spline
            spectra /= np.square(soft[:, None] * soft[None, : side + 1])
            waves = spectra.astype(np.float32)  # twice as fast, and far finer than the splines
            if len(self._kernels) > 4:
                self._kernels.clear()
            self._kernels[side] = waves
        return self._kernels[side]


# powers of the place between two nodes (0 to 1) times this: the weights of the four nodes around
_B_SPLINE = np.array([[1.0, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6


def descend(
    forces: Forces, start: Floats, learning_rate: float | None, steps: int, every: int
) -> Iterator[tuple[int, Floats, float]]:
    """Gradient descent with momentum and a gain for each coordinate, as in the paper.

    After every `every` steps and after the last one: how many there were, the positions (N, 2) and
    their Kullback-Leibler divergence.
    """
    points = start.copy()
    early = min(EARLY, steps // 3)
    rate = learning_rate or max(len(points) / EXAGGERATION / 4, min(50.0, len(points) / 3))
    for step in range(1, steps + 1):
        if step in (1, early + 1):
            velocity, gains = np.zeros_like(points), np.ones_like(points)
        exaggeration, momentum = (EXAGGERATION, 0.5) if step <= early else (1.0, 0.8)
        gradient = forces.gradient(points, exaggeration)
        gains = np.maximum(np.where(velocity * gradient < 0, gains + 0.2, gains * 0.8), 0.01)
        velocity = momentum * velocity - rate * gains * gradient
        points = points + velocity
        if step % every == 0 or step == steps:
            yield step, points, forces.cost(points)
