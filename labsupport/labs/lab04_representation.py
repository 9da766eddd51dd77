"""Lab 04: images at the places of their codes, grids with borders, and t-SNE while it works."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.images.sets import CutOut, ImageSet, Picture
from labsupport.core.network import Network
from labsupport.methods import codes as c
from labsupport.ui import controls, figures, ink
from labsupport.ui.control import Control
from labsupport.ui.panel import Live, Panel

PIXELS = "pixels"
COMPUTED = "computed"  # the bundled maps of all digits
DIGITS = {
    "1797 digits of 8 × 8 (scikit-learn)": "small",
    "2000 MNIST digits": "test",
    "10 000 MNIST digits": "all",
    "10 000 MNIST digits, map computed before": COMPUTED,
    "2000 pieces of clothing (Fashion-MNIST)": "fashion",
}
SOURCES = {"pixels": PIXELS, "LeNet-5's code (84 numbers)": "lenet5"}
STARTS = {
    "principal components": -1,
    "random, seed 0": 0,
    "random, seed 1": 1,
    "random, seed 2": 2,
}
RATES = {"by the number of points": 0.0, "1": 1.0, "10": 10.0, "200": 200.0, "5000": 5000.0}
VIEWS = {"pictures": "pictures", "dots, coloured by category": "dots"}
# every group has its name on the map, too
COLOURS = tuple(ImageColor.getrgb(colour)[:3] for colour in ink.CATEGORIES)
_WATCHED = 2.5  # seconds that a map takes at least, to be seen growing
_LOADED = 224  # pixels: the longer side of a picture that is kept


# What is shown


@dataclass(frozen=True, eq=False)
class Collection:
    """Pictures with their codes: `codes` holds a tensor (N, D) for the pixels and each layer.

    `layer` is the one that the classifier reads. `shown` are the pictures themselves, cut to what
    is opaque.
    """

    network: Network
    pictures: ImageSet[Any]
    shown: tuple[Image.Image, ...]
    codes: Mapping[str, torch.Tensor]
    layer: str
    _small: dict[tuple[int, int], Image.Image] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def code(self) -> torch.Tensor:
        """The codes (N, D) at the last layer before the classifier."""
        return self.codes[self.layer]

    @property
    def categories(self) -> list[str]:
        """The coarse group of each picture."""
        return self.pictures.categories

    @property
    def titles(self) -> list[str]:
        """The name of each picture, for people."""
        return [picture.title for picture in self.pictures]

    def small(self, number: int, side: int) -> Image.Image:
        """One picture, its longer side `side` pixels, with its opacity."""
        if (number, side) not in self._small:
            if len(self._small) > 8 * len(self):
                self._small.clear()
            picture = self.shown[number]
            scale = side / max(picture.size)
            size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
            self._small[number, side] = picture.resize(size, Image.Resampling.LANCZOS)
        return self._small[number, side]


def collection(
    network: Network,
    pictures: ImageSet[Any],
    *,
    layers: Sequence[str] | None = None,
    progress: Callable[[float], object] | None = None,
) -> Collection:
    """The codes of pictures at several layers, from one pass, and the pictures to show."""
    last = c.code_layer(network)
    names = list(dict.fromkeys([*(map_layers(network) if layers is None else layers), last]))
    read = _ReadOnce(pictures, network)
    by_layer = c.codes_by_layer(network, read, names, progress=progress)
    return Collection(
        network, pictures, read.shown, {PIXELS: torch.cat(read.pixels)} | by_layer, last
    )


class _ReadOnce(Sequence[torch.Tensor]):
    """Pictures, each decoded once for its code, its pixels and its little picture."""

    def __init__(self, pictures: ImageSet[Any], network: Network) -> None:
        self._pictures, self._size = pictures, network.input_size
        # by number: several threads read
        self._pixels: dict[int, torch.Tensor] = {}
        self._shown: dict[int, Image.Image] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, key: Any) -> Any:
        image, shown = _decoded(self._pictures[key])
        seen = c.fitted(image, self._size)
        self._pixels[key], self._shown[key] = c.pixel_codes(seen), shown
        return seen

    @property
    def pixels(self) -> list[torch.Tensor]:
        """The shrunken pixels of each picture, (1, D)."""
        return [self._pixels[number] for number in range(len(self))]

    @property
    def shown(self) -> tuple[Image.Image, ...]:
        """What is opaque of each picture."""
        return tuple(self._shown[number] for number in range(len(self)))


def _decoded(picture: Picture) -> tuple[torch.Tensor, Image.Image]:
    """The image, on white, and what of it is opaque, as a picture to paste."""
    if not isinstance(picture, CutOut):
        image = picture.image
        shown = images.to_pil(image).convert("RGBA")
        shown.thumbnail((_LOADED, _LOADED), Image.Resampling.LANCZOS)
        return image, shown
    values = picture.rgba()
    alpha = values[:, 3:]
    image = (values[:, :3] * alpha + 1 - alpha).clamp_(0, 1)
    whole = Image.fromarray(values[0].permute(1, 2, 0).mul(255).round().byte().numpy(), "RGBA")
    seen = whole.getchannel("A").point(lambda value: 255 * (value > 8))
    return image, whole.crop(seen.getbbox() or (0, 0, *whole.size))


def map_layers(network: Network) -> list[str]:
    """About nine layers on the way to the classifier: in SqueezeNet conv1 and the fires."""
    last = c.code_layer(network)
    names = [layer.title for layer in network.layers if layer.has_map or layer.title == last]
    names = names[: names.index(last) + 1]
    fires = [name for name in names if name.startswith("fire") and "/" not in name]
    if fires:
        return ["relu1", *fires]
    places = np.linspace(0, len(names) - 1, min(9, len(names))).round().astype(int)
    return [names[place] for place in dict.fromkeys(places.tolist())]


# Maps as pictures


def image_map(
    things: Collection,
    points: torch.Tensor,
    *,
    size: int = 1000,
    tile: int = 64,
    window: tuple[float, float, float, float] = (0, 0, 1, 1),
    chosen: int | None = None,
    near: Sequence[int] = (),
    square: bool = False,
) -> Image.Image:
    """The pictures at their true places (N, 2) on a sheet whose longer side is `size` pixels.

    The sheet is as high or as wide as the map needs, or `square`.

    `window` (left, top, right, bottom, 0 to 1) shows a part of the map; `chosen` is framed in
    blue, and those in `near` are numbered.
    """
    places = _on_sheet(points, size, tile, window)
    sheet = Image.new("RGB", (size, size), "white")
    last = [*near, *([] if chosen is None else [chosen])]
    for number in [n for n in range(len(things)) if n not in last] + last:
        small = things.small(number, tile)
        left, top = (places[number] - np.array(small.size) / 2).round().astype(int).tolist()
        if -tile < left < size and -tile < top < size:
            sheet.paste(small, (left, top), small)
    marks = {number: str(place + 1) for place, number in enumerate(near)}
    _mark(sheet, places, tile, chosen, marks)
    return sheet if square or window != (0, 0, 1, 1) else _trimmed(sheet, places, tile)


def _trimmed(sheet: Image.Image, places: np.ndarray, tile: int) -> Image.Image:
    """Without the empty margins of the shorter axis."""
    low, high = places.min(0) - 0.6 * tile, places.max(0) + 0.6 * tile
    left, top = np.maximum(low, 0).round().astype(int).tolist()
    right, bottom = np.minimum(high, sheet.width).round().astype(int).tolist()
    return sheet.crop((left, top, right, bottom))


def _on_sheet(
    points: torch.Tensor,
    size: int,
    tile: int,
    window: tuple[float, float, float, float] = (0, 0, 1, 1),
) -> np.ndarray:
    """Places in pixels (N, 2): one scale for both axes, the map in the middle of the sheet."""
    values = points.double().numpy()
    low, high = values.min(0), values.max(0)
    span = max(float((high - low).max()), 1e-9)
    inside = (values - (low + high) / 2) / span + 0.5  # the longer axis from 0 to 1
    zoom = 1 / (window[2] - window[0])
    corner = np.array(window[:2])
    room = size - 1.2 * tile
    return np.asarray((inside - corner) * zoom * room + 0.6 * tile)


def _mark(
    sheet: Image.Image,
    places: np.ndarray,
    tile: int,
    chosen: int | None,
    marks: Mapping[int, str],
) -> None:
    pen = ImageDraw.Draw(sheet)
    if chosen is not None:
        across, down = places[chosen].tolist()
        half = tile / 2 + 3
        edges = (across - half, down - half, across + half, down + half)
        pen.rounded_rectangle(edges, radius=6, outline=ink.ACCENT, width=4)
    for number, words in marks.items():
        across, down = places[number].tolist()
        pen.ellipse((across - 10, down - 10, across + 10, down + 10), fill=ink.ACCENT)
        ink.write(sheet, (across, down), words, bold=True, colour=ink.GROUND, anchor="mm")


def dots(
    points: torch.Tensor,
    labels: Sequence[int],
    names: Sequence[str],
    *,
    size: int = 720,
    radius: float = 3.0,
) -> Image.Image:
    """Points (N, 2) as dots in the colour of their group, each group's name at its middle.

    `labels` are places in `names`. A legend with the number of points stands on the right.
    """
    groups = np.asarray(labels)
    twice = 2 * size
    places = _on_sheet(points, twice, 40)
    sheet = np.full((twice, twice, 3), 255, np.uint8)
    spread = math.ceil(2 * radius)
    order = np.random.default_rng(0).permutation(len(places))  # no group lies on top of all
    columns, rows = places[order].round().astype(int).T
    colours = np.array([COLOURS[g % len(COLOURS)] for g in range(len(names))], np.uint8)
    painted = colours[groups[order]]
    for down in range(-spread, spread + 1):
        for across in range(-spread, spread + 1):
            if down**2 + across**2 <= (2 * radius) ** 2:
                sheet[(rows + down) % twice, (columns + across) % twice] = painted
    picture = Image.fromarray(sheet).reduce(2)
    _name_groups(picture, places / 2, groups, names)
    return figures.side_by_side([picture, _legend(groups, names, size)], gap=12)


def _name_groups(
    picture: Image.Image, places: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> None:
    """Each name where its group is densest: the member with the smallest median distance."""
    for group, name in enumerate(names):
        own = places[groups == group]
        if len(own) == 0:
            continue
        few = own[:: max(1, len(own) // 60)]
        apart = np.linalg.norm(few[:, None] - few[None], axis=2)
        across, down = few[np.quantile(apart, 0.3, axis=1).argmin()].tolist()
        half = ink.measure(name, 14, bold=True) / 2 + 4
        place = (min(max(across, half), picture.width - half), down)
        font = ink.face(14, bold=True)
        ImageDraw.Draw(picture).text(
            place, name, fill=COLOURS[group % len(COLOURS)], font=font, anchor="mm",
            stroke_width=3, stroke_fill=ink.GROUND,
        )  # fmt: skip


def _legend(groups: np.ndarray, names: Sequence[str], height: int) -> Image.Image:
    words = [f"{name} ({int((groups == group).sum())})" for group, name in enumerate(names)]
    width = max(ink.measure(line) for line in words) + 26
    sheet = Image.new("RGB", (width, max(height, 22 * len(words) + 8)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, line in enumerate(words):
        middle = 14 + 22 * place
        pen.ellipse((2, middle - 6, 14, middle + 6), fill=COLOURS[place % len(COLOURS)])
        ink.write(sheet, (22, middle), line, anchor="lm")
    return sheet


def category_dots(things: Collection, points: torch.Tensor, *, size: int = 720) -> Image.Image:
    """The same map as dots in the colours of the categories."""
    names = sorted(set(things.categories))
    return dots(points, [names.index(one) for one in things.categories], names, size=size, radius=4)


# Grids as pictures


def grid_picture(
    things: Collection,
    grid: c.Grid,
    *,
    tile: int = 56,
    borders: c.UMatrix | None = None,
    chosen: int | None = None,
) -> Image.Image:
    """A picture in each cell; with `borders`, red lines between cells whose codes lie far apart.

    A border is the redder and the wider the farther: white at the distance that 35 % of all
    touching pairs fall below, full at the one that 95 % do.
    """
    rows, columns = grid.cells.shape
    gap = 8 if borders is not None else 3
    step = tile + gap
    sheet = Image.new("RGB", (columns * step + gap, rows * step + gap), "white")
    for place, number in enumerate(grid.cells.flatten().tolist()):
        if number >= 0:
            left, top = gap + place % columns * step, gap + place // columns * step
            small = things.small(number, tile)
            corner = (left + (tile - small.width) // 2, top + (tile - small.height) // 2)
            sheet.paste(small, corner, small)
    if borders is not None:
        _draw_borders(sheet, borders, tile, gap)
    if chosen is not None:
        for row, column in (grid.cells == chosen).nonzero().tolist():
            left, top = gap + column * step - 2, gap + row * step - 2
            edges = (left, top, left + tile + 3, top + tile + 3)
            ImageDraw.Draw(sheet).rectangle(edges, outline=ink.ACCENT, width=4)
    return sheet


def _draw_borders(sheet: Image.Image, borders: c.UMatrix, tile: int, gap: int) -> None:
    known = torch.cat([borders.right.flatten(), borders.below.flatten()])
    known = known[known.isfinite()]
    low, high = torch.quantile(known, torch.tensor([0.35, 0.95])).tolist()
    pen, step = ImageDraw.Draw(sheet), tile + gap
    for table, sideways in ((borders.right, True), (borders.below, False)):
        for row, column in table.isfinite().nonzero().tolist():
            strength = (float(table[row, column]) - low) / max(high - low, 1e-9)
            strength = min(max(strength, 0.0), 1.0)
            pale = round(255 * (1 - strength) ** 1.5)
            width = max(1, round(gap * strength))
            middle = (column + sideways) * step + gap / 2, (row + (not sideways)) * step + gap / 2
            begin = (middle[0], row * step + gap / 2) if sideways else (
                column * step + gap / 2, middle[1])  # fmt: skip
            end = (begin[0], begin[1] + step) if sideways else (begin[0] + step, begin[1])
            red = (255 - round(40 * strength), pale, pale)
            pen.line((*begin, *end), fill=red, width=width)


# Words


def map_words(
    codes: torch.Tensor,
    points: torch.Tensor,
    labels: Sequence[Any],
    *,
    metric: str = "cosine",
    what: str = "category",
) -> str:
    """How far a map can be trusted, and how pure its neighbourhoods are, in a sentence."""
    sample = None if len(codes) <= 2000 else 1000
    trusted = c.trustworthiness(codes, points, metric=metric, sample=sample)
    here = c.label_agreement(points, labels, metric="euclidean", sample=sample)
    there = c.label_agreement(codes, labels, metric=metric, sample=sample)
    return (
        f"Trustworthiness {trusted:.3f} (1: all neighbours in the map are neighbours in code). "
        f"Of the 5 nearest in the map {here:.0%} share the {what}, of the 5 nearest in code "
        f"{there:.0%}."
    )


# Neighbours


def neighbours_panel(things: Collection, image: str, *, k: int = 5) -> Panel:
    """A picture, or one of your own, and its nearest pictures by code and by pixels."""
    layers = [layer for layer in things.codes if layer != PIXELS]

    def draw(image: torch.Tensor, layer: str, metric: str) -> tuple[Image.Image, str]:
        return _neighbours_of(things, image, layer, metric, k)

    return Panel(
        draw,
        {
            "image": controls.image_menu(things.pictures, image),
            "layer": controls.choice("code at layer", layers, things.layer),
            "metric": controls.choice("distance", c.METRICS),
        },
        title="Nearest pictures",
        cost="quick",
    )


def _neighbours_of(
    things: Collection, image: torch.Tensor, layer: str, metric: str, k: int
) -> tuple[Image.Image, str]:
    size = things.network.input_size
    seen = c.fitted(image, size)
    own = {layer: c.codes(things.network, seen, layer), PIXELS: c.pixel_codes(seen)}
    rows = {name: nearest_others(things.codes[name], own[name], k, metric) for name in own}
    tiles, titles = [], []
    for near in rows.values():
        tiles += [_square(things, number, 100) for number in near.numbers]
        titles += [things.titles[number] for number in near.numbers]
    names = [f"by code ({layer})", "by pixels"]
    nearest = figures.mosaic(tiles, columns=k, titles=titles, rows=names)
    asked = figures.mosaic(images.resize(seen, 144, crop=144), gap=0)
    words = [
        f"{name}: {', '.join(_counted([things.categories[n] for n in near.numbers]))}"
        for name, near in zip(names, rows.values(), strict=True)
    ]
    return figures.side_by_side([asked, nearest], ["asked", ""]), ". ".join(words) + "."


def nearest_others(codes: torch.Tensor, asked: torch.Tensor, k: int, metric: str) -> c.Neighbours:
    """The k nearest of `codes` to one that need not be among them; the image itself is skipped."""
    near = c.neighbours(torch.cat([codes, asked]), len(codes), k=k + 1, metric=metric)
    itself = near.distances[0] < 1e-3 * max(near.distances[-1], 1e-9)
    keep = slice(1, None) if itself else slice(0, k)
    return c.Neighbours(near.numbers[keep], near.distances[keep])


def _counted(words: Sequence[str]) -> list[str]:
    return [
        f"{words.count(word)} {word}" for word in sorted(set(words), key=lambda w: -words.count(w))
    ]


def _square(things: Collection, number: int, side: int) -> Image.Image:
    small = things.small(number, side - 8)
    sheet = Image.new("RGB", (side, side), "white")
    sheet.paste(small, ((side - small.width) // 2, (side - small.height) // 2), small)
    return sheet


# The map, live


def map_panel(things: Collection, *, size: int = 760) -> Live:
    """t-SNE of the codes while it works: any layer, perplexity, learning rate, start."""

    def draw(
        frame: c.Embedding, layer: str, view: str, tile: int, perplexity: int
    ) -> tuple[Image.Image, str]:
        if view == "dots":
            picture = category_dots(things, frame.points, size=size)
        else:
            picture = image_map(things, frame.points, size=size, tile=tile, square=True)
        quality = map_words(things.codes[layer], frame.points, things.categories)
        return picture, f"{_step_words(frame)} Perplexity {perplexity}. {quality}"

    def frames(
        layer: str, perplexity: int, learning_rate: float, seed: int, steps: int
    ) -> Iterator[c.Embedding]:
        settings = _descent_settings(perplexity, learning_rate, seed, steps)
        return _slowed(c.embed.frames(things.codes[layer], **settings))

    shown = {
        "layer": controls.choice("code at layer", list(things.codes), things.layer),
        **_descent_controls(perplexity=12),
        "view": controls.choice("view", VIEWS),
        "tile": controls.whole("picture size", 52, 24, 96, step=4, unit="px"),
    }
    return Live(frames, shown, draw=draw, title="t-SNE of the codes", autostart=True)


def _descent_controls(*, perplexity: int) -> dict[str, Control]:
    return {
        "perplexity": controls.whole("perplexity", perplexity, 2, 100),
        "learning_rate": controls.choice("learning rate", RATES),
        "seed": controls.choice("start", STARTS),
        "steps": controls.whole("steps", 750, 50, 1500, step=50),
    }


def _descent_settings(
    perplexity: int, learning_rate: float, seed: int, steps: int
) -> dict[str, Any]:
    """What the panel's values mean to `embed`."""
    return {
        "perplexity": perplexity,
        "learning_rate": learning_rate or None,
        "seed": None if seed < 0 else seed,
        "steps": steps,
    }


