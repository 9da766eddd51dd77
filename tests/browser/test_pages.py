"""The pages of `render` in a real browser, opened from a file while the network is cut off: keys
move the controls, and the picture is what the live panel shows at the same setting."""

import io
import os
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lab_page import ROOT
from PIL import Image

from labsupport.commands import pages, render
from labsupport.commands.notebooks import FOLDER, Notebook, read, text_of
from labsupport.ui.board import Board

TEMPLATE = ROOT / "tests" / "notebooks" / "template.ipynb"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MADE = ("setup", "warm-up-panel", "slide", "pool-by-network", "topic-1-panel")  # the live panels
MORE = """
from PIL import Image
from labsupport.ui import Live

shades = Panel(
    lambda shade, bright, side: (Image.new("RGB", (side, 70), (shade, 60 + 90 * bright, 9)),
                                 f"{side} wide"),
    {"shade": declare.choice({"dark": 20, "middle": 90, "light": 160, "white": 240}),
     "bright": declare.toggle(), "side": declare.whole(60, 40, 80, step=10)},
    title="Shades",
)
counting = Live(
    lambda: iter(range(1, 41)), {"shade": declare.choice({"red": 200, "none": 0})},
    draw=lambda frame, shade: (Image.new("RGB", (80, 50), (shade, 6 * frame, 0)), f"now {frame}"),
    title="Counting",
)
followed = Panel(
    lambda network, layer: (Image.new("RGB", (60, 60), (9, len(layer), len(network.name))), layer),
    {"network": declare.network_of(names=lambda: ["squeezenet1_1", "alexnet"]),
     "layer": declare.layer_of("network", "fire8")},
    title="Followed",
)
shades
"""
NEAR = 3.0  # grey levels, of 255, that a stored picture may differ by on average


class Page:
    """A page in a browser without a connection, and what it asked for or complained about."""

    def __init__(self, browser, file: Path, width: int = 1366, height: int = 768) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, offline=True
        )
        self.tab = self.context.new_page()
        self.wrong: list[str] = []
        self.tab.on("console", lambda said: self.wrong.append(said.text))
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("request", lambda one: self._asked(one.url, file))
        self.tab.goto(file.as_uri())

    def _asked(self, address: str, file: Path) -> None:
        if not address.startswith("data:") and address != file.as_uri():
            self.wrong.append(address[:80])

    def panel(self, title: str):
        """The panel of that title, scrolled to, with its controls."""
        panel = self.tab.locator(f".lab-answers[aria-label='{title}']")
        panel.scroll_into_view_if_needed()
        self.tab.wait_for_selector(f".lab-answers[aria-label='{title}'][data-ready]")
        return panel

    def press(self, panel, label: str, *keys: str) -> None:
        """Keys on the control with that label, as somebody without a mouse presses them."""
        panel.get_by_label(label, exact=True).focus()
        for key in keys:
            self.tab.keyboard.press(key)


def pixels(panel) -> np.ndarray:
    """The picture that a panel of a page shows."""
    address = panel.locator("img.lab-picture").get_attribute("src")
    content = b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int)


def apart(panel, live: Board) -> float:
    """Grey levels between a page's picture and the live panel's, on average."""
    shown = Image.open(io.BytesIO(live.image.value)).convert("RGB")
    return float(np.abs(pixels(panel) - np.asarray(shown, dtype=int)).mean())


def put(live: Board, **values: object) -> None:
    """Move the live panel's controls, and wait for its picture."""
    for name, value in values.items():
        live.controls[name].source.value = value
    live.settle()


def words(panel) -> str:
    return panel.locator(".lab-readout").inner_text()


def written(notebook: Notebook, source: Path, folder: Path) -> Path:
    """The page of a notebook."""
    done, panels = render.answering(notebook, source)
    file = folder / "page.html"
    page = pages.page(done, source.stem, {source.stem: "A lab"}, panels)
    file.write_text(page, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory) -> Iterator[Page]:
    notebook = render.prepared(TEMPLATE, solved=False, presenter=False)
    like = next(cell for cell in notebook["cells"] if cell["id"] == "setup")
    for place, code in enumerate((MORE, "counting", "followed")):
        notebook["cells"].append({**like, "id": f"more-{place}", "source": code})
    found = Page(browser, written(notebook, TEMPLATE, tmp_path_factory.mktemp("pages")))
    yield found
    found.context.close()


@pytest.fixture(scope="module")
def live() -> dict[str, Board]:
    """The live panels of the same notebook, by their titles."""
    names: dict[str, object] = {}
    cells = {cell["id"]: text_of(cell) for cell in read(TEMPLATE)["cells"]}
    for code in (*(cells[name] for name in MADE), MORE):
        exec(code, names)
    return {one.title: one for one in names.values() if isinstance(one, Board)}


def test_keys_move_the_sliders_and_the_picture_is_the_live_panels(page: Page, live):
    for title, label, low in (("First filters", "filter", 0), ("Growing window", "window", 1)):
        panel, seen = page.panel(title), []
        for keys in (("Home",), ("End",), ("ArrowLeft", "ArrowLeft"), ("PageDown",)):
            page.press(panel, label, *keys)
            now = int(panel.locator("output").inner_text())
            put(live[title], **{"channel" if label == "filter" else label: now})
            assert apart(panel, live[title]) < NEAR, (title, now)
            assert words(panel) == live[title].words
            assert f"{label}: {now}" in panel.locator("img.lab-picture").get_attribute("alt")
            seen.append(now)
        assert seen[0] == low
        assert len(set(seen)) >= 3
    assert page.wrong == []


