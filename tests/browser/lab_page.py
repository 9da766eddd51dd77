"""JupyterLab in a browser, as the tests drive it: open, run, press keys, look."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"

RUN_WITHIN = 180_000  # milliseconds for a whole notebook
ANSWER_WITHIN = 20_000  # milliseconds for one control
FIRST_WITHIN = 12_000  # milliseconds after which a slider counts as one that waits for Run

# What the page is asked. `cells` are those of the notebook in front.
IS_READY = """() => {
  const panel = window.jupyterapp?.shell?.currentWidget;
  return panel?.content?.model && panel?.sessionContext?.session?.kernel?.status === 'idle';
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
IS_IDLE = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const busy = [...panel.content.widgets].some(cell => cell.prompt === '*');
  return panel.sessionContext.session.kernel.status === 'idle' && !busy;
}"""
OUTPUTS = """() => {
  const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
  return cells.map((cell, place) => ({
    place, id: cell.id, type: cell.type, count: cell.executionCount ?? null,
    outputs: cell.type === 'code' ? cell.outputs.toJSON() : [],
  }));
}"""
GO_TO = """async place => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = place;
  notebook.mode = 'command';
  await notebook.scrollToItem(place, 'start');
}"""
# Notes the time of each key press and of each picture that has been decoded after it.
WATCH = """picture => {
  window.labTimes = {pressed: 0, shown: 0};
  addEventListener('keydown', () => { window.labTimes = {pressed: performance.now(), shown: 0}; },
                   {capture: true});
  picture.addEventListener('load', () => {
    if (!window.labTimes.shown) window.labTimes.shown = performance.now();
  });
}"""
TOOK = "() => window.labTimes.shown ? window.labTimes.shown - window.labTimes.pressed : null"
# What of a panel must lie on one screen, in pixels from its top; texts that are cut off; what a
# screen reader cannot name.
LAYOUT = """panel => {
  const seen = words => [...panel.querySelectorAll(words)].filter(one => one.offsetParent);
  const bottom = one => one.getBoundingClientRect().bottom;
  const parts = seen('.lab-control, img.lab-picture, .lab-readout');
  const words = one => one.textContent || one.placeholder || one.value;
  const pen = document.createElement('canvas').getContext('2d');
  const tooLong = menu => {
    const style = getComputedStyle(menu);
    pen.font = `${style.fontSize} ${style.fontFamily}`;
    const room = menu.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return [...menu.options].map(one => one.text).filter(one => pen.measureText(one).width > room);
  };
  return {
    controls: seen('.lab-control').length,
    height: Math.max(...parts.map(bottom)) - panel.getBoundingClientRect().top,
    cut: seen('button, .widget-label, input, .lab-picture')
      .filter(one => one.scrollWidth > one.clientWidth + 1).map(words)
      .concat(seen('select').flatMap(tooLong)),
    unnamed: seen('.noUi-handle, select, input, textarea, button, img')
      .filter(one => !(one.getAttribute('aria-label') || one.alt || one.title
                       || one.textContent.trim())).length,
  };
}"""
LAST_BOTTOM = """() => Math.max(...[...document.querySelectorAll('.jp-Notebook .jp-Cell')]
  .map(cell => cell.getBoundingClientRect().bottom))"""
SET_THEME = """name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})"""


def missing(what: str) -> None:
    """Skip, saying why; where everything must be there (CI=true) fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; on CI nothing may be missing")
    pytest.skip(what)


