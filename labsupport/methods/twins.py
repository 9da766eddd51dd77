"""Two pictures that anybody can tell apart, and one description for both.

Tatu, Lauze, Nielsen and Kimia, "Exploring the representation capabilities of the HOG descriptor",
2011: long before networks were fooled, different pictures were found that have nearly identical
histograms of oriented gradients. Whoever describes a picture by fewer numbers than it has pixels
has to call many pictures the same.

A picture A is changed until its description is that of another picture B, and held near A:

    x* = arg min  |Phi(x) - Phi(B)|^2 / |Phi(B)|^2  +  pull * mean (x - A)^2

    found = twin(network, koala, colosseum)              # the same HOG
    found = twin(network, koala, colosseum, "scores")    # the same 1000 scores, or a layer's code
    found.code, found.from_other                         # in units of a random pair's distance

The search is `optimize`'s, so its frames can be watched and gone on from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.core import images as images_
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.images.preparation import checked_size
from labsupport.core.network import Network
from labsupport.core.network.operations import Pair
from labsupport.methods.evolution.encodings import in_255ths
from labsupport.methods.inversion import Hog
from labsupport.methods.optimize import (
    LBFGS,
    Adam,
    CodeDistance,
    Frame,
    Penalty,
    Pixels,
    Recipe,
    Step,
    Transform,
    visualize,
)
from labsupport.methods.optimize.objectives import Objective, node_of, read

__all__ = [
    "HOG16",
    "Dither",
    "Hog",
    "Near",
    "Representation",
    "Twin",
    "Usual",
    "measure",
    "recipe_for",
    "twin",
    "twin_frames",
    "usual",
]

Representation = str | Hog
HOG16 = Hog(cell=16)  # cells of 16 pixels leave a picture of 128 pixels the room it needs
_FALL = 0.01  # the share of the first step's size that the last one has
_EVERY = 4  # of the bundled photographs, this one is in the random pairs


@dataclass(frozen=True)
class Near(Penalty):
    """The mean squared distance of the pixels from a picture (1, 3, H, W)."""

    picture: Tensor
    weight: float = 1.0
    name = "pixels apart"

    def __call__(self, images: Tensor, _step: Step) -> Tensor:
        apart = images - self.picture.to(images.device)
        return apart.square().flatten(1).mean(1)


@dataclass(frozen=True)
class Dither(Transform):
    """Normal noise on what is described, `sd` at first and falling with the steps.

    A pixel's slope counts for one direction alone, and its gradient does not tell that the next
    direction is near; noise lets it try both.
    """

    sd: float = 0.03

    def __call__(self, images: Tensor, step: Step) -> Tensor:
        noise = torch.randn(images.shape[1:], generator=step.random).to(images.device)
        return images + float(self.sd * _FALL**step.share) * noise


@dataclass(frozen=True)
class Usual:
    """How far two pictures usually are apart: the mean over all pairs of some photographs, as
    Euclidean distances of their codes and of their pixels."""

    code: float
    pixels: float


@dataclass(frozen=True)
class Twin:
    """A picture (1, 3, H, W), whole 255ths, and its distances in units of the `Usual` ones.

    `code` is how far its description is from the other picture's, `before` how far the first
    picture's was; `from_image` and `from_other` are how far its pixels are from the two.
    """

    image: Tensor
    code: float
    before: float
    from_image: float
    from_other: float
    usual: Usual


def twin_frames(
    network: Network,
    image: Tensor,
    other: Tensor,
    layer: Representation = HOG16,
    *,
    pull: float | None = None,
    steps: int = 150,
    seed: int = 0,
    start: Frame | None = None,
) -> Iterator[Frame]:
    """`image` on its way to the description of `other`, both (1, 3, H, W) and of one size.

    `layer` is `Hog(...)`, "scores", or the name of one of the network's layers; `pull` holds the
    picture near `image` (None: see `recipe_for`). `start` is a frame to go on from, for `steps` in
    all.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting` at once.
    """
    _check_alike(network, image, other)
    goal: Objective
    with torch.no_grad():
        code = _described(network, other.detach(), layer)
    goal = CodeDistance(layer, code)
    first = image.detach().float().cpu()
    recipe = recipe_for(first, layer, pull=pull, steps=steps)
    return visualize.frames(
        network, goal, recipe=recipe, start=first if start is None else start, seed=seed
    )


def twin(
    network: Network,
    image: Tensor,
    other: Tensor,
    layer: Representation = HOG16,
    *,
    pull: float | None = None,
    steps: int = 150,
    seed: int = 0,
    progress: Callable[[float], object] | None = None,
) -> Twin:
    """The last of `twin_frames`, measured. `progress` is called with the share done.

    Errors: those of `twin_frames`.
    """
    frames = twin_frames(network, image, other, layer, pull=pull, steps=steps, seed=seed)
    for frame in frames:
        if progress is not None:
            progress(frame.progress)
    return measure(network, frame.image, image, other, layer)


def measure(
    network: Network,
    found: Tensor,
    image: Tensor,
    other: Tensor,
    layer: Representation = HOG16,
    *,
    pairs: Usual | None = None,
) -> Twin:
    """How alike `found` and `other` are described, and how far the pixels are apart; of the
    picture as an 8-bit file holds it. `pairs` are the units (None: those of `usual`).

    Errors: `BadImage`, `UnknownLayer`.
    """
    for one in (found, other):
        _check_alike(network, image, one)
    size = (image.shape[2], image.shape[3])
    pairs = usual(network, layer, size) if pairs is None else pairs
    kept = in_255ths(found.detach().float().cpu())
    pictures = [one.detach().float().cpu() for one in (kept, image, other)]
    with torch.no_grad():
        own, first, goal = (_described(network, one, layer).flatten() for one in pictures)
    return Twin(
        kept,
        float((own - goal).norm()) / pairs.code,
        float((first - goal).norm()) / pairs.code,
        float((kept - pictures[1]).norm()) / pairs.pixels,
        float((kept - pictures[2]).norm()) / pairs.pixels,
        pairs,
    )


def usual(network: Network, layer: Representation, size: Pair) -> Usual:
    """The distances between every two of 25 bundled photographs of this size (height, width).

    Errors: `UnknownLayer`, `BadSetting` for what is no size, and `BadImage` where it does not fit.
    """
    size = checked_size(size)

    def ask() -> Usual:
        some = torch.cat([_photograph(name, size) for name in images_.photos().names[::_EVERY]])
        network.check(some[:1])
        with torch.no_grad():
            codes = torch.cat([_described(network, one[None], layer).flatten(1) for one in some])
        return Usual(float(torch.pdist(codes).mean()), float(torch.pdist(some.flatten(1)).mean()))

    return network.remember(("usual distances", layer, size), ask)


def recipe_for(
    image: Tensor, layer: Representation, *, pull: float | None = None, steps: int = 150
) -> Recipe:
    """The settings of a search on the pixels, with `Near` of this weight (None: 0.7 for HOG, 2
    for a network's code). For HOG Adam, whose steps fall to a hundredth; a network is smooth enough
    for L-BFGS.

    Errors: `BadImage`, `BadSetting`; which layers there are only a network knows.
    """
    images_.check(image, one=True)
    if not isinstance(layer, Hog) and not (isinstance(layer, str) and layer):
        raise BadSetting(f'layer is Hog(...), "scores" or a layer\'s name, not {layer!r}')
    described = isinstance(layer, Hog)
    if pull is None:
        pull = 0.7 if described else 2.0
    if not pull >= 0:
        raise BadSetting(f"pull is 0 or more, not {pull}")
    fall = tuple(_FALL ** (place / 50) for place in range(51))
    return Recipe(
        "twin",
        "an image",
        Pixels(),
        (Dither(),) if described else (),
        (Near(image, pull),) if pull else (),
        Adam(0.03, fall, beta2=0.99) if described else LBFGS(0.01),
        steps,
    )


def _check_alike(network: Network, image: Tensor, other: Tensor) -> None:
    """Raise `BadImage` unless this is one image, and another one of its size."""
    for one in (image, other):
        network.check(one)
    if len(image) != 1 or image.shape != other.shape:
        raise BadImage(
            f"one image and another one of its size, not {tuple(image.shape)} and "
            f"{tuple(other.shape)}: images.resize(picture, 128, crop=128) makes them alike"
        )


def _described(network: Network, images: Tensor, layer: Representation) -> Tensor:
    """Codes (N, ...) on the CPU."""
    if isinstance(layer, Hog):
        return layer(images.detach().float().cpu())
    node_of(network, layer)
    return read(network, (layer,), images)[layer].cpu()


def _photograph(name: str, size: Pair) -> Tensor:
    """A bundled photograph, cut to this size (height, width)."""
    side = max(size)
    picture = images_.resize(images_.photos()[name].image, side, crop=side)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    return picture[:, :, top : top + size[0], left : left + size[1]]
