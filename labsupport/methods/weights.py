"""Weights: look at what a layer has learned to multiply with, without any image.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
networks", NIPS 2012, figure 3: the first layer's filters are rotated stripes and blobs of colour.
The first layer reads pixels, so its weights are pictures; every other layer reads feature maps.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labsupport.core import modes
from labsupport.core.errors import BadSetting, nearest, one_of
from labsupport.core.network import Network, Pair
from labsupport.core.network.operations import Operation, scale_and_shift

KEYS = ("number", "orientation", "frequency", "colour", "noise", "strength")
_LINEAR = frozenset({"conv", "max_pool", "avg_pool", "concat"})  # or taken as if it were
_IGNORED = frozenset({"relu", "relu6", "dropout", "identity"})  # taken as if they were not there
_SPECTRUM = 64  # samples of a spectrum along each axis: the filter with zeros around it
_HIGH = 0.25  # cycles per pixel: half of the highest frequency that pixels can hold
_STARTS = 3  # the best places of the grid, from which a fit goes on
_SEARCH = 80  # steps of a fit


@dataclass(frozen=True)
class Filters:
    """A convolution's weights as they are, on the CPU.

    `weights` is (filters, input channels, rows, columns); nothing is folded in or scaled. `colour`
    is True where the three input channels are red, green and blue. `words` says what the filters
    are multiplied with.
    """

    weights: Tensor
    layer: str
    colour: bool
    words: str


def filters(network: Network, layer: str | None = None) -> Filters:
    """The weights of one convolution, of the first one if no layer is named.

    They are what the layer itself multiplies with. The first layer reads normalized pixels,
    (x - mean) / std, and not pixels; its weights are not divided by std here.

    Errors: `UnknownLayer`; `BadSetting` for a layer that is no convolution.

    >>> from labsupport import networks
    >>> filters(networks.load("lenet5")).weights.shape
    torch.Size([6, 1, 5, 5])
    """
    convolution = _convolution_at(network, layer)
    read = network.operation(convolution.inputs[0])
    weights = _weights_of(convolution)
    title = network.layer_of(convolution.node).title
    colour = read.kind == "normalize" and weights.shape[1] == 3
    count = weights.shape[1]
    what = f"{count} channel{'s' if count > 1 else ''} of {read.node.name}"
    if read.kind == "normalize":
        what = f"red, green and blue, less {network.mean} and divided by {network.std}"
    return Filters(weights, title, colour, f"{title} multiplies {what}")


def _convolution_at(network: Network, layer: str | None) -> Operation:
    """The convolution that a layer is, the first one if none is named."""
    network.need_graph("filters")
    convolutions = [one for one in network.operations if one.kind == "conv"]
    if not convolutions:
        raise BadSetting(f"{network.name} has no convolution, so it has no filters")
    if layer is None:
        return convolutions[0]
    operation = network.operation(network.node(layer, for_weights=True))
    if operation.kind != "conv":
        titles = [network.layer_of(one.node).title for one in convolutions]
        close = ", ".join(nearest(layer, titles))
        raise BadSetting(f"{layer} is no convolution; the nearest ones are {close}")
    return operation


def _weights_of(convolution: Operation) -> Tensor:
    """A copy of its weights (filters, channels, rows, columns), on the CPU."""
    module = convolution.module
    if not isinstance(module, nn.Conv2d):
        raise BadSetting(f"{convolution.node.name} keeps its weights where they cannot be read")
    return (
        module.weight.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
    )


@dataclass(frozen=True)
class EffectiveFilter:
    """A deeper filter as a linear filter on the first convolution's input.

    `weights` is (1, C, rows, columns): with `stride` and `padding`, `conv2d` applies it. `through`
    says in words what stood between, and how it was taken.
    """

    weights: Tensor
    stride: Pair
    padding: Pair
    through: tuple[str, ...]


def effective_filter(network: Network, layer: str, channel: int) -> EffectiveFilter:
    """A deeper filter, projected back through the layers below it to the first one's input.

    Everything between is taken as linear: a ReLU as if it let all pass, a max-pool as the mean of
    its window, a batch norm as its factor. Biases are left out. Without ReLUs and max-pools the
    result is exact away from the border.

    Errors: `UnknownLayer`; `BadSetting` for a layer that is no convolution, for a channel that
    there is not, and where branches join below it.
    """
    chain = _chain(network, _convolution_at(network, layer))
    count = _weights_of(chain[0]).shape[0]
    if not 0 <= channel < count:
        raise BadSetting(f"{layer} has the filters 0 to {count - 1}, not {channel}")
    weights = torch.zeros(1, count, 1, 1)
    weights[0, channel] = 1.0
    stride, padding = (1, 1), (0, 0)
    for one in chain:
        weights = _transpose(one, weights)
        stride = (stride[0] * one.stride[0], stride[1] * one.stride[1])
        padding = (
            padding[0] * one.stride[0] + one.padding[0],
            padding[1] * one.stride[1] + one.padding[1],
        )
    return EffectiveFilter(weights, stride, padding, tuple(_in_words(network, o) for o in chain))


def _chain(network: Network, last: Operation) -> list[Operation]:
    """The operations from a convolution down to the first one, both included."""
    chain, length = [last], 1
    while chain[-1].kind not in ("normalize", "placeholder") and len(chain[-1].inputs) == 1:
        chain.append(network.operation(chain[-1].inputs[0]))
        if chain[-1].kind == "conv":
            length = len(chain)
    if len(chain[-1].inputs) > 1:
        raise BadSetting(
            f"the projection to the pixels ends at {chain[-1].node.name}, where branches join: "
            "choose a layer before it"
        )
    for one in chain[:length]:
        if one.kind not in _LINEAR | _IGNORED and not isinstance(one.module, nn.BatchNorm2d):
            raise BadSetting(f"{one.node.name}, which lies between, has no linear counterpart")
    return chain[:length]


def _transpose(one: Operation, values: Tensor) -> Tensor:
    """Coefficients of an operation's output as coefficients of its input."""
    window: dict[str, Any] = {"stride": one.stride, "dilation": one.dilation}
    if isinstance(one.module, nn.Conv2d):
        return F.conv_transpose2d(values, _weights_of(one), groups=one.module.groups, **window)
    if one.kind in ("max_pool", "avg_pool"):
        count = values.shape[1]
        mean = torch.full((count, 1, *one.kernel), 1 / math.prod(one.kernel))
        return F.conv_transpose2d(values, mean, groups=count, **window)
    if isinstance(one.module, nn.BatchNorm2d):
        scale, _ = scale_and_shift(one.module)
        return values * scale.float().cpu().view(1, -1, 1, 1)
    return values


