"""Two pictures that anybody can tell apart, and one description for both.

Tatu, Lauze, Nielsen and Kimia, "Exploring the representation capabilities of the HOG descriptor",
2011: long before networks were fooled, different pictures were found that have nearly identical
histograms of oriented gradients. Whoever describes a picture by fewer numbers than it has pixels
has to call many pictures the same.

A picture A is changed until its description is that of another picture B, and held near A:

    x* = arg min  |Phi(x) - Phi(B)|^2 / |Phi(B)|^2  +  weight * mean (x - A)^2

    one = twin(network, koala, colosseum)              # the same HOG
    one = twin(network, koala, colosseum, "scores")    # the same 1000 scores, or a layer's code
    one.code, one.from_other                           # in units of a random pair's distance

The search is `optimize`'s, so its frames can be watched and gone on from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from labsupport.core import images as images_
from labsupport.core import modes
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.frames import Shortcut, framed, last_of
from labsupport.core.network import Network, Pair
from labsupport.methods import optimize
from labsupport.methods.evolution.encodings import in_255ths
from labsupport.methods.inversion import Hog, encode
from labsupport.methods.optimize import Frame
from labsupport.methods.optimize.objectives import nodes_of

Representation = str | Hog
HOG16 = Hog(cell=16)  # cells of 16 pixels leave a picture of 128 pixels the room it needs
_FALL = 0.01  # the share of the first step's size that the last one has
_EVERY = 4  # of the bundled photographs, this one is in the random pairs


@dataclass(frozen=True)
class PixelDistance(optimize.Penalty):
    """The mean squared distance of the pixels from a picture (1, 3, H, W)."""

    picture: Tensor
    weight: float = 1.0
    name = "pixels apart"

    def __call__(self, images: Tensor, _step: optimize.Step) -> Tensor:
        apart = images - self.picture.to(images.device)
        return apart.square().flatten(1).mean(1)


@dataclass(frozen=True)
class FallingNoise(optimize.Transform):
    """Normal noise on what is described, `sd` at first and falling with the steps.

    A pixel's gradient counts for one direction alone, and its gradient does not tell that the next
    direction is near; noise lets it try both.
    """

    sd: float = 0.03

    def __call__(self, images: Tensor, step: optimize.Step) -> Tensor:
        noise = torch.randn(images.shape[1:], generator=step.random).to(images.device)
        return images + float(self.sd * _FALL**step.share) * noise


@dataclass(frozen=True)
class PairDistances:
    """How far two pictures usually are apart: the mean over all pairs of some photographs, as
    Euclidean distances of their codes and of their pixels."""

    code: float
    pixels: float


@dataclass(frozen=True)
class Twin:
    """A picture (1, 3, H, W), whole 255ths, and its distances in units of the `PairDistances`.

    `code` is how far its description is from the other picture's, `before` how far the first
    picture's was; `from_image` and `from_other` are how far its pixels are from the two.
    """

    image: Tensor
    code: float
    before: float
    from_image: float
    from_other: float
    pairs: PairDistances


def _result(search: Iterator[Frame]) -> Twin:
    return cast(Twin, last_of(search))


@framed(result=_result)
def twin(
    network: Network,
    image: Tensor,
    other: Tensor,
    layer: Representation = HOG16,
    *,
    weight: float | None = None,
    steps: int = 150,
    seed: int = 0,
    start: Frame | None = None,
) -> Iterator[Frame]:
    """`image` with the description of `other`, both (1, 3, H, W) and of one size: a `Twin`.

    `layer` is `Hog(...)`, "scores", or the name of one of the network's layers. `weight` holds the
    picture near `image` (None: 0.7 for HOG, 2 for a network's code). `.frames` give the pictures on
    the way; `start` is one of them to go on from, for `steps` in all.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting` at once.
    """
    _check_alike(network, layer, image, other)
    recipe = _recipe(image.detach().float().cpu(), layer, weight, steps)
    code = encode(network, other.detach().float(), layer).values
    first = image.detach().float().cpu() if start is None else start
    frames = optimize.visualize.frames(
        network, optimize.CodeDistance(layer, code), recipe=recipe, start=first, seed=seed
    )
    return Shortcut(frames, lambda: measure(network, last_of(frames).image, image, other, layer))


def measure(
    network: Network,
    changed: Tensor,
    image: Tensor,
    other: Tensor,
    layer: Representation = HOG16,
    *,
    pairs: PairDistances | None = None,
) -> Twin:
    """How alike `changed` and `other` are described, and how far the pixels are apart; of the
    picture as an 8-bit file holds it. `pairs` are the units (None: those of `pair_distances`).

    Errors: `BadImage`, `UnknownLayer`.
    """
    for one in (changed, other):
        _check_alike(network, layer, image, one)
    size = (image.shape[2], image.shape[3])
    pairs = pair_distances(network, layer, size) if pairs is None else pairs
    kept = in_255ths(changed.detach().float().cpu())
    pictures = [one.detach().float().cpu() for one in (kept, image, other)]
    own, first, goal = (encode(network, one, layer).values.flatten() for one in pictures)
    return Twin(
        kept,
        float((own - goal).norm()) / pairs.code,
        float((first - goal).norm()) / pairs.code,
        float((kept - pictures[1]).norm()) / pairs.pixels,
        float((kept - pictures[2]).norm()) / pairs.pixels,
        pairs,
    )


def pair_distances(network: Network, layer: Representation, size: Pair) -> PairDistances:
    """The distances between every two of 25 bundled photographs of this size (height, width).

    Errors: `UnknownLayer`, `BadImage` where the size does not fit, `BadSetting` for what is no size
    or where the photographs all have one code, so that there is no distance to measure by.
    """
    size = images_.checked_size(size)

    def ask() -> PairDistances:
        some = torch.cat([_photograph(name, size) for name in images_.photos().names[::_EVERY]])
        codes = torch.cat([encode(network, one[None], layer).values.flatten(1) for one in some])
        apart = float(torch.pdist(codes).mean())
        if apart == 0:
            raise BadSetting(f"the code at {layer} is the same for all photographs: take another")
        return PairDistances(apart, float(torch.pdist(some.flatten(1)).mean()))

    return network.remember(("usual distances", layer, size), ask)


def _recipe(
    image: Tensor, layer: Representation, weight: float | None = None, steps: int = 150
) -> optimize.Recipe:
    """For HOG Adam, whose steps fall to a hundredth; a network is smooth enough for L-BFGS."""
    described = isinstance(layer, Hog)
    if weight is None:
        weight = 0.7 if described else 2.0
    if not weight >= 0:
        raise BadSetting(f"weight is 0 or more, not {weight}")
    fall = tuple(_FALL ** (place / 50) for place in range(51))
    return optimize.Recipe(
        "twin",
        "an image",
        optimize.Pixels(),
        (FallingNoise(),) if described else (),
        (PixelDistance(image, weight),) if weight else (),
        optimize.Adam(0.03, fall, beta2=0.99) if described else optimize.LBFGS(0.01),
        steps,
    )


def _check_alike(network: Network, layer: Representation, image: Tensor, other: Tensor) -> None:
    """Raise `BadImage` unless this is one image, and another one of its size; `BadSetting` for
    what is no layer."""
    if not isinstance(layer, Hog) and not (isinstance(layer, str) and layer):
        raise BadSetting(f'layer is Hog(...), "scores" or a layer\'s name, not {layer!r}')
    for one in (image, other):
        network.check(one, up_to=nodes_of(network, (layer,)))
    if len(image) != 1 or image.shape != other.shape:
        raise BadImage(
            f"one image and another one of its size, not {tuple(image.shape)} and "
            f"{tuple(other.shape)}: images.resize(picture, 128, crop=128) makes them alike"
        )


def _photograph(name: str, size: Pair) -> Tensor:
    """A bundled photograph, cut to this size (height, width)."""
    side = max(size)
    picture = images_.resize(images_.photos()[name].image, side, crop=side)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    return picture[:, :, top : top + size[0], left : left + size[1]]


modes.keep(__name__)
