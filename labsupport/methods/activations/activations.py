"""Activations: look at what every channel of a layer answers to one picture, and at one unit
from every side.

Yosinski, Clune, Nguyen, Fuchs and Lipson, "Understanding neural networks through deep
visualization", 2015: a toolbox that shows a layer's activations live, and for a chosen unit its
top images, its deconvnet picture and the picture that excites it most. How activations follow
when the picture is distorted is Zeiler and Fergus' question (2013, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from labsupport.core.errors import BadSetting, UnknownLayer
from labsupport.core.network import Network, TargetLike, receptive_box
from labsupport.core.network.layers import Box
from labsupport.core.network.operations import Pair
from labsupport.core.network.rules import RULES, ruled_part
from labsupport.core.network.targets import Target
from labsupport.core.streams import Images, count_of, image_of, network_print
from labsupport.methods.activations.album import Album
from labsupport.methods.activations.distortions import (
    Distortion,
    positions,
    sampled,
)
from labsupport.methods.backprop import Gradient, gradients
from labsupport.methods.optimize import CLEAR, Recipe, ascend
from labsupport.methods.patches import TopPatches, merge, top_patches

__all__ = [
    "Album",
    "Distortion",
    "Layout",
    "Similarity",
    "UnitChanges",
    "UnitPicture",
    "UnitViews",
    "Votes",
    "class_votes",
    "correlation",
    "distort",
    "layout",
    "mosaic",
    "similarity",
    "unit_changes",
    "unit_frames",
    "unit_views",
]

_CHUNK = 8  # pictures that are scanned for patches between two frames
_UNTOUCHED = Distortion()


# A layer as one mosaic


@dataclass(frozen=True)
class Layout:
    """Where each of `count` tiles (`height` x `width`) lies in a mosaic: row by row, `columns` in
    a row, `gap` between two tiles and around all of them."""

    count: int
    height: int
    width: int
    columns: int
    gap: int

    @property
    def rows(self) -> int:
        return math.ceil(self.count / self.columns)

    @property
    def size(self) -> Pair:
        """(height, width) of the whole mosaic."""
        return (
            self.rows * (self.height + self.gap) + self.gap,
            self.columns * (self.width + self.gap) + self.gap,
        )

    def place(self, channel: int) -> Pair:
        """The (row, column) of a channel's tile in the mosaic."""
        if not 0 <= channel < self.count:
            raise BadSetting(f"this mosaic has the channels 0 to {self.count - 1}, not {channel}")
        return divmod(channel, self.columns)

    def box(self, channel: int) -> Box:
        """A channel's tile, (left, top, right, bottom)."""
        row, column = self.place(channel)
        left = self.gap + column * (self.width + self.gap)
        top = self.gap + row * (self.height + self.gap)
        return (left, top, left + self.width, top + self.height)

    def channel_at(self, x: float, y: float) -> int | None:
        """The channel whose tile, or the gap right below or behind it, holds a point."""
        column = math.floor((x - self.gap) / (self.width + self.gap))
        row = math.floor((y - self.gap) / (self.height + self.gap))
        channel = row * self.columns + column
        inside = 0 <= column < self.columns and row >= 0 and channel < self.count
        return channel if inside else None


def layout(
    count: int, height: int, width: int, *, columns: int | None = None, gap: int = 1
) -> Layout:
    """The layout of so many tiles; without `columns` it is nearly a square.

    Errors: `BadSetting` for no tiles, no columns or a negative gap.

    >>> layout(10, 5, 5, columns=4).box(6)
    (13, 7, 18, 12)
    """
    if min(count, height, width) < 1 or gap < 0:
        raise BadSetting("a mosaic has at least one tile of one pixel, and a gap of 0 or more")
    if columns is None:
        columns = max(1, math.ceil(math.sqrt(count * (height + gap) / (width + gap))))
    if columns < 1:
        raise BadSetting(f"a mosaic has at least one column, not {columns}")
    return Layout(count, height, width, min(columns, count), gap)