def _in_words(network: Network, one: Operation) -> str:
    title = network.layer_of(one.node).title
    how = {"max_pool": "as a mean", "norm": "as a factor", "relu": "left out", "relu6": "left out"}
    return f"{title} {how[one.kind]}" if one.kind in how else title


# Numbers about filters


@dataclass(frozen=True)
class Measures:
    """Numbers about each filter, (filters,) each.

    `strength` is the root of the summed squares. `orientation` (0 to 180 degrees) is the direction
    of the stripes, counterclockwise from the horizontal; `frequency` (0 to 0.71 cycles per pixel)
    is where the power spectrum is largest. `opponency` (0 to 1) is the share of the squares that
    is colour and not grey, 0 where the input is no colour. `noise` (0 to 1) is the share of the
    power above 0.25 cycles per pixel: 0.80 for white noise, and never quite 0 for so few pixels.
    """

    strength: Tensor
    orientation: Tensor
    frequency: Tensor
    opponency: Tensor
    noise: Tensor


def measure(weights: Tensor) -> Measures:
    """Strength, orientation, frequency, colour opponency and noise of filters (N, C, H, W).

    Errors: `BadSetting` for another shape, or for weights that are not finite.

    >>> stripes = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).expand(1, 3, 5, 5)
    >>> measured = measure(stripes)
    >>> round(float(measured.orientation)), float(measured.frequency)
    (90, 0.5)
    """
    weights = _checked(weights)
    power = torch.fft.fft2(weights, s=(_SPECTRUM, _SPECTRUM)).abs().square().sum(1).flatten(1)
    rows, columns = _frequencies()
    radius = (rows.square() + columns.square()).sqrt()
    total = power.sum(1).clamp_min(1e-30)
    across, down, mixed = (power @ one for one in (columns**2, rows**2, rows * columns))
    wave = torch.atan2(2 * mixed, across - down) / 2  # of the waves; rows run downwards
    return Measures(
        strength=weights.flatten(1).norm(dim=1).float(),
        orientation=_orientation_of(wave).float(),
        frequency=radius[power.argmax(1)].float(),
        opponency=_opponency(weights).float(),
        noise=(power[:, radius > _HIGH].sum(1) / total).float(),
    )


def argsort(weights: Tensor, key: str) -> list[int]:
    """The numbers of the filters (N, C, H, W), sorted by one of KEYS; "strength" has the strongest
    first, the others the smallest.

    Errors: `BadSetting` for an unknown key.
    """
    one_of(key, KEYS, "key")
    measured = measure(weights)
    values = {
        "number": torch.arange(len(weights)).float(),
        "orientation": measured.orientation,
        "frequency": measured.frequency,
        "colour": measured.opponency,
        "noise": measured.noise,
        "strength": -measured.strength,
    }
    numbers: list[int] = values[key].argsort(stable=True).tolist()
    return numbers


