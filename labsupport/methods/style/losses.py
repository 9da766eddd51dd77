"""How far a picture is from another's content and style, layer by layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.methods.optimize import CodeDistance, GramDistance
from labsupport.methods.optimize.objectives import read


def content_losses(
    network: Network, images_: Tensor, content: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """For each layer, (N,): the squared distance of the images' codes from the content's, over
    that code's squared norm.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting`.
    """
    return _losses(network, images_, content, layers, CodeDistance)


def style_losses(
    network: Network, images_: Tensor, style: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """For each layer, (N,): the squared distance of the images' Gram matrices from the style's,
    over that matrix's squared norm.

    Errors: `BadImage`, `UnknownLayer`, `BadSetting`.
    """
    return _losses(network, images_, style, layers, GramDistance)


def _losses(
    network: Network,
    images_: Tensor,
    reference: Tensor,
    layers: Sequence[str],
    kind: type[CodeDistance | GramDistance],
) -> dict[str, Tensor]:
    images.check(reference, one=True)
    network.check(images_)
    losses = {}
    with torch.no_grad():
        activations = read(network, tuple(layers), images_)
        for layer in layers:
            distance = kind.to(network, layer, reference)
            (term,) = distance.bound(network).terms(activations).values()
            losses[layer] = term.value.cpu() / strength(distance)
    return losses


def strength(distance: CodeDistance | GramDistance) -> float:
    """What a distance is divided by to become relative: a code distance is so already."""
    if isinstance(distance, CodeDistance):
        return 1.0
    squared_norm = float(distance.wanted.double().square().sum())
    if not squared_norm > 0:
        raise BadSetting(
            f"the style is silent at {distance.layer}: its Gram matrix there is zero everywhere. "
            "Take another style layer, or a picture with more in it"
        )
    return squared_norm
