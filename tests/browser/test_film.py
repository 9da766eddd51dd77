"""The film that a panel dreamed plays in the page: its time goes on, its pictures change."""

from pathlib import Path

import pytest
from lab_page import LabPage
from test_browser import notebook_of

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
