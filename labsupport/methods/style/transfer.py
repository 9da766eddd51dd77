"""The transfer: an image is optimized for one picture's content and the style of others; and how
far it is from them, layer by layer."""

import contextlib
import hashlib
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from labsupport.core import device as devices
from labsupport.core import images
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.frames import Shortcut, Stepwise, framed, last_of
from labsupport.core.network import Network, Pair, graphs
from labsupport.methods import optimize
from labsupport.methods.codes import fitted
from labsupport.methods.optimize import CodeDistance, Frame, GramDistance
from labsupport.methods.optimize.distances import all_codes_of, gram
from labsupport.methods.optimize.objectives import read
from labsupport.methods.style.colours import luminance, match_colours, recolour
from labsupport.methods.style.recipe import StyleRecipe, recipe_for, with_average_pooling


def content_losses(
    network: Network, images_: Tensor, content: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """For each layer, (N,): the squared distance of the images' codes from the content's, over
    that code's squared norm.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting`.
    """
    return _losses(network, images_, content, layers, CodeDistance)


def style_losses(
    network: Network, images_: Tensor, style: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """For each layer, (N,): the squared distance of the images' Gram matrices from the style's,
    over that matrix's squared norm.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting`.
    """
    return _losses(network, images_, style, layers, GramDistance)


def _losses(
    network: Network,
    images_: Tensor,
    reference: Tensor,
    layers: Sequence[str],
    kind: type[CodeDistance | GramDistance],
) -> dict[str, Tensor]:
    images.check(reference, one=True)
    network.check(images_, up_to=map(network.node, layers))
    losses = {}
    with torch.no_grad():
        activations = read(network, tuple(layers), images_)
        for layer in layers:
            distance = kind.to(network, layer, reference)
            (term,) = distance.bound(network).terms(activations).values()
            losses[layer] = term.value.cpu() / strength(distance)
    return losses


def strength(distance: CodeDistance | GramDistance) -> float:
    """What a distance is divided by to become relative: a code distance is so already."""
    if isinstance(distance, CodeDistance):
        return 1.0
    squared_norm = float(distance.wanted.double().square().sum())
    if not squared_norm > 0:
        raise BadSetting(
            f"the style is silent at {distance.layer}: its Gram matrix there is zero everywhere. "
            "Take another style layer, or a picture with more in it"
        )
    return squared_norm


# How far a picture is from another's content and style, layer by layer


_BYTES = 8.0  # a float32 in the forward pass, one in the backward pass
_PIXEL_BYTES = 400  # an image, and what the optimizer remembers of it


@dataclass(frozen=True)
class StyleFrame(Stepwise):
    """A picture on its way, after `step` of `steps` steps; everything is on the CPU.

    `image` is (1, 3, H, W) in [0, 1], with the content's colours where they are kept. `losses` has
    the relative loss of each layer ("style fire3", "content fire2") and the total variation,
    without their weights; `loss` is the sum with them, which falls. `history` has the `losses` of
    all frames so far, this one last. `settings` says in plain words and numbers how the picture was
    made, and how much memory a step needs. `stylize(..., start=frame)` goes on from it.
    """

    image: Tensor
    losses: Mapping[str, float]
    loss: float
    step: int
    steps: int
    settings: Mapping[str, Any]
    frame: Frame = field(repr=False)
    history: tuple[Mapping[str, float], ...] = ()


@framed
def stylize(
    network: Network,
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    *,
    recipe: StyleRecipe | None = None,
    start: str | Tensor | StyleFrame = "content",
    steps: int | None = None,
    seed: int = 0,
    every: int = 1,
) -> Iterator[StyleFrame]:
    """Paint the content picture in the manner of the style picture, or of several, mixed: the last
    frame. `.frames` gives one before the first step, then each `every` steps, and the last.

    Images are (1, 3, H, W); the picture has the content's size, and styles may have any: the larger
    a style picture, the larger its brush strokes. `start` is "content", "style", "noise", "grey",
    an image, or a `StyleFrame` to go on from.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting` at once, also for a picture that does not fit
    into memory; `BadSetting` while it is painted where a value is no number any more or the picture
    has become a single colour.

    >>> from labsupport import networks
    >>> from torch import nn
    >>> parts = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    >>> network = networks.wrap(nn.Sequential(*parts), input_size=16)
    >>> few = StyleRecipe(content_layers={"0": 1.0}, style_layers={"0": 1.0}, steps=3)
    >>> last = stylize(network, torch.rand(1, 3, 16, 16), torch.rand(1, 3, 9, 9), recipe=few)
    >>> last.image.shape, last.progress
    (torch.Size([1, 3, 16, 16]), 1.0)
    """
    recipe = recipe_for(network) if recipe is None else recipe
    styles = _checked(content, style, recipe)
    network = with_average_pooling(network) if recipe.pooling == "average" else network
    size = _size(content)
    check_memory(network, recipe.layers, size)
    transfer = _Transfer(network, recipe, content.detach(), styles, start)
    begin = transfer.begin()
    count = recipe.steps if steps is None else steps
    optimized = optimize.visualize.frames(
        network,
        transfer.objective,
        recipe=transfer.optimization,
        start=begin,
        size=size if isinstance(begin, str) else None,
        steps=count,
        seed=seed,
        every=every,
    )

    def last() -> Iterator[Frame]:
        yield last_of(optimized)

    return Shortcut(transfer.frames(optimized), lambda: next(transfer.frames(last())))


# A photograph needs a prior that a texture brings along by itself.
_CONTENT_ALONE = StyleRecipe(
    tv=1.0, parameterization=optimize.Fourier(), optimizer=optimize.Adam(0.1, "cosine"), steps=100
)
_STYLE_ALONE = StyleRecipe(beta=1.0, tv=0.05, steps=100)


@framed
def reconstruct_content(
    network: Network,
    image: Tensor,
    layer: str,
    *,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[StyleFrame]:
    """From noise to a picture with this image's code at one layer: what the content loss keeps.

    Errors: those of `stylize`.
    """
    alone = replace(_CONTENT_ALONE, content_layers={layer: 1.0}, style_layers={})
    return stylize.frames(network, image, (), recipe=alone, start="noise", steps=steps, seed=seed)


@framed
def reconstruct_style(
    network: Network,
    style: Tensor,
    layers: Sequence[str],
    *,
    size: int | Pair | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[StyleFrame]:
    """From noise to a picture with this image's Gram matrices at some layers: a texture.

    `size` (height, width) is the style's own by default.

    Errors: those of `stylize`.
    """
    images.check(style)
    shape = (size, size) if isinstance(size, int) else _size(style) if size is None else size
    blank = style.new_full((1, 3, *images.checked_size(shape)), 0.5)
    weights = dict.fromkeys(layers, 1 / max(1, len(layers)))
    alone = replace(_STYLE_ALONE, content_layers={}, style_layers=weights)
    return stylize.frames(
        network, blank, style, recipe=alone, start="noise", steps=steps, seed=seed
    )


def _checked(
    content: Tensor, style: Tensor | Sequence[Tensor], recipe: StyleRecipe
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
    if recipe.style_weights and not styles:
        raise BadSetting("there is no style: give an image, or a list of images")
    if recipe.mix and len(recipe.mix) != len(styles):
        raise BadSetting(f"mix has {len(recipe.mix)} weights for {len(styles)} styles")
    if any(not w >= 0 for w in recipe.mix) or (recipe.mix and not sum(recipe.mix) > 0):
        raise BadSetting(f"mix has weights from 0 on, not all of them 0: not {recipe.mix}")
    return tuple(one.detach() for one in styles)


@dataclass(frozen=True)
class _LayerLoss:
    """One layer's part of the loss, `weight` times the distance over its `strength`."""

    name: str
    weight: float
    strength: float
    distance: optimize.Objective


class _Transfer:
    """Everything about a transfer that is known before its first step."""

    def __init__(
        self,
        network: Network,
        recipe: StyleRecipe,
        content: Tensor,
        styles: Sequence[Tensor],
        start: str | Tensor | StyleFrame,
    ) -> None:
        self.network, self.recipe, self.content, self.start = network, recipe, content, start
        self.memory = _in_words(memory_needed(network, recipe.layers, _size(content)))
        self.shown, self.styles = self._with_kept_colours(styles)
        self.losses = self._layer_losses()
        parts = tuple(one.weight / one.strength * one.distance for one in self.losses)
        self.objective: optimize.Objective = optimize.Sum((1.0,) * len(parts), parts)

    @property
    def optimization(self) -> optimize.Recipe:
        """The recipe as the engine takes it."""
        how = self.recipe
        penalties = (optimize.TotalVariation(how.tv),) if how.tv else ()
        return optimize.Recipe(
            "style", "zeros", how.parameterization, (), penalties, how.optimizer, how.steps
        )

    def _with_kept_colours(self, styles: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The content and the styles as the network gets to see them."""
        if self.recipe.colours == "luminance":
            grey = luminance(self.content)
            return grey, [match_colours(luminance(one), grey) for one in styles]
        if self.recipe.colours == "matched":
            return self.content, [match_colours(one, self.content) for one in styles]
        return self.content, list(styles)

    def _layer_losses(self) -> list[_LayerLoss]:
        content, style = self.recipe.content_weights, self.recipe.style_weights
        codes = self._seen(self.shown, tuple(content)) if content else {}
        losses = [
            self._loss("content", weight, CodeDistance(layer, codes[layer]))
            for layer, weight in content.items()
        ]
        matrices = self._matrices(tuple(style)) if style else {}
        return losses + [
            self._loss("style", weight, GramDistance(layer, matrices[layer]))
            for layer, weight in style.items()
        ]

    def _loss(self, half: str, weight: float, distance: CodeDistance | GramDistance) -> _LayerLoss:
        name = f"{half} {self.network.layer(str(distance.layer)).title}"
        return _LayerLoss(name, weight, strength(distance), distance)

    def _matrices(self, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """The styles' mean Gram matrices: squared distances to several, weighed and added, are the
        squared distance to their mean and a constant."""
        for layer in layers:
            self.network.with_maps(layer)
        weights = self.recipe.mix or (1.0,) * len(self.styles)
        mixed = dict.fromkeys(layers, torch.zeros(()))
        for share, one in zip(weights, self.styles, strict=True):
            matrices = self._seen(one, layers, as_matrices=True)
            for layer in layers:
                mixed[layer] = mixed[layer] + share / sum(weights) * matrices[layer]
        return mixed

    def _seen(
        self, image: Tensor, layers: tuple[str, ...], as_matrices: bool = False
    ) -> Mapping[str, Tensor]:
        """An image's maps at some layers, or their Gram matrices. They are kept: the next control
        of a panel mostly needs the same again, which takes VGG-16 more than a second."""
        pixels = hashlib.sha256(image.float().cpu().numpy().tobytes()).digest()

        def seen() -> Mapping[str, Tensor]:
            codes = all_codes_of(self.network, layers, image)
            return {name: gram(codes[name]) if as_matrices else codes[name] for name in layers}

        return self.network.remember(("style", as_matrices, layers, image.shape, pixels), seen)

    def begin(self) -> str | Tensor | Frame:
        """What the optimization begins with."""
        if isinstance(self.start, StyleFrame):
            return self.start.frame
        if isinstance(self.start, Tensor):
            grey = self.recipe.colours == "luminance"
            return luminance(self.start) if grey else self.start
        if self.start == "content":
            return self.shown
        if self.start == "style":
            return fitted(self.styles[0], _size(self.content)).contiguous()
        return self.start

    def frames(self, optimized: Iterator[Frame]) -> Generator[StyleFrame]:
        """What the frames of the optimization show, in this method's words."""
        history: tuple[Mapping[str, float], ...] = ()
        try:
            for frame in optimized:
                if frame.step and float(frame.image.amax() - frame.image.amin()) < 0.02:
                    raise BadSetting(_single_colour(self.recipe, frame.step))
                painted = self._frame(frame)
                history = (*history, painted.losses)
                yield replace(painted, history=history)
        except RuntimeError as error:
            if not devices.out_of_memory(error):
                raise
            raise too_large(self.network, self.recipe.layers, _size(self.content)) from error

    def _frame(self, frame: Frame) -> StyleFrame:
        image = frame.image
        if self.recipe.colours == "luminance":
            image = recolour(image, self.content.cpu())
        values = [float(value) for value in frame.terms.values()]  # the layers', the penalty's
        named = [(one.name, one.weight, one.strength) for one in self.losses]
        if len(values) > len(named):
            named.append(("total variation", self.recipe.tv, 1.0))
        losses, loss = {}, 0.0
        for (name, weight, norm), value in zip(named, values, strict=True):
            losses[name] = value / norm
            loss += weight * losses[name]
        settings = self._settings(frame.settings)
        return StyleFrame(image, losses, loss, frame.step, frame.steps, settings, frame)

    def _settings(self, optimized: Mapping[str, Any]) -> dict[str, Any]:
        """How the picture was made, in plain words and numbers."""
        parts = {name: optimized["recipe"][name] for name in ("parameterization", "optimizer")}
        start = self.start if isinstance(self.start, str) else optimized["start"]
        recipe = {**asdict(self.recipe), **parts}
        return {**optimized, "recipe": recipe, "start": start, "memory": self.memory}


def _single_colour(recipe: StyleRecipe, step: int) -> str:
    kind, rate = type(recipe.optimizer).__name__, recipe.optimizer.learning_rate
    return (
        f"step {step}: the picture has become a single colour. Give the total variation less "
        f"weight (tv={recipe.tv / 100:g} instead of {recipe.tv:g}), take smaller steps than "
        f"{kind}({rate:g}), or a style with more in it"
    )


def _size(image: Tensor) -> Pair:
    return (image.shape[2], image.shape[3])


# How large a picture may be: the memory of a step, read off the network's graph


def memory_needed(network: Network, layers: Sequence[str], size: Pair) -> int:
    """About how many bytes a step takes for a picture of this size (height, width), read off the
    graph: what each node up to the deepest layer keeps for the backward pass, and its gradient.

    Errors: `BadImage`, `UnknownLayer`.
    """
    nodes = [network.node(layer) for layer in layers]
    shapes, needed = network.shapes(size, nodes), graphs.needed_for(nodes)
    found = [shapes[node] for node in needed if shapes.get(node)]  # weights and constants have none
    numbers = sum(map(math.prod, found))
    return round(_BYTES * numbers + _PIXEL_BYTES * math.prod(size))


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
    share, guess = 1.0, size
    with contextlib.suppress(BadImage):  # too small for the network
        while (needed := memory_needed(network, layers, guess)) > free and guess != (1, 1):
            share *= 0.995 * math.sqrt(free / needed)
            guess = (max(1, int(size[0] * share)), max(1, int(size[1] * share)))
        if needed <= free:
            return guess
    raise BadSetting(f"{_in_words(free)} of free memory are too little for any picture")


def check_memory(network: Network, layers: Sequence[str], size: Pair) -> None:
    """Raise `too_large` for a picture that the free memory cannot hold."""
    needed, free = memory_needed(network, layers, size), devices.free_memory(network.device)
    if free is not None and needed > free:
        raise too_large(network, layers, size, free)


def too_large(
    network: Network, layers: Sequence[str], size: Pair, free: int | None = None
) -> BadSetting:
    """The error that names the largest picture that fits; by default into half of the need, for
    a memory that has run out although it seemed enough."""
    needed = memory_needed(network, layers, size)
    free = needed // 2 if free is None else free
    height, width = largest_size(network, layers, size, min(free, needed - 1))
    return BadSetting(
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
