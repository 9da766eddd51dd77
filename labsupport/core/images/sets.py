"""The bundled picture sets, a student's own folder, and torchvision's sets, all in one shape.

Pictures of different sizes come as an `ImageSet`, which decodes a picture when it is asked for;
small pictures of one size come as `LabelledImages`, one tensor and one label for each.
"""

from __future__ import annotations

import csv
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

from labsupport.core import bundled
from labsupport.core.errors import BadImage, BadSetting, LabError, nearest, one_of
from labsupport.core.images.decoding import decode, load
from labsupport.core.images.preparation import standard

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
SPLITS = ("train", "test")
PATIENCE = 15.0  # seconds without an answer from the network, for torchvision's sets
_MEGABYTES = {"Imagenette": 340, "CIFAR10": 170, "MNIST": 12}


@dataclass(frozen=True)
class Picture:
    """One picture of a set, decoded anew whenever `.image` is asked for.

    `name` is the handle, `title` is for people; `category` is the coarse group and `label` the
    finer one; `imagenet` is the ImageNet category that a person would choose, if there is one.
    """

    name: str
    title: str
    category: str
    label: str
    imagenet: str | None
    locate: Callable[[], Path] = field(repr=False, compare=False)

    @property
    def image(self) -> Tensor:
        """(1, 3, H, W) in [0, 1]."""
        return load(self.locate())


@dataclass(frozen=True)
class CutOut(Picture):
    """A thing without its background: `.image` shows it on white, `.on(...)` on anything."""

    def rgba(self) -> Tensor:
        """Colour and opacity, (1, 4, H, W) in [0, 1]."""
        return decode(self.locate().read_bytes(), self.name)

    @property
    def mask(self) -> Tensor:
        """Opacity, (1, 1, H, W): 1 where the thing is, 0 where the background is."""
        return self.rgba()[:, 3:].contiguous()

    def on(self, background: Tensor | Sequence[float] | float) -> Tensor:
        """The thing on a colour (r, g, b), on a grey value, or on an image of its own size."""
        pixels = self.rgba()
        ground = _background(background, tuple(pixels.shape[2:]))
        alpha = pixels[:, 3:]
        return (pixels[:, :3] * alpha + ground * (1 - alpha)).clamp_(0, 1)


def _background(background: Tensor | Sequence[float] | float, size: tuple[int, ...]) -> Tensor:
    ground = torch.as_tensor(background, dtype=torch.float32)
    if ground.ndim < 2 and ground.numel() in (1, 3):
        ground = ground.view(1, -1, 1, 1)
    elif ground.ndim != 4 or tuple(ground.shape) != (1, 3, *size):
        raise BadSetting(
            f"A background is a grey value, three numbers (r, g, b) or an image (1, 3, {size[0]}, "
            f"{size[1]}), not {tuple(ground.shape)}. images.resize(image, {size[0]}, "
            f"crop={size[0]}) makes an image fit."
        )
    if not bool(((ground >= 0) & (ground <= 1)).all()):
        raise BadSetting("A background's values lie in [0, 1]; white is (1, 1, 1).")
    return ground


P = TypeVar("P", bound=Picture, covariant=True)


class ImageSet(Sequence[P]):
    """Pictures by position, by name, or as a slice.

    >>> photos()["coffee"].title
    'Cup of coffee'
    """

    def __init__(self, pictures: Sequence[P], title: str) -> None:
        self._pictures = tuple(pictures)
        self._by_name = {picture.name: picture for picture in self._pictures}
        self.title = title

    @property
    def names(self) -> list[str]:
        """The handle of each picture."""
        return [picture.name for picture in self._pictures]

    @property
    def labels(self) -> list[str]:
        """The finer group of each picture."""
        return [picture.label for picture in self._pictures]

    @property
    def categories(self) -> list[str]:
        """The coarse group of each picture."""
        return [picture.category for picture in self._pictures]

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, key: int | str) -> P: ...
    @overload
    def __getitem__(self, key: slice) -> ImageSet[P]: ...
    def __getitem__(self, key: int | str | slice) -> P | ImageSet[P]:
        if isinstance(key, slice):
            return ImageSet(self._pictures[key], self.title)
        if not isinstance(key, str):
            return self._pictures[key]
        if key not in self._by_name:
            near = ", ".join(nearest(key, self.names))
            raise BadSetting(f"{self.title}: no picture {key!r}. The nearest names: {near}.")
        return self._by_name[key]

    def __contains__(self, item: object) -> bool:
        return item in self._by_name if isinstance(item, str) else item in self._pictures

    def __repr__(self) -> str:
        return f"<{self.title}: {len(self)} pictures, {len(set(self.categories))} categories>"


