"""Networks by name, and students' own: from a recipe or a module to a `Network`."""

import os
from collections.abc import Sequence

import torch
from torch import nn

from labsupport.core.errors import BadSetting
from labsupport.core.network import catalog, tracing
from labsupport.core.network.network import Network
from labsupport.core.network.operations import Pair


def names() -> tuple[str, ...]:
    """The course's networks, the bundled ones first. `load` takes torchvision's others as well."""
    return catalog.COURSE


def load(
    name: str = "squeezenet1_1",
    *,
    weights: str | os.PathLike[str] = "auto",
    device: str | torch.device | None = None,
) -> Network:
    """A trained classifier by name.

    `weights`: "auto" (bundled, else torchvision's from its cache or a download), "bundled",
    "torchvision", "random" (the same ones every time), or the path of a state dict. Nothing is
    unpickled.

    Errors: `UnknownNetwork`, `WeightsUnavailable`, `DamagedData`, `BadSetting`.

    >>> network = load()
    >>> network.source
    'bundled (weights/squeezenet1_1.safetensors)'
    """
    recipe = catalog.recipe(name)
    state, source = catalog.state(recipe, weights)
    module = catalog.build(recipe, state, source)
    return Network(
        tracing.trace(module, recipe.mean, recipe.std),
        name=name,
        architecture=type(module).__name__,
        source=source,
        categories=recipe.categories(),
        input_size=recipe.input_size,
        device=device,
    )


def wrap(
    module: nn.Module,
    *,
    mean: Sequence[float] = catalog.IMAGENET_MEAN,
    std: Sequence[float] = catalog.IMAGENET_STD,
    categories: Sequence[str] | None = None,
    input_size: int | Pair = 224,
    name: str | None = None,
    source: str = "your own module",
    device: str | torch.device | None = None,
) -> Network:
    """A student's own classifier as a `Network`.

    The module takes images (N, 3, H, W), normalized by `mean` and `std`, and gives scores
    (N, classes). It is copied; the module itself is never changed.

    Errors: `CannotTrace` says why the forward pass cannot be followed, `BadSetting` what does not
    fit together.

    >>> tiny = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    >>> network = wrap(tiny, categories=["cat", "dog"], input_size=8)
    >>> network(torch.rand(5, 3, 8, 8)).shape
    torch.Size([5, 2])
    """
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise BadSetting("mean and std are three numbers each (red, green, blue), std above 0")
    size = (input_size, input_size) if isinstance(input_size, int) else input_size
    example = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
    traced = tracing.trace(module, tuple(mean), tuple(std), example)
    return Network(
        traced,
        name=name or type(module).__name__,
        architecture=type(module).__name__,
        source=source,
        categories=categories,
        input_size=size,
        device=device,
    )