def test_keys_move_a_menu_and_a_checkbox_and_what_is_not_stored_is_said(page: Page, live):
    panel, shades = page.panel("Shades"), live["Shades"]
    page.press(panel, "shade", "ArrowDown", "ArrowDown")
    put(shades, shade=160)
    assert apart(panel, shades) == 0
    page.press(panel, "bright", "Space")  # the menu and the switch are stored against each other
    put(shades, bright=True)
    assert (apart(panel, shades), words(panel)) == (0, "60 wide")
    assert panel.locator(".lab-note").inner_text() == ""
    page.press(panel, "side", "End")  # but not the slider against both
    put(shades, shade=20, bright=False, side=80)
    assert (apart(panel, shades), words(panel)) == (0, "80 wide")
    note = panel.locator(".lab-note").inner_text()
    assert "shade is back at dark, bright is back at off" in note
    assert panel.get_by_label("shade", exact=True).evaluate("one => one.selectedIndex") == 0
    assert "shade (4 of 4)" in panel.locator(".lab-stored").text_content()
    assert page.wrong == []


def test_a_control_that_follows_says_where_it_is_and_comes_back(page: Page, live):
    panel, followed = page.panel("Followed"), live["Followed"]
    layer = panel.get_by_label("layer", exact=True)
    shown = "one => one.options[one.selectedIndex].textContent"
    default, raw = layer.evaluate(shown), followed.controls["layer"].source.value
    page.press(panel, "squeezenet1_1", "ArrowRight")
    put(followed, network="alexnet")
    assert (apart(panel, followed), words(panel)) == (0, followed.words)
    there = layer.evaluate(shown)
    assert there.startswith(followed.controls["layer"].words)
    assert f"layer: {there}" in panel.locator("img.lab-picture").get_attribute("alt")
    layer.select_option(label=default.replace("  ", " "))  # which this network does not have
    put(followed, network="squeezenet1_1", layer=raw)
    assert (apart(panel, followed), words(panel)) == (0, raw)
    assert "network is back at squeezenet1_1" in panel.locator(".lab-note").inner_text()
    assert page.wrong == []


def test_a_run_has_a_slider_of_time_and_plays(page: Page, live):
    panel, counting = page.panel("Counting"), live["Counting"]
    assert words(panel) == "now 1", "the notebook has not run it"
    page.press(panel, "progress of the run", "End")
    counting.run()
    assert (apart(panel, counting), words(panel)) == (0, "now 40")
    panel.get_by_label("none", exact=True).focus()
    page.tab.keyboard.press("ArrowLeft")  # two short options are buttons to choose from
    page.press(panel, "red", "ArrowRight")
    put(counting, shade=0)
    assert apart(panel, counting) == 0
    panel.get_by_text("Play").click()
    page.tab.wait_for_timeout(600)
    assert words(panel) not in ("now 1", "now 40")
    panel.get_by_text("Stop").click()
    stopped = words(panel)
    page.tab.wait_for_timeout(400)
    assert words(panel) == stopped
    assert page.wrong == []


def test_every_control_has_a_name_and_a_phone_shows_the_picture_with_them(page: Page, browser):
    file = Path(page.tab.url.removeprefix("file://"))
    phone = Page(browser, file, 390, 844)
    for title in ("First filters", "Shades", "Counting"):
        panel = phone.panel(title)
        for control in panel.locator("input, select, button").all():
            name = control.evaluate("one => one.labels?.[0]?.textContent || one.textContent")
            assert name.strip(), title
        box = panel.locator("img.lab-picture").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert phone.tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.wrong == []
    phone.context.close()


@pytest.mark.skipif(os.environ.get("LABS_TESTS") != "all", reason="a whole lab: test --all")
def test_a_labs_page_shows_what_its_panels_show(browser, tmp_path: Path):
    from labsupport.labs import lab05_occlusion as lab05

    source = FOLDER / "05_occlusion.ipynb"
    notebook = render.prepared(source, solved=False, presenter=False)
    page = Page(browser, written(notebook, source, tmp_path))
    panel, live = page.panel("Hide a part"), lab05.hide_panel("giant_panda")
    for label, name, keys in (
        ("from the left (px)", "left", ("End",)),
        ("from the top (px)", "top", ("End",)),
        ("side (px)", "side", ("End",)),
        ("side (px)", "side", ("Home",)),
    ):
        page.press(panel, label, *keys)
        shown = panel.get_by_label(label, exact=True).get_attribute("aria-valuetext")
        for other, start in (("left", 16), ("top", 16), ("side", 64)):
            stays = {"left", "top"} == {name, other} and label == "from the top (px)"
            if other != name and not stays:
                put(live, **{other: start})
        put(live, **{name: int(shown)})
        assert apart(panel, live) < NEAR, (label, shown)
        assert words(panel) == live.words
    panel, run = page.panel("Occlusion map"), lab05.map_panel("koala")
    run.run()
    page.press(panel, "progress of the run", "End")
    assert apart(panel, run) < NEAR
    assert words(panel) == run.words
    assert (tmp_path / "page.html").stat().st_size < 15e6
    assert page.wrong == []
    page.context.close()
