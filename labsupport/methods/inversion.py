"""From a code back to a picture that has it.

Mahendran and Vedaldi, "Understanding deep image representations by inverting them", CVPR 2015: an
image is optimized until its code Phi(x) at a layer is a given one, Phi_0,

    x* = arg min  |Phi(x) - Phi_0|^2 / |Phi_0|^2  +  lambda_tv TV(x)  +  lambda_a |x|^a,

and the two last terms make it a picture. Where the code says too little, many pictures have it:
each seed ends at another one, and they are all the same to the network.

    code = encode(network, image, "fire5")               # all that is kept of the image
    for frame in invert(network, code):                  # pictures on the way back
    *_, last = invert(network, code, seed=(0, 1, 2, 3))  # four that have this code

- `encode` takes a layer's name, "log-probabilities", "scores", or `Hog()`, the description of
  pictures that came before networks. `neighbourhood` and `some_channels` keep a part of a code.
- A `Setting` says how; `setting_for` finds one for a code. `reconstruct` gives the last frame.
- `code_distance` and `pixel_distance` compare images, `alike` several reconstructions with each
  other. `normalised_error` is the paper's; `errors_by_layer` measures it for many images.
- `weight_sweep` varies the total variation's weight; `recognition` asks which class a network
  sees in what it was given back.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from labsupport.core import images as pictures
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.images import hog as hogs
from labsupport.core.network import Network
from labsupport.core.network.operations import Pair
from labsupport.core.network.targets import checked_position
from labsupport.methods.optimize import CodeDistance, Frame, visualize
from labsupport.methods.optimize.objectives import (
    LOG_PROBABILITIES,
    SCORES,
    Objective,
    Term,
    Terms,
    read,
)
from labsupport.methods.optimize.optimizers import LBFGS, Optimizer
from labsupport.methods.optimize.parameterization import Fourier, Parameterization
from labsupport.methods.optimize.recipes import Recipe
from labsupport.methods.optimize.regularizers import (
    AlphaNorm,
    Penalty,
    Range,
    Regularizer,
    TotalVariation,
)
from labsupport.methods.optimize.transforms import Jitter

__all__ = [
    "HOG",
    "LOG_PROBABILITIES",
    "SCORES",
    "Alike",
    "Code",
    "Hog",
    "HogDistance",
    "LayerError",
    "Recognition",
    "Setting",
    "alike",
    "code_distance",
    "encode",
    "errors_by_layer",
    "invert",
    "last_pooling",
    "mean_pairwise",
    "neighbourhood",
    "normalised_error",
    "pixel_distance",
    "recognition",
    "reconstruct",
    "setting_for",
    "some_channels",
    "weight_sweep",
]

HOG = "HOG"
_WORTH = 0.01  # of the loss: a fall by less is not worth a code that is further away


@dataclass(frozen=True)
class Hog:
    """The histograms of oriented gradients of an image, as a representation; see `core.hog`."""

    cell: int = hogs.CELL
    block: int = hogs.BLOCK
    bins: int = hogs.BINS

    def __str__(self) -> str:
        return HOG

    def __call__(self, images: Tensor) -> Tensor:
        """The codes (N, D) of images (N, 3, H, W); gradients flow through."""
        return hogs.hog(images, cell=self.cell, block=self.block, bins=self.bins)


Representation: TypeAlias = str | Hog


@dataclass(frozen=True)
class Code:
    """What is kept of images: their activations, and nothing of their pixels.

    `values` is (N, C, H, W) or (N, D), on the CPU; `layer` is where they come from, `size` the
    images' (height, width). `mask`, which multiplies the values, keeps a part of them.
    """

    layer: Representation
    values: Tensor
    size: Pair
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: int | slice) -> Code:
        """The code of one of the images, or of some."""
        part = slice(place, place + 1 or None) if isinstance(place, int) else place
        return replace(self, values=self.values[part])

    @property
    def title(self) -> str:
        """The layer's name."""
        return str(self.layer)

    @property
    def numbers(self) -> int:
        """How many numbers are kept of each image."""
        kept = torch.ones_like(self.values[:1])
        return int(kept.sum() if self.mask is None else (kept * (self.mask != 0)).sum())


