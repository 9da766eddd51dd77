"""Dreams that go on: films picture by picture, and what the network says on the way."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from labsupport.core import images as pictures
from labsupport.core.errors import BadSetting
from labsupport.core.frames import framed
from labsupport.core.network import Network
from labsupport.methods.dream.deepdream import CLASSIC, DreamFrame, DreamRecipe, dream
from labsupport.methods.dream.objectives import DreamObjective
from labsupport.methods.dream.octaves import zoom


@dataclass(frozen=True)
class FilmFrame:
    """A film on its way: the `images` that are done, each (1, 3, H, W), of `count`; and the `dream`
    that is under way, which is the last of them once it is done."""

    images: tuple[Tensor, ...]
    count: int
    dream: DreamFrame
    settings: Mapping[str, Any]

    @property
    def progress(self) -> float:
        """The share of the work that is done, 0 to 1."""
        begun = self.dream.progress if self.dream.progress < 1 else 0.0  # at 1 it is in `images`
        return (len(self.images) + begun) / self.count


@framed
def zoom_film(
    network: Network,
    image: Tensor,
    objective: DreamObjective,
    *,
    count: int = 24,
    share: float = 0.05,
    recipe: DreamRecipe = CLASSIC,
    seed: int = 0,
) -> Iterator[FilmFrame]:
    """Dream, zoom into the middle by `share`, dream on what is there, and so on (2015: 0.05).

    A frame comes after each step, so that it can be watched and stopped; the last one has all the
    `count` pictures. Errors: those of `dream`.
    """
    if count < 1:
        raise BadSetting(f"a film has one picture or more, not {count}")
    pictures.check(image, one=True)
    first = dream.frames(network, image, objective, recipe=recipe, seed=seed)
    zoom(image, share)  # refuses a share that cannot be

    def following(number: int, last: Tensor) -> Iterator[DreamFrame]:
        seen = zoom(last, share).clamp(0, 1)
        return dream.frames(network, seen, objective, recipe=recipe, seed=seed + 100 * number)

    return _film_frames(first, following, count, {"pictures": count, "zoom": share})


@framed
def dream_film(
    network: Network,
    images: Tensor,
    objective: DreamObjective,
    *,
    carry: float = 0.5,
    recipe: DreamRecipe = CLASSIC,
    seed: int = 0,
) -> Iterator[FilmFrame]:
    """Dream on each picture (K, 3, H, W) of a film.

    Each begins with the share `carry` of the detail that was dreamed into the one before, and all
    have the same jitter: with 0 each picture dreams anew, and the film flickers.

    Errors: those of `dream`.
    """
    if not 0 <= carry <= 1:
        raise BadSetting(f"carry is a share from 0 to 1, not {carry}")
    pictures.check(images)
    first = dream.frames(network, images[:1], objective, recipe=recipe, seed=seed)

    def following(number: int, last: Tensor) -> Iterator[DreamFrame]:
        image, before = images[number : number + 1], images[number - 1 : number]
        kept = carry * (last - before.detach().float().cpu())
        return dream.frames(network, image, objective, recipe=recipe, detail=kept, seed=seed)

    settings = {"pictures": len(images), "carry": carry}
    return _film_frames(first, following, len(images), settings)


def _film_frames(
    frames: Iterator[DreamFrame],
    following: Callable[[int, Tensor], Iterator[DreamFrame]],
    count: int,
    settings: Mapping[str, Any],
) -> Iterator[FilmFrame]:
    """The frames of the first picture's dream, then of each that follows the one before."""
    done: tuple[Tensor, ...] = ()
    for number in range(count):
        if done:
            frames = following(number, done[-1])
        for frame in frames:
            if frame.progress == 1:
                done = (*done, frame.image)
            yield FilmFrame(done, count, frame, {**frame.settings, **settings})


# What the network says while a layer sees ever more of what it saw


@dataclass(frozen=True)
class Feedback:
    """A dream in numbers, from the photograph (the first of T rows) on, of `steps` steps.

    `values` (T,) is what was raised, over its value on the photograph; `probabilities` (T, classes)
    is what the network says, (T, 0) where it ends before its classes; `images` (T, 3, H, W) what it
    saw.
    """

    values: Tensor
    probabilities: Tensor
    images: Tensor
    steps: int

    @property
    def last_class(self) -> int:
        """The class that is most probable at the end."""
        return int(self.probabilities[-1].argmax())

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return (len(self.values) - 1) / self.steps


@framed
def feedback(
    network: Network,
    image: Tensor,
    objective: DreamObjective,
    *,
    recipe: DreamRecipe = CLASSIC,
    steps: int = 30,
    seed: int = 0,
) -> Iterator[Feedback]:
    """Dream on one image (1, 3, H, W) in a single octave, and ask the network after each step.

    The more a layer sees of something, the more of it is drawn: a dog's face that is slightly
    detected becomes more and more like a dog. Each frame has what the one before had, and one row
    more.

    Errors: those of `dream`.
    """
    pictures.check(image, one=True)
    single = replace(recipe, octaves=1, iterations=steps)
    frames = dream.frames(network, image, objective, recipe=single, seed=seed)
    return _rows(network, frames, steps)


def _rows(network: Network, frames: Iterator[DreamFrame], steps: int) -> Iterator[Feedback]:
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for frame in frames:
        rows.append((frame.value, _said(network, frame.image), frame.image))
        values, chances, images = (torch.cat(column) for column in zip(*rows, strict=True))
        yield Feedback(values / values[0].abs().clamp_min(1e-12), chances, images, steps)


@torch.no_grad()
def _said(network: Network, images: Tensor) -> Tensor:
    """The probabilities (N, classes) of all classes that the network has."""
    if not network.categories:
        return torch.zeros(len(images), 0)
    return network(images).softmax(1).cpu()
