"""Occlusion: hide a part of the image and see what the network's answer loses.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014: a square
slides over the image, and for each of its positions the network answers anew. Where the answer
breaks down, there was something that it needed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from labsupport.core import modes, workers
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.frames import Shortcut, framed, last_of
from labsupport.core.images import check
from labsupport.core.network import Box, Network, Pair, Target, TargetLike
from labsupport.core.network.incremental import Chunk, CleanImage, Output, Plan, Recomputer
from labsupport.core.network.layers import Layer

VIEWS = ("score", "probability", "best_class", "activity")
Fill = str | tuple[float, float, float] | Tensor

_BATCH = 8  # larger plain batches are slower on a CPU
_CHUNK_BYTES = 3 * 2**20  # of the largest layer's windows, so that they stay in the cache
_COARSEST = 8  # the first frame's step, in strides


@dataclass(frozen=True)
class OcclusionMap:
    """What the network answers for every position of the occluding window.

    `values` has one matrix (rows, columns) per view: "score" and "probability" of the target,
    "best_class" (the index of the most probable class) and "activity" (the total activation of
    one feature map, which `units` names). `clean` has the same for the untouched image. `rows`
    and `columns` say which pixels each position hides: (first, one past the last). `computed` is
    False where a position still shows its neighbour's value, on the way from a coarse map to a
    fine one. `how` says whether the network allowed the incremental way.
    """

    target: Target
    values: Mapping[str, Tensor]
    clean: Mapping[str, float]
    rows: tuple[Pair, ...]
    columns: tuple[Pair, ...]
    image_size: Pair
    computed: Tensor
    how: str
    units: Mapping[str, Target]  # the feature map of each view of activity

    @property
    def progress(self) -> float:
        """The share of the positions that is computed, 0 to 1."""
        return float(self.computed.float().mean())

    def box(self, row: int, column: int) -> Box:
        """What a position hides: (left, top, right, bottom) in image pixels."""
        (top, bottom), (left, right) = self.rows[row], self.columns[column]
        return (left, top, right, bottom)

    def lowest(self, view: str = "score") -> Pair:
        """The position (row, column) that hurts the answer most."""
        place = int(self.values[view].argmin())
        return divmod(place, len(self.columns))

    def pixels(self, view: str = "score") -> Tensor:
        """The map in image pixels, (H, W): for each pixel the mean over the windows that hide it.

        A pixel that no window hides (there is one only where the stride is larger than the
        window) has the clean value.
        """
        if view == "best_class":
            raise BadSetting("classes have no mean: values['best_class'] is the map of indices")
        down = _covering(self.rows, self.image_size[0])  # (H, rows)
        across = _covering(self.columns, self.image_size[1])
        total = down @ self.values[view].double() @ across.T
        count = down.sum(1)[:, None] * across.sum(1)[None, :]
        covered = torch.where(count > 0, total / count.clamp_min(1), self.clean[view])
        return covered.to(torch.float32)


@framed
def occlusion_map(
    network: Network,
    image: Tensor,
    target: TargetLike,
    *,
    window: int | Pair = 32,
    stride: int | Pair = 8,
    fill: Fill = "mean",
    views: Sequence[str] = ("score",),
) -> Iterator[OcclusionMap]:
    """Hide every part of an image (1, 3, H, W) in turn and record what becomes of the target.

    `window` and `stride` are in pixels, or (rows, columns). The positions start at the upper left
    corner, one stride apart; the last ones are clipped at the border, so every pixel is hidden
    once. `fill` is what hides it: "mean" (the network's mean colour: zero after normalization),
    "grey", "black", "white", "noise" (always the same), "blur", a colour (red, green, blue) in
    [0, 1], or an image (1, 3, H, W) that shows through.
    `views` says what is recorded, see `OcclusionMap`. "activity" is of the strongest feature map
    of the last layer with maps; "activity:fire5" of the strongest in that layer,
    "activity:fire5:12" of its channel 12.

    The result is exact. Where the network allows it, only what the window can change is computed
    again; `how` says so. The frames give at once a coarse map of the whole image, then finer ones;
    no position is computed twice.

    Errors: `BadSetting` (window, stride, fill, views), `BadImage`, `UnknownClass`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> bright = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    >>> network = networks.wrap(bright, categories=["dark", "bright"], input_size=16)
    >>> occluded = occlusion_map(network, torch.ones(1, 3, 16, 16), "bright", window=8, stride=4)
    >>> occluded.values["score"].shape
    torch.Size([3, 3])
    """
    network.check(image, one=True)
    image = image.detach()
    size = (image.shape[2], image.shape[3])
    wanted = network.placed(network.target(target), size)
    names = _checked_views(views, wanted)
    rows, columns = _positions(size, _pair("window", window), _pair("stride", stride))
    filled = fill_image(network, image, fill)
    units = {name: _unit(network, image, name) for name in names if name.startswith("activity")}
    experiment = _Experiment(network, image, filled, wanted, names, units, rows, columns)
    return Shortcut(_map_frames(experiment, _COARSEST), lambda: last_of(_map_frames(experiment, 1)))


def occlude(image: Tensor, box: Box, fill: Tensor) -> Tensor:
    """The image with the part (left, top, right, bottom) of another image in its place.

    Both are (1, 3, H, W); `fill_image` makes the other one. The image itself is left as it is.

    Errors: `BadImage`; `BadSetting` for a box that is empty or reaches over the image, or a fill
    of another size.

    >>> hidden = occlude(torch.zeros(1, 3, 4, 4), (1, 0, 3, 2), torch.ones(1, 3, 4, 4))
    >>> hidden[0, 0, 0]
    tensor([0., 1., 1., 0.])
    """
    check(image)
    height, width = image.shape[2:]
    left, top, right, bottom = box if len(box) == 4 else (0, 0, 0, 0)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise BadSetting(
            f"the box {tuple(box)} is (left, top, right, bottom) in pixels, inside an image that "
            f"is {width} wide and {height} high"
        )
    if fill.shape[1:] != image.shape[1:] or len(fill) not in (1, len(image)):
        raise BadSetting(f"the fill is {tuple(fill.shape)}, the image {tuple(image.shape)}")
    hidden = image.clone()
    hidden[..., top:bottom, left:right] = fill[..., top:bottom, left:right]
    return hidden


def sign_changes(
    network: Network, image: Tensor, box: Box, layer: str, *, fill: Fill = "grey"
) -> Tensor:
    """Which features of a layer a hidden part lowers (1), raises (-1) or leaves alone (0).

    Zeiler and Fergus' correspondence test compares these between images: sign(clean - occluded),
    (features,), for one image (1, 3, H, W).

    Errors: `BadSetting`, `BadImage`, `UnknownLayer`.
    """
    network.check(image, one=True)
    pair = torch.cat([image, occlude(image, box, fill_image(network, image, fill))])
    clean, hidden = network.activations(pair, [layer])[layer]
    signs: Tensor = (clean - hidden).sign()
    return signs.flatten()


def correspondence(changes: Tensor) -> float:
    """How differently the same hidden part acts in several images: 0 (in the same way) to 1.

    `changes` (images, features) holds one `sign_changes` per image. The result is the share of
    features whose signs differ, averaged over all pairs of images (Zeiler and Fergus, table 1).

    Errors: `BadSetting` for fewer than two images.

    >>> correspondence(torch.tensor([[1, 0, -1, 1], [1, 0, 1, 1]]))
    0.25
    """
    count = len(changes)
    if changes.ndim != 2 or count < 2:
        raise BadSetting("changes is (images, features), one row per image, two rows at least")
    if not changes.shape[1] or not bool(changes.isfinite().all()):
        raise BadSetting("changes has to hold a number for at least one feature, and no NaN")
    apart = torch.pdist(changes.float(), p=0)  # the number of features that differ, per pair
    return float(apart.mean() / changes.shape[1])


# Fills


def fill_image(network: Network, image: Tensor, fill: Fill = "mean") -> Tensor:
    """What an occluding window of this fill shows, over the whole image, (1, 3, H, W).

    Errors: `BadImage`; `BadSetting` for an unknown fill, a colour outside [0, 1] or an image of
    another size.
    """
    check(image)
    if isinstance(fill, Tensor):
        if fill.shape != image.shape:
            raise BadSetting(f"the fill is {tuple(fill.shape)}, the image {tuple(image.shape)}")
        network.check(fill)
        return fill.detach().clone()
    if not isinstance(fill, str):
        return _colored(image, fill)
    one_of(fill, FILLS, "fill", " A colour is (red, green, blue) in [0, 1]")
    return FILLS[fill](network, image.detach())


def _colored(image: Tensor, color: Sequence[float]) -> Tensor:
    try:
        red, green, blue = (float(part) for part in color)
    except (TypeError, ValueError):
        red = green = blue = math.nan
    if not all(0 <= part <= 1 for part in (red, green, blue)):
        raise BadSetting(f"a colour is (red, green, blue) in [0, 1], not {color!r}")
    return torch.empty_like(image).copy_(torch.tensor([red, green, blue]).view(1, 3, 1, 1))


def _blurred(_: Network, image: Tensor) -> Tensor:
    side = max(3, min(image.shape[2:]) // 8) | 1  # odd
    blurred: Tensor = transforms.gaussian_blur(image, [side, side], [side / 4] * 2)
    return blurred.clamp(0, 1)


# The fills that have a name: each makes of an image another one of its size.
FILLS: Mapping[str, Callable[[Network, Tensor], Tensor]] = {
    "mean": lambda network, image: _colored(image, network.mean),
    "grey": lambda _, image: _colored(image, (0.5, 0.5, 0.5)),
    "black": lambda _, image: _colored(image, (0.0, 0.0, 0.0)),
    "white": lambda _, image: _colored(image, (1.0, 1.0, 1.0)),
    "noise": lambda _, image: torch.rand(image.shape, generator=torch.Generator().manual_seed(0)),
    "blur": _blurred,
}


# What is asked


@dataclass(frozen=True)
class _Experiment:
    """What is hidden by what, and what is recorded: all that is known before the first pass."""

    network: Network
    image: Tensor
    fill: Tensor  # the image that shows through the window
    target: Target
    views: tuple[str, ...]
    units: Mapping[str, Target]
    rows: tuple[Pair, ...]
    columns: tuple[Pair, ...]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the network has to compute: all scores, the target's own number, maps' means."""
        outputs = [Output(self.network.output)] if self._all_scores else []
        if self._own_number:
            node = self.network.node_of(self.target)
            outputs.append(Output(node, self.target.index, self.target.position))
        for unit in self.units.values():
            outputs.append(Output(self.network.node_of(unit), unit.index))
        return tuple(outputs)

    @property
    def _all_scores(self) -> bool:
        return bool({"probability", "best_class"} & set(self.views))

    @property
    def _own_number(self) -> bool:
        return "score" in self.views and not (self._all_scores and self.target.layer is None)

    def read(self, answers: Sequence[Tensor]) -> dict[str, Tensor]:
        """The views (N,) from the answers (N, channels) to `outputs`."""
        left = list(answers)
        values: dict[str, Tensor] = {}
        if self._all_scores:
            scores = left.pop(0)
            values["probability"] = scores.softmax(1)[:, self.target.index]
            values["best_class"] = scores.argmax(1)
            values["score"] = scores[:, self.target.index]
        if self._own_number:
            values["score"] = left.pop(0)[:, 0]
        for view, unit in self.units.items():
            shape = self.network.shapes(self.size)[self.network.node_of(unit)]
            values[view] = left.pop(0)[:, 0] * math.prod(shape[2:])  # the mean to the total
        return {view: values[view] for view in self.views}

    @property
    def size(self) -> Pair:
        return (self.image.shape[2], self.image.shape[3])


def _pair(name: str, value: int | Pair) -> Pair:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise BadSetting(f"{name} is a number of pixels above 0, or (rows, columns), not {value!r}")
    return (pair[0], pair[1])


def _positions(size: Pair, window: Pair, stride: Pair) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    if window[0] > size[0] or window[1] > size[1]:
        raise BadSetting(
            f"a window of {window[0]} x {window[1]} pixels is larger than the image "
            f"({size[0]} x {size[1]}): make it smaller"
        )
    down, across = (
        tuple(
            (place * step, min(length, place * step + side))
            # A stride over the window would put the last position beyond the border.
            for place in range(min(math.ceil((length - side) / step), (length - 1) // step) + 1)
        )
        for length, side, step in zip(size, window, stride, strict=True)
    )
    return down, across


def _checked_views(views: Sequence[str], target: Target) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(views))
    for view in chosen:
        if not view.startswith("activity:"):
            one_of(view, VIEWS, "a view")
    if not chosen:
        raise BadSetting(f"name at least one view: {', '.join(VIEWS)}")
    if "probability" in chosen and target.layer is not None:
        raise BadSetting(
            f"{target} is no class, so it has no probability: ask for the view 'score'"
        )
    return chosen


def _unit(network: Network, image: Tensor, view: str) -> Target:
    """The feature map of a view of activity: the one named, or the strongest of the layer."""
    _, layer, channel = (*view.split(":"), "", "")[:3]
    place = network.with_maps(layer) if layer else _last_maps(network)
    if place is None:
        raise BadSetting(f"{network.name} has no feature maps, so it has no 'activity'")
    if channel:
        if not channel.isdecimal():
            raise BadSetting(f"{view!r} names no channel: write it as 'activity:{layer}:12'")
        return network.target((place.name, int(channel)))
    maps = network.activations(image, [place.name])[place.name]
    return network.target((place.name, int(maps.sum((0, 2, 3)).argmax())))


def views_of(network: Network) -> tuple[str, ...]:
    """Those of `VIEWS` that a network has: classes, and feature maps for the "activity"."""
    of_classes = VIEWS[:-1] if network.categories else ("score",)
    return (*of_classes, *VIEWS[-1:]) if _last_maps(network) else of_classes


def _last_maps(network: Network) -> Layer | None:
    """The last layer of feature maps before the head; None where there is none."""
    kinds = {"relu", "relu6", "max_pool", "concat", "add", "conv", "avg_pool", "pointwise"}
    fitting = [
        layer
        for layer in network.layers
        if layer.has_map
        and layer.kind in kinds
        and layer.shape[1:] != (1, 1)
        and layer.shape[0] != len(network.categories)
    ]
    return fitting[-1] if fitting else None


# How it is computed


def _map_frames(experiment: _Experiment, coarsest: int) -> Generator[OcclusionMap]:
    """Frames of the map, from every `coarsest`-th position to every one."""
    engine = _engine(experiment)
    map_ = _PartialMap(experiment, engine)

    def reader() -> Callable[[Chunk], dict[str, Tensor]]:
        follow = engine.make()
        return lambda chunk: experiment.read(follow(chunk))

    for step in (coarsest >> halvings for halvings in range(coarsest.bit_length())):
        chunks = _chunks(experiment, step, coarsest, engine)
        jobs = workers.in_order(reader, chunks, threads=engine.threads)
        with contextlib.closing(jobs):  # type: ignore[type-var]
            for chunk, values in jobs:
                map_.paint(chunk, step, values)
                if step < coarsest:
                    yield map_.frame()
        if step == coarsest:
            yield map_.frame()


def _chunks(
    experiment: _Experiment, step: int, coarsest: int, engine: _IncrementalEngine | _PlainEngine
) -> list[Chunk]:
    """The positions that a level adds to the coarser ones before it, in chunks."""
    rows, columns = experiment.rows[::step], experiment.columns[::step]
    if step == coarsest:
        return list(_grid(rows, columns, engine))
    old_rows, old_columns = experiment.rows[:: 2 * step], experiment.columns[:: 2 * step]
    new_rows = [span for span in rows if span not in set(old_rows)]
    new_columns = [span for span in columns if span not in set(old_columns)]
    return [*_grid(new_rows, columns, engine), *_grid(old_rows, new_columns, engine)]


def _grid(
    rows: Sequence[Pair], columns: Sequence[Pair], engine: _IncrementalEngine | _PlainEngine
) -> Iterator[Chunk]:
    side = max(1, math.isqrt(engine.per_chunk))
    for down in _in_phase(rows, engine.phase[0], side):
        for across in _in_phase(columns, engine.phase[1], max(1, engine.per_chunk // side)):
            yield Chunk(down, across)


def _in_phase(spans: Sequence[Pair], phase: int, most: int) -> Iterator[tuple[Pair, ...]]:
    """Spans that start at equal places modulo the total stride, at most so many together."""
    for start in sorted({first % phase for first, _ in spans}):
        group = [span for span in spans if span[0] % phase == start]
        parts = math.ceil(len(group) / most)
        for part in range(parts):
            yield tuple(group[part * len(group) // parts : (part + 1) * len(group) // parts])


class _PartialMap:
    """The map while its positions are computed."""

    def __init__(self, experiment: _Experiment, engine: _IncrementalEngine | _PlainEngine) -> None:
        self.experiment, self.how = experiment, engine.how
        shape = (len(experiment.rows), len(experiment.columns))
        clean = experiment.read(engine.clean)
        for value in clean.values():
            experiment.network.numbers(value)
        self.clean = {view: value[0].item() for view, value in clean.items()}
        self.values = {view: value[0].expand(shape).clone() for view, value in clean.items()}
        self.computed = torch.zeros(shape, dtype=torch.bool)
        self._row = {span: place for place, span in enumerate(experiment.rows)}
        self._column = {span: place for place, span in enumerate(experiment.columns)}

    def paint(self, chunk: Chunk, step: int, values: Mapping[str, Tensor]) -> None:
        """Each position paints a block of `step` x `step` around itself, until finer ones come."""
        before, after = step // 2, (step + 1) // 2
        places = [(self._row[r], self._column[c]) for r in chunk.rows for c in chunk.columns]
        for number, (row, column) in enumerate(places):
            block = tuple(
                # The last of a level also stands for those after it.
                slice(max(0, place - before), place + after if place + step < count else count)
                for place, count in zip((row, column), self.computed.shape, strict=True)
            )
            for view, value in values.items():
                self.values[view][block] = value[number]
            self.computed[row, column] = True

    def frame(self) -> OcclusionMap:
        experiment = self.experiment
        return OcclusionMap(
            experiment.target,
            {view: value.clone() for view, value in self.values.items()},
            dict(self.clean),
            experiment.rows,
            experiment.columns,
            experiment.size,
            self.computed.clone(),
            self.how,
            experiment.units,
        )


class _IncrementalEngine:
    """Answers for chunks of positions by recomputing windows.

    `make` builds one thread's way to compute them; `clean` is the answer for the untouched image.
    """

    how = "incremental: only what the window can change is computed again"

    def __init__(self, experiment: _Experiment, plan: Plan) -> None:
        device = experiment.network.device
        self.threads = torch.get_num_threads() if device.type == "cpu" else 1
        self.phase = _total_stride(plan)
        self.per_chunk = _boxes_per_chunk(plan, experiment)
        self._image = CleanImage(plan, experiment.image, experiment.fill)
        self.clean = [o.of(self._image.values[o.node]).cpu() for o in plan.outputs]

    def make(self) -> Callable[[Chunk], list[Tensor]]:
        return Recomputer(self._image).recompute


class _PlainEngine:
    """The same by computing everything again, in batches."""

    threads = 1
    phase = (1, 1)
    per_chunk = _BATCH

    def __init__(self, experiment: _Experiment) -> None:
        self._experiment = experiment
        network = experiment.network
        self.how = f"plain batches: {network.name} has layers that see the whole image early on"
        if network.one_by_one:
            self.how = (
                f"image by image: what {network.name} says of one may depend on the others of a "
                "batch"
            )
        self.clean = self._answers(experiment.image)

    def make(self) -> Callable[[Chunk], list[Tensor]]:
        return self._follow

    def _follow(self, chunk: Chunk) -> list[Tensor]:
        image, fill = self._experiment.image, self._experiment.fill
        boxes = [
            (left, top, right, bottom)
            for top, bottom in chunk.rows
            for left, right in chunk.columns
        ]
        return self._answers(torch.cat([occlude(image, box, fill) for box in boxes]))

    def _answers(self, images: Tensor) -> list[Tensor]:
        network, outputs = self._experiment.network, self._experiment.outputs
        part = network.part(tuple(output.node for output in outputs))
        with torch.no_grad():
            values = part(network.send(images))
        return [o.of(value).cpu() for value, o in zip(values, outputs, strict=True)]


def _engine(experiment: _Experiment) -> _IncrementalEngine | _PlainEngine:
    network, outputs, size = experiment.network, experiment.outputs, experiment.size
    plan = network.remember(("recomputation", outputs, size), lambda: Plan(network, outputs, size))
    return _IncrementalEngine(experiment, plan) if plan.possible else _PlainEngine(experiment)


def _total_stride(plan: Plan) -> Pair:
    """After so many pixels a window falls on all maps as before."""
    rows = columns = 1
    for operation in plan.windowed:
        stride = plan.network.stride(operation.node)
        rows, columns = max(rows, stride[0]), max(columns, stride[1])
    return (rows, columns)


def _boxes_per_chunk(plan: Plan, experiment: _Experiment) -> int:
    rows, columns = plan.cones(Chunk(experiment.rows[:1], experiment.columns[:1]))
    largest = max(
        rows[o.node].size * columns[o.node].size * plan.channels(o.node) for o in plan.windowed
    )
    room = _CHUNK_BYTES if experiment.network.device.type == "cpu" else 64 * _CHUNK_BYTES
    return max(1, room // (4 * largest))


def _covering(spans: Sequence[Pair], length: int) -> Tensor:
    """Which pixels each span hides, (length, spans), as 0.0 and 1.0."""
    pixels = torch.arange(length)[:, None]
    first, end = torch.tensor(spans).T
    hides: Tensor = (pixels >= first) & (pixels < end)
    return hides.double()


modes.keep(__name__)