def encode(network: Network, images: Tensor, layer: Representation) -> Code:
    """The codes of images (N, 3, H, W) at a layer, at "log-probabilities" or "scores", or `Hog()`.

    Errors: `BadImage`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> network = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), input_size=8)
    >>> encode(network, torch.rand(2, 3, 8, 8), "1").values.shape
    torch.Size([2, 5])
    """
    network.check(images)
    with torch.no_grad():
        values = _codes(network, images.detach(), layer).cpu()
    return Code(layer, values, (images.shape[2], images.shape[3]))


def neighbourhood(code: Code, position: Pair, *, size: int = 5) -> Code:
    """The code with `size` x `size` positions about (row, column) kept, and nothing else.

    Errors: `BadSetting` for a code without positions, or a place outside its map.

    >>> maps = Code("fire2", torch.ones(1, 4, 9, 9), (36, 36))
    >>> neighbourhood(maps, (0, 4), size=5).numbers  # 3 rows are inside
    60
    """
    height, width = _map_size(code)
    row, column = checked_position(position)
    if not (row < height and column < width and 1 <= size < math.inf) or size != int(size):
        raise BadSetting(
            f"the map of {code.title} has the rows 0 to {height - 1} and the columns 0 to "
            f"{width - 1}; {position} with size {size} is none of its neighbourhoods"
        )
    first, left = row - (size - 1) // 2, column - (size - 1) // 2
    mask = torch.zeros(1, 1, height, width)
    mask[:, :, max(0, first) : first + size, max(0, left) : left + size] = 1
    return _masked(code, mask)


def some_channels(code: Code, channels: Sequence[int] | slice) -> Code:
    """The code with these channels kept, and nothing else.

    Errors: `BadSetting` for a channel that it does not have.
    """
    count = code.values.shape[1]
    try:
        all_or_some = range(count)[channels] if isinstance(channels, slice) else channels
        wanted = [operator.index(one) for one in all_or_some]
    except TypeError:  # nothing to go through, or no whole numbers in it
        wanted = []
    if not wanted or not all(0 <= one < count for one in wanted):
        raise BadSetting(f"{code.title} has the channels 0 to {count - 1}, not {channels}")
    mask = torch.zeros(1, count, *[1] * (code.values.ndim - 2))
    mask[:, wanted] = 1
    return _masked(code, mask)


def last_pooling(network: Network) -> str:
    """The name of the last pooling layer that still has a map: the lecture's pool5.

    Errors: `BadSetting` for a network without one.
    """
    pools = [one for one in network.layers if "pool" in one.kind and min(one.shape[1:] or (1,)) > 1]
    if not pools:
        raise BadSetting(f"{network.name} has no pooling layer with a map")
    return pools[-1].title


# How


@dataclass(frozen=True)
class Setting:
    """How a code is inverted.

    `tv` weighs the total variation (with the exponent `beta`), `alpha` the alpha-norm with the
    `exponent` 6, as in the paper; `edge` weighs pixels that leave the range. The picture is shifted
    by up to `jitter` pixels before each of the first share `until` of the `steps`: it hides from
    the network where a pooling window begins.
    """

    tv: float = 3.0
    alpha: float = 0.0
    beta: float = 2.0
    exponent: float = 6.0
    edge: float = 0.0
    jitter: int = 0
    until: float = 0.8
    parameterization: Parameterization = field(default_factory=lambda: Fourier(sd=0.1))
    optimizer: Optimizer = field(default_factory=lambda: LBFGS(0.02))
    steps: int = 120

    @property
    def recipe(self) -> Recipe:
        """The same as the engine takes it."""
        for name, weight in (("tv", self.tv), ("alpha", self.alpha), ("edge", self.edge)):
            if not (weight >= 0 and math.isfinite(weight)):
                raise BadSetting(f"{name} is 0 or more, not {weight}")
        penalties: tuple[tuple[float, Regularizer], ...] = (
            (self.tv, TotalVariation(self.tv, self.beta)),
            (self.alpha, AlphaNorm(self.alpha, self.exponent)),
            (self.edge, Range(self.edge)),
        )
        used = tuple(one for weight, one in penalties if weight > 0)
        shifts = (Jitter(self.jitter, self.until),) if self.jitter else ()
        return Recipe(
            "inversion", "noise", self.parameterization, shifts, used, self.optimizer, self.steps
        )