def _slowed(frames: Iterator[c.Embedding]) -> Iterator[c.Embedding]:
    """The same frames, held back where the whole would be over before an eye has followed it."""
    start = time.perf_counter()
    for frame in frames:
        yield frame
        ahead = frame.progress * _WATCHED - (time.perf_counter() - start)
        time.sleep(min(max(ahead, 0.0), 0.1))


def _step_words(frame: c.Embedding) -> str:
    cost = "" if math.isnan(frame.cost) else f", divergence {frame.cost:.2f}"
    return f"Step {frame.step} of {frame.steps} ({frame.stage}){cost}."


def layers_panel(things: Collection, *, size: int = 390) -> Panel:
    """How the categories come apart from the pixels to the last layer: a map for each layer."""
    layers = list(things.codes)
    agreement = {name: c.label_agreement(things.codes[name], things.categories) for name in layers}
    reference = c.embed(things.code, perplexity=12, steps=300).points

    def compute(depth: int) -> torch.Tensor:
        points = c.embed(things.codes[layers[depth]], perplexity=12, steps=300).points
        return procrustes(points, reference)

    def draw(points: torch.Tensor, depth: int, view: str) -> tuple[Image.Image, str]:
        name = layers[depth]
        if view == "dots":
            left = category_dots(things, points, size=size)
        else:
            left = image_map(things, points, size=size, tile=34, square=True)
        right = _agreement_curve(agreement, depth)
        words = f"{name}: {agreement[name]:.0%} of the 5 nearest pictures share the category."
        return figures.side_by_side([left, right], [f"map of {name}", ""]), words

    return Panel(
        draw,
        {
            "depth": controls.whole("depth (0: pixels)", len(layers) - 1, 0, len(layers) - 1),
            "view": controls.choice("view", VIEWS, "dots"),
        },
        compute=compute,
        title="Layer by layer",
        cost="quick",
    )


