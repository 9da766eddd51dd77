"""How near a reconstruction is: to its code, to its image, and for another network."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsupport.core import images as pictures
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.network import Network
from labsupport.methods.inversion.search import Code, Hog, encode, invert
from labsupport.methods.optimize import objectives


def code_distance(network: Network, images: Tensor, code: Code) -> Tensor:
    """|Phi(x) - Phi_0|^2 / |Phi_0|^2 for images (N, 3, H, W): 0 is the code itself; (N,).

    Errors: `BadImage`, `BadSetting` where the codes have another shape, or are as many as the
    images only in part: one code for all, or one for each.
    """
    with torch.no_grad():
        distance = code.distance.bound(network)
        network.check(images, up_to=objectives.nodes_of(network, distance.layers))
        _fitting(len(images), "images", len(code), "codes")
        terms, _ = distance.evaluate(network, images.detach())
    (term,) = terms.values()
    return term.value.cpu()


def pixel_distance(images: Tensor, others: Tensor) -> Tensor:
    """The root of the mean squared difference of the pixels, 0 to 1; (N,).

    Both are (N, 3, H, W); one image on either side is compared with all of the other.

    Errors: `BadImage`; `BadSetting` for several images of each that are not as many.

    >>> pixel_distance(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5))
    tensor([0.5000])
    """
    check_pairs(images, others)
    return (images - others).detach().square().flatten(1).mean(1).sqrt().cpu()


def check_pairs(images: Tensor, others: Tensor) -> None:
    """Refuse what are no images of one size, or not as many on both sides."""
    for some in (images, others):
        pictures.check(some)
    if images.shape[1:] != others.shape[1:]:
        raise BadImage(
            f"images of one size can be compared, not {tuple(images.shape)} and "
            f"{tuple(others.shape)}"
        )
    _fitting(len(images), "images", len(others), "others")


@dataclass(frozen=True)
class Comparison:
    """How alike pictures of one code are: to the network, and to an eye.

    `to_code` (N,) and `to_image` (N,) are the code distance and the pixel distance from the
    original, `codes` (N, N) and `pixels` (N, N) those between any two of them.
    """

    to_code: Tensor
    to_image: Tensor
    codes: Tensor
    pixels: Tensor


def compare(network: Network, images: Tensor, original: Tensor, code: Code) -> Comparison:
    """Compare reconstructions (N, 3, H, W) of one code with the original image, and each other.

    Code distances between two of them are relative to the original code's squared norm.

    Errors: those of `code_distance` and `pixel_distance`.
    """
    if len(code) != 1:
        raise BadSetting(f"one code at a time, these are {len(code)}: take code[0]")
    kept = replace(encode(network, images, code.layer), mask=code.mask).kept
    norm = code.kept.square().sum()
    apart = (kept[:, None] - kept[None]).square().sum(2) / norm
    pixels = torch.stack([pixel_distance(images, one[None]) for one in images])
    return Comparison(
        code_distance(network, images, code), pixel_distance(images, original), apart, pixels
    )


def mean_pairwise(codes: Tensor) -> float:
    """The mean squared distance of two different codes (N, ...), over all pairs.

    Errors: `BadSetting` for fewer than two codes, and for numbers that are none.

    >>> mean_pairwise(torch.tensor([[0.0], [1.0], [3.0]]))  # (1 + 9 + 4) / 3
    4.666666666666667
    """
    rows = _numbers(codes).flatten(1).double()
    count = len(rows)
    if count < 2:
        raise BadSetting(f"a mean over pairs needs two codes at least, not {count}")
    # Each pair counts twice in N |centred|^2, which needs no table of all pairs.
    centred = rows - rows.mean(0)
    return float(2 * centred.square().sum() / (count - 1))


def normalised_error(codes: Tensor, wanted: Tensor, spread: float) -> Tensor:
    """Mahendran and Vedaldi's: |Phi(x) - Phi_0|^2 over the mean squared distance of the codes of
    two different images, `spread` (see `mean_pairwise`). 0 is the code itself, 1 any other image's.

    Errors: `BadSetting` for a spread of 0 or less, codes of different shapes, or numbers that are
    none.
    """
    if not 0 < spread < math.inf:
        raise BadSetting(f"the spread is the mean squared distance of codes, above 0, not {spread}")
    codes, wanted = _numbers(codes), _numbers(wanted)
    if codes.shape[1:] != wanted.shape[1:]:
        raise BadSetting(f"codes of shapes {tuple(codes.shape)} and {tuple(wanted.shape)}")
    _fitting(len(codes), "codes", len(wanted), "wanted ones")
    apart = (codes - wanted).flatten(1).double().square().sum(1)
    error = (apart / spread).float()
    if not bool(error.isfinite().all()):
        raise BadSetting("these codes are so far apart that single precision cannot hold the error")
    return error


@dataclass(frozen=True)
class LayerError:
    """How well images are got back from one layer, (N,) each: the `normalised` error, the relative
    `distance` of the codes, and the `pixels`' distance. `images` are the reconstructions."""

    layer: str
    normalised: Tensor
    distance: Tensor
    pixels: Tensor
    images: Tensor
    numbers: int
    progress: float  # the share of the layers that is done