def dead(weights: Tensor, *, share: float = 0.1) -> list[int]:
    """The filters (N, C, H, W) whose strength is under this share of the strongest one's.

    >>> dead(torch.tensor([1.0, 0.01, 0.5]).view(3, 1, 1, 1))
    [1]
    """
    strength = _checked(weights).flatten(1).norm(dim=1)
    numbers: list[int] = (strength <= share * strength.max()).nonzero().flatten().tolist()
    return numbers


def duplicates(weights: Tensor, *, least: float = 0.95) -> list[tuple[int, int, float]]:
    """Pairs of filters (N, C, H, W) that are the same up to their strength, and their cosine.

    A cosine under -`least` counts too: the same filter with the opposite sign. Dead filters have
    no direction that means anything, and are left out.

    >>> duplicates(torch.tensor([[1.0, 2.0], [2.0, 4.0], [2.0, -1.0]]).view(3, 1, 1, 2))
    [(0, 1, 1.0)]
    """
    gone = set(dead(weights))
    unit = F.normalize(_checked(weights).flatten(1), dim=1)
    cosines = unit @ unit.T
    return [
        (one, two, round(float(cosines[one, two]), 4))
        for one, two in itertools.combinations(range(len(weights)), 2)
        if abs(float(cosines[one, two])) >= least and not {one, two} & gone
    ]


def _checked(weights: Tensor) -> Tensor:
    if weights.ndim != 4 or 0 in weights.shape:
        raise BadSetting(
            f"filters are (filters, channels, rows, columns), not {tuple(weights.shape)}: "
            "one filter is weights[:1]"
        )
    if not bool(weights.isfinite().all()):
        raise BadSetting("the weights hold NaN or infinity: the training went wrong before this")
    return weights.detach().to("cpu", torch.float64)


def _frequencies() -> tuple[Tensor, Tensor]:
    """Cycles per pixel, downwards and across, of each place of the flattened spectrum."""
    steps = torch.fft.fftfreq(_SPECTRUM, dtype=torch.float64)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return rows.flatten(), columns.flatten()


def _orientation_of(wave: Tensor) -> Tensor:
    """The direction of the stripes, 0 to 180 degrees, from that of the waves, rows downwards."""
    return (90 - wave.rad2deg()).remainder(180)


def _opponency(weights: Tensor) -> Tensor:
    if weights.shape[1] != 3:
        return torch.zeros(len(weights), dtype=weights.dtype)
    total = weights.square().sum((1, 2, 3)).clamp_min(1e-30)
    grey = weights.sum(1).square().sum((1, 2)) / 3
    return (1 - grey / total).clamp(0, 1)


# Gabor filters, and what fits no better than noise does


@dataclass(frozen=True)
class GaborFit:
    """The Gabor nearest to each filter: stripes under a bell, in one colour.

    `error` (0 to 1) is the share of the filter's squares that the Gabor misses. `orientation` is
    in degrees as in `Measures`, `frequency` in cycles per pixel, `phase` in radians; `row` and
    `column` are the bell's centre counted from the filter's, `width` (across the stripes) and
    `length` (along them) its standard deviations, all in pixels. `drawn` (N, C, rows, columns)
    holds the Gabors themselves.
    """

    error: Tensor
    orientation: Tensor
    frequency: Tensor
    phase: Tensor
    row: Tensor
    column: Tensor
    width: Tensor
    length: Tensor
    drawn: Tensor


def gabor_fit(weights: Tensor) -> GaborFit:
    """Fit a Gabor to each of the filters (N, C, H, W), by least squares.

    A Gabor is exp(-u^2 / 2 width^2 - v^2 / 2 length^2) cos(2 pi frequency u + phase), u across the
    stripes and v along them, times one colour. Colour, strength and phase have closed forms; for
    the rest the best places of a grid are refined. It has six shape numbers and two more, so nine
    pixels always fit well.

    Errors: `BadSetting`, as in `measure`.
    """
    weights = _checked(weights)
    flat = weights.flatten(2)  # (N, C, pixels)
    colours, sizes, patterns = torch.linalg.svd(flat, full_matrices=False)
    main = sizes[:, :1] * patterns[:, 0]  # (N, pixels), in the filter's main colour
    shape = (weights.shape[2], weights.shape[3])
    best = _refined(_coarse(main, shape), main, shape)
    even, odd = _templates(best, shape)  # (N, pixels) each
    first, second, explained = _projected(even, odd, main)
    drawn = colours[:, :, :1] * (first[:, None] * even + second[:, None] * odd)[:, None]
    energy = flat.square().sum((1, 2)).clamp_min(1e-30)
    wave, frequency, width, aspect, row, column = best.unbind(1)
    return GaborFit(
        error=(1 - explained / energy).clamp(0, 1).float(),
        orientation=_orientation_of(wave).float(),
        frequency=frequency.float(),
        phase=torch.atan2(-second, first).float(),
        row=row.float(),
        column=column.float(),
        width=width.exp().float(),
        length=(width + aspect).exp().float(),
        drawn=drawn.view_as(weights).float(),
    )