def procrustes(points: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The same map, turned and mirrored to lie as near to another as it can (Procrustes).

    A map has no up or down; turned alike, two maps of the same images are easier to compare.
    """
    own, other = points - points.mean(0), reference - reference.mean(0)
    left, _, right = torch.linalg.svd(own.double().T @ other.double())
    turned: torch.Tensor = own.double() @ left @ right
    return turned.float()


def _agreement_curve(agreement: Mapping[str, float], depth: int | None = None) -> Image.Image:
    def plot(axes: Any) -> None:
        shares = [100 * share for share in agreement.values()]
        axes.plot(range(len(shares)), shares, color=ink.SERIES[0], linewidth=2, marker="o")
        if depth is not None:
            axes.plot([depth], [shares[depth]], "o", color=ink.SERIES[1], markersize=12)
        axes.set_xticks(range(len(shares)), list(agreement), rotation=60)
        axes.set_ylim(0, 100)
        axes.set_ylabel("5 nearest of the same category (%)")

    return figures.drawn(plot, size=(300, 300))


# The map, explored


@dataclass(frozen=True, eq=False)
class _Atlas:
    """A collection with its map, its grid and the U-matrix of the grid."""

    things: Collection
    points: torch.Tensor
    grid: c.Grid
    borders: c.UMatrix

    def draw(
        self, image: torch.Tensor, view: str, zoom: int, across: float, down: float
    ) -> tuple[Image.Image, str]:
        """What the panel shows: a part of the map or the grid, and a column of neighbours."""
        seen = c.fitted(image, self.things.network.input_size)
        number, near = _neighbours_in(self.things, seen)
        if view == "map":
            left = self._map(seen, number, near, _window(zoom, across, down))
        else:
            borders = self.borders if view == "borders" else None
            whole = grid_picture(
                self.things, self.grid, tile=28 * zoom, borders=borders, chosen=number
            )
            left = _part(whole, zoom, across, down)
        words = _atlas_words(self.things, number, near)
        column = _column(self.things, seen, near)
        return figures.side_by_side([left, column], gap=12), words

    def _map(
        self,
        seen: torch.Tensor,
        number: int | None,
        near: Sequence[int],
        window: tuple[float, float, float, float],
    ) -> Image.Image:
        things, points = self.things, self.points
        if number is None:
            number = len(things)
            things, points = _with_more(
                things, points, [images.to_pil(seen)], codes_of(things, seen)
            )
        tile = round(44 / (window[2] - window[0]) ** 0.75)
        return image_map(
            things, points, size=640, tile=tile, window=window, chosen=number, near=near,
            square=True,
        )  # fmt: skip


def _window(zoom: int, across: float, down: float) -> tuple[float, float, float, float]:
    """The part of the map around a place (0 to 1), moved so that it lies inside."""
    half = 0.5 / zoom
    left, top = (min(max(value, half), 1 - half) - half for value in (across, down))
    return (left, top, left + 2 * half, top + 2 * half)


def atlas_panel(things: Collection, points: torch.Tensor, image: str) -> Panel:
    """Zoom and pan over the map or the grid, and a picture with its neighbours.

    A picture of your own is put where its nearest pictures lie.
    """
    grid = c.grid(points)
    views = {"map": "map", "grid": "grid", "grid with red borders": "borders"}
    return Panel(
        _Atlas(things, points, grid, c.u_matrix(grid, things.code)).draw,
        {
            "image": controls.image_menu(things.pictures, image),
            "view": controls.choice("view", views),
            "zoom": controls.whole("zoom", 1, 1, 5, unit="×"),
            "across": controls.real("from left to right", 0.5, 0.0, 1.0, step=0.05),
            "down": controls.real("from top to bottom", 0.5, 0.0, 1.0, step=0.05),
        },
        title="Atlas",
        cost="quick",
    )


def codes_of(things: Collection, pictures: c.Images) -> torch.Tensor:
    """The codes of further pictures, at the collection's own layer."""
    return c.codes(things.network, pictures, things.layer)


def _neighbours_in(things: Collection, seen: torch.Tensor) -> tuple[int | None, list[int]]:
    """Which of the pictures this is, if it is one of them, and its nearest others."""
    asked = codes_of(things, seen)
    near = c.neighbours(torch.cat([things.code, asked]), len(things), k=6)
    if near.distances[0] < 1e-5:
        return near.numbers[0], list(near.numbers[1:])
    return None, list(near.numbers[:5])


def _part(whole: Image.Image, zoom: int, across: float, down: float) -> Image.Image:
    """A window of the first zoom's size on the whole picture."""
    width, height = whole.width // zoom, whole.height // zoom
    left, top = round((whole.width - width) * across), round((whole.height - height) * down)
    return whole.crop((left, top, left + width, top + height))


def _column(things: Collection, seen: torch.Tensor, near: Sequence[int]) -> Image.Image:
    by_pixels = nearest_others(things.codes[PIXELS], c.pixel_codes(seen), 5, "cosine").numbers
    tiles = [_square(things, n, 72) for pair in zip(near, by_pixels, strict=True) for n in pair]
    titles = ["by code", "by pixels", *[""] * 8]
    asked = figures.mosaic(images.resize(seen, 160, crop=160), gap=0)
    return figures.side_by_side([asked, figures.mosaic(tiles, columns=2, titles=titles)], columns=1)


def _atlas_words(things: Collection, number: int | None, near: Sequence[int]) -> str:
    who = "Your picture" if number is None else things.titles[number]
    return f"{who}; nearest by code: {', '.join(things.titles[n] for n in near)}."


def with_new_pictures(
    things: Collection, points: torch.Tensor, pictures: ImageSet[Any]
) -> tuple[Collection, torch.Tensor]:
    """A collection to show and its map, with further pictures where their nearest ones lie."""
    decoded = [_decoded(picture)[1] for picture in pictures]
    return _with_more(things, points, decoded, codes_of(things, pictures))


def _with_more(
    things: Collection, points: torch.Tensor, shown: Sequence[Image.Image], codes: torch.Tensor
) -> tuple[Collection, torch.Tensor]:
    """The collection and its map with further pictures, framed, at the end."""
    framed = tuple(_framed(picture.convert("RGBA")) for picture in shown)
    both = {things.layer: torch.cat([things.code, codes])}
    small = {key: one for key, one in things._small.items() if key[0] < len(things)}
    more = Collection(
        things.network, things.pictures, things.shown + framed, both, things.layer, small
    )
    return more, torch.cat([points, c.place_in_map(things.code, points, codes)])


def _framed(picture: Image.Image) -> Image.Image:
    """A blue frame, by which a new picture is known."""
    sheet = Image.new("RGBA", (picture.width + 16, picture.height + 16), (*ink.ACCENT, 255))
    inside = Image.new("RGBA", picture.size, "white")
    inside.alpha_composite(picture)
    sheet.paste(inside, (8, 8))
    return sheet


# Digits


@dataclass(frozen=True)
class Digits:
    """Small grey images (N, H, W), their labels (N,) and the names of the classes."""

    images: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]