def setting_for(network: Network, code: Code) -> Setting:
    """A setting that suits this code: the deeper its layer, the more the picture's prior has to
    say, as in the paper, whose weight of the total variation grows from 1 to 10 to 100.

    Log-probabilities lie far from zero for every image, so their relative distances are small, and
    small weights are enough. They and HOG tell nothing of contrast: the start has to bring it.
    """
    if isinstance(code.layer, Hog):
        return Setting(tv=0.3, parameterization=Fourier(sd=0.3))
    if code.layer in (SCORES, LOG_PROBABILITIES) or code.values.ndim < 4:
        return Setting(tv=0.1, parameterization=Fourier(sd=0.3))
    stride = max(network.stride(network.node(code.layer)))
    return Setting(tv=1.0 if stride <= 4 else 3.0 if stride <= 8 else 10.0)


def invert(
    network: Network,
    code: Code,
    *,
    setting: Setting | None = None,
    tv: float | None = None,
    start: str | Tensor | Frame | None = None,
    steps: int | None = None,
    seed: int | Sequence[int] = 0,
    every: int = 1,
) -> Iterator[Frame]:
    """Change an image until it has this code; a frame before the first step, then each `every`
    steps, and the last.

    One code with several seeds, or several codes with one seed, make a batch. `tv` and `steps` go
    before the setting's. `start` is "noise", "zeros", "grey", "black", an image, or a frame to go
    on from. A frame's `score` is minus the code distance: of the image as the network saw it,
    shifted or not; in the last frame, of the image as it is. L-BFGS now and then tries a step that
    is too far, and takes it back: its frames (without jitter) show the best picture so far. From
    one to the next the loss never rises, and the code distance rises only where that lowers the
    loss by more than a hundredth.

    Errors: `BadSetting`, `UnknownLayer`, `BadImage` at once; `BadSetting` for a value that is no
    number any more, when it happens.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> network = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), input_size=8)
    >>> code = encode(network, torch.rand(1, 3, 8, 8), "1")
    >>> first, *_, last = invert(network, code, steps=20)
    >>> float(-last.score) < 0.1 * float(-first.score)
    True
    """
    setting = setting_for(network, code) if setting is None else setting
    setting = setting if tv is None else replace(setting, tv=tv)
    begin = setting.recipe.start if start is None else start
    frames = visualize.frames(
        network,
        _objective(code),
        recipe=setting.recipe,
        start=begin,
        size=code.size if isinstance(begin, str) else None,
        steps=steps,
        seed=seed,
        every=every,
    )
    tries = isinstance(setting.optimizer, LBFGS) and not setting.jitter
    return _best_so_far(frames, setting.recipe) if tries else frames


def _best_so_far(frames: Iterator[Frame], recipe: Recipe) -> Iterator[Frame]:
    """Each frame with the pictures that were best so far. They look at the same thing, so their
    losses compare; what is gone on from stays the frame's own."""
    lowest, best = None, None
    for frame in frames:
        loss = _loss(frame, recipe)
        if lowest is None or best is None:
            lowest, best = loss, frame
        else:
            nearer = (frame.score >= best.score) | (loss < (1 - _WORTH) * lowest)
            better = (loss <= lowest) & nearer
            lowest = torch.where(better, loss, lowest)
            best = _chosen(better, frame, best)
        yield best


def _loss(frame: Frame, recipe: Recipe) -> Tensor:
    """What is being lowered, (N,): the code distance and the penalties, with their weights."""
    penalties = [one for one in recipe.regularizers if isinstance(one, Penalty)]
    values = list(frame.terms.values())[1:]  # the first one is the distance
    parts = [one.weight * value for one, value in zip(penalties, values, strict=True)]
    return torch.stack([-frame.score, *parts]).sum(0)