def mosaic(
    maps: Tensor, *, columns: int | None = None, gap: int = 1, shared: bool | None = None
) -> Tensor:
    """All maps (C, H, W) of a layer as one matrix, NaN between them and where no tile is.

    `shared` None leaves the numbers as they are; False divides each map by its own largest
    absolute value, True all of them by the largest of all. A map of zeros stays one.

    Errors: `BadSetting` for anything but finite numbers (C, H, W), and as `layout`.

    >>> mosaic(torch.tensor([[[2.0]], [[4.0]]]), gap=0, shared=False)
    tensor([[1., 1.]])
    """
    maps = _real(maps)
    if maps.ndim != 3:
        raise BadSetting(
            f"a layer's maps are (C, H, W), not {tuple(maps.shape)}: take one image's, maps[0]"
        )
    maps = maps if maps.is_floating_point() else maps.float()  # whole numbers have no NaN
    if not bool(maps.isfinite().all()):
        raise BadSetting("the maps contain NaN or infinity: maps.isfinite().all() finds out when")
    where = layout(*maps.shape, columns=columns, gap=gap)
    if shared is not None:
        size = maps.abs().amax() if shared else maps.abs().amax((1, 2), keepdim=True)
        maps = maps / torch.where(size > 0, size, 1)
    cells = maps.new_full(
        (where.rows * where.columns, where.height + gap, where.width + gap), math.nan
    )
    cells[: where.count, : where.height, : where.width] = maps
    block = cells.view(where.rows, where.columns, *cells.shape[1:]).transpose(1, 2)
    sheet = maps.new_full(where.size, math.nan)
    sheet[gap:, gap:] = block.reshape(where.size[0] - gap, where.size[1] - gap)
    return sheet


def _real(numbers: Tensor) -> Tensor:
    """Numbers without a gradient; `BadSetting` for what is no tensor of real ones."""
    if not isinstance(numbers, Tensor) or numbers.is_complex():
        kind = numbers.dtype if isinstance(numbers, Tensor) else type(numbers).__name__
        raise BadSetting(f"this takes a tensor of real numbers, such as activations, not {kind}")
    return numbers.detach()


# What a distortion does to a layer


def distort(images: Tensor, distortion: Distortion, *, seed: int = 0) -> Tensor:
    """Images (N, 3, H, W), each turned, scaled, shifted, made brighter and noisy.

    The first three read between pixels, linearly; what comes in from outside is mirrored at the
    border. The noise is Gaussian, the same for all images. The result is cut to [0, 1].

    Errors: `BadImage`; `BadSetting` from `Distortion`.

    >>> images = torch.rand(1, 3, 8, 8)
    >>> bool((distort(images, Distortion(brightness=0.5)) == images / 2).all())
    True
    """
    _check_images(images)
    found = images.detach()
    height, width = found.shape[2:]
    if distortion.moves:
        middle = ((width - 1) / 2, (height - 1) / 2)
        found = sampled(found, distortion.sources(positions(height, width).to(found), middle))
    if distortion.brightness != 1:
        found = found * distortion.brightness
    if distortion.noise:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, 3, height, width, generator=generator)
        found = found + distortion.noise * noise.to(found)
    return images.detach() if distortion == _UNTOUCHED else found.clamp(0, 1)


