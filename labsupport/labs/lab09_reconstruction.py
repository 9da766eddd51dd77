"""Lab 09: pictures that come back from codes, live; their figures; HOG as strokes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labsupport.core import bundled, images
from labsupport.core.frames import Beside, Series, in_turn
from labsupport.core.network import Network, Prediction
from labsupport.labs.lab08_optimization.visualization import has_channels
from labsupport.methods import inversion
from labsupport.methods.inversion import LOG_PROBABILITIES, Code, Hog, encode, invert
from labsupport.methods.optimize import LBFGS, Adam, Frame, Momentum, Pixels
from labsupport.ui import declare, figures, ink
from labsupport.ui.controls import block_ends

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
OTHER_PHOTOS = "other photos"
_STARTS = ("noise", OTHER_PHOTOS, "zeros", "grey", "black")
_PARAMETERIZATIONS = ("Fourier coefficients", "pixels")
_OPTIMIZERS = {
    "L-BFGS": LBFGS(0.02),
    "Adam": Adam(0.1, "cosine"),
    "momentum 0.9, as in the paper": Momentum(2.0, schedule=(1.0, 0.3, 0.1)),
}
MEASURES = {
    "normalised": "normalized error",
    "distance": "code distance, relative",
    "pixels": "pixel distance",
    "perceptual": "LPIPS",
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


# Live


@dataclass(frozen=True)
class InversionFrame(Beside[Frame]):
    """A frame of an inversion, the image that its code is from, and the distances so far."""

    image: Tensor
    code: Code
    distances: tuple[float, ...]


def _draw_return(now: InversionFrame, network: Network, size: int) -> tuple[Image.Image, str]:
    found, times = now.frame.image, max(1, round(288 / max(now.image.shape[2:])))
    original, columns = figures.enlarge(now.image, times), min(2, len(found))
    each, gap = max(1, times // columns), 2 * (columns - 1)
    returned = figures.mosaic(found, columns=columns, enlarge=each, gap=gap)
    falls = figures.curve(
        {"distance": now.distances},
        across="step",
        up="code distance",
        limits=(1e-3, 10.0),
        reach=max(now.frame.steps, len(now.distances) - 1),
        log=True,
        size=(272, original.height),
    )
    titles = ["the image", "what its code gives back", "how near the code is"]
    words = (
        f"{_kept_words(now, network)}. {_near_words(now, network)} "
        f"Step {now.frame.step} of {now.frame.steps}.\n{_named(now, network)}"
        f"{declare.side_words(network, size)}"
    )
    return figures.side_by_side([original, returned, falls], titles), words


def _kept_words(now: InversionFrame, network: Network) -> str:
    layer, pixels = now.code.layer, 3 * now.code.size[0] * now.code.size[1]
    inside = isinstance(layer, str) and layer != LOG_PROBABILITIES
    title = network.layer(str(layer)).title if inside else str(layer)
    return f"{title}, {now.code.numbers:,} numbers for {pixels:,} of the image"


def _near_words(now: InversionFrame, network: Network) -> str:
    found = now.frame.image
    if len(found) > 1:
        return comparison_words(inversion.compare(network, found, now.image, now.code))
    apart = float(inversion.pixel_distance(found, now.image))
    return f"Code distance {figures.per_cent(now.distances[-1])}; pixels {apart:.2f} apart."


def _named(now: InversionFrame, network: Network) -> str:
    if not network.categories:
        return ""
    shown = torch.cat([now.image, now.frame.image])
    [first], *others = network.predict(shown, 1)
    if len(others) > 1:
        return f"Named {first.name}; the reconstructions {', '.join(one.name for [one] in others)}."
    return f"Named {_sure(first)}; the reconstruction {_sure(others[0][0])}."


def _sure(answer: Prediction) -> str:
    return f"{answer.name} ({figures.per_cent(answer.probability)})"


@declare.live("Back from the code", draw=_draw_return)
def invert_panel(
    image: Tensor = declare.photo("chelsea"),
    network: Network = declare.network_of("alexnet"),
    kept: str = declare.choice(_KEPT, "layer", label="what is kept"),
    layer: str = declare.layer_of("network", keep=has_channels),
    pictures: int = declare.whole(1, 1, 4, label="reconstructions"),
    part: str = declare.choice(_PARTS, label="how much of it"),
    prior: Mapping[str, Any] = declare.together(
        tv=declare.logarithmic(10.0, 0.01, 10000, steps=60, label="total variation"),
        alpha=declare.real(0.0, 0.0, 10.0, step=0.5, label="alpha-norm"),
    ),
    search: Mapping[str, Any] = declare.together(
        parameterization=declare.choice(_PARAMETERIZATIONS),
        optimizer=declare.choice(list(_OPTIMIZERS)),
        start=declare.choice(_STARTS),
        size=declare.whole(224, 96, 256, step=32, unit="px", label="picture"),
        steps=declare.whole(100, 20, 400, step=20),
        seed=declare.seed(),
    ),
) -> Iterator[InversionFrame]:
    """Any picture, from any layer of any network, from log-probabilities or HOG, or from a part.

    Several reconstructions are from one code, each with a seed of its own. The start "other photos"
    is `inversion.ridge_start`, which looks at them once for each layer.
    """
    small = images.standard(image, declare.side_for(network, search["size"]))
    code = code_of(network, small, kept, layer, part)
    usual, optimizer = inversion.setting_for(network, code), _OPTIMIZERS[search["optimizer"]]
    setting = replace(usual, optimizer=optimizer, **prior)
    if search["parameterization"] == "pixels":
        setting = replace(setting, parameterization=Pixels())
    distances: tuple[float, ...] = ()
    seeds = tuple(range(search["seed"], search["seed"] + pictures))
    begin = {"start": search["start"], "steps": search["steps"], "seed": seeds}
    if search["start"] == OTHER_PHOTOS:
        grey = next(invert.frames(network, code, setting=setting, **begin | {"start": "grey"}))
        for fit in inversion.ridge_start.frames(network, code):
            seen = replace(grey, image=fit.image)
            yield InversionFrame(seen, small, code, (float(-grey.score.mean()),))
        begin["start"] = fit.image
    for frame in invert.frames(network, code, setting=setting, every=1, **begin):
        distances = (*distances, float(-frame.score.mean()))
        yield InversionFrame(frame, small, code, distances)


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
    original = images.standard(image, declare.side_for(network, size))
    last = strip.frames[-1]
    layers = strip.names[: len(strip.frames)]
    words = [f"{layers[-1]}: {last.progress:.0%} of {last.steps} steps."]
    if network.categories:
        found = torch.cat([frame.image for frame in strip.frames])
        seen = inversion.recognition(network, found, original.expand_as(found))
        named = [one for one, same in zip(layers, seen.same.tolist(), strict=True) if same]
        words.append(f"The network names as it named the image: {', '.join(named) or 'none'}.")
    words.append(f"Below each picture is its code distance.{declare.side_words(network, size)}")
    return strip_picture(original, strip), " ".join(words)


def _distance(frame: Frame) -> str:
    return figures.per_cent(float(-frame.score))


@declare.live("What a company keeps", draw=_draw_strip)
def strip_panel(
    image: Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of("alexnet"),
    layers: int = declare.whole(5, 3, 10),
    factor: float = declare.logarithmic(1.0, 0.01, 100, steps=40, label="prior times"),
    steps: int = declare.whole(60, 20, 300, step=20),
    size: int = declare.whole(224, 96, 224, step=32, unit="px", label="picture"),
    seed: int = declare.seed(),
) -> Iterator[Series[Frame]]:
    """A company keeps nothing but codes: what each layer's code gives back of any picture."""
    last = (LOG_PROBABILITIES,) if network.categories else ()
    names = (*ends(network, layers - len(last)), *last)
    small = images.standard(image, declare.side_for(network, size))
    return strips(network, small, names, factor=factor, steps=steps, seed=seed)


