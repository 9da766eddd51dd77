"""Lab 05: panels that hide parts of a picture, and pictures of what the network loses by it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.core.network.layers import Box
from labsupport.methods.occlusion import (
    FILLS,
    OcclusionMap,
    fill_image,
    occlude,
    occlusion_map,
    sign_changes,
    views_of,
)
from labsupport.ui import declare, figures

VIEW_WORDS = {
    "score": "score of the class",
    "probability": "probability of the class",
    "best_class": "most probable class",
    "activity": "activity of one feature map",
}
# Okabe and Ito's colours, told apart by every eye.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")


_USUAL = 224  # pixels of an image's side that the sliders speak of
VIEW_MENU = {words: view for view, words in VIEW_WORDS.items()}
FILL_MENU = {"mean (zero for the network)" if fill == "mean" else fill: fill for fill in FILLS}


@declare.panel("Hide a part", cost="instant")
def hide_panel(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    left: int = declare.whole(16, 0, 208, step=8, unit="px", label="from the left"),
    top: int = declare.whole(16, 0, 208, step=8, unit="px", label="from the top"),
    side: int = declare.whole(64, 16, 160, step=8, unit="px"),
    fill: str = declare.choice(FILL_MENU, "mean"),
) -> tuple[Image.Image, str]:
    """A square to push about: the picture with the square, and the network's answer to it."""
    size = network.input_size[0]
    clean = images.standard(image, size)
    left, top, side = (_scaled(pixels, size) for pixels in (left, top, side))
    left, top = min(left, size - 1), min(top, size - 1)
    box = (left, top, min(left + side, size), min(top + side, size))
    hidden = occlude(clean, box, fill_image(network, clean, fill))
    with torch.no_grad():
        scores = network(torch.cat([clean, hidden])).cpu()
    [first], [now, *_] = network.ranking(scores, k=1)
    left_over = float(scores[1].softmax(0)[first.index])
    words = (
        f"{first.name}: {figures.per_cent(first.probability)} untouched, "
        f"{figures.per_cent(left_over)} with the square. Now first: {now.name}.{_scale(size)}"
    )
    [after] = network.ranking(scores[1:])
    ground = _ground(image, network)
    times = ground.shape[2] // size
    large = (times * box[0], times * box[1], times * box[2], times * box[3])
    shown = occlude(ground, large, nn.functional.interpolate(hidden, ground.shape[2:]))
    picture = figures.side_by_side(
        [figures.boxes(shown, [large]), figures.bars(after, highlight=first.name)],
        ["what is left to the network", "what it answers"],
    )
    return picture, words


def _scaled(pixels: int, size: int) -> int:
    """As many pixels of an image of `size` as those are of one of 224, at least 1 if not 0."""
    return max(min(pixels, 1), round(pixels * size / _USUAL))


def _scale(size: int) -> str:
    """What a readout adds where the image has another size than the sliders speak of."""
    if size == _USUAL:
        return ""
    return f" The sliders count pixels of {_USUAL}; this network's image has {size}."


@lru_cache(maxsize=1)  # a run has many frames of one picture
def _ground(image: torch.Tensor, network: Network) -> torch.Tensor:
    """What the network sees, at least twice as large and as sharp as the picture is."""
    return images.standard(image, figures.sharp_side(network.input_size[0]))


def _draw_map(
    occluded: OcclusionMap,
    image: torch.Tensor,
    network: Network,
    view: str = declare.choice(VIEW_MENU, "score"),
    opacity: float = declare.real(0.8, 0.0, 1.0, label="opacity of the map"),
) -> tuple[Image.Image, str]:
    shown = view if view in occluded.values else "score"
    picture = map_picture(_ground(image, network), occluded, shown, network, opacity=opacity)
    lacking = "feature maps" if network.categories else "classes"
    why = "" if shown == view else f"{network.name} has no {lacking}: this is the score. "
    words = map_words(occluded, shown, network)
    return picture, why + words + _scale(network.input_size[0])


