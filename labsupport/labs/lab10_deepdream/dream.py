"""Lab 10: dreams that are watched while they form, contact sheets, and the feedback loop."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from labsupport.core import bundled, images
from labsupport.core.errors import BadSetting
from labsupport.core.frames import Series, in_turn
from labsupport.core.images import ImageSet, Picture
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.methods import dream
from labsupport.methods.dream import CLASSIC, VIVID, DreamFrame, DreamRecipe, Feedback
from labsupport.ui import declare, figures, ink
from labsupport.ui.controls import block_ends

DOGS = range(151, 269)  # ImageNet's breeds, Chihuahua to Mexican hairless
GRADIENT = declare.choice({"as it is (2015)": "2015", "in bands (vivid)": "vivid"})
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


def kept(name: str) -> torch.Tensor:
    """A picture (1, 3, H, W) that comes with the workbook, such as "dreams/china" or "style/grid":
    what takes minutes was made before, by the recipe in `data/build`. Errors: `DamagedData`."""
    return images.load(bundled.path(f"{name}.webp"))


def has_map(layer: Layer) -> bool:
    """Whether a layer can be dreamed of: it has more than one position."""
    wide = layer.has_map and layer.shape[1] > 1
    return wide and layer.kind not in ("dropout", "identity", "normalize")


# One dream, live


def recipe_of(gradient: str = "2015", *, strength: float = 1.5, **how: Any) -> DreamRecipe:
    """What the controls of a panel say, as a recipe; `strength` is the step, of 255, and `how` has
    the recipe's other numbers."""
    plain = _RECIPES[gradient].optimizer
    optimizer = replace(plain, learning_rate=strength / 255)  # type: ignore[type-var]
    return DreamRecipe(gradient, optimizer=optimizer, **how)


def _draw_dream(frame: DreamFrame, network: Network) -> tuple[Image.Image, str]:
    words = _so_far(frame)
    if frame.step == frame.steps and network.categories:  # before, it would hold the dream up
        side = declare.side_for(network, min(frame.size))
        seen = frame.image if side == min(frame.size) else images.standard(frame.image, side)
        first = network.predict(seen, k=1)[0][0]
        words += f" The network says: {first.name}, {figures.per_cent(first.probability)}."
        words += "" if seen is frame.image else f" (It sees {side} x {side} pixels of it.)"
    return figures.enlarge(frame.image, 2 if frame.image.shape[3] <= 256 else 1), words


def _so_far(frame: DreamFrame) -> str:
    height, width = frame.size
    first = float(frame.first_value)
    raised = float(frame.value) / first if first > 0 else 1.0
    return (
        f"Octave {frame.octave} of {frame.octaves} ({width} x {height} pixels), "
        f"step {frame.step} of {frame.steps}. What is raised is {raised:.1f} times what it was "
        "early in this octave."
    )


RECIPE = declare.together(
    gradient=GRADIENT,
    octaves=declare.whole(4, 1, 5),
    scale=declare.real(1.4, 1.2, 2.0, step=0.1),
    iterations=declare.whole(10, 2, 40),
    strength=declare.real(1.5, 0.5, 4.0, step=0.25, unit="of 255", label="step"),
    jitter=declare.whole(32, 0, 64, step=4, unit="px"),
)


@declare.live("Dream", draw=_draw_dream)
def dream_panel(
    image: torch.Tensor = declare.photo("china", pictures, square=False),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire7", keep=has_map),
    second: str = declare.layer_of("network", "fire4", keep=has_map, label="mixed with"),
    share: float = declare.real(0.0, 0.0, 1.0, step=0.1, label="share of the second layer"),
    how: Mapping[str, Any] = RECIPE,
    side: int = declare.whole(480, 240, 640, step=80, unit="px", label="longer side"),
    seed: int = declare.seed(),
) -> Iterator[DreamFrame]:
    """Any picture, any layer of any network, two layers mixed; frames as they come."""
    picture = fitted(image, side)
    objective: dream.DreamObjective = layer
    if share > 0 and second != layer:
        weights = dream.balanced_weights(network, picture, [layer, second])
        objective = {layer: (1 - share) * weights[layer], second: share * weights[second]}
    return dream.dream.frames(network, picture, objective, recipe=recipe_of(**how), seed=seed)


# Octaves


def octaves_picture(
    network: Network, image: torch.Tensor, layer: str, *, recipe: DreamRecipe = CLASSIC
) -> Image.Image:
    """The octaves from left to right: what each begins with, what it ends as, its detail."""
    frames = dream.dream.frames(network, image, layer, recipe=recipe)
    ends = list({frame.octave: frame for frame in frames}.values())
    copies = [image]
    for end in reversed(ends[:-1]):
        copies.insert(0, dream.resized(copies[0], end.size))
    details = [end.detail for end in ends]
    before = [torch.zeros(1, 3, 1, 1), *details[:-1]]
    begun = [
        copy + dream.resized(detail, end.size)
        for copy, detail, end in zip(copies, before, ends, strict=True)
    ]
    ended = [copy + detail for copy, detail in zip(copies, details, strict=True)]
    sizes = [f"{one.shape[3]} x {one.shape[2]}" for one in copies]
    rows = [
        figures.side_by_side([one.clamp(0, 1) for one in row], sizes)
        for row in (begun, ended, [0.5 + detail for detail in details])
    ]
    titles = [
        "what an octave begins with: the copy and the detail so far",
        "what it ends as, after its steps",
        "the detail that it hands on (zero is gray)",
    ]
    return figures.side_by_side(rows, titles, columns=1)


