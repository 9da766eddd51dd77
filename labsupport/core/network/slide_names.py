"""The names that papers and slides give to layers, beside the names in PyTorch's modules.

A chain of layers is numbered as its paper does: conv1, relu1, pool1, ..., fc6. The networks with
branches follow the Caffe models that the lecture's slides quote: fire5, inception_4c/output, res2a.
"""

import re
import string
from collections.abc import Sequence

from labsupport.core.network.operations import Operation

_PREFIX = {
    "conv": "conv",
    "linear": "fc",
    "relu": "relu",
    "relu6": "relu",
    "norm": "norm",
    "max_pool": "pool",
    "avg_pool": "pool",
    "dropout": "drop",
}
# SqueezeNet's pools carry the number of the layer that they follow.
_SQUEEZENET_PARTS = {
    "squeeze": "squeeze1x1",
    "squeeze_activation": "relu_squeeze1x1",
    "expand1x1": "expand1x1",
    "expand1x1_activation": "relu_expand1x1",
    "expand3x3": "expand3x3",
    "expand3x3_activation": "relu_expand3x3",
}
_GOOGLENET_BRANCHES = {
    "branch1": "1x1",
    "branch2.0": "3x3_reduce",
    "branch2.1": "3x3",
    "branch3.0": "5x5_reduce",
    "branch3.1": "5x5",
    "branch4.1": "pool_proj",
}
_GOOGLENET_STEM = {
    "conv1": "conv1/7x7_s2",
    "conv2": "conv2/3x3_reduce",
    "conv3": "conv2/3x3",
    "maxpool1": "pool1/3x3_s2",
    "maxpool2": "pool2/3x3_s2",
    "maxpool3": "pool3/3x3_s2",
    "maxpool4": "pool4/3x3_s2",
    "avgpool": "pool5/7x7_s1",
    "fc": "loss3/classifier",
}


def slide_names(
    architecture: str, names: Sequence[str], operations: Sequence[Operation]
) -> list[list[str]]:
    """For each layer, in execution order, the names that the lecture uses for it (often none).

    `architecture` is the class name of the module: "SqueezeNet", "VGG", "ResNet" ...
    """
    kinds = [operation.kind for operation in operations]
    if architecture in {"SqueezeNet", "VGG"}:  # an average that stands for a max-pool has its name
        kinds = ["max_pool" if kind == "avg_pool" else kind for kind in kinds]
    if architecture == "SqueezeNet":
        return _squeezenet(names, kinds)
    if architecture == "GoogLeNet":
        return [_googlenet(name) for name in names]
    if architecture == "ResNet":
        return [_resnet(name) for name in names]
    if architecture == "DenseNet":
        return [_densenet(name) for name in names]
    if "concat" in kinds or "add" in kinds:
        return [[] for _ in names]
    return _blocks(kinds) if architecture == "VGG" else _chain(kinds)


def _chain(kinds: Sequence[str]) -> list[list[str]]:
    number = 0
    titles: list[list[str]] = []
    for kind in kinds:
        if kind in {"conv", "linear"}:
            number += 1
        prefix = _PREFIX.get(kind)
        titles.append([f"{prefix}{number}"] if prefix and number else [])
    return titles


def _blocks(kinds: Sequence[str]) -> list[list[str]]:
    """VGG: conv5_1 is the first convolution after the fourth pool, fc6 follows the fifth."""
    block, place, classifier = 1, 0, False
    titles: list[list[str]] = []
    for kind in kinds:
        if kind == "conv":
            place += 1
        elif kind == "linear":
            block, classifier = block + classifier, True
        number = f"{block}_{place}" if place and kind != "max_pool" else f"{block}"
        prefix = _PREFIX.get(kind)
        titles.append([f"{prefix}{number}"] if prefix else [])
        if kind == "max_pool":
            block, place = block + 1, 0
    return titles


def _squeezenet(names: Sequence[str], kinds: Sequence[str]) -> list[list[str]]:
    titles: list[list[str]] = []
    number = 1
    fire = ""
    for name, kind in zip(names, kinds, strict=True):
        place, _, part = name.removeprefix("features.").partition(".")
        if name == "features.0":
            titles.append(["conv1"])
        elif name == "features.1":
            titles.append(["relu1", "relu_conv1"])
        elif kind == "max_pool":
            titles.append([f"pool{number}"])
        elif name.startswith("features.") and part:
            if place != fire:
                fire, number = place, number + 1
            whole = part.startswith("cat")
            inside = f"fire{number}/{_SQUEEZENET_PARTS.get(part, part)}"
            titles.append([f"fire{number}", f"fire{number}/concat"] if whole else [inside])
        else:
            titles.append(_SQUEEZENET_HEAD.get(name, []))
    return titles


_SQUEEZENET_HEAD = {
    "classifier.0": ["drop9"],
    "classifier.1": ["conv10"],
    "classifier.2": ["relu10", "relu_conv10"],
    "classifier.3": ["pool10"],
}


def _googlenet(name: str) -> list[str]:
    stem = re.fullmatch(r"(conv\d)\.(conv|relu)|(maxpool\d|avgpool|fc)", name)
    if stem:
        slide = _GOOGLENET_STEM[stem[1] or stem[3]]
        return [f"{slide}/conv"] if stem[2] == "conv" else [slide]
    block = re.fullmatch(r"inception(\d[a-e])\.(cat|branch4\.0|(.+)\.(conv|relu))", name)
    if not block:
        return []
    prefix = f"inception_{block[1]}"
    if block[2] == "cat":
        return [f"{prefix}/output"]
    if block[2] == "branch4.0":
        return [f"{prefix}/pool"]
    branch = f"{prefix}/{_GOOGLENET_BRANCHES[block[3]]}"
    if block[4] == "conv":
        return [f"{branch}/conv"]
    return [branch, f"{branch}_output"] if not branch.endswith("_reduce") else [branch]


def _resnet(name: str) -> list[str]:
    plain = {"conv1": "conv1", "relu": "relu1", "maxpool": "pool1", "avgpool": "pool5", "fc": "fc"}
    if name in plain:
        return [plain[name]] if plain[name] != name else []
    block = re.fullmatch(r"layer(\d)\.(\d+)\.(conv(\d)|relu(_\d)?|add)", name)
    if not block:
        return []
    stage, number = int(block[1]) + 1, int(block[2])
    unit = string.ascii_lowercase[number : number + 1] or f"_{number}"
    if block[4]:
        return [f"res{stage}{unit}_branch2{'abc'[int(block[4]) - 1]}"]
    return [f"res{stage}{unit}"] if block[3] == "add" else []


def _densenet(name: str) -> list[str]:
    plain = {
        "features.conv0": "conv1",
        "features.relu0": "relu1",
        "features.pool0": "pool1",
        "classifier": "fc6",
    }
    if name in plain:
        return [plain[name]]
    layer = re.fullmatch(r"features\.denseblock(\d)\.denselayer(\d+)\.conv2", name)
    if layer:
        return [f"conv{int(layer[1]) + 1}_{layer[2]}"]
    transition = re.fullmatch(r"features\.transition(\d)\.pool", name)
    return [f"pool{int(transition[1]) + 1}"] if transition else []
