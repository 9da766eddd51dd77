"""Picture sets beyond the bundled ones: torchvision brings them where there is a network."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from labsupport.core.errors import BadSetting, LabError, nearest
from labsupport.core.images.decoding import load
from labsupport.core.images.preparation import standard
from labsupport.core.images.sets import SPLITS, LabelledImages

PATIENCE = 15.0  # seconds without an answer from the network

_MEGABYTES = {"Imagenette": 340, "CIFAR10": 170, "MNIST": 12}


def torchvision_set(
    name: str, *, split: str = "train", count: int = 200, folder: str | Path | None = None
) -> LabelledImages:
    """`count` pictures of "Imagenette", "CIFAR10" or "MNIST", spread evenly over the set.

    What is not in `folder` yet (default: beside torch's own downloads) is downloaded. Imagenette's
    photographs come as `standard` makes them, (count, 3, 224, 224); the others in their own size.
    Raises `LabError`, with the way out, when there is no network.
    """
    if name not in _MEGABYTES:
        near = ", ".join(nearest(name, _MEGABYTES))
        raise BadSetting(f"No set is called {name!r}. The nearest names: {near}.")
    if split not in SPLITS:
        raise BadSetting(f"A split is 'train' or 'test', not {split!r}.")
    if count < 1:
        raise BadSetting(f"Ask for at least one picture, not {count}.")
    root = Path(folder).expanduser() if folder else Path(torch.hub.get_dir()).parent / "datasets"
    try:
        with _impatient_network():
            dataset = _open(name, split, root)
    except (OSError, RuntimeError) as error:
        raise LabError(
            f"{name} is not in {root} and cannot be downloaded ({_first_line(error)}). With a "
            f"network it comes by itself, {_MEGABYTES[name]} MB. Without one, use images.photos(), "
            "images.cutouts(), images.digits() or images.fashion(), or copy the folder from a "
            "machine that has it and name it with folder=. If a download was broken off, remove "
            "its folder there first."
        ) from error
    return _chosen(dataset, name, count)


def _open(name: str, split: str, root: Path) -> Any:
    from torchvision import datasets

    openers: dict[str, Callable[[], Any]] = {
        "Imagenette": lambda: datasets.Imagenette(
            root, split="train" if split == "train" else "val", size="320px", download=True
        ),
        "CIFAR10": lambda: datasets.CIFAR10(root, train=split == "train", download=True),
        "MNIST": lambda: datasets.MNIST(root, train=split == "train", download=True),
    }
    root.mkdir(parents=True, exist_ok=True)
    return openers[name]()


def _chosen(dataset: Any, name: str, count: int) -> LabelledImages:
    total = len(dataset)
    places = torch.linspace(0, total - 1, min(count, total)).round().long().tolist()
    images, labels = [], []
    for place in places:
        picture, label = dataset[place]
        image = load(picture)
        images.append(standard(image) if name == "Imagenette" else image)
        labels.append(int(label))
    names = tuple(_category(entry) for entry in dataset.classes)
    return LabelledImages(torch.cat(images), torch.tensor(labels), names)


def _category(entry: str | tuple[str, ...]) -> str:
    """Imagenette has several names for a class, MNIST says '0 - zero'."""
    return entry.split(" - ")[0] if isinstance(entry, str) else entry[0]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".:") or type(error).__name__


@contextmanager
def _impatient_network() -> Iterator[None]:
    """Sockets that give up, for this block: torchvision's downloads would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
