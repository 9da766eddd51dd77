"""Steps of a style transfer against the bare passes, and against a Gram matrix that copies."""

from dataclasses import replace
from functools import partial

import torch
from contest import Contest, Peer, race
from peers import passes
from torch import Tensor

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.methods.optimize import Adam, TotalVariation
from labsupport.methods.style import GATYS, SQUEEZENET, StyleRecipe, stylize

_STEPS, _SIDE, _RATE = 20, 256, 0.03
_FEW = 10  # steps of the large network
_LAYERS = [*SQUEEZENET.content_layers, *SQUEEZENET.style_layers]


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    network = networks.load()
    pictures = [
        images.resize(images.sample(name), size=_SIDE, crop=_SIDE).contiguous()
        for name in ("china", "church_at_auvers")
    ]
    order = [layer.name for layer in network.layers]
    deepest = max(_LAYERS, key=lambda name: order.index(network.layer(name).name))
    bare = partial(passes, network, deepest, pictures[0], _STEPS)
    contest = Contest(
        "style step, four style layers, one content",
        partial(_ours, network, *pictures),
        {
            "bare forward + backward to the deepest": Peer(bare, 0.4, bare=True),
            "the usual loop: NCHW, Gram by bmm": Peer(partial(_usual, network, *pictures), 1.2),
        },
        rounds=9,
        equal=_same,
    )
    about = f"{_STEPS} steps of Adam each, SqueezeNet 1.1, {_SIDE} pixels, the lab's layers"
    race([contest, _with_vgg()], about)


def _with_vgg() -> Contest:
    """Steps of L-BFGS at the paper's layers, as in the lab."""
    network, size = networks.load("vgg16"), (256, 384)
    pictures = [images.resize(images.sample(name), size) for name in ("china", "church_at_auvers")]
    recipe = replace(GATYS, steps=_FEW)
    bare = partial(passes, network, "relu5_1", pictures[0], _FEW)
    return Contest(
        f"style step, VGG-16, 384 x 256 pixels, {_FEW} steps of L-BFGS",
        lambda: stylize(network, *pictures, recipe=recipe).image,
        {"bare forward + backward to the deepest": Peer(bare, 0.6, bare=True)},
    )


def _ours(network: Network, content: Tensor, style: Tensor) -> Tensor:
    recipe = StyleRecipe(optimizer=Adam(_RATE), steps=_STEPS)
    return stylize(network, content, style, recipe=recipe).image


def _usual(network: Network, content: Tensor, style: Tensor) -> Tensor:
    """What tutorials write: contiguous maps, a Gram matrix by bmm, torch.optim."""
    part = network.part(tuple(network.node(layer) for layer in _LAYERS))
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


def _same(ours: Tensor, theirs: Tensor) -> bool:
    # Steps of Adam have one size: where a gradient is nearly zero, rounding decides its direction.
    return bool((ours - theirs).abs().mean() <= 2e-3)
