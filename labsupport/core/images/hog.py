"""Histograms of oriented gradients: how pictures were described before networks learned to.

Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005. Here in torch,
so that a picture can be changed until its description is another picture's.
"""

import torch
from torch import Tensor
from torch.nn import functional

from labsupport.core.errors import BadImage, BadSetting

CELL, BLOCK, BINS = 8, 3, 9
_TINY = 1e-5  # what keeps an empty block from being divided by zero, as scikit-image has it
_CLIP = 0.2  # no direction may say more than this of its block ("L2-Hys")


def hog(images: Tensor, *, cell: int = CELL, block: int = BLOCK, bins: int = BINS) -> Tensor:
    """The HOG codes (N, D) of images (N, 3, H, W), or grey ones (N, 1, H, W); gradients flow back.

    Each pixel gives its gradient's length to one of `bins` directions (0 to 180 degrees, each up to
    but without the next one's first angle); a colour image's pixel takes the channel with the
    longest gradient, the first of equals. Cells of `cell` x `cell` pixels add them up; each block
    of `block` x `block` cells, one block a cell, is brought to length 1, cut off at 0.2, and
    brought to length 1 again. D = block rows * block columns * block * block * bins, in this order:
    that of scikit-image's `hog`, whose numbers these are. What does not fill a cell is left out.

    Where a picture is flat no derivative flows back, and a direction's choice has none: a pixel's
    says how to make the direction that it has stronger or weaker.

    Errors: `BadImage` for another shape or an image smaller than a block, `BadSetting`.

    >>> ramp = torch.linspace(0, 1, 24).expand(1, 1, 24, 24)
    >>> codes = hog(ramp)
    >>> codes.shape, codes.nonzero().shape[0]  # in 9 cells, one of nine directions
    (torch.Size([1, 81]), 9)
    """
    blocks = _blocks(cell_histograms(images, cell=cell, bins=bins), block, cell)
    return _unit(_unit(blocks).clamp_max(_CLIP)).flatten(1)


def cell_histograms(images: Tensor, *, cell: int = CELL, bins: int = BINS) -> Tensor:
    """The histogram of each cell before blocks are normalized: (N, rows, columns, bins).

    Errors: those of `hog`.
    """
    _check(images, cell, bins)
    length, direction = _gradients(images, bins)
    apart = images.new_zeros(len(images), bins, *images.shape[2:])
    apart = apart.scatter(1, direction[:, None], length[:, None])
    return functional.avg_pool2d(apart, cell).permute(0, 2, 3, 1)


def cells_of(code: Tensor, rows: int, *, block: int = BLOCK, bins: int = BINS) -> Tensor:
    """What codes (N, D) tell of each cell: (N, cell rows, cell columns, bins), the mean over the
    blocks that hold it. `rows` is the number of cell rows of the image, H // cell.

    Errors: `BadSetting` where the code has not so many rows.

    >>> cells_of(hog(torch.rand(1, 3, 40, 64)), rows=5).shape
    torch.Size([1, 5, 8, 9])
    """
    high, each = rows - block + 1, block * block * bins
    wide = code.shape[1] // (each * high) if high > 0 else 0
    if code.ndim != 2 or wide == 0 or high * wide * each != code.shape[1]:
        raise BadSetting(
            f"a code of the shape {tuple(code.shape)} is none of {rows} cell rows with blocks of "
            f"{block} x {block} cells and {bins} directions"
        )
    blocks = code.view(len(code), high, wide, block, block, bins)
    total = code.new_zeros(len(code), rows, wide + block - 1, bins)
    count = code.new_zeros(1, rows, wide + block - 1, 1)
    for down in range(block):
        for right in range(block):
            total[:, down : down + high, right : right + wide] += blocks[:, :, :, down, right]
            count[:, down : down + high, right : right + wide] += 1
    return total / count


def _gradients(images: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Each pixel's gradient (N, H, W): its length, and the number of its direction's bin."""
    down, right = torch.zeros_like(images), torch.zeros_like(images)
    down[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    right[:, :, :, 1:-1] = images[:, :, :, 2:] - images[:, :, :, :-2]
    if images.shape[1] > 1:
        strongest = _length(down.detach(), right.detach()).argmax(1, keepdim=True)
        down, right = down.gather(1, strongest), right.gather(1, strongest)
    down, right = down[:, 0], right[:, 0]
    squared = down.square() + right.square()
    flat = squared == 0  # the root has no derivative there
    length = torch.where(flat, squared, torch.where(flat, 1.0, squared).sqrt())
    return length, _bin(down.detach(), right.detach(), bins)


def _length(down: Tensor, right: Tensor) -> Tensor:
    """Rounded once, as a C library's hypot does, so that equal channels stay equal."""
    precise = _precise(down)
    return torch.hypot(down.to(precise), right.to(precise)).to(down.dtype)


def _bin(down: Tensor, right: Tensor, bins: int) -> Tensor:
    precise = _precise(down)
    angle = torch.rad2deg(torch.atan2(down.to(precise), right.to(precise))) % 180
    edges = torch.arange(1, bins, device=down.device, dtype=precise) * (180 / bins)
    return torch.bucketize(angle, edges, right=True)


def _precise(values: Tensor) -> torch.dtype:
    """Double precision, where the device has it."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def _blocks(cells: Tensor, block: int, cell: int) -> Tensor:
    """(N, block rows, block columns, block, block, bins) of cells (N, rows, columns, bins)."""
    if block < 1 or block != int(block):
        raise BadSetting(f"block is a whole number of cells from 1 on, not {block}")
    if min(cells.shape[1:3]) < block:
        raise BadImage(
            f"a block of {block} x {block} cells of {cell} pixels needs an image of "
            f"{block * cell} x {block * cell} pixels at least"
        )
    return cells.unfold(1, block, 1).unfold(2, block, 1).permute(0, 1, 2, 4, 5, 3)


def _unit(blocks: Tensor) -> Tensor:
    """Each block at length 1."""
    squared = blocks.square().sum((-3, -2, -1), keepdim=True)
    return blocks / (squared + _TINY**2).sqrt()


def _check(images: Tensor, cell: int, bins: int) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
        raise BadImage(
            f"images are (N, 3, H, W), or (N, 1, H, W) in grey, not {tuple(images.shape)} of "
            f"{images.dtype}"
        )
    for name, value in (("cell", cell), ("bins", bins)):
        if value < 1 or value != int(value):
            raise BadSetting(f"{name} is a whole number from 1 on, not {value}")
    if min(images.shape[2:]) < max(3, cell):
        raise BadImage(
            f"images of {images.shape[2]} x {images.shape[3]} pixels have no cell of "
            f"{max(3, cell)} pixels"
        )