class LabPage:
    """A JupyterLab page; `addresses` are the hosts that it asked, `errors` what went wrong."""

    def __init__(self, server, context) -> None:
        self.server, self.context, self.page = server, context, context.new_page()
        self.addresses: set[str] = set()
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.addresses.add(_host(request.url)))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def close(self) -> None:
        """Shut this page's kernels down and close it."""
        self.page.evaluate("() => window.jupyterapp?.serviceManager?.sessions?.shutdownAll()")
        self.context.close()

    def open(self, source: Path, layout: str = "&reset") -> None:
        """Open a copy of the notebook, in JupyterLab's usual layout, and wait for its kernel."""
        name, token = source.name, self.server.token
        shutil.copyfile(source, self.server.folder / name)
        if (drawings := source.parent / "drawings").is_dir():
            shutil.copytree(drawings, self.server.folder / "drawings", dirs_exist_ok=True)
        self.page.goto(f"{self.server.address}/lab/tree/{name}?token={token}{layout}")
        self.page.wait_for_function(IS_READY, timeout=60_000)

    def run_all(self) -> None:
        """Run all cells and wait until the kernel is idle."""
        self.page.set_default_timeout(RUN_WITHIN)
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function(IS_IDLE, timeout=RUN_WITHIN)
        self.page.set_default_timeout(30_000)

    def cells(self) -> list[dict]:
        """Every cell with its outputs, as they are now."""
        return self.page.evaluate(OUTPUTS)

    def faults(self) -> list[str]:
        """Errors in outputs, tracebacks on stderr, code cells that did not run."""
        found = []
        for cell in self.cells():
            if cell["type"] == "code" and cell["count"] is None:
                found.append(f"{cell['id']} did not run")
            for output in cell["outputs"]:
                if output["output_type"] == "error":
                    found.append(f"{cell['id']}: {output['ename']}: {output['evalue']}")
                elif "Traceback" in str(output.get("text", "")):
                    found.append(f"{cell['id']}: {output['text']}")
        return found + self.errors

    def panels(self) -> list["PanelOnPage"]:
        """The panels of all cells, from top to bottom."""
        found = []
        for cell in self.cells():
            if any(_is_widget(output) for output in cell["outputs"]):
                node = self.go_to(cell["place"])
                node.locator(".jupyter-widgets").first.wait_for(timeout=ANSWER_WITHIN)
                count = node.locator(".lab-panel").count()
                found += [PanelOnPage(self, cell["place"], i) for i in range(count)]
        return found

    def go_to(self, place: int):
        """Scroll to a cell (only cells near the screen exist in the page), and give its node."""
        self.page.evaluate(GO_TO, place)
        node = self.page.locator(f'.jp-Cell[data-windowed-list-index="{place}"]')
        node.wait_for(timeout=ANSWER_WITHIN)
        return node

    def picture_of_all(self, path: Path, *, highest: int = 14_000) -> None:
        """A screenshot of the whole notebook, as tall as it is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        size = self.page.viewport_size
        self.page.set_viewport_size({**size, "height": highest})
        self.go_to(0)
        self.page.wait_for_timeout(1500)
        height = min(int(self.page.evaluate(LAST_BOTTOM)) + 60, highest)
        self.page.set_viewport_size({**size, "height": height})
        self.go_to(0)
        self.page.wait_for_timeout(700)
        self.page.screenshot(path=path)
        self.page.set_viewport_size(size)

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme, "JupyterLab Dark" say."""
        self.page.evaluate(SET_THEME, name)
        self.page.wait_for_timeout(800)


