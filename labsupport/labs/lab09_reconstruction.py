"""Lab 09: pictures that come back from codes, live; their figures; HOG as strokes."""

import csv
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.frames import Beside, Series, in_turn
from labsupport.core.images import hog
from labsupport.core.network import Network, Prediction
from labsupport.labs.lab08_optimization.visualization import block_ends, has_channels
from labsupport.methods import inversion
from labsupport.methods.inversion import LOG_PROBABILITIES, Code, Hog, Setting, encode, invert
from labsupport.methods.optimize import LBFGS, Adam, Fourier, Frame, Momentum, Pixels
from labsupport.ui import controls, declare, figures, ink

_KEPT = {
    "the activations of the layer below": "layer",
    "the last pooling layer with a map": "pooling",
    "the 1000 log-probabilities": "scores",
    "HOG, no network at all": "hog",
}
_PARTS = {
    "all of it": "all",
    "5 × 5 positions in the middle": "middle",
    "the first half of its channels": "half",
}
_PARAMETERIZATIONS = {"Fourier coefficients": Fourier(sd=0.1), "pixels": Pixels()}
_OPTIMIZERS = {
    "L-BFGS": LBFGS(0.02),
    "Adam": Adam(0.1, "cosine"),
    "momentum 0.9, as in the paper": Momentum(2.0, schedule=(1.0, 0.3, 0.1)),
}
MEASURES = {
    "normalised": "normalised error",
    "distance": "code distance, relative",
    "pixels": "pixel distance",
}


