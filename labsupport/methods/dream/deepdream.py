"""The dream itself: gradient ascent on one copy of the picture after another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from labsupport.core import images
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.frames import framed
from labsupport.core.network import Network, Pair
from labsupport.methods import optimize
from labsupport.methods.dream.objectives import DreamObjective, Tiled, as_objective
from labsupport.methods.dream.octaves import (
    LaplacianNormalized,
    check_values,
    octave_sizes,
    resized,
)
from labsupport.methods.optimize import Frame
from labsupport.methods.optimize.objectives import nodes_of


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
    optimizer: optimize.Optimizer = field(default_factory=optimize.Normalized)
    tile: int | None = None
    halo: int | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise BadSetting(f"an octave has 1 iteration or more, not {self.iterations}")
        optimize.Jitter(self.jitter)  # these two refuse what cannot be
        octave_sizes((1, 1), self.octaves, self.scale)

    @property
    def for_octave(self) -> optimize.Recipe:
        """The same for one octave, as the engine takes it."""
        shift = (optimize.Jitter(self.jitter),)
        return optimize.Recipe(
            self.name, "zeros", optimize.Pixels(), shift, (), self.optimizer, self.iterations
        )


CLASSIC = DreamRecipe()
VIVID = DreamRecipe("vivid", optimizer=LaplacianNormalized())


@dataclass(frozen=True)
class DreamFrame:
    """A dream on its way; everything is on the CPU.

    `image` (N, 3, H, W) is the whole picture as it is now: the photograph and, brought to its size,
    the `detail` (N, 3, h, w) that was added so far. `octave` counts from 1 to `octaves`, `size` is
    its (h, w), `step` counts its steps. `value` (N,) is what is being raised, in this octave, and
    `first_value` (N,) what it was in the octave's first frame.
    """

    image: Tensor
    detail: Tensor
    octave: int
    octaves: int
    size: Pair
    step: int
    steps: int
    value: Tensor
    first_value: Tensor
    progress: float
    settings: Mapping[str, Any]


@framed
def dream(
    network: Network,
    image: Tensor,
    objective: DreamObjective,
    *,
    recipe: DreamRecipe = CLASSIC,
    detail: Tensor | None = None,
    seed: int = 0,
) -> Iterator[DreamFrame]:
    """Dream on images (N, 3, H, W): a frame before the first step and after each step.

    `objective` is a layer, several, layers with weights, or one of `optimize`, or `Guided`.
    `detail` (N, 3, h, w) of any size is there from the beginning. As images lie in [0, 1], a
    picture with its detail is clipped before the first step of an octave too, where 2015 clips
    after the steps.

    Errors: `UnknownLayer`, `BadImage` (also where the smallest octave does not fit the network),
    `BadSetting`; all at once, before the first frame.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> eye = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> network = networks.wrap(eye, input_size=32)
    >>> last = dream(network, torch.rand(1, 3, 40, 60), "conv1")
    >>> last.image.shape, last.octave, last.progress
    (torch.Size([1, 3, 40, 60]), 4, 1.0)
    """
    images.check(image)
    raised = as_objective(objective)
    if recipe.tile is not None:
        raised = Tiled(raised, recipe.tile, recipe.halo)
    # refuses, in words, what this network does not have
    nodes = nodes_of(network, raised.bound(network).layers)
    network.check(image, up_to=nodes)
    base = image.detach().float().cpu()
    sizes = octave_sizes((base.shape[2], base.shape[3]), recipe.octaves, recipe.scale)
    _check_smallest(network, sizes, recipe, nodes)
    begun = torch.zeros(1, 3, 1, 1) if detail is None else _checked_detail(detail, len(base))
    return _octave_by_octave(_Dream(network, raised, recipe, base, sizes, seed), begun)


def _check_smallest(
    network: Network, sizes: Sequence[Pair], recipe: DreamRecipe, nodes: Sequence[fx.Node]
) -> None:
    try:
        network.shapes(sizes[0], nodes)
    except BadImage:
        height, width = sizes[0]
        raise BadImage(
            f"the smallest of {recipe.octaves} octaves would be {width} x {height} pixels, too "
            f"small for {network.name}: take fewer octaves, or a larger picture"
        ) from None


def _checked_detail(detail: Tensor, count: int) -> Tensor:
    """Detail (1 or N, 3, h, w) on the CPU, for N images."""
    check_values(detail)
    if len(detail) not in (1, count) or detail.shape[1] != 3:
        raise BadSetting(
            f"detail is (1, 3, h, w), or has a row for each of the {count} images; "
            f"not {tuple(detail.shape)}"
        )
    return detail.detach().float().cpu()


@dataclass(frozen=True)
class _Dream:
    """The arguments of a dream, in one piece; the sizes from small to large."""

    network: Network
    objective: optimize.Objective
    recipe: DreamRecipe
    base: Tensor
    sizes: Sequence[Pair]
    seed: int

    def copies(self) -> list[Tensor]:
        """The picture in all sizes, each made from the next larger one, as in 2015."""
        copies = [self.base]
        for size in reversed(self.sizes[:-1]):
            copies.append(resized(copies[-1], size))
        return copies[::-1]

    def share(self, octave: int, step: int) -> float:
        """How much of the work is done: a step's is as large as its octave's area."""
        areas = [height * width for height, width in self.sizes]
        done = sum(areas[: octave - 1]) + areas[octave - 1] * step / self.recipe.iterations
        return done / sum(areas)


def _octave_by_octave(run: _Dream, detail: Tensor) -> Iterator[DreamFrame]:
    recipe = run.recipe.for_octave
    for octave, base in enumerate(run.copies(), start=1):
        start = (base + resized(detail, run.sizes[octave - 1])).clamp(0, 1)
        seed = run.seed + octave - 1
        frames = optimize.visualize.frames(
            run.network, run.objective, recipe=recipe, start=start, seed=seed
        )
        first: Frame | None = None
        for frame in frames:
            detail = frame.image - base
            if octave == 1 or frame.step > 0:
                first = first or frame
                yield _dream_frame(run, octave, frame, detail, first.score)


def _dream_frame(
    run: _Dream, octave: int, frame: Frame, detail: Tensor, first_value: Tensor
) -> DreamFrame:
    image = frame.image
    if octave < len(run.sizes):
        image = (run.base + resized(detail, run.sizes[-1])).clamp(0, 1)
    settings = {
        "network": run.network.name,
        "weights": run.network.source,
        "objective": frame.settings["objective"],
        "recipe": {**asdict(run.recipe), "optimizer": frame.settings["recipe"]["optimizer"]},
        "size": list(run.sizes[-1]),
        "seed": run.seed,
    }
    return DreamFrame(
        image,
        detail,
        octave,
        len(run.sizes),
        run.sizes[octave - 1],
        frame.step,
        frame.steps,
        frame.score,
        first_value,
        run.share(octave, frame.step),
        settings,
    )
