"""Reading the weights of a convolution, as they are."""

from dataclasses import dataclass

import torch
from torch import nn

from labsupport.core.errors import BadSetting, nearest
from labsupport.core.network import Network
from labsupport.core.network.operations import Operation


@dataclass(frozen=True)
class Filters:
    """A convolution's weights as they are, on the CPU.

    `weights` is (filters, input channels, rows, columns); nothing is folded in or scaled. `colour`
    is True where the three input channels are red, green and blue. `words` says what the filters
    are multiplied with.
    """

    weights: torch.Tensor
    layer: str
    colour: bool
    words: str


def filters(network: Network, layer: str | None = None) -> Filters:
    """The weights of one convolution, of the first one if no layer is named.

    They are what the layer itself multiplies with. The first layer reads normalized pixels,
    (x - mean) / std, and not pixels; its weights are not divided by std here.

    Errors: `UnknownLayer`; `BadSetting` for a layer that is no convolution.

    >>> from labsupport import networks
    >>> filters(networks.load("lenet5")).weights.shape
    torch.Size([6, 1, 5, 5])
    """
    convolution = convolution_at(network, layer)
    read = network.operation(convolution.inputs[0])
    weights = weights_of(convolution)
    title = network.layer_of(convolution.node).title
    colour = read.kind == "normalize" and weights.shape[1] == 3
    count = weights.shape[1]
    what = f"{count} channel{'s' if count > 1 else ''} of {read.node.name}"
    if read.kind == "normalize":
        what = f"red, green and blue, less {network.mean} and divided by {network.std}"
    return Filters(weights, title, colour, f"{title} multiplies {what}")


def convolution_at(network: Network, layer: str | None) -> Operation:
    """The convolution that a layer is, the first one if none is named."""
    convolutions = [one for one in network.operations if one.kind == "conv"]
    if not convolutions:
        raise BadSetting(f"{network.name} has no convolution, so it has no filters")
    if layer is None:
        return convolutions[0]
    operation = network.operation(network.node(layer))
    if operation.kind != "conv":
        titles = [network.layer_of(one.node).title for one in convolutions]
        close = ", ".join(nearest(layer, titles))
        raise BadSetting(f"{layer} is no convolution; the nearest ones are {close}")
    return operation


def weights_of(convolution: Operation) -> torch.Tensor:
    """A copy of its weights (filters, channels, rows, columns), on the CPU."""
    module = convolution.module
    if not isinstance(module, nn.Conv2d):
        raise BadSetting(f"{convolution.node.name} keeps its weights where they cannot be read")
    return (
        module.weight.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
    )