# Sheets of dreams


def _sheet(
    tiles: Sequence[torch.Tensor], titles: Sequence[str], room: int, values: Sequence[str] = ()
) -> Image.Image:
    """Tiles under their titles, four in a row, with room for so many: those to come are white."""
    missing = room - len(tiles)
    whole = [*tiles, *[torch.ones_like(tiles[0])] * missing]
    blank = [""] * missing
    written = [*values, *blank] if values else None
    return figures.mosaic(whole, titles=[*titles, *blank], values=written, columns=4, gap=8)


def sheet_layers(network: Network, every: bool = False) -> list[str]:
    """The ends of the network's blocks, at most twelve; or every layer that has a map."""
    known = [layer for layer in network.layers if has_map(layer)]
    if not known:
        raise BadSetting(f"{network.name} has no feature maps: choose a network of convolutions")
    if every:
        return [layer.name for layer in known]
    outputs = [layer for layer in known if layer.kind in ("relu", "concat", "add")]
    return [layer.name for layer in block_ends(outputs or known, 12, enough=5)]


def _draw_sheet(
    sheet: Series[DreamFrame], network: Network, image: torch.Tensor, side: int
) -> tuple[Image.Image, str]:
    last, count = sheet.frames[-1], len(sheet.frames)
    tiles = [fitted(image, side), *(frame.image for frame in sheet.frames)]
    names = [network.layer(name).title for name in sheet.names[:count]]
    words = (
        f"{names[-1]}, {count} of {len(sheet.names)} layers; "
        f"{last.steps} iterations on each of {last.octaves} octaves."
    )
    return _sheet(tiles, ["the photograph", *names], len(sheet.names) + 1), words


@declare.live("Contact sheet", draw=_draw_sheet)
def contact_panel(
    image: torch.Tensor = declare.photo("china", pictures, square=False),
    network: Network = declare.network_of(),
    layers: str = declare.choice({"ends of blocks": "ends", "every layer": "every"}),
    how: Mapping[str, Any] = declare.together(
        gradient=GRADIENT,
        iterations=declare.whole(10, 2, 30, step=2),
        octaves=declare.whole(4, 1, 5),
    ),
    side: int = declare.whole(200, 160, 320, step=40, unit="px", label="longer side"),
) -> Iterator[Series[DreamFrame]]:
    """One picture, dreamed on at one layer after the other."""
    picture, recipe = fitted(image, side), recipe_of(**how)
    names = sheet_layers(network, layers == "every")
    return in_turn(names, lambda name: dream.dream.frames(network, picture, name, recipe=recipe))


# The feedback loop


def _draw_feedback(rows: Feedback, network: Network) -> tuple[Image.Image, str]:
    lines = _lines(rows, network)
    ends = [
        f"{name}: at first {figures.per_cent(float(line[0]))}, now "
        f"{figures.per_cent(float(line[-1]))}."
        for name, line in lines.items()
    ]
    words = (
        f"After {len(rows.values) - 1} of {rows.steps} steps, the layer's energy is "
        f"{float(rows.values[-1]):.1f} times the photograph's. {' '.join(ends)}"
    )
    return feedback_picture(rows, lines), words


@declare.live("Feedback loop", draw=_draw_feedback)
def feedback_panel(
    image: torch.Tensor = declare.photo("pont_du_gard"),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire7", keep=has_map),
    gradient: str = GRADIENT,
    steps: int = declare.whole(30, 10, 100, step=10),
) -> Iterator[Feedback]:
    """A dream in one octave, and what the network says after each step."""
    picture = images.standard(image, network.input_size[0])
    return dream.feedback.frames(network, picture, layer, recipe=_RECIPES[gradient], steps=steps)


def _lines(rows: Feedback, network: Network) -> dict[str, torch.Tensor]:
    """The first and the last answer's probabilities by steps, and that of all dogs together; none
    where the network ends before its classes."""
    if not network.categories:
        return {}
    chances, first = rows.probabilities, int(rows.probabilities[0].argmax())
    lines = {network.categories[index]: chances[:, index] for index in (first, rows.last_class)}
    if _knows_dogs(network):
        lines["all dogs together"] = chances[:, DOGS].sum(1)
    return lines


def _knows_dogs(network: Network) -> bool:
    ends = network.categories[DOGS.start : DOGS.stop]
    return len(network.categories) == 1000 and ends[0] == "Chihuahua"


def feedback_picture(rows: Feedback, lines: Mapping[str, torch.Tensor]) -> Image.Image:
    """Four pictures on the way, each with its energy; below them the probabilities by steps, or
    where there are none, the energy."""
    last = len(rows.values) - 1
    places = sorted({round(last * share) for share in (0, 1 / 3, 2 / 3, 1)})
    titles = [
        f"after {ink.counted(place, 'step')}" if place else "the photograph" for place in places
    ]
    values = [f"energy x {float(rows.values[place]):.1f}" for place in places]
    above = _sheet([rows.images[place] for place in places], titles, 4, values)
    below = figures.curve(
        lines or {"energy": rows.values},
        across="step",
        up="probability" if lines else "energy x",
        size=(above.width, 240),
        limits=(0.0, 1.0) if lines else None,
        reach=rows.steps,
    )
    return figures.side_by_side([above, below], columns=1)
