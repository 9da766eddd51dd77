"""Lab 04: pictures with their codes at several layers, and the controls that choose among them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.images.sets import CutOut, ImageSet, Picture
from labsupport.core.network import Network
from labsupport.methods import codes as c
from labsupport.ui import controls
from labsupport.ui.declare import Declared

PIXELS = "pixels"
_LOADED = 224  # pixels: the longer side of a picture that is kept

# Controls of a panel that has a collection as its value `things`.
PICTURE: Any = Declared(
    lambda _, name, made: controls.image_menu(
        made["things"].pictures, name or made["things"].pictures.names[0]
    ),
    None,
)


def layer_menu(*, pixels: bool) -> Any:
    """A menu of the layers whose codes a collection has, with or without its `pixels`."""
    return Declared(
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
    places = np.linspace(0, len(names) - 1, min(9, len(names))).round().astype(int)
    return [names[place] for place in dict.fromkeys(places.tolist())]


def codes_of(things: Collection, pictures: c.Images) -> torch.Tensor:
    """The codes of further pictures, at the collection's own layer."""
    return c.codes(things.network, pictures, things.layer)


def tile(things: Collection, number: int, side: int) -> Image.Image:
    """One picture in the middle of a white square of `side` pixels."""
    small = things.small(number, side - 8)
    sheet = Image.new("RGB", (side, side), "white")
    sheet.paste(small, ((side - small.width) // 2, (side - small.height) // 2), small)
    return sheet
