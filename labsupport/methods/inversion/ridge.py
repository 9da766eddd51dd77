"""Where an inversion may begin: the colours that other pictures have where a code is like this."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from labsupport.core import images as pictures
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.frames import Stepwise, framed, last_of
from labsupport.core.network import Network, Pair
from labsupport.methods.inversion.search import Code
from labsupport.methods.optimize.distances import codes_of

_BLOCKS = 52  # along a side of the picture that is read from a code, before it is enlarged
_RANGE = (0.03, 0.97)  # of the colours: at 0 and 1 a sigmoid has no gradient to leave them by


@dataclass(frozen=True)
class RidgeFrame(Stepwise):
    """The start (N, 3, H, W), grey until all `steps` pictures have been seen."""

    image: Tensor
    step: int
    steps: int


def _image_of(frames: Iterator[RidgeFrame]) -> Tensor:
    return last_of(frames).image


@framed(result=_image_of)
def ridge_start(
    network: Network, code: Code, *, others: Tensor | None = None, strength: float = 1.0
) -> Iterator[RidgeFrame]:
    """A blurred picture (N, 3, H, W) for `invert(start=...)`, read from the code by a linear map.

    Ridge regression from the code at a position (and its row) to the colours there, fitted in
    closed form on other pictures and their mirror images. So they supply the prior, as in
    Dosovitskiy and Brox, "Inverting visual representations with convolutional networks", CVPR 2016,
    who train a network for it.

    `others` are images (N, 3, H, W) of the code's size, by default the bundled photos and
    paintings. The one whose mean code is nearest to the given code's is left out, with its mirror
    image: where the code is of one of these pictures, it is that picture, which would give itself
    away. `strength` weighs the squared coefficients, in units of one position's mean square. A
    network keeps what was fitted on the bundled pictures, for the next code of the same layer.
    `.frames` has a frame for each picture that was seen.

    Errors: `BadSetting` for a code without a map or kept in part, for fewer than two others, and
    for a strength of 0 or less; `BadImage`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> from labsupport.methods.inversion import encode
    >>> network = networks.wrap(nn.Sequential(nn.Conv2d(3, 6, 2, 2), nn.Flatten(),
    ...     nn.Linear(96, 5)), input_size=8)
    >>> code = encode(network, torch.rand(1, 3, 8, 8), "0")
    >>> ridge_start(network, code, others=torch.rand(4, 3, 8, 8)).shape
    torch.Size([1, 3, 8, 8])
    """
    _check(code, others, strength)
    seen = _Bundled(code.size) if others is None else torch.split(others.detach(), 1)
    fit: list[_Fit] = []
    if others is None:
        fit = network.remember(("ridge start", code.layer, code.size), list)
    return _frames(network, code, seen, strength, fit)


def _frames(
    network: Network, code: Code, seen: Sequence[Tensor], strength: float, fit: list[_Fit]
) -> Iterator[RidgeFrame]:
    image = torch.full((len(code), 3, *code.size), 0.5)
    if not fit:
        running = _Fit()
        for step, picture in enumerate(seen, start=1):
            running.add(*_rows(network, code, picture))
            yield RidgeFrame(image, step, len(seen) + 1)
        fit.append(running)
    starts = []
    for values in torch.split(code.values, 1):
        nearest = fit[0].nearest(values)
        weights = fit[0].without(*_rows(network, code, seen[nearest]), strength)
        starts.append(_read(values, weights, code.size))
    yield RidgeFrame(torch.cat(starts), len(seen) + 1, len(seen) + 1)


class _Fit:
    """What ridge regression needs of all rows (R, D) and their colours (R, 3 b b): the sums of
    their products, in double precision, so that one picture's can be taken off again."""

    def __init__(self) -> None:
        self.squares, self.products = torch.zeros(()), torch.zeros(())  # (D, D), (D, 3 b b)
        self.count = 0
        self.means: list[Tensor] = []  # for each picture and its mirror image, (2, D)

    def add(self, rows: Tensor, colours: Tensor) -> None:
        squares, products = _products(rows, colours)
        self.squares, self.products = self.squares + squares, self.products + products
        self.count += len(rows)
        self.means.append(torch.stack([half.mean(0) for half in rows.chunk(2)]))

    def nearest(self, values: Tensor) -> int:
        """The picture whose mean code, or whose mirror image's, is nearest to these values'."""
        mean = _features(values).mean(0)
        apart = [float((pair - mean).square().sum(1).min()) for pair in self.means]
        return apart.index(min(apart))

    def without(self, rows: Tensor, colours: Tensor, strength: float) -> Tensor:
        """The coefficients (D, 3 b b) that are fitted on everything but these rows."""
        squares, products = _products(rows, colours)
        squares = self.squares - squares
        ridge = strength * squares.diagonal().mean() / (self.count - len(rows))
        factor = torch.linalg.cholesky(squares + ridge * torch.eye(len(squares)).double())
        return torch.cholesky_solve(self.products - products, factor).float()


