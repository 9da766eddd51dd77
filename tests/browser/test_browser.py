"""Notebooks in a real browser: each runs whole, a key press on a slider changes the picture, Stop
answers. Screenshots are kept in build/screenshots. `touched.py` says which are opened."""

import json
import re
from pathlib import Path
from statistics import median

import pytest
from lab_page import ROOT, SCREENSHOTS, LabPage, PanelOnPage, missing
from touched import opened

from labsupport.commands import lab, pages, render

TEMPLATE = ROOT / "tests" / "notebooks" / "template.ipynb"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STOP_WITHIN = 500  # milliseconds
ONE_SCREEN = 640  # pixels that JupyterLab leaves of a laptop's 768
IN_SIGHT = 5  # controls


def slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.casefold()).strip("-")


def check_panel(panel: PanelOnPage, folder: Path) -> str:
    """Drive one panel; gives a line on the time from key presses to pictures, and to a stop."""
    title, words = panel.title, []
    check_layout(panel)
    panel.button("More").first.click()
    panel.button("Less").first.wait_for()  # the kernel unfolds the others
    assert not panel.layout()["cut"], f"{title}: {panel.layout()}"
    count = panel.sliders().count()
    for index in range(count):
        took = panel.key_presses(index)
        if took:
            label = panel.label(index)
            words.append(f"{label}: {median(took):.0f} ms (slowest {max(took):.0f})")
    assert words or not count, f"{title}: no slider changes the picture"
    if panel.is_live:
        stopped = panel.stop()
        panel.desk.page.wait_for_timeout(STOP_WITHIN)  # the frame in work still comes
        kept = panel.address
        panel.desk.page.wait_for_timeout(1000)
        assert stopped <= STOP_WITHIN, f"{title}: Stop took {stopped:.0f} ms"
        assert panel.address == kept, f"{title}: pictures still come after Stop"
        words.append(f"Stop {stopped:.0f} ms")
    assert panel.node.locator("img.lab-picture").first.evaluate("one => one.naturalWidth") > 0
    panel.screenshot(folder / f"{slug(title)}.png")
    return f"{title}: {', '.join(words) or 'no slider'}"


def check_layout(panel: PanelOnPage) -> None:
    """The hand and the picture are seen together, all texts are whole, everything has a name."""
    layout = panel.layout()
    assert layout["controls"] <= IN_SIGHT, f"{panel.title}: {layout}"
    assert layout["height"] <= ONE_SCREEN, f"{panel.title}: {layout}"
    assert not layout["cut"], f"{panel.title}: {layout}"
    assert not layout["unnamed"], f"{panel.title}: {layout}"


@pytest.mark.parametrize("notebook", [TEMPLATE, *opened()], ids=lambda path: path.stem)
def test_notebook_in_the_browser(notebook: Path, desk: LabPage, measured):
    folder = SCREENSHOTS / notebook.stem
    desk.open(notebook)
    desk.run_all()
    assert desk.faults() == []
    desk.picture_of_all(SCREENSHOTS / f"{notebook.stem}.png")
    panels = desk.panels()
    assert panels, "no panel is to be seen"
    for panel in panels:
        words = check_panel(panel, folder)
        measured(f"{notebook.stem}, in the browser: {words}")
    assert desk.faults() == []
    assert desk.addresses == {"127.0.0.1"}
    assert desk.server.attempts == []


# ---- cards, a live panel, and faults that the gate must see ----------------------------------


def notebook_of(folder: Path, name: str, *cells: str) -> Path:
    frame = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    parts = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None,
         "source": code.strip()} for i, code in enumerate(cells)
    ]  # fmt: skip
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps(frame | {"cells": parts}), encoding="utf-8")
    return path


IMPORT = """
import torch
from labsupport.labs import check, hint, predict, progress, solution, use
"""
CARDS = (
    IMPORT,
    """
def moving_average(row, width):
    raise NotImplementedError
check("90.1", moving_average)
average = use("90.1", moving_average)
hint("90.1")
solution("90.1")
""",
    """
def moving_average(row, width):
    print("the row is", row)
    return torch.stack([row[i : i + width].sum() for i in range(len(row) - width + 1)])
check("90.1", moving_average)
""",
    """
def moving_average(row, width):
    return row.means(width)
check("90.1", moving_average)
""",
    """
def moving_average(row, width):
    return row.unfold(0, width, 1).mean(1)
check("90.1", moving_average)
solution("90.1")
""",
    """
predict("90.q1")
progress()
""",
)
LIVE = (
    """
import time
from PIL import Image
from labsupport.ui import Live, declare

def frames(seed):
    for step in range(400):
        time.sleep(0.03)
        yield step

def draw(step, shade):
    return Image.new("RGB", (160, 120), (step % 256, shade, seed_of(step))), f"Step {step}"

def seed_of(step):
    return (7 * step) % 256

Live(frames, {"seed": declare.seed(), "shade": declare.whole(40, 0, 255)},
     draw=draw, title="Slow colours")
""",
)


