"""Films: what is written can be read again, and what is no film is refused in words."""

import io
import tempfile

import pytest
import torch
import toys
from PIL import Image

from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.core.images import films
from labsupport.core.images.films import Film

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def film():
    """A white square that moves to the right over a colour that changes: 9 pictures of 46 x 61."""
    pictures = torch.zeros(9, 3, 46, 61)
    for place in range(9):
        pictures[place, 0] = place / 12
        pictures[place, :, 10:26, 4 * place : 4 * place + 16] = 1.0
    return Film(pictures, 10)


@pytest.mark.parametrize(("kind", "most"), [("mp4", 0.03), ("gif", 0.01)])
def test_what_is_written_is_read_again(film, kind, most, tmp_path):
    file = films.write(film, tmp_path / f"film.{kind}")
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    again = films.read(file)
    assert again.fps == pytest.approx(10, rel=0.01)
    assert len(again.images) == 9
    kept = again.images[:, :, :46, :61]
    assert float((kept - film.images).abs().mean()) < most
    assert again.seconds == pytest.approx(0.9, rel=0.01)


def test_an_mp4_is_h264_that_browsers_play_and_a_gif_repeats_itself(film):
    content = films.encode(film, "mp4")
    assert content[4:8] == b"ftyp"
    assert b"avc1" in content
    assert content.index(b"moov") < content.index(b"mdat")  # played from its beginning
    again = films.read(content)
    assert again.images.shape == (9, 3, 46, 62)  # an odd side gets one more column
    row = again.images[5, 1, 18]  # and nothing is stretched: the square's left edge stays
    assert float(row[:19].max()) < 0.3
    assert float(row[22:35].min()) > 0.7
    gif = films.encode(film, "gif")
    with Image.open(io.BytesIO(gif)) as picture:
        assert picture.n_frames == 9
        assert (picture.info["loop"], picture.info["duration"]) == (0, 100)
    assert films.encode(film, "gif") == gif  # the same film has the same bytes
    assert torch.equal(films.read(films.encode(film)).images, again.images)


def test_a_long_film_is_thinned_evenly_and_plays_as_long(film):
    long = Film(film.images.repeat(8, 1, 1, 1), 24)
    for kind in ("mp4", "gif"):
        read = films.read(films.encode(long, kind), most=12, side=32)
        assert len(read.images) <= 12
        assert max(read.images.shape[2:]) == 32
        assert read.seconds == pytest.approx(long.seconds, rel=0.15)


def test_single_pictures_become_a_film_of_one_size():
    shots = [torch.rand(1, 3, 40, 60), torch.rand(1, 3, 80, 80)]
    film = films.from_pictures(shots, fps=4, side=30)
    assert film.images.shape == (2, 3, 20, 30)
    assert film.fps == 4


def test_a_pan_moves_and_comes_closer():
    photo = images.sample("china")
    film = films.pan(photo, (40, 60), 5)
    assert film.images.shape == (5, 3, 40, 60)
    images.check(film.images)
    steps = (film.images[1:] - film.images[:-1]).abs().mean((1, 2, 3))
    assert float(steps.min()) > 0.01
    ramp = torch.linspace(0, 1, 200).expand(1, 3, 100, 200).contiguous()
    wide = films.pan(ramp, (20, 30), 3).images
    spans = wide[:, 0, 10, -1] - wide[:, 0, 10, 0]
    assert spans[0] > spans[1] > spans[2]
    assert float(wide[0].min()) < 0.02
    assert float(wide[2].max()) > 0.98


def test_what_is_no_film_or_cannot_be_written_is_refused(film, tmp_path):
    gif = films.encode(film, "gif")
    toys.assert_refused(
        ("BadImage: .*no film", films.read, b""),
        ("BadImage: .*no film", films.read, b"just words " * 50),
        ("BadImage: .*no film", films.read, b"\x00\x00\x00\x18ftypmp42" * 9),
        ("BadImage: .*damaged", films.read, gif[: len(gif) * 2 // 3]),
        ("BadImage: .*no file", films.read, tmp_path / "missing.mp4"),
        (r"\.mp4", films.write, film, tmp_path / "film.avi"),
        ("no folder", films.write, film, tmp_path / "nowhere" / "film.mp4"),
        ("a second", films.encode, Film(film.images, 0)),
        ("not as", films.encode, film, "avi"),
        ("BadImage", films.encode, Film(film.images * 2, 10)),
        ("BadImage: .*one picture", films.from_pictures, []),
    )
    assert list(tmp_path.iterdir()) == []


def test_an_mp4_that_was_cut_short_is_known(film):
    content = films.encode(film)
    assert films._is_whole(content)
    parts = [content[:cut] for cut in (0, 4, 40, 1000, -1)]
    for broken in (*parts, content.replace(b"moov", b"free", 1)):
        assert not films._is_whole(broken)


def test_a_folder_for_temporary_files_is_asked_for_in_words(film, tmp_path, monkeypatch):
    content = films.encode(film)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    for way, given in ((films.encode, film), (films.read, content)):
        with pytest.raises(BadSetting, match=r"temporary files \(.*missing\)"):
            way(given)
