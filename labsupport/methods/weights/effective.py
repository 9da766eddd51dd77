"""Deeper filters projected back through the layers below them, to the pixels."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.core.network.operations import Operation, Pair
from labsupport.methods.weights.filters import convolution_at, weights_of

_LINEAR = frozenset({"conv", "max_pool", "avg_pool", "concat"})  # or taken as if it were
_IGNORED = frozenset({"relu", "relu6", "dropout", "identity"})  # taken as if they were not there


@dataclass(frozen=True)
class EffectiveFilter:
    """A deeper filter as a linear filter on the first convolution's input.

    `weights` is (1, C, rows, columns): with `stride` and `padding`, `conv2d` applies it. `through`
    says in words what stood between, and how it was taken.
    """

    weights: torch.Tensor
    stride: Pair
    padding: Pair
    through: tuple[str, ...]


def effective_filter(network: Network, layer: str, channel: int) -> EffectiveFilter:
    """A deeper filter, projected back through the layers below it to the first one's input.

    Everything between is taken as linear: a ReLU as if it let all pass, a max-pool as the mean of
    its window, a batch norm as its factor. Biases are left out. Without ReLUs and max-pools the
    result is exact away from the border.

    Errors: `UnknownLayer`; `BadSetting` for a layer that is no convolution, for a channel that
    there is not, and where branches join below it.
    """
    chain = _chain(network, convolution_at(network, layer))
    count = weights_of(chain[0]).shape[0]
    if not 0 <= channel < count:
        raise BadSetting(f"{layer} has the filters 0 to {count - 1}, not {channel}")
    weights = torch.zeros(1, count, 1, 1)
    weights[0, channel] = 1.0
    stride, padding = (1, 1), (0, 0)
    for one in chain:
        weights = _transpose(one, weights)
        stride = (stride[0] * one.stride[0], stride[1] * one.stride[1])
        padding = (
            padding[0] * one.stride[0] + one.padding[0],
            padding[1] * one.stride[1] + one.padding[1],
        )
    return EffectiveFilter(weights, stride, padding, tuple(_in_words(network, o) for o in chain))


def _chain(network: Network, last: Operation) -> list[Operation]:
    """The operations from a convolution down to the first one, both included."""
    chain, length = [last], 1
    while chain[-1].kind not in ("normalize", "placeholder") and len(chain[-1].inputs) == 1:
        chain.append(network.operation(chain[-1].inputs[0]))
        if chain[-1].kind == "conv":
            length = len(chain)
    if len(chain[-1].inputs) > 1:
        raise BadSetting(
            f"the projection to the pixels ends at {chain[-1].node.name}, where branches join: "
            "choose a layer before it"
        )
    for one in chain[:length]:
        if not _is_linear_enough(one):
            raise BadSetting(f"{one.node.name}, which lies between, has no linear counterpart")
    return chain[:length]


def _is_linear_enough(one: Operation) -> bool:
    if one.kind == "norm":
        return isinstance(one.module, nn.BatchNorm2d)
    return one.kind in _LINEAR | _IGNORED


def _transpose(one: Operation, values: torch.Tensor) -> torch.Tensor:
    """Coefficients of an operation's output as coefficients of its input."""
    if isinstance(one.module, nn.Conv2d):
        return F.conv_transpose2d(
            values,
            weights_of(one),
            stride=one.stride,
            groups=one.module.groups,
            dilation=one.dilation,
        )
    if one.kind in ("max_pool", "avg_pool"):
        count = values.shape[1]
        mean = torch.full((count, 1, *one.kernel), 1 / math.prod(one.kernel))
        return F.conv_transpose2d(
            values, mean, stride=one.stride, groups=count, dilation=one.dilation
        )
    if isinstance(one.module, nn.BatchNorm2d):
        return values * _factor(one.module).view(1, -1, 1, 1)
    return values


def _factor(norm: nn.BatchNorm2d) -> torch.Tensor:
    """What a batch norm in eval mode multiplies each channel with."""
    if norm.running_var is None:
        raise BadSetting("this batch norm keeps no statistics, so it has no fixed factor")
    factor = (norm.running_var.detach() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.detach()
    return factor.float().cpu()


def _in_words(network: Network, one: Operation) -> str:
    title = network.layer_of(one.node).title
    how = {"max_pool": "as a mean", "norm": "as a factor", "relu": "left out", "relu6": "left out"}
    return f"{title} {how[one.kind]}" if one.kind in how else title
