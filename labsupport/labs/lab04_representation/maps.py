"""Lab 04: pictures with their codes at several layers, and maps and grids of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw

from labsupport.core import images
from labsupport.core.images.sets import CutOut, ImageSet, Picture
from labsupport.core.network import Network
from labsupport.methods import codes as c
from labsupport.ui import controls, declare, figures, ink
from labsupport.ui.control import spaced

PIXELS = "pixels"
_LOADED = 224  # pixels: the longer side of a picture that is kept

# Controls of a panel that has a collection as its value `things`.
PICTURE: Any = declare.Declared(
    lambda _, name, made: controls.image_menu(
        made["things"].pictures, name or made["things"].pictures.names[0]
    ),
    None,
)


def layer_menu(*, pixels: bool) -> Any:
    """A menu of the layers whose codes a collection has, with or without its `pixels`."""
    return declare.Declared(
        lambda label, name, made: controls.choice(
            label,
            [layer for layer in made["things"].codes if pixels or layer != PIXELS],
            name or made["things"].layer,
        ),
        None,
        "code at layer",
    )


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

    @cached_property
    def agreement(self) -> Mapping[str, float]:
        """For each layer, how many of the 5 nearest pictures share the category, 0 to 1."""
        return {name: c.label_agreement(one, self.categories) for name, one in self.codes.items()}

    @cached_property
    def own_map(self) -> torch.Tensor:
        """The map (N, 2) of the codes, onto which those of other layers are turned."""
        return c.embed(self.code, perplexity=12, steps=300).points

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
    network: Network, pictures: ImageSet[Any], *, layers: Sequence[str] | None = None
) -> Collection:
    """The codes of pictures at several layers, from one pass, and the pictures to show."""
    last = c.code_layer(network)
    names = list(dict.fromkeys([*(map_layers(network) if layers is None else layers), last]))
    read = _ReadOnce(pictures, network)
    by_layer = c.codes_by_layer(network, read, names)
    places = range(len(read))
    pixels = torch.cat([read.pixels[place] for place in places])
    shown = tuple(read.shown[place] for place in places)
    return Collection(network, pictures, shown, {PIXELS: pixels} | by_layer, last)


class _ReadOnce(Sequence[torch.Tensor]):
    """Pictures, each decoded once for its code, its pixels and its little picture."""

    def __init__(self, pictures: ImageSet[Any], network: Network) -> None:
        self._pictures, self._size = pictures, network.input_size
        # by number: several threads read
        self.pixels: dict[int, torch.Tensor] = {}  # shrunken, each (1, D)
        self.shown: dict[int, Image.Image] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, key: Any) -> Any:
        image, shown = decoded(self._pictures[key])
        seen = c.fitted(image, self._size)
        self.pixels[key], self.shown[key] = c.pixel_codes(seen), shown
        return seen


def decoded(picture: Picture) -> tuple[torch.Tensor, Image.Image]:
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
    return spaced(names, 9)


def codes_of(things: Collection, pictures: c.Images) -> torch.Tensor:
    """The codes of further pictures, at the collection's own layer."""
    return c.codes(things.network, pictures, things.layer)


