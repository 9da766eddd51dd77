"""Lab 11: pictures that are painted live, and Gram matrices to look at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from labsupport.core import images
from labsupport.core.images.sets import ImageSet, Picture
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.labs.lab10_deepdream import fitted
from labsupport.labs.lab10_deepdream import kept as kept
from labsupport.methods.optimize import Adam, gram
from labsupport.methods.style import StyleFrame, recipe_for, stylize
from labsupport.ui import declare, figures
from labsupport.ui.panel import Live

TEXTURES = ("ihc", "brick", "grass", "gravel", "coins", "hubble")
START = declare.choice(
    {
        "the content picture": "content",
        "noise": "noise",
        "the style picture": "style",
        "gray": "grey",
    }
)
COLOURS = declare.choice(
    {
        "the style's": "style",
        "the content's (luminance alone)": "luminance",
        "the content's (given to the style)": "matched",
    },
    label="colors",
)
_ADAM = Adam(0.03, "cosine")
_POOLING = {"max, as trained": "max", "average, as in the paper": "average"}
_WIDE, _THUMB = 448, 96  # pixels that a painting may fill, and of what it is made from
_STRONGEST = 32  # channels of a Gram matrix


def styles() -> ImageSet[Picture]:
    """The bundled paintings, and textures among the photographs."""
    photos = images.photos()
    return ImageSet([*images.paintings(), *(photos[name] for name in TEXTURES)], "Styles")


def picture(name: str, size: int = 256) -> Tensor:
    """A bundled picture by name, its shorter side `size` pixels long."""
    return images.resize(images.sample(name), size)


# Live


def _draw(frame: StyleFrame, content: Tensor, style: Tensor) -> tuple[Image.Image, str]:
    return _easel(frame, {"content": content, "style": style}), _in_words(frame)


def _easel(frame: StyleFrame, made_from: Mapping[str, Tensor]) -> Image.Image:
    """The painting, and beside it the pictures that it is made from and the losses so far."""
    times = max(1, _WIDE // max(frame.image.shape[2:]))
    thumbs = [fitted(one, _THUMB) for one in made_from.values()]
    above = figures.mosaic(thumbs, titles=list(made_from), columns=len(thumbs))
    losses = loss_picture(frame.history, frame.steps)
    right = figures.side_by_side([above, losses], columns=1, gap=4)
    return figures.side_by_side([figures.enlarge(frame.image, times), right])


def loss_picture(history: Sequence[Mapping[str, float]], steps: int) -> Image.Image:
    """The relative loss of each layer, step by step; each step up or down is a factor of ten."""
    lines = {name: [one[name] for one in history] for name in _by_layer(history[0])}
    return figures.curve(
        lines,
        across="step",
        up="relative loss",
        size=(360, 230),
        limits=(1e-3, 10.0),
        reach=steps,
        log=True,
    )


def _in_words(frame: StyleFrame) -> str:
    if not frame.step:
        return f"Before the first of {frame.steps} steps. Each needs {frame.settings['memory']}."
    losses = [f"{name} {value:.3f}" for name, value in _by_layer(frame.losses).items()]
    return f"Step {frame.step} of {frame.steps}. Relative loss: {', '.join(losses)}."


def _by_layer(losses: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in losses.items() if name != "total variation"}


@declare.live("Painting", draw=_draw)
def paint_panel(
    content: Tensor = declare.photo("china", square=False),
    style: Tensor = declare.photo("church_at_auvers", styles, square=False),
    network: Network = declare.network_of(),
    weight: float = declare.logarithmic(1.0, 1 / 64, 64, label="style weight (×)"),
    size: int = declare.whole(256, 128, 384, step=32, unit="px", label="picture"),
    stroke: int = declare.whole(320, 128, 512, step=32, unit="px", label="style picture"),
    how: Mapping[str, Any] = declare.together(
        colours=COLOURS,
        start=START,
        optimizer=declare.choice(["L-BFGS", "Adam"], label="steps by"),
        steps=declare.whole(150, 10, 400, step=10),
        seed=declare.seed(),
    ),
) -> Iterator[StyleFrame]:
    """Any picture in the manner of any other."""
    usual = recipe_for(network)
    recipe = replace(
        usual,
        beta=weight * usual.beta,
        colours=how["colours"],
        optimizer=_ADAM if how["optimizer"] == "Adam" else usual.optimizer,
        steps=how["steps"],
    )
    small, painting = images.resize(content, size), images.resize(style, stroke)
    start, seed = how["start"], how["seed"]
    return stylize.frames(network, small, painting, recipe=recipe, start=start, seed=seed)


def layers_panel(
    network: Network,
    content: str = "china",
    style: str = "church_at_auvers",
    *,
    size: int = 192,
    steps: int = 80,
) -> Live:
    """Content and style layers, chosen and weighted freely; either half of the loss alone."""
    plain = recipe_for(network)
    deepest, names = next(iter(plain.content_layers)), list(plain.style_layers)
    weights = {
        f"weight{place}": declare.real(
            plain.style_layers[name], 0, 4, step=0.1, label=f"style at {network.layer(name).title}"
        )
        for place, name in enumerate(names)
    }

    @declare.live("Layers and weights", draw=_draw)
    def panel(
        network: Network,
        content: Tensor = declare.photo(content, square=False),
        style: Tensor = declare.photo(style, styles, square=False),
        layer: str = declare.layer_of("network", deepest, keep=_whole, label="content layer"),
        how: Mapping[str, Any] = declare.together(
            alpha=declare.logarithmic(1.0, 1e-3, 10, label="its weight, alpha"),
            **weights,
            beta=declare.logarithmic(plain.beta, 0.03, 300, label="theirs, beta"),
            tv=declare.logarithmic(plain.tv, 0.05, 500, label="total variation"),
            start=START,
            pooling=declare.choice(_POOLING),
        ),
    ) -> Iterator[StyleFrame]:
        layers = {name: how[f"weight{place}"] for place, name in enumerate(names)}
        rest = {name: how[name] for name in ("alpha", "beta", "tv", "pooling")}
        recipe = replace(
            plain, content_layers={layer: 1.0}, style_layers=layers, steps=steps, **rest
        )
        small, painting = images.resize(content, size), images.resize(style, size)
        return stylize.frames(network, small, painting, recipe=recipe, start=how["start"])

    return panel(network)


def _whole(layer: Layer) -> bool:
    """A map that everything after it is computed from: no branch of a block."""
    return layer.kind in ("relu", "concat") and layer.has_map and layer.ends_block


# Gram matrices


def _maps(
    network: Network,
    style: Tensor = declare.photo("great_wave", styles, label="picture", square=False),
    layer: str = declare.layer_of("network", "fire3", keep=_whole),
) -> tuple[Tensor, Tensor, str]:
    """A picture, its maps (1, C, H, W) at one layer of a network, and that layer's title."""
    image = images.resize(style, 192)
    return image, network.activations(image, [layer])[layer], network.layer(layer).title