@declare.live("Occlusion map", draw=_draw_map)
def map_panel(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = declare.class_of("network"),
    window: int = declare.whole(32, 8, 112, step=8, unit="px"),
    stride: int = declare.whole(8, 4, 32, step=4, unit="px"),
    fill: str = declare.choice(FILL_MENU, "mean"),
) -> Iterator[OcclusionMap]:
    """The whole map, coarse at once and then finer, of any picture, network and class."""
    seen, chosen = declare.seen_and_class(image, network, target)
    window, stride = (_scaled(pixels, network.input_size[0]) for pixels in (window, stride))
    settings: dict[str, Any] = {"window": window, "stride": stride, "fill": fill}
    return occlusion_map.frames(network, seen, chosen, views=views_of(network), **settings)


# Pictures and words


def map_picture(
    image: torch.Tensor,
    occluded: OcclusionMap,
    view: str,
    network: Network,
    *,
    opacity: float = 0.8,
) -> Image.Image:
    """What hiding each place changes, over the image (1, 3, H, W), with the scale: blue where the
    answer falls, red where it rises.

    The view "best_class" has a colour for each class that wins, with their names.
    """
    if view == "best_class":
        return _class_picture(image, occluded, network, opacity)
    change = occluded.pixels(view) - occluded.clean[view]
    return _change_over(
        image, change, opacity=opacity, label=f"change of the {_quantity(occluded, view)}"
    )


_change_over = partial(figures.overlay, colours="signed", fade=True)


def value_picture(occluded: OcclusionMap, view: str, network: Network) -> Image.Image:
    """The bare map, as the paper prints it: the value at each place, with the scale."""
    if view == "best_class":
        blank = torch.ones(1, 3, *occluded.image_size)
        return _class_picture(blank, occluded, network, 1.0)
    limits = (0.0, 1.0) if view == "probability" else None
    return figures.heat_map(
        occluded.pixels(view), enlarge=1, limits=limits, label=_quantity(occluded, view)
    )


def _quantity(occluded: OcclusionMap, view: str) -> str:
    if view.startswith("activity"):
        return f"total activation of {occluded.units[view]}"
    return f"{view} of {occluded.target}"


def _class_picture(
    image: torch.Tensor, occluded: OcclusionMap, network: Network, opacity: float
) -> Image.Image:
    """Each pixel has the colour of the class that wins when the nearest window hides it."""
    rows = _nearest(occluded.rows, image.shape[2], occluded.image_size[0])
    columns = _nearest(occluded.columns, image.shape[3], occluded.image_size[1])
    winners = occluded.values["best_class"].numpy()[rows][:, columns]
    colours = class_colours([occluded])
    names = {index: (network.categories[index], colour) for index, colour in colours.items()}
    return figures.labelled(image, winners, names, opacity=opacity)


def _nearest(spans: Sequence[tuple[int, int]], pixels: int, length: int) -> np.ndarray:
    """For each of the shown pixels, the position whose window's centre is nearest."""
    centres = np.array(spans).mean(1)
    places = (np.arange(pixels) + 0.5) * length / pixels
    return np.asarray(np.abs(places[:, None] - centres[None, :]).argmin(1))


def class_colours(maps: Sequence[OcclusionMap]) -> dict[int, str]:
    """A colour for each of the eight classes that win most often in these maps."""
    wins = torch.cat([one.values["best_class"].flatten() for one in maps]).bincount()
    order = wins.argsort(descending=True)[: len(_COLOURS)].tolist()
    return {index: _COLOURS[place] for place, index in enumerate(order) if wins[index] > 0}


def map_words(occluded: OcclusionMap, view: str, network: Network) -> str:
    """What a map says, in a sentence or two: for the readout beside it."""
    how = occluded.how.partition(":")[0]
    done = f"{int(occluded.computed.sum())} of {occluded.computed.numel()} positions, {how}."
    if view == "best_class":
        names = set(occluded.values[view].flatten().tolist())
        first = network.categories[int(occluded.clean[view])]
        share = float((occluded.values[view] == occluded.clean[view]).float().mean())
        return f"{first} stays first at {share:.0%} of the positions, {len(names)} win. {done}"
    left, top, right, bottom = occluded.box(*occluded.lowest(view))
    clean = _number(view, occluded.clean[view])
    worst = _number(view, float(occluded.values[view].min()))
    return (
        f"{_quantity(occluded, view)}: {clean} untouched, {worst} at worst, with the window on "
        f"columns {left} to {right} and rows {top} to {bottom}. {done}"
    )


