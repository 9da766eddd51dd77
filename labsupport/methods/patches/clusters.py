"""Top patches of more images than one machine can go through: parts, workers, `merge`.

A scan is a sum: what a part of the images finds and what another part finds are merged in any
order into what one scan of all images finds. So parts go to the workers of a cluster, as Dask
(Rocklin, "Dask: parallel computation with blocked algorithms and task scheduling", SciPy 2015)
schedules them, and a part whose worker dies goes to another one. What travels are the paths of
pictures and the name of a network, never a network's code.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from labsupport.core import network as networks
from labsupport.core import streams
from labsupport.core.errors import BadImage, BadSetting, DamagedData, UnknownNetwork
from labsupport.core.images.sets import Files, ImageSet
from labsupport.core.network import Network, catalog
from labsupport.core.streams import Images, ScaledImages
from labsupport.methods.patches.scanning import Channels, Ranking, Suppress, Units
from labsupport.methods.patches.search import Progress, TopPatches, merge, top_patches

# Dask's own also tells the C library to give memory back at once, so that every block of
# activations is mapped afresh.
_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"
_ONE_THREAD = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
PART = 512  # images: some minutes of one core's work, so that a dead worker costs little


@dataclass(frozen=True)
class Cluster:
    """Who scans the parts of a set of images, and what a part is.

    `client` is a `dask.distributed.Client`; without one, this process scans part after part.
    `part` is how many images a part has. A finished part is kept in the folder `keep`, if one is
    named, and not scanned again: a scan that was broken off goes on.

    A worker loads the network by itself: by its name with these `weights` (see `networks.load`),
    or, for a module of your own, by `maker`, "file:function", a function without parameters that
    gives back the wrapped network; the file has to be one that the workers can import
    (`client.upload_file("file.py")`). A worker that ends up with other weights says so.

    `progress` is called with the share that is done.
    """

    client: Any = None
    part: int = PART
    keep: str | Path | None = None
    weights: str = "auto"
    maker: str | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.part, int) or self.part < 1:
            raise BadSetting(f"a part is a number of images from 1 on, not {self.part!r}")
        if self.keep is not None and not Path(self.keep).expanduser().is_dir():
            raise BadSetting(f"There is no folder {self.keep} to keep parts in. Make it first.")

    @classmethod
    @contextlib.contextmanager
    def local(cls, processes: int = 2, **settings: Any) -> Iterator[Cluster]:
        """A cluster of processes on this computer, for as long as the `with` block lasts.

        Each has one thread. They listen on this computer alone, and only to each other (TLS
        with certificates made for the moment); their scratch folder goes when they go.
        """
        if not isinstance(processes, int) or processes < 1:
            raise BadSetting(f"a cluster has a number of processes from 1 on, not {processes!r}")
        dask = _distributed()
        cls(**settings)  # what is wrong shows before anything starts
        with (
            tempfile.TemporaryDirectory(prefix="labs-cluster-") as scratch,
            dask.dask.config.set({"temporary-directory": scratch, _ENVIRONMENT: _ONE_THREAD}),
            dask.LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                host="127.0.0.1",
                security=dask.Security.temporary(),
                dashboard_address=None,
                silence_logs=50,
            ) as started,
            dask.Client(started) as client,
        ):
            yield cls(client, **settings)


def _distributed() -> Any:
    try:
        import cryptography  # noqa: F401 - without it the processes cannot tell friend from foe
        import distributed
    except ImportError as error:
        raise BadSetting(
            f"A cluster needs Dask, which is not installed here ({error}). In the project's "
            "folder type: python -m pip install -e '.[scale]', and restart the kernel. Without "
            "it, scan(network, layer, images) goes through the same parts in this process."
        ) from None
    return distributed


def scan(
    network: Network,
    layer: str,
    images: Images,
    cluster: Cluster | None = None,
    *,
    k: int = 9,
    channels: Channels = None,
    suppress: Suppress = 0.3,
    order: str = "most",
) -> TopPatches:
    """What `top_patches` gives, part by part: by a cluster's workers, or here.

    `images` are best `images.files(folder)`, on a disk that every worker sees under the same
    path, or `several_scales(images.files(folder), (224,))`; what is no set of files is sent. The
    settings are those of `top_patches`.

    Boxes, images and positions are those of the one-process scan as long as no two activations
    of a unit are equal but for rounding: how images are put together in batches, and on how many
    threads, changes the last bits of an activation. With parts of a multiple of the batch, on
    as many threads, images of one size give the same bits.

    Errors: those of `top_patches`; `BadSetting` for a network that workers cannot load, for other
    weights there, and when the cluster is gone.

    >>> from labsupport import networks
    >>> network = networks.load("lenet5")
    >>> patches = scan(network, "conv1", torch.rand(6, 3, 28, 28), Cluster(part=4), k=2)
    >>> patches.scanned, tuple(patches.boxes.shape)
    (((0, 6),), (6, 2, 4))
    """
    cluster = cluster or Cluster()
    count = streams.count_of(images)
    search = _Search(network.layer(layer).name, channels, Ranking(k, suppress, order))
    Units(network, layer, channels)  # refuses what it must before anything is sent
    parts = _parts(images, cluster.part)
    if not parts:
        raise BadSetting("there are no images to look for patches in")
    done, result = 0, None
    for part, patches in _finished(network, parts, search, cluster):
        placed = _placed(patches, part)
        result = placed if result is None else merge(result, placed)
        done += len(part.images)
        if cluster.progress is not None:
            cluster.progress(done / count)
    return result  # type: ignore[return-value]  # there is at least one part


@dataclass(frozen=True)
class _Search:
    """What is looked for in every part."""

    layer: str
    channels: Channels
    ranking: Ranking

    def of(self, network: Network, images: Images) -> TopPatches:
        settings = asdict(self.ranking)
        return top_patches(network, self.layer, images, channels=self.channels, **settings)


@dataclass(frozen=True)
class _Part:
    """Some images in a row: the number of the first, and that of the picture which it shows."""

    first: int
    picture: int
    images: Images


def _parts(images: Images, size: int) -> list[_Part]:
    """The parts of a set; none goes over the end of a scale."""
    if isinstance(images, ScaledImages):
        count, inside = len(images.images), _parts(images.images, size)
        return [
            _Part(count * scale + one.first, one.first, ScaledImages(one.images, (side,)))
            for scale, side in enumerate(images.sizes)
            for one in inside
        ]
    if isinstance(images, ImageSet):
        images = Files([str(picture.locate()) for picture in images])
    starts = range(0, len(images), size)
    return [_Part(first, first, images[first : first + size]) for first in starts]


def _placed(patches: TopPatches, part: _Part) -> TopPatches:
    """A part's patches, their images numbered as in the whole set."""
    moved = patches.shifted(part.first)
    pictures = torch.where(patches.pictures < 0, -1, patches.pictures + part.picture)
    return replace(moved, pictures=pictures)


