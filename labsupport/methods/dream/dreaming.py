"""DeepDream: whatever a layer sees in a picture, more of it.

Mordvintsev, Olah and Tyka, "Inceptionism: going deeper into neural networks" (2015), and the
notebook that came with it. The gradient at a layer is set to the layer's own activation: that is
the gradient of half its squared length, so one climbs that length with the engine of `ascent`.
What makes it a dream is how: steps of 1.5 of 255 on average, the picture shifted about before each
step (jitter), and **octaves**: first on a small copy of the picture, then on ever larger ones, to
which the *detail* that was dreamed so far is carried over.

    last = dream(network, image, "fire8")                      # one layer
    last = dream(network, image, ["fire4", "fire8"])           # several
    last = dream(network, image, {"fire4": 1.0, "fire8": 30})  # with weights, see `balanced`
    last = dream(network, image, Guided.by(network, "fire4", guide))
    for frame in dream_frames(network, image, "fire8"):        # on the way
    for frame in zoom_film(network, image, "fire8"):           # dream, zoom, dream, zoom ...
    for frame in dream_film(network, images, "fire8"):         # a film of your own

A `DreamRecipe` says how: `CLASSIC` is that of 2015, `VIVID` evens out the gradient's frequencies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from labsupport.core import images as pictures
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.images.preparation import checked_size
from labsupport.core.network import Network
from labsupport.core.network.operations import Pair
from labsupport.methods.dream.bands import Bands
from labsupport.methods.dream.guide import Guided
from labsupport.methods.dream.tiles import Tiled
from labsupport.methods.optimize import Frame, ascend
from labsupport.methods.optimize.objectives import Energy, Objective, Sum, read
from labsupport.methods.optimize.optimizers import Normalized, StepRule
from labsupport.methods.optimize.parameterization import Pixels
from labsupport.methods.optimize.recipes import Recipe
from labsupport.methods.optimize.transforms import Jitter

__all__ = [
    "CLASSIC",
    "VIVID",
    "Bands",
    "DreamFrame",
    "DreamLike",
    "DreamRecipe",
    "Feedback",
    "FilmFrame",
    "Guided",
    "Tiled",
    "balanced",
    "dream",
    "dream_film",
    "dream_frames",
    "feedback",
    "octave_sizes",
    "resized",
    "zoom",
    "zoom_film",
]

DreamLike = str | Sequence[str] | Mapping[str, float] | Objective


@dataclass(frozen=True)
class DreamRecipe:
    """How a picture is dreamed on; the defaults are those of 2015.

    `iterations` steps on each of `octaves` copies, each `scale` times as large as the one before;
    before each step the picture is shifted by up to `jitter` pixels, around the border. With
    `tile`, pictures larger than that are computed in tiles, see `Tiled`.
    """

    name: str = "2015"
    iterations: int = 10
    octaves: int = 4
    scale: float = 1.4
    jitter: int = 32
    step: StepRule = field(default_factory=Normalized)
    tile: int | None = None
    halo: int | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise BadSetting(f"an octave has 1 iteration or more, not {self.iterations}")
        Jitter(self.jitter)
        _check_octaves(self.octaves, self.scale)

    @property
    def ascent(self) -> Recipe:
        """The same for one octave, as the engine takes it."""
        shift = (Jitter(self.jitter),)
        return Recipe(self.name, "zeros", Pixels(), shift, (), self.step, self.iterations)


def _check_octaves(octaves: int, scale: float) -> None:
    if octaves < 1 or not 1 < scale <= 4:
        raise BadSetting(
            f"there are 1 octave or more, with a scale above 1 up to 4; not {octaves}, {scale}"
        )


CLASSIC = DreamRecipe()
VIVID = DreamRecipe("vivid", step=Bands())


@dataclass(frozen=True)
class DreamFrame:
    """A dream on its way; everything is on the CPU.

    `image` (N, 3, H, W) is the whole picture as it is now: the photograph and, brought to its size,
    the `detail` (N, 3, h, w) that was added so far. `octave` counts from 1 to `octaves`, `size` is
    its (h, w), `step` counts its steps. `value` (N,) is what is being raised, in this octave.
    """

    image: Tensor
    detail: Tensor
    octave: int
    octaves: int
    size: Pair
    step: int
    steps: int
    value: Tensor
    progress: float
    settings: Mapping[str, Any]


def dream_frames(
    network: Network,
    image: Tensor,
    what: DreamLike,
    *,
    recipe: DreamRecipe = CLASSIC,
    detail: Tensor | None = None,
    seed: int = 0,
) -> Iterator[DreamFrame]:
    """Dream on images (N, 3, H, W): a frame before the first step and after each step.

    `what` is a layer, several, layers with weights, or an objective such as `Guided`. `detail`
    (N, 3, h, w) of any size is there from the beginning. As images lie in [0, 1], a picture with
    its detail is clipped before the first step of an octave too, where 2015 clips after the steps.

    Errors: `UnknownLayer`, `BadImage` (also where the smallest octave does not fit the network),
    `BadSetting`; all at once, before the first frame.
    """
    network.check(image)
    goal = _goal(network, what, recipe)
    base = image.detach().float().cpu()
    sizes = octave_sizes((base.shape[2], base.shape[3]), recipe.octaves, recipe.scale)
    _check_smallest(network, sizes, recipe)
    begun = torch.zeros(1, 3, 1, 1) if detail is None else _checked_detail(detail, len(base))
    return _dreaming(_Night(network, goal, recipe, base, sizes, seed), begun)


def dream(
    network: Network,
    image: Tensor,
    what: DreamLike,
    *,
    recipe: DreamRecipe = CLASSIC,
    detail: Tensor | None = None,
    seed: int = 0,
    progress: Callable[[float], object] | None = None,
) -> DreamFrame:
    """`dream_frames` to the end: the last frame. `progress` is called with the share done.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> eye = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> network = networks.wrap(eye, input_size=32)
    >>> last = dream(network, torch.rand(1, 3, 40, 60), "conv1")
    >>> last.image.shape, last.octave, last.progress
    (torch.Size([1, 3, 40, 60]), 4, 1.0)
    """
    for frame in dream_frames(network, image, what, recipe=recipe, detail=detail, seed=seed):
        if progress is not None:
            progress(frame.progress)
    return frame


# One dream


@dataclass(frozen=True)
class _Night:
    """The arguments of a dream, in one piece; the sizes from small to large."""

    network: Network
    goal: Objective
    recipe: DreamRecipe
    base: Tensor
    sizes: Sequence[Pair]
    seed: int

    def share(self, octave: int, step: int) -> float:
        """How much of the work is done: a step's is as large as its octave's area."""
        areas = [height * width for height, width in self.sizes]
        done = sum(areas[: octave - 1]) + areas[octave - 1] * step / self.recipe.iterations
        return done / sum(areas)


def _dreaming(night: _Night, detail: Tensor) -> Iterator[DreamFrame]:
    for octave, base in enumerate(_copies(night.base, night.sizes), start=1):
        detail = resized(detail, night.sizes[octave - 1])
        start = (base + detail).clamp(0, 1)
        climb = night.recipe.ascent
        seed = night.seed + octave - 1
        for frame in ascend(night.network, night.goal, recipe=climb, start=start, seed=seed):
            if octave == 1 or frame.step > 0:
                yield _frame(night, octave, frame, frame.image - base)
        detail = frame.image - base


def _copies(base: Tensor, sizes: Sequence[Pair]) -> list[Tensor]:
    """The picture in all sizes, each made from the next larger one, as in 2015; small to large."""
    copies = [base]
    for size in reversed(sizes[:-1]):
        copies.append(resized(copies[-1], size))
    return copies[::-1]


def _frame(night: _Night, octave: int, frame: Frame, detail: Tensor) -> DreamFrame:
    image = frame.image
    if octave < len(night.sizes):
        image = (night.base + resized(detail, night.sizes[-1])).clamp(0, 1)
    settings = {
        "network": night.network.name,
        "weights": night.network.source,
        "objective": frame.settings["objective"],
        "recipe": {**asdict(night.recipe), "step": frame.settings["recipe"]["step"]},
        "size": list(night.sizes[-1]),
        "seed": night.seed,
    }
    return DreamFrame(
        image,
        detail,
        octave,
        len(night.sizes),
        night.sizes[octave - 1],
        frame.step,
        frame.steps,
        frame.score,
        night.share(octave, frame.step),
        settings,
    )


def _goal(network: Network, what: DreamLike, recipe: DreamRecipe) -> Objective:
    goal = what if isinstance(what, Objective) else _energies(what)
    if recipe.tile is not None:
        goal = Tiled(goal, recipe.tile, recipe.halo)
    goal.bound(network)  # refuses, in words, what this network does not have
    return goal


def _energies(what: str | Sequence[str] | Mapping[str, float]) -> Objective:
    if isinstance(what, str):
        return Energy(what)
    weights = dict(what) if isinstance(what, Mapping) else dict.fromkeys(what, 1.0)
    if not weights:
        raise BadSetting("no layer to dream of: give one, a list of them, or {layer: weight}")
    if len(weights) == 1 and list(weights.values()) == [1.0]:
        return Energy(next(iter(weights)))
    return Sum(tuple(float(w) for w in weights.values()), tuple(map(Energy, weights)))


def _checked_detail(detail: Tensor, count: int) -> Tensor:
    """Detail (1 or N, 3, h, w) on the CPU, for N images."""
    _check_values(detail)
    if len(detail) not in (1, count) or detail.shape[1] != 3:
        raise BadSetting(
            f"detail is (1, 3, h, w), or has a row for each of the {count} images; "
            f"not {tuple(detail.shape)}"
        )
    return detail.detach().float().cpu()


def _check_smallest(network: Network, sizes: Sequence[Pair], recipe: DreamRecipe) -> None:
    try:
        network.shapes(sizes[0])
    except BadImage:
        height, width = sizes[0]
        raise BadImage(
            f"the smallest of {recipe.octaves} octaves would be {width} x {height} pixels, too "
            f"small for {network.name}: take fewer octaves, or a larger picture"
        ) from None


# Octaves


def octave_sizes(size: Pair, octaves: int = 4, scale: float = 1.4) -> tuple[Pair, ...]:
    """The sizes (height, width) of the copies, from the smallest to the picture's own.

    Each is the next larger one divided by `scale`, and rounded.

    >>> octave_sizes((320, 480))
    ((117, 175), (164, 245), (229, 343), (320, 480))
    """
    _check_octaves(octaves, scale)
    sizes = [checked_size(size)]
    for _ in range(octaves - 1):
        height, width = sizes[-1]
        sizes.append((max(1, round(height / scale)), max(1, round(width / scale))))
    return tuple(reversed(sizes))


def resized(values: Tensor, size: Pair) -> Tensor:
    """Images or detail (N, 3, H, W) in another size, corner on corner, with linear weights.

    That is 2015's `scipy.ndimage.zoom` with order 1. Nothing is blurred before it is made smaller.

    Errors: `BadImage` for what is neither, `BadSetting` for a size that is none.

    >>> resized(torch.tensor([[[[0.0, 3.0]]]]), (1, 4))
    tensor([[[[0., 1., 2., 3.]]]])
    """
    _check_values(values)
    for axis, count in zip((2, 3), checked_size(size), strict=True):
        length = values.shape[axis]
        if length != count:
            ends = torch.linspace(0, length - 1, count, dtype=torch.float64)
            values = _read_at(values, ends, axis)
    return values


def _check_values(values: Tensor) -> None:
    """Raise `BadImage` unless this is an image or detail, which lies on both sides of zero."""
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise BadImage(f"images and detail are tensors (N, 3, H, W) of float numbers, not {kind}")
    if values.ndim != 4 or 0 in values.shape:
        raise BadImage(f"images and detail are (N, 3, H, W), not {tuple(values.shape)}")
    if not bool(values.isfinite().all()):
        raise BadImage("these images or this detail contain NaN or infinity")


def zoom(images: Tensor, share: float = 0.05) -> Tensor:
    """The middle of images, without `share` of each side, in the old size (2015: 0.05 a frame).

    Errors: `BadImage`, `BadSetting`.
    """
    pictures.check(images)
    if not 0 <= share < 1:
        raise BadSetting(f"zoom: a share is from 0 to below 1, not {share}")
    for axis in (2, 3):
        length = images.shape[axis]
        places = (1 - share) * torch.arange(length, dtype=torch.float64) + length * share / 2
        images = _read_at(images, places, axis)
    return images


def _read_at(images: Tensor, places: Tensor, axis: int) -> Tensor:
    """Values between the neighbours on either side of each place along an axis."""
    last = images.shape[axis] - 1
    low = places.floor().clamp(0, last).long()
    share = (places - low).to(images)
    high = (low + 1).clamp_max(last)
    first, second = (images.index_select(axis, at.to(images.device)) for at in (low, high))
    return torch.lerp(first, second, share if axis == 3 else share[:, None])


# What to dream of


def balanced(network: Network, image: Tensor, layers: Sequence[str]) -> dict[str, float]:
    """Weights with which these layers pull equally hard on the pixels of this image.

    A layer's gradient can be a thousand times another's. A weight is one over the mean absolute
    gradient; multiply some of them to have more of those layers.
    """
    network.check(image)
    weights = {}
    for layer in layers:
        goal = Energy(layer).bound(network)
        with torch.enable_grad():
            moving = image.detach().float().to(network.device).requires_grad_(True)
            (term,) = goal.terms(read(network, goal.layers, moving)).values()
            (slope,) = torch.autograd.grad(term.value.sum(), moving)
        size = float(slope.abs().mean())
        if not size > 0:
            raise BadSetting(f"{layer} is silent on this image: nothing to dream of")
        weights[layer] = 1 / size
    return weights


@dataclass(frozen=True)
class Feedback:
    """A dream told in numbers, from the photograph (the first of T rows) on, of `steps` steps.

    `values` (T,) is what was raised, over its value on the photograph; `probabilities` (T, classes)
    is what the network says; `images` (T, 3, H, W) what it saw.
    """

    values: Tensor
    probabilities: Tensor
    images: Tensor
    steps: int

    @property
    def winner(self) -> int:
        """The class that is most probable at the end."""
        return int(self.probabilities[-1].argmax())

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return (len(self.values) - 1) / self.steps


def feedback(
    network: Network,
    image: Tensor,
    what: DreamLike,
    *,
    recipe: DreamRecipe = CLASSIC,
    steps: int = 30,
    seed: int = 0,
) -> Iterator[Feedback]:
    """Dream on one image (1, 3, H, W) in a single octave, and ask the network after each step.

    The more a layer sees of something, the more of it is drawn: "any slightly detected dog face
    becomes more dog-like". Each `Feedback` has what the one before had, and one row more.

    Errors: those of `dream_frames`.
    """
    plain = replace(recipe, octaves=1, iterations=steps)
    frames = dream_frames(network, image, what, recipe=plain, seed=seed)
    if len(image) != 1:
        raise BadImage(f"feedback is told of one image, (1, 3, H, W), not of {len(image)}")
    return _telling(network, frames, steps)


def _telling(network: Network, frames: Iterator[DreamFrame], steps: int) -> Iterator[Feedback]:
    values: list[Tensor] = []
    chances: list[Tensor] = []
    images: list[Tensor] = []
    for frame in frames:
        with torch.no_grad():
            chances.append(network.scores(frame.image).softmax(1).cpu())
        values.append(frame.value)
        images.append(frame.image)
        told = torch.cat(values)
        told = told / told[0].abs().clamp_min(1e-12)
        yield Feedback(told, torch.cat(chances), torch.cat(images), steps)


# Films


@dataclass(frozen=True)
class FilmFrame:
    """A film on its way: the `images` that are done, each (1, 3, H, W), of `count`; the one that is
    being dreamed; and the step at which that is."""

    images: tuple[Tensor, ...]
    image: Tensor
    count: int
    dream: DreamFrame
    settings: Mapping[str, Any]

    @property
    def progress(self) -> float:
        """The share of the work that is done, 0 to 1."""
        begun = self.dream.progress if self.dream.progress < 1 else 0.0  # at 1 it is in `images`
        return (len(self.images) + begun) / self.count


def zoom_film(
    network: Network,
    image: Tensor,
    what: DreamLike,
    *,
    frames: int = 24,
    share: float = 0.05,
    recipe: DreamRecipe = CLASSIC,
    seed: int = 0,
) -> Iterator[FilmFrame]:
    """Dream, zoom into the middle by `share`, dream on what is there, and so on (2015: 0.05).

    A `FilmFrame` after each step, so that it can be watched and stopped; the last one has all the
    pictures. Errors: those of `dream_frames`.
    """
    if frames < 1:
        raise BadSetting(f"a film has one frame or more, not {frames}")
    first = dream_frames(network, image, what, recipe=recipe, seed=seed)
    if len(image) != 1:
        raise BadImage(f"a zoom film begins with one image, (1, 3, H, W), not with {len(image)}")
    zoom(image, share)

    def nights() -> Iterator[Iterator[DreamFrame]]:
        yield first
        for number in range(1, frames):
            seen = zoom(done[-1], share).clamp(0, 1)
            yield dream_frames(network, seen, what, recipe=recipe, seed=seed + 100 * number)

    done: list[Tensor] = []
    return _filming(nights(), done, frames, {"frames": frames, "zoom": share})


def dream_film(
    network: Network,
    images: Tensor,
    what: DreamLike,
    *,
    carry: float = 0.5,
    recipe: DreamRecipe = CLASSIC,
    seed: int = 0,
) -> Iterator[FilmFrame]:
    """Dream on each picture (K, 3, H, W) of a film.

    Each begins with the share `carry` of the detail that was dreamed into the one before, and all
    have the same jitter: with 0 each picture dreams anew, and the film flickers.

    Errors: those of `dream_frames`.
    """
    if not 0 <= carry <= 1:
        raise BadSetting(f"carry is a share from 0 to 1, not {carry}")
    network.check(images)
    first = dream_frames(network, images[:1], what, recipe=recipe, seed=seed)

    def nights() -> Iterator[Iterator[DreamFrame]]:
        yield first
        for number in range(1, len(images)):
            now, before = images[number : number + 1], images[number - 1 : number]
            kept = carry * (done[-1] - before.detach().float().cpu())
            yield dream_frames(network, now, what, recipe=recipe, detail=kept, seed=seed)

    done: list[Tensor] = []
    return _filming(nights(), done, len(images), {"frames": len(images), "carry": carry})


def _filming(
    nights: Iterator[Iterator[DreamFrame]],
    done: list[Tensor],
    count: int,
    settings: Mapping[str, Any],
) -> Iterator[FilmFrame]:
    for night in nights:
        for frame in night:
            if frame.progress < 1:
                yield FilmFrame(
                    tuple(done), frame.image, count, frame, {**frame.settings, **settings}
                )
        done.append(frame.image)
        yield FilmFrame(tuple(done), frame.image, count, frame, {**frame.settings, **settings})
