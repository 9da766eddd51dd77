"""Steps of an ascent against the loop around the whole network, and against the bare passes.

No way of going about it beats the bare passes, so they are the limit of what can be reached; how
far they are ahead of the loop is printed beside the ratio that is wanted.
"""

from collections.abc import Iterator
from functools import partial

import torch
from contest import Contest, Line, Peer, race
from peers import normalizing_module, panda, passes
from torch import Tensor, nn

from labsupport.core import device, workers
from labsupport.core import network as networks
from labsupport.core.network import Network, TargetLike
from labsupport.methods.optimize import Blur, Jitter, Pixels, Plain, Recipe, TargetValue, visualize

# As many steps as a picture takes: each ascent ends with one more look, at the picture itself.
_LAYER, _CHANNEL, _STEPS, _RATE = "fire5", 0, 60, 3e-4
_CONV = "1.features.7"  # what torchvision calls it, behind the normalization
_LOOP = "whole network + hook, frozen, NCHW"
_BARE = "bare forward + backward to the layer"
_BARE_BATCH = "the same, a core for every two images"


def bench() -> None:
    """Print the ratios; "below" marks one that does not reach what is wanted."""
    race(_contests(), f"{_STEPS} steps each, SqueezeNet 1.1, 224 pixels", after=_print_limit)


def _print_limit(lines: list[Line]) -> None:
    theirs = {line.peer: line.theirs for line in lines}
    loop, bare = theirs.get(_LOOP), theirs.get(_BARE) or theirs.get(_BARE_BATCH)
    if loop and bare:
        print(f"{'':<44} the limit, these bare passes against the loop: {loop / bare:.2f}x")


def _contests() -> Iterator[Contest]:
    network, module = networks.load(), normalizing_module()
    channel: TargetLike = (_LAYER, _CHANNEL)
    yield Contest(
        f"ascent of a channel of {_LAYER}, jitter and blur",
        partial(_ours, network, channel, jitter=True),
        {
            _LOOP: Peer(partial(_whole, module, _CHANNEL, jitter=True), 1.7),
            _BARE: Peer(partial(passes, network, _LAYER, panda(), _STEPS), 0.9, bare=True),
        },
        equal=_same,
    )
    eight: list[TargetLike] = [(_LAYER, _CHANNEL + k) for k in range(8)]
    yield Contest(
        "8 channels in one batch",
        partial(_ours, network, eight, jitter=True),
        {
            # its channels know nothing of each other, and take as long each
            _LOOP: Peer(partial(_one_by_one, module, 2), 2.5, share=2 / 8),
            _BARE_BATCH: Peer(partial(_batched_passes, network, 8), 0.9, bare=True),
        },
        rounds=3,
        equal=_same,
    )
    rows, columns = (length // 2 for length in network.layer(_LAYER).shape[1:])
    yield Contest(
        f"one neuron of {_LAYER}, on what it sees",
        partial(_ours, network, (_LAYER, _CHANNEL, (rows, columns)), jitter=False),
        {_LOOP: Peer(partial(_whole, module, _CHANNEL, (rows, columns), jitter=False), 5.0)},
        rounds=3,
        equal=_same,
    )


def _ours(network: Network, target: TargetLike | list[TargetLike], *, jitter: bool) -> Tensor:
    transforms = (Jitter(8),) if jitter else ()
    blur = (Blur(0.5, every=4),) if jitter else ()
    recipe = Recipe("bench", "grey", Pixels(), transforms, blur, Plain(_RATE), _STEPS)
    objective = TargetValue(target, before_relu=False)  # nor does the peer wake anybody
    return visualize(network, objective, recipe=recipe, start=panda()).image


def _whole(
    module: nn.Module, channel: int, position: tuple[int, int] | None = None, *, jitter: bool
) -> Tensor:
    """The loop that everybody writes first: a hook, the whole network, the same steps."""
    seen: list[Tensor] = []
    hook = module.get_submodule(_CONV).register_forward_hook(lambda _m, _i, out: seen.append(out))
    image, random = panda().to(device.pick()).clone(), torch.Generator().manual_seed(0)
    for step in range(_STEPS):
        moving = image.clone().requires_grad_(True)
        shift = [int(torch.randint(-8, 9, (), generator=random)) for _ in range(2)]
        module(torch.roll(moving, shift, (2, 3)) if jitter else moving)
        maps = seen.pop()[:, channel]
        torch.autograd.backward(maps.mean() if position is None else maps[0][position])
        image = moving.detach() + _RATE * moving.grad  # type: ignore[operator]
        if jitter and (step + 1) % 4 == 0:
            image = _blur(image)
        image = image.clamp(0, 1)
    hook.remove()
    return image.cpu()


def _one_by_one(module: nn.Module, count: int) -> Tensor:
    return torch.cat([_whole(module, _CHANNEL + k, jitter=True) for k in range(count)])


def _batched_passes(network: Network, count: int) -> None:
    """The passes for so many images: each core takes two at a time, and waits for nobody."""

    def go(pair: Tensor) -> None:
        passes(network, _LAYER, pair, _STEPS)

    pairs = [panda().repeat(2, 1, 1, 1) for _ in range(count // 2)]
    for _ in workers.in_order(lambda: go, pairs, threads=torch.get_num_threads()):
        pass


def _blur(image: Tensor) -> Tensor:
    offsets = torch.arange(-2, 3)
    taps = torch.exp(-0.5 * (offsets / 0.5) ** 2)
    taps = (taps / taps.sum()).view(1, 1, 1, 5).repeat(3, 1, 1, 1).to(image.device)
    padded = nn.functional.pad(image, (2, 2, 2, 2), mode="replicate")
    across = nn.functional.conv2d(padded, taps, groups=3)
    return nn.functional.conv2d(across, taps.transpose(2, 3), groups=3)


def _same(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours[: len(theirs)] - theirs).abs().max() <= 1e-3)
