"""Lab 11: pictures that are painted live, Gram matrices to look at, and the lab's galleries."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from labsupport.core import images
from labsupport.core.images.sets import ImageSet, Picture
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.labs.lab05_occlusion import photographs
from labsupport.methods.optimize import LBFGS, Adam, Optimizer, gram
from labsupport.methods.style import (
    BRUSH,
    Painting,
    Setting,
    content_losses,
    paint,
    reconstruct_content,
    reconstruct_style,
    setting_for,
    style_losses,
    stylize,
)
from labsupport.ui import controls, figures
from labsupport.ui.control import Control
from labsupport.ui.panel import Live, Panel

TEXTURES = ("ihc", "brick", "grass", "gravel", "coins", "hubble")
_STARTS = {
    "the content picture": "content",
    "noise": "noise",
    "the style picture": "style",
    "grey": "grey",
}
_COLOURS = {
    "the style's": "style",
    "the content's (luminance alone)": "luminance",
    "the content's (given to the style)": "matched",
}
_RULES: dict[str, Optimizer] = {"L-BFGS": LBFGS(0.02), "Adam": Adam(0.03, "cosine")}
_POOLING = {"max, as trained": "max", "average, as in the paper": "average"}
RATIOS = (10.0, 1.0, 0.1, 0.01)


def styles() -> ImageSet[Picture]:
    """The bundled paintings, and textures among the photographs."""
    photos = images.photos()
    return ImageSet([*images.paintings(), *(photos[name] for name in TEXTURES)], "Styles")


def picture(name: str, size: int = 256) -> Tensor:
    """A bundled picture by name, its shorter side `size` pixels long."""
    return images.resize(images.sample(name), size)


# Live


@dataclass(frozen=True)
class Easel:
    """A painting on its way, with the pictures that it is made from and the losses so far."""

    painting: Painting
    content: Tensor
    styles: tuple[Tensor, ...]
    history: tuple[Mapping[str, float], ...]
    seconds: float

    @property
    def progress(self) -> float:
        return self.painting.progress


def _easels(
    network: Network,
    content: Tensor,
    style: Sequence[Tensor],
    setting: Setting,
    start: str = "content",
    seed: int = 0,
) -> Iterator[Easel]:
    begun = time.perf_counter()
    history: tuple[Mapping[str, float], ...] = ()
    for painting in stylize(network, content, style, setting=setting, start=start, seed=seed):
        history = (*history, painting.losses)
        seconds = time.perf_counter() - begun
        yield Easel(painting, content, tuple(style), history, seconds)


def paint_panel(
    content: str = "china", style: str = "church_at_auvers", *, size: int = 256, steps: int = 120
) -> Live:
    """Any picture in the manner of any other."""
    shown: dict[str, Control] = {
        "content": controls.image_menu(images.photos(), content, label="content"),
        "style": controls.image_menu(styles(), style, label="style"),
        "network": controls.network_menu(names=photographs()),
        "weight": controls.logarithmic("style weight", BRUSH.beta, 0.03, 300),
        "size": controls.whole("picture", size, 128, 384, step=32, unit="px"),
        "stroke": controls.whole("style picture", 320, 128, 512, step=32, unit="px"),
        "colours": controls.choice("colours", _COLOURS),
        "start": controls.choice("start", _STARTS),
        "rule": controls.choice("steps by", list(_RULES)),
        "steps": controls.whole("steps", steps, 20, 400, step=20),
        "seed": controls.seed(),
    }
    return Live(_painted, shown, draw=_draw, title="Painting", autostart=True)


def _painted(
    content: Tensor, style: Tensor, network: Network, size: int, stroke: int, **how: Any
) -> Iterator[Easel]:
    setting = dataclasses.replace(
        setting_for(network),
        beta=how["weight"],
        colours=how["colours"],
        optimizer=_RULES[how["rule"]],
        steps=how["steps"],
    )
    pictures = images.resize(content, size), images.resize(style, stroke)
    yield from _easels(network, pictures[0], pictures[1:], setting, how["start"], how["seed"])


def layers_panel(
    network: Network,
    content: str = "china",
    style: str = "church_at_auvers",
    *,
    size: int = 192,
    steps: int = 80,
) -> Live:
    """Content and style layers, chosen and weighted freely; either half of the loss alone."""
    setting = setting_for(network)
    names = list(setting.style)
    deepest = next(iter(setting.content))
    shown: dict[str, Control] = {
        "content": controls.image_menu(images.photos(), content, label="content"),
        "style": controls.image_menu(styles(), style, label="style"),
        "layer": controls.layer_menu(network, deepest, keep=_whole, label="content layer"),
        "alpha": controls.logarithmic("its weight, alpha", 1.0, 1e-3, 10),
    }
    for place, name in enumerate(names):
        label = f"style at {network.layer(name).title}"
        shown[f"weight{place}"] = controls.real(label, setting.style[name], 0, 4, step=0.25)
    shown |= {
        "beta": controls.logarithmic("theirs, beta", setting.beta, 0.03, 300),
        "smooth": controls.logarithmic("total variation", setting.smooth, 0.05, 500),
        "start": controls.choice("start", _STARTS),
        "pooling": controls.choice("pooling", _POOLING),
    }

    def frames(content: Tensor, style: Tensor, layer: str, **how: Any) -> Iterator[Easel]:
        chosen = dataclasses.replace(
            setting,
            content={layer: 1.0},
            style={name: how[f"weight{place}"] for place, name in enumerate(names)},
            alpha=how["alpha"],
            beta=how["beta"],
            smooth=how["smooth"],
            pooling=how["pooling"],
            steps=steps,
        )
        pictures = images.resize(content, size), images.resize(style, size)
        yield from _easels(network, pictures[0], pictures[1:], chosen, how["start"])

    return Live(frames, shown, draw=_draw, title="Layers and weights", autostart=True)


def _whole(layer: Layer) -> bool:
    """A map that everything behind it is computed from: no branch of a block."""
    joined = layer.kind in ("relu", "concat") and layer.has_map
    return joined and ("/" not in layer.title or layer.title.endswith("/output"))


def mix_panel(
    content: str = "neuschwanstein",
    first: str = "great_wave",
    second: str = "cafe_terrace",
    *,
    size: int = 192,
    steps: int = 60,
) -> Live:
    """Two styles in one picture, with a share for each."""
    shown: dict[str, Control] = {
        "content": controls.image_menu(images.photos(), content, label="content"),
        "first": controls.image_menu(styles(), first, label="one style"),
        "second": controls.image_menu(styles(), second, label="the other"),
        "share": controls.real("share of the other", 0.5, 0, 1, step=0.1),
        "network": controls.network_menu(names=photographs()),
        "size": controls.whole("picture", size, 128, 384, step=32, unit="px"),
        "colours": controls.choice("colours", _COLOURS),
    }

    def frames(
        content: Tensor,
        first: Tensor,
        second: Tensor,
        share: float,
        network: Network,
        size: int,
        colours: str,
    ) -> Iterator[Easel]:
        setting = dataclasses.replace(
            setting_for(network), mix=(1 - share, share), colours=colours, steps=steps
        )
        both = [images.resize(one, size) for one in (first, second)]
        yield from _easels(network, images.resize(content, size), both, setting)

    return Live(frames, shown, draw=_draw, title="Two styles", autostart=True)


def _draw(easel: Easel) -> tuple[Image.Image, str]:
    image = easel.painting.image
    times = max(1, _WIDE // max(image.shape[2:]))
    thumbs = [_thumb(one) for one in (easel.content, *easel.styles)]
    names = ["content", "style"] if len(thumbs) == 2 else ["content", "one style", "the other"]
    made_from = figures.mosaic(thumbs, titles=names, columns=len(thumbs))
    right = figures.side_by_side(
        [made_from, loss_picture(easel.history, easel.painting.steps)], columns=1, gap=4
    )
    sheet = figures.side_by_side([figures.enlarge(image, times), right])
    return sheet, _in_words(easel)


_WIDE = 448  # pixels that a painting may fill
_THUMB = 96


def _thumb(image: Tensor) -> Tensor:
    longer = max(image.shape[2:])
    size = tuple(max(1, round(side * _THUMB / longer)) for side in image.shape[2:])
    return images.resize(image, (size[0], size[1]))


def loss_picture(history: Sequence[Mapping[str, float]], steps: int = 0) -> Image.Image:
    """The relative loss of each layer, step by step; each step up or down is a factor of ten."""
    names = [name for name in history[0] if name != "total variation"]
    lines = {name: [one[name] for one in history] for name in names}
    return figures.curve(
        lines,
        across="step",
        up="relative loss",
        size=(360, 230),
        limits=_LOSSES,
        reach=max(steps, len(history) - 1),
        log=True,
    )


_LOSSES = (1e-3, 10.0)


def _in_words(easel: Easel) -> str:
    painting = easel.painting
    each = ", ".join(
        f"{name} {value:.3f}"
        for name, value in painting.losses.items()
        if name != "total variation"
    )
    return (
        f"Step {painting.step} of {painting.steps}, {easel.seconds:.1f} s. Relative loss: {each}."
    )


# Gram matrices


def gram_panel(network: Network, style: str = "great_wave", layer: str = "fire3") -> Panel:
    """The Gram matrix of any picture at any layer, with its positions shuffled if you like."""
    menu = controls.layer_menu(network, layer, keep=_whole)
    return Panel(
        _drawn_gram,
        {
            "style": controls.image_menu(styles(), style, label="picture"),
            "layer": menu,
            "channel": controls.channel_slider(menu, 5),
            "shuffled": controls.toggle("shuffle the positions"),
        },
        compute=lambda style, layer: _Looked(network, style, layer),
        title="Gram matrix",
    )


class _Looked:
    """One picture's maps at one layer."""

    def __init__(self, network: Network, style: Tensor, layer: str) -> None:
        self.image = images.resize(style, 192)
        self.title = network.layer(layer).title
        self.maps = network.activations(self.image, [layer])[layer]  # (1, C, H, W)
        self.matrix = gram(self.maps)[0]
        self.order = self.matrix.diagonal().argsort()