def squared(things: Collection, number: int, side: int, *, margin: int = 4) -> Image.Image:
    """One picture in the middle of a white square of `side` pixels; a number below zero is none."""
    sheet = Image.new("RGB", (side, side), "white")
    if number >= 0:
        small = things.small(number, side - 2 * margin)
        sheet.paste(small, ((side - small.width) // 2, (side - small.height) // 2), small)
    return sheet


# Maps and grids


# every group has its name on the map, too
COLOURS = tuple(ImageColor.getrgb(colour)[:3] for colour in ink.CATEGORIES)
VIEWS = {"pictures": "pictures", "dots, coloured by category": "dots"}
Window = tuple[float, float, float, float]  # left, top, right, bottom, each from 0 to 1
WHOLE: Window = (0, 0, 1, 1)


def image_map(
    things: Collection,
    points: torch.Tensor,
    *,
    size: int = 1000,
    tile: int = 64,
    window: Window = WHOLE,
    chosen: int | None = None,
    near: Sequence[int] = (),
    square: bool = False,
) -> Image.Image:
    """The pictures at their true places (N, 2) on a sheet whose longer side is `size` pixels.

    The sheet is as high or as wide as the map needs, or `square`.

    `window` (left, top, right, bottom, 0 to 1) shows a part of the map; `chosen` is framed in
    blue, and those in `near` are numbered.
    """
    places = on_sheet(points, size, tile, window)
    sheet = Image.new("RGB", (size, size), "white")
    last = [*near, *([] if chosen is None else [chosen])]
    for number in [n for n in range(len(things)) if n not in last] + last:
        small = things.small(number, tile)
        left, top = (places[number] - np.array(small.size) / 2).round().astype(int).tolist()
        if -tile < left < size and -tile < top < size:
            sheet.paste(small, (left, top), small)
    marks = {number: str(place + 1) for place, number in enumerate(near)}
    _mark(sheet, places, tile, chosen, marks)
    return sheet if square or window != WHOLE else _trimmed(sheet, places, tile)


def _trimmed(sheet: Image.Image, places: np.ndarray, tile: int) -> Image.Image:
    """Without the empty margins of the shorter axis."""
    low, high = places.min(0) - 0.6 * tile, places.max(0) + 0.6 * tile
    left, top = np.maximum(low, 0).round().astype(int).tolist()
    right, bottom = np.minimum(high, sheet.width).round().astype(int).tolist()
    return sheet.crop((left, top, right, bottom))


def on_sheet(points: torch.Tensor, size: int, tile: int, window: Window = WHOLE) -> np.ndarray:
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
    legend: bool = True,
) -> Image.Image:
    """Points (N, 2) as dots in the colour of their group, each group's name at its middle.

    `labels` are places in `names`. A `legend` with the number of points stands on the right.
    """
    groups = np.asarray(labels)
    twice = 2 * size
    places = on_sheet(points, twice, 40)
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
    return with_legend(picture, groups, names) if legend else picture


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


def with_legend(picture: Image.Image, groups: np.ndarray, names: Sequence[str]) -> Image.Image:
    """The picture, and on its right each group's colour, name and number of points."""
    words = [f"{name} ({int((groups == group).sum())})" for group, name in enumerate(names)]
    width = max(ink.measure(line) for line in words) + 26
    sheet = Image.new("RGB", (width, max(picture.height, 22 * len(words) + 8)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, line in enumerate(words):
        middle = 14 + 22 * place
        pen.ellipse((2, middle - 6, 14, middle + 6), fill=COLOURS[place % len(COLOURS)])
        ink.write(sheet, (22, middle), line, anchor="lm")
    return figures.side_by_side([picture, sheet], gap=12)


def map_picture(
    things: Collection, points: torch.Tensor, view: str, *, size: int, tile: int
) -> Image.Image:
    """A map as one of `VIEWS`: the pictures themselves on a square sheet, or dots."""
    if view != "dots":
        return image_map(things, points, size=size, tile=tile, square=True)
    names = sorted(set(things.categories))
    groups = [names.index(one) for one in things.categories]
    return dots(points, groups, names, size=size, radius=4)


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
    gap = 8 if borders is not None else 3
    step = tile + gap
    tiles = [squared(things, number, tile, margin=0) for number in grid.cells.flatten().tolist()]
    sheet = figures.mosaic(tiles, columns=grid.cells.shape[1], gap=gap)
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
            begin = (column + sideways) * step + gap / 2, (row + (not sideways)) * step + gap / 2
            end = begin[0] + step * (not sideways), begin[1] + step * sideways
            red = (255 - round(40 * strength), pale, pale)
            pen.line((*begin, *end), fill=red, width=width)


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