def _chosen(better: Tensor, frame: Frame, before: Frame) -> Frame:
    """The frame, with the pictures of the one before where those are better."""
    return replace(
        frame,
        image=torch.where(better[:, None, None, None], frame.image, before.image),
        terms={
            name: torch.where(better, value, before.terms[name])
            for name, value in frame.terms.items()
        },
        score=torch.where(better, frame.score, before.score),
    )


def reconstruct(
    network: Network,
    code: Code,
    *,
    setting: Setting | None = None,
    steps: int | None = None,
    seed: int | Sequence[int] = 0,
    progress: Callable[[float], object] | None = None,
) -> Frame:
    """`invert` to the end: the last frame alone. `progress` is called with the share done.

    Errors: those of `invert`.
    """
    for frame in invert(network, code, setting=setting, steps=steps, seed=seed, every=5):
        if progress is not None:
            progress(frame.progress)
    return frame


def weight_sweep(
    network: Network,
    code: Code,
    weights: Sequence[float],
    *,
    setting: Setting | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[float, Frame]]:
    """One code with each of these weights of the total variation: (weight, last frame) each.

    Errors: those of `invert`.
    """
    for weight in weights:
        chosen = replace(setting or setting_for(network, code), tv=weight)
        yield weight, reconstruct(network, code, setting=chosen, steps=steps, seed=seed)


# How near


def code_distance(network: Network, images: Tensor, code: Code) -> Tensor:
    """|Phi(x) - Phi_0|^2 / |Phi_0|^2 for images (N, 3, H, W): 0 is the code itself; (N,).

    Errors: `BadImage`, `BadSetting` where the codes have another shape, or are as many as the
    images only in part: one code for all, or one for each.
    """
    with torch.no_grad():
        goal = _objective(code).bound(network)
        network.check(images)
        _fitting(len(images), "images", len(code), "codes")
        terms, _ = goal.evaluate(network, images.detach())
    (term,) = terms.values()
    return term.value.cpu()


def pixel_distance(images: Tensor, others: Tensor) -> Tensor:
    """The root of the mean squared difference of the pixels, 0 to 1; (N,).

    Both are (N, 3, H, W); one image on either side is compared with all of the other.

    Errors: `BadImage`; `BadSetting` for several images of each that are not as many.

    >>> pixel_distance(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5))
    tensor([0.5000])
    """
    for some in (images, others):
        pictures.check(some)
    if images.shape[1:] != others.shape[1:]:
        raise BadImage(
            f"images of one size can be compared, not {tuple(images.shape)} and "
            f"{tuple(others.shape)}"
        )
    _fitting(len(images), "images", len(others), "others")
    return (images - others).detach().square().flatten(1).mean(1).sqrt().cpu()


@dataclass(frozen=True)
class Alike:
    """How alike pictures of one code are: to the network, and to an eye.

    `to_code` (N,) and `to_image` (N,) are the code distance and the pixel distance from the
    original, `codes` (N, N) and `pixels` (N, N) those between any two of them.
    """

    to_code: Tensor
    to_image: Tensor
    codes: Tensor
    pixels: Tensor


def alike(network: Network, images: Tensor, original: Tensor, code: Code) -> Alike:
    """Compare reconstructions (N, 3, H, W) of one code with the original image, and each other.

    Code distances between two of them are relative to the original code's squared norm.

    Errors: those of `code_distance` and `pixel_distance`.
    """
    if len(code) != 1:
        raise BadSetting(f"one code at a time, these are {len(code)}: take code[0]")
    found = replace(encode(network, images, code.layer), mask=code.mask)
    kept = _kept(found)
    norm = _kept(code).square().sum()
    apart = (kept[:, None] - kept[None]).square().sum(2) / norm
    pixels = torch.stack([pixel_distance(images, one[None]) for one in images])
    return Alike(
        code_distance(network, images, code), pixel_distance(images, original), apart, pixels
    )


