"""Architectures without weights: every layer, shape and name of a network, for next to nothing.

A `Network` from here has all its layers, but all its weights are one and the same zero, however
many there are: VGG-19's 575 MB take no memory. What it answers means nothing; what it is made of
can be read and counted.
"""

import functools
from collections.abc import Callable

import torch
from torch import nn

from labsupport.core.network import catalog, operations, tracing
from labsupport.core.network.architectures import alexnet, lenet
from labsupport.core.network.network import Network
from labsupport.core.network.operations import Pair

SOURCE = "no weights: an architecture to be measured"

# The lecture's networks in the order of their years
TITLES = {
    "lenet5_1998": "LeNet-5 (1998)",
    "lenet5": "LeNet-5 as written today",
    "alexnet_2012": "AlexNet (2012)",
    "alexnet": "AlexNet, torchvision",
    "zfnet": "ZFNet (2013)",
    "vgg16": "VGG-16 (2014)",
    "vgg19": "VGG-19 (2014)",
    "googlenet": "GoogLeNet (2014)",
    "resnet18": "ResNet-18 (2015)",
    "resnet34": "ResNet-34 (2015)",
    "resnet50": "ResNet-50 (2015)",
    "squeezenet1_1": "SqueezeNet 1.1 (2016)",
}
_HISTORIC: dict[str, tuple[Callable[[], nn.Module], Pair]] = {
    "lenet5_1998": (lenet.LeNet5Of1998, lenet.INPUT_SIZE),
    "alexnet_2012": (alexnet.AlexNet2012, alexnet.INPUT_SIZE),
    "zfnet": (alexnet.ZFNet, alexnet.ZFNET_INPUT_SIZE),
}


def names() -> tuple[str, ...]:
    """The lecture's networks, oldest first; `blueprint` takes torchvision's others as well."""
    return tuple(TITLES)


@functools.lru_cache(maxsize=32)
def blueprint(name: str) -> Network:
    """An architecture by name: the historic ones, or any that `networks.load` knows.

    Errors: `UnknownNetwork` with the nearest names.

    >>> blueprint("vgg19").layer("conv5_4").shape
    (512, 14, 14)
    """
    if name in _HISTORIC:
        build, size = _HISTORIC[name]
        return blueprint_of(build, name=name, input_size=size)
    recipe = catalog.recipe(name, also=TITLES)
    return blueprint_of(recipe.build, name=name, input_size=recipe.input_size)


def skeleton(name: str) -> nn.Module:
    """The module itself, on the device "meta", with what only training needs: GoogLeNet's two
    auxiliary classifiers, for example.

    >>> sum(weights.numel() for weights in skeleton("resnet50").parameters())
    25557032
    """
    return _bare(_HISTORIC[name][0] if name in _HISTORIC else catalog.recipe(name).build)


def blueprint_of(build: Callable[[], nn.Module], *, name: str, input_size: Pair) -> Network:
    """The blueprint of any classifier: `build()` makes the module, which takes normalized images.

    Errors: `CannotTrace` where its forward pass cannot be followed.
    """
    module = _bare(build)
    mean, std = operations.IMAGENET_MEAN, operations.IMAGENET_STD
    traced = tracing.trace(module, mean, std, input_size, computing=False)
    _empty(traced.graph)
    if traced.origin is not None:
        _empty(traced.origin)
    network = Network(
        traced,
        name=name,
        architecture=type(module).__name__,
        source=SOURCE,
        categories=None,
        input_size=input_size,
        device="cpu",
    )
    _empty(network.graph)  # what was laid out channels-last had been written out
    return network


def _bare(build: Callable[[], nn.Module]) -> nn.Module:
    """The module on the device "meta", where nothing is filled in."""
    try:
        with torch.device("meta"):
            return build()
    except NotImplementedError:  # torchvision's RegNets work out their sizes with tensors
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            return build().to("meta")


def _empty(traced: nn.Module) -> None:
    """One zero stands for all weights of a tensor; buffers that were never filled become zeros."""
    for part in traced.modules():
        for name, weights in part.named_parameters(recurse=False):
            nothing = torch.zeros((), dtype=weights.dtype).expand(weights.shape)
            setattr(part, name, nn.Parameter(nothing, requires_grad=False))
        for name, values in part.named_buffers(recurse=False):
            if values.is_meta:
                setattr(part, name, torch.zeros(values.shape, dtype=values.dtype))