def _check_images(images: Tensor) -> None:
    from labsupport.core import images as pictures

    pictures.check(images)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation of the numbers of each row, (N, ...) and (N, ...) to (N,): 1 where one
    is the other times a positive factor plus a constant, 0 where they have nothing in common.

    NaN where all numbers of a row are equal. Numbers that are NaN in either are left out.

    Errors: `BadSetting` for different shapes, and for infinite numbers.

    >>> correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 4.0, 6.0]]))
    tensor([1.])
    """
    one, other = _real(one), _real(other)
    if one.shape != other.shape or one.ndim < 2:
        raise BadSetting(
            f"correlation compares (N, ...) with (N, ...) of one shape, not {tuple(one.shape)} "
            f"with {tuple(other.shape)}"
        )
    if bool(one.isinf().any() | other.isinf().any().to(one.device)):
        raise BadSetting("an infinite number has no correlation: leave it out, as NaN")
    x, y = (values.flatten(1).double() for values in (one, other))
    known = x.isfinite() & y.isfinite()
    if known.all():
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    else:
        count = known.sum(1, keepdim=True).clamp_min(1)
        x, y = (torch.where(known, values, 0) for values in (x, y))
        x, y = (torch.where(known, v - v.sum(1, keepdim=True) / count, 0) for v in (x, y))
    size = x.norm(dim=1) * y.norm(dim=1)
    found = torch.where(size > 0, (x * y).sum(1) / size, math.nan)
    return found.clamp(-1, 1).float().cpu()


@dataclass(frozen=True)
class Similarity:
    """How alike a layer's activations are before and after a change: three correlations, each
    (layers, N), 1 where nothing changed.

    `maps` compares every position with itself: that is invariance in the strictest sense.
    `carried` first carries the old maps along as the picture was carried (turned, scaled,
    shifted), and compares where both are known: high where activations merely moved
    (equivariance). `pooled` compares each channel's mean over its map, wherever it fires: that is
    what a classifier behind a global average pool sees. Where a layer has one position only, or
    nothing moved, the first two are the same. NaN where all of the numbers are equal, or none is
    known: a silent layer, or one channel, does not correlate.
    """

    layers: tuple[str, ...]
    maps: Tensor
    carried: Tensor
    pooled: Tensor


def similarity(
    network: Network,
    images: Tensor,
    change: Distortion | Tensor,
    layers: Sequence[str],
    *,
    seed: int = 0,
) -> Similarity:
    """Correlate each layer's activations for images (N, 3, H, W) with those after a change.

    `change` is a distortion; or other images (N, 3, H, W), which gives what two pictures have in
    common anyway: the floor that all other numbers stand on.

    Errors: `UnknownLayer`, also for no layers; `BadImage`; `BadSetting` for other images of
    another shape.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    >>> network = networks.wrap(module, input_size=8)
    >>> found = similarity(network, torch.rand(2, 3, 8, 8), Distortion(), ["conv1"])
    >>> bool((found.maps > 0.999).all())
    True
    """
    if isinstance(layers, str) or not layers:
        raise UnknownLayer('name at least one layer, in a list: layers=["fire5", "fire9"]')
    network.check(images)
    before = images.detach()
    if isinstance(change, Tensor):
        if change.shape != images.shape:
            raise BadSetting(
                f"the other images have the shape {tuple(change.shape)}, these "
                f"{tuple(images.shape)}: one for one"
            )
        moved, after = Distortion(), change.detach()
    else:
        moved, after = change, distort(before, change, seed=seed)
    rows = []
    for one, other in zip(before, after, strict=True):
        found = network.activations(torch.stack([one, other]), layers)
        size = (one.shape[1], one.shape[2])
        rows.append([_alike(network, name, found[name], moved, size) for name in layers])
    maps, carried, pooled = torch.tensor(rows).permute(2, 1, 0)  # (3, layers, N)
    return Similarity(tuple(layers), maps, carried, pooled)


def _alike(
    network: Network, layer: str, pair: Tensor, moved: Distortion, image_size: Pair
) -> tuple[float, float, float]:
    """The three correlations of a layer's activations (2, C, ...), before and after."""
    clean, now = pair[:1], pair[1:]
    strict = float(correlation(clean, now))
    pooled = float(correlation(_pooled(clean), _pooled(now)))
    if not moved.moves or clean[0, 0].numel() == 1:
        return strict, strict, pooled
    carried = _carried(network, layer, clean, moved, image_size)
    return strict, float(correlation(carried, now)), pooled


def _carried(
    network: Network, layer: str, maps: Tensor, distortion: Distortion, image_size: Pair
) -> Tensor:
    """A layer's maps (N, C, h, w) moved as a distortion moves the picture of that size.

    A position stands for the middle of what it sees. NaN where the source lies outside the map.
    """
    height, width = maps.shape[2:]
    first = _centre(network, layer, (0, 0), image_size)
    last = _centre(network, layer, (height - 1, width - 1), image_size)
    counts = (max(width - 1, 1), max(height - 1, 1))
    stride = torch.tensor(
        [max((b - a) / n, 1e-9) for a, b, n in zip(first, last, counts, strict=True)]
    )
    start = torch.tensor(first)
    points = positions(height, width) * stride + start
    middle = ((image_size[1] - 1) / 2, (image_size[0] - 1) / 2)
    places = (distortion.sources(points, middle) - start) / stride
    slack = 1e-3
    ends = torch.tensor([width - 1.0, height - 1.0]) + slack
    inside = ((places >= -slack) & (places <= ends)).all(2)
    found = sampled(maps, places)
    return torch.where(inside.to(found.device), found, math.nan)


def _centre(network: Network, layer: str, position: Pair, image_size: Pair) -> tuple[float, float]:
    """The (x, y) of the pixel in the middle of what a position sees, borders disregarded."""
    left, top, right, bottom = receptive_box(network, layer, position, image_size, clip=False)
    return ((left + right - 1) / 2, (top + bottom - 1) / 2)


# Two pictures