def mean_pairwise(codes: Tensor) -> float:
    """The mean squared distance of two different codes (N, ...), over all pairs.

    Errors: `BadSetting` for fewer than two codes, and for numbers that are none.

    >>> mean_pairwise(torch.tensor([[0.0], [1.0], [3.0]]))  # (1 + 9 + 4) / 3
    4.666666666666667
    """
    rows = _numbers(codes).flatten(1).double()
    count = len(rows)
    if count < 2:
        raise BadSetting(f"a mean over pairs needs two codes at least, not {count}")
    # Each pair counts twice in N |centred|^2, which needs no table of all pairs.
    centred = rows - rows.mean(0)
    return float(2 * centred.square().sum() / (count - 1))


def normalised_error(found: Tensor, wanted: Tensor, spread: float) -> Tensor:
    """Mahendran and Vedaldi's: |Phi(x) - Phi_0|^2 over the mean squared distance of the codes of
    two different images, `spread` (see `mean_pairwise`). 0 is the code itself, 1 any other image's.

    Errors: `BadSetting` for a spread of 0 or less, codes of different shapes, or numbers that are
    none.
    """
    if not 0 < spread < math.inf:
        raise BadSetting(f"the spread is the mean squared distance of codes, above 0, not {spread}")
    found, wanted = _numbers(found), _numbers(wanted)
    if found.shape[1:] != wanted.shape[1:]:
        raise BadSetting(f"codes of shapes {tuple(found.shape)} and {tuple(wanted.shape)}")
    _fitting(len(found), "codes", len(wanted), "wanted ones")
    apart = (found - wanted).flatten(1).double().square().sum(1)
    error = (apart / spread).float()
    if not bool(error.isfinite().all()):
        raise BadSetting("these codes are so far apart that single precision cannot hold the error")
    return error


@dataclass(frozen=True)
class LayerError:
    """How well images are got back from one layer, (N,) each: the `normalised` error, the relative
    `distance` of the codes, and the `pixels`' distance. `images` are the reconstructions."""

    layer: str
    normalised: Tensor
    distance: Tensor
    pixels: Tensor
    images: Tensor
    numbers: int
    share: float  # of all layers, done with this one

    @property
    def progress(self) -> float:
        """The share of the layers that is done."""
        return self.share