Finished = Iterator[tuple[_Part, TopPatches]]


def _finished(network: Network, parts: list[_Part], search: _Search, cluster: Cluster) -> Finished:
    """Every part with its patches, as soon as they are there; kept ones first."""
    kept = _PartFiles.of(network, search, cluster)
    missing = []
    for part in parts:
        patches = kept.read(part)
        if patches is None:
            missing.append(part)
        else:
            yield part, patches
    fresh: Finished = ((part, search.of(network, part.images)) for part in missing)
    if cluster.client is not None and missing:
        fresh = _scanned_by_workers(
            _RemoteNetwork.of(network, search.layer, cluster), missing, search, cluster.client
        )
    with contextlib.closing(fresh):  # type: ignore[type-var]
        for part, patches in fresh:
            kept.write(part, patches)
            yield part, patches


# Workers


@dataclass(frozen=True)
class _RemoteNetwork:
    """A network as it travels: how to make it, and what its weights must turn out to be."""

    name: str
    weights: str
    maker: str | None
    layer: str
    expected: str  # the fingerprint of the layer and all weights below it

    @classmethod
    def of(cls, network: Network, layer: str, cluster: Cluster) -> _RemoteNetwork:
        """Errors: `BadSetting` for what a worker could not load."""
        try:
            catalog.recipe(network.name if cluster.maker is None else networks.names()[0])
        except UnknownNetwork:
            raise BadSetting(
                f"{network.name} is a module of your own, and its code is not sent to workers. "
                "Write a function that makes and wraps it into a file, make() in mine.py, call "
                'client.upload_file("mine.py"), and name it: Cluster(client, maker="mine:make")'
            ) from None
        expected = streams.network_fingerprint(network, layer)
        return cls(network.name, cluster.weights, cluster.maker, layer, expected)

    def network(self) -> Network:
        """The network, once in each process; refused if it is not the one that was meant."""
        with _loading:
            return _loaded(self)


