"""Occlusion maps against Captum and against plain batches, all at their best settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from contest import Contest, race
from torch import nn

from labsupport.core import device, images
from labsupport.core import network as networks
from labsupport.core.network import Network, catalog
from labsupport.methods.occlusion import OcclusionMap, fill_image, occlusion_map

_CLASS = 388  # giant panda, in every ImageNet network
_PLAIN = "plain batches of 8, channels-last"


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    race(_squeezenet())


def against_plain(
    network: Network,
    wanted: float,
    *,
    window: int = 32,
    stride: int = 8,
    rounds: int = 3,
    every: int = 1,
) -> Contest:
    """One score's map against plain batches of any network.

    Where these would take minutes, they do every so many rows of the map, and are timed as such.
    """
    rows = len(_spans(window, stride))
    peer = _PLAIN if every == 1 else f"plain batches of 8; 1 row in {every}"
    return Contest(
        f"{network.name}, score, window {window}, stride {stride}",
        partial(_ours, network, window, stride),
        {peer: partial(_plain, network, window, stride, every=every)},
        {peer: wanted},
        rounds=rounds,
        equal=partial(_same, every=every),
        share={peer: len(range(0, rows, every)) / rows},
    )


def _squeezenet() -> Iterator[Contest]:
    network = networks.load()
    captum = {"Captum, default": (1, False), "Captum, 8 at a time, channels-last": (8, True)}
    peers = {name: partial(_captum, 32, 8, *setting) for name, setting in captum.items()}
    yield Contest(
        "squeezenet1_1, score, window 32, stride 8",
        partial(_ours, network, 32, 8),
        {**peers, _PLAIN: partial(_plain, network, 32, 8)},
        {**dict(zip(captum, (10.0, 3.3), strict=True)), _PLAIN: 4.3},
        rounds=3,
        equal=_same,
    )
    yield Contest(
        "the same, cold (no plan kept)",
        partial(_ours, network, 32, 8),
        {_PLAIN: partial(_plain, network, 32, 8)},
        {_PLAIN: 3.2},
        prepare=network.forget,
    )
    yield Contest(
        "the same, probability",
        partial(_ours, network, 32, 8, "probability"),
        {_PLAIN: partial(_plain, network, 32, 8, "probability")},
        {_PLAIN: 2.3},
        equal=_same,
    )
    yield against_plain(network, 3.8, window=16, stride=4)
    yield against_plain(network, 2.4, window=64)


def _image() -> torch.Tensor:
    return images.standard(images.sample("giant_panda"))


def _ours(network: Network, window: int, stride: int, view: str = "score") -> torch.Tensor:
    return _map(network, window, stride, view).values[view]


def _map(network: Network, window: int, stride: int, view: str) -> OcclusionMap:
    return occlusion_map(
        network, _image(), _CLASS, window=window, stride=stride, views=(view,), fill="black"
    )


def _spans(window: int, stride: int) -> list[tuple[int, int]]:
    """From where to where the square reaches, at each of its places along a side."""
    return [(i, min(224, i + window)) for i in range(0, 224 - window + stride, stride)]


def _plain(
    network: Network, window: int, stride: int, view: str = "score", *, every: int = 1
) -> torch.Tensor:
    """The loop that everybody writes first, at its best: batches of 8, channels-last, no
    gradients."""
    image = _image()
    fill = fill_image(network, image, "black")
    spans = _spans(window, stride)
    found: list[torch.Tensor] = []
    boxes = [(rows, columns) for rows in spans[::every] for columns in spans]
    with torch.no_grad():
        for first in range(0, len(boxes), 8):
            batch = image.repeat(len(boxes[first : first + 8]), 1, 1, 1)
            for hidden, ((top, bottom), (left, right)) in zip(batch, boxes[first:], strict=False):
                hidden[:, top:bottom, left:right] = fill[0, :, top:bottom, left:right]
            found.append(network.scores(batch))
    scores = torch.cat(found)
    values = scores if view == "score" else scores.softmax(1)
    return values[:, _CLASS].view(-1, len(spans)).cpu()


def _captum(window: int, stride: int, at_once: int, channels_last: bool) -> torch.Tensor:
    """The scores behind Captum's attributions, on the bare torchvision module."""
    from captum.attr import Occlusion

    module, image = _bare(channels_last)
    scores: list[torch.Tensor] = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = module(batch)
        scores.append(answer[:, _CLASS].detach())
        return answer

    black = (0 - torch.tensor(catalog.IMAGENET_MEAN)) / torch.tensor(catalog.IMAGENET_STD)
    Occlusion(forward).attribute(
        image,
        sliding_window_shapes=(3, window, window),
        strides=(3, stride, stride),
        baselines=black.view(1, 3, 1, 1).to(image.device).expand_as(image),
        target=_CLASS,
        perturbations_per_eval=at_once,
    )
    side = -(-(224 - window) // stride) + 1
    # Its first call is the clean image; then it goes down the columns.
    return torch.cat(scores[1:]).view(side, side).T.cpu()


def _bare(channels_last: bool) -> tuple[nn.Module, torch.Tensor]:
    recipe = catalog.recipe("squeezenet1_1")
    state, source = catalog.state(recipe, "auto")
    module = catalog.build(recipe, state, source).eval().requires_grad_(False).to(device.pick())
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (recipe.mean, recipe.std))
    image = ((_image() - mean) / std).to(device.pick())
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
    return module, image


def _same(ours: object, theirs: object, *, every: int = 1) -> bool:
    if not isinstance(ours, torch.Tensor) or not isinstance(theirs, torch.Tensor):
        return False
    return bool((ours[::every] - theirs).abs().max() <= 1e-4 * theirs.abs().max().clamp_min(1))