@lru_cache(maxsize=4)
def digits(data: str) -> Digits:
    """A set by the name that `DIGITS` gives it: 1797 to 10 000 small images with their labels."""
    if data == "small":
        from sklearn.datasets import load_digits

        small = load_digits()
        names = tuple(str(digit) for digit in range(10))
        return Digits(torch.tensor(small.images).float() / 16, torch.tensor(small.target), names)
    if data == "fashion":
        clothes = images.fashion("test")
        return Digits(clothes.images[:, 0], clothes.labels, clothes.categories)
    sets = [
        images.digits(split)
        for split in (("train", "test") if data in ("all", COMPUTED) else ("test",))
    ]
    pixels = torch.cat([one.images[:, 0] for one in sets])
    return Digits(pixels, torch.cat([one.labels for one in sets]), sets[0].categories)


@lru_cache(maxsize=8)
def digit_codes(data: str, source: str = PIXELS) -> torch.Tensor:
    """The pixels of each digit as a vector, or its 84 numbers before LeNet-5's classifier."""
    pixels = digits(data).images
    if source == PIXELS:
        return pixels.flatten(1)
    network = networks.load("lenet5")
    colour = pixels[:, None].expand(-1, 3, -1, -1)
    return c.codes(network, images.resize(colour, network.input_size))