class PanelOnPage:
    """One panel in the page: its picture, sliders and buttons."""

    def __init__(self, desk: LabPage, place: int, index: int) -> None:
        self.desk, self.place, self.index = desk, place, index

    @property
    def node(self):
        """The panel, scrolled into view."""
        return self.desk.go_to(self.place).locator(".lab-panel").nth(self.index)

    @property
    def title(self) -> str:
        return self.node.locator(".lab-title").inner_text()

    @property
    def is_live(self) -> bool:
        return self.node.locator(".lab-progress").count() > 0

    @property
    def address(self) -> str:
        """The address of the picture; it is another one after each redraw."""
        return self.node.locator("img.lab-picture").get_attribute("src") or ""

    def sliders(self):
        return self.node.locator(".noUi-handle:visible")

    def button(self, words: str):
        return self.node.locator("button:visible", has_text=words)

    def key_presses(self, index: int, count: int = 3) -> list[float]:
        """Milliseconds from presses of an arrow key on that slider to the new pictures.

        Empty when the picture does not change: a slider that waits for Run, say.
        """
        self.node.locator("img.lab-picture").first.evaluate(WATCH)
        took: list[float] = []
        for press in range(count):
            self._rest()
            before = self.address
            handle = self.sliders().nth(index)
            handle.focus()
            self.desk.page.keyboard.press(self._next_key(handle, press))
            self._press_run_if_asked()
            seconds = self._time_to_picture(FIRST_WITHIN if not took else ANSWER_WITHIN)
            if seconds is None:
                return took
            assert self.address != before
            took.append(seconds)
        return took

    def label(self, index: int) -> str:
        """The words before a slider."""
        labelled = "ancestor::*[.//*[contains(@class, 'widget-label')]][1]"
        row = self.sliders().nth(index).locator(f"xpath={labelled}")
        return row.locator(".widget-label").first.inner_text()

    def layout(self) -> dict:
        """The number of controls in sight, the height of what must be seen together, texts that
        are cut off, and the number of widgets without an accessible name."""
        return self.node.evaluate(LAYOUT)

    def _time_to_picture(self, patience: int) -> float | None:
        for _ in range(patience // 20):
            found = self.desk.page.evaluate(TOOK)
            if found is not None:
                return found
            self.desk.page.wait_for_timeout(20)
        return None

    def _press_run_if_asked(self) -> None:
        self.desk.page.wait_for_timeout(60)
        run = self.button("Run")
        asked = not self.is_live or self.node.get_by_text("press Run").count()
        if asked and run.count() and self.desk.page.evaluate(TOOK) is None:
            run.first.click()

    def _rest(self) -> None:
        """Stop a live panel, so that only the key press can bring a picture."""
        stop = self.button("Stop")
        if self.is_live and stop.count() and stop.first.is_enabled():
            stop.first.evaluate("button => button.click()")  # it may be over by now
            self.desk.page.wait_for_timeout(300)

    @staticmethod
    def _next_key(handle, press: int) -> str:
        """Upwards while there is room, then downwards: each press must change the value."""
        now, high = (float(handle.get_attribute(f"aria-value{key}")) for key in ("now", "max"))
        return "ArrowRight" if now < high and press % 4 != 3 else "ArrowLeft"

    def stop(self) -> float:
        """Run, wait for a picture, stop; gives the milliseconds until the panel says so.

        Work that ends before the button is reached needs no Stop: the panel says "finished".
        """
        before = self.address
        self.button("Run").first.click()
        self._until(lambda: self.address != before, "no picture after Run")
        self.button("Stop").first.evaluate(
            """button => { button.click(); const start = performance.now();
            window.labStopped = null;
            const said = button.closest('.lab-panel').querySelector('.lab-progress');
            const over = () => button.textContent.includes('Continue')
              || said.textContent.includes('finished');
            const wait = () => over()
              ? window.labStopped = performance.now() - start : setTimeout(wait, 5);
            wait(); }"""
        )
        self.desk.page.wait_for_function("() => window.labStopped !== null", timeout=ANSWER_WITHIN)
        return self.desk.page.evaluate("() => window.labStopped")

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = self.desk.page.viewport_size
        self.desk.page.set_viewport_size({"width": size["width"], "height": 1600})
        self.desk.page.wait_for_timeout(300)
        self.node.screenshot(path=path)
        self.desk.page.set_viewport_size(size)

    def _until(self, ready, words: str) -> None:
        for _ in range(ANSWER_WITHIN // 20):
            if ready():
                return
            self.desk.page.wait_for_timeout(20)
        raise AssertionError(words)


def _host(address: str) -> str:
    if address.startswith(("blob:", "data:", "about:")):
        return "127.0.0.1"
    return address.split("/")[2].split(":")[0]


def _is_widget(output: dict) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
