"""t-SNE against scikit-learn's, both to their end, on few codes and on many."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from contest import Contest, Peer, race

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import codes as c

_PEER = "scikit-learn TSNE, Barnes-Hut, all cores"
_STEPS = 750


def bench() -> None:
    """Print how long a map takes, and whether it can be trusted as far as the peer's."""
    race(_contests(), f"{_STEPS} steps each; the same metric, perplexity and start")


def _contests() -> Iterator[Contest]:
    small, large = (images.digits(one).images[:, 0].flatten(1) for one in ("test", "train"))
    things = c.codes(networks.load(), images.cutouts())
    for task, rows, metric, perplexity, wanted, rounds in (
        ("283 cut-outs by fire9", things, "cosine", 12.0, 0.9, 5),
        ("2000 digits by pixels", small, "euclidean", 30.0, 1.2, 3),
        ("5000 digits by pixels", large[:5000], "euclidean", 30.0, 1.2, 1),
    ):
        settings = {"metric": metric, "perplexity": perplexity}
        yield Contest(
            task,
            partial(_ours, rows, settings),
            {_PEER: Peer(partial(_peer, rows, settings), wanted)},
            rounds=rounds,
            equal=partial(_as_good, rows, metric),
        )


def _ours(rows: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    return c.embed(rows, steps=_STEPS, **settings).points


def _peer(rows: torch.Tensor, settings: dict[str, Any]) -> torch.Tensor:
    from sklearn.manifold import TSNE

    tsne = TSNE(init="pca", max_iter=_STEPS, n_jobs=-1, random_state=0, **settings)
    return torch.from_numpy(tsne.fit_transform(rows.numpy()))


def _as_good(rows: torch.Tensor, metric: str, *maps: torch.Tensor) -> bool:
    """Both maps are trusted equally, to within 0.01."""
    ours, theirs = (c.trustworthiness(rows, one, metric=metric, sample=1000) for one in maps)
    return ours >= theirs - 0.01
