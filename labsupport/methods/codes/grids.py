"""Images on a grid: one cell for each, and the seams between cells that touch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from labsupport.core.network.operations import Pair


@dataclass(frozen=True)
class Grid:
    """Images on a grid. `cells` (rows, columns) holds their numbers, -1 in an empty cell.

    `cost` is the mean squared distance between an image's place in the map and its cell, in cells.
    `left_out` are the images that have none.
    """

    cells: torch.Tensor
    cost: float
    left_out: tuple[int, ...]


@dataclass(frozen=True)
class Seams:
    """How far apart in code the images of neighbouring cells are, nan beside an empty cell.

    `right` (rows, columns - 1) is the distance to the cell on the right, `below`
    (rows - 1, columns) to the one underneath.
    """

    right: torch.Tensor
    below: torch.Tensor


def to_cells(points: torch.Tensor, shape: Pair) -> torch.Tensor:
    """Squared distances (N, cells), in cells, from the map stretched over the grid."""
    low, high = points.min(0).values, points.max(0).values
    rows, columns = shape
    room = torch.tensor([columns, rows]) - 1.0
    places = (points - low) / (high - low).clamp(min=1e-12) * room
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([across.flatten(), down.flatten()], 1).double()
    return (places.double()[:, None] - centres[None]).square().sum(2)


def one_to_one(squared: torch.Tensor, shape: Pair) -> Grid:
    from scipy.optimize import linear_sum_assignment

    numbers, chosen = linear_sum_assignment(squared.numpy())
    cells = torch.full((shape[0] * shape[1],), -1)
    cells[torch.from_numpy(chosen)] = torch.from_numpy(numbers)
    cost = float(squared[numbers, chosen].mean())
    left = sorted(set(range(len(squared))) - set(np.asarray(numbers).tolist()))
    return Grid(cells.view(shape), cost, tuple(left))


def seam(rows: torch.Tensor, one: torch.Tensor, other: torch.Tensor, metric: str) -> torch.Tensor:
    pair = rows[one.clamp(min=0)], rows[other.clamp(min=0)]
    if metric == "cosine":
        found = (1 - (pair[0] * pair[1]).sum(-1)).clamp(min=0)
    else:
        found = (pair[0] - pair[1]).norm(dim=-1)
    return torch.where((one < 0) | (other < 0), math.nan, found)
