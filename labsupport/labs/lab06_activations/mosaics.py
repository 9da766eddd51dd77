"""Lab 06: all maps of a layer as one picture that can be clicked, and followed while the photo is
distorted.

ipywidgets draws pictures but does not say where they are clicked. `Pointer` is a widget without a
look of its own that listens to the picture of its panel and sends clicks and keys to Python; what
they mean is decided there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import torch
import traitlets
from PIL import Image, ImageDraw
from torch.nn import functional

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.core.network.layers import Box, Layer
from labsupport.methods import activations
from labsupport.methods.activations import Distortion
from labsupport.methods.activations.correlations import pooled_means
from labsupport.ui import controls, declare, figures, ink
from labsupport.ui.control import shut

DARK: ink.Colour = (22, 24, 29)
_QUIET: ink.Colour = (150, 154, 162)
_SIDE, _EDGE, _HEAD, _FOOT = 34, 6, 22, 24  # pixels around the mosaic, for numbers and scale
WIDE, NARROW = 688, 416  # the widest mosaic in the two panels
TILE, THUMB = 200, 144  # four tiles fit into a notebook side by side
SCALES = {"each map its own": False, "one for all maps": True}
_WARM, _COLD = np.array([255, 176, 64]), np.array([86, 160, 255])


def has_maps(layer: Layer) -> bool:
    """Whether there is a mosaic to look at: maps of more than one position."""
    return layer.has_map and min(layer.shape[1:]) > 1 and layer.kind not in ("dropout", "identity")


@dataclass(frozen=True)
class MosaicPlan:
    """How a mosaic is drawn: the tiles' layout in map pixels, each map shrunk so many times or
    enlarged so many times, with numbers at the left and above."""

    tiles: activations.Layout
    shrink: int
    times: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.tiles.size
        return width * self.times + _SIDE + _EDGE, height * self.times + _HEAD + _FOOT

    def unit_at(self, x: float, y: float) -> int | None:
        """The unit whose map lies at a point of the picture."""
        return self.tiles.channel_at((x - _SIDE) / self.times, (y - _HEAD) / self.times)

    def box(self, unit: int) -> Box:
        """A unit's map in the picture, (left, top, right, bottom)."""
        left, top, right, bottom = (edge * self.times for edge in self.tiles.box(unit))
        return (left + _SIDE, top + _HEAD, right + _SIDE, bottom + _HEAD)


@lru_cache(maxsize=64)
def mosaic_plan(shape: tuple[int, ...], wide: int = WIDE) -> MosaicPlan:
    """The mosaic of a layer of this shape (C, H, W), at most `wide` pixels wide.

    Maps are enlarged by whole numbers, or, where they would not fit, averaged over squares.
    """
    count, height, width = (*shape, 1, 1)[:3]
    for shrink in range(1, max(height, width) + 1):
        tiles = activations.layout(count, math.ceil(height / shrink), math.ceil(width / shrink))
        times = (wide - _SIDE - _EDGE) // tiles.size[1]
        if times:
            return MosaicPlan(tiles, shrink, min(times, 24))
    return MosaicPlan(tiles, shrink, 1)


def mosaic_picture(
    maps: torch.Tensor,
    unit: int | None = None,
    *,
    shared: bool = False,
    reference: torch.Tensor | None = None,
    wide: int = WIDE,
) -> Image.Image:
    """All maps (C, H, W) of a layer on a dark ground, the chosen unit framed and pointed at.

    Black is zero and the brightest colour a map's largest value (`shared`: the largest of all);
    where a layer has values below zero, they are blue and those above orange. The `reference`
    (say, the undistorted maps) counts for the largest values too, so that they stay comparable.
    """
    maps = maps.reshape(*maps.shape, *[1] * (3 - maps.ndim))
    plan = mosaic_plan(tuple(maps.shape), wide)
    largest = _largest(maps, shared)
    if reference is not None:
        largest = torch.maximum(largest, _largest(reference.reshape(maps.shape), shared))
    scaled = maps / torch.where(largest > 0, largest, 1)
    if plan.shrink > 1:
        scaled = functional.avg_pool2d(scaled[None], plan.shrink, ceil_mode=True)[0]
    signed = bool((maps < 0).any())
    values = activations.mosaic(scaled, columns=plan.tiles.columns).numpy()
    cells = figures.enlarge(glow(values, signed), plan.times)
    picture = Image.new("RGB", plan.size, DARK)
    picture.paste(cells, (_SIDE, _HEAD))
    _number(picture, plan, unit)
    _legend(picture, float(largest.max()), shared, signed)
    if unit is not None:
        _mark(picture, plan.box(unit))
    return picture