def _products(rows: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    return (rows.T @ rows).double(), (rows.T @ colours).double()


def _rows(network: Network, code: Code, picture: Tensor) -> tuple[Tensor, Tensor]:
    """The features (R, D) at all positions of a picture and its mirror image, and the colours
    (R, 3 b b) of the b x b blocks there."""
    pair = torch.cat([picture, picture.flip(3)])
    values = codes_of(network, code.layer, pair)
    if values.shape[1:] != code.values.shape[1:]:
        raise BadSetting(
            f"the code is {tuple(code.values.shape[1:])}, but {code.title} of {network.name} gives "
            f"{tuple(values.shape[1:])} for images of {code.size[0]} x {code.size[1]} pixels"
        )
    height, width = values.shape[2:]
    block = _block(values)
    small = functional.interpolate(pair, (height * block, width * block), mode="area")
    return _features(values), _by_position(functional.pixel_unshuffle(small, block))


def _features(values: Tensor) -> Tensor:
    """Codes (N, C, H, W) by position (N H W, C + 3), with the row, its square, and 1."""
    row = torch.linspace(-1, 1, values.shape[2])[:, None].expand_as(values[:, :1])
    return _by_position(torch.cat([values, row, row.square(), torch.ones_like(row)], 1))


def _read(values: Tensor, weights: Tensor, size: Pair) -> Tensor:
    """The picture (1, 3, *size) that a code (1, C, H, W) gives, blurred and enlarged."""
    height, width = values.shape[2:]
    blocks = (_features(values) @ weights).view(1, height, width, -1).permute(0, 3, 1, 2)
    image = functional.pixel_shuffle(blocks, _block(values))
    wide = _block(values) // 4 * 2 + 3  # odd; at the border of two positions the colours would jump
    for side in (wide, wide - 2):
        image = functional.avg_pool2d(image, side, 1, side // 2, count_include_pad=False)
    return functional.interpolate(image, size, mode="bicubic").clamp(*_RANGE)


def _block(values: Tensor) -> int:
    """How many colours stand along a side of a position's place in the picture."""
    return max(1, round(_BLOCKS / max(values.shape[2:])))


def _by_position(maps: Tensor) -> Tensor:
    """(N, C, H, W) as (N H W, C)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


class _Bundled(Sequence[Tensor]):
    """The bundled photos and paintings as images (1, 3, *size), read when they are asked for."""

    def __init__(self, size: Pair) -> None:
        self._size, self._pictures = size, [*pictures.photos(), *pictures.paintings()]

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: Any) -> Any:
        square = pictures.standard(self._pictures[place], max(self._size))
        return pictures.resize(square, max(self._size), crop=self._size)


def _check(code: Code, others: Tensor | None, strength: float) -> None:
    if code.values.ndim != 4:
        raise BadSetting(
            f"the code at {code.title} has no map, so nothing in it says where a color is: take "
            "the code of a layer with a map"
        )
    if code.mask is not None:
        raise BadSetting("a start is read from a whole code, and this one is kept in part")
    if not (strength > 0 and math.isfinite(strength)):
        raise BadSetting(f"the strength is above 0, not {strength}")
    if others is None:
        return
    pictures.check(others)
    if tuple(others.shape[2:]) != code.size:
        raise BadImage(
            f"the others must have the size of the code's image, {code.size}, not "
            f"{tuple(others.shape[2:])}: images.resize(others, ...)"
        )
    if len(others) < 2:
        raise BadSetting("one of the others is left out, so there must be two at least, not 1")
