"""A set of images, gone through once: in batches of one size, and with a fingerprint.

Never more than a few batches are held at a time, however many images there are.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

import torch

from labsupport.core import images as pictures_
from labsupport.core.errors import BadImage
from labsupport.core.images.sets import Picture
from labsupport.core.network import Network
from labsupport.core.network.operations import Pair

Item: TypeAlias = torch.Tensor | Picture
Images: TypeAlias = torch.Tensor | Sequence[Item]

BATCH_PIXELS = 8 * 224**2  # larger batches are slower on a CPU
WAITING = 4  # batches that may wait for more images of their size
_PRIME, _BASE = 2**127 - 1, 3**61


def image_of(images: Images, number: int) -> torch.Tensor:
    """One image (1, 3, H, W) of a set, of a sequence or of a tensor."""
    if isinstance(images, torch.Tensor):
        return images[number][None]
    item = images[number]
    if isinstance(item, Picture):
        return item.image
    return item[None] if isinstance(item, torch.Tensor) and item.ndim == 3 else item


def count_of(images: Images) -> int:
    """How many images there are.

    Errors: `BadImage` for what is no set of images at all.
    """
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise BadImage(
            f"a {type(images).__name__} is no set of images: images.folder(path) is one, and so "
            "are a list of images and a tensor (N, 3, H, W)"
        )
    return len(images)


class ScaledImages(Sequence[torch.Tensor]):
    """Every picture of a set at several sizes, resized when asked for.

    All pictures at the first size come first, then those at the second, and so on.
    """

    def __init__(self, images: Images, sizes: tuple[int, ...]) -> None:
        self.images, self.sizes = images, sizes

    def __len__(self) -> int:
        return len(self.images) * len(self.sizes)

    def picture(self, number: int) -> int:
        """Which picture of the set an image shows."""
        return number % len(self.images)

    @overload
    def __getitem__(self, number: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[torch.Tensor]: ...
    def __getitem__(self, number: int | slice) -> torch.Tensor | Sequence[torch.Tensor]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        scale, picture = divmod(number % len(self), len(self.images))
        side = self.sizes[scale]
        return pictures_.resize(image_of(self.images, picture), side, crop=side)


# Batches


@dataclass(frozen=True)
class NumberedImage:
    """One image (1, 3, H, W), its number, and that of the picture which it shows."""

    number: int
    picture: int
    image: torch.Tensor

    @property
    def size(self) -> Pair:
        return (self.image.shape[2], self.image.shape[3])

    @property
    def pixels(self) -> int:
        return math.prod(self.size)


@dataclass(frozen=True)
class Batch:
    """Images of one size, (N, 3, H, W), with the number and the picture of each."""

    images: torch.Tensor
    numbers: list[int]
    pictures: list[int]
    done: int  # images of the set so far, these among them

    @property
    def size(self) -> Pair:
        return (self.images.shape[2], self.images.shape[3])


def numbered_images(images: Images) -> Iterator[NumberedImage]:
    """The images, one after the other, each checked."""
    for number in range(count_of(images)):
        image = image_of(images, number)
        pictures_.check(image)
        if len(image) != 1:
            raise BadImage(f"image {number} is a batch of {len(image)}: one image at a time")
        picture = images.picture(number) if isinstance(images, ScaledImages) else number
        yield NumberedImage(number, picture, image.detach())


def batches(network: Network, images: Images) -> Iterator[Batch]:
    """Images of one size together; those of rare sizes wait, but never many of them.

    Errors: `BadImage` for what is no image, or of a size that the network cannot take.
    """
    waiting: dict[Pair, list[NumberedImage]] = {}
    held = done = 0
    for one in numbered_images(images):
        network.shapes(one.size)
        group = waiting.setdefault(one.size, [])
        group.append(one)
        held += one.pixels
        full = (len(group) + 1) * one.pixels > BATCH_PIXELS
        if full or held > WAITING * BATCH_PIXELS:
            out = one.size if full else max(waiting, key=lambda size: _pixels(waiting[size]))
            held -= _pixels(waiting[out])
            done += len(waiting[out])
            yield _batch(waiting.pop(out), done)
    while waiting:
        _, group = waiting.popitem()
        done += len(group)
        yield _batch(group, done)


def _pixels(group: list[NumberedImage]) -> int:
    return sum(one.pixels for one in group)


def _batch(group: list[NumberedImage], done: int) -> Batch:
    together = torch.cat([one.image for one in group])
    return Batch(together, [one.number for one in group], [one.picture for one in group], done)


# Fingerprints: of a set, the sum of what stands for each image at its place. The sums of two parts
# add up to that of the whole, in whichever order.


def image_fingerprint(image: torch.Tensor, number: int) -> int:
    """What stands for an image (1, 3, H, W), its pixels to 8 bits, at a place in a set."""
    pixels = (image * 255).round_().to("cpu", torch.uint8).contiguous()
    digest = hashlib.sha256(str(tuple(image.shape)).encode())
    digest.update(pixels.numpy().data)
    return shifted_fingerprint(int.from_bytes(digest.digest()) % _PRIME, number)


def shifted_fingerprint(fingerprint: int, count: int) -> int:
    """What stands for the same images, each `count` places further on."""
    return fingerprint * pow(_BASE, count, _PRIME) % _PRIME


def fingerprint_text(fingerprint: int) -> str:
    """A sum of fingerprints as a word of 32 letters and digits."""
    return f"{fingerprint % _PRIME:032x}"


def network_fingerprint(network: Network, layer: str) -> str:
    """A word that stands for a layer and all weights below it."""
    part = network.part((network.node(layer),))
    digest = hashlib.sha256(f"{network.layer(layer).name} {network.mean} {network.std}".encode())
    for name, weight in part.state_dict().items():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:32]