@dataclass(frozen=True)
class UnitChanges:
    """How strongly each unit of a layer answers to two pictures: `first` and `second` (C,), the
    mean over its map; `order` (C,) has the units that changed most first."""

    layer: str
    first: Tensor
    second: Tensor

    @property
    def change(self) -> Tensor:
        """Second minus first, (C,)."""
        return self.second - self.first

    @property
    def order(self) -> Tensor:
        return self.change.abs().argsort(descending=True, stable=True)


def unit_changes(network: Network, first: Tensor, second: Tensor, layer: str) -> UnitChanges:
    """Which units of a layer change most between two pictures, each (1, 3, H, W), of any sizes.

    Errors: `UnknownLayer`, `BadImage`.
    """
    for image in (first, second):
        network.check(image, one=True)
    if first.shape == second.shape:  # one pass
        found = network.activations(torch.cat([first, second]), [layer])[layer]
        means = [_pooled(one[None])[0] for one in found]
    else:
        means = [_pooled(network.activations(one, [layer])[layer])[0] for one in (first, second)]
    return UnitChanges(network.layer(layer).name, *means)


def _pooled(activations: Tensor) -> Tensor:
    """(N, C, ...) to (N, C): the mean over each map."""
    return activations.flatten(2).mean(2) if activations.ndim > 2 else activations


# The classes that a unit speaks for


@dataclass(frozen=True)
class Votes:
    """What the scores (N, classes) lose when a unit is silenced: `clean` minus `silenced`.

    Above zero the unit speaks for a class in this picture, below zero against it.
    """

    target: Target
    clean: Tensor
    silenced: Tensor

    @property
    def values(self) -> Tensor:
        """The votes, (N, classes)."""
        return self.clean - self.silenced


def class_votes(network: Network, images: Tensor, unit: TargetLike) -> Votes:
    """Which classes a unit speaks for in images (N, 3, H, W): set its map to zero and see which
    scores (before softmax) fall.

    `unit` is (layer, channel), or (layer, channel, position) for a single neuron. Right behind a
    unit everything is linear only in the last layer; elsewhere this is what the unit does here,
    with all others at work.

    Errors: `UnknownLayer`; `BadSetting` for a class, or a channel or position that is not there;
    `BadImage`.
    """
    network.check(images)
    target = _unit(network, unit)
    if target.position is not None:
        network.placed(target, (images.shape[2], images.shape[3]))
    with torch.no_grad():
        pixels = network.send(images.detach())
        clean = network.part((network.output,))(pixels)[0]
        node = network.node_of(target)
        silenced = network.remember(("silencing", node), lambda: _silencing(network, node))(
            pixels, target
        )
    return Votes(target, clean.float().cpu(), silenced.float().cpu())