def _largest(maps: torch.Tensor, shared: bool) -> torch.Tensor:
    """The scale of each map, (C, 1, 1) or (1, 1, 1)."""
    largest = maps.abs().amax((1, 2), keepdim=True)
    return largest.amax(0, keepdim=True) if shared else largest


def glow(values: np.ndarray, signed: bool) -> np.ndarray:
    """Numbers in [-1, 1] as light on a dark ground, (H, W, 3); NaN is the ground."""
    known = np.isfinite(values)
    numbers = np.where(known, values, 0)
    if signed:
        strength = np.sqrt(np.abs(numbers))[..., None]
        painted = (np.where(numbers[..., None] > 0, _WARM, _COLD) * strength).astype(np.uint8)
    else:
        painted = figures.paint(numbers, colours="magma", limits=(0.0, 1.0))
    painted[~known] = DARK
    return painted


def _number(picture: Image.Image, plan: MosaicPlan, unit: int | None) -> None:
    """The first unit of each row at the left, the columns above; the chosen ones white."""
    row, column = plan.tiles.place(unit) if unit is not None else (None, None)
    down = (plan.tiles.height + plan.tiles.gap) * plan.times
    for place in _numbered(plan.tiles.rows, row, down, room=14):
        _, top, _, bottom = plan.box(place * plan.tiles.columns)
        at: tuple[float, float] = (_SIDE - 9, (top + bottom) / 2)
        _write(picture, at, str(place * plan.tiles.columns), chosen=place == row, anchor="rm")
    across = (plan.tiles.width + plan.tiles.gap) * plan.times
    for place in _numbered(plan.tiles.columns, column, across, room=30):
        left, _, right, _ = plan.box(place)
        _write(picture, ((left + right) / 2, 8), f"+{place}", chosen=place == column, anchor="mm")


def _numbered(count: int, chosen: int | None, pitch: int, *, room: int) -> list[int]:
    """Which of the places, `pitch` pixels apart, have a number: each needs `room` pixels."""
    every = max(1, math.ceil(room / pitch))
    free = range(0, count, every)
    if chosen is None:
        return [*free]
    return [chosen, *(place for place in free if abs(place - chosen) * pitch >= room)]


def _write(
    picture: Image.Image, at: tuple[float, float], words: str, *, chosen: bool, anchor: str
) -> None:
    colour = ink.GROUND if chosen else _QUIET
    ink.write(picture, at, words, size=11, bold=chosen, colour=colour, anchor=anchor)


def _mark(picture: Image.Image, box: Box) -> None:
    """A white frame around a map, and a pointer to it at the left and above."""
    left, top, right, bottom = box
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left - 3, top - 3, right + 2, bottom + 2), outline=DARK, width=1)
    pen.rectangle((left - 2, top - 2, right + 1, bottom + 1), outline=ink.GROUND, width=2)
    middle, level = (left + right) // 2, (top + bottom) // 2
    white = ink.GROUND
    pen.polygon([(_SIDE - 6, level - 4), (_SIDE - 6, level + 4), (_SIDE - 1, level)], fill=white)
    pen.polygon([(middle - 4, _HEAD - 6), (middle + 4, _HEAD - 6), (middle, _HEAD - 1)], fill=white)


def _legend(picture: Image.Image, largest: float, shared: bool, signed: bool) -> None:
    """What the colours mean, below the mosaic."""
    ends = np.linspace(-1 if signed else 0, 1, 96)[None].repeat(10, 0)
    top = picture.height - _FOOT + 8
    low = ("−" if signed else "0") if not shared else ink.number(-largest if signed else 0.0)
    high = ink.number(largest) if shared else "the map's largest"
    _write(picture, (_SIDE, top + 5), low, chosen=False, anchor="lm")
    left = _SIDE + ink.measure(low, 11) + 6
    picture.paste(Image.fromarray(glow(ends, signed)), (left, top))
    outline = (left - 1, top - 1, left + 96, top + 10)
    ImageDraw.Draw(picture).rectangle(outline, outline=_QUIET)
    _write(picture, (left + 102, top + 5), high, chosen=False, anchor="lm")


