"""Lab 04: pictures with their codes at several layers, and maps and grids of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from labsupport.core import images
from labsupport.core.images.sets import CutOut, ImageSet, Picture
from labsupport.core.network import Network
from labsupport.methods import codes as c
from labsupport.ui import controls, declare, figures
from labsupport.ui.control import spaced

PIXELS = "pixels"
_LOADED = 224  # pixels: the longer side of a picture that is kept

# Controls of a panel that has a collection as its value `things`.
PICTURE: Any = declare.Declared(
    lambda _, name, made: controls.ImageMenu(
        made["things"].pictures, name or made["things"].pictures.names[0]
    ),
    None,
)


def layer_menu(*, pixels: bool) -> Any:
    """A menu of the layers whose codes a collection has, with or without its `pixels`."""
    return declare.Declared(
        lambda _, name, made: declare.choice(
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
            self._small[number, side] = figures.fitted(self.shown[number], side)
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
    whole = to_pil_image(values[0].mul(255).round().byte(), "RGBA")
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
    if number < 0:
        return figures.blank(side, side)
    return figures.centred(things.small(number, side - 2 * margin), side)


# Maps and grids


VIEWS = {"pictures": "pictures", "dots, coloured by category": "dots"}


def image_map(
    things: Collection,
    points: torch.Tensor,
    *,
    size: int = 1000,
    tile: int = 64,
    square: bool = False,
    **how: Any,
) -> Image.Image:
    """The pictures at their true places (N, 2) on a sheet whose longer side is `size` pixels.

    The sheet is as high or as wide as the map needs, or `square`; `figures.pictures_at` says what
    else it takes.
    """
    small = partial(things.small, side=tile)
    sheet = figures.pictures_at(points, small, size=size, tile=tile, **how)
    return sheet if square else figures.trimmed(sheet)


def map_picture(
    things: Collection, points: torch.Tensor, view: str, *, size: int, tile: int
) -> Image.Image:
    """A map as one of `VIEWS`: the pictures themselves on a square sheet, or dots."""
    if view != "dots":
        return image_map(things, points, size=size, tile=tile, square=True)
    names = sorted(set(things.categories))
    groups = [names.index(one) for one in things.categories]
    return figures.dots(points, groups, names, size=size, radius=4)


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
    gap, count = 8 if borders is not None else 3, grid.cells.shape[1]
    cells = grid.cells.flatten().tolist()
    tiles = [squared(things, number, tile, margin=0) for number in cells]
    place = None if chosen is None else cells.index(chosen)
    sheet = figures.mosaic(tiles, columns=count, gap=gap, chosen=place)
    if borders is not None:
        known = torch.cat([borders.right.flatten(), borders.below.flatten()])
        low, high = torch.quantile(known[known.isfinite()], torch.tensor([0.35, 0.95])).tolist()
        right, below = (
            (table.numpy() - low) / max(high - low, 1e-9)
            for table in (borders.right, borders.below)
        )
        figures.seams(sheet, right, below, tile=tile, gap=gap)
    return sheet


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
