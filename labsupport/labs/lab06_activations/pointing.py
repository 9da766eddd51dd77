"""Choose a unit in the picture itself: by a click on its map, or by keys.

ipywidgets draws pictures but does not say where they are clicked. `Pointer` is a widget without a
look of its own that listens to the picture of its panel and sends clicks and keys to Python; what
they mean is decided there.
"""

from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from labsupport.labs.lab06_activations.mosaics import MosaicPlan, mosaic_plan
from labsupport.ui import controls
from labsupport.ui.control import shut
from labsupport.ui.declare import Declared

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
            self._turn(-1 if event["key"] == "PageUp" else 1)
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
            step *= self._map().columns
            if not 0 <= self.source.value + step <= last:
                return
        self.put(min(max(self.source.value + step, 0), last))

    def _turn(self, step: int) -> None:
        menu = self._layer.source
        menu.index = min(max(menu.index + step, 0), len(menu.options) - 1)

    def _close(self) -> None:
        shut(self.pointer)
        super()._close()


def picked(wide: int) -> Any:
    """A unit of the layer that the control `layer` has chosen, in a mosaic of this width."""
    return Declared(lambda _, at, made: UnitPicker(made["layer"], at, wide), 0)
