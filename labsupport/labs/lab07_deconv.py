"""Lab 07: gradients as pictures, the three rules side by side, and what units look for."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from labsupport.core import images
from labsupport.core.errors import LabError, one_of
from labsupport.core.frames import Beside
from labsupport.core.network import Network, TargetLike, receptive_box
from labsupport.core.network.layers import Box, Layer
from labsupport.core.network.rules import RULES, relu
from labsupport.core.streams import Images, image_of
from labsupport.labs.lab02_patches import cut_around, field_side
from labsupport.methods import backprop, faithfulness
from labsupport.methods.backprop import Attribution, Gradient, Randomization
from labsupport.methods.faithfulness import PixelCurve
from labsupport.methods.occlusion import fill_image, occlusion_map
from labsupport.methods.patches import TopPatches
from labsupport.ui import declare, figures, ink
from labsupport.ui.control import Control, Step

VIEWS = {
    "colors, zero is gray": "colours",
    "signed, summed over the colors": "signed",
    "magnitude": "magnitude",
}
RULE_WORDS = {
    "backprop": "backprop: (f > 0) R'",
    "deconvnet": "deconvnet: (R' > 0) R'",
    "guided": "guided: both",
}
_CUT = 0.985  # of the pixels that are not zero keep their contrast, the few above are cut off


# A gradient as a picture


def gradient_image(values: torch.Tensor, view: str = "colours") -> torch.Tensor:
    """A gradient (3, H, W) as an image (1, 3, H, W) in [0, 1], on a scale of its own.

    "colours" is how Zeiler and Fergus show reconstructions: nothing is grey, and what stands out
    most has full contrast. "signed" is blue below zero and red above, "magnitude" the largest of
    the three colours without its sign, from black to yellow. The few strongest are cut off.
    """
    strength = _strength(values, view)
    if view == "colours":
        return (0.5 + values / (2 * strength)).clamp(0, 1)[None]
    if view == "signed":
        painted = figures.paint(values.sum(0), colours="signed", limits=(-strength, strength))
    else:
        painted = figures.paint(values.abs().amax(0), colours="magma", limits=(0.0, strength))
    return torch.from_numpy(painted.copy()).permute(2, 0, 1)[None] / 255


def softened(values: torch.Tensor) -> torch.Tensor:
    """A gradient (3, H, W) as an image (1, 3, H, W) whose shapes can be read at a tile's size.

    The three colours of a pixel often have unlike signs, and are neon beside each other: a quarter
    of their difference is kept. The strongest are bent down, so that one of them dims no others.
    """
    grey = values.mean(0, keepdim=True)
    calm = grey + 0.25 * (values - grey)
    sizes = calm.abs().amax(0)
    known = sizes[sizes > 0]
    strength = float(known.quantile(0.97)) if known.numel() else 1.0
    return (0.5 + torch.tanh(calm / strength) / 2)[None]


def _strength(values: torch.Tensor, view: str) -> float:
    """What gets full contrast."""
    one_of(view, VIEWS.values(), "a view")
    numbers = values.sum(0) if view == "signed" else values.abs().amax(0)
    known = numbers.abs()[numbers != 0].numpy()
    return max(float(np.quantile(known, _CUT)), 1e-30) if known.size else 1.0


def rules_picture(
    image: torch.Tensor,
    gradients: Mapping[str, Gradient],
    view: str = "colours",
    *,
    box: Box | None = None,
    zoom: bool = False,
    columns: int | None = None,
) -> Image.Image:
    """An image (1, 3, H, W) and its gradient by each rule in a row, or in rows of `columns`.

    `box` is what the target sees: it is drawn in white, or, with `zoom`, all that is shown.
    """
    left, top, right, bottom = box if box and zoom else (0, 0, image.shape[3], image.shape[2])
    part = (..., slice(top, bottom), slice(left, right))
    shown = figures.boxes(image[part], [box] if box and not zoom else [])
    pictures = [gradient_image(one.values[0][part], view) for one in gradients.values()]
    titles = ["what it sees" if zoom and box else "image", *(RULE_WORDS[r] for r in gradients)]
    return _row([shown, *pictures], titles, columns)


def _row(parts: Sequence[figures.Pixels], titles: list[str], columns: int | None) -> Image.Image:
    """Pictures of one size beside each other, those of a small network enlarged."""
    times = max(1, figures.PLAIN_SIZE // max(figures.enlarge(parts[0], 1).size))
    drawn = [figures.enlarge(part, times) for part in parts]
    return figures.side_by_side(drawn, titles, columns=columns)


# The three rules on numbers


class MatrixBox(Control):
    """Three rows of three numbers to type into; the value is a tensor (3, 3)."""

    def __init__(self, label: str, numbers: Sequence[float]) -> None:
        self._places = [f"{label}, row {row}, column {column}" for row, column in _NINE]
        cell = {"width": "58px"}
        self.cells = [
            widgets.FloatText(value=number, description="", layout=cell, tooltip=place)
            for number, place in zip(numbers, self._places, strict=True)
        ]
        lines = [widgets.HBox(self.cells[first : first + 3]) for first in (0, 3, 6)]
        all_nine = widgets.ValueWidget(value=tuple(numbers))
        shown = widgets.VBox([widgets.Label(value=label), *lines])
        super().__init__(all_nine, shown=shown, words=label)
        for one in self.cells:
            one.observe(self._typed, "value")

    @property
    def value(self) -> torch.Tensor:
        """The numbers, (3, 3)."""
        return torch.tensor(self.source.value, dtype=torch.float32).reshape(3, 3)

    def steps(self) -> list[Step]:
        """One cell after the other gets another number."""
        return [
            Step(f"{self._places[i]} = {number}", partial(self.cells[i].set_trait, "value", number))
            for i, number in ((0, 7.0), (4, -1.5), (8, 0.0))
        ]

    def put(self, raw: Sequence[float]) -> None:
        """Type a whole matrix, row by row."""
        for one, number in zip(self.cells, raw, strict=True):
            one.value = number

    def _typed(self, _change: Any) -> None:
        self.source.value = tuple(one.value for one in self.cells)


def _matrix(label: str, *numbers: float) -> Any:
    return declare.Declared(lambda name, at, _: MatrixBox(name, at), numbers, label)


_NINE = [(row, column) for row in (1, 2, 3) for column in (1, 2, 3)]
FORWARD = _matrix("f, into the ReLU", 1, -1, 5, 2, -5, -7, -3, 2, 4)
ARRIVES = _matrix("R', from above", -2, 3, -1, 6, -3, 1, 2, -1, 3)


@declare.panel("Three rules for nine numbers", cost="instant")
def matrix_panel(
    f: torch.Tensor = FORWARD, above: torch.Tensor = ARRIVES
) -> tuple[Image.Image, str]:
    """The slide's numbers to change: what comes into a ReLU, what arrives from above, and what
    each rule lets through."""
    passed = {}
    with torch.enable_grad():
        for rule in RULES:
            x = f.clone().requires_grad_(True)
            passed[rule] = torch.autograd.grad(relu(x, rule), x, above)[0]
    up = figures.side_by_side(
        [matrix_picture(f), matrix_picture(f.relu()), matrix_picture(above)],
        ["f", "max(f, 0)", "R', from above"],
        gap=28,
    )
    down = figures.side_by_side(
        [matrix_picture(one, blocked=above != one) for one in passed.values()],
        [RULE_WORDS[rule] for rule in passed],
        gap=28,
    )
    counts = [f"{rule} {int((one != 0).sum())}" for rule, one in passed.items()]
    words = f"Numbers that get through: {', '.join(counts)} of 9. A cross marks what is stopped."
    return figures.side_by_side([up, down], columns=1, gap=20), words


def matrix_picture(numbers: torch.Tensor, blocked: torch.Tensor | None = None) -> Image.Image:
    """A small matrix as squares with their numbers: blue below zero, red above, pale where small.

    A cross marks the cells of `blocked`.
    """
    most = max(float(numbers.abs().max()), 1e-6)
    shades = figures.paint(numbers, colours="signed", limits=(-2 * most, 2 * most))
    words = [[f"{number:g}" for number in row] for row in numbers.tolist()]
    crossed = None if blocked is None else blocked.numpy()
    return figures.matrix(shades, words, cell=56, size=16, crossed=crossed)


# The three rules on a picture


_PLACES = {"its strongest neuron": "strongest", "the whole channel": "channel"}


def _is_shown(layer: Layer) -> bool:
    """Layers with maps that lie after a ReLU: they see more than their own filters do."""
    return layer.has_map and layer.kind in ("relu", "relu6", "concat", "add", "max_pool")


_UnitGradients = tuple[torch.Tensor, Mapping[str, Gradient], Box | None]  # an image's, and its box


def _unit_gradients(
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire8", keep=_is_shown),
    channel: int = declare.channel_of("layer", 491),
    where: str = declare.choice(_PLACES, label="neuron"),
) -> _UnitGradients:
    seen = images.standard(image, network.input_size[0])
    if where == "channel" or not network.layer(layer).has_map:
        return seen, backprop.gradients(network, seen, (layer, channel)), None
    place = strongest(network, seen, layer, channel)
    gradients = backprop.gradients(network, seen, (layer, channel, place))
    return seen, gradients, receptive_box(network, layer, place, (seen.shape[2], seen.shape[3]))


def strongest(network: Network, image: torch.Tensor, layer: str, channel: int) -> tuple[int, int]:
    """Where in its map (row, column) a channel answers most to an image (1, 3, H, W)."""
    map_ = network.activations(image, [layer])[layer][0, channel]
    row, column = divmod(int(map_.argmax()), map_.shape[1])
    return row, column


@declare.panel("Any neuron", compute=_unit_gradients, cost="quick")
def rules_panel(
    unit: _UnitGradients,
    view: str = declare.choice(VIEWS),
    zoom: bool = declare.toggle(label="only what the neuron sees"),
) -> tuple[Image.Image, str]:
    """Any neuron of any layer, in any picture: its gradient by the three rules, from one forward
    pass."""
    image, gradients, box = unit
    picture = rules_picture(image, gradients, view, box=box, zoom=zoom, columns=2)
    first = gradients[RULES[0]]
    target, answer = first.targets[0], float(first.scores[0])
    if not bool(first.values.any()):
        return picture, f"{target}: it answers {answer:.2f}, and no pixel can change that."
    shares = [f"{rule} {half_share(one.values[0]):.1%}" for rule, one in gradients.items()]
    return picture, (
        f"{target}: it answers {answer:.2f}. Half of the gradient lies in these shares of the "
        f"pixels: {', '.join(shares)}. It passes {ink.counted(first.relus, 'ReLU')}."
    )


def half_share(values: torch.Tensor) -> float:
    """The smallest share of the pixels that holds half of the magnitude of a gradient (3, H, W)."""
    sizes = values.abs().amax(0).flatten().sort(descending=True).values
    return (int((sizes.cumsum(0) < sizes.sum() / 2).sum()) + 1) / sizes.numel()


# What units look for


def unit_gradients(
    network: Network, patches: TopPatches, shown: Images, unit: int, *, rule: str, count: int = 9
) -> Gradient:
    """For each of a unit's `count` top patches the gradient of the neuron that sees it."""
    row = patches.row(unit)
    numbers = [int(n) for n in patches.images[row, :count] if int(n) >= 0]
    batch = torch.cat([image_of(shown, number) for number in numbers])
    places = patches.positions[row, : len(numbers)].tolist()
    targets: list[Any] = [(patches.layer, unit, (int(r), int(c))) for r, c in places]
    return backprop.gradient(network, batch, targets, rule=rule)


