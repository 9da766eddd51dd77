"""What the numbers are that an optimization moves: the pixels, their spectrum, or its phases.

A picture moved by its Fourier coefficients changes at all scales at once, with colours that go
together as in photographs (Mordvintsev et al., "Differentiable image parameterizations", 2018).
One that is moved by their phases keeps the contrast that photographs have at each scale.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from labsupport.core import images as pictures
from labsupport.core.errors import BadSetting
from labsupport.core.network import Pair

# The square root of the covariance of the colours (red, green, blue) of the bundled photographs,
# one column for each principal colour, the first one's length 1. A test computes it again.
COLOR_CORRELATION = (
    (0.531, 0.278, -0.081),
    (0.566, 0.043, 0.142),
    (0.631, -0.273, -0.060),
)


class Parameterization(ABC):
    """A parameterization of images."""

    @abstractmethod
    def parameters(self, images: Tensor) -> Tensor:
        """The parameters (N, ...) of images (N, 3, H, W) in [0, 1]."""

    @abstractmethod
    def noise(self, size: Pair, random: torch.Generator) -> Tensor:
        """Random parameters (1, ...) for one image of this size (height, width)."""

    @abstractmethod
    def images(self, parameters: Tensor, size: Pair) -> Tensor:
        """The images (N, 3, H, W) in [0, 1] of parameters."""

    def bounded(self, parameters: Tensor) -> Tensor:
        """The parameters after a step, brought back to where they may be."""
        return parameters


@dataclass(frozen=True)
class Pixels(Parameterization):
    """Every pixel for itself; after each step they are clipped to [0, 1].

    Noise is normal, of standard deviation `sd` about a middle grey.
    """

    sd: float = 0.05

    def parameters(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last)

    def noise(self, size: Pair, random: torch.Generator) -> Tensor:
        grey = 0.5 + self.sd * torch.randn((1, 3, *size), generator=random)
        return self.parameters(grey.clamp(0, 1))

    def images(self, parameters: Tensor, _size: Pair) -> Tensor:
        return parameters

    def bounded(self, parameters: Tensor) -> Tensor:
        return parameters.clamp(0, 1)


@dataclass(frozen=True)
class Fourier(Parameterization):
    """Fourier coefficients of three uncorrelated colours, each scaled by 1 / its frequency.

    Noise has coefficients of standard deviation `sd`. A step of one size makes more `contrast`
    where that is larger; what is too large ends as black-and-white noise.
    """

    sd: float = 0.01
    contrast: float = 0.12

    def __post_init__(self) -> None:
        if not (self.sd > 0 and self.contrast > 0):
            raise BadSetting(
                f"Fourier: sd and contrast are above 0, not {self.sd} and {self.contrast}"
            )

    def parameters(self, images: Tensor) -> Tensor:
        spectrum = _spectrum(torch.logit(images.float(), eps=1e-3))
        size = (images.shape[2], images.shape[3])
        spectrum = spectrum / (self.contrast * _scale(size, images.device))
        return torch.view_as_real(spectrum).contiguous()

    def noise(self, size: Pair, random: torch.Generator) -> Tensor:
        height, width = size
        return self.sd * torch.randn((1, 3, height, width // 2 + 1, 2), generator=random)

    def images(self, parameters: Tensor, size: Pair) -> Tensor:
        scaled = torch.view_as_complex(parameters) * (
            self.contrast * _scale(size, parameters.device)
        )
        return torch.sigmoid(_mixed(scaled, size))


@dataclass(frozen=True)
class Phase(Parameterization):
    """The phases of the spectrum of three uncorrelated colours; its magnitudes never change.

    They are the mean ones of the bundled photographs, so that no frequency can grow at the others'
    cost (MACO: Fel et al., "Unlocking feature visualization for deeper networks with magnitude
    constrained optimization", 2023). Values outside [0, 1] are cut off. `contrast` is the standard
    deviation of all values of a picture before that; the photographs' own is 0.20.
    """

    contrast: float = 0.21

    def __post_init__(self) -> None:
        if not self.contrast > 0:
            raise BadSetting(f"Phase: contrast is above 0, not {self.contrast}")

    def parameters(self, images: Tensor) -> Tensor:
        return _spectrum(images.float()).angle()

    def noise(self, size: Pair, random: torch.Generator) -> Tensor:
        height, width = size
        anything = torch.rand((1, 3, height, width // 2 + 1), generator=random)
        return 2 * math.pi * (2 * anything - 1)

    def images(self, parameters: Tensor, size: Pair) -> Tensor:
        return self.unbounded(parameters, size).clamp(0, 1)

    def unbounded(self, parameters: Tensor, size: Pair) -> Tensor:
        """The images (N, 3, H, W) before values outside [0, 1] are cut off."""
        magnitudes, mean = _of_photographs(size, parameters.device)
        spectrum = torch.polar(magnitudes.expand_as(parameters), _of_real(parameters, size[1]))
        return mean + self.contrast * _mixed(spectrum, size)


def _spectrum(images: Tensor) -> Tensor:
    """The spectrum (N, 3, H, W // 2 + 1) of three uncorrelated colours."""
    apart = torch.einsum("kc,nchw->nkhw", _colours(images.device, inverse=True), images)
    spectrum: Tensor = torch.fft.rfft2(apart, norm="ortho")
    return spectrum


def _mixed(spectrum: Tensor, size: Pair) -> Tensor:
    """The image (N, 3, H, W) of a spectrum of three uncorrelated colours."""
    apart = torch.fft.irfft2(spectrum, size, norm="ortho")
    return torch.einsum("ck,nkhw->nchw", _colours(spectrum.device), apart)


def _of_real(phases: Tensor, width: int) -> Tensor:
    """Phases (N, 3, H, W // 2 + 1) as real images have them: where the columns of a frequency and
    of its opposite are the same one, they are opposite too."""
    both = [0] if width % 2 else [0, -1]
    own = phases[..., both]
    result = phases.clone()
    result[..., both] = (own - own.flip(-2).roll(1, -2)) / 2
    return result


@lru_cache(maxsize=16)
def _of_photographs(size: Pair, device: torch.device) -> tuple[Tensor, Tensor]:
    """The mean magnitudes (3, H, W // 2 + 1) of the bundled photographs, without the constant part,
    for images of standard deviation 1; and the photographs' mean colour (3, 1, 1)."""
    photographs = pictures.photos()
    magnitudes, mean = torch.zeros(3, size[0], size[1] // 2 + 1), torch.zeros(3)
    for photograph in photographs:
        fitted = pictures.resize(photograph.image, max(size), crop=size)
        magnitudes += _spectrum(fitted)[0].abs() / len(photographs)
        mean += fitted.mean((0, 2, 3)) / len(photographs)
    magnitudes[:, 0, 0] = 0
    some = _mixed(torch.polar(magnitudes, torch.zeros_like(magnitudes))[None], size)
    scaled = magnitudes / some.std().clamp_min(torch.finfo(some.dtype).tiny)
    return scaled.to(device), mean[:, None, None].to(device)


@lru_cache(maxsize=16)
def _scale(size: Pair, device: torch.device) -> Tensor:
    """1 / frequency (cycles per pixel), (H, W // 2 + 1); the constant part as the lowest one."""
    height, width = size
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
    frequency = (rows.square() + columns.square()).sqrt()
    scale: Tensor = 1 / frequency.clamp_min(1 / max(size))
    return scale.to(device)


@lru_cache(maxsize=16)
def _colours(device: torch.device, *, inverse: bool = False) -> Tensor:
    mixing = torch.tensor(COLOR_CORRELATION)
    return (torch.linalg.inv(mixing) if inverse else mixing).to(device)
