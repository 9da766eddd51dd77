"""Steps of a style transfer against the bare passes, and against a Gram matrix that copies."""

from __future__ import annotations

from functools import cache, partial

import torch
from contest import Contest, race
from torch import Tensor

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.methods.optimize import Adam, TotalVariation
from labsupport.methods.style import SQUEEZENET, StyleRecipe, stylize

_STEPS, _SIZE, _RATE = 20, (256, 256), 0.03
_BARE = "bare forward + backward to the deepest"
_LOOP = "the usual loop: NCHW, Gram by bmm"


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    network = networks.load()
    contest = Contest(
        "style step, four style layers, one content",
        partial(_ours, network),
        {_BARE: partial(_passes, network), _LOOP: partial(_usual, network)},
        {_BARE: 0.4, _LOOP: 1.2},
        rounds=9,
        equal=_same,
    )
    about = f"{_STEPS} steps of Adam each, SqueezeNet 1.1, {_SIZE[0]} pixels, the lab's layers"
    race([contest], about)


def _recipe() -> StyleRecipe:
    return StyleRecipe(optimizer=Adam(_RATE), steps=_STEPS)


@cache
def _pictures() -> tuple[Tensor, Tensor]:
    square = partial(images.resize, size=256, crop=256)
    content, style = square(images.sample("china")), square(images.sample("church_at_auvers"))
    return content.contiguous(), style.contiguous()


def _ours(network: Network) -> Tensor:
    content, style = _pictures()
    return stylize(network, content, style, recipe=_recipe()).image


def _passes(network: Network) -> None:
    """As many forward and backward passes, channels-last, and nothing else."""
    layers = [*SQUEEZENET.content_layers, *SQUEEZENET.style_layers]
    order = {layer.name: place for place, layer in enumerate(network.layers)}
    deepest = max(layers, key=lambda name: order[network.layer(name).name])
    up_to = network.up_to(deepest)
    for _ in range(_STEPS):
        moving = network.send(_pictures()[0]).detach().requires_grad_(True)
        torch.autograd.grad(up_to(moving).sum(), moving)


def _usual(network: Network) -> Tensor:
    """What tutorials write: contiguous maps, a Gram matrix by bmm, torch.optim."""
    content, style = _pictures()
    layers = [*SQUEEZENET.content_layers, *SQUEEZENET.style_layers]
    part = network.part(tuple(network.node(layer) for layer in layers))
    with torch.no_grad():
        code = part(network.send(content))[0].contiguous()
        wanted = [_gram(maps.contiguous()) for maps in part(network.send(style))[1:]]
    moving = content.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([moving], lr=_RATE)
    smooth = TotalVariation(SQUEEZENET.tv)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        seen, *maps = (one.contiguous() for one in part(network.send(moving)))
        loss = SQUEEZENET.alpha * (seen - code).square().sum() / code.square().sum()
        for own, goal in zip(maps, wanted, strict=True):
            apart = (_gram(own) - goal).square().sum()
            loss = loss + SQUEEZENET.beta * apart / goal.square().sum()
        loss = loss + smooth.weight * smooth(moving, None)[0]  # type: ignore[arg-type]
        torch.autograd.backward(loss)
        optimizer.step()
        with torch.no_grad():
            moving.clamp_(0, 1)
    return moving.detach()


def _gram(maps: Tensor) -> Tensor:
    rows = maps.flatten(2)
    return torch.bmm(rows, rows.transpose(1, 2)) / maps[0].numel()


def _same(ours: object, theirs: object) -> bool:
    if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor):
        return theirs is None  # the bare passes make no image
    # Steps of Adam have one size: where a gradient is nearly zero, rounding decides its direction.
    return bool((ours - theirs).abs().mean() <= 2e-3)
