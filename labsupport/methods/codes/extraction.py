"""From images to codes: the activations of a layer as one vector for each image."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, overload

import torch
from torch import Tensor, fx

from labsupport.core import device, images, workers
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.images.sets import Picture
from labsupport.core.network import Network, Pair
from labsupport.core.streams import count_of

Images: TypeAlias = Tensor | Sequence[Picture] | Sequence[Tensor]
Progress: TypeAlias = Callable[[float], object]

_BATCH, _MOST_CORES = 8, 8  # images that a core takes at a time; each holds their activations
_UNCHANGED = frozenset({"dropout", "flatten", "identity"})  # a code comes out as it went in


def code_layer(network: Network) -> str:
    """The layer whose activations are the code: what the classifier reads.

    fc7 after its ReLU in AlexNet and VGG, the pooled maps in GoogLeNet and ResNet, fire9 in
    SqueezeNet, whose classifier is a convolution.

    >>> from labsupport import networks
    >>> code_layer(networks.load())
    'fire9'
    """
    weighted = [one for one in network.operations if one.kind in ("conv", "linear")]
    if not weighted:
        raise BadSetting(
            f"{network.name} has no layer with weights that is known to give its scores: name the "
            "layer whose code you want (network.layers lists all)"
        )
    node: fx.Node = weighted[-1].inputs[0]
    while network.operation(node).kind in _UNCHANGED:
        node = network.operation(node).inputs[0]
    if network.operation(node).kind == "normalize":
        raise BadSetting(f"{network.name} reads its classes from the pixels: it has no code")
    return network.layer_of(node).title


def codes(
    network: Network,
    pictures: Images,
    layer: str | None = None,
    *,
    pooled: bool = True,
    progress: Progress | None = None,
) -> Tensor:
    """The codes (N, D) of images at a layer (by default `code_layer`), on the CPU.

    `pictures` are images (N, 3, H, W), or a sequence of pictures that are read as they are needed
    (by several threads) and brought to the network's size. A layer with maps gives the mean of
    each map, or every position where `pooled` is False. Nothing after the layer is computed.

    Errors: `UnknownLayer`; `BadImage`.

    >>> from labsupport import images, networks
    >>> codes(networks.load(), images.cutouts()[:2]).shape
    torch.Size([2, 512])
    """
    name = code_layer(network) if layer is None else layer
    return codes_by_layer(network, pictures, [name], pooled=pooled, progress=progress)[name]


def codes_by_layer(
    network: Network,
    pictures: Images,
    layers: Sequence[str],
    *,
    pooled: bool = True,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """The same at several layers from one pass over the images, by the names asked for.

    Errors: also `BadSetting` where there are no layers.
    """
    if not layers:
        raise BadSetting("name at least one layer to take codes from")
    part = network.part(tuple(network.node(layer) for layer in layers))
    widths: list[int] = []

    def all_codes(batch: Tensor) -> Tensor:
        network.check(batch)
        by_layer = [
            value.flatten(2).mean(2) if pooled and value.ndim == 4 else value.flatten(1)
            for value in part(network.send(batch))
        ]
        widths[:] = [one.shape[1] for one in by_layer]
        return torch.cat(by_layer, 1)

    whole = _for_all(network, all_codes, pictures, progress)
    return dict(zip(layers, torch.split(whole, widths, 1), strict=True))


def pixel_codes(pictures: Images, *, side: int = 32) -> Tensor:
    """What there is without a network: the images themselves, shrunk, as vectors (N, 3 side side).

    >>> pixel_codes(torch.zeros(2, 3, 40, 60), side=8).shape
    torch.Size([2, 192])
    """
    if side < 1:
        raise BadSetting(f"a side is at least 1 pixel, not {side}")

    def shrunk(batch: Tensor) -> Tensor:
        return images.resize(batch.detach(), (side, side)).flatten(1)

    if isinstance(pictures, Tensor):
        images.check(pictures)
    return device.in_batches(shrunk, _resized(pictures, (224, 224)))


def _for_all(
    network: Network,
    fn: Callable[[Tensor], Tensor],
    pictures: Images,
    progress: Progress | None,
) -> Tensor:
    """`fn` on all images, a batch at a time; on a CPU each core takes batches of its own."""
    if isinstance(pictures, Tensor):
        network.check(pictures)
    resized = _resized(pictures, network.input_size)
    cores = min(torch.get_num_threads(), _MOST_CORES)
    if network.device.type != "cpu" or cores == 1:
        return device.in_batches(fn, resized, device=network.device, progress=progress)

    def batch(start: int) -> Tensor:
        chunk = resized[start : start + _BATCH]
        with torch.no_grad():
            return fn(chunk if isinstance(chunk, Tensor) else torch.stack(list(chunk)))

    parts, starts = [], range(0, len(resized), _BATCH)
    for start, part in workers.in_order(lambda: batch, starts, threads=cores):
        parts.append(part)
        if progress is not None:
            progress(min(start + _BATCH, len(resized)) / len(resized))
    return torch.cat(parts)


def _resized(pictures: Images, size: Pair) -> Tensor | Sequence[Tensor]:
    if count_of(pictures) == 0:
        raise BadImage("there is no image: an empty set has no codes")
    return pictures if isinstance(pictures, Tensor) else _ResizedPictures(pictures, size)


class _ResizedPictures(Sequence[Tensor]):
    """Pictures as tensors (3, H, W) of one size, each read when it is asked for."""

    def __init__(self, pictures: Sequence[Picture] | Sequence[Tensor], size: Pair) -> None:
        self._pictures, self._size = pictures, size

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, key: int) -> Tensor: ...
    @overload
    def __getitem__(self, key: slice) -> list[Tensor]: ...
    def __getitem__(self, key: int | slice) -> Tensor | list[Tensor]:
        if isinstance(key, slice):
            return [self[place] for place in range(*key.indices(len(self)))]
        picture = self._pictures[key]
        image = picture.image if isinstance(picture, Picture) else picture
        return fitted(image, self._size)[0]


def fitted(image: Tensor, size: Pair) -> Tensor:
    """An image (1, 3, H, W) in a size (height, width): shrunk until it just covers it, then cut.

    Nothing of a square picture is cut off, which the networks' standard crop would do.

    >>> fitted(torch.zeros(1, 3, 100, 200), (50, 50)).shape
    torch.Size([1, 3, 50, 50])
    """
    images.check(image)
    size = images.checked_size(size)
    height, width = image.shape[2:]
    scale = max(size[0] / height, size[1] / width)
    covering = (max(round(height * scale), size[0]), max(round(width * scale), size[1]))
    return images.resize(image.detach(), covering, crop=size)
