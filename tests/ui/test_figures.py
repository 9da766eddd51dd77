"""Pictures, checked pixel by pixel where a pixel can be worked out by hand."""

import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from labsupport.core.errors import BadImage, BadSetting
from labsupport.ui import figures, ink

WHITE = (255, 255, 255)
LONG = "Madagascar cat, ring-tailed lemur"
Guess = namedtuple("Guess", "name probability")


def flat(value: float, side: int = 4) -> np.ndarray:
    return np.full((3, side, side), value, dtype=np.float32)


def area(picture: Image.Image, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    return np.asarray(picture)[top:bottom, left:right]


@pytest.mark.parametrize(
    "form",
    [
        lambda a: a,
        lambda a: a[None],
        lambda a: torch.from_numpy(a),
        lambda a: torch.from_numpy(a)[None].requires_grad_(),
        lambda a: (a * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0),
        lambda a: Image.fromarray((a * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)),
    ],
)
def test_every_form_of_one_picture_has_the_same_pixels(form):
    image = np.random.default_rng(0).random((3, 5, 7)).astype(np.float32)
    expected = (image.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    assert np.array_equal(figures.pixels(form(image)), expected)
    large = np.asarray(figures.enlarge(form(image), 3))  # repeats pixels and invents none
    assert np.array_equal(large, expected.repeat(3, 0).repeat(3, 1))


def signed(*values: float, **limits) -> np.ndarray:
    return figures.paint(np.array(values), colours="signed", **limits)


def test_zero_is_the_middle_of_a_signed_map_whatever_the_values():
    middle = signed(0.0, limits=(-1, 1))[0]
    assert middle.min() > 240  # white, or nearly
    for values in ([-1.0, 0, 5], [-3.0, 0, 0.1], [0.0, 0, 2], [0.0, 0, 0]):
        assert np.array_equal(signed(*values)[1], middle)
    # the step around zero reaches equally far to both sides
    assert (signed(-0.0038, 0, 0.0038, limits=(-1, 1)) == middle).all()
    lower, _, upper = signed(-2.0, 0, 2).astype(int)
    assert lower[2] > lower[0]
    assert upper[0] > upper[2]
    # and the ends are equally far from zero
    blue, red = signed(-1.0, 4.0, limits=(-4, 1))
    full_blue, full_red = signed(-4.0, 4.0)
    assert np.array_equal(red, full_red)
    assert not np.array_equal(blue, full_blue)


def test_limits_are_the_ends_of_the_scale_and_what_was_not_computed_is_grey():
    painted = figures.paint(np.array([-1.0, 0, 10, 11]), limits=(0, 10))
    assert np.array_equal(painted[0], painted[1])
    assert np.array_equal(painted[2], painted[3])
    assert tuple(painted[1]) == (68, 1, 84)  # viridis' first colour
    painted = figures.paint(np.array([np.nan, 0, 1, np.inf]))
    assert tuple(painted[0]) == tuple(painted[3]) == ink.MISSING
    assert np.array_equal(painted[1:3], figures.paint(np.array([0.0, 1])))
    for colours in figures.COLOURS:  # a constant map has a scale too
        assert figures.heat_map(np.full((3, 3), 7.0), colours=colours).width > 224
    # spread keeps zero in the middle, on a scale of its own or a shared one
    weights = torch.tensor([[[-2.0, 0.0]], [[0.5, 1.0]]])
    assert figures.spread(weights).tolist() == [[[0.0, 0.5]], [[0.75, 1.0]]]
    assert figures.spread(weights, shared=True).tolist() == [[[0.0, 0.5]], [[0.625, 0.75]]]
    assert figures.spread(torch.zeros(1, 2)).tolist() == [[0.5, 0.5]]


def test_each_tile_stands_at_its_place_with_white_between():
    tiles = np.stack([flat(value) for value in (0.0, 0.2, 0.4, 0.6, 0.8)])
    picture = figures.mosaic(tiles, columns=3, gap=2)
    assert picture.size == (2 + 3 * 6, 2 + 2 * 6)
    for index, value in enumerate((0, 51, 102, 153, 204)):
        row, column = divmod(index, 3)
        tile = area(picture, 2 + column * 6, 2 + row * 6, 6 + column * 6, 6 + row * 6)
        assert (tile == value).all()
    assert (area(picture, 6, 0, 8, 14) == 255).all()
    assert (area(picture, 14, 8, 20, 14) == 255).all()  # the place of the missing sixth
    # tensors, grey maps and lists of unequal pictures make mosaics too
    assert figures.mosaic(torch.rand(4, 3, 8, 8)).size == figures.mosaic(torch.rand(4, 8, 8)).size
    picture = figures.mosaic([flat(0, side=4), flat(0, side=8)], columns=2, gap=2)
    assert (area(picture, 4, 4, 8, 8) == 0).all()  # the smaller one in its cell's middle
    assert (area(picture, 2, 2, 10, 4) == 255).all()
    tile = np.random.default_rng(0).random((1, 3, 3, 3))
    sharp = figures.mosaic(tile, gap=0, enlarge=5)
    assert np.array_equal(np.asarray(sharp), np.asarray(figures.enlarge(tile[0], 5)))


def test_titles_stay_inside_their_cells_and_values_on_their_tiles():
    plain = figures.mosaic([flat(1, side=96)] * 3, columns=3)
    titled = figures.mosaic([flat(1, side=96)] * 3, titles=[LONG * 3, "kite", ""], columns=3)
    assert titled.height == plain.height + 2 * ink.LINE + 4 + 2 * (8 - 2)
    dark = np.asarray(titled).min(axis=2) < 128
    assert dark[:, 8:104].any()
    assert not dark[:, :8].any()
    assert not dark[:, 104:112].any()  # the gap between the first two cells
    picture, plain = (
        np.asarray(figures.mosaic([flat(0.5, side=60)], values=values))
        for values in ([12.34], None)
    )
    assert (picture[40:, :40] == 255).all(axis=2).any()
    assert (picture[30:60, :50] < 80).all(axis=2).any()  # the outline
    assert np.array_equal(picture[:30], plain[:30])


def test_rows_are_named_and_the_chosen_tile_is_framed():
    tiles = [flat(1.0, side=20)] * 4
    named = figures.mosaic(tiles, columns=2, rows=["unit 1", "unit 2"])
    assert named.width > figures.mosaic(tiles, columns=2).width
    framed = (np.asarray(figures.mosaic(tiles, columns=2, chosen=3)) == ink.ACCENT).all(axis=2)
    assert framed.any()
    assert not framed[:20, :20].any()


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (r"no picture: its shape is \(2, 4, 4\)", lambda: figures.pixels(np.zeros((2, 4, 4)))),
        (r"shape is \(2, 3, 4, 4\)", lambda: figures.pixels(np.zeros((2, 3, 4, 4)))),
        (r"shape is \(3, 0, 2\)", lambda: figures.pixels(np.zeros((3, 0, 2)))),
        ("to 1.5;.*figures.spread", lambda: figures.pixels(flat(1.5))),
        ("from -0.5 .*figures.spread", lambda: figures.pixels(flat(-0.5))),
        ("NaN", lambda: figures.pixels(flat(np.nan))),
        ("1.5; it must be a whole number", lambda: figures.enlarge(flat(0), 1.5)),
        ("Nearest: viridis", lambda: figures.paint(np.zeros(2), colours="viridiss")),
        ("smaller first", lambda: figures.paint(np.zeros(2), limits=(1, 0))),
        ("at least one tile", lambda: figures.mosaic([])),
        ("at least one tile", lambda: figures.mosaic(torch.rand(0, 3, 4, 4))),
        (r"these are \(2, 5, 4, 4\)", lambda: figures.mosaic(torch.rand(2, 5, 4, 4))),
        ("titles has 2 entries", lambda: figures.mosaic([flat(0)], titles=["a", "b"])),
        ("values has 0 entries", lambda: figures.mosaic([flat(0)], values=[])),
        ("rows has 2 entries", lambda: figures.mosaic([flat(0)], rows=["a", "b"])),
        ("enlarge is 0", lambda: figures.mosaic([flat(0)], enlarge=0)),
        ("no picture to put side by side", lambda: figures.side_by_side([])),
        ("no predictions", lambda: figures.bars([])),
        (r"this one is \(5,\)", lambda: figures.heat_map(np.zeros(5))),
        ("opacity is 1.5", lambda: figures.overlay(flat(0), np.zeros((2, 2)), opacity=1.5)),
        (r"not \(3, 0, 1, 2\)", lambda: figures.boxes(flat(0), [(3, 0, 1, 2)])),
        ("values has 2", lambda: figures.boxes(flat(0), [(0, 0, 1, 2)], values=[1, 2])),
        ("needs alt", lambda: figures.show(flat(0), alt=" ")),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(words, call):
    with pytest.raises((BadImage, BadSetting), match=words):
        call()


def test_a_heat_map_shows_each_number_as_a_square_of_its_colour_beside_its_scale():
    numbers = np.arange(6.0).reshape(2, 3)
    picture = np.asarray(figures.heat_map(numbers, enlarge=50))
    assert np.array_equal(picture[25:100:50, 25:150:50], figures.paint(numbers))
    bar = picture[:, 150 + 10 + 5]  # from high at the top to low
    assert np.array_equal(bar[[0, -1]], figures.paint(numbers).reshape(6, 3)[[5, 0]])
    assert figures.heat_map(numbers, enlarge=50, bar=False).size == (150, 100)
    assert figures.heat_map(np.zeros((13, 13)), bar=False).size == (221, 221)


def test_an_overlay_at_zero_is_the_image_and_at_one_the_map():
    image, heat = np.random.default_rng(0).random((3, 8, 8)), np.arange(4.0).reshape(2, 2)
    none, whole, half = (
        np.asarray(figures.overlay(image, heat, opacity=opacity, bar=False))
        for opacity in (0, 1, 0.5)
    )
    assert np.array_equal(none, figures.pixels(image))
    assert np.array_equal(whole, figures.paint(heat).repeat(4, 0).repeat(4, 1))
    heat[0, 0] = np.nan  # where nothing was computed, the image stays
    missing = np.asarray(figures.overlay(image, heat, opacity=0.5, bar=False))
    assert np.array_equal(missing[:4, :4], none[:4, :4])
    assert not np.array_equal(half[:4, :4], none[:4, :4])
    assert not np.array_equal(missing[:4, 4:], none[:4, 4:])


def test_a_faded_overlay_shows_the_image_where_nothing_happens():
    ground, heat = torch.full((1, 3, 8, 8), 0.5), torch.zeros(8, 8)
    heat[0, 0], heat[0, 1] = 4.0, 1.0
    faded = np.asarray(figures.overlay(ground, heat, colours="signed", fade=True, bar=False))
    covered = np.asarray(figures.overlay(ground, heat, colours="signed", bar=False))
    assert (np.abs(faded[4, 4].astype(int) - 127) <= 1).all()
    assert (covered[4, 4] > 180).all()
    assert (faded[0, 0] == covered[0, 0]).all()
    assert np.abs(faded[0, 1].astype(int) - faded[4, 4]).max() > 20


def test_boxes_are_white_between_dark_lines_and_stay_in_the_picture():
    picture = np.asarray(figures.boxes(flat(0.5, side=40), [(10, 10, 30, 30), (-5, 35, 50, 60)]))
    assert tuple(picture[11, 20]) == tuple(picture[12, 20]) == WHITE
    assert tuple(picture[10, 20]) == tuple(picture[13, 20]) == ink.INK
    assert tuple(picture[20, 20]) == (128, 128, 128)
    assert picture.shape == (40, 40, 3)
    twice = figures.boxes(flat(0.5, side=40), [(10, 10, 30, 30)], [0.5], enlarge=2)
    assert twice.size == (80, 80)


def test_pictures_side_by_side_share_their_top_edge_and_line_up_in_columns():
    parts = [flat(0, side=100), flat(0, side=60)]
    picture = np.asarray(figures.side_by_side(parts, [LONG, "kite"], gap=10))
    black = (picture == 0).all(axis=2)
    assert black.any(axis=1).argmax() == black[:, picture.shape[1] - 100 :].any(axis=1).argmax()
    assert black.sum() == 100 * 100 + 60 * 60
    rows = figures.side_by_side([flat(0, side=10)] * 3, columns=2, gap=4)
    assert rows.size == (24, 24)
    assert (area(rows, 14, 14, 24, 24) == 255).all()


def test_a_bar_is_as_long_as_its_probability_and_the_highlighted_row_has_the_accent():
    def length(value: float) -> int:
        picture = np.asarray(figures.bars([Guess("kite", value), Guess("x", 0.1)], width=300))
        return int((picture[12] == ink.ACCENT).all(axis=1).sum())

    for probability in (0.0, 0.25, 0.5, 1.0):
        assert abs(length(probability) - probability * length(1.0)) <= 1
    rows = [Guess("kite", 0.5), Guess(LONG, 0.5)]
    picture = np.asarray(figures.bars(rows, width=260, highlight=LONG))
    accent = (picture == ink.ACCENT).all(axis=2)
    assert not accent[:24].any()
    assert accent[24:].any()
    assert picture.shape == (24 + 40, 260, 3)  # long names take two lines


def test_the_reused_figure_remembers_nothing_also_after_an_error():
    def draw() -> bytes:
        return figures.curve({"a": [3, 1, 2]}, across="x", up="y").tobytes()

    before = draw()
    figures.curve({"b": [9, 9], "c": [1, 5]}, across="t", up="other", log=True, points=True)
    with pytest.raises(RuntimeError, match="on purpose"):
        figures.drawn(lambda axes: (_ for _ in ()).throw(RuntimeError("on purpose")))
    assert draw() == before


def test_threads_draw_the_same_as_one_after_the_other():
    def draw(seed: int) -> tuple[bytes, bytes]:
        line = np.random.default_rng(seed).random(20)
        curve = figures.curve({str(seed): line}, across="x", up="y")
        return curve.tobytes(), figures.bars([Guess(LONG, 0.1 * seed)] * 5).tobytes()

    alone = [draw(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(draw, range(6))) == alone


def test_nothing_here_touches_pyplot():
    code = (
        "import sys; from labsupport.ui import figures as f; import numpy as np;"
        "f.curve({'a': [1, 2]}, across='x', up='y'); f.heat_map(np.eye(3), label='a');"
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fitted_and_wrapped_text_is_never_too_wide():
    for limit in (0, 10, 40, 100, 400):
        for text in (LONG, "x" * 80, "", "kite"):
            for line in [ink.fit(text, limit), *ink.wrap(text, limit)]:
                assert ink.measure(line) <= limit or line == "…", (text, limit)
    assert ink.fit("kite", 400) == "kite"


def test_ticks_are_round_inside_and_different():
    for low, high in ((0, 1), (-0.003, 0.008), (0, 1e-9), (980, 1020.5)):
        marks = ink.ticks(low, high)
        assert len(marks) >= 2
        assert all(low - 1e-12 <= value <= high + 1e-12 for value, _ in marks), (low, high)
        assert len({words for _, words in marks}) == len(marks)


def test_show_gives_a_lossless_png_with_its_words_and_exactly_its_pixels():
    shown = figures.show(flat(0.5), alt="a grey square", scale=3)
    data, metadata = shown._repr_mimebundle_()
    assert (shown.width, "a grey square" in str(metadata)) == (12, True)
    assert Image.open(BytesIO(shown.data)).size == (12, 12)
    assert data
    picture = figures.mosaic(torch.rand(6, 3, 9, 9))
    again = Image.open(BytesIO(figures.to_png(picture)))
    assert (again.format, again.tobytes()) == ("PNG", picture.tobytes())


def test_a_picture_is_fitted_by_a_whole_number_or_made_smaller_and_stands_in_the_middle():
    sizes = {
        (224, 224): (112, 112),
        (299, 200): (75, 112),
        (28, 28): (112, 112),
        (1, 600): (112, 1),
    }
    assert {one: figures.fitted(torch.rand(1, 3, *one), 112).size for one in sizes} == sizes
    assert figures.fitted(Image.new("RGBA", (32, 20)), 112).size == (96, 60)
    black = np.asarray(figures.centred(Image.new("RGB", (20, 10)), 60)).max(2) == 0
    assert (black[15:45].all(), black[:15].any(), black[45:].any()) == (True, False, False)
