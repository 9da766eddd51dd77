"""Lab 10: dreams that are watched while they form, guided ones, and contact sheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.images import ImageSet, Picture
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.labs.lab05_occlusion import photographs
from labsupport.methods.dream import (
    CLASSIC,
    VIVID,
    DreamFrame,
    DreamLike,
    DreamRecipe,
    Feedback,
    Guided,
    balanced,
    dream,
    dream_frames,
    feedback,
    resized,
)
from labsupport.ui import controls, figures
from labsupport.ui.control import Control
from labsupport.ui.panel import Live

DOGS = range(151, 269)  # ImageNet's breeds, Chihuahua to Mexican hairless
KINDS = {"in bands (vivid)": "vivid", "as it is (2015)": "2015"}
_RECIPES = {recipe.name: recipe for recipe in (CLASSIC, VIVID)}


def pictures() -> ImageSet[Picture]:
    """The bundled photographs and paintings in one menu."""
    return ImageSet([*images.photos(), *images.paintings()], "Photographs and paintings")


def fitted(image: torch.Tensor, side: int) -> torch.Tensor:
    """An image with its longer side so many pixels; it is never enlarged."""
    height, width = image.shape[2:]
    share = min(1.0, side / max(height, width))
    size = (max(1, round(height * share)), max(1, round(width * share)))
    return images.resize(image, size)


def has_map(layer: Layer) -> bool:
    """Whether a layer can be dreamed of: it has more than one position."""
    wide = layer.has_map and layer.shape[1] > 1
    return wide and layer.kind not in ("dropout", "identity", "normalize")


# One dream, live


def dream_panel(image: str = "china", layer: str = "fire7", **starts: Any) -> Live:
    """Any picture, any layer of any network, two layers mixed; frames as they come.

    `starts` sets controls otherwise than by default: gradient ("vivid", "2015"), octaves, scale,
    iterations, strength, jitter, side.
    """
    network = controls.network_menu(names=photographs())
    shown: dict[str, Control] = {
        "image": controls.image_menu(pictures(), image),
        "network": network,
        "layer": controls.layer_menu(network, layer, keep=has_map),
        "second": controls.layer_menu(network, "fire4", keep=has_map, label="mixed with"),
        "share": controls.real("of the second", 0.0, 0.0, 1.0, step=0.1, digits=1),
        **_how(**starts),
        "seed": controls.seed(),
    }
    return Live(_dreaming, shown, draw=_draw_dream, title="Dream", autostart=True)


def _how(**starts: Any) -> dict[str, Control]:
    chosen = {
        "gradient": "vivid",
        "octaves": 4,
        "scale": 1.4,
        "iterations": 10,
        "strength": 1.5,
        "jitter": 32,
        "side": 480,
        **starts,
    }
    return {
        "gradient": controls.choice("gradient", KINDS, chosen["gradient"]),
        "octaves": controls.whole("octaves", chosen["octaves"], 1, 5),
        "scale": controls.real("scale", chosen["scale"], 1.2, 2.0, step=0.1, digits=1),
        "iterations": controls.whole("iterations", chosen["iterations"], 2, 40),
        "strength": controls.real("step", chosen["strength"], 0.5, 4.0, step=0.25, unit="of 255"),
        "jitter": controls.whole("jitter", chosen["jitter"], 0, 64, step=4, unit="px"),
        "side": controls.whole("longer side", chosen["side"], 240, 640, step=80, unit="px"),
    }


def recipe_of(
    gradient: str = "vivid",
    *,
    octaves: int = 4,
    scale: float = 1.4,
    iterations: int = 10,
    strength: float = 1.5,
    jitter: int = 32,
) -> DreamRecipe:
    """What the controls of a panel say, as a recipe; `strength` is the step, of 255."""
    plain = _RECIPES[gradient]
    step = replace(plain.step, rate=strength / 255)  # type: ignore[type-var]
    return DreamRecipe(gradient, iterations, octaves, scale, jitter, step)


@dataclass(frozen=True)
class Dreaming:
    """A frame of a dream, the first value of its octave, and the network that is asked."""

    frame: DreamFrame
    began: float
    network: Network
    guide: torch.Tensor | None = None

    @property
    def progress(self) -> float:
        return self.frame.progress


def _dreaming(
    image: torch.Tensor,
    network: Network,
    layer: str,
    second: str,
    share: float,
    side: int,
    seed: int,
    **how: Any,
) -> Iterator[Dreaming]:
    picture = fitted(image, side)
    what: DreamLike = layer
    if share > 0 and second != layer:
        weights = balanced(network, picture, [layer, second])
        what = {layer: (1 - share) * weights[layer], second: share * weights[second]}
    frames = dream_frames(network, picture, what, recipe=recipe_of(**how), seed=seed)
    yield from _told(frames, network)


def _told(
    frames: Iterator[DreamFrame], network: Network, guide: torch.Tensor | None = None
) -> Iterator[Dreaming]:
    octave, began = 0, 0.0
    for frame in frames:
        if frame.octave != octave:
            octave, began = frame.octave, float(frame.value)
        yield Dreaming(frame, began, network, guide)


def _draw_dream(dreaming: Dreaming) -> tuple[Image.Image, str]:
    image = dreaming.frame.image
    times = 2 if image.shape[3] <= 256 else 1
    return figures.enlarge(image, times), f"{_so_far(dreaming)}{_answer(dreaming)}"


def _so_far(dreaming: Dreaming) -> str:
    frame = dreaming.frame
    height, width = frame.size
    raised = float(frame.value) / dreaming.began if dreaming.began > 0 else 1.0
    return (
        f"Octave {frame.octave} of {frame.octaves} ({width} x {height} pixels), "
        f"step {frame.step} of {frame.steps}. What is raised is {raised:.1f} times what it was "
        "early in this octave."
    )


def _answer(dreaming: Dreaming) -> str:
    """What the network says at an octave's end; in between it would only hold the dream up."""
    if dreaming.frame.step < dreaming.frame.steps:
        return ""
    with torch.no_grad():
        scores = dreaming.network.scores(dreaming.frame.image)
    ((first,),) = dreaming.network.ranking(scores, k=1)
    return f" The network says: {first.name}, {figures.per_cent(first.probability)}."


