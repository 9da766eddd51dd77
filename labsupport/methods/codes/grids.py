"""Images on a grid: one cell for each, and how far apart in code touching cells are."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.network import Pair
from labsupport.methods.codes.distances import checked, normalized

LARGEST_GRID = 4000  # points: the one-to-one assignment grows with their third power


@dataclass(frozen=True)
class Grid:
    """Images on a grid. `cells` (rows, columns) holds their numbers, -1 in an empty cell.

    `cost` is the mean squared distance between an image's place in the map and its cell, in cells.
    `left_out` are the images that have none.
    """

    cells: Tensor
    cost: float
    left_out: tuple[int, ...]


@dataclass(frozen=True)
class UMatrix:
    """How far apart in code the images of touching cells are, nan beside an empty cell.

    Ultsch and Siemon, "Kohonen's self organizing feature maps for exploratory data analysis",
    1990: where a distance is large, two regions of the map meet.

    `right` (rows, columns - 1) is the distance to the cell on the right, `below`
    (rows - 1, columns) to the one underneath.
    """

    right: Tensor
    below: Tensor


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


def grid(points: Tensor, *, shape: Pair | None = None, repeats: bool = False) -> Grid:
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
    squared = squared_distances_to_cells(points, (rows, columns))
    if repeats:
        cells, least = squared.argmin(0), squared.min(0).values
        left = set(range(len(points))) - set(cells.tolist())
        return Grid(cells.view(rows, columns), float(least.mean()), tuple(sorted(left)))
    return _one_to_one(squared, (rows, columns))


def u_matrix(grid: Grid, codes: Tensor, *, metric: str = "cosine") -> UMatrix:
    """The distances in code between the images of cells that touch.

    In a plane not all that touches is near in code.

    Errors: `BadSetting` for a grid with more images than codes.
    """
    vectors, cells = normalized(checked(codes), metric), grid.cells
    if int(cells.max()) >= len(vectors):
        raise BadSetting(f"the grid shows image {int(cells.max())}, of {len(vectors)} codes")
    right = _distances(vectors, cells[:, :-1], cells[:, 1:], metric)
    return UMatrix(right, _distances(vectors, cells[:-1], cells[1:], metric))


def squared_distances_to_cells(points: Tensor, shape: Pair) -> Tensor:
    """Squared distances (N, cells), in cells, from the map stretched over the grid."""
    low, high = points.min(0).values, points.max(0).values
    rows, columns = shape
    room = torch.tensor([columns, rows]) - 1.0
    places = (points - low) / (high - low).clamp(min=1e-12) * room
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([across.flatten(), down.flatten()], 1).double()
    return (places.double()[:, None] - centres[None]).square().sum(2)


def _one_to_one(squared: Tensor, shape: Pair) -> Grid:
    from scipy.optimize import linear_sum_assignment

    numbers, chosen = linear_sum_assignment(squared.numpy())
    cells = torch.full((shape[0] * shape[1],), -1)
    cells[torch.from_numpy(chosen)] = torch.from_numpy(numbers)
    cost = float(squared[numbers, chosen].mean())
    left = sorted(set(range(len(squared))) - set(np.asarray(numbers).tolist()))
    return Grid(cells.view(shape), cost, tuple(left))


def _distances(vectors: Tensor, one: Tensor, other: Tensor, metric: str) -> Tensor:
    """The distance of each pair of images, whose numbers are given; nan where one is -1."""
    first, second = vectors[one.clamp(min=0)], vectors[other.clamp(min=0)]
    if metric == "cosine":
        distances = (1 - (first * second).sum(-1)).clamp(min=0)
    else:
        distances = (first - second).norm(dim=-1)
    return torch.where((one < 0) | (other < 0), math.nan, distances)