def pattern_rows(
    network: Network,
    patches: TopPatches,
    shown: Images,
    units: Sequence[int],
    *,
    rule: str,
    count: int = 5,
    tile: int = 100,
) -> Image.Image:
    """Zeiler and Fergus' figure, or Springenberg's, by rule "deconvnet" or "guided": for each unit
    a row with the gradients of its top patches, and beside them the crops that they belong to.

    Tiles are about `tile` pixels wide. A field that is smaller is enlarged by a whole number, and
    its rim left out where that would be too much.
    """
    field = field_side(network, patches.layer)
    times = max(1, math.ceil(0.96 * tile / field))
    side = min(field, tile // times) if times > 1 else field
    tiles: list[torch.Tensor] = []
    for unit in units:
        gradients = unit_gradients(network, patches, shown, unit, rule=rule, count=count)
        row, draw = patches.row(unit), softened if rule == "deconvnet" else gradient_image
        boxes = patches.boxes[row, : len(gradients.values)].tolist()
        tiles += [
            draw(_cut(values[None], box, side, tile)[0])
            for values, box in zip(gradients.values, boxes, strict=True)
        ]
        tiles += [
            _cut(image_of(shown, int(number)), box, side, tile).clamp(0, 1)
            for number, box in zip(patches.images[row], boxes, strict=False)
        ]
    names = [f"unit {unit}" for unit in units]
    return figures.mosaic(tiles, columns=len(tiles) // len(units), enlarge=times, rows=names)


def _cut(pixels: torch.Tensor, box: Box, side: int, most: int) -> torch.Tensor:
    """The square of `side` pixels around a box, moved into the image; `most` pixels wide.

    Both an image and its gradient are cut so; the gradient is averaged before it gets its
    contrast, which calms it.
    """
    cut, _ = cut_around(pixels, box, side)
    size = cut.shape[2:]
    if max(size) <= most:
        return cut
    shape = [max(1, round(length * most / max(size))) for length in size]
    return functional.interpolate(cut, shape, mode="bilinear", antialias=True)


GREY_WORDS = (
    ("light: more light here would raise the unit", (225, 225, 225)),
    ("dark: less light would", (60, 60, 60)),
    ("middle gray: nothing changes", (128, 128, 128)),
)


def zeiler_figure(
    network: Network,
    tops: Mapping[str, TopPatches],
    shown: Images,
    units: Mapping[str, Sequence[int]],
) -> Image.Image:
    """Zeiler and Fergus' figure 2: the units of each layer, from the first to the last, with what
    the shades mean below."""
    rows = [
        pattern_rows(network, tops[layer], shown, numbers, rule="deconvnet")
        for layer, numbers in units.items()
    ]
    titles = [f"layer {depth} ({layer})" for depth, layer in enumerate(units, start=1)]
    return figures.side_by_side(
        [*rows, figures.legend(GREY_WORDS, row=True)], [*titles, ""], columns=1, gap=10
    )


# Integrated gradients


BASELINES = {"black": "black", "the mean color": "mean", "white": "white", "a blur": "blur"}


def _integrate(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = declare.class_of("network"),
    baseline: str = declare.choice(BASELINES),
    steps: int = declare.whole(16, 4, 64, step=4, label="steps at first"),
) -> tuple[torch.Tensor, Gradient, Attribution]:
    seen, chosen = declare.seen_and_class(image, network, target)
    plain = backprop.gradient(network, seen, chosen)
    how: dict[str, Any] = {"baseline": baseline, "steps": steps}
    return seen, plain, backprop.integrated_gradients(network, seen, chosen, **how)


@declare.panel("Integrated gradients", compute=_integrate, cost="slow")
def integrated_panel(
    done: tuple[torch.Tensor, Gradient, Attribution], view: str = declare.choice(VIEWS, "signed")
) -> tuple[Image.Image, str]:
    """What each pixel adds on the way from a baseline to the picture, and the check that it adds
    up."""
    image, plain, attribution = done
    pictures = [gradient_image(one.values[0], view) for one in (plain, attribution)]
    titles = ["image", "gradient", "integrated gradients"]
    return _row([image, *pictures], titles, None), attribution_words(attribution)


def attribution_words(attribution: Attribution) -> str:
    """The completeness check of one image in a sentence."""
    start, end = float(attribution.start[0]), float(attribution.end[0])
    added, error = float(attribution.values[0].sum()), float(attribution.error[0])
    return (
        f"{attribution.targets[0]}: {start:.2f} at the baseline, {end:.2f} at the image. What the "
        f"pixels add comes to {added:.2f}, and should to {end - start:.2f}: an error of "
        f"{error:.1%} with {int(attribution.steps[0])} gradients."
    )


# Random layers


@dataclass(frozen=True)
class CascadeView(Beside[Randomization]):
    """A step of a cascade, and the steps so far, of `total` and the learned network."""

    steps: tuple[Randomization, ...]
    total: int


def _draw_cascade(
    shown: CascadeView,
    share: float = declare.real(1.0, 0.0, 1.0, step=0.02, label="layers that are random"),
    view: str = declare.choice(VIEWS, "magnitude"),
    measure: str = declare.choice(
        {"rank correlation": "rank_correlation", "structure (SSIM)": "ssim"}
    ),
) -> tuple[Image.Image, str]:
    learned, step = (
        shown.steps[0],
        shown.steps[min(round(share * shown.total), len(shown.steps) - 1)],
    )
    drawn = [
        figures.mosaic(gradient_image(one.values[0], view), gap=0)
        for side in (learned, step)
        for one in side.gradients.values()
    ]
    rules = list(step.gradients)
    now = ink.counted(step.count, "random layer")
    titles = [*(f"{rule}, learned" for rule in rules), *(f"{rule}, {now}" for rule in rules)]
    strips = similarity_strips(shown, measure, step)
    picture = figures.side_by_side([_row(drawn, titles, len(rules)), strips], columns=1)
    said = ", ".join(f"{rule} {value:.2f}" for rule, value in getattr(step, measure).items())
    where = f"Random down to {step.layer}, {now}" if step.layer else "As learned"
    return picture, f"{where}. How like the learned network's: {said}."


@declare.live("Forgetting from the top", draw=_draw_cascade, autostart=False)
def cascade_panel(
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    target: int | None = declare.class_of("network"),
    seed: int = declare.seed(),
) -> Iterator[CascadeView]:
    """A network forgets its layers one by one from the top: what becomes of the gradients?

    They are those of the score before any last ReLU.
    """
    seen, chosen = declare.seen_and_class(image, network, target)
    layers = backprop.weighted_layers(network)
    # SqueezeNet's last ReLU may never open with random weights: then there is no gradient at all
    unit = (layers[0], chosen) if isinstance(chosen, int) else chosen
    steps: tuple[Randomization, ...] = ()
    for step in backprop.cascading_randomization.frames(network, seen, unit, seed=seed):
        steps = (*steps, step)
        yield CascadeView(step, steps, len(layers))


def similarity_strips(shown: CascadeView, measure: str, step: Randomization) -> Image.Image:
    """For each rule a strip with a field for each number of random layers: yellow where the
    picture is that of the learned network, dark where nothing of it is left, grey where it is not
    known yet. Beside it stands the number of one step.

    Drawn in a few milliseconds, so that the panel answers while it works.
    """
    numbers = getattr(step, measure)
    fields = np.full((len(numbers), 1, shown.total + 1), np.nan)
    for place, one in enumerate(shown.steps):
        fields[:, 0, place] = list(getattr(one, measure).values())
    return figures.mosaic(
        [figures.paint(row, limits=(0.0, 1.0)) for row in fields],
        columns=1,
        gap=4,
        enlarge=23,
        rows=[f"{rule} {value:.2f}" for rule, value in numbers.items()],
    )


# Which map to believe


def maps_of(
    network: Network, image: torch.Tensor, target: TargetLike
) -> dict[str, Callable[[], torch.Tensor]]:
    """How each method makes its map (H, W) of an image (1, 3, H, W), the quickest first, and two
    controls. High is what speaks for the target: a gradient's largest colour without its sign, what
    integrated gradients add, what the score loses where a window hides the image."""
    size = (image.shape[2], image.shape[3])
    side = max(1, min(size) // 7)  # 32 of 224 pixels
    asked = (network, image, target)

    def strongest_colour(gradient: Gradient) -> torch.Tensor:
        return gradient.values[0].abs().amax(0)

    def occluded() -> torch.Tensor:
        hidden = occlusion_map(*asked, window=side, stride=max(1, side // 4))
        return hidden.clean["score"] - hidden.pixels("score")

    controls = faithfulness.controls(size)
    return {
        "gradient": lambda: strongest_colour(backprop.gradient(*asked)),
        "guided": lambda: strongest_colour(backprop.gradient(*asked, rule="guided")),
        "SmoothGrad": lambda: strongest_colour(backprop.smooth_gradient(*asked)),
        "integrated": lambda: backprop.integrated_gradients(*asked).values[0].sum(0),
        "occlusion": occluded,
        "Grad-CAM": lambda: backprop.grad_cam(*asked).values[0],
        "random": lambda: controls["random"],
        "the center": lambda: controls["centre"],
    }


@dataclass(frozen=True)
class JudgedMaps:
    """The maps (H, W) of an image so far, and the curves of those that are judged, by their way
    ("deletion", "insertion") and their name.

    `names` has all maps that are wanted, `refused` those that there are not, and why. `fills` has
    the image that stands for pixels that are not there, by the way; `view` is what the curves are
    of.
    """

    image: torch.Tensor
    fills: Mapping[str, torch.Tensor]
    view: str
    names: tuple[str, ...]
    maps: Mapping[str, torch.Tensor] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, PixelCurve]] = field(
        default_factory=lambda: {way: {} for way in faithfulness.WAYS}
    )
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """The share that is done, 0 to 1: each map, and both of its curves."""
        done = len(self.maps) + sum(map(len, self.curves.values()))
        return done / max(3 * (len(self.names) - len(self.refused)), 1)


def judged_maps(
    network: Network, image: torch.Tensor, target: TargetLike, *, steps: int = 16
) -> Iterator[JudgedMaps]:
    """All maps of an image (1, 3, H, W), one after the other, and then both curves of each."""
    fills = {way: fill_image(network, image, fill) for way, fill in faithfulness.WAYS.items()}
    makers = maps_of(network, image, target)
    view = "probability" if network.categories else "score"
    shown = JudgedMaps(image, fills, view, tuple(makers))
    for name, make in makers.items():
        try:
            map_ = images.checked_map(image, make())
            shown = replace(shown, maps={**shown.maps, name: map_})
        except LabError as error:  # a network without a ReLU, or a map that is zero everywhere
            shown = replace(shown, refused={**shown.refused, name: str(error)})
        yield shown
    ask = partial(faithfulness.pixel_curve, network, image, target, steps=steps, view=view)
    for name, map_ in shown.maps.items():
        for way, known in shown.curves.items():
            curves = {**known, name: ask(map_, way=way)}
            shown = replace(shown, curves={**shown.curves, way: curves})
            yield shown


def _draw_judged(
    shown: JudgedMaps,
    show: str = declare.choice(("pictures", "curves")),
    share: float = declare.real(0.1, 0.0, 1.0, step=0.01, label="share of pixels"),
) -> tuple[Image.Image, str]:
    picture = judged_tiles(shown, share) if show == "pictures" else judged_curves(shown)
    missing = [f" There is no map by {name}: {why}." for name, why in shown.refused.items()]
    return picture, areas_in_words(shown) + "".join(missing)


@declare.live("Which map to believe", draw=_draw_judged, autostart=False)
def judge_panel(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    target: int | None = declare.class_of("network"),
) -> Iterator[JudgedMaps]:
    """Six methods' maps, a random one and the center: the pixels that each holds highest are taken
    out of the picture, or brought into a blurred one."""
    return judged_maps(network, *declare.seen_and_class(image, network, target))


def areas_in_words(shown: JudgedMaps) -> str:
    """Which map has the smallest area of deletion, and which the largest of insertion."""
    if not shown.curves["insertion"]:
        return "Press Run: the areas are measured."
    areas = {
        way: {name: curve.area for name, curve in curves.items()}
        for way, curves in shown.curves.items()
    }
    least = min(areas["deletion"], key=areas["deletion"].__getitem__)
    most = max(areas["insertion"], key=areas["insertion"].__getitem__)
    return (
        f"Areas are under the curve of the {shown.view}. Smallest for deletion: {least}, "
        f"{areas['deletion'][least]:.2f}. Largest for insertion: {most}, "
        f"{areas['insertion'][most]:.2f}."
    )


def judged_tiles(shown: JudgedMaps, share: float, *, side: int = 112) -> Image.Image:
    """A column for each map: the map, the image without the share of the pixels that it holds
    highest, and these pixels alone in the blurred image, each below its area."""

    def tiles(make: Callable[[torch.Tensor], torch.Tensor]) -> list[Image.Image]:
        return [
            figures.fitted(make(shown.maps[name]), side)
            if name in shown.maps
            else figures.blank(side, side)
            for name in shown.names
        ]

    drawn = tiles(lambda map_: gradient_image(map_.clamp(min=0)[None], "magnitude"))
    titles = list(shown.names)
    for way, curves in shown.curves.items():
        pair = (shown.image.cpu(), shown.fills[way].cpu())
        before, after = pair if way == "deletion" else pair[::-1]
        drawn += tiles(partial(faithfulness.exchanged, before, after, share=share))
        titles += [f"area {curves[n].area:.2f}" if n in curves else "" for n in shown.names]
    rows = ["map", *shown.curves]
    return figures.mosaic(drawn, columns=len(shown.names), titles=titles, rows=rows)


def judged_curves(shown: JudgedMaps) -> Image.Image:
    """The probability, or the score, while pixels are taken out and while they are brought in."""
    if not shown.curves["insertion"]:
        return figures.note("no curve yet", figures.PLAIN_SIZE)
    pictures = []
    for curves in shown.curves.values():
        lines = {name: (one.fractions, one.values) for name, one in curves.items()}
        across, size = "share of the pixels", (460, 340)
        pictures.append(figures.curve(lines, across=across, up=shown.view, size=size))
    return figures.side_by_side(pictures, list(shown.curves))