_loading = threading.Lock()


@lru_cache(maxsize=2)
def _loaded(remote: _RemoteNetwork) -> Network:
    network = (
        networks.load(remote.name, weights=remote.weights)
        if remote.maker is None
        else _made(remote)
    )
    if streams.network_fingerprint(network, remote.layer) != remote.expected:
        raise BadSetting(
            f"a worker's {network.name} ({network.source}) has other weights below {remote.layer} "
            "than yours: Cluster(weights=...) says which, as networks.load does; maker= for a "
            "network that is made otherwise"
        )
    return network


def _made(remote: _RemoteNetwork) -> Network:
    file, _, function = str(remote.maker).partition(":")
    try:
        make: Callable[[], object] = getattr(importlib.import_module(file), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadSetting(
            f"a worker finds no {remote.maker!r} ({error}): maker is 'file:function', and "
            'client.upload_file("file.py") brings the file to the workers'
        ) from None
    made = make()
    if not isinstance(made, Network):
        raise BadSetting(f"{remote.maker} gives a {type(made).__name__}: it has to give a Network")
    return made


def _scan_part(remote: _RemoteNetwork, search: _Search, images: Images) -> TopPatches:
    """What a worker does."""
    return search.of(remote.network(), images)


def _scanned_by_workers(
    remote: _RemoteNetwork, parts: list[_Part], search: _Search, client: Any
) -> Finished:
    """The parts in the order in which workers finish them."""
    distributed = _distributed()
    waiting = {
        client.submit(_scan_part, remote, search, part.images, pure=False): part for part in parts
    }
    try:
        for future in distributed.as_completed(list(waiting)):
            part = waiting.pop(future)
            yield part, future.result()
    except distributed.KilledWorker as error:
        raise BadSetting(
            f"a part has ended several workers one after the other ({error.task}): most likely "
            "their memory was used up. Give them more, or let fewer of them share a machine."
        ) from None
    except CancelledError:
        raise BadSetting(
            "The cluster is gone. Start it again, and the scan: with keep= a folder, it goes on "
            "with the parts that are missing."
        ) from None
    finally:
        client.cancel(list(waiting))


# Parts that are finished


@dataclass(frozen=True)
class _PartFiles:
    """A folder of finished parts; each file's name stands for all that its content depends on."""

    folder: Path | None
    search: str

    @classmethod
    def of(cls, network: Network, search: _Search, cluster: Cluster) -> _PartFiles:
        if cluster.keep is None:
            return cls(None, "")
        units = Units(network, search.layer, search.channels).chosen.tolist()
        words = f"{streams.network_fingerprint(network, search.layer)} {search.ranking} {units}"
        return cls(Path(cluster.keep).expanduser(), words)

    def read(self, part: _Part) -> TopPatches | None:
        """The patches of a part, if they were kept and can still be read."""
        if self.folder is None or not self._file(self.folder, part).exists():
            return None
        try:
            return TopPatches.load(self._file(self.folder, part))
        except DamagedData:
            return None

    def write(self, part: _Part, patches: TopPatches) -> None:
        if self.folder is not None:
            patches.save(self._file(self.folder, part))

    def _file(self, folder: Path, part: _Part) -> Path:
        digest = hashlib.sha256(self.search.encode())
        for word in _words(part.images):
            digest.update(word.encode())
        return folder / f"part-{digest.hexdigest()[:32]}.safetensors"


def _words(images: Images) -> Iterator[str]:
    """What tells images apart: files by path, size and time, others by their pixels."""
    if isinstance(images, ScaledImages):
        yield f"{images.sizes}\n"
        yield from _words(images.images)
    elif isinstance(images, Files):
        for path in images.paths:
            try:
                status = Path(path).stat()
            except OSError as error:
                raise BadImage(f"{path} cannot be read ({error.strerror}).") from error
            yield f"{path} {status.st_size} {status.st_mtime_ns}\n"
    else:
        for one in streams.numbered_images(images):
            yield f"{streams.image_fingerprint(one.image, one.number):x}\n"
