"""Films that are dreamed picture by picture: the endless zoom, and films of one's own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from labsupport.core.errors import BadImage, BadSetting
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
    first = dream.frames(network, image, objective, recipe=recipe, seed=seed)
    if len(image) != 1:
        raise BadImage(f"a zoom film begins with one image, (1, 3, H, W), not with {len(image)}")
    zoom(image, share)

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
    network.check(images)
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
