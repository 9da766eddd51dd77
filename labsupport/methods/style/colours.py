"""The two ways to keep a picture's own colours: luminance alone, or a style with its colours."""

import torch
from torch import Tensor

from labsupport.core import images
from labsupport.core.errors import BadImage, BadSetting

_EYE = (0.299, 0.587, 0.114)  # how bright red, green and blue are to an eye


def luminance(image: Tensor) -> Tensor:
    """How bright each pixel is to an eye, as a grey image (N, 3, H, W)."""
    images.check(image)
    weights = image.new_tensor(_EYE).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1).clamp(0, 1).contiguous()


def recolour(picture: Tensor, content: Tensor) -> Tensor:
    """The luminance of one picture (N, 3, H, W) with the colours of another of the same size.

    A colour that would leave [0, 1] is made paler until it fits, so the luminance stays exact.
    """
    images.check(picture)
    images.check(content)
    if picture.shape[2:] != content.shape[2:]:
        sizes = [tuple(one.shape[2:]) for one in (picture, content)]
        raise BadSetting(
            f"the picture is {sizes[0]} and the colours are of {sizes[1]}: "
            "both need one size; images.resize(image, (height, width)) brings it there"
        )
    if len(content) not in (1, len(picture)):
        raise BadImage(
            f"colours come from one image, or from one for each picture: these are {len(content)} "
            f"for {len(picture)} pictures (content[:1])"
        )
    bright, apart = luminance(picture), content - luminance(content)
    room = torch.where(apart > 0, (1 - bright) / apart, bright / -apart)
    room = torch.where(apart == 0, torch.ones_like(room), room)
    paler = room.amin(1, keepdim=True).clamp(0, 1)
    return (bright + apart * paler).clamp(0, 1)


def match_colours(image: Tensor, reference: Tensor) -> Tensor:
    """The image with its colours moved linearly, so that their mean and covariance become the
    reference's (before what leaves [0, 1] is clipped). Images are (1, 3, H, W)."""
    images.check(image, one=True)
    images.check(reference, one=True)
    own, wanted = (part[0].double().flatten(1) for part in (image, reference))
    turn = _root(wanted) @ torch.linalg.inv(_root(own))
    colours = turn @ (own - own.mean(1, keepdim=True)) + wanted.mean(1, keepdim=True)
    matched: Tensor = colours.view(image.shape).to(image.dtype).clamp(0, 1)
    return matched


def _root(colours: Tensor) -> Tensor:
    """The symmetric square root of the covariance of colours (3, P)."""
    correction = min(1, colours.shape[1] - 1)  # a single pixel has no spread
    spread = torch.cov(colours, correction=correction) + 1e-6 * torch.eye(3, dtype=colours.dtype)
    values, vectors = torch.linalg.eigh(spread)
    root: Tensor = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    return root