@dataclass(frozen=True)
class LabelledImages:
    """Small images of one size: `images` (N, 3, H, W) in [0, 1], `labels` (N,), int64.

    `categories[label]` is a label's name. Of grey sets, the three channels share their memory.
    """

    images: Tensor
    labels: Tensor
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@lru_cache(maxsize=8)
def _rows(index: Path, _mtime: int) -> list[dict[str, str]]:
    with index.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _bundled_set(kind: type[P], name: str, title: str) -> ImageSet[P]:
    index = bundled.path(f"{name}/index.csv")
    pictures = [
        kind(
            name=row["name"],
            title=row["title"],
            category=row["category"],
            label=row["label"],
            imagenet=row["imagenet"] or None,
            locate=partial(bundled.path, f"{name}/{row['file']}"),
        )
        for row in _rows(index, index.stat().st_mtime_ns)
    ]
    return ImageSet(pictures, title)


def photos() -> ImageSet[Picture]:
    """Photographs with their backgrounds: animals, monuments, food, things."""
    return _bundled_set(Picture, "photos", "Photos")


def paintings() -> ImageSet[Picture]:
    """Paintings and prints; `category` is the movement, `label` the painter."""
    return _bundled_set(Picture, "paintings", "Paintings")


def cutouts() -> ImageSet[CutOut]:
    """Photographed things without their backgrounds, on squares of 224 pixels."""
    return _bundled_set(CutOut, "cutouts", "Cut-outs")


def sample(name: str) -> Tensor:
    """The image of one bundled picture: a photo, else a painting, else a cut-out on white.

    >>> sample("coffee").shape
    torch.Size([1, 3, 400, 600])
    """
    everything = (*cutouts(), *paintings(), *photos())  # of one name, the last counts
    return ImageSet[Picture](everything, "The bundled pictures")[name].image


def digits(split: str = "train") -> LabelledImages:
    """Handwritten digits of MNIST: 8 000 to train on, 2 000 to test with, 28 x 28 pixels."""
    return _sheet("digits", split)


def fashion(split: str = "train") -> LabelledImages:
    """Clothes of Fashion-MNIST: 10 000 to train on, 2 000 to test with, 28 x 28 pixels."""
    return _sheet("fashion", split)


def _sheet(name: str, split: str) -> LabelledImages:
    """Tiles of one grey sheet, row by row, with a line of `labels.csv` for each."""
    one_of(split, SPLITS, "a split")
    sheet, table = bundled.path(f"{name}/{split}.webp"), bundled.path(f"{name}/{split}.csv")
    rows = _rows(table, table.stat().st_mtime_ns)
    labels = torch.tensor([int(row["label"]) for row in rows])
    categories = dict(sorted((int(row["label"]), row["category"]) for row in rows))
    grey = load(sheet)[0, 0]
    tiles = grey.unfold(0, 28, 28).unfold(1, 28, 28).reshape(-1, 1, 28, 28)[: len(labels)]
    return LabelledImages(tiles.expand(-1, 3, -1, -1), labels, tuple(categories.values()))


def folder(path: str | Path) -> ImageSet[Picture]:
    """A student's own pictures: all picture files in a folder and in its sub-folders.

    A picture's category and label are the name of the folder that it lies in.
    """
    root = Path(path).expanduser()
    return ImageSet([_from_folder(file, root) for file in _pictures_in(root)], str(root))


def files(path: str | Path) -> Files:
    """The same pictures in the same order, as their paths alone: for a million of them."""
    return Files(tuple(map(str, _pictures_in(Path(path).expanduser()))))


class Files(Sequence[Tensor]):
    """Picture files by their paths, each an image (1, 3, H, W), decoded when it is asked for."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, key: int) -> Tensor: ...
    @overload
    def __getitem__(self, key: slice) -> Files: ...
    def __getitem__(self, key: int | slice) -> Tensor | Files:
        return Files(self.paths[key]) if isinstance(key, slice) else load(self.paths[key])


def _pictures_in(root: Path) -> list[Path]:
    if not root.is_dir():
        raise BadImage(f"There is no folder {root}. For one picture: images.load({str(root)!r}).")
    named = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    shown = [file for file in named if file.is_file() and not file.name.startswith(".")]
    if not shown:
        raise BadImage(f"No pictures in {root}. Known are files ending in {', '.join(SUFFIXES)}.")
    return shown


def _from_folder(file: Path, root: Path) -> Picture:
    inside = file.relative_to(root)
    group = file.resolve().parent.name
    title = file.stem.replace("_", " ").replace("-", " ")
    return Picture(inside.with_suffix("").as_posix(), title, group, group, None, lambda: file)


# Sets beyond the bundled ones: torchvision brings them where there is a network


def torchvision_set(
    name: str, *, split: str = "train", count: int = 200, folder: str | Path | None = None
) -> LabelledImages:
    """`count` pictures of "Imagenette", "CIFAR10" or "MNIST", spread evenly over the set.

    What is not in `folder` yet (default: beside torch's own downloads) is downloaded. Imagenette's
    photographs come as `standard` makes them, (count, 3, 224, 224); the others in their own size.
    Raises `LabError`, with the way out, when there is no network.
    """
    one_of(name, _MEGABYTES, "a set")
    one_of(split, SPLITS, "a split")
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
