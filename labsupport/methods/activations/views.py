"""One unit from every side: its map, votes, gradients, top patches, and what excites it most."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsupport.core import images
from labsupport.core.errors import BadSetting, LabError
from labsupport.core.frames import framed
from labsupport.core.network import Network, Target, TargetLike
from labsupport.core.network.rules import RULES, part_with_rules
from labsupport.core.streams import Images, count_of, image_of, network_fingerprint
from labsupport.methods.activations.effects import Votes, checked_unit, class_votes
from labsupport.methods.backprop import Gradient, gradients
from labsupport.methods.optimize import CLEAR, Recipe, visualize
from labsupport.methods.patches import TopPatches, merge, top_patches

_FORMAT = "unit picture 1"
_KEPT = 64  # pictures in memory
_MOST = 500  # files in the folder, 40 to 100 kB each
_CHUNK = 8  # pictures that are scanned for patches between two frames


class PictureCache:
    """Pictures (1, 3, H, W) by what made them, in memory and in a folder of PNG files.

    The folder is made when the first picture is kept; by default it lies beside PyTorch's own
    downloads. Each file holds in words what made it, and counts only if those words agree. A folder
    that cannot be written, or a damaged file, costs no more than making the picture again.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder).expanduser()
        self._memory: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder or Path(torch.hub.get_dir()).parent / "unit_pictures"

    def get(self, made_by: Mapping[str, Any]) -> Tensor | None:
        """The picture that these settings made, if it is there and whole."""
        words = _words(made_by)
        with self._lock:
            kept = self._memory.get(words)
        if kept is not None:
            return kept.clone()
        with contextlib.suppress(LabError, OSError, RuntimeError, ValueError):
            file = self.file(made_by)
            if file.is_file() and images.saved_settings(file).get("made by") == words:
                picture = images.load(file)
                self._remember(words, picture)
                return picture
        return None

    def put(self, made_by: Mapping[str, Any], picture: Tensor) -> Tensor:
        """Keep a picture, and give it back as it will be read: to 8 bits a colour."""
        words = _words(made_by)
        whole = (picture * 255).round().clamp(0, 255) / 255
        self._remember(words, whole)
        with contextlib.suppress(LabError, OSError, RuntimeError):
            self.folder.mkdir(parents=True, exist_ok=True)
            images.save(whole, self.file(made_by), {**made_by, "made by": words})
            self._thin_out()
        return whole.clone()

    def file(self, made_by: Mapping[str, Any]) -> Path:
        """The file that such a picture has."""
        return self.folder / f"{hashlib.sha256(_words(made_by).encode()).hexdigest()[:24]}.png"

    def _remember(self, words: str, picture: Tensor) -> None:
        with self._lock:
            self._memory[words] = picture
            self._memory.move_to_end(words)
            while len(self._memory) > _KEPT:
                self._memory.popitem(last=False)

    def _thin_out(self) -> None:
        """The oldest files go when there are too many."""
        files = [(file.stat().st_mtime, file) for file in self.folder.glob("*.png")]
        for _, file in sorted(files)[: max(0, len(files) - _MOST)]:
            file.unlink(missing_ok=True)


def _words(made_by: Mapping[str, Any]) -> str:
    return f"{_FORMAT} {json.dumps(made_by, sort_keys=True, default=str)}"


# One unit from every side


@dataclass(frozen=True)
class UnitPicture:
    """A picture that excites a unit, (1, 3, H, W), after `step` of `steps` steps of the ascent.

    `score` is the unit's value; `cached` says that the picture was made earlier.
    """

    target: Target
    image: Tensor
    score: float
    step: int
    steps: int
    cached: bool = False


@dataclass(frozen=True)
class UnitViews:
    """Everything that is known of one unit so far; what is not there yet is None.

    `map` (H, W) are its activations for the image, `gradients` how it depends on the image's
    pixels by each rule, `votes` the classes that it speaks for, `patches` its layer's top patches
    (`scanned` of `pictures` pictures), `picture` the one that excites it. All of them are of the
    unit `target`: anything else is refused.
    """

    target: Target
    image: Tensor
    map: Tensor
    votes: Votes | None = None
    gradients: Mapping[str, Gradient] | None = None
    patches: TopPatches | None = None
    scanned: int = 0
    pictures: int = 0
    picture: UnitPicture | None = None
    progress: float = 0.0

    def __post_init__(self) -> None:
        """Refuse views of different units."""
        seen = [one.targets[0] for one in (self.gradients or {}).values()]
        seen += [one.target for one in (self.votes, self.picture) if one is not None]
        strange = [str(one) for one in seen if one != self.target]
        if self.patches is not None:
            self.patches.row(self.target.index)
            if self.patches.layer != self.target.layer:
                strange.append(self.patches.layer)
        if strange:
            raise BadSetting(f"these are views of {', '.join(strange)}, not of {self.target}")


