"""JupyterLab in a browser, as the tests drive it: open, run, press keys, look."""

import os
import shutil
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"

RUN_WITHIN = 180_000  # milliseconds for a whole notebook
ANSWER_WITHIN = 20_000  # milliseconds for one control

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

    def open(self, source: Path) -> None:
        """Open a copy of the notebook and wait for its kernel."""
        name = source.name
        shutil.copyfile(source, self.server.folder / name)
        self.page.goto(f"{self.server.address}/lab/tree/{name}?token={self.server.token}&reset")
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
        self.page.set_viewport_size({"width": 1280, "height": highest})
        self.go_to(0)
        self.page.wait_for_timeout(1500)
        height = min(int(self.page.evaluate(LAST_BOTTOM)) + 60, highest)
        self.page.set_viewport_size({"width": 1280, "height": height})
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

    def key_presses(self, count: int = 7) -> list[float]:
        """Milliseconds from each press of an arrow key on the first slider to the new picture."""
        node = self.node
        node.locator("img.lab-picture").first.evaluate(WATCH)
        handle = node.locator(".noUi-handle:visible").first
        handle.focus()
        took = []
        for press in range(count):
            before = self.address
            self.desk.page.keyboard.press(self._next_key(handle, press))
            run = self.button("Run")
            self.desk.page.wait_for_timeout(60)
            if not self.is_live and run.count():
                run.first.click()
                handle.focus()
            self.desk.page.wait_for_function(f"() => ({TOOK})() !== null", timeout=ANSWER_WITHIN)
            assert self.address != before
            took.append(self.desk.page.evaluate(TOOK))
        return took

    @staticmethod
    def _next_key(handle, press: int) -> str:
        """Upwards while there is room, then downwards: each press must change the value."""
        now, high = (float(handle.get_attribute(f"aria-value{key}")) for key in ("now", "max"))
        return "ArrowRight" if now < high and press % 4 != 3 else "ArrowLeft"

    def stop(self) -> float:
        """Run, wait for a picture, stop; gives the milliseconds until the panel says so."""
        before = self.address
        self.button("Run").first.click()
        self._until(lambda: self.address != before, "no picture after Run")
        self.button("Stop").first.evaluate(
            """button => { button.click(); const start = performance.now();
            window.labStopped = null;
            const wait = () => button.textContent.includes('Continue')
              ? window.labStopped = performance.now() - start : setTimeout(wait, 5);
            wait(); }"""
        )
        self.desk.page.wait_for_function("() => window.labStopped !== null", timeout=ANSWER_WITHIN)
        return self.desk.page.evaluate("() => window.labStopped")

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.node.screenshot(path=path)

    def _until(self, ready, words: str) -> None:
        for _ in range(ANSWER_WITHIN // 20):
            if ready():
                return
            self.desk.page.wait_for_timeout(20)
        raise AssertionError(words)


def median(milliseconds: list[float]) -> float:
    return statistics.median(milliseconds)


def _host(address: str) -> str:
    if address.startswith(("blob:", "data:", "about:")):
        return "127.0.0.1"
    return address.split("/")[2].split(":")[0]


def _is_widget(output: dict) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
