"""Lab 06: a layer's mosaic of maps that can be clicked, and followed while the photo is distorted.

ipywidgets draws pictures but does not say where they are clicked. `Pointer` is a widget without a
look of its own that listens to the picture of its panel and sends clicks and keys to Python; what
they mean is decided there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import anywidget
import ipywidgets as widgets
import torch
import traitlets
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.core.network.layers import Layer
from labsupport.methods import activations
from labsupport.methods.activations import Distortion
from labsupport.methods.activations.correlations import pooled_means
from labsupport.ui import controls, declare, figures
from labsupport.ui.mosaics import WIDE, MosaicPlan, map_picture, mosaic_picture, mosaic_plan

NARROW = 416  # pixels: the widest mosaic where all views of a unit stand beside it
TILE, THUMB = 200, 144  # four tiles fit into a notebook side by side
SCALES = {"each map its own": False, "one for all maps": True}


_UNSEEN = ("conv", "norm", "dropout", "identity")


def has_maps(layer: Layer) -> bool:
    """Whether there is a mosaic to look at: maps of more than one position, after the ReLU where
    the layer has one, so that what is not zero fires."""
    return layer.has_map and min(layer.shape[1:]) > 1 and layer.kind not in _UNSEEN


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
  const press = (event, enter) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (KEYS.includes(event.key)) tell({ key: event.key });
    else if (event.key === "Enter" && enter) enter();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  // the picture at its full pixels, which goes on following the keys
  const open = (picture) => {
    const sheet = document.createElement("dialog");
    const whole = document.createElement("img");
    const follow = () => { [whole.src, whole.alt] = [picture.src, picture.alt]; };
    sheet.className = "lab-zoom";
    sheet.append(whole);
    document.body.append(sheet);
    follow();
    picture.addEventListener("load", follow);
    sheet.addEventListener("click", () => sheet.close());
    sheet.addEventListener("keydown", (event) => { press(event); event.stopPropagation(); });
    sheet.addEventListener("close", () => {
      picture.removeEventListener("load", follow);
      sheet.remove();
    });
    sheet.showModal();
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
    const larger = () => open(picture);
    picture.addEventListener("dblclick", larger, { signal: over.signal });
    picture.addEventListener("keydown", (event) => press(event, larger), { signal: over.signal });
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

    `event` is {"x", "y"} in the picture's own pixels, or {"key"}; "number" counts them. A double
    click or Enter shows the picture at its full pixels: a single click means a unit here.
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
            "Page Up and Page Down to another layer. A double click, or Enter, shows the picture "
            "at its full size; a click, or Escape, closes it."
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
            self._leader.turn(-1 if event["key"] == "PageUp" else 1)
        elif "key" in event:
            self._move(str(event["key"]))

    def _map(self) -> MosaicPlan:
        return mosaic_plan(self._leader.layer.shape, self._wide)

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


@lru_cache(maxsize=1)
def _undistorted(
    image: torch.Tensor, network: Network, layer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    standard = images.standard(image, network.input_size[0])
    network.with_maps(layer, or_vector=True)
    return standard, _maps(network.activations(standard, [layer])[layer])


def _maps(activations: torch.Tensor) -> torch.Tensor:
    """One image's maps (C, H, W); a layer of single numbers has maps of one pixel."""
    first = activations[0]
    return first[:, None, None] if first.ndim == 1 else first.contiguous()


def _view(
    image: torch.Tensor = declare.photo("koala"),
    network: Network = declare.network_of(),
    layer: str = declare.layer_of("network", "fire8", keep=has_maps),
    distortion: Mapping[str, float] = _DISTORTION,
) -> LayerView:
    standard, clean = _undistorted(image, network, layer)
    change = Distortion(**distortion)
    changed = activations.distort(standard, change)
    scores = network.layer_of(network.output).name
    found = network.activations(changed, [layer, scores])  # in one pass
    of, maps = network.layer(layer), _maps(found[layer])
    return LayerView(network, of, changed, maps, clean, found[scores], change)


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
            map_picture(view.maps[unit], THUMB),
        ],
        ["the picture", f"unit {unit} over it", f"unit {unit} alone"],
        columns=1,
        gap=10,
    )
    # the mosaic stands at the upper left, where clicks are counted from
    picture = figures.side_by_side([tiles, side])
    return picture, view_words(view, unit)


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
    if view.network.categories:
        [[first]] = view.network.ranking(view.scores, k=1)
        words += f" The network says {first.name}, {figures.per_cent(first.probability)}."
    else:
        means = view.maps.flatten(1).mean(1)
        words += f" The unit with the largest mean is {int(means.argmax())}: {short(means.max())}."
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