def digits_panel(data: str = "small") -> Live:
    """t-SNE of handwritten digits while it works, coloured by what they are."""

    def frames(data: str, source: str, perplexity: int, steps: int) -> Iterator[c.Embedding]:
        if data == COMPUTED:
            return iter([bundled_map(source)])
        rows = digit_codes(data, source)
        every = max(1, min(10, 20_000 // len(rows)))
        return c.embed.frames(
            rows, perplexity=perplexity, metric="euclidean", steps=steps, every=every
        )

    return Live(
        frames,
        {
            "data": controls.choice("images", DIGITS, data),
            "source": controls.choice("code", SOURCES),
            "perplexity": controls.whole("perplexity", 30, 5, 100, step=5),
            "steps": controls.whole("steps", 750, 100, 1500, step=50),
            "view": controls.choice("view", {"dots": "dots", "the digits themselves": "digits"}),
            "radius": controls.real("dot size", 2.5, 1.0, 6.0, step=0.5, unit="px", digits=1),
        },
        draw=draw_digits,
        title="Digits in a plane",
    )


def bundled_map(source: str = PIXELS) -> c.Embedding:
    """The finished map of 10 000 digits that comes with the workbook: 750 steps, perplexity 30."""
    path = bundled.path(f"maps/digits_{source}.csv")
    points = torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32))
    return c.Embedding(points, 750, 750, math.nan, "computed before", 1.0)