def _number(view: str, value: float) -> str:
    return figures.per_cent(value) if view == "probability" else f"{value:.1f}"


def three_views(image: torch.Tensor, occluded: OcclusionMap, network: Network) -> Image.Image:
    """A row of Zeiler and Fergus' figure: the image, the strongest map's activity, the
    probability of the class, the most probable class."""
    views = ("activity", "probability", "best_class")
    return figures.side_by_side(
        [image, *(value_picture(occluded, view, network) for view in views)],
        [str(occluded.target), *(VIEW_WORDS[view] for view in views)],
    )


def maps_together(
    image: torch.Tensor, maps: Mapping[str, OcclusionMap], *, shared: bool = True
) -> Image.Image:
    """An image, and maps of its score made with different settings, each under its name.

    `shared` gives all of them one scale, so that colours can be compared from map to map.
    """
    changes = [one.pixels("score") - one.clean["score"] for one in maps.values()]
    most = max(float(change.abs().max()) for change in changes)
    pictures = [
        _change_over(
            image,
            change,
            opacity=0.8,
            limits=(-most, most) if shared else None,
            label="change of the score",
            bar=not shared or change is changes[-1],
        )
        for change in changes
    ]
    return figures.side_by_side([image, *pictures], ["untouched", *maps], columns=3)


# The same part of several faces


@dataclass(frozen=True)
class Face:
    """A face cut out of a photo, (1, 3, 224, 224), with a box on each eye and on the nose."""

    image: torch.Tensor
    boxes: Mapping[str, Box]


Point = tuple[int, int]  # (column, row) in a photo
_PART_SIDE = 56  # pixels of the 224: as wide as the largest of the eyes


# (column, row) of the left eye, the right eye and the nose in a photo
_FACES: Mapping[str, tuple[Point, Point, Point]] = {
    "chelsea": ((173, 115), (319, 137), (264, 243)),
    "kitten": ((234, 154), (289, 153), (263, 177)),
    "red_panda": ((207, 151), (261, 147), (223, 201)),
    "gorilla": ((234, 121), (276, 123), (256, 173)),
    "calf": ((183, 119), (327, 117), (256, 151)),
}


def faces() -> list[Face]:
    """Five animals of the bundled photos."""
    return [face(images.sample(name), *points) for name, points in _FACES.items()]


def face(photo: torch.Tensor, left_eye: Point, right_eye: Point, nose: Point) -> Face:
    """Cut a square around the face: a little more than three times the distance of the eyes."""
    height, width = photo.shape[2:]
    points = np.array([left_eye, right_eye, nose], dtype=float)
    side = int(min(3.2 * float(np.linalg.norm(points[0] - points[1])), height, width))
    corner = np.clip(points.mean(0) - side / 2, 0, (width - side, height - side)).astype(int)
    left, top = corner.tolist()
    cut = images.resize(photo[:, :, top : top + side, left : left + side], 224)
    places = (points - corner) * 224 / side
    names = ("left eye", "right eye", "nose")
    return Face(cut, {n: _part_box(place) for n, place in zip(names, places, strict=True)})


def _part_box(centre: np.ndarray) -> Box:
    left, top = np.clip(centre - _PART_SIDE / 2, 0, 224 - _PART_SIDE).astype(int).tolist()
    return (left, top, left + _PART_SIDE, top + _PART_SIDE)


def faces_picture(faces: Sequence[Face]) -> Image.Image:
    """The faces in a row, their parts in white boxes."""
    return figures.mosaic(
        [figures.boxes(one.image, list(one.boxes.values())) for one in faces], columns=len(faces)
    )


def part_signs(
    network: Network, faces: Sequence[Face], part: str, *, layer: str = "pool5", seed: int = 0
) -> torch.Tensor:
    """The `sign_changes` that hiding a part brings about in each face, (faces, features).

    `part` is "left eye", "right eye", "nose", or "random": a place of its own in each face.
    """
    random = np.random.default_rng(seed)
    rows = []
    for one in faces:
        spot = _part_box(random.uniform(_PART_SIDE / 2, 224 - _PART_SIDE / 2, 2))
        box = spot if part == "random" else one.boxes[part]
        rows.append(sign_changes(network, one.image, box, layer))
    return torch.stack(rows)
