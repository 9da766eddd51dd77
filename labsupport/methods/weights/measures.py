"""Numbers about filters: how strong, how fine, how colourful, how noisy they are."""

import itertools
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from labsupport.core.errors import BadSetting, nearest

KEYS = ("number", "orientation", "frequency", "colour", "noise", "strength")

_SPECTRUM = 64  # samples of a spectrum along each axis: the filter with zeros around it
_HIGH = 0.25  # cycles per pixel: half of the highest frequency that pixels can hold


@dataclass(frozen=True)
class Measures:
    """Numbers about each filter, (filters,) each.

    `strength` is the root of the summed squares. `orientation` (0 to 180 degrees) is the direction
    of the stripes, counterclockwise from the horizontal; `frequency` (0 to 0.71 cycles per pixel)
    is where the power spectrum is largest. `opponency` (0 to 1) is the share of the squares that
    is colour and not grey, 0 where the input is no colour. `noise` (0 to 1) is the share of the
    power above 0.25 cycles per pixel: 0.80 for white noise, and never quite 0 for so few pixels.
    """

    strength: torch.Tensor
    orientation: torch.Tensor
    frequency: torch.Tensor
    opponency: torch.Tensor
    noise: torch.Tensor


def measure(weights: torch.Tensor) -> Measures:
    """Strength, orientation, frequency, colour opponency and noise of filters (N, C, H, W).

    Errors: `BadSetting` for another shape, or for weights that are not finite.

    >>> stripes = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).expand(1, 3, 5, 5)
    >>> measured = measure(stripes)
    >>> round(float(measured.orientation)), float(measured.frequency)
    (90, 0.5)
    """
    weights = checked(weights)
    power = torch.fft.fft2(weights, s=(_SPECTRUM, _SPECTRUM)).abs().square().sum(1).flatten(1)
    rows, columns = _frequencies()
    radius = (rows.square() + columns.square()).sqrt()
    total = power.sum(1).clamp_min(1e-30)
    across, down, mixed = (power @ one for one in (columns**2, rows**2, rows * columns))
    wave = torch.atan2(2 * mixed, across - down) / 2  # of the waves; rows run downwards
    return Measures(
        strength=weights.flatten(1).norm(dim=1).float(),
        orientation=orientation_of(wave).float(),
        frequency=radius[power.argmax(1)].float(),
        opponency=_opponency(weights).float(),
        noise=(power[:, radius > _HIGH].sum(1) / total).float(),
    )


def argsort(weights: torch.Tensor, key: str) -> list[int]:
    """The numbers of the filters (N, C, H, W), sorted by one of KEYS; "strength" has the strongest
    first, the others the smallest.

    Errors: `BadSetting` for an unknown key.
    """
    if key not in KEYS:
        raise BadSetting(f"no sorting key {key!r}; did you mean {nearest(key, KEYS, 1)[0]!r}?")
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


def dead(weights: torch.Tensor, *, share: float = 0.1) -> list[int]:
    """The filters (N, C, H, W) whose strength is under this share of the strongest one's.

    >>> dead(torch.tensor([1.0, 0.01, 0.5]).view(3, 1, 1, 1))
    [1]
    """
    strength = checked(weights).flatten(1).norm(dim=1)
    numbers: list[int] = (strength <= share * strength.max()).nonzero().flatten().tolist()
    return numbers


def duplicates(weights: torch.Tensor, *, least: float = 0.95) -> list[tuple[int, int, float]]:
    """Pairs of filters (N, C, H, W) that are the same up to their strength, and their cosine.

    A cosine under -`least` counts too: the same filter with the opposite sign. Dead filters have
    no direction that means anything, and are left out.

    >>> duplicates(torch.tensor([[1.0, 2.0], [2.0, 4.0], [2.0, -1.0]]).view(3, 1, 1, 2))
    [(0, 1, 1.0)]
    """
    gone = set(dead(weights))
    unit = F.normalize(checked(weights).flatten(1), dim=1)
    cosines = unit @ unit.T
    return [
        (one, two, round(float(cosines[one, two]), 4))
        for one, two in itertools.combinations(range(len(weights)), 2)
        if abs(float(cosines[one, two])) >= least and not {one, two} & gone
    ]


def checked(weights: torch.Tensor) -> torch.Tensor:
    if weights.ndim != 4 or 0 in weights.shape:
        raise BadSetting(
            f"filters are (filters, channels, rows, columns), not {tuple(weights.shape)}: "
            "one filter is weights[:1]"
        )
    if not bool(weights.isfinite().all()):
        raise BadSetting("the weights hold NaN or infinity: the training went wrong before this")
    return weights.detach().to("cpu", torch.float64)


def _frequencies() -> tuple[torch.Tensor, torch.Tensor]:
    """Cycles per pixel, downwards and across, of each place of the flattened spectrum."""
    steps = torch.fft.fftfreq(_SPECTRUM, dtype=torch.float64)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return rows.flatten(), columns.flatten()


def orientation_of(wave: torch.Tensor) -> torch.Tensor:
    """The direction of the stripes, 0 to 180 degrees, from that of the waves, rows downwards."""
    return (90 - wave.rad2deg()).remainder(180)


def _opponency(weights: torch.Tensor) -> torch.Tensor:
    if weights.shape[1] != 3:
        return torch.zeros(len(weights), dtype=weights.dtype)
    total = weights.square().sum((1, 2, 3)).clamp_min(1e-30)
    grey = weights.sum(1).square().sum((1, 2)) / 3
    return (1 - grey / total).clamp(0, 1)