def errors_by_layer(
    network: Network,
    images: Tensor,
    layers: Sequence[str | Hog],
    *,
    others: Tensor | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[LayerError]:
    """Invert each image's code at each layer; a `LayerError` when a layer is done.

    The spread of codes is that of `images` and `others` (N, 3, H, W) together: the paper takes
    100 images.

    Errors: those of `encode` and `invert`.
    """
    pictures.check(images)
    pool = images if others is None else _concatenated(images, others)
    for place, layer in enumerate(layers, start=1):
        code = encode(network, images, layer)
        spread = mean_pairwise(encode(network, pool, layer).values)
        last = invert(network, code, steps=steps, seed=seed)
        reached = encode(network, last.image, layer).values
        yield LayerError(
            code.title,
            normalised_error(reached, code.values, spread),
            code_distance(network, last.image, code),
            pixel_distance(last.image, images),
            last.image,
            code.numbers,
            place / len(layers),
        )


@dataclass(frozen=True)
class Recognition:
    """What a network sees in reconstructions, (N,) each: whether its first answer is the one that
    it gives to the original (`same`), whether that is among its first five (`among`), and the
    `probability` that the original's answer still has."""

    same: Tensor
    among: Tensor
    probability: Tensor

    def __str__(self) -> str:
        same, among, count = int(self.same.sum()), int(self.among.sum()), len(self.same)
        return f"{same} of {count} named alike, {among} among the first five"


def recognition(network: Network, images: Tensor, originals: Tensor) -> Recognition:
    """Whether a network names reconstructions (N, 3, H, W) as it names the originals.

    It may be another network than the one whose codes were inverted. Images are shown to it in the
    size that they have; `images.resize` makes them larger.

    Errors: `BadImage`, `BadSetting` unless there is an original for each.
    """
    for some in (images, originals):
        network.check(some)
    if len(images) != len(originals):
        raise BadSetting(
            f"each reconstruction needs its original: these are {len(images)} and {len(originals)} "
            "(one original for all: original.expand(len(images), -1, -1, -1))"
        )
    with torch.no_grad():
        seen, true = (network(some.detach()).softmax(1).cpu() for some in (images, originals))
    answer = true.argmax(1, keepdim=True)
    first = seen.topk(min(5, seen.shape[1])).indices
    return Recognition(
        first[:, 0] == answer[:, 0],
        (first == answer).any(1),
        seen.gather(1, answer)[:, 0],
    )


def _concatenated(images: Tensor, others: Tensor) -> Tensor:
    pictures.check(others)
    if images.shape[1:] != others.shape[1:]:
        raise BadImage(
            f"the others must have the images' size, {tuple(images.shape[2:])}, "
            f"not {tuple(others.shape[2:])}: images.resize(others, ...)"
        )
    return torch.cat([images, others])


def _fitting(count: int, what: str, others: int, which: str) -> None:
    """Refuse what is neither one for all nor one for each."""
    if count != others and 1 not in (count, others):
        raise BadSetting(f"{count} {what} and {others} {which}: one for each, or one for all")


def _numbers(codes: Tensor) -> Tensor:
    """Codes (N, ...) as they are, whole numbers as floats; `BadSetting` for anything else."""
    if not isinstance(codes, Tensor) or codes.ndim < 2 or codes.is_complex():
        shape = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise BadSetting(
            f"codes are a tensor (N, ...) of numbers, a row for each image, not {shape}"
        )
    if not bool(codes.isfinite().all()):
        raise BadSetting("the codes contain NaN or infinity: codes.isfinite().all() finds out when")
    return codes.detach() if codes.is_floating_point() else codes.double()
