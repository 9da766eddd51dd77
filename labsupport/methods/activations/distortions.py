"""Pictures turned, scaled, shifted, made brighter and noisy, and where each point goes."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.images import check

LIMITS = {
    "rotate": (-180.0, 180.0),
    "right": (-math.inf, math.inf),
    "down": (-math.inf, math.inf),
    "scale": (0.1, 10.0),
    "brightness": (0.0, 10.0),
    "noise": (0.0, 1.0),
}


@dataclass(frozen=True)
class Distortion:
    """What is done to a picture, in this order: scaled and turned about its middle, shifted, made
    brighter, covered with noise. As it stands it changes nothing.

    `rotate` is in degrees clockwise, `right` and `down` in pixels; `scale` and `brightness` are
    factors, `noise` is a standard deviation on the scale from black (0) to white (1).

    Errors: `BadSetting` for a number that is none, or outside its limits.
    """

    rotate: float = 0.0
    right: float = 0.0
    down: float = 0.0
    scale: float = 1.0
    brightness: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            low, high = LIMITS[name]
            if not (math.isfinite(value) and low <= value <= high):
                ends = "a finite number" if math.isinf(low) else f"from {low:g} to {high:g}"
                raise BadSetting(f"{name} is {ends}, not {value}")

    @property
    def moves(self) -> bool:
        """Whether anything in the picture changes its place."""
        return (self.rotate, self.right, self.down, self.scale) != (0.0, 0.0, 0.0, 1.0)

    @property
    def words(self) -> str:
        """What is done, in words; "untouched" if nothing is."""
        parts = {
            f"turned by {_signed(self.rotate)}°": self.rotate != 0,
            f"shifted by {_signed(self.right)} px": self.right != 0,
            f"lowered by {_signed(self.down)} px": self.down != 0,
            f"scaled by {self.scale:g}": self.scale != 1,
            f"brightness times {self.brightness:g}": self.brightness != 1,
            f"noise {self.noise:g}": self.noise != 0,
        }
        return ", ".join(words for words, there in parts.items() if there) or "untouched"

    def sources(self, points: Tensor, middle: tuple[float, float]) -> Tensor:
        """Where in the picture the points (..., 2) of the distorted one, (x, y) in pixels, come
        from. `middle` is the point that stays when the picture is turned or scaled."""
        centre = points.new_tensor(middle)
        angle = math.radians(self.rotate)
        across, along = math.cos(angle) / self.scale, math.sin(angle) / self.scale
        back = points.new_tensor([[across, along], [-along, across]])
        offset = points - centre - points.new_tensor([self.right, self.down])
        return offset @ back.T + centre


def _signed(value: float) -> str:
    return f"{value:+g}".replace("-", "−")


def distort(images: Tensor, distortion: Distortion, *, seed: int = 0) -> Tensor:
    """Images (N, 3, H, W), each turned, scaled, shifted, made brighter and noisy.

    The first three read between pixels, linearly; what comes in from outside is mirrored at the
    border. The noise is Gaussian, the same for all images. The result is cut to [0, 1].

    Errors: `BadImage`; `BadSetting` from `Distortion`.

    >>> images = torch.rand(1, 3, 8, 8)
    >>> bool((distort(images, Distortion(brightness=0.5)) == images / 2).all())
    True
    """
    check(images)
    changed = images.detach()
    height, width = changed.shape[2:]
    if distortion.moves:
        middle = ((width - 1) / 2, (height - 1) / 2)
        changed = sampled(changed, distortion.sources(positions(height, width).to(changed), middle))
    if distortion.brightness != 1:
        changed = changed * distortion.brightness
    if distortion.noise:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, 3, height, width, generator=generator)
        changed = changed + distortion.noise * noise.to(changed)
    return changed.clone() if distortion == Distortion() else changed.clamp(0, 1)


def sampled(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (N, C, H, W) read at places (h, w, 2), (column, row) and fractions of them; what lies
    beyond the border is mirrored at it."""
    height, width = maps.shape[2:]
    half = places.new_tensor([width, height]) / 2
    grid = ((places + 0.5) / half - 1)[None].expand(len(maps), -1, -1, -1)
    read: Tensor = torch.nn.functional.grid_sample(
        maps, grid.to(maps), mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return read


def positions(height: int, width: int) -> Tensor:
    """The (x, y) of every pixel, (height, width, 2)."""
    sides = (torch.arange(side, dtype=torch.float32) for side in (width, height))
    return torch.stack(torch.meshgrid(*sides, indexing="xy"), 2)