# The fit. A row of six numbers: the waves' direction, frequency, the logarithm of the width, that
# of length / width, the centre's row and column


def _limits(shape: Pair) -> tuple[Tensor, Tensor]:
    side = max(shape)
    low = [-math.inf, 0.0, math.log(0.8), math.log(0.5), -shape[0] / 2, -shape[1] / 2]
    high = [math.inf, 0.5, math.log(2 * side), math.log(4), shape[0] / 2, shape[1] / 2]
    return torch.tensor(low).double(), torch.tensor(high).double()


def _coarse(main: Tensor, shape: Pair) -> Tensor:
    """The best places of a grid for each pattern (N, pixels): (N, starts, 6)."""
    side = max(shape)
    shifts = [place * side / 5 for place in (-1, 0, 1)]
    grid = itertools.product(
        [math.pi * step / 12 for step in range(12)],
        [0.04, 0.1, 0.16, 0.22, 0.3, 0.4],
        [math.log(max(0.8, part * side)) for part in (0.12, 0.22, 0.4)],
        [0.0, math.log(2)],
        shifts,
        shifts,
    )
    places = torch.tensor(list(grid), dtype=torch.float64)  # (K, 6)
    even, odd = _templates(places, shape)
    explained = _projected(even[None], odd[None], main[:, None])[2]  # (N, K)
    return places[explained.topk(_STARTS, dim=1).indices]


def _refined(places: Tensor, main: Tensor, shape: Pair) -> Tensor:
    """The best place for each pattern, (N, 6): each number is moved as long as that helps."""
    count = len(main)
    here = places.flatten(0, 1)  # (N * starts, 6)
    target = main.repeat_interleave(_STARTS, dim=0)[:, None]
    steps = torch.tensor([0.13, 0.03, 0.25, 0.3, 0.1 * shape[0], 0.1 * shape[1]]).double()
    moves = torch.cat([torch.zeros(1, 6), torch.eye(6), -torch.eye(6)]).double() * steps
    scale = torch.ones(len(here), 1, 1).double()
    low, high = _limits(shape)
    rows = torch.arange(len(here))
    for _ in range(_SEARCH):
        tried = (here[:, None] + scale * moves).clamp(low, high)  # (N * starts, 13, 6)
        explained = _projected(*_templates(tried, shape), target)[2]
        best = explained.argmax(1)
        here = tried[rows, best]
        scale = torch.where((best == 0)[:, None, None], scale / 2, scale)
    explained = _projected(*_templates(here, shape), target[:, 0])[2].view(count, _STARTS)
    chosen: Tensor = here.view(count, _STARTS, 6)[torch.arange(count), explained.argmax(1)]
    return chosen


def _templates(places: Tensor, shape: Pair) -> tuple[Tensor, Tensor]:
    """Cosine and sine stripes under their bell, (..., pixels) each, of places (..., 6)."""
    rows = torch.arange(shape[0]).double() - (shape[0] - 1) / 2
    columns = torch.arange(shape[1]).double() - (shape[1] - 1) / 2
    down, across = (one.flatten() for one in torch.meshgrid(rows, columns, indexing="ij"))
    wave, frequency, width, aspect, row, column = places[..., None].unbind(-2)
    down, across = down - row, across - column
    u = across * wave.cos() + down * wave.sin()
    v = down * wave.cos() - across * wave.sin()
    bell = torch.exp(-(u / width.exp()).square() / 2 - (v / (width + aspect).exp()).square() / 2)
    turn = 2 * math.pi * frequency * u
    return bell * turn.cos(), bell * turn.sin()


def _projected(even: Tensor, odd: Tensor, main: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best factors of two templates for a pattern, and how much of its squares they explain."""
    ee, oo, eo = (even * even).sum(-1), (odd * odd).sum(-1), (even * odd).sum(-1)
    ridge = 1e-9 * (ee + oo) + 1e-30  # without stripes the sine is nothing at all
    ee, oo = ee + ridge, oo + ridge
    em, om = (even * main).sum(-1), (odd * main).sum(-1)
    area = ee * oo - eo * eo
    first, second = (oo * em - eo * om) / area, (ee * om - eo * em) / area
    return first, second, first * em + second * om


modes.keep(__name__)
