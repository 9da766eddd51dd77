"""Lab 12: a picture on its way to another one's description, and how they are described."""

from collections.abc import Iterator
from itertools import islice

import torch
from PIL import Image

from labsupport.core import images
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
_STEPS_A_FRAME = 5  # of HOG, which are short; the number of steps is a multiple of it


def description(name: str, network: Network) -> Representation:
    """What a name of `DESCRIBED` means for this network; its last maps are those of the last layer
    that still knows where things are."""
    layer = DESCRIBED[name]
    if layer != "last maps":
        return layer
    *_, last = [one for one in network.layers if one.has_map and one.kind in ("relu", "concat")]
    return last.name


def fitted(image: torch.Tensor, layer: Representation, network: Network) -> torch.Tensor:
    """The middle of a picture, as large as its description wants it."""
    height, width = (HOG_SIDE, HOG_SIDE) if isinstance(layer, Hog) else network.input_size
    return images.resize(image, max(height, width), crop=(height, width))


def _draw_becoming(
    frame: Frame, image: torch.Tensor, other: torch.Tensor, described: str, network: Network
) -> tuple[Image.Image, str]:
    layer = description(described, network)
    first, second = (fitted(one, layer, network) for one in (image, other))
    result = twins.measure(network, frame.image, first, second, layer)
    words = f"{in_words(result)} Step {frame.step} of {frame.steps}."
    return twins_picture(result, first, second, layer), words


@declare.live("Twins by description", draw=_draw_becoming, autostart=False)
def twins_panel(
    image: torch.Tensor = declare.photo("koala", label="picture"),
    other: torch.Tensor = declare.photo("colosseum", label="described as"),
    described: str = declare.choice(list(DESCRIBED), label="described by"),
    weight: float = declare.real(0.7, 0.0, 5.0, step=0.1, label="held near itself"),
    network: Network = declare.network_of(),
    steps: int = declare.whole(150, 50, 600, step=50),
) -> Iterator[Frame]:
    """One picture takes on the other's description, and stays what it was to our eyes.

    `described` is a key of `DESCRIBED`; `weight` is how strongly it is held near itself.
    """
    layer = description(described, network)
    first, second = (fitted(one, layer, network) for one in (image, other))
    frames = twins.twin.frames(network, first, second, layer, weight=weight, steps=steps)
    return islice(frames, 0, None, _STEPS_A_FRAME if isinstance(layer, Hog) else 1)


def in_words(one: Twin) -> str:
    """A twin's numbers in a sentence, in units of what two random photographs are apart."""
    code, before, other, own = map(
        figures.per_cent, (one.code, one.before, one.from_other, one.from_image)
    )
    return (
        f"The description is {code} of a random pair's distance away from the other picture's; it "
        f"was {before}. The pixels are {other} of a random pair's distance away from the other "
        f"picture, and {own} from the picture that it was."
    )


def twins_picture(
    result: Twin, image: torch.Tensor, other: torch.Tensor, layer: Representation = ""
) -> Image.Image:
    """The picture, its twin, and the other picture, which the twin is described as.

    Where `layer` is HOG, each stands above its description as strokes: in each cell one along each
    direction of edges, the whiter the stronger.
    """
    three = (image, result.image, other)
    times = max(1, _SHOWN // max(image.shape[2:]))
    tiles = [figures.enlarge(one, times) for one in three]
    titles = [
        "the picture",
        f"its twin: code {figures.per_cent(result.code)} away",
        f"the other: pixels {figures.per_cent(result.from_other)} away",
    ]
    if isinstance(layer, Hog):
        tiles += [_strokes(one, layer) for one in three]
        titles += ["its HOG", "the twin's HOG", "the other's HOG"]
    return figures.side_by_side(tiles, titles, columns=3)


def _strokes(picture: torch.Tensor, layer: Hog) -> Image.Image:
    side = layer.cell * _SHOWN / max(picture.shape[2:])
    with torch.no_grad():
        code, rows = layer(picture.cpu()), picture.shape[2] // layer.cell
    return hog_strokes(code, rows, side, block=layer.block, bins=layer.bins)