def _drawn_gram(looked: _Looked, channel: int, shuffled: bool) -> tuple[Image.Image, str]:
    maps = shuffled_positions(looked.maps) if shuffled else looked.maps
    matrix, count = gram(maps)[0], maps.shape[1]
    parts = [
        Image.fromarray(figures.pixels(looked.image)),
        figures.heat_map(maps[0, channel], label="activation"),
        gram_picture(matrix, looked.order),
    ]
    titles = ["picture", f"channel {channel} of {looked.title}", "Gram matrix, strongest channels"]
    words = (
        f"{looked.title}: {count} channels at {maps.shape[2]} × {maps.shape[3]} positions make "
        f"{count} × {count} numbers."
    )
    if shuffled:
        change = float((matrix - looked.matrix).abs().max() / looked.matrix.abs().max())
        words += " Shuffling changes them by less than a millionth." if change < 1e-6 else ""
    return figures.side_by_side(parts, titles), words


def shuffled_positions(maps: Tensor, seed: int = 0) -> Tensor:
    """Maps (N, C, H, W) with their positions in another order, the same one for all channels."""
    order = torch.randperm(maps[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    return maps.flatten(2)[:, :, order].view_as(maps)


def gram_picture(matrix: Tensor, order: Tensor) -> Image.Image:
    """The rows and columns of a Gram matrix (C, C) that `order` names last, the strongest, by the
    root of their numbers, which are never below 0 behind a ReLU."""
    few = order[-_STRONGEST:]
    numbers = matrix[few][:, few].clamp_min(0).sqrt()
    return figures.heat_map(
        numbers, colours="magma", enlarge=max(1, 192 // len(few)), label="root of the mean product"
    )


_STRONGEST = 32


def grams_picture(network: Network, names: Sequence[str], layer: str) -> Image.Image:
    """Several pictures over their Gram matrices, which share channels, their order and scale."""
    shown = [picture(name, 192) for name in names]
    found = [gram(network.activations(one, [layer])[layer])[0] for one in shown]
    order = torch.stack([matrix.diagonal() for matrix in found]).mean(0).argsort()
    columns = []
    for one, matrix in zip(shown, found, strict=True):
        square = images.resize(one, 192, crop=192)
        scaled = matrix / matrix.diagonal().mean()
        pair = [Image.fromarray(figures.pixels(square)), gram_picture(scaled, order)]
        columns.append(figures.side_by_side(pair, columns=1, gap=8))
    known = styles()
    titles = [known[name].title for name in names]
    return figures.side_by_side(columns, titles)


# Galleries


def row_picture(
    paintings: Sequence[Painting | Tensor], titles: Sequence[str], *, columns: int | None = None
) -> Image.Image:
    """Paintings, or images, side by side under their titles."""
    tiles = [one.image if isinstance(one, Painting) else one for one in paintings]
    return figures.mosaic(tiles, titles=titles, columns=columns or len(tiles), gap=8)


def content_ladder(
    network: Network, image: Tensor, layers: Sequence[str], *, steps: int = 60
) -> dict[str, Painting]:
    """What the content loss keeps, for each layer alone, from noise."""
    return {layer: reconstruct_content(network, image, layer, steps=steps) for layer in layers}


def style_ladder(
    network: Network,
    style: Tensor,
    layers: Sequence[str],
    *,
    size: int | tuple[int, int] | None = None,
    steps: int = 60,
) -> dict[str, Painting]:
    """Textures from the first style layer alone, from the first two, and so on, as in the paper's
    figure 1."""
    found = {}
    for count in range(1, len(layers) + 1):
        title = layers[0] if count == 1 else f"{layers[0]} to {layers[count - 1]}"
        some = layers[:count]
        found[title] = reconstruct_style(network, style, some, size=size, steps=steps)
    return found


def ratio_grid(
    network: Network,
    content: Tensor,
    style: Tensor,
    *,
    ratios: Sequence[float] = RATIOS,
    setting: Setting = BRUSH,
    steps: int = 60,
    progress: Callable[[float], object] | None = None,
) -> dict[tuple[str, float], Painting]:
    """The paper's grid: a row for each set of style layers, from the shallowest alone to all of
    them, and a column for each alpha / beta."""
    names = list(setting.style)
    sets = [names[:count] for count in sorted({1, len(names) // 2, len(names)})]
    found: dict[tuple[str, float], Painting] = {}
    for some in sets:
        title = some[0] if len(some) == 1 else f"to {some[-1]}"
        weights = {name: len(names) / len(some) for name in some}
        for ratio in ratios:
            how = dataclasses.replace(setting, style=weights, alpha=1.0, beta=1 / ratio)
            found[title, ratio] = paint(network, content, style, setting=how, steps=steps)
            if progress is not None:
                progress(len(found) / (len(sets) * len(ratios)))
    return found


def grid_picture(found: Mapping[tuple[str, float], Painting]) -> Image.Image:
    """The grid with its layers at the left and its ratios above."""
    rows = list(dict.fromkeys(row for row, _ in found))
    ratios = list(dict.fromkeys(ratio for _, ratio in found))
    titles = [
        f"α/β = {ratio:g}" if place == 0 else "" for place in range(len(rows)) for ratio in ratios
    ]
    tiles = [one.image for one in found.values()]
    return figures.mosaic(tiles, columns=len(ratios), rows=rows, titles=titles, gap=6)


def distances(
    network: Network, painting: Tensor, content: Tensor, style: Tensor, setting: Setting = BRUSH
) -> dict[str, float]:
    """The relative losses of a picture, by layer."""
    kept = content_losses(network, painting, content, list(setting.content))
    worn = style_losses(network, painting, style, list(setting.style))
    found = {f"content {layer}": float(value) for layer, value in kept.items()}
    return found | {f"style {layer}": float(value) for layer, value in worn.items()}
