"""Lab 01: one picture, four questions: what, where, how many, which pixels."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch.nn import functional

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network, detectors
from labsupport.core.network.detectors import Detection, Detector
from labsupport.methods.saliency import Segmentation, segment
from labsupport.methods.tasks import class_box, class_map, dense_scores, detections
from labsupport.ui import controls, declare, figures

TASKS = ("classification", "localization", "detection", "segmentation")
ANSWERS = {
    "classification": "one name for the whole picture",
    "localization": "a name and a box",
    "detection": "any number of names and boxes",
    "segmentation": "a name for every pixel",
}


@functools.cache
def scene() -> torch.Tensor:
    """A landscape with a balloon, a tiger and a zebra, (1, 3, 480, 720)."""
    picture = images.resize(images.sample("canyon_de_chelly"), (480, 720)).clone()
    for name, left, top in (("hot_air_balloon", 30, 10), ("zebra", 440, 240), ("tiger", 60, 240)):
        cutout = images.cutouts()[name]
        pixels = cutout.rgba()
        spot = (..., slice(top, top + 224), slice(left, left + 224))
        opacity = pixels[:, 3:]
        picture[spot] = picture[spot] * (1 - opacity) + pixels[:, :3] * opacity
    return picture.clamp_(0, 1)


def task_menu(default: str) -> controls.LoadingMenu:
    """A menu of the tasks, and of detection by torchvision's detectors; these are downloaded, so
    many MB, when they are chosen. The value is a task's name, or a `Detector`.

    One that cannot be had gives its `WeightsUnavailable` as a message in the panel, and the menu
    goes back to the task before.
    """
    here = [name for name in detectors.NAMES if detectors.is_cached(name)]
    own = {task: task for task in TASKS}
    titles = dict(own)
    for name, title in detectors.NAMES.items():
        far = f"{title} ({detectors.megabytes(name)} MB)"
        titles[name] = f"detection: {title}" if name in here else far
    return controls.LoadingMenu(
        titles, default, load=detectors.load, own=own, here=here, most=1, label="task"
    )


_TASK_MENU: Any = declare.Declared(lambda _, start, __: task_menu(start), "localization")


@declare.panel("One picture, four tasks", cost="quick")
def tasks_panel(
    image: torch.Tensor = declare.photo("polar_bear"),
    task: str | Detector = _TASK_MENU,
    share: float = declare.real(0.2, 0.1, 0.8, step=0.1, label="box from share"),
) -> tuple[Image.Image, str]:
    """Any picture and one of the four tasks."""
    if isinstance(task, Detector):
        return found_by(task, _large(image))
    network = networks.load()
    if task == "detection":
        return detected(network, _large(image))
    seen = images.standard(image)
    [answers] = network.predict(seen)
    first = answers[0]
    words = f"{first.name}, {figures.per_cent(first.probability)}"
    if task == "classification":
        picture = figures.side_by_side([seen, figures.bars(answers)])
        return picture, f"{words}. The answer: {ANSWERS[task]}."
    if task == "localization":
        return located(network, seen, first.index, share=share)
    return segmented(network, seen, first.index)


def _large(image: torch.Tensor) -> torch.Tensor:
    """The picture as large as a sliding network likes it: 448 pixels on its shorter side."""
    height, width = image.shape[2:]
    times = min(448 / min(height, width), 720 / max(height, width))
    return images.resize(image, (round(height * times), round(width * times)))


def located(
    network: Network, image: torch.Tensor, target: int, *, share: float = 0.2
) -> tuple[Image.Image, str]:
    """The class map over the picture, and the box around its largest part."""
    values = class_map(network, image, target)[0]
    box = class_box(values, (image.shape[2], image.shape[3]), share=share)
    name = network.categories[target]
    picture = figures.side_by_side(
        [
            figures.overlay(image, values, colours="magma", label=f"score of {name}"),
            figures.boxes(image, [box], [name]),
        ],
        ["class map", "box"],
    )
    left, top, right, bottom = box
    return picture, (
        f"{name}: columns {left} to {right}, rows {top} to {bottom}. "
        f"The answer: {ANSWERS['localization']}."
    )


def detected(network: Network, image: torch.Tensor) -> tuple[Image.Image, str]:
    """Everything that a sliding network is sure of, each in its box."""
    return _in_boxes(image, detections(network, image, threshold=0.9))


def found_by(detector: Detector, image: torch.Tensor) -> tuple[Image.Image, str]:
    """What a network that was trained to detect finds, each in its box with name and score."""
    return _in_boxes(image, detector(image, threshold=0.5))


def _in_boxes(image: torch.Tensor, found: Sequence[Detection]) -> tuple[Image.Image, str]:
    titles = [f"{one.name} {figures.per_cent(one.probability)}" for one in found]
    named = ", ".join(one.name for one in found) or "nothing that it is sure of"
    words = f"{len(found)} found: {named}. The answer: {ANSWERS['detection']}."
    return figures.boxes(image, [one.box for one in found], titles), words


def cut_out(network: Network, image: torch.Tensor, target: int) -> Segmentation:
    """The pixels of one thing: GrabCut, told by the class map where to begin."""
    values = class_map(network, image, target).clamp(min=0)
    size = (image.shape[2], image.shape[3])
    spread = functional.interpolate(values[None], size, mode="bilinear")[0, 0]
    return segment(image, spread, foreground=0.85, background=0.4)


def segmented(network: Network, image: torch.Tensor, target: int) -> tuple[Image.Image, str]:
    """The picture, and the pixels that belong to the class on white."""
    mask = cut_out(network, image, target).mask
    name, share = network.categories[target], f"{float(mask.float().mean()):.0%}"
    picture = figures.side_by_side(
        [image, _on_white(image, mask)], ["the picture", f"the pixels of {name}"]
    )
    return picture, (
        f"{name}: {share.replace('%', ' %')} of the pixels. The answer: {ANSWERS['segmentation']}."
    )


def _on_white(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask, image, torch.ones(()))


def dense_picture(network: Network, image: torch.Tensor, names: Sequence[str]) -> Image.Image:
    """Class maps of a large picture, one for each name: the network asked at every place."""
    scores = dense_scores(network, image)[0].clamp(min=0)
    maps = [scores[network.class_index(name)] for name in names]
    most = max(float(one.max()) for one in maps)
    small = images.resize(image, 160)
    pictures = [
        figures.overlay(small, one, colours="magma", limits=(0.0, most), bar=one is maps[-1])
        for one in maps
    ]
    return figures.side_by_side(pictures, list(names))


def applications(network: Network) -> Image.Image:
    """What such networks are for: a picture each, all made by these labs."""
    bear = images.standard(images.sample("polar_bear"))
    target = network.class_index("ice bear")
    digits = images.digits("test")
    read = networks.load("lenet5").predict(digits.images[:15], k=1)
    box = class_box(class_map(network, bear, target)[0], (224, 224))
    tiles: list[figures.Pixels] = [
        bear,
        figures.boxes(bear, [box], ["ice bear"]),
        _on_white(bear, cut_out(network, bear, target).mask),
        figures.mosaic(1 - digits.images[:15], columns=5, titles=[one[0].name for one in read]),
    ]
    titles = ["name it: ice bear", "find it", "cut it out", "read digits"]
    several, _ = detected(network, scene())
    top = figures.side_by_side(tiles, titles)
    return figures.side_by_side([top, several], ["", "find several things"], columns=1)
