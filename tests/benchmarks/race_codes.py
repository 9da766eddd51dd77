"""t-SNE against scikit-learn's, both to their end, on few codes and on many."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from contest import Contest, race

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import codes as c

_PEER = "scikit-learn TSNE, Barnes-Hut, all cores"
_STEPS = 750


def bench() -> None:
    """Print how long a map takes, and whether it can be trusted as far as the peer's."""
    network = networks.load()
    sets = [images.digits(split) for split in ("test", "train")]
    small, large = (one.images[:, 0].flatten(1) for one in sets)
    things = c.codes(network, images.cutouts())
    tasks = (
        ("283 cut-outs by fire9", things, "cosine", 12.0, 0.9, 5),
        ("2000 digits by pixels", small, "euclidean", 30.0, 1.2, 3),
        ("5000 digits by pixels", large[:5000], "euclidean", 30.0, 1.2, 1),
    )
    contests = []
    for task, rows, metric, perplexity, wanted, rounds in tasks:
        settings = {"metric": metric, "perplexity": perplexity}
        contest = Contest(
            task,
            partial(_ours, rows, settings),
            {_PEER: partial(_peer, rows, settings)},
            {_PEER: wanted},
            rounds=rounds,
            equal=partial(_as_good, rows, metric),
        )
        contests.append(contest)
    race(contests, f"{_STEPS} steps each; the same metric, perplexity and start")


def _ours(rows: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    return c.embed(rows, steps=_STEPS, **settings).points


def _peer(rows: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    from sklearn.manifold import TSNE

    found = TSNE(init="pca", max_iter=_STEPS, n_jobs=-1, random_state=0, **settings)
    return torch.from_numpy(found.fit_transform(rows.numpy()))


def _as_good(rows: torch.Tensor, metric: str, ours: object, theirs: object) -> bool:
    """Both maps are trusted equally, to within 0.01."""
    if not isinstance(ours, torch.Tensor) or not isinstance(theirs, torch.Tensor):
        return False
    one, other = (
        c.trustworthiness(rows, points, metric=metric, sample=1000) for points in (ours, theirs)
    )
    return one >= other - 0.01
