"""Occlusion maps against Captum and against plain batches, all at their best settings."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from contest import Contest, Peer, race
from peers import GIANT_PANDA, at_first_call, bare_module, black_like, normalized_panda, panda

from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.methods.occlusion import fill_image, occlusion_map

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
    name = _PLAIN if every == 1 else f"plain batches of 8; 1 row in {every}"
    plain = partial(_plain, network, window, stride, every=every)
    return Contest(
        f"{network.name}, score, window {window}, stride {stride}",
        partial(_ours, network, window, stride),
        {name: Peer(plain, wanted, share=len(range(0, rows, every)) / rows)},
        rounds=rounds,
        equal=partial(_same, every=every),
    )


def _squeezenet() -> Iterator[Contest]:
    network = networks.load()
    ours, plain = partial(_ours, network, 32, 8), partial(_plain, network, 32, 8)
    captum = at_first_call(partial(_captum, 32, 8, 1, torch.contiguous_format))
    captums_best = at_first_call(partial(_captum, 32, 8, 8, torch.channels_last))
    yield Contest(
        "squeezenet1_1, score, window 32, stride 8",
        ours,
        {
            "Captum, default": Peer(captum, 10.0),
            "Captum, 8 at a time, channels-last": Peer(captums_best, 3.3),
            _PLAIN: Peer(plain, 4.3),
        },
        rounds=3,
        equal=_same,
    )
    cold = {_PLAIN: Peer(plain, 3.2)}
    yield Contest("the same, cold (no plan kept)", ours, cold, prepare=network.forget)
    yield Contest(
        "the same, probability",
        partial(ours, "probability"),
        {_PLAIN: Peer(partial(plain, "probability"), 2.3)},
        equal=_same,
    )
    yield against_plain(network, 3.8, window=16, stride=4)
    yield against_plain(network, 2.4, window=64)


def _ours(network: Network, window: int, stride: int, view: str = "score") -> torch.Tensor:
    settings = {"window": window, "stride": stride, "fill": "black"}
    return occlusion_map(network, panda(), GIANT_PANDA, views=(view,), **settings).values[view]


def _spans(window: int, stride: int) -> list[tuple[int, int]]:
    """From where to where the square reaches, at each of its places along a side."""
    return [(i, min(224, i + window)) for i in range(0, 224 - window + stride, stride)]


def _plain(
    network: Network, window: int, stride: int, view: str = "score", *, every: int = 1
) -> torch.Tensor:
    """The loop that everybody writes first, at its best: batches of 8, channels-last, no
    gradients."""
    fill = fill_image(network, panda(), "black")
    spans = _spans(window, stride)
    parts: list[torch.Tensor] = []
    boxes = [(rows, columns) for rows in spans[::every] for columns in spans]
    with torch.no_grad():
        for first in range(0, len(boxes), 8):
            batch = panda().repeat(len(boxes[first : first + 8]), 1, 1, 1)
            for hidden, ((top, bottom), (left, right)) in zip(batch, boxes[first:], strict=False):
                hidden[:, top:bottom, left:right] = fill[0, :, top:bottom, left:right]
            parts.append(network.scores(batch))
    scores = torch.cat(parts)
    values = scores if view == "score" else scores.softmax(1)
    return values[:, GIANT_PANDA].view(-1, len(spans)).cpu()


def _captum(
    window: int, stride: int, at_once: int, layout: torch.memory_format
) -> Callable[[], torch.Tensor]:
    """The scores behind Captum's attributions, on the bare torchvision module."""
    from captum.attr import Occlusion

    module = bare_module().to(memory_format=layout)
    image = normalized_panda().contiguous(memory_format=layout)
    scores: list[torch.Tensor] = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = module(batch)
        scores.append(answer[:, GIANT_PANDA].detach())
        return answer

    def attribute() -> torch.Tensor:
        scores.clear()
        Occlusion(forward).attribute(
            image,
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            baselines=black_like(image),
            target=GIANT_PANDA,
            perturbations_per_eval=at_once,
        )
        side = -(-(224 - window) // stride) + 1
        # Its first call is the clean image; then it goes down the columns.
        return torch.cat(scores[1:]).view(side, side).T.cpu()

    return attribute


def _same(ours: torch.Tensor, theirs: torch.Tensor, *, every: int = 1) -> bool:
    return bool((ours[::every] - theirs).abs().max() <= 1e-4 * theirs.abs().max().clamp_min(1))
