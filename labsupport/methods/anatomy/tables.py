"""Networks in tables: VGG's own of its layers, and what torchvision says about its weights."""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torchvision

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network
from labsupport.core.network.operations import Operation
from labsupport.methods.anatomy.costs import depth_of


@dataclass(frozen=True)
class Published:
    """What torchvision says about one set of weights: accuracies in per cent on ImageNet's
    validation set, at the image size that they are for.

    `recipe` counts the sets of one network: 1 is the first that was published.
    """

    network: str
    recipe: int
    parameters: int
    multiply_adds: float
    top1: float
    top5: float


def configuration(network: Network) -> tuple[str, ...]:
    """A chain of layers in the words of VGG's table: conv3-64, maxpool, FC-4096, soft-max.

    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
    2014, table 1.

    Errors: `BadSetting` for a network with branches, which is no list.

    >>> from labsupport.core.network import blueprints
    >>> configuration(blueprints.blueprint("vgg16"))[:4]
    ('conv3-64', 'conv3-64', 'maxpool', 'conv3-128')
    """
    if any(one.kind in {"concat", "add"} for one in network.operations):
        raise BadSetting(
            f"{network.name} has branches, so it is no list of layers; its table is "
            "anatomy(network).blocks"
        )
    shapes = network.shapes(network.input_size)
    rows = [_word(one, shapes[one.node][1]) for one in network.operations]
    return (*filter(None, rows), "soft-max")


def configuration_table(networks: Mapping[str, Network]) -> str:
    """Configurations side by side, as on the slide: the pools stand in one line.

    >>> from labsupport.core.network import blueprints
    >>> two = {"D": blueprints.blueprint("vgg16"), "E": blueprints.blueprint("vgg19")}
    >>> print("\\n".join(configuration_table(two).splitlines()[:5]))
           D                 E
    16 weight layers  19 weight layers
    conv3-64          conv3-64
    conv3-64          conv3-64
                 maxpool
    """
    columns = {name: _blocks_of(configuration(one)) for name, one in networks.items()}
    heads = [f"{depth_of(one)} weight layers" for one in networks.values()]
    wide = max(len(word) for word in [*heads, "fully connected"])
    across = wide * len(heads) + 2 * (len(heads) - 1)
    lines = [
        "  ".join(name.center(wide) for name in columns),
        "  ".join(head.ljust(wide) for head in heads),
    ]
    for blocks in itertools.zip_longest(*columns.values(), fillvalue=()):
        rows = itertools.zip_longest(*blocks, fillvalue="")
        for row in rows:
            shared = len(set(row)) == 1 and not row[0].startswith("conv")
            spread = row[0].center(across) if shared else "  ".join(w.ljust(wide) for w in row)
            lines.append(spread.rstrip())
    return "\n".join(line.rstrip() for line in lines)


@functools.cache
def published() -> tuple[Published, ...]:
    """What torchvision's classifiers cost and reach, from the data that its weights carry.

    Nothing is downloaded. Image sizes and recipes differ from entry to entry.

    >>> {one.network: one.top1 for one in published() if one.recipe == 1}["resnet50"]
    76.13
    """
    names = torchvision.models.list_models(module=torchvision.models)
    return tuple(entry for name in names for entry in _entries(name))


def _word(one: Operation, units: int) -> str:
    """A layer as VGG's table writes it; nothing for those that it leaves out."""
    if one.kind == "conv":
        return f"conv{one.kernel[0]}-{units}"
    return {"max_pool": "maxpool", "avg_pool": "avgpool", "linear": f"FC-{units}"}.get(one.kind, "")


def _blocks_of(rows: Sequence[str]) -> list[tuple[str, ...]]:
    """The lines between the pools, and each pool by itself."""
    groups = itertools.groupby(rows, key=lambda row: "pool" in row)
    return [tuple(lines) for _, lines in groups]


def _entries(name: str) -> Iterator[Published]:
    for place, weights in enumerate(torchvision.models.get_model_weights(name), start=1):
        facts = weights.meta
        accuracies = facts.get("_metrics", {}).get("ImageNet-1K")
        if accuracies and "_ops" in facts and math.isfinite(accuracies["acc@1"]):
            yield Published(
                network=name,
                recipe=place,
                parameters=facts["num_params"],
                multiply_adds=1e9 * facts["_ops"],
                top1=accuracies["acc@1"],
                top5=accuracies["acc@5"],
            )