def unit_over(
    image: torch.Tensor, map_: torch.Tensor, side: int = TILE, *, most: float | None = None
) -> Image.Image:
    """A unit's map enlarged over the picture (1, 3, H, W): bright where it fires.

    The picture stays as it is where the unit is silent. `most` is what is shown brightest, by
    default the map's largest value.
    """
    shown = images.resize(image, (side, side)) if max(image.shape[2:]) != side else image
    most = max(float(map_.abs().max()) if most is None else most, 1e-6)
    signed = bool((map_ < 0).any())
    colours, limits = ("signed", (-most, most)) if signed else ("magma", (0.0, most))
    settings: dict[str, Any] = {"opacity": 0.85, "fade": True, "bar": False}
    return figures.overlay(shown, map_, colours=colours, limits=limits, **settings)


def short(value: torch.Tensor | float) -> str:
    """A number for eyes: two digits after the point, none from 100 on."""
    number = float(value)
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.2f}".replace("-", "−")


# A unit, chosen in the picture


_LISTEN = """
const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End",
              "PageUp", "PageDown"];
function render({ model, el }) {
  el.style.display = "none";
  const over = new AbortController();
  let count = 0;
  const tell = (what) => {
    model.set("event", { ...what, number: ++count });
    model.save_changes();
  };
  const listen = (picture) => {
    picture.tabIndex = 0;
    picture.style.cursor = "crosshair";
    picture.setAttribute("role", "application");
    picture.setAttribute("aria-label", model.get("words"));
    picture.title = model.get("words");
    // else JupyterLab takes the arrow keys for itself
    picture.dataset.lmSuppressShortcuts = "true";
    picture.addEventListener("click", (event) => {
      picture.focus({ preventScroll: true });
      tell({ x: event.offsetX * picture.naturalWidth / picture.clientWidth,
             y: event.offsetY * picture.naturalHeight / picture.clientHeight });
    }, { signal: over.signal });
    picture.addEventListener("keydown", (event) => {
      if (!KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      tell({ key: event.key });
    }, { signal: over.signal });
  };
  const find = () => {
    if (over.signal.aborted) return;
    const picture = el.closest(".lab-panel")?.querySelector("img.lab-picture");
    picture ? listen(picture) : setTimeout(find, 100);
  };
  find();
  return () => over.abort();
}
export default { render };
"""


class Pointer(anywidget.AnyWidget):
    """Clicks and keys on the picture of the panel that this widget stands in.

    `event` is {"x", "y"} in the picture's own pixels, or {"key"}; "number" counts them.
    """

    _esm = _LISTEN
    words = traitlets.Unicode("").tag(sync=True)
    event = traitlets.Dict().tag(sync=True)


class UnitPicker(controls.ChannelSlider):
    """A unit of the chosen layer: by slider, by a click in the panel's picture, or by keys there.

    The arrow keys go through the mosaic, Home and End to its first and last unit, Page Up and Page
    Down to the layers before and after. The panel's mosaic is at most `wide` pixels wide.
    """

    def __init__(self, layer: controls.LayerMenu, default: int, wide: int) -> None:
        super().__init__(layer, default, label="unit")
        self._wide = wide
        self.pointer = Pointer(
            words="Click a map to choose its unit. Then the arrow keys move to its neighbours, "
            "Page Up and Page Down to another layer."
        )
        self.pointer.observe(lambda change: self.point(change["new"]), "event")
        self.shown = widgets.VBox([self.source, self.pointer])

    def point(self, event: dict[str, Any]) -> None:
        """What a click or a key does."""
        if "x" in event:
            unit = self._map().unit_at(float(event["x"]), float(event["y"]))
            if unit is not None:
                self.put(unit)
        elif event.get("key") in ("PageUp", "PageDown"):
            self._layer.turn(-1 if event["key"] == "PageUp" else 1)
        elif "key" in event:
            self._move(str(event["key"]))

    def _map(self) -> MosaicPlan:
        return mosaic_plan(self._layer.network.layer(self._layer.value).shape, self._wide)

    def _move(self, key: str) -> None:
        last = int(self.source.max)
        ends = {"Home": -last, "End": last}
        steps = {"ArrowLeft": -1, "ArrowRight": 1, "ArrowUp": -1, "ArrowDown": 1}
        step = ends.get(key, steps.get(key, 0))
        if key in ("ArrowUp", "ArrowDown"):
            step *= self._map().tiles.columns
            if not 0 <= self.source.value + step <= last:
                return
        self.put(min(max(self.source.value + step, 0), last))

    def _close(self) -> None:
        shut(self.pointer)
        super()._close()