def errors_by_layer(
    network: Network,
    images: Tensor,
    layers: Sequence[Representation],
    *,
    others: Tensor | None = None,
    settings: Mapping[str, Setting] | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[LayerError]:
    """Invert each image's code at each layer; a `LayerError` when a layer is done.

    The spread of codes is that of `images` and `others` (N, 3, H, W) together: the paper takes
    100 images. `settings` has a setting by layer's name, where it is not `setting_for`'s.

    Errors: those of `encode` and `invert`.
    """
    known = settings or {}
    network.check(images)
    pool = images if others is None else _together(images, others)
    for place, layer in enumerate(layers, start=1):
        code = encode(network, images, layer)
        spread = mean_pairwise(encode(network, pool, layer).values)
        setting = known.get(code.title) or setting_for(network, code)
        last = reconstruct(network, code, setting=setting, steps=steps, seed=seed)
        found = encode(network, last.image, layer).values
        yield LayerError(
            code.title,
            normalised_error(found, code.values, spread),
            code_distance(network, last.image, code),
            pixel_distance(last.image, images),
            last.image,
            code.numbers,
            place / len(layers),
        )


@dataclass(frozen=True)
class Recognition:
    """What a network sees in reconstructions, (N,) each: whether its first answer is the one that
    it gives to the original (`same`), whether that is among its first five (`among`), and the
    `probability` that the original's answer still has."""

    same: Tensor
    among: Tensor
    probability: Tensor

    def __str__(self) -> str:
        same, among, count = int(self.same.sum()), int(self.among.sum()), len(self.same)
        return f"{same} of {count} named alike, {among} among the first five"


def recognition(network: Network, images: Tensor, originals: Tensor) -> Recognition:
    """Whether a network names reconstructions (N, 3, H, W) as it names the originals.

    It may be another network than the one whose codes were inverted. Images are shown to it in the
    size that they have; `images.resize` makes them larger.

    Errors: `BadImage`, `BadSetting` unless there is an original for each.
    """
    for some in (images, originals):
        network.check(some)
    if len(images) != len(originals):
        raise BadSetting(
            f"each reconstruction needs its original: these are {len(images)} and {len(originals)} "
            "(one original for all: original.expand(len(images), -1, -1, -1))"
        )
    with torch.no_grad():
        seen, true = (network(some.detach()).softmax(1).cpu() for some in (images, originals))
    answer = true.argmax(1, keepdim=True)
    first = seen.topk(min(5, seen.shape[1])).indices
    return Recognition(
        first[:, 0] == answer[:, 0],
        (first == answer).any(1),
        seen.gather(1, answer)[:, 0],
    )


# Inside


@dataclass(frozen=True)
class HogDistance(Objective):
    """How far an image's HOG code is from a given one, as `CodeDistance` measures it."""

    code: Tensor
    hog: Hog
    layers = ()

    @property
    def count(self) -> int | None:
        return len(self.code) if len(self.code) > 1 else None

    def bound(self, network: Network) -> Objective:
        if not bool(self.code.ne(0).any(1).all()):  # of a picture without any edge
            raise BadSetting("the HOG code is zero everywhere: nothing to come near to")
        return replace(self, code=self.code.to(network.device))

    def part(self, images: slice) -> Objective:
        return replace(self, code=self.code[images]) if self.count else self

    def terms(self, activations: Mapping[str, Tensor]) -> Terms:
        found = activations[HOG]
        if found.shape[1:] != self.code.shape[1:]:
            raise BadSetting(
                f"this HOG code has {self.code.shape[1]} numbers, but this image's has "
                f"{found.shape[1]}: the image must have the size of the code's own"
            )
        apart = (found - self.code).square().sum(1) / self.code.square().sum(1)
        return {"code distance at HOG": Term(apart, -1.0)}

    def evaluate(self, _network: Network, images: Tensor) -> tuple[Terms, Mapping[str, Tensor]]:
        found = {HOG: self.hog(images.to(self.code.device))}
        return self.terms(found), found


def _objective(code: Code) -> Objective:
    if isinstance(code.layer, Hog):
        return HogDistance(code.values, code.layer)
    return CodeDistance(code.layer, code.values, code.mask)


def _codes(network: Network, images: Tensor, layer: Representation) -> Tensor:
    if isinstance(layer, Hog):
        return layer(images)
    return read(network, (layer,), images)[layer]


def _map_size(code: Code) -> Pair:
    if code.values.ndim != 4:
        raise BadSetting(f"the code at {code.title} has no map, so it has no positions")
    return (code.values.shape[2], code.values.shape[3])


def _masked(code: Code, mask: Tensor) -> Code:
    if isinstance(code.layer, Hog):
        raise BadSetting("a HOG code is kept whole")
    return replace(code, mask=mask if code.mask is None else code.mask * mask)


def _together(images: Tensor, others: Tensor) -> Tensor:
    pictures.check(others)
    if images.shape[1:] != others.shape[1:]:
        raise BadImage(
            f"the others must have the images' size, {tuple(images.shape[2:])}, "
            f"not {tuple(others.shape[2:])}: images.resize(others, ...)"
        )
    return torch.cat([images, others])


def _fitting(count: int, what: str, others: int, which: str) -> None:
    """Refuse what is neither one for all nor one for each."""
    if count != others and 1 not in (count, others):
        raise BadSetting(f"{count} {what} and {others} {which}: one for each, or one for all")


def _numbers(codes: Tensor) -> Tensor:
    """Codes (N, ...) as they are, whole numbers as floats; `BadSetting` for anything else."""
    if not isinstance(codes, Tensor) or codes.ndim < 2 or codes.is_complex():
        shape = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise BadSetting(
            f"codes are a tensor (N, ...) of numbers, a row for each image, not {shape}"
        )
    if not bool(codes.isfinite().all()):
        raise BadSetting("the codes contain NaN or infinity: codes.isfinite().all() finds out when")
    return codes.detach() if codes.is_floating_point() else codes.double()


def _kept(code: Code) -> Tensor:
    """The values that count, (N, D)."""
    kept = code.values if code.mask is None else code.values * code.mask
    return kept.flatten(1)