# Octaves


def octaves_picture(
    network: Network, image: torch.Tensor, what: DreamLike, *, recipe: DreamRecipe = VIVID
) -> Image.Image:
    """The octaves from left to right: what each begins with, what it ends as, its detail."""
    ends: dict[int, DreamFrame] = {
        frame.octave: frame for frame in dream_frames(network, image, what, recipe=recipe)
    }
    copies = [image]
    for end in reversed(list(ends.values())[:-1]):
        copies.insert(0, resized(copies[0], end.size))
    begun, ended, details = [], [], []
    before = torch.zeros(1, 3, 1, 1)
    for copy, end in zip(copies, ends.values(), strict=True):
        begun.append((copy + resized(before, end.size)).clamp(0, 1))
        ended.append((copy + end.detail).clamp(0, 1))
        details.append((0.5 + end.detail).clamp(0, 1))
        before = end.detail
    sizes = [f"{one.shape[3]} x {one.shape[2]}" for one in copies]
    rows = [figures.side_by_side(row, sizes) for row in (begun, ended, details)]
    titles = [
        "what an octave begins with: the copy and the detail so far",
        "what it ends as, after its steps",
        "the detail that it hands on (zero is grey)",
    ]
    return figures.side_by_side(rows, titles, columns=1)


# One recipe beside another


def board(
    network: Network,
    image: torch.Tensor,
    dreams: Mapping[str, tuple[DreamLike, DreamRecipe]],
    *,
    columns: int = 3,
    progress: Callable[[float], object] | None = None,
) -> Image.Image:
    """The same picture dreamed on in several ways, each under its name."""
    tiles = []
    for place, (what, recipe) in enumerate(dreams.values()):
        tiles.append(dream(network, image, what, recipe=recipe).image)
        if progress is not None:
            progress((place + 1) / len(dreams))
    return figures.mosaic(tiles, titles=list(dreams), columns=columns, gap=8)


# The contact sheet