def picked(wide: int) -> Any:
    """A unit of the layer that the control `layer` has chosen, in a mosaic of this width."""
    return declare.Declared(lambda _, at, made: UnitPicker(made["layer"], at, wide), 0)


# The layer, live


_UNIT = picked(WIDE)
_DISTORTION = declare.together(
    rotate=declare.whole(0, -180, 180, step=5, unit="°"),
    right=declare.whole(0, -64, 64, step=2, unit="px", label="to the right"),
    scale=declare.real(1.0, 0.5, 2.0, label="size"),
    brightness=declare.real(1.0, 0.2, 2.0),
    noise=declare.real(0.0, 0.0, 0.4, step=0.02),
)


@dataclass(frozen=True)
class LayerView:
    """A picture as it was and as it is distorted, and what a layer answers to each."""

    network: Network
    layer: Layer
    image: torch.Tensor
    maps: torch.Tensor
    clean: torch.Tensor
    scores: torch.Tensor
    distortion: Distortion


def _responses(
    network: Network, image: torch.Tensor, layer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's activations (C, ...) and the scores (1, classes), from one pass."""
    with torch.no_grad():
        part = network.part((network.node(layer), network.output))
        maps, scores = part(network.send(image))
    return maps[0].cpu().contiguous(), scores.cpu()


@lru_cache(maxsize=1)
def _undistorted(
    image: torch.Tensor, network: Network, layer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    standard = images.standard(image, network.input_size[0])
    return standard, _responses(network, standard, layer)[0]


def _view(
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire8", keep=has_maps),
    distortion: Mapping[str, float] = _DISTORTION,
) -> LayerView:
    standard, clean = _undistorted(image, network, layer)
    change = Distortion(**distortion)
    changed = activations.distort(standard, change)
    maps, scores = _responses(network, changed, layer)
    return LayerView(network, network.layer(layer), changed, maps, clean, scores, change)


@declare.panel(
    "A layer, live",
    compute=_view,
    cost="instant",
    first=("image", "network", "layer", "unit", "shared"),
)
def live_panel(
    view: LayerView, unit: int = _UNIT, shared: bool = declare.choice(SCALES, label="scale")
) -> tuple[Image.Image, str]:
    """A layer's whole mosaic, which follows while the picture is turned, moved or dimmed.

    A click in the mosaic chooses a unit; the arrow keys move from there.
    """
    tiles = mosaic_picture(view.maps, unit, shared=shared, reference=view.clean)
    side = figures.side_by_side(
        [
            images.resize(view.image, (THUMB, THUMB)),
            unit_over(view.image, view.maps[unit], THUMB),
            _alone(view.maps[unit]),
        ],
        ["the picture", f"unit {unit} over it", f"unit {unit} alone"],
        columns=1,
        gap=10,
    )
    # the mosaic stands at the upper left, where clicks are counted from
    picture = figures.side_by_side([tiles, side])
    return picture, view_words(view, unit)


def _alone(map_: torch.Tensor) -> Image.Image:
    """A unit's map by itself, as large as a thumbnail may be."""
    size = max(map_.shape)
    if size > THUMB:
        map_ = functional.adaptive_avg_pool2d(map_[None], THUMB)[0]
    values = (map_ / map_.abs().max().clamp_min(1e-9)).numpy()
    return figures.enlarge(glow(values, bool((map_ < 0).any())), max(1, THUMB // size))


def view_words(view: LayerView, unit: int) -> str:
    """What a unit answers, and how far the layer has moved from the undistorted picture."""
    now, before = view.maps[unit], view.clean[unit]
    words = (
        f"{view.layer.title}, unit {unit} of {len(view.maps)}: mean {short(now.mean())}, "
        f"largest {short(now.max())}."
    )
    silent = int((view.maps.flatten(1).amax(1) <= 0).sum())
    if silent:
        words += f" {silent} {'unit is' if silent == 1 else 'units are'} silent."
    [[first]] = view.network.ranking(view.scores, k=1)
    words += f" The network says {first.name}, {figures.per_cent(first.probability)}."
    if view.distortion.words == "untouched":
        return words
    pair = (view.clean[None], view.maps[None])
    strict = float(activations.correlation(*pair))
    pooled = float(activations.correlation(*map(pooled_means, pair)))
    return (
        f"{words} The picture is {view.distortion.words}; before, the unit's mean was "
        f"{short(before.mean())}. All maps together correlate {strict:.2f} with those before, "
        f"their means {pooled:.2f}."
    )
