"""A network up to its last pooling: what comes with the course of AlexNet and VGG-16."""

from collections.abc import Callable

import torch
from torch import nn


class Convolutions(nn.Module):
    """The `features` of one of torchvision's networks: images in, maps (N, C, H, W) out.

    `architecture` is the class of the whole network, by which its layers are named.
    """

    def __init__(self, build: Callable[..., nn.Module]) -> None:
        super().__init__()
        with torch.device("meta"):  # the classifier's hundred million numbers are not wanted
            whole = build()
        self.architecture = type(whole).__name__
        self.features = whole.get_submodule("features").to_empty(device="cpu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.features(images)
        return maps
