"""Paint one picture in the manner of another.

Gatys, Ecker and Bethge, "Image style transfer using convolutional neural networks", CVPR 2016: an
image is optimized until its code at a *content* layer is that of one picture, and the Gram matrices
of its *style* layers, G = V^T V, are those of another,

    L = alpha * content + beta * style + total variation.

- `stylize` gives the frames on the way, `paint` the last one. A `Setting` says how: layers and
  their weights, alpha and beta, the colours, the pooling, the optimizer. `BRUSH` is made for the
  bundled SqueezeNet, `GATYS` has the paper's layers of VGG; `setting_for` finds one for a network.
- `reconstruct_content` and `reconstruct_style` keep one half of the loss.
- `content_losses` and `style_losses` measure a picture, layer by layer.
- `luminance`, `recolour` and `match_colours` are the two ways to keep a picture's own colours.
- `with_average_pooling` is the network with every max-pool replaced, on a graph of its own.
- `memory_needed` and `largest_size` say how large a picture may be.

Both losses are relative: 0 is the picture's own code or matrix, 1 is as far away as nothing at all.
So weights mean the same at every layer and in every network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from labsupport.core import device as devices
from labsupport.core import images
from labsupport.core.errors import BadImage, BadSetting, UnknownLayer, nearest
from labsupport.core.images.preparation import checked_size
from labsupport.core.network import Network, tracing
from labsupport.core.network.operations import Operation, Pair, argument, operation
from labsupport.methods.optimize import (
    LBFGS,
    Adam,
    Fourier,
    Frame,
    Objective,
    Optimizer,
    Parameterization,
    Pixels,
    Recipe,
    Sum,
    TotalVariation,
    read,
    visualize,
)
from labsupport.methods.optimize.distances import CodeDistance, GramDistance

COLOURS = ("style", "luminance", "matched")
POOLING = ("max", "average")
STARTS = ("content", "style", "noise", "grey")
_BRUSH_LAYERS = {"relu1": 1.0, "fire3": 1.0, "fire4": 1.0, "fire5": 1.0}
_NOISE = 0.15  # the standard deviation of a start from noise
_EYE = (0.299, 0.587, 0.114)  # how bright red, green and blue are to an eye


@dataclass(frozen=True)
class Setting:
    """How a picture is painted.

    `content` and `style` are layers with their weights. `alpha` and `beta` weigh the two halves,
    `smooth` the total variation. `mix` weighs several styles (equal if empty). `colours` says whose
    they are: "style", or the content's own, kept by painting the "luminance" alone or by giving the
    style "matched" colours first (Gatys et al. 2016, "Preserving color in neural artistic style
    transfer"). `pooling` "average" replaces the network's max-pools, as the paper does.
    `parameterization` is what the steps move, the pixels or a spectrum behind them.
    """

    content: Mapping[str, float] = field(default_factory=lambda: {"fire4": 1.0})
    style: Mapping[str, float] = field(default_factory=lambda: dict(_BRUSH_LAYERS))
    alpha: float = 1.0
    beta: float = 4.0
    smooth: float = 5.0
    mix: tuple[float, ...] = ()
    colours: str = "style"
    pooling: str = "max"
    parameterization: Parameterization = field(default_factory=lambda: Pixels(_NOISE))
    optimizer: Optimizer = field(default_factory=lambda: LBFGS(0.02))
    steps: int = 120

    def check(self) -> None:
        """Raise `BadSetting` where a value cannot work."""
        for name, value, known in (
            ("colours", self.colours, COLOURS),
            ("pooling", self.pooling, POOLING),
        ):
            if value not in known:
                close = nearest(str(value), known, 1)[0]
                raise BadSetting(f"{name} is one of {known}, not {value!r}; the nearest: {close!r}")
        weights = {"alpha": self.alpha, "beta": self.beta, "smooth": self.smooth}
        weights |= {f"the weight of {layer}": w for layer, w in self._layers()}
        for name, weight in weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise BadSetting(f"{name} is 0 or more, not {weight}")
        if not self.used_content and not self.used_style:
            raise BadSetting("nothing is asked for: alpha and beta, or all layers' weights, are 0")

    @property
    def used_content(self) -> dict[str, float]:
        """The content layers that count, with alpha in their weights."""
        return {layer: self.alpha * w for layer, w in self.content.items() if self.alpha * w > 0}

    @property
    def used_style(self) -> dict[str, float]:
        """The style layers that count, with beta in their weights, which the layers share."""
        return {layer: self.beta * w for layer, w in self.style.items() if self.beta * w > 0}

    def _layers(self) -> list[tuple[str, float]]:
        return [*self.content.items(), *self.style.items()]


BRUSH = Setting()
# The paper's layers; its weights w_l are a fifth each.
GATYS = Setting(
    content={"conv4_2": 1.0},
    style={f"conv{block}_1": 0.2 for block in range(1, 6)},
    pooling="average",
    optimizer=LBFGS(0.02),
    steps=300,
)


@dataclass(frozen=True)
class Painting:
    """A picture on its way, after `step` of `steps` steps; everything is on the CPU.

    `image` is (1, 3, H, W) in [0, 1], with the content's colours where they are kept. `losses` has
    the relative loss of each layer ("style fire3", "content fire2") and the total variation,
    without their weights; `loss` is the sum with them, which falls. `settings` says in plain words
    and numbers how the picture was made. `stylize(..., start=painting)` goes on from it.
    """

    image: Tensor
    losses: Mapping[str, float]
    loss: float
    step: int
    steps: int
    settings: Mapping[str, Any]
    frame: Frame = field(repr=False)

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return self.frame.progress


def stylize(
    network: Network,
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    *,
    setting: Setting | None = None,
    start: str | Tensor | Painting = "content",
    steps: int | None = None,
    seed: int = 0,
    every: int = 1,
) -> Iterator[Painting]:
    """Paint the content picture in the manner of the style picture, or of several, mixed.

    Images are (1, 3, H, W); the picture has the content's size, and styles may have any: the larger
    a style picture, the larger its brush strokes. `start` is "content", "style", "noise", "grey",
    an image, or a `Painting` to go on from. A painting comes before the first step, then each
    `every` steps, and the last.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting` at once, also for a picture that does not fit
    into memory; `BadSetting` while it is painted where a value is no number any more or the picture
    has become a single colour.

    >>> from labsupport import networks
    >>> from torch import nn
    >>> parts = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    >>> network = networks.wrap(nn.Sequential(*parts), input_size=16)
    >>> few = Setting(content={"0": 1.0}, style={"0": 1.0}, steps=3)
    >>> *_, last = stylize(network, torch.rand(1, 3, 16, 16), torch.rand(1, 3, 9, 9), setting=few)
    >>> last.image.shape, last.progress
    (torch.Size([1, 3, 16, 16]), 1.0)
    """
    setting = setting_for(network) if setting is None else setting
    setting.check()
    styles = _checked(content, style, setting)
    network = with_average_pooling(network) if setting.pooling == "average" else network
    _fits(network, setting, _size(content))
    canvas = _Canvas(network, setting, content, styles)
    count = setting.steps if steps is None else steps
    begin = canvas.start(start)
    frames = visualize.frames(
        network,
        canvas.goal,
        recipe=canvas.recipe,
        start=begin,
        size=_size(content) if isinstance(begin, str) else None,
        steps=count,
        seed=seed,
        every=every,
    )
    notes = _notes(network, setting, start, count, seed)
    return _paintings(frames, canvas, notes)


def paint(
    network: Network,
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    *,
    setting: Setting | None = None,
    start: str | Tensor | Painting = "content",
    steps: int | None = None,
    seed: int = 0,
    progress: Callable[[float], object] | None = None,
) -> Painting:
    """`stylize` to the end: the last painting alone. `progress` is called with the share done.

    Errors: those of `stylize`.
    """
    every = 5 if progress else 10_000
    found = stylize(
        network,
        content,
        style,
        setting=setting,
        start=start,
        steps=steps,
        seed=seed,
        every=every,
    )
    for painting in found:
        if progress is not None:
            progress(painting.progress)
    return painting


def reconstruct_content(
    network: Network,
    image: Tensor,
    layer: str,
    *,
    setting: Setting | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Painting:
    """From noise to a picture with this image's code at one layer: what the content loss keeps.

    Errors: those of `stylize`.
    """
    only = dataclasses.replace(setting or _CONTENT_ALONE, content={layer: 1.0}, style={})
    return paint(network, image, (), setting=only, start="noise", steps=steps, seed=seed)


def reconstruct_style(
    network: Network,
    style: Tensor,
    layers: Sequence[str],
    *,
    size: int | Pair | None = None,
    setting: Setting | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Painting:
    """From noise to a picture with this image's Gram matrices at some layers: a texture.

    `size` (height, width) is the style's own by default.

    Errors: those of `stylize`.
    """
    images.check(style)
    shape = (size, size) if isinstance(size, int) else _size(style) if size is None else size
    shape = checked_size(shape)
    blank = style.new_full((1, 3, *shape), 0.5)
    weights = dict.fromkeys(layers, 1 / max(1, len(layers)))
    only = dataclasses.replace(setting or _STYLE_ALONE, content={}, style=weights)
    return paint(network, blank, style, setting=only, start="noise", steps=steps, seed=seed)


# A photograph needs a prior that a texture brings along by itself.
_CONTENT_ALONE = Setting(
    smooth=1.0, parameterization=Fourier(), optimizer=Adam(0.1, "cosine"), steps=100
)
_STYLE_ALONE = Setting(beta=1.0, smooth=0.05, steps=100)


def setting_for(network: Network) -> Setting:
    """`BRUSH` for a SqueezeNet, `GATYS` for a VGG; else like it, at layers about as deep.

    >>> from labsupport import networks
    >>> setting_for(networks.load("squeezenet1_1")) is BRUSH
    True
    """
    for known in (BRUSH, GATYS):
        if all(_has(network, layer) for layer in (*known.content, *known.style)):
            return known
    maps = [layer.name for layer in network.layers if layer.kind in ("relu", "concat")]
    maps = maps or [layer.name for layer in network.layers if layer.has_map]
    if not maps:
        raise BadSetting(f"{network.name} has no layer with a map, so it sees no style")
    depths = (0.0, 0.15, 0.3, 0.45)
    names = [maps[round(depth * (len(maps) - 1))] for depth in depths]
    return dataclasses.replace(BRUSH, content={names[1]: 1.0}, style=dict.fromkeys(names, 1.0))


def _has(network: Network, layer: str) -> bool:
    try:
        network.node(layer)
    except UnknownLayer:
        return False
    return True


# How far a picture is


def content_losses(
    network: Network, images_: Tensor, content: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """For each layer, (N,): the squared distance of the images' codes from the content's, over
    that code's squared norm.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting`.
    """
    images.check(content, one=True)
    goals = {layer: CodeDistance.to(network, layer, content) for layer in layers}
    return _values(network, images_, goals)


def style_losses(
    network: Network, images_: Tensor, style: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """For each layer, (N,): the squared distance of the images' Gram matrices from the style's,
    over that matrix's squared norm.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting`.
    """
    images.check(style, one=True)
    goals = {layer: GramDistance.to(network, layer, style) for layer in layers}
    found = _values(network, images_, goals)
    return {layer: value / _strength(goals[layer]) for layer, value in found.items()}


def _values(network: Network, images_: Tensor, goals: Mapping[str, Objective]) -> dict[str, Tensor]:
    network.check(images_)
    with torch.no_grad():
        bound = {layer: goal.bound(network) for layer, goal in goals.items()}
        found = read(network, tuple(goals), images_)
        terms = {layer: goal.terms(found) for layer, goal in bound.items()}
    return {layer: next(iter(term.values())).value.cpu() for layer, term in terms.items()}


def _strength(goal: GramDistance) -> float:
    """The squared norm of the matrix that is to be reached."""
    strength = float(goal.wanted.double().square().sum())
    if not strength > 0:
        raise BadSetting(
            f"the style is silent at {goal.layer}: its Gram matrix there is zero everywhere. "
            "Take another style layer, or a picture with more in it"
        )
    return strength


# The two ways to keep colours


def luminance(image: Tensor) -> Tensor:
    """How bright each pixel is to an eye, as a grey image (N, 3, H, W)."""
    images.check(image)
    weights = image.new_tensor(_EYE).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1).clamp(0, 1).contiguous()


def recolour(picture: Tensor, content: Tensor) -> Tensor:
    """The luminance of one picture (N, 3, H, W) with the colours of another of the same size.

    A colour that would leave [0, 1] is made paler until it fits, so the luminance stays exact.
    """
    images.check(picture)
    images.check(content)
    if picture.shape[2:] != content.shape[2:]:
        raise BadSetting(
            f"the picture is {_size(picture)} and the colours are of {_size(content)}: "
            "both need one size; images.resize(image, (height, width)) brings it there"
        )
    if len(content) not in (1, len(picture)):
        raise BadImage(
            f"colours come from one image, or from one for each picture: these are {len(content)} "
            f"for {len(picture)} pictures (content[:1])"
        )
    bright, apart = luminance(picture), content - luminance(content)
    room = torch.where(apart > 0, (1 - bright) / apart, bright / -apart)
    room = torch.where(apart == 0, torch.ones_like(room), room)
    paler = room.amin(1, keepdim=True).clamp(0, 1)
    return (bright + apart * paler).clamp(0, 1)


def match_colours(image: Tensor, reference: Tensor) -> Tensor:
    """The image with its colours moved linearly, so that their mean and covariance become the
    reference's (before what leaves [0, 1] is clipped). Images are (1, 3, H, W)."""
    images.check(image, one=True)
    images.check(reference, one=True)
    own, wanted = (part[0].double().flatten(1) for part in (image, reference))
    turn = _root(wanted) @ torch.linalg.inv(_root(own))
    colours = turn @ (own - own.mean(1, keepdim=True)) + wanted.mean(1, keepdim=True)
    found: Tensor = colours.view(image.shape).to(image.dtype).clamp(0, 1)
    return found


def _root(colours: Tensor) -> Tensor:
    """The symmetric square root of the covariance of colours (3, P)."""
    spread = torch.cov(colours) + 1e-6 * torch.eye(3, dtype=colours.dtype)
    values, vectors = torch.linalg.eigh(spread)
    root: Tensor = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    return root


# Average pooling


def with_average_pooling(network: Network) -> Network:
    """The network with every max-pool replaced by an average over the same window.

    Gatys et al. found that it gives slightly more pleasing pictures. The weights are shared, the
    graph is a new one: the given network is not changed. It is no good classifier any more.
    """
    return network.remember("average pooling", lambda: _averaging(network))


def _averaging(network: Network) -> Network:
    whole = tracing.subgraph(network.graph, (network.output,))
    end = next(node for node in whole.graph.nodes if node.op == "output")
    ((scores,),) = end.args
    end.args = (scores,)
    for node in list(whole.graph.nodes):
        found = operation(node, whole)
        if found.kind == "max_pool":
            _replace_pool(whole.graph, node, found)
    whole.recompile()
    return network.copy(graph=whole, name=f"{network.name}, average pooling")


def _replace_pool(graph: fx.Graph, node: fx.Node, found: Operation) -> None:
    name = node.meta[tracing.LAYER_NAME]
    if found.dilation != (1, 1):
        raise BadSetting(f"{name} pools with gaps (dilation): there is no such average pool")
    window = {"kernel_size": found.kernel, "stride": found.stride, "padding": found.padding}
    overhang = bool(getattr(found.module, "ceil_mode", argument(node, 5, "ceil_mode", False)))
    rest = {"ceil_mode": overhang, "count_include_pad": False}
    with graph.inserting_before(node):
        average = graph.call_function(functional.avg_pool2d, found.inputs, {**window, **rest})
    average.meta = dict(node.meta)
    node.replace_all_uses_with(average)
    graph.erase_node(node)


# How large a picture may be


def memory_needed(network: Network, layers: Sequence[str], size: Pair) -> int:
    """About how many bytes a step takes for a picture of this size (height, width), read off the
    graph: what each node up to the deepest layer keeps for the way back, and its gradient.

    Errors: `BadImage`, `UnknownLayer`.
    """
    shapes, waiting = network.shapes(size), [network.node(layer) for layer in layers]
    needed: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    numbers = sum(math.prod(shapes[node]) for node in needed if shapes[node])
    return round(_BYTES * numbers + _PIXEL_BYTES * math.prod(size))


_BYTES = 8.0  # a float32 on the way there, one on the way back
_PIXEL_BYTES = 400  # an image, and what the optimizer remembers of it


def largest_size(
    network: Network, layers: Sequence[str], size: Pair, available: int | None = None
) -> Pair:
    """The largest (height, width), no larger than `size` and in its proportions, that fits into
    `available` bytes; by default into what is free on the network's device.

    Errors: `UnknownLayer`; `BadSetting` where not even the smallest picture fits, and for fewer
    than no bytes.
    """
    free = devices.free_memory(network.device) if available is None else available
    if free is not None and not free >= 0:
        raise BadSetting(f"available is a number of bytes, 0 or more, not {free}")
    if free is None or memory_needed(network, layers, size) <= free:
        return size
    # The need grows with the pixels, but for borders: two or three guesses do.
    share, found = 1.0, size
    while _is_taken(network, found):
        needed = memory_needed(network, layers, found)
        if needed <= free:
            return found
        if found == (1, 1):
            break
        share *= 0.995 * math.sqrt(free / needed)
        found = _scaled(size, share)
    raise BadSetting(f"{_in_words(free)} of free memory are too little for any picture")


def _scaled(size: Pair, share: float) -> Pair:
    return (max(1, int(size[0] * share)), max(1, int(size[1] * share)))


def _is_taken(network: Network, size: Pair) -> bool:
    try:
        network.shapes(size)
    except BadImage:
        return False
    return True


def _fits(network: Network, setting: Setting, size: Pair) -> None:
    """Refuse a picture that the memory cannot hold, and name the largest that it can."""
    layers = [*setting.used_content, *setting.used_style]
    needed, free = memory_needed(network, layers, size), devices.free_memory(network.device)
    if free is not None and needed > free:
        raise BadSetting(_too_large(network, layers, size, free))


def _too_large(network: Network, layers: Sequence[str], size: Pair, free: int) -> str:
    needed = memory_needed(network, layers, size)
    height, width = largest_size(network, layers, size, min(free, needed - 1))
    return (
        f"a picture of {size[0]} x {size[1]} (height x width) needs about {_in_words(needed)} at "
        f"these layers, and {_in_words(free)} are free. The largest that fits is {height} x "
        f"{width}: images.resize(content, ({height}, {width})) brings it there"
    )


def _in_words(count: int) -> str:
    """Bytes for people.

    >>> _in_words(3_400_000_000), _in_words(61_000_000)
    ('3.4 GB', '61 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


# What is painted


class _Canvas:
    """Everything about a painting that is known before its first step."""

    def __init__(
        self, network: Network, setting: Setting, content: Tensor, styles: Sequence[Tensor]
    ) -> None:
        self.network, self.setting, self.content = network, setting, content.detach()
        self.shown, self.styles = self._with_its_colours(styles)
        self.names: dict[str, str] = {}
        self.strengths: dict[str, float] = {}
        self.goal = self._goal()
        penalties = (TotalVariation(setting.smooth),) if setting.smooth else ()
        self.recipe = Recipe(
            "style",
            "zeros",
            setting.parameterization,
            (),
            penalties,
            setting.optimizer,
            setting.steps,
        )

    def _with_its_colours(self, styles: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The content and the styles as the network gets to see them."""
        if self.setting.colours == "luminance":
            grey = luminance(self.content)
            return grey, [match_colours(luminance(one), grey) for one in styles]
        if self.setting.colours == "matched":
            return self.content, [match_colours(one, self.content) for one in styles]
        return self.content, list(styles)

    def _goal(self) -> Objective:
        parts: list[Objective] = []
        for layer, weight in self.setting.used_content.items():
            part = CodeDistance.to(self.network, layer, self.shown)
            parts.append(weight * part)
            self._note(f"code distance at {layer}", f"content {self._title(layer)}", 1.0)
        for layer, weight in self.setting.used_style.items():
            matrix = self._matrix(layer)
            strength = _strength(matrix)
            parts.append(weight / strength * matrix)
            self._note(f"Gram distance at {layer}", f"style {self._title(layer)}", strength)
        return Sum((1.0,) * len(parts), tuple(parts))

    def _title(self, layer: str) -> str:
        return self.network.layer(layer).title

    def _note(self, term: str, name: str, strength: float) -> None:
        self.names[term], self.strengths[term] = name, strength

    def _matrix(self, layer: str) -> GramDistance:
        """The styles' mean Gram matrix: squared distances to several, weighed and added, are the
        squared distance to their mean and a constant."""
        weights = self.setting.mix or (1.0,) * len(self.styles)
        found = [GramDistance.to(self.network, layer, one).wanted for one in self.styles]
        mixed = sum(w * one for w, one in zip(weights, found, strict=True))
        return GramDistance(layer, torch.as_tensor(mixed) / sum(weights))

    def start(self, start: str | Tensor | Painting) -> str | Tensor | Frame:
        """What the ascent begins with."""
        if isinstance(start, Painting):
            return start.frame
        if isinstance(start, Tensor):
            return luminance(start) if self.setting.colours == "luminance" else start
        if start == "content":
            return self.shown
        if start == "style":
            return _covering(self.styles[0], _size(self.content))
        return start

    def painting(self, frame: Frame, notes: Mapping[str, Any]) -> Painting:
        """What a frame shows, in this lab's words."""
        image = frame.image
        if self.setting.colours == "luminance":
            image = recolour(image, self.content.cpu())
        losses = {
            self.names.get(term, term): float(value) / self.strengths.get(term, 1.0)
            for term, value in frame.terms.items()
        }
        used = self.setting
        weights = {f"content {self._title(layer)}": w for layer, w in used.used_content.items()}
        weights |= {f"style {self._title(layer)}": w for layer, w in used.used_style.items()}
        weights["total variation"] = used.smooth
        loss = sum(weights[name] * value for name, value in losses.items())
        return Painting(image, losses, loss, frame.step, frame.steps, notes, frame)


def _paintings(
    frames: Iterator[Frame], canvas: _Canvas, notes: Mapping[str, Any]
) -> Iterator[Painting]:
    size = _size(canvas.content)
    try:
        for frame in frames:
            if frame.step and _is_blank(frame.image):
                raise BadSetting(_blank(canvas.setting, frame.step))
            yield canvas.painting(frame, notes)
    except RuntimeError as error:
        if not devices.out_of_memory(error):
            raise
        layers = [*canvas.setting.used_content, *canvas.setting.used_style]
        half = memory_needed(canvas.network, layers, size) // 2
        raise BadSetting(_too_large(canvas.network, layers, size, half)) from error


def _is_blank(image: Tensor) -> bool:
    return float(image.amax() - image.amin()) < 0.02


def _blank(setting: Setting, step: int) -> str:
    optimizer = setting.optimizer
    return (
        f"step {step}: the picture has become a single colour. Give the total variation less "
        f"weight (smooth={setting.smooth / 100:g} instead of {setting.smooth:g}), take smaller "
        f"steps than {type(optimizer).__name__}({optimizer.learning_rate:g}), or a style with more "
        "in it"
    )


def _checked(
    content: Tensor, style: Tensor | Sequence[Tensor], setting: Setting
) -> tuple[Tensor, ...]:
    """The styles, once everything is seen to be an image of its own."""
    styles = (style,) if isinstance(style, Tensor) else tuple(style)
    for one in (content, *styles):
        images.check(one)
        if len(one) != 1:
            raise BadSetting(
                f"one picture at a time: (1, 3, H, W), not {tuple(one.shape)}; images[:1] takes "
                "the first. Several styles go into a list: [one, other]"
            )
    if setting.used_style and not styles:
        raise BadSetting("there is no style: give an image, or a list of images")
    if setting.mix and len(setting.mix) != len(styles):
        raise BadSetting(f"mix has {len(setting.mix)} weights for {len(styles)} styles")
    if any(not w >= 0 for w in setting.mix) or (setting.mix and not sum(setting.mix) > 0):
        raise BadSetting(f"mix has weights from 0 on, not all of them 0: not {setting.mix}")
    return tuple(one.detach() for one in styles)


def _size(image: Tensor) -> Pair:
    return (image.shape[2], image.shape[3])


def _covering(image: Tensor, size: Pair) -> Tensor:
    """The image as large as it must be to cover this size, and the middle of it."""
    share = max(size[0] / image.shape[2], size[1] / image.shape[3])
    grown = (
        max(size[0], round(image.shape[2] * share)),
        max(size[1], round(image.shape[3] * share)),
    )
    return images.resize(image, grown, crop=size).contiguous()


def _notes(
    network: Network,
    setting: Setting,
    start: str | Tensor | Painting,
    steps: int,
    seed: int,
) -> dict[str, Any]:
    """How a picture was made, in plain words and numbers."""
    begun = f"step {start.step}" if isinstance(start, Painting) else start
    optimizer = setting.optimizer
    return {
        "network": network.name,
        "weights": network.source,
        "content layers": setting.used_content,
        "style layers": setting.used_style,
        "total variation": setting.smooth,
        "mix": list(setting.mix),
        "colours": setting.colours,
        "pooling": setting.pooling,
        "optimizer": f"{type(optimizer).__name__}, learning rate {optimizer.learning_rate:g}",
        "steps": steps,
        "start": begun if isinstance(begun, str) else "an image",
        "seed": seed,
    }
