"""Lab 14: one picture, one network, one target, and what every method of the course answers."""

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from labsupport.core import images, streams
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, LabError
from labsupport.core.frames import framed
from labsupport.core.images.saving import whole_file
from labsupport.core.network import Network, Prediction, TargetLike
from labsupport.core.network.layers import Target
from labsupport.core.network.operations import Pair
from labsupport.labs.lab02_patches import field_side, region
from labsupport.labs.lab03_weights import tiles
from labsupport.labs.lab07_deconv import gradient_image
from labsupport.labs.lab08_optimization.saliency import map_picture as saliency_picture
from labsupport.labs.lab08_optimization.visualization import class_objective
from labsupport.methods import backprop, codes, dream, fooling, inversion, optimize, saliency
from labsupport.methods.occlusion import occlusion_map
from labsupport.methods.patches import TopPatches, merge, top_patches
from labsupport.methods.weights import filters
from labsupport.ui import declare, figures
from labsupport.ui.mosaics import mosaic_picture
from labsupport.ui.objects import seeds_picture, spotlight
from labsupport.ui.panel import Live

SIDE = 240  # pixels of one answer on the sheet
COLUMNS = 4
_CHUNK = 6  # examples between two frames
_SAME = 1e-5  # two codes that are nearer are one picture's
_NINE = 9


@dataclass(frozen=True)
class Query:
    """What is asked: a target of a network, for an image (1, 3, H, W) of the network's size.

    `examples`, images (1, 3, h, w), are pictures of the kind that the network was trained on.
    """

    network: Network
    image: torch.Tensor
    target: Target
    examples: Sequence[torch.Tensor]

    @property
    def layer(self) -> str:
        """The target's layer; for a class the layer whose activations are the code."""
        return self.target.layer or codes.code_layer(self.network)

    @property
    def title(self) -> str:
        """That layer's name on the slides."""
        return self.network.layer(self.layer).title

    @property
    def maps(self) -> str:
        """That layer, or, if it has no maps, the last before it that does, as on the slides."""
        layers = [one.title for one in self.network.layers if len(one.shape) == 3]
        return self.title if self.title in layers or not layers else layers[-1]

    @property
    def what(self) -> TargetLike:
        """The target as the methods take it."""
        if self.target.layer is None:
            return self.target.index
        return (self.target.layer, self.target.index)

    @property
    def best(self) -> Prediction:
        """What the network says about the image."""
        return self.network.predict(self.image, k=1)[0][0]

    def chunks(self) -> Iterator[tuple[int, Sequence[torch.Tensor]]]:
        """A few examples at a time, each with the number of the first of them."""
        for first in range(0, len(self.examples), _CHUNK):
            yield first, self.examples[first : first + _CHUNK]


@dataclass(frozen=True)
class Answer:
    """What one method says so far: a picture, words, and the settings that made it.

    A method that cannot answer has no picture, and says why.
    """

    title: str
    lab: str
    words: str
    picture: Image.Image | None
    settings: Mapping[str, str]


@dataclass(frozen=True)
class AnswerSheet:
    """The answers so far, in the order of the labs; `progress` is the share of the methods."""

    query: Query
    answers: tuple[Answer, ...]
    progress: float


# The pictures that a network knows


_DIGITS = tuple("0123456789")
_MOST = 240  # examples


def examples_for(network: Network) -> Sequence[torch.Tensor]:
    """Pictures of the kind that the network was trained on: those that it was registered with;
    else bundled ones, digits or photographs."""
    own = networks.examples_of(network)
    if own is not None:
        numbers = range(min(_MOST, streams.count_of(own)))
        some = [streams.image_of(own, number) for number in numbers]
        return [codes.fitted(one, network.input_size) for one in some]
    if network.categories == _DIGITS:
        return [one[None] for one in images.digits("test").images[:_MOST]]
    return _photos(network.input_size)


@cache
def _photos(size: Pair) -> Sequence[torch.Tensor]:
    """Every other photo: enough for a first answer, and read in a second."""
    return [codes.fitted(one.image, size) for one in images.photos()[::2]]


# One method after the other. Each gives what it has so far: a picture, words, settings.

Reply = tuple[Image.Image, str, Mapping[str, str]]


def _the_picture(query: Query) -> Iterator[Reply]:
    best = query.best
    words = f"{best.name}, {figures.per_cent(best.probability)}"
    yield figures.fitted(query.image, SIDE), f"What is asked about. The network says {words}.", {}


