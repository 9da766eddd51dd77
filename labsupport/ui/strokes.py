"""Histograms of oriented gradients as strokes, one for each direction of an edge."""

import math

from PIL import Image, ImageDraw
from torch import Tensor

from labsupport.core.images import hog

_REACH = 0.44  # of a cell's side, from its middle
_WIDTH = 3  # pixels of the sheet, which is twice as large as the picture


def hog_strokes(code: Tensor, rows: int, side: float, *, block: int, bins: int) -> Image.Image:
    """The HOG code (1, D) of an image with so many rows of cells, each cell `side` pixels large.

    In each cell there is one stroke along each direction of an edge, the brighter the more of it
    there is; the strongest lie on top. An edge runs across its gradient.

    Errors: `BadSetting` where the code has not so many rows.
    """
    cells = hog.cells_of(code, rows, block=block, bins=bins)[0]  # (rows, columns, bins)
    strengths, columns = cells / (float(cells.max()) or 1.0), cells.shape[1]
    cell = 2 * side  # drawn twice as large and then halved, so that slanted lines are smooth
    sheet = Image.new("L", (round(columns * cell), round(rows * cell)))
    pen = ImageDraw.Draw(sheet)
    for place in strengths.flatten().argsort().tolist():
        row, column, number = place // (columns * bins), place // bins % columns, place % bins
        angle = math.pi * (number + 0.5) / bins + math.pi / 2
        x, y = (column + 0.5) * cell, (row + 0.5) * cell
        across, down = _REACH * cell * math.cos(angle), _REACH * cell * math.sin(angle)
        ends = (x - across, y - down, x + across, y + down)
        pen.line(ends, fill=round(255 * float(strengths[row, column, number])), width=_WIDTH)
    return sheet.reduce(2).convert("RGB")