@framed
def unit_views(
    network: Network,
    image: Tensor,
    unit: TargetLike,
    pictures: Images | TopPatches,
    *,
    patches: int = 9,
    recipe: Recipe = CLEAR,
    cache: PictureCache | None = None,
    remake: bool = False,
) -> Iterator[UnitViews]:
    """All views of one unit (layer, channel), the quick ones first: its map and votes, its
    gradients, its top patches among `pictures`, the picture that excites it.

    `pictures` are scanned for the whole layer, a few between two frames; or they are the top
    patches of an earlier scan. With a `cache` the last picture is looked up there, and kept;
    `remake` makes it again all the same.

    Errors: as `class_votes`, `gradients`, `top_patches` and `visualize`.
    """
    network.check(image, one=True)
    target = checked_unit(network, unit)
    if target.position is not None:
        whole = (network.layer(str(target.layer)).title, target.index)
        raise BadSetting(f"{target} is one neuron; a unit here is a whole channel: {whole}")
    if not isinstance(pictures, TopPatches) and not count_of(pictures):
        raise BadSetting("there are no pictures to look for patches in")
    growing = _Growing(network, target, recipe, cache, remake)
    return _frames(growing, image.detach().cpu().clone(), pictures, patches)


def _frames(
    growing: _Growing, image: Tensor, pictures: Images | TopPatches, patches: int
) -> Iterator[UnitViews]:
    network, target = growing.network, growing.target
    layer, channel = growing.unit
    maps = network.activations(image, [layer])[layer][0]
    map_ = maps[channel].reshape(maps.shape[1:] or (1, 1))
    votes = class_votes(network, image, target) if network.categories else None
    views = UnitViews(target, image, map_, votes, progress=0.05)
    yield views
    by_rule = gradients(network, image, target, rules=_rules(network, target))
    views = replace(views, gradients=by_rule, progress=0.1)
    yield views
    for scanned, total, best in _scan(network, layer, pictures, patches):
        share = 0.1 + 0.4 * scanned / total
        views = replace(views, patches=best, scanned=scanned, pictures=total, progress=share)
        yield views
    for picture in growing.pictures():
        share = 0.5 + 0.5 * picture.step / max(picture.steps, 1)
        yield replace(views, picture=picture, progress=share)


def _rules(network: Network, target: Target) -> tuple[str, ...]:
    """Without a ReLU on the way only the plain gradient is defined."""
    plain = RULES[:1]
    return RULES if part_with_rules(network, network.node_of(target), plain).relus else plain


def _scan(
    network: Network, layer: str, pictures: Images | TopPatches, k: int
) -> Iterator[tuple[int, int, TopPatches]]:
    """The top patches of a layer in more and more pictures: how many, of how many, and they."""
    if isinstance(pictures, TopPatches):
        count = sum(end - first for first, end in pictures.scanned)
        yield count, count, pictures
        return
    total, best = len(pictures), None
    for first in range(0, total, _CHUNK):
        chunk = [image_of(pictures, n) for n in range(first, min(first + _CHUNK, total))]
        patches = top_patches(network, layer, chunk, k=k, suppress="picture")
        best = patches if best is None else merge(best, patches.shifted(first))
        yield first + len(chunk), total, best


@dataclass(frozen=True)
class _Growing:
    """The picture that excites a unit: from the cache, else step by step."""

    network: Network
    target: Target
    recipe: Recipe
    cache: PictureCache | None
    remake: bool

    @property
    def unit(self) -> tuple[str, int]:
        return (str(self.target.layer), self.target.index)

    def pictures(self) -> Iterator[UnitPicture]:
        made_by, steps = self._made_by(), self.recipe.steps
        kept = None if self.cache is None or self.remake else self.cache.get(made_by)
        if kept is not None:
            yield UnitPicture(self.target, kept, self._value(kept), steps, steps, cached=True)
            return
        for frame in visualize.frames(self.network, self.target, recipe=self.recipe):
            image, score = frame.image, float(frame.score)
            if frame.step == steps and self.cache is not None:
                image = self.cache.put(made_by, image)
                score = self._value(image)
            yield UnitPicture(self.target, image, score, frame.step, steps)

    def _value(self, image: Tensor) -> float:
        layer, channel = self.unit
        return float(self.network.activations(image, [layer])[layer][0, channel].mean())

    def _made_by(self) -> dict[str, object]:
        """What tells one such picture from another."""
        layer, channel = self.unit
        return {
            "network": network_fingerprint(self.network, layer),
            "layer": layer,
            "channel": channel,
            "size": self.network.input_size,
            "recipe": repr(self.recipe),
        }
