"""What lives in a panel's picture, in the page: a dreamed film plays, its time goes on, its
pictures change; and a click and keys in a mosaic choose its units."""

from pathlib import Path
from statistics import median

import pytest
from lab_page import LabPage
from test_browser import notebook_of

from labsupport.core import network as networks
from labsupport.ui.mosaics import mosaic_plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ZOOM = """
from labsupport.labs import lab10
zoom = lab10.zoom_panel("neuschwanstein", layer="fire3", count=4, octaves=1, iterations=2, side=160)
zoom.run()
zoom
"""
PLAYS = "film => film.readyState >= 2 && film.videoWidth > 0"
# All pixels at a time of the film, as the browser decodes it.
LOOK = """async (film, time) => {
  film.pause();
  await new Promise(done => {
    film.addEventListener('seeked', done, {once: true});
    film.currentTime = time;
  });
  const sheet = document.createElement('canvas');
  [sheet.width, sheet.height] = [film.videoWidth, film.videoHeight];
  const pen = sheet.getContext('2d');
  pen.drawImage(film, 0, 0);
  return [...pen.getImageData(0, 0, sheet.width, sheet.height).data];
}"""


def test_a_dreamed_film_plays_in_the_page(desk: LabPage, tmp_path: Path):
    desk.open(notebook_of(tmp_path, "film", ZOOM))
    desk.run_all()
    assert desk.faults() == []
    [panel] = desk.panels()
    film = panel.node.locator("video")
    film.wait_for()
    page, handle = desk.page, film.element_handle()
    page.wait_for_function(PLAYS, arg=handle)
    assert film.evaluate("film => film.error") is None
    assert film.evaluate("film => film.videoWidth") == 160
    film.evaluate("film => film.play()")
    then = film.evaluate("film => film.currentTime")
    page.wait_for_function(
        "([film, then]) => Math.abs(film.currentTime - then) > 0.05", arg=[handle, then]
    )
    length = film.evaluate("film => film.duration")
    assert length == pytest.approx(4 / 8, abs=0.2)
    first, last = (film.evaluate(LOOK, share * length) for share in (0.05, 0.95))
    apart = sum(abs(one - other) for one, other in zip(first, last, strict=True)) / len(first)
    assert apart > 2, "the film's first and last picture are the same"
    assert desk.addresses == {"127.0.0.1"}


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
    # a double click and Enter show the picture at its full pixels; keys go on choosing there
    whole = page.locator("dialog.lab-zoom img")
    picture.dblclick(position={"x": middle[0], "y": middle[1]})
    says("unit 100 of 512")
    assert whole.evaluate("one => one.clientWidth == one.naturalWidth && one.naturalWidth > 0")
    before = whole.get_attribute("src")
    page.keyboard.press("ArrowRight")
    says("unit 101 of 512")
    changed = "then => document.querySelector('.lab-zoom img').src != then"
    page.wait_for_function(changed, arg=before)
    page.keyboard.press("Escape")
    whole.wait_for(state="detached")
    page.keyboard.press("Enter")  # the picture has the focus again
    whole.click()
    whole.wait_for(state="detached")
    page.keyboard.press("PageUp")
    page.wait_for_function(f"() => !({READOUT})().includes('fire8, unit')")
    assert desk.faults() == []
    panel.button("More").click()
    panel.button("Less").wait_for()
    index = next(i for i in range(panel.sliders().count()) if "rotate" in panel.label(i))
    took = panel.key_presses(index, 9)
    measured(f"a distortion step to the new mosaic, in the browser: median {median(took):.0f} ms")
