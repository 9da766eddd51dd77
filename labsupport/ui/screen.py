"""One screen: a panel's controls and its whole picture are seen together.

The controls stand in a narrow column beside the picture; above it, in rows, where that leaves a
wide picture larger. The picture is scaled down to the room that is left, by the browser, and a
click opens it at its full pixels. What ipywidgets does not do, `Screen` does in the page: it gives
every control, slider handle and picture a name that a screen reader can say, and opens pictures.
"""

import anywidget

SIDE_BY_SIDE = (640, 510)  # pixels that are left for a picture on a laptop of 1366 x 768 ...
ONE_ABOVE_THE_OTHER = (930, 370)  # ... beside the controls, and below them
STAYS = 1.25  # how much larger a picture must become before its controls move
_LEGIBLE = 480  # pixels, at most, of a picture that is enlarged

STYLE = """<style>
.lab-panel { --lab-height: max(260px, calc(100vh - 258px)); padding: 4px 0 10px; }
.lab-panel.lab-wide { --lab-height: max(240px, calc(100vh - 398px)); }
.lab-title { font-size: 115%; font-weight: 600; line-height: 1.3; }
.lab-body {
  display: grid; grid-template-columns: 272px minmax(0, 1fr); column-gap: 16px;
  align-items: start; overflow: visible;
}
.lab-wide > .lab-body { grid-template-columns: minmax(0, 1fr); row-gap: 4px; }
.lab-controls, .lab-shown { min-width: 0; overflow: visible; }
.lab-wide > .lab-body > .lab-controls, .lab-wide .lab-more {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); column-gap: 16px;
  align-items: start;
}
.lab-wide .lab-more { grid-column: 1 / -1; }
.lab-controls .widget-inline-hbox { flex-wrap: wrap; height: auto; width: auto; margin: 0 2px; }
.lab-controls .widget-inline-hbox > .widget-label {
  flex: 1 0 100%; width: 100%; max-width: none; height: 18px; line-height: 18px;
  text-align: left; font-size: 12px; margin: 0;
}
.lab-controls .widget-checkbox > .widget-label { display: none; }
.lab-controls .slider-container, .lab-controls select { min-width: 0; flex: 1 1 0; }
.lab-controls select, .lab-controls input {
  height: 26px; font-size: 12px; text-overflow: ellipsis;
}
.lab-controls .slider-container { height: 24px; display: flex; align-items: center; }
.lab-controls .slider-container > .slider { flex: 1 1 0; margin: 0 8px; }
.lab-controls .widget-hprogress { height: 18px; width: 216px; margin: 0 2px; }
.lab-controls .lab-progress { height: 20px; line-height: 20px; margin: 0 2px; }
.lab-controls .widget-readout { min-width: 46px; height: 24px; line-height: 24px; margin: 0; }
.lab-controls .widget-hbox { flex-wrap: wrap; }
.lab-controls .lab-with-upload { flex-wrap: nowrap; }
.lab-with-upload { align-items: end; width: auto; overflow: visible; }
.lab-with-upload > :first-child { flex: 1 1 0; min-width: 0; }
.lab-upload {
  width: 34px; height: 26px; padding: 0; margin: 0 2px; font-size: 0; line-height: 26px;
}
.lab-upload > i { font-size: 14px; margin: 0; }
.lab-picture {
  flex: 0 0 auto; align-self: flex-start; height: auto; background: #fff; margin: 0;
  cursor: zoom-in;
}
.lab-readout { grid-column: 1 / -1; height: 58px; overflow-y: auto; margin: 4px 0 0; }
.lab-readout > div > div { line-height: 19px; white-space: pre-line; max-width: 72em; }
.lab-message > div > div {
  line-height: 1.4; padding: 2px 8px; border-left: 4px solid; overflow-wrap: anywhere;
  white-space: normal; max-height: 88px; overflow-y: auto;
}
.lab-message .error { border-color: #d32f4a; }
.lab-message .note { border-color: #3d9bd6; }
.lab-panel :focus-visible { outline: 2px solid #3d9bd6; outline-offset: 1px; }
.lab-zoom { max-width: 96vw; max-height: 94vh; padding: 8px; overflow: auto; background: #fff; }
.lab-zoom::backdrop { background: rgb(0 0 0 / 60%); }
.lab-zoom img { display: block; cursor: zoom-out; max-width: none; }
@media (max-width: 900px) {
  .lab-body { grid-template-columns: minmax(0, 1fr); }
}
</style>"""

_IN_THE_PAGE = """
const NAMED = ".noUi-handle, select, input, textarea, .widget-readout, button";
const said = (one) => (one?.textContent ?? "").trim();
function render({ model, el }) {
  el.style.display = "none";
  const over = new AbortController();
  const name = (panel) => {
    for (const one of panel.querySelectorAll(NAMED)) {
      if (one.getAttribute("aria-label") || (one.matches("button") && said(one))) continue;
      const row = one.closest(".lab-control, .jupyter-widgets:has(> .widget-label)");
      const label = row?.querySelector(".widget-label");
      const words = said(label) || label?.title || one.title || one.placeholder;
      if (words) one.setAttribute("aria-label", words);
    }
    const words = said(panel.querySelector(".lab-title"));
    for (const one of panel.querySelectorAll("img.lab-picture")) {
      one.alt = `${words}. ${said(panel.querySelector(".lab-readout"))}`;
    }
  };
  const open = (picture) => {
    const sheet = document.createElement("dialog");
    sheet.className = "lab-zoom";
    const whole = document.createElement("img");
    whole.src = picture.src;
    whole.alt = picture.alt;
    sheet.append(whole);
    document.body.append(sheet);
    sheet.addEventListener("click", () => sheet.close());
    sheet.addEventListener("keydown", (event) => event.stopPropagation());
    sheet.addEventListener("close", () => sheet.remove());
    sheet.showModal();
  };
  const begin = () => {
    if (over.signal.aborted) return;
    const panel = el.closest(".lab-panel");
    if (!panel) return setTimeout(begin, 100);
    name(panel);
    const watch = new MutationObserver(() => name(panel));
    watch.observe(panel, { childList: true, subtree: true, characterData: true });
    over.signal.addEventListener("abort", () => watch.disconnect());
    panel.addEventListener("click", ({ target }) => {
      if (target.matches("img.lab-picture:not([role])")) open(target);
    }, { signal: over.signal });
  };
  begin();
  return () => over.abort();
}
export default { render };
"""


class Screen(anywidget.AnyWidget):
    """What a panel does in the page itself: names for all that has none, pictures that open."""

    _esm = _IN_THE_PAGE


def times_of(width: int, height: int) -> int:
    """By which whole number a picture is enlarged, so that one of a small network can be seen.

    >>> times_of(160, 96), times_of(300, 200)
    (3, 1)
    """
    return max(1, _LEGIBLE // max(width, height))


def width_of(width: int, height: int) -> str:
    """The width of a picture of so many pixels, in CSS: never enlarged, and whole on the screen."""
    return f"min({width}px, 100%, calc(var(--lab-height) * {width / height:.4f}))"


def goes_below(width: int, height: int, now: bool | None) -> bool:
    """Whether a picture of so many pixels is seen larger below its controls than beside them.

    `now` says where it is, if it is anywhere: small gains move nothing.

    >>> goes_below(1200, 200, None), goes_below(600, 600, None)
    (True, False)
    """
    beside, below = (
        min(1.0, room[0] / width, room[1] / height) for room in (SIDE_BY_SIDE, ONE_ABOVE_THE_OTHER)
    )
    if now:
        return beside < below * STAYS
    return below > beside * (1.1 if now is None else STAYS)