def _silencing(network: Network, node: fx.Node) -> fx.GraphModule:
    """(images, target) -> scores, with the target's activations at this node set to zero."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for one in network.graph.graph.nodes:
        if one.op == "output":
            graph.output(copies[network.output])
            continue
        copies[one] = graph.node_copy(one, copies.__getitem__)
        if one.op == "placeholder":
            target = graph.placeholder("target")
        if one is node:
            copies[one] = graph.call_function(_without, (copies[one], target))
    return fx.GraphModule(network.graph, graph)


def _without(activations: Tensor, target: Target) -> Tensor:
    changed = activations.clone()
    unit = changed[:, target.index]
    if target.position is None:
        unit.zero_()
    else:
        unit[:, target.position[0], target.position[1]] = 0
    return changed


def _unit(network: Network, unit: TargetLike) -> Target:
    """A unit, (layer, channel) or (layer, channel, position), checked: no class.

    Errors: `BadSetting`, `UnknownLayer`.
    """
    target = network.target(unit)
    if target.layer is None:
        raise BadSetting(
            f"{target} is a class; a unit is (layer, channel), for example "
            f"({network.layers[-1].title!r}, {target.index})"
        )
    return target


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


def unit_views(
    network: Network,
    image: Tensor,
    unit: TargetLike,
    pictures: Images | TopPatches,
    *,
    patches: int = 9,
    recipe: Recipe = CLEAR,
    album: Album | None = None,
    progress: Callable[[float], object] | None = None,
) -> UnitViews:
    """`unit_frames` to the end: the last frame alone. `progress` is called with the share done."""
    for found in unit_frames(
        network, image, unit, pictures, patches=patches, recipe=recipe, album=album
    ):
        if progress is not None:
            progress(found.progress)
    return found


def unit_frames(
    network: Network,
    image: Tensor,
    unit: TargetLike,
    pictures: Images | TopPatches,
    *,
    patches: int = 9,
    recipe: Recipe = CLEAR,
    album: Album | None = None,
    anew: bool = False,
) -> Iterator[UnitViews]:
    """All views of one unit (layer, channel), the quick ones first: its map and votes, its
    gradients, its top patches among `pictures`, the picture that excites it.

    `pictures` are scanned for the whole layer, a few between two frames; or they are top patches
    that were found before. With an `album` the last picture is looked up there, and kept; `anew`
    makes it again all the same. Close the generator to stop.

    Errors: as `class_votes`, `gradients`, `top_patches` and `ascend`.
    """
    network.check(image, one=True)
    target = _unit(network, unit)
    if target.position is not None:
        whole = (network.layer(str(target.layer)).title, target.index)
        raise BadSetting(f"{target} is one neuron; a unit here is a whole channel: {whole}")
    if not isinstance(pictures, TopPatches) and not count_of(pictures):
        raise BadSetting("there are no pictures to look for patches in")
    study = _Study(network, target, patches, recipe, album, anew)
    return study.frames(image.detach().cpu(), pictures)


@dataclass(frozen=True)
class _Study:
    network: Network
    target: Target
    patches: int
    recipe: Recipe
    album: Album | None
    anew: bool

    @property
    def unit(self) -> tuple[str, int]:
        return (str(self.target.layer), self.target.index)

    def frames(self, image: Tensor, pictures: Images | TopPatches) -> Iterator[UnitViews]:
        layer, channel = self.unit
        maps = self.network.activations(image, [layer])[layer][0]
        one = maps[channel].reshape(maps.shape[1:] or (1, 1))
        votes = class_votes(self.network, image, self.target)
        views = UnitViews(self.target, image, one, votes, progress=0.05)
        yield views
        rules = gradients(self.network, image, self.target, rules=self._rules())
        views = replace(views, gradients=rules, progress=0.1)
        yield views
        for step in self._scan(views, pictures):
            views = step
            yield views
        for found in self._grow():
            share = 0.5 + 0.5 * found.step / max(found.steps, 1)
            yield replace(views, picture=found, progress=share)

    def _rules(self) -> tuple[str, ...]:
        """Without a ReLU on the way only the plain gradient is defined."""
        node = self.network.node_of(self.target)
        return RULES if ruled_part(self.network, node, RULES[:1]).relus else RULES[:1]

    def _scan(self, views: UnitViews, pictures: Images | TopPatches) -> Iterator[UnitViews]:
        """The top patches of the layer, more and more pictures at a time."""
        if isinstance(pictures, TopPatches):
            count = sum(end - first for first, end in pictures.scanned)
            found = {"patches": pictures, "scanned": count, "pictures": count}
            yield replace(views, **found, progress=0.5)  # type: ignore[arg-type]
            return
        total, so_far = len(pictures), None
        for first in range(0, total, _CHUNK):
            chunk = [image_of(pictures, n) for n in range(first, min(first + _CHUNK, total))]
            found_here = top_patches(
                self.network, self.unit[0], chunk, k=self.patches, suppress="picture"
            )
            so_far = found_here if so_far is None else merge(so_far, found_here.shifted(first))
            done = first + len(chunk)
            share = 0.1 + 0.4 * done / total
            yield replace(views, patches=so_far, scanned=done, pictures=total, progress=share)

    def _grow(self) -> Iterator[UnitPicture]:
        """The picture that excites the unit: from the album, else step by step."""
        made_by = self._made_by()
        kept = None if self.album is None or self.anew else self.album.find(made_by)
        steps = self.recipe.steps
        if kept is not None:
            yield UnitPicture(self.target, kept, self._value(kept), steps, steps, cached=True)
            return
        for frame in ascend(self.network, self.target, recipe=self.recipe):
            image, score = frame.image, float(frame.score)
            if frame.step == steps and self.album is not None:
                image = self.album.keep(made_by, image)
                score = self._value(image)
            yield UnitPicture(self.target, image, score, frame.step, steps)

    def _value(self, image: Tensor) -> float:
        layer, channel = self.unit
        return float(self.network.activations(image, [layer])[layer][0, channel].mean())

    def _made_by(self) -> dict[str, object]:
        """What tells one such picture from another."""
        layer, channel = self.unit
        return {
            "network": network_print(self.network, layer),
            "layer": layer,
            "channel": channel,
            "size": self.network.input_size,
            "recipe": repr(self.recipe),
        }