def _patches(query: Query) -> Iterator[Reply]:
    """The pictures, or the parts of pictures, that the target likes best."""
    ranked: list[tuple[float, int]] = []
    best: TopPatches | None = None
    count = len(query.examples)
    for first, few in query.chunks():
        if query.target.layer is None:
            scores = query.network(torch.cat(list(few)))[:, query.target.index].tolist()
            ranked += [(score, first + place) for place, score in enumerate(scores)]
            numbers = [number for _, number in sorted(ranked, reverse=True)[:_NINE]]
            shown = [figures.fitted(query.examples[number], SIDE // 3) for number in numbers]
            kind = "The pictures with the highest score"
        else:
            unit = [query.target.index]
            more = top_patches(query.network, query.layer, few, channels=unit, suppress="picture")
            best = more if best is None else merge(best, more.shifted(first))
            shown = _regions(query, best)
            kind = "The parts that it answers to most"
        words = f"{kind}, of {first + len(few)} pictures."
        yield figures.mosaic(shown, columns=3, gap=2), words, {"pictures": str(count)}


def _regions(query: Query, best: TopPatches) -> list[Image.Image]:
    side = field_side(query.network, query.layer, max(query.network.input_size))
    parts = []
    for number, box in zip(best.images[0].tolist(), best.boxes[0].tolist(), strict=True):
        if number >= 0:
            left, top, right, bottom = box
            example, seen = query.examples[number], (left, top, right, bottom)
            picture = region(example, seen, side, tile=SIDE // 3)
            parts.append(figures.centred(picture, SIDE // 3))
    return parts


def _filters(query: Query) -> Iterator[Reply]:
    first = filters(query.network)
    picture = tiles(first.weights[:64], columns=8 if len(first.weights) > 16 else 4)
    yield picture, f"The first layer, whatever is asked. {first.words}", {"layer": first.layer}


def _neighbours(query: Query) -> Iterator[Reply]:
    layer = codes.code_layer(query.network)
    rows = [codes.codes(query.network, query.image, layer)]
    for _, few in query.chunks():
        rows.append(codes.codes(query.network, torch.cat(list(few)), layer))
        known = torch.cat(rows)
        near = codes.neighbours(known, 0, k=min(_NINE + 1, len(known) - 1))
        pairs = zip(near.numbers, near.distances, strict=True)
        # the picture itself may be one of the examples
        numbers = [number - 1 for number, far in pairs if far > _SAME][:_NINE]
        shown = [figures.fitted(query.examples[number], SIDE // 3) for number in numbers]
        words = f"The nearest of {len(known) - 1} pictures by their codes."
        settings = {"layer": layer, "distance": "1 minus the cosine"}
        yield figures.mosaic(shown, columns=3, gap=2), words, settings


def _occlusion(query: Query) -> Iterator[Reply]:
    side = max(2, query.network.input_size[0] // 7)
    stride = max(1, side // 2)
    unit = query.target.layer is not None
    view = f"activity:{query.layer}:{query.target.index}" if unit else "score"
    class_ = query.best.index if unit else query.target.index
    for occluded in occlusion_map.frames(
        query.network, query.image, class_, window=side, stride=stride, views=[view]
    ):
        change = occluded.pixels(view) - occluded.clean[view]
        larger = images.resize(query.image, (SIDE, SIDE))
        picture = figures.overlay(larger, change, colours="signed", fade=True, bar=False)
        settings = {"window": f"{side} px", "stride": f"{stride} px"}
        yield picture, "Blue: what it needs. Red: what stands in its way.", settings


def _activations(query: Query) -> Iterator[Reply]:
    maps = query.network.activations(query.image, [query.maps])[query.maps][0]
    maps = maps.reshape(*maps.shape, *[1] * (3 - maps.ndim))
    if query.target.layer:
        unit, which = query.target.index, "the one that is asked about is framed"
    else:
        unit, which = int(maps.mean((1, 2)).argmax()), "the strongest is framed"
    words = f"All {len(maps)} maps of {query.maps}; {which}: {unit}."
    yield mosaic_picture(maps, unit), words, {"layer": query.maps}


def _rules(query: Query) -> Iterator[Reply]:
    try:
        by_rule = backprop.gradients(query.network, query.image, query.what)
    except BadSetting as error:  # without a ReLU there is one rule
        plain = backprop.gradient(query.network, query.image, query.what)
        shown = [query.image, gradient_image(plain.values[0])]
        yield figures.mosaic(shown, columns=2, gap=2), f"The gradient alone: {error}", {}
        return
    shown = [gradient_image(one.values[0]) for one in by_rule.values()]
    picture = figures.mosaic([query.image, *shown], columns=2, gap=2)
    yield picture, f"The picture, and back to it by {', '.join(by_rule)}.", {}


def _saliency(query: Query) -> Iterator[Reply]:
    map_ = saliency.saliency_map(query.network, query.image, query.what, samples=8)[0]
    settings = {"SmoothGrad": "8 copies"}
    yield saliency_picture(map_), "Which pixels matter.", settings
    cut = saliency.segment(query.image, map_)
    lit = figures.boxes(spotlight(query.image, cut.mask), [cut.box])
    seeds = seeds_picture(query.image, cut.seeds)
    four: list[Any] = [saliency_picture(map_), seeds, cut.mask.float(), lit]
    words = "Which pixels matter; what GrabCut starts from, and what it cuts out."
    yield figures.mosaic(four, columns=2, gap=2), words, settings


def _optimized(query: Query) -> Iterator[Reply]:
    goal = class_objective(query.target.index) if query.target.layer is None else query.what
    steps = 40
    for frame in optimize.visualize.frames(query.network, goal, steps=steps):
        words = f"Step {frame.step} of {steps}: what it would like to see."
        settings = {"steps": str(steps), "recipe": optimize.CLEAR.name}
        yield figures.fitted(frame.image, SIDE), words, settings


def _reconstruction(query: Query) -> Iterator[Reply]:
    code = inversion.encode(query.network, query.image, query.layer)
    steps = 48
    for frame in inversion.invert.frames(query.network, code, steps=steps, every=3):
        words = (
            f"Step {frame.step} of {steps}: a picture with nearly the same code at {query.layer}, "
            f"{-float(frame.score):.2f} away."
        )
        yield figures.fitted(frame.image, SIDE), words, {"layer": query.layer}


def _dream(query: Query) -> Iterator[Reply]:
    octaves = 1 if _small(query) else 2
    recipe = replace(dream.VIVID, octaves=octaves, iterations=8, jitter=2 if octaves == 1 else 32)
    for frame in dream.dream.frames(query.network, query.image, query.maps, recipe=recipe):
        words = f"More of whatever {query.maps} sees."
        settings = {"layer": query.maps, "octaves": str(octaves), "iterations": "8"}
        yield figures.fitted(frame.image, SIDE), words, settings


def _twin(query: Query) -> Iterator[Reply]:
    # 64 of 255 are Goodfellow's 0.25 for digits; on a photograph nobody sees 4
    most = 64 if query.network.categories == _DIGITS else 4
    for step in fooling.pgd.frames(query.network, query.image, eps=most / 255, steps=20):
        now = query.network.predict(step.result.images, k=1)[0][0]
        words = (
            f"No pixel differs by more than {most} of 255, and the network says {now.name} "
            f"({figures.per_cent(now.probability)})."
        )
        yield figures.fitted(step.result.images, SIDE), words, {"eps": f"{most}/255", "steps": "20"}


def _small(query: Query) -> bool:
    return max(query.image.shape[2:]) < 64


@dataclass(frozen=True)
class Method:
    """A row of the course: what it is called, its lab, what it is asked, and how it answers."""

    title: str
    lab: str
    question: str
    answer: Callable[[Query], Iterator[Reply]]


METHODS = (
    Method("the picture", "00_start_here", "What is in it?", _the_picture),
    Method("top patches", "02_patches", "Which pictures does it respond to most?", _patches),
    Method("filters", "03_weights", "What does the first layer look for?", _filters),
    Method(
        "neighbors", "04_representation", "Which pictures have nearly the same code?", _neighbours
    ),
    Method("occlusion", "05_occlusion", "Which part must not be hidden?", _occlusion),
    Method("activations", "06_activations", "Which channels respond, and where?", _activations),
    Method("three rules", "07_deconv", "Where does each rule lead back to?", _rules),
    Method("saliency, cut out", "08_optimization", "Which pixels does it depend on?", _saliency),
    Method("optimized picture", "08_optimization", "Which picture raises it most?", _optimized),
    Method(
        "reconstruction",
        "09_reconstruction",
        "How much of the picture is still in its code?",
        _reconstruction,
    ),
    Method("dream", "10_deepdream", "What does the network see in it, made stronger?", _dream),
    Method("adversarial twin", "12_fooling", "How small a change fools the network?", _twin),
)


@framed
def ask(
    network: Network,
    image: torch.Tensor,
    target: TargetLike | None = None,
    *,
    examples: Sequence[torch.Tensor] | None = None,
    methods: Sequence[Method] = METHODS,
) -> Iterator[AnswerSheet]:
    """Ask every method about a target of a network, for an image (1, 3, H, W) of any size.

    `target` is a class or (layer, channel); None is `declare.own_answer`. `examples`
    are images of the kind that it was trained on (`examples_for`, if they are not given). The
    frames come after each method, and some on the way; what one method cannot do, it says in words.

    Errors: `BadImage`, `UnknownClass`, `UnknownLayer`.
    """
    fitting = codes.fitted(image, network.input_size)
    network.check(fitting)
    chosen = declare.own_answer(network, fitting) if target is None else target
    known = examples_for(network) if examples is None else examples
    return _sheets(Query(network, fitting, network.target(chosen), known), methods)


def _sheets(query: Query, methods: Sequence[Method]) -> Iterator[AnswerSheet]:
    done: tuple[Answer, ...] = ()
    for place, method in enumerate(methods):
        last = None
        for last in _answers(query, method):
            yield AnswerSheet(query, (*done, last), place / len(methods))
        if last is not None:
            done = (*done, last)
        yield AnswerSheet(query, done, (place + 1) / len(methods))


def _answers(query: Query, method: Method) -> Iterator[Answer]:
    settings = {"network": query.network.name, "target": query.target.title}
    try:
        for picture, words, more in method.answer(query):
            yield Answer(method.title, method.lab, words, picture, {**settings, **more})
    except LabError as error:
        yield Answer(method.title, method.lab, f"It cannot say: {error}", None, settings)
    except Exception as error:  # the other methods still answer
        words = f"It failed: {type(error).__name__}: {error}"
        yield Answer(method.title, method.lab, words, None, settings)


# The sheet


def sheet_picture(sheet: AnswerSheet, methods: Sequence[Method] = METHODS) -> Image.Image:
    """All answers in rows; where one is still to come its question stands, and where a method
    cannot answer, the reason."""
    parts = [_tile(one.picture, one.words) for one in sheet.answers]
    parts += [_tile(None, method.question) for method in methods[len(parts) :]]
    titles = [f"{method.title} (lab {method.lab[:2]})" for method in methods]
    return figures.side_by_side(parts, titles, columns=COLUMNS)


def _tile(picture: Image.Image | None, words: str) -> Image.Image:
    """A square with the picture in its middle; with the words, where there is none."""
    return figures.note(words, SIDE) if picture is None else figures.centred(picture, SIDE)


def sheet_words(sheet: AnswerSheet) -> str:
    """What the newest answer is, and what was asked."""
    query, newest = sheet.query, sheet.answers[-1]
    return f"{query.network.name}, {query.target.title}. {newest.title}: {newest.words}"


# The panel


def everything_panel(image: str = "giant_panda", *, network: str = "squeezenet1_1") -> Live:
    """A picture, a network and a target, chosen once, and what every method answers."""

    @declare.live(
        "Every method, one question", draw=lambda one: (sheet_picture(one), sheet_words(one))
    )
    def panel(
        image: torch.Tensor = declare.photo(image),
        network: Network = declare.network_of(network),
        of: str = declare.choice({"a class": "class", "a unit": "unit"}, label="asked is"),
        target: int | None = declare.class_of("network"),
        layer: str = declare.layer_of(
            "network", keep=lambda one: one.kind == "relu" or "pool" in one.kind
        ),
        channel: int = declare.channel_of("layer"),
    ) -> Iterator[AnswerSheet]:
        return ask.frames(network, image, target if of == "class" else (layer, channel))

    return panel()


# The report

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body{{max-width:64rem;margin:2rem auto;padding:0 1.5rem;font:16px/1.55 system-ui,sans-serif}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:1.6rem}}
h2{{font-size:1.05rem;margin:0 0 .4rem}}img{{max-width:100%;height:auto}}
p{{margin:.4rem 0}}small{{color:#5b6470}}</style></head>
<body><h1>{title}</h1><p>{words}</p><main>{parts}</main></body></html>
"""


def report(sheet: AnswerSheet, folder: Path | str) -> tuple[Path, Path]:
    """Write what all methods say into a folder: `report.html`, one page that needs nothing else,
    and `report.png`, the sheet. Both are there at the end, or neither is changed.

    Errors: `BadSetting` where there is no room for them.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    query = sheet.query
    title = f"{query.target.title}, by {query.network.name}"
    words = f"{len(sheet.answers)} answers to one question. Weights: {query.network.source}."
    parts = "".join(map(_part, sheet.answers))
    page = _PAGE.format(title=html.escape(title), words=html.escape(words), parts=parts)
    files = target / "report.html", target / "report.png"
    with whole_file(files[0]) as text, whole_file(files[1]) as picture:
        text.write_bytes(page.encode())
        picture.write_bytes(figures.to_png(sheet_picture(sheet)))
    return files


def _part(answer: Answer) -> str:
    settings = ", ".join(f"{name}: {value}" for name, value in answer.settings.items())
    title, words, picture = html.escape(answer.title), html.escape(answer.words), ""
    if answer.picture is not None:
        content = base64.b64encode(figures.to_png(answer.picture)).decode()
        picture = f'<img alt="{words}" src="data:image/png;base64,{content}">'
    return (
        f"<section><h2>{title}</h2>{picture}<p>{words}</p>"
        f"<small>{html.escape(settings)}; lab {answer.lab[:2]}</small></section>"
    )
