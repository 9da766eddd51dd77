"""A scan by two worker processes against the same scan by one process."""

import tempfile
from functools import partial
from pathlib import Path

import torch
from contest import Contest, Line, Peer, race

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.images.sets import Files
from labsupport.core.network import Network
from labsupport.core.streams import Images
from labsupport.methods.patches import Cluster, TopPatches, scan, several_scales, top_patches

LAYER, SIDE, COPIES, PART = "fire9", 224, 2, 16


def bench() -> None:
    """Print what a second process is worth; starting the cluster is not timed."""
    network = networks.load()
    with tempfile.TemporaryDirectory() as folder, Cluster.local(2, part=PART) as cluster:
        files = _pictures(Path(folder))
        shown = several_scales(files, (SIDE,))
        cores = torch.get_num_threads()
        contest = Contest(
            f"top patches of {len(files)} files, two processes",
            partial(scan, network, LAYER, shown, cluster),
            {
                "one process, one thread": Peer(partial(_alone, 1, network, shown), 1.6),
                "one process, all threads": Peer(partial(_alone, cores, network, shown), 1.1),
            },
            rounds=3,
            equal=_same,
        )
        about = f"{len(files)} photographs as JPEG, read and cut to {SIDE} px; {LAYER}, top 9"
        race([contest], about, after=partial(_print_rates, len(files)))


def _print_rates(count: int, lines: list[Line]) -> None:
    for line in lines:
        ours, theirs = count / line.ours, count / line.theirs
        print(f"  {ours:.1f} images a second against {theirs:.1f} ({line.peer})", flush=True)


def _pictures(folder: Path) -> Files:
    """The bundled photographs as files of a folder, each twice."""
    for number, photo in enumerate([*images.photos()] * COPIES):
        images.save(photo.image, folder / f"{number:04}.jpg")
    return images.files(folder)


def _alone(threads: int, network: Network, shown: Images) -> TopPatches:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return top_patches(network, LAYER, shown)
    finally:
        torch.set_num_threads(before)


def _same(ours: TopPatches, theirs: TopPatches) -> bool:
    """The same activations, but for rounding."""
    return torch.allclose(ours.values, theirs.values, rtol=1e-4, atol=1e-4)
