"""Units are chosen in the mosaic itself: a click and keys on a panel's picture, in a browser."""

from pathlib import Path

import pytest
from lab_page import LabPage, median
from test_browser import notebook_of

from labsupport.core import network as networks
from labsupport.labs.lab06_activations.mosaics import mosaic_plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIVE = """
from labsupport.labs import lab06 as lab
live = lab.live_panel("koala", layer="fire8", unit=0)
live
"""
READOUT = "() => document.querySelector('.lab-readout')?.innerText ?? ''"


def test_clicks_and_arrow_keys_choose_a_unit(desk: LabPage, tmp_path: Path, measured):
    desk.open(notebook_of(tmp_path, "pointing", LIVE))
    desk.run_all()
    assert desk.faults() == []
    [panel] = desk.panels()
    picture, page = panel.node.locator("img.lab-picture"), desk.page
    picture.locator("xpath=self::*[@tabindex='0']").wait_for()

    def says(words: str) -> None:
        page.wait_for_function(f"() => ({READOUT})().includes('{words}')")

    says("fire8, unit 0 of 512")
    sheet = mosaic_plan(networks.load().layer("fire8").shape)
    left, top, right, bottom = sheet.box(100)
    factor = picture.evaluate("one => one.clientWidth / one.naturalWidth")
    middle = ((left + right) / 2 * factor, (top + bottom) / 2 * factor)
    picture.click(position={"x": middle[0], "y": middle[1]})
    says("unit 100 of 512")
    for key, unit in (("ArrowRight", 101), ("ArrowDown", 124), ("ArrowLeft", 123), ("Home", 0)):
        page.keyboard.press(key)
        says(f"unit {unit} of 512")
    page.keyboard.press("PageUp")
    page.wait_for_function(f"() => !({READOUT})().includes('fire8, unit')")
    assert desk.faults() == []
    index = next(i for i in range(panel.sliders().count()) if "rotate" in panel.label(i))
    took = panel.key_presses(index, 9)
    measured(f"a distortion step to the new mosaic, in the browser: median {median(took):.0f} ms")