def test_cards_are_there_in_light_and_dark_and_unfold_by_keyboard(desk: LabPage, tmp_path: Path):
    desk.open(notebook_of(tmp_path, "cards", *CARDS))
    desk.run_all()
    assert desk.faults() == []
    for theme in ("Light", "Dark"):
        desk.theme(f"JupyterLab {theme}")
        desk.picture_of_all(SCREENSHOTS / f"cards-{theme.lower()}.png", highest=4000)
    cards = desk.go_to(2).locator(".lab-card[role=status]")
    assert cards.count() == 1
    assert "Not yet" in cards.inner_text()
    assert "the sum of each window" in cards.inner_text()
    cell = desk.go_to(5)
    card = cell.locator(".lab-card").first
    assert "Each place near" not in card.inner_text()
    card.locator("input").first.focus()
    desk.page.keyboard.press("Space")
    assert "✗ Not quite" in card.inner_text()
    desk.page.keyboard.press("ArrowDown")
    assert "✓ Right" in card.inner_text()
    assert "Each place near" in card.inner_text()
    active = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    assert desk.page.evaluate(active) == 5, "the keys have moved the notebook"
    desk.page.keyboard.type("dd")
    assert len(desk.cells()) == len(CARDS), "the keys have cut cells out"


def test_a_live_panel_stops(desk: LabPage, tmp_path, measured):
    desk.open(notebook_of(tmp_path, "live", *LIVE))
    desk.run_all()
    assert desk.faults() == []
    (panel,) = desk.panels()
    assert panel.is_live
    words = check_panel(panel, SCREENSHOTS / "live")
    measured(f"in the browser: {words}")


def test_without_a_browser_the_tests_skip_but_not_on_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"):
        missing("there is no Chromium")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"):
        missing("there is no Chromium")


def test_errors_are_seen(desk: LabPage, tmp_path):
    later = "import sys\nprint('Traceback (most recent call last)', file=sys.stderr)"
    # the kernel leaves out the cells that wait when one fails: by then the last one has to wait
    fails = "import time\ntime.sleep(2)\n1 / 0"
    desk.open(notebook_of(tmp_path, "faults", later, fails, "2"))
    desk.run_all()
    found = "\n".join(desk.faults())
    assert "c0: Traceback" in found
    assert "c1: ZeroDivisionError" in found
    assert "c2 did not run" in found


def test_the_workbook_opens_with_its_side_bars_folded(desk: LabPage, tmp_path, monkeypatch):
    workspaces = desk.server.folder.parent / "jupyterlab_workspaces_dir"
    monkeypatch.setattr(lab, "WORKSPACES", workspaces)
    (workspaces / lab.LAYOUT).unlink(missing_ok=True)  # what other tests have left
    lab.own_layout()
    desk.open(notebook_of(tmp_path, "folded", "1"), layout="")
    sides = "() => [jupyterapp.shell.leftCollapsed, jupyterapp.shell.rightCollapsed]"
    assert desk.page.evaluate(sides) == [True, True]
    assert desk.page.locator(".jp-Notebook").bounding_box()["width"] > 1200


# ---- the pages of `render` ------------------------------------------------------------------


def test_a_rendered_page_opens_without_a_connection(browser, tmp_path: Path):
    template = render.prepared(TEMPLATE, solved=False, presenter=False)
    written = pages.page(
        render.executed(template, TEMPLATE), TEMPLATE.stem, {TEMPLATE.stem: "A lab"}
    )
    file = tmp_path / "page.html"
    file.write_text(written, encoding="utf-8")
    asked: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url.split(",")[0][:40]))
    page.goto(file.as_uri())
    pictures = page.evaluate("[...document.images].map(one => one.naturalWidth * one.alt.length)")
    assert min(pictures) > 0
    assert [one for one in asked if not one.startswith("data:")] == [file.as_uri()[:40]]
    assert page.evaluate("document.querySelector('math').getBoundingClientRect().width") > 5
    page.close()
