"""Curves with axes: the axes are drawn once, each new frame draws only the lines over them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labsupport.ui import ink

if TYPE_CHECKING:
    import matplotlib.axes

Axes: TypeAlias = "matplotlib.axes.Axes"  # which is imported when the first picture is drawn
Numbers = NDArray[Any]
Limits = tuple[float, float]
Size = tuple[int, int]  # width and height in pixels
_MOST = 8  # figures that are kept
_NAME = 130  # pixels for the name of a line, such as "content relu4_2"


class Curve:
    """One pair of axes on which named lines are drawn again and again.

    `across` and `up` are the axes' labels, `log` makes the upward axis logarithmic, `points` marks
    each number. Colours and dashes both tell the lines apart, and a line above the axes names them.
    As long as names and limits stay the same, a frame costs the drawing of its lines alone.
    """

    def __init__(
        self, *, across: str, up: str, size: Size, log: bool = False, points: bool = False
    ) -> None:
        self._canvas = _canvas(size)
        self._columns = min(3, max(1, size[0] // _NAME))
        self._axes: Any = None
        self._labels = {"xlabel": across, "ylabel": up}
        self._log, self._points = log, points
        self._lines: dict[str, Any] = {}
        self._view: tuple[Limits, Limits] | None = None
        self._background: Any = None
        self._lock = threading.Lock()

    def draw(
        self,
        lines: Mapping[str, tuple[Numbers, Numbers]],
        *,
        limits: Limits | None = None,
        reach: float | None = None,
    ) -> Image.Image:
        """A picture of the lines, each a pair (x, y) of rows.

        `limits` are those of the upward axis, and on a logarithmic one values beyond lie on its
        edge; `reach` is the right end of the other axis, which begins at zero then.
        """
        with self._lock:
            if list(lines) != list(self._lines):
                self._begin(list(lines))
            for name, (x, y) in lines.items():
                heights = np.clip(y, *limits) if limits and self._log else y
                self._lines[name].set_data(x, heights)
                self._lines[name].set_marker("o" if self._points or len(x) == 1 else "")
            self._fit(limits, reach)
            self._canvas.restore_region(self._background)
            for line in self._lines.values():
                self._axes.draw_artist(line)
            return _pixels(self._canvas)

    def _begin(self, names: list[str]) -> None:
        """Empty axes with a line for each name."""
        self._canvas.figure.clear()
        self._axes = self._canvas.figure.add_subplot(**self._labels)
        house_style(self._axes)
        if self._log:
            self._axes.set_yscale("log")
        self._lines = {
            name: self._axes.plot(
                [],
                [],
                label=name,
                color=ink.SERIES[place % len(ink.SERIES)],
                linestyle=ink.DASHES[place % len(ink.DASHES)],
                linewidth=2,
                markersize=4,
                animated=True,
                clip_on=not self._log,  # a line on the edge is seen whole
            )[0]
            for place, name in enumerate(names)
        }
        if len(names) > 1:
            self._canvas.figure.legend(
                loc="outside upper left",
                ncols=min(self._columns, len(names)),
                frameon=False,
                fontsize=8,
            )
        self._view = None

    def _fit(self, limits: Limits | None, reach: float | None) -> None:
        """The axes for these lines; their background is drawn anew where their limits changed."""
        axes = self._axes
        axes.relim()
        axes.autoscale(True)
        axes.autoscale_view()
        if limits:
            axes.set_ylim(*limits)
        if reach is not None:
            axes.set_xlim(0, max(reach, 1))
        view = (axes.get_xlim(), axes.get_ylim())
        if view != self._view:
            self._canvas.draw()
            self._background = self._canvas.copy_from_bbox(self._canvas.figure.bbox)
            self._view = view


_lock = threading.Lock()


curve_for = lru_cache(maxsize=_MOST)(Curve)  # the kept axes of a kind, or new ones


def drawn(
    plot: Callable[[Axes], None], *, size: Size = (480, 300), across: str = "", up: str = ""
) -> Image.Image:
    """A picture of `size` pixels from one pair of matplotlib axes in the house style.

    `plot` gets the empty axes, which have the labels `across` and `up`, and draws on them.
    One figure per size is kept and used again, which is several times faster than a new one, and no
    thread ever meets another inside it.
    """
    with _lock:
        canvas = _kept_canvas(size)
        try:
            axes = canvas.figure.add_subplot(xlabel=across, ylabel=up)
            house_style(axes)
            plot(axes)
            canvas.draw()
            return _pixels(canvas)
        finally:
            canvas.figure.clear()


def _canvas(size: Size) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained")
    return FigureCanvasAgg(figure)


_kept_canvas = lru_cache(maxsize=_MOST)(_canvas)


def _pixels(canvas: Any) -> Image.Image:
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def house_style(axes: Axes) -> None:
    """Two spines, a quiet grid, small labels, all in the colours of `ink`."""
    ink_colour, rule = ("#{:02x}{:02x}{:02x}".format(*rgb) for rgb in (ink.INK, ink.RULE))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(ink_colour)
    axes.grid(True, color=rule, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=ink_colour, labelsize=9)
    axes.xaxis.label.set(color=ink_colour, size=9)
    axes.yaxis.label.set(color=ink_colour, size=9)