def draw_digits(
    frame: c.Embedding,
    data: str,
    source: str,
    perplexity: int = 30,
    view: str = "dots",
    radius: float = 2.5,
) -> tuple[Image.Image, str]:
    """The map of some digits, with words on how good it is."""
    shown = digits(data)
    labels = shown.labels.tolist()
    if view == "dots":
        picture = dots(frame.points, labels, shown.names, radius=radius)
    else:
        picture = digit_map(frame.points, shown)
    words = f"{_step_words(frame)} Perplexity {30 if data == COMPUTED else perplexity}."
    if frame.progress < 1 and len(labels) > 500:
        return picture, words
    quality = map_words(
        digit_codes(data, source), frame.points, labels, metric="euclidean", what="class"
    )
    return picture, f"{words} {quality}"


def digit_map(
    points: torch.Tensor, shown: Digits, *, size: int = 960, tile: int = 18
) -> Image.Image:
    """As many digits as fit without covering each other, at their places, in their colours."""
    places = _on_sheet(points, size, tile)
    sheet = np.full((size, size, 3), 255.0)
    taken = np.zeros((size // 6 + 1, size // 6 + 1), dtype=bool)
    strokes = images.resize(shown.images[:, None].expand(-1, 3, -1, -1), (tile, tile))[:, 0].numpy()
    corners = (places - tile / 2).round().astype(int).clip(0, size - tile)
    for number, (left, top) in enumerate(corners.tolist()):
        cells = (slice(top // 6, top // 6 + 3), slice(left // 6, left // 6 + 3))
        if taken[cells].any():
            continue
        taken[cells] = True
        colour = np.array(COLOURS[int(shown.labels[number]) % len(COLOURS)])
        part = sheet[top : top + tile, left : left + tile]
        part += (colour - part) * strokes[number][..., None]
    picture = Image.fromarray(sheet.round().astype(np.uint8))
    legend = _legend(shown.labels.numpy(), shown.names, size)
    return figures.side_by_side([picture, legend], gap=12)


# Toys: data whose truth is known


def _two_sizes(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    small, wide = draw.normal(0, 1, (75, 10)), draw.normal(0, 10, (75, 10))
    wide[:, 0] += 60
    return np.concatenate([small, wide]), np.repeat([0, 1], 75)


def _three_distances(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    values = draw.normal(0, 1, (150, 10))
    values[50:100, 0] += 10
    values[100:, 0] += 60
    return values, np.repeat([0, 1, 2], 50)


def _noise(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return draw.normal(0, 1, (150, 50)), np.zeros(150, dtype=int)


def _ring(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    turn = np.linspace(0, 2 * np.pi, 150, endpoint=False)
    values = np.column_stack([np.cos(turn), np.sin(turn)]) + draw.normal(0, 0.02, (150, 2))
    return values, (np.arange(150) * 4) // 150


_TOYS = {
    "two groups, one ten times as wide": (_two_sizes, ("narrow", "wide")),
    "three groups, one far away": (_three_distances, ("left", "10 away", "60 away")),
    "noise in 50 dimensions": (_noise, ("noise",)),
    "a ring": (_ring, ("first quarter", "second", "third", "last")),
}
TOYS = tuple(_TOYS)


def toy(name: str, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Made-up data (150, D), the group of each point and the groups' names."""
    build, names = _TOYS[name]
    values, groups = build(np.random.default_rng(seed))
    return torch.tensor(values).float(), torch.tensor(groups), names


def toys_panel(data: str = TOYS[0]) -> Live:
    """t-SNE of data whose truth is known: what may and what may not be read from a map."""

    def frames(
        data: str, perplexity: int, learning_rate: float, seed: int, steps: int
    ) -> Iterator[c.Embedding]:
        settings = _descent_settings(perplexity, learning_rate, seed, steps)
        return _slowed(c.embed.frames(toy(data)[0], metric="euclidean", **settings))

    def draw(
        frame: c.Embedding, data: str, perplexity: int, radius: float
    ) -> tuple[Image.Image, str]:
        words = f"{_step_words(frame)} Perplexity {perplexity}."
        return toy_picture(data, frame.points, radius=radius), words

    return Live(
        frames,
        {
            "data": controls.choice("data", TOYS, data),
            **_descent_controls(perplexity=30),
            "radius": controls.real("dot size", 4.0, 2.0, 8.0, step=0.5, unit="px", digits=1),
        },
        draw=draw,
        title="Maps of what you know",
        autostart=True,
    )


def toy_picture(data: str, points: torch.Tensor, *, radius: float = 4.0) -> Image.Image:
    """The first two dimensions of made-up data beside its map."""
    rows, groups, names = toy(data)
    labels = groups.tolist()
    pair = [
        dots(rows[:, :2], labels, names, size=340, radius=radius),
        dots(points, labels, names, size=340, radius=radius),
    ]
    pair[0] = pair[0].crop((0, 0, 340, pair[0].height))
    return figures.side_by_side(pair, ["the data (its first two numbers)", "its map"])


def toy_maps(data: str, settings: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Maps of one data set with different settings, side by side, each under its settings."""
    rows, groups, names = toy(data)
    maps = [c.embed(rows, metric="euclidean", **one).points for one in settings]
    titles = [", ".join(f"{key} {value}" for key, value in one.items()) for one in settings]
    shown = [
        dots(points, groups.tolist(), names, size=240, radius=3).crop((0, 0, 240, 240))
        for points in (rows[:, :2], *maps)
    ]
    return figures.side_by_side(shown, ["the data", *titles], columns=4)