@declare.panel("Gram matrix", compute=_maps)
def gram_panel(
    seen: tuple[Tensor, Tensor, str],
    channel: int = declare.channel_of("layer", 5),
    shuffled: bool = declare.toggle(label="shuffle the positions"),
) -> tuple[Image.Image, str]:
    """The Gram matrix of any picture at any layer, with its positions shuffled if you like."""
    image, there, title = seen
    maps = shuffled_positions(there) if shuffled else there
    before, matrix = gram(there)[0], gram(maps)[0]
    parts = [
        figures.enlarge(image, 1),
        figures.heat_map(maps[0, channel], label="activation"),
        gram_picture(matrix, before.diagonal().argsort()),
    ]
    titles = ["picture", f"channel {channel} of {title}", "Gram matrix, strongest channels"]
    count, height, width = maps.shape[1:]
    size = f"{count} × {count}"
    words = f"{title}: {count} channels at {height} × {width} positions make {size} numbers."
    if shuffled and float((matrix - before).abs().max() / before.abs().max()) < 1e-6:
        words += " Shuffling changes them by less than a millionth."
    return figures.side_by_side(parts, titles), words


def shuffled_positions(maps: Tensor) -> Tensor:
    """Maps (N, C, H, W) with their positions in another order, the same one for all channels."""
    order = torch.randperm(maps[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    return maps.flatten(2)[:, :, order].view_as(maps)


def gram_picture(matrix: Tensor, order: Tensor) -> Image.Image:
    """The rows and columns of a Gram matrix (C, C) that `order` names last, the strongest, by the
    root of their numbers, which are never below 0 after a ReLU."""
    few = order[-_STRONGEST:]
    numbers = matrix[few][:, few].clamp_min(0).sqrt()
    return figures.heat_map(
        numbers, colours="magma", enlarge=max(1, 192 // len(few)), label="root of the mean product"
    )