def sheet_layers(network: Network, every: bool = False) -> list[str]:
    """The ends of the network's blocks, at most twelve; or every layer that has a map."""
    known = [layer for layer in network.layers if has_map(layer)]
    if every:
        return [layer.name for layer in known]
    joined = [layer for layer in known if layer.kind in ("relu", "concat", "add")]
    whole = [one for one in joined if "/" not in one.title or one.title.endswith("/output")]
    ends = whole if len(whole) >= 5 else joined or known
    places = torch.linspace(0, len(ends) - 1, min(12, len(ends))).round().int().tolist()
    return [ends[place].name for place in places]


def contact_panel(image: str = "china", *, side: int = 200) -> Live:
    """One picture, dreamed on at one layer after the other."""
    network = controls.network_menu(names=photographs())
    shown: dict[str, Control] = {
        "image": controls.image_menu(pictures(), image),
        "network": network,
        "layers": controls.choice("layers", {"ends of blocks": "ends", "every layer": "every"}),
        "gradient": controls.choice("gradient", KINDS, "vivid"),
        "iterations": controls.whole("iterations", 10, 2, 30, step=2),
        "octaves": controls.whole("octaves", 4, 1, 5),
        "side": controls.whole("longer side", side, 160, 320, step=40, unit="px"),
    }
    return Live(_hung, shown, draw=_draw_sheet, title="Contact sheet", autostart=True)


@dataclass(frozen=True)
class Sheet:
    """A contact sheet on its way: the photograph and the dreams so far, of `count` layers; the last
    one is perhaps unfinished."""

    images: tuple[torch.Tensor, ...]
    names: tuple[str, ...]
    count: int
    share: float  # of the last one
    iterations: int
    octaves: int

    @property
    def progress(self) -> float:
        return (len(self.images) - 2 + self.share) / self.count


def _hung(
    image: torch.Tensor, network: Network, layers: str, side: int, **how: Any
) -> Iterator[Sheet]:
    picture, recipe = fitted(image, side), recipe_of(**how)
    names = sheet_layers(network, layers == "every")
    done: tuple[torch.Tensor, ...] = (picture,)
    for place, name in enumerate(names):
        titles = ("the photograph", *[network.layer(one).title for one in names[: place + 1]])
        for frame in dream_frames(network, picture, name, recipe=recipe):
            hung = (*done, frame.image)
            yield Sheet(hung, titles, len(names), frame.progress, frame.steps, frame.octaves)
        done = hung


def _draw_sheet(sheet: Sheet) -> tuple[Image.Image, str]:
    blank = torch.ones_like(sheet.images[0])
    missing = max(0, sheet.count + 1 - len(sheet.images))
    tiles = [*sheet.images, *[blank] * missing]
    titles = [*sheet.names, *[""] * missing]
    picture = figures.mosaic(tiles, titles=titles, columns=4, gap=8)
    words = (
        f"{sheet.names[-1]}, {len(sheet.images) - 1} of {sheet.count} layers; "
        f"{sheet.iterations} iterations on each of {sheet.octaves} octaves."
    )
    return picture, words


# The feedback loop


def feedback_panel(image: str = "pont_du_gard", layer: str = "fire7") -> Live:
    """A dream in one octave, and what the network says after each step."""
    network = controls.network_menu(names=photographs())
    shown: dict[str, Control] = {
        "image": controls.image_menu(images.photos(), image),
        "network": network,
        "layer": controls.layer_menu(network, layer, keep=has_map),
        "gradient": controls.choice("gradient", KINDS, "vivid"),
        "steps": controls.whole("steps", 30, 10, 100, step=10),
    }
    return Live(_fed_back, shown, draw=_draw_fed_back, title="Feedback loop", autostart=True)


@dataclass(frozen=True)
class Told:
    """A feedback loop so far, and the network that is asked."""

    feedback: Feedback
    network: Network

    @property
    def progress(self) -> float:
        return self.feedback.progress


def _fed_back(
    image: torch.Tensor, network: Network, layer: str, gradient: str, steps: int
) -> Iterator[Told]:
    picture = images.standard(image, network.input_size[0])
    for told in feedback(network, picture, layer, recipe=_RECIPES[gradient], steps=steps):
        yield Told(told, network)