def strip_picture(original: Tensor, strip: Series[Frame]) -> Image.Image:
    """The original and what each layer gives back, under their names."""
    missing = len(strip.names) - len(strip.frames)
    blank = torch.full_like(original, 0.94)
    tiles = [original, *(frame.image for frame in strip.frames), *[blank] * missing]
    values = ["", *map(_distance, strip.frames), *[""] * missing]
    titles = ["the image", *strip.names]
    columns = min(4 if original.shape[3] <= 192 else 3, len(tiles))  # as a cell is wide
    times = max(1, 128 // original.shape[3])
    return figures.mosaic(
        tiles, titles=titles, values=values, columns=columns, gap=8, enlarge=times
    )


# What was measured before


@lru_cache(maxsize=1)
def measured() -> dict[str, Any]:
    """Twelve photos, got back from ten codes each: by layer an array with a record for each photo.

    Its columns: the `photo`, the `numbers` of the code, the `normalised` error, the code's
    `distance`, that of the `pixels`, the network's `answer` to the photo, whether the
    reconstruction gets the `same`, whether it is `among` its first five, its `probability`, and the
    `perceptual` distance. `data/build/reconstruction.py` made it. Errors: `DamagedData`.
    """
    rows = _table("errors")
    return {layer: rows[rows.layer == layer] for layer in dict.fromkeys(rows.layer.tolist())}


@lru_cache(maxsize=1)
def pictures() -> dict[str, Tensor]:
    """The bundled reconstructions by layer, (N, 3, 128, 128), and the photos under "photos"."""
    return _sheet("pictures", ["photos", *measured()])


@lru_cache(maxsize=1)
def started() -> dict[tuple[str, str], Any]:
    """The same photos from deep codes, in 60 steps each: by (layer, way) an array with a record for
    each photo, where the way is the "start" itself, "plain" (from noise) or "ridge" (from the
    start).

    Its columns: `network`, `photo`, the code's `distance`, that of the `pixels`, the `perceptual`
    one. `data/build/ridge_starts.py` made it. Errors: `DamagedData`.
    """
    rows = _table("starts")
    kinds = dict.fromkeys(zip(rows.layer.tolist(), rows.way.tolist(), strict=True))
    return {kind: rows[(rows.layer == kind[0]) & (rows.way == kind[1])] for kind in kinds}


@lru_cache(maxsize=1)
def started_pictures() -> dict[Any, Tensor]:
    """Their pictures by (layer, way), (N, 3, 224, 224), and the photos under "photos"."""
    return _sheet("starts", ["photos", *started()])


@lru_cache(maxsize=1)
def same_pictures() -> dict[str, Tensor]:
    """A photo and what each of its codes gives back from four seeds, in 100 steps each: by code
    (5, 3, 224, 224), the photo first. `data/build/same_code.py` made them. Errors: `DamagedData`.
    """
    return _sheet("same", list(dict.fromkeys(_table("same").layer.tolist())))


def _table(name: str) -> Any:
    path = bundled.path(f"reconstruction/{name}.csv")
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
    return table.view(np.recarray)


def _sheet(name: str, rows: Sequence[Any]) -> dict[Any, Tensor]:
    """The square tiles (N, 3, S, S) of each row of a sheet, by these names."""
    sheet = images.load(bundled.path(f"reconstruction/{name}.webp"))
    side = sheet.shape[2] // len(rows)
    lines = sheet[0].unfold(1, side, side).unfold(2, side, side)  # (3, rows, columns, S, S)
    return dict(zip(rows, lines.permute(1, 2, 0, 3, 4), strict=True))


_CODE: Any = declare.Declared(
    lambda _, at, __: declare.choice(list(measured()), at), "fire5", "code"
)


@declare.panel("Twelve photos, ten codes", cost="quick")
def errors_panel(
    layer: str = _CODE,
    measure: str = declare.choice({words: key for key, words in MEASURES.items()}),
) -> tuple[Image.Image, str]:
    """Twelve photos and what came back from each of ten codes, with the curve of the errors."""
    rows = measured()[layer]
    half, tiles, values = len(rows) // 2, [], []
    for some in (slice(half), slice(half, None)):
        tiles += [*pictures()["photos"][some], *pictures()[layer][some]]
        values += rows.answer[some].tolist()
        values += ["same answer" if same else "another answer" for same in rows.same[some]]
    sheet = figures.mosaic(tiles, columns=half, values=values)
    picture = figures.side_by_side([sheet, errors_picture(measure, chosen=layer)], columns=1)
    numbers = rows[measure]
    words = (
        f"{layer} ({rows.numbers[0]:,} numbers of 49,152): {MEASURES[measure]} "
        f"{numbers.mean():.3f} ± {numbers.std(ddof=1):.3f} over {len(rows)} photos; "
        f"{rows.same.sum()} keep the network's answer."
    )
    return picture, words


_SAME: Any = declare.Declared(
    lambda _, at, __: declare.choice(list(same_pictures()), at), LOG_PROBABILITIES, "code"
)


@declare.panel("All the same to the network", cost="quick")
def same_panel(code: str = _SAME) -> tuple[Image.Image, str]:
    """A photo, and four pictures that one of its codes gives back. Kept results."""
    table = _table("same")
    rows = table[table.layer == code]
    titles = ["the image", *(f"seed {row.seed}" for row in rows)]
    values = ["", *(f"code {figures.per_cent(row.distance)}, {row.answer}" for row in rows)]
    words = (
        "Kept results, 100 steps each. Below each picture stand its code distance and the "
        f"network's answer. Pixels are {rows.pixels.min():.2f} to {rows.pixels.max():.2f} from "
        "the photo's."
    )
    tiles = list(same_pictures()[code])
    return figures.mosaic(tiles, titles=titles, values=values, columns=3, gap=8), words


def _titles() -> dict[str, str]:
    known = images.photos()
    return {known[name].title: name for name in measured()["fire5"].photo.tolist()}


def _deep_codes() -> dict[str, str]:
    return {f"{layer} of {rows.network[0]}": layer for (layer, _), rows in started().items()}


_PHOTO: Any = declare.Declared(lambda _, at, __: declare.choice(_titles(), at), "chambord", "photo")
_DEEP: Any = declare.Declared(lambda _, at, __: declare.choice(_deep_codes(), at), "pool5", "code")


@declare.panel("From noise, and from other photos", cost="quick")
def starts_panel(photo: str = _PHOTO, layer: str = _DEEP) -> tuple[Image.Image, str]:
    """A photo, the start that other photos suggest, and what both starts end at. Kept results."""
    place = started()[layer, "plain"].photo.tolist().index(photo)
    titles = ["the image", "the start: other photos", "from noise", "from the start"]
    tiles, values = [started_pictures()["photos"][place]], [""]
    for way in ("start", "plain", "ridge"):
        row = started()[layer, way][place]
        tiles.append(started_pictures()[layer, way][place])
        values.append(_three(row.distance, row.pixels, row.perceptual))
    means = [
        _three(rows.distance.mean(), rows.pixels.mean(), rows.perceptual.mean())
        for rows in (started()[layer, way] for way in ("plain", "ridge"))
    ]
    words = (
        f"Kept results, 60 steps each. Means over {len(started()[layer, 'plain'])} photos, from "
        f"noise: {means[0]}; from the start: {means[1]}."
    )
    return figures.mosaic(tiles, titles=titles, values=values, columns=2, gap=8), words


def _three(distance: float, pixels: float, perceptual: float) -> str:
    return f"code {figures.per_cent(distance)}, pixels {pixels:.2f}, LPIPS {perceptual:.2f}"


def errors_picture(measure: str = "normalised", *, chosen: str = "") -> Image.Image:
    """A measure by layer: the mean as a line, each photo as a dot."""
    layers = list(measured())
    columns = [rows[measure] for rows in measured().values()]

    def plot(axes: figures.Axes) -> None:
        for place, values in enumerate(columns):
            axes.plot([place] * len(values), values, "o", color=ink.SERIES[0], alpha=0.35, ms=4)
        network = len(layers) - 1  # HOG is no layer of the network
        means = [values.mean() for values in columns]
        axes.plot(range(network), means[:network], "-", color=ink.SERIES[1], lw=2, label="mean")
        axes.plot([network], means[network:], "D", color=ink.SERIES[1], ms=6)
        if chosen:
            axes.axvline(layers.index(chosen), color=ink.SERIES[2], ls=":", lw=2)
        axes.set_xticks(range(len(layers)), layers, rotation=20, ha="right")
        axes.set_ylim(bottom=0)

    return figures.drawn(plot, size=(760, 280), up=MEASURES[measure])


def kept_picture() -> Image.Image:
    """The share of the photos that keep the network's answer, by layer, first and among five."""
    shares = {"first answer": "same", "among the first five": "among"}
    columns = [
        figures.bars(
            [
                Prediction(layer, float(rows[key].mean()), 0.0, place)
                for place, (layer, rows) in enumerate(measured().items())
            ],
            highlight="fire5",  # which the text speaks of
        )
        for key in shares.values()
    ]
    return figures.side_by_side(columns, list(shares))