def code_of(network: Network, image: Tensor, kept: str, layer: str, part: str = "all") -> Code:
    """What is kept of an image: `kept` is "layer", "pooling", "scores" or "hog", `part` is "all",
    "middle" (5 x 5 positions) or "half" (of the channels)."""
    if kept == "hog":
        return encode(network, image, Hog())
    if kept != "layer":
        layer = inversion.last_pooling(network) if kept == "pooling" else LOG_PROBABILITIES
    code = encode(network, image, layer)
    if part == "middle":
        height, width = code.values.shape[2:] if code.values.ndim == 4 else (0, 0)
        return inversion.neighbourhood(code, (height // 2, width // 2))
    if part == "half":
        return inversion.some_channels(code, slice(0, code.values.shape[1] // 2))
    return code


def turned_back(image: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """An image (1, 3, H, W), and what comes back of it from a linear layer of this matrix (D, D)
    with D = 3 H W."""
    layer = torch.nn.Linear(turn.shape[1], turn.shape[0], bias=False)
    layer.weight.data = turn
    size = (image.shape[2], image.shape[3])
    network = networks.wrap(torch.nn.Sequential(torch.nn.Flatten(), layer), input_size=size)
    bare = Setting(tv=0.0, parameterization=Pixels(), optimizer=LBFGS(0.05), steps=100)
    return image, invert(network, encode(network, image, "1"), setting=bare).image


# Live


@dataclass(frozen=True)
class InversionFrame(Beside[Frame]):
    """A frame of an inversion, the image that its code is from, and the distances so far."""

    image: Tensor
    code: Code
    distances: tuple[float, ...]
    seconds: float
    answer: Prediction  # the network's to the image


def _inversion_frames(
    network: Network, image: Tensor, code: Code, setting: Setting, **how: Any
) -> Iterator[InversionFrame]:
    begun = time.perf_counter()
    distances: tuple[float, ...] = ()
    answer = network.predict(image, 1)[0][0]
    for frame in invert.frames(network, code, setting=setting, every=1, **how):
        distances = (*distances, float(-frame.score.mean()))
        seconds = time.perf_counter() - begun
        yield InversionFrame(frame, image, code, distances, seconds, answer)


def _draw_return(now: InversionFrame, network: Network) -> tuple[Image.Image, str]:
    times = max(1, round(288 / max(now.frame.image.shape[2:])))
    pair = [figures.enlarge(one, times) for one in (now.image, now.frame.image)]
    falls = figures.curve(
        {"distance": now.distances},
        across="step",
        up="code distance",
        limits=(1e-3, 10.0),
        reach=max(now.frame.steps, len(now.distances) - 1),
        log=True,
        size=(272, pair[0].height),
    )
    titles = ["the image", "what its code gives back", "how near the code is"]
    words = (
        f"{_kept_words(now, network)}: code distance {figures.per_cent(now.distances[-1])}. "
        f"Pixels are {float(inversion.pixel_distance(now.frame.image, now.image)):.2f} apart. "
        f"{_so_far(now)}\n{_named(now, network)}"
    )
    return figures.side_by_side([*pair, falls], titles), words


def _kept_words(now: InversionFrame, network: Network) -> str:
    layer, pixels = now.code.layer, 3 * now.code.size[0] * now.code.size[1]
    inside = isinstance(layer, str) and layer != LOG_PROBABILITIES
    title = network.layer(str(layer)).title if inside else str(layer)
    return f"{title}, {now.code.numbers:,} numbers for {pixels:,} of the image"


def _so_far(now: InversionFrame) -> str:
    return f"Step {now.frame.step} of {now.frame.steps}, {now.seconds:.1f} s."


def _named(now: InversionFrame, network: Network) -> str:
    wanted, answer = now.answer, network.predict(now.frame.image[:1], 1)[0][0]
    return (
        f"The network names the image {wanted.name} ({figures.per_cent(wanted.probability)}), the "
        f"reconstruction {answer.name} ({figures.per_cent(answer.probability)})."
    )


@declare.live("Back from the code", draw=_draw_return)
def invert_panel(
    image: Tensor = declare.photo("chelsea"),
    network: Network = declare.network_of(),
    kept: str = declare.choice(_KEPT, "layer", label="what is kept"),
    layer: str = declare.layer_of("network", "fire5", keep=has_channels),
    part: str = declare.choice(_PARTS, label="how much of it"),
    prior: Mapping[str, Any] = declare.together(
        tv=declare.logarithmic(3.0, 0.01, 10000, steps=60, label="total variation"),
        alpha=declare.real(0.0, 0.0, 10.0, step=0.5, digits=1, label="alpha-norm"),
    ),
    search: Mapping[str, Any] = declare.together(
        parameterization=declare.choice(list(_PARAMETERIZATIONS)),
        optimizer=declare.choice(list(_OPTIMIZERS)),
        start=declare.choice(["noise", "zeros", "grey", "black"]),
        size=declare.whole(160, 96, 256, step=32, unit="px", label="picture"),
        steps=declare.whole(100, 20, 400, step=20),
        seed=declare.seed(),
    ),
) -> Iterator[InversionFrame]:
    """Any picture, from any layer of any network, from log-probabilities or HOG, or from a part."""
    small = images.standard(image, search["size"])
    code = code_of(network, small, kept, layer, part)
    setting = Setting(
        **prior,
        parameterization=_PARAMETERIZATIONS[search["parameterization"]],
        optimizer=_OPTIMIZERS[search["optimizer"]],
    )
    begin = {name: search[name] for name in ("start", "steps", "seed")}
    return _inversion_frames(network, small, code, setting, **begin)


# The four quadrants


def _draw_four(now: InversionFrame, network: Network) -> tuple[Image.Image, str]:
    found = now.frame.image
    result = inversion.compare(network, found, now.image, now.code)
    words = f"{_kept_words(now, network)}. {comparison_words(result)} {_so_far(now)}"
    pair = [figures.enlarge(now.image, 2), figures.mosaic(found, columns=2, gap=2)]
    picture = figures.side_by_side(pair, ["the image", "four pictures with its code"])
    return picture, f"{words}\n{_named(now, network)}"


@declare.live("All the same to the network", draw=_draw_four)
def quadrants_panel(
    image: Tensor = declare.photo("chelsea"),
    network: Network = declare.network_of(),
    kept: str = declare.choice(_KEPT, "scores", label="what is kept"),
    layer: str = declare.layer_of("network", "fire9", keep=has_channels),
    tv: float = declare.logarithmic(10.0, 0.01, 10000, steps=60, label="total variation"),
    steps: int = declare.whole(80, 20, 400, step=20),
    seed: int = declare.seed(),
) -> Iterator[InversionFrame]:
    """Four pictures of one code at once, each from its own seed."""
    small = images.standard(image, 128)
    code = code_of(network, small, kept, layer)
    setting = replace(inversion.setting_for(network, code), tv=tv)
    seeds = range(seed, seed + 4)
    return _inversion_frames(network, small, code, setting, steps=steps, seed=seeds)


def comparison_words(result: inversion.Comparison) -> str:
    """How near reconstructions are to a code and to each other, in a sentence."""
    apart = result.pixels[~torch.eye(len(result.pixels), dtype=torch.bool)]
    near, far = (figures.per_cent(float(one)) for one in result.to_code.aminmax())
    return (
        f"Their codes are {near} to {far} of its size from the image's; their pixels "
        f"{float(apart.min()):.2f} to {float(apart.max()):.2f} from each other's, where two "
        "unrelated photos are about 0.3 apart."
    )


# Layer after layer


def strips(
    network: Network, image: Tensor, layers: Sequence[str], *, factor: float = 1.0, **how: Any
) -> Iterator[Series[Frame]]:
    """One image from the codes of several layers, one after the other.

    `factor` multiplies each layer's own weight of the total variation; `steps`, `seed` and `every`
    are those of `invert`.
    """

    def run(layer: str) -> Iterator[Frame]:
        code = encode(network, image, layer)
        setting = inversion.setting_for(network, code)
        setting = replace(setting, tv=factor * setting.tv)
        return invert.frames(network, code, setting=setting, **{"every": 1, **how})

    return in_turn(layers, run)


def ends(network: Network, count: int) -> tuple[str, ...]:
    """So many layers evenly from the first to the last map, where blocks and poolings end."""
    kinds = ("relu", "concat", "max_pool")
    maps = [one for one in network.layers if one.kind in kinds and one.has_map]
    return tuple(layer.title for layer in block_ends(maps, count))


def _draw_strip(
    strip: Series[Frame], network: Network, image: Tensor, size: int
) -> tuple[Image.Image, str]:
    original, last = images.standard(image, size), strip.frames[-1]
    layers = strip.names[: len(strip.frames)]
    found = torch.cat([frame.image for frame in strip.frames])
    seen = inversion.recognition(network, found, original.expand_as(found))
    words = [
        f"{layer}: code distance {_distance(frame)}, the image's class has "
        f"{figures.per_cent(float(chance))}"
        + ("" if same else " and is not the first answer any more")
        for layer, frame, chance, same in zip(
            layers, strip.frames, seen.probability, seen.same.tolist(), strict=True
        )
    ]
    words.append(f"{layers[-1]}: {last.progress:.0%} of {last.steps} steps.")
    return strip_picture(original, strip), "\n".join(words)


def _distance(frame: Frame) -> str:
    return figures.per_cent(float(-frame.score))


@declare.live("What a company keeps", draw=_draw_strip)
def strip_panel(
    image: Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    layers: int = declare.whole(7, 3, 10),
    factor: float = declare.logarithmic(1.0, 0.01, 100, steps=40, label="prior times"),
    steps: int = declare.whole(60, 20, 300, step=20),
    size: int = declare.whole(128, 96, 224, step=32, unit="px", label="picture"),
    seed: int = declare.seed(),
) -> Iterator[Series[Frame]]:
    """A company keeps nothing but codes: what each layer's code gives back of any picture."""
    names = (*ends(network, layers - 1), LOG_PROBABILITIES)
    small = images.standard(image, size)
    return strips(network, small, names, factor=factor, steps=steps, seed=seed)


def strip_picture(original: Tensor, strip: Series[Frame]) -> Image.Image:
    """The original and what each layer gives back, under their names."""
    missing = len(strip.names) - len(strip.frames)
    blank = torch.full_like(original, 0.94)
    tiles = [original, *(frame.image for frame in strip.frames), *[blank] * missing]
    values = ["", *map(_distance, strip.frames), *[""] * missing]
    titles = ["the image", *strip.names]
    columns = min(4 if original.shape[3] <= 192 else 3, len(tiles))  # as a cell is wide
    return figures.mosaic(tiles, titles=titles, values=values, columns=columns, gap=8)


# What was measured before


@dataclass(frozen=True)
class Measured:
    """One line of the bundled table: a photo, got back from one layer's code."""

    layer: str
    photo: str
    numbers: int
    normalised: float
    distance: float
    pixels: float
    answer: str
    same: bool
    among: bool
    probability: float


@lru_cache(maxsize=1)
def measured() -> tuple[Measured, ...]:
    """The bundled table of twelve photos and ten codes, which `data/build/reconstruction.py`
    made. Errors: `DamagedData`."""
    text = bundled.path("reconstruction/errors.csv").read_text("utf-8")
    readers: dict[Any, Any] = {bool: "1".__eq__}  # the others read their own words
    return tuple(
        Measured(
            **{one.name: readers.get(one.type, one.type)(row[one.name]) for one in fields(Measured)}
        )
        for row in csv.DictReader(text.splitlines())
    )


def _by_layer() -> dict[str, list[Measured]]:
    """The rows of the table by their layer."""
    layers: dict[str, list[Measured]] = {}
    for row in measured():
        layers.setdefault(row.layer, []).append(row)
    return layers


@lru_cache(maxsize=1)
def pictures() -> dict[str, Tensor]:
    """The bundled reconstructions by layer, (N, 3, 128, 128), and the photos under "photos"."""
    sheet = images.load(bundled.path("reconstruction/pictures.webp"))
    layers = _by_layer()
    count = len(next(iter(layers.values())))
    height, width = sheet.shape[2] // (len(layers) + 1), sheet.shape[3] // count
    lines = sheet[0].unfold(1, height, height).unfold(2, width, width)  # (3, rows, columns, H, W)
    tiles = lines.permute(1, 2, 0, 3, 4)
    return dict(zip(["photos", *layers], tiles, strict=True))


def table() -> str:
    """Mean and standard deviation of each measure by layer, and how many were still recognised."""
    heads = "normalised error   code distance    pixels         named alike"
    lines = [f"{'':18}{heads}"]
    for layer, some in _by_layer().items():
        parts = [
            _spread_words([getattr(row, key) for row in some], digits)
            for key, digits in (("normalised", 3), ("distance", 3), ("pixels", 2))
        ]
        same = f"{sum(row.same for row in some)} of {len(some)}"
        lines.append(f"{layer:18}{parts[0]:19}{parts[1]:17}{parts[2]:15}{same}")
    return "\n".join(lines)


def _spread_words(values: Sequence[float], digits: int) -> str:
    numbers = torch.tensor(values, dtype=torch.float64)
    return f"{float(numbers.mean()):.{digits}f} ± {float(numbers.std()):.{digits}f}"


_CODE: Any = declare.Declared(
    lambda label, at, _: controls.choice(label, list(_by_layer()), at), "fire5", "code"
)


@declare.panel("Twelve photos, ten codes", cost="quick")
def errors_panel(
    layer: str = _CODE,
    measure: str = declare.choice({words: key for key, words in MEASURES.items()}),
) -> tuple[Image.Image, str]:
    """Twelve photos and what came back from each of ten codes, with the curve of the errors."""
    rows = _by_layer()[layer]
    half, tiles, values = len(rows) // 2, [], []
    for some in (slice(half), slice(half, None)):
        tiles += [*pictures()["photos"][some], *pictures()[layer][some]]
        values += [row.answer for row in rows[some]]
        values += ["same answer" if row.same else "another answer" for row in rows[some]]
    sheet = figures.mosaic(tiles, columns=half, values=values)
    picture = figures.side_by_side([sheet, errors_picture(measure, chosen=layer)], columns=1)
    numbers = [float(getattr(row, measure)) for row in rows]
    words = (
        f"{layer} ({rows[0].numbers:,} numbers of 49,152): {MEASURES[measure]} "
        f"{_spread_words(numbers, 3)} over {len(rows)} photos; "
        f"{sum(row.same for row in rows)} keep the network's answer."
    )
    return picture, words


def errors_picture(measure: str = "normalised", *, chosen: str = "") -> Image.Image:
    """A measure by layer: the mean as a line, each photo as a dot."""
    layers = list(_by_layer())
    columns = [[getattr(row, measure) for row in rows] for rows in _by_layer().values()]

    def plot(axes: figures.Axes) -> None:
        for place, values in enumerate(columns):
            axes.plot([place] * len(values), values, "o", color=ink.SERIES[0], alpha=0.35, ms=4)
        network = len(layers) - 1  # HOG is no layer of the network
        means = [float(np.mean(values)) for values in columns]
        axes.plot(range(network), means[:network], "-", color=ink.SERIES[1], lw=2, label="mean")
        axes.plot([network], means[network:], "D", color=ink.SERIES[1], ms=6)
        if chosen:
            axes.axvline(layers.index(chosen), color=ink.SERIES[2], ls=":", lw=2)
        axes.set_xticks(range(len(layers)), layers, rotation=20, ha="right")
        axes.set_ylim(bottom=0)

    return figures.drawn(plot, size=(760, 280), up=MEASURES[measure])


def kept_picture() -> Image.Image:
    """The share of the photos that keep the network's answer, by layer, first and among five."""
    layers = _by_layer()

    def plot(axes: figures.Axes) -> None:
        for place, (key, name) in enumerate((("same", "first answer"), ("among", "among five"))):
            shares = [
                100 * float(np.mean([getattr(row, key) for row in rows]))
                for rows in layers.values()
            ]
            bars = [spot + 0.4 * place - 0.2 for spot in range(len(layers))]
            axes.bar(
                bars, shares, width=0.38, color=ink.SERIES[place], label=name, hatch="/"[place:]
            )
        axes.set_xticks(range(len(layers)), list(layers), rotation=20, ha="right")
        axes.set_ylim(0, 105)
        axes.legend(frameon=False, fontsize=9, loc="upper right")

    return figures.drawn(plot, size=(760, 280), up="photos that keep it (%)")


# HOG


def hog_picture(code: Code, *, enlarge: int = 2) -> Image.Image:
    """A HOG code as strokes: in each cell one for each direction of an edge, the brighter the
    more of it there is. A gradient across is an edge along."""
    if not isinstance(code.layer, Hog):
        raise BadSetting(f"a code of HOG has directions to draw, one at {code.title} has none")
    cell = code.layer.cell
    cells = hog.cells_of(
        code.values[:1], code.size[0] // cell, block=code.layer.block, bins=code.layer.bins
    )[0]
    strength = (cells / cells.max().clamp_min(1e-9)).sqrt()
    strength[strength < 0.05] = 0
    side, (rows, columns, _) = cell * enlarge, cells.shape
    sheet = strokes(strength, 2 * side, reach=0.46, width=max(2, side // 6))
    return sheet.resize((columns * side, rows * side), Image.Resampling.LANCZOS)


def strokes(strengths: Tensor, side: float, *, reach: float, width: int) -> Image.Image:
    """Strengths (rows, columns, bins) from 0 to 1 as strokes in cells of `side` pixels.

    Each reaches so many sides from its cell's middle, and the strongest lie on top. An edge runs
    across its gradient.
    """
    rows, columns, bins = strengths.shape
    sheet = Image.new("L", (round(columns * side), round(rows * side)))
    pen = ImageDraw.Draw(sheet)
    for place in strengths.flatten().argsort().tolist():
        row, column, number = place // (columns * bins), place // bins % columns, place % bins
        angle = math.pi * (number + 0.5) / bins + math.pi / 2
        x, y = (column + 0.5) * side, (row + 0.5) * side
        across, down = reach * side * math.cos(angle), reach * side * math.sin(angle)
        ends = (x - across, y - down, x + across, y + down)
        pen.line(ends, fill=round(255 * float(strengths[row, column, number])), width=width)
    return sheet.convert("RGB")
