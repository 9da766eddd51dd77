"""How far an image's code or style is from a given one: objectives that are lowered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.methods.optimize import objectives


@dataclass(frozen=True)
class Distance(objectives.LayerObjective):
    """How far something at a layer is from the one that is `wanted`: (1, ...), or one for each
    image. It is lowered."""

    wanted: Tensor
    per_image = ("wanted",)


@dataclass(frozen=True)
class CodeDistance(Distance):
    """How far an image's code is from a given one, squared, over that one's squared norm.

    Mahendran and Vedaldi, "Understanding deep image representations by inverting them", CVPR 2015.
    `wanted` is (1, C, H, W) or (1, D), or one for each image; `CodeDistance.to(network, layer,
    images)` takes it from images. The layer may be "scores" or "log-probabilities", or a function
    of images that gives (N, D). `mask`, which multiplies both codes, keeps some positions or
    channels only.
    """

    mask: Tensor | None = None

    @classmethod
    def to(
        cls,
        network: Network,
        layer: objectives.Representation,
        images: Tensor,
        mask: Tensor | None = None,
    ) -> CodeDistance:
        """The distance to the codes of these images (N, 3, H, W)."""
        return cls(layer, codes_of(network, layer, images), mask)

    def bound(self, network: Network) -> objectives.Objective:
        if isinstance(self.layer, str):
            objectives.node_of(network, self.layer)
        mask = None if self.mask is None else objectives.on_device(network, self.mask)
        code = objectives.on_device(network, self.wanted)
        if code.ndim == 4:  # as the network's own maps lie in memory
            code = code.contiguous(memory_format=torch.channels_last)
        bound = replace(self, wanted=code, mask=mask)
        if not bool(bound._squared(code).gt(0).all()):
            raise BadSetting(
                f"the code at {self.layer} is zero everywhere: nothing to come near to"
            )
        return bound

    def terms(self, activations: objectives.Activations) -> objectives.Terms:
        code = activations[self.layer]
        if code.shape[1:] != self.wanted.shape[1:]:
            raise BadSetting(
                f"the code at {self.layer} is {tuple(self.wanted.shape[1:])}, but this image's is "
                f"{tuple(code.shape[1:])}: the image must have the size of the code's own"
            )
        value = self._squared(code - self.wanted) / self._squared(self.wanted)
        return {f"code distance at {self.layer}": objectives.Term(value, -1.0)}

    def _squared(self, code: Tensor) -> Tensor:
        kept = code if self.mask is None else code * self.mask
        return kept.square().sum(tuple(range(1, kept.ndim)))


@dataclass(frozen=True)
class GramDistance(Distance):
    """How far a layer's Gram matrix is from a given one: the sum of the squared differences.

    Gatys, Ecker and Bethge, CVPR 2016. `wanted` is (1, C, C), see `gram`, or one for each image;
    `GramDistance.to(network, layer, images)` takes it from images.
    """

    @classmethod
    def to(cls, network: Network, layer: str, images: Tensor) -> GramDistance:
        """The distance to the Gram matrices of these images (N, 3, H, W)."""
        network.with_maps(layer)
        return cls(layer, _gram(codes_of(network, layer, images)).cpu())

    def bound(self, network: Network) -> objectives.Objective:
        layer = network.with_maps(str(self.layer))
        if self.wanted.shape[1:] != (layer.shape[0], layer.shape[0]):
            raise BadSetting(
                f"a Gram matrix of {layer.title} is {layer.shape[0]} x {layer.shape[0]}, "
                f"not {tuple(self.wanted.shape[1:])}"
            )
        return replace(self, wanted=objectives.on_device(network, self.wanted))

    def terms(self, activations: objectives.Activations) -> objectives.Terms:
        apart = _gram(activations[self.layer]) - self.wanted
        value = apart.square().flatten(1).sum(1)
        return {f"Gram distance at {self.layer}": objectives.Term(value, -1.0)}


def gram(maps: Tensor) -> Tensor:
    """How often any two channels fire together: maps (N, C, H, W) to (N, C, C).

    The products are summed over the positions and divided by C H W. Where things lie is lost.

    >>> gram(torch.tensor([1.0, 2.0, 3.0, 0.0]).view(1, 2, 1, 2))
    tensor([[[1.2500, 0.7500],
             [0.7500, 2.2500]]])

    Errors: `BadSetting` for anything but a batch of finite maps.
    """
    if not isinstance(maps, Tensor) or maps.ndim != 4 or not maps.is_floating_point():
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise BadSetting(f"maps are a float tensor (N, C, H, W), not {shape}")
    products = _gram(maps) if maps.numel() else maps
    if not maps.numel() or not bool(products.detach().isfinite().all()):
        raise BadSetting("the maps are empty, not finite, or too large: look at the layer before")
    return products


def _gram(maps: Tensor) -> Tensor:
    return _Products.apply(maps) / maps[0].numel()  # type: ignore[no-any-return]


class _Products(torch.autograd.Function):
    """V^T V with one product in the backward pass, where autograd would take two: the matrix is
    symmetric, so both are the same."""

    @staticmethod
    def forward(ctx: FunctionCtx, maps: Tensor) -> Tensor:
        ctx.save_for_backward(maps)
        rows = _rows(maps)
        return torch.bmm(rows.transpose(1, 2), rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (maps,) = ctx.saved_tensors
        count, channels, height, width = maps.shape
        rows = torch.bmm(_rows(maps), gradient + gradient.transpose(1, 2))
        return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


def _rows(maps: Tensor) -> Tensor:
    """(N, H W, C), without a copy where the memory is channels-last."""
    count, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(count, height * width, channels)


def codes_of(network: Network, layer: objectives.Representation, images: Tensor) -> Tensor:
    """What images (N, 3, H, W) have at a layer, checked, without a gradient, on the CPU."""
    return all_codes_of(network, (layer,), images)[layer]


def all_codes_of(
    network: Network, layers: Sequence[objectives.Representation], images: Tensor
) -> dict[objectives.Representation, Tensor]:
    """The same for several layers, in one pass."""
    network.check(images, up_to=objectives.nodes_of(network, layers))
    with torch.no_grad():
        codes = objectives.read(network, layers, images.detach())
    return {layer: code.cpu() for layer, code in codes.items()}
