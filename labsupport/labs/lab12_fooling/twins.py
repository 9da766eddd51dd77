"""Lab 12: a picture on its way to another one's description, and how they are described."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.frames import Beside
from labsupport.core.network import Network
from labsupport.methods import twins
from labsupport.methods.inversion import Hog
from labsupport.methods.optimize import Frame
from labsupport.methods.twins import HOG16, Representation, Twin
from labsupport.ui import declare, figures
from labsupport.ui.strokes import hog_strokes

DESCRIBED: dict[str, Representation] = {
    "HOG, cells of 16 pixels": HOG16,
    "HOG, cells of 8 pixels": Hog(),
    "the network's scores": "scores",
    "the network's last maps": "last maps",
}
HOG_SIDE = 128  # pixels: HOG's pictures are small, so that a picture takes seconds
_SHOWN = 256
_STEPS_A_FRAME = 4  # of HOG, which are short


@dataclass(frozen=True)
class Becoming(Beside[Frame]):
    """A frame on the way, the two pictures, and what a random pair is apart."""

    image: torch.Tensor
    other: torch.Tensor
    layer: Representation
    pairs: twins.PairDistances


def description(name: str, network: Network) -> Representation:
    """What a name of `DESCRIBED` means for this network."""
    layer = DESCRIBED[name]
    return last_maps(network) if layer == "last maps" else layer


def last_maps(network: Network) -> str:
    """The last layer that still knows where things are."""
    *_, last = [one for one in network.layers if one.has_map and one.kind in ("relu", "concat")]
    return last.name


def fitted(image: torch.Tensor, layer: Representation, network: Network) -> torch.Tensor:
    """The middle of a picture, as large as its description wants it."""
    height, width = (HOG_SIDE, HOG_SIDE) if isinstance(layer, Hog) else network.input_size
    return images.resize(image, max(height, width), crop=(height, width))


def _draw_becoming(becoming: Becoming, network: Network) -> tuple[Image.Image, str]:
    frame, image, other = becoming.frame, becoming.image, becoming.other
    result = twins.measure(network, frame.image, image, other, becoming.layer, pairs=becoming.pairs)
    words = f"{in_words(result)} Step {frame.step} of {frame.steps}."
    return twins_picture(result, image, other), words


@declare.live("Twins by description", draw=_draw_becoming)
def twins_panel(
    image: torch.Tensor = declare.photo("koala", label="picture"),
    other: torch.Tensor = declare.photo("colosseum", label="described as"),
    described: str = declare.choice(list(DESCRIBED), label="described by"),
    weight: float = declare.real(0.7, 0.0, 5.0, step=0.1, label="held near itself"),
    network: Network = declare.network_of(),
    steps: int = declare.whole(150, 50, 600, step=50),
) -> Iterator[Becoming]:
    """One picture takes on the other's description, and stays what it was to our eyes.

    `described` is a key of `DESCRIBED`; `weight` is how strongly it is held near itself.
    """
    layer = description(described, network)
    first, second = (fitted(one, layer, network) for one in (image, other))
    pairs = twins.pair_distances(network, layer, (first.shape[2], first.shape[3]))
    every = _STEPS_A_FRAME if isinstance(layer, Hog) else 1
    for frame in twins.twin.frames(network, first, second, layer, weight=weight, steps=steps):
        if frame.step % every == 0 or frame.step == steps:
            yield Becoming(frame, first, second, layer, pairs)


def in_words(one: Twin) -> str:
    """A twin's numbers in a sentence, in units of what two random photographs are apart."""
    return (
        f"The description is {_share(one.code)} of a random pair's distance away from the other "
        f"picture's; it was {_share(one.before)}. The pixels are {_share(one.from_other)} of a "
        f"random pair's distance away from the other picture, and {_share(one.from_image)} from "
        "the picture that it was."
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if value < 0.1 else f"{100 * value:.0f} %"


def twins_picture(result: Twin, image: torch.Tensor, other: torch.Tensor) -> Image.Image:
    """The picture, its twin, and the other picture, which the twin is described as."""
    times = max(1, _SHOWN // max(image.shape[2:]))
    tiles = [figures.enlarge(one, times) for one in (image, result.image, other)]
    titles = [
        "the picture",
        f"its twin: code {_share(result.code)} away",
        f"the other: pixels {_share(result.from_other)} away",
    ]
    return figures.side_by_side(tiles, titles)


def strokes_picture(pictures: Mapping[str, torch.Tensor], layer: Hog = HOG16) -> Image.Image:
    """HOG as strokes: in each cell one along each direction of edges, the whiter the stronger."""
    drawn = [_strokes(picture, layer) for picture in pictures.values()]
    return figures.side_by_side(drawn, list(pictures))


def _strokes(picture: torch.Tensor, layer: Hog) -> Image.Image:
    side = layer.cell * _SHOWN / max(picture.shape[2:])
    with torch.no_grad():
        code, rows = layer(picture.cpu()), picture.shape[2] // layer.cell
    return hog_strokes(code, rows, side, block=layer.block, bins=layer.bins)