def _draw_fed_back(told: Told) -> tuple[Image.Image, str]:
    picture = feedback_picture(told.feedback, told.network)
    return picture, feedback_words(told.feedback, told.network)


def feedback_words(told: Feedback, network: Network) -> str:
    """The first and the last answer."""
    first, last = int(told.probabilities[0].argmax()), told.winner
    steps = f"{len(told.values) - 1} of {told.steps} steps"
    words = (
        f"At first: {network.categories[first]}, {_chance(told, 0, first)}. "
        f"After {steps}: {network.categories[last]}, {_chance(told, -1, last)} "
        f"(at first {_chance(told, 0, last)}). The layer's energy is {float(told.values[-1]):.1f} "
        "times the photograph's."
    )
    if _knows_dogs(network):
        dogs = told.probabilities[:, DOGS].sum(1)
        ends = [figures.per_cent(float(dogs[place])) for place in (0, -1)]
        words += f" All dogs together: {ends[0]}, then {ends[1]}."
    return words


def _chance(told: Feedback, step: int, index: int) -> str:
    return figures.per_cent(float(told.probabilities[step, index]))


def _knows_dogs(network: Network) -> bool:
    ends = network.categories[DOGS.start : DOGS.stop]
    return len(network.categories) == 1000 and ends[0] == "Chihuahua"


def feedback_picture(told: Feedback, network: Network) -> Image.Image:
    """Four pictures on the way, each with its energy; below them the probabilities by steps."""
    last = len(told.values) - 1
    places = sorted({round(last * share) for share in (0, 1 / 3, 2 / 3, 1)})
    tiles = [told.images[place] for place in places]
    tiles += [torch.ones_like(tiles[0])] * (4 - len(tiles))
    titles = [f"after {place} steps" if place else "the photograph" for place in places]
    titles += [""] * (4 - len(titles))
    values = [f"energy x {float(told.values[place]):.1f}" for place in places]
    values += [""] * (4 - len(values))
    above = figures.mosaic(tiles, titles=titles, values=values, columns=4, gap=8)
    lines = {name: line.tolist() for name, line in _lines(told, network).items()}
    below = figures.curve(
        lines,
        across="step",
        up="probability",
        size=(above.width, 240),
        limits=(0.0, 1.0),
        reach=told.steps,
    )
    return figures.side_by_side([above, below], columns=1)


def _lines(told: Feedback, network: Network) -> dict[str, torch.Tensor]:
    """The first and the last answer's probabilities by steps, and that of all dogs together."""
    chances, first = told.probabilities, int(told.probabilities[0].argmax())
    lines = {network.categories[index]: chances[:, index] for index in (first, told.winner)}
    if _knows_dogs(network):
        lines["all dogs together"] = chances[:, DOGS].sum(1)
    return lines


# Guided dreams


def guided_panel(
    image: str = "china", guide: str = "flower", layer: str = "fire5", **starts: Any
) -> Live:
    """One picture dreamed on with the features of another."""
    network = controls.network_menu(names=photographs())
    shown: dict[str, Control] = {
        "image": controls.image_menu(pictures(), image),
        "guide": controls.image_menu(pictures(), guide, label="guide"),
        "network": network,
        "layer": controls.layer_menu(network, layer, keep=has_map),
        **_how(**{"side": 400, **starts}),
    }
    return Live(_guided, shown, draw=_draw_guided, title="Guided dream", autostart=True)


def _guided(
    image: torch.Tensor,
    guide: torch.Tensor,
    network: Network,
    layer: str,
    side: int,
    **how: Any,
) -> Iterator[Dreaming]:
    small = fitted(guide, 240)
    goal = Guided.by(network, layer, small)
    frames = dream_frames(network, fitted(image, side), goal, recipe=recipe_of(**how))
    yield from _told(frames, network, small)


def _draw_guided(dreaming: Dreaming) -> tuple[Image.Image, str]:
    guide = dreaming.guide if dreaming.guide is not None else dreaming.frame.image
    parts = [figures.enlarge(dreaming.frame.image, 1), figures.enlarge(guide, 1)]
    return figures.side_by_side(parts, ["the dream", "the guide"]), _so_far(dreaming)
