"""What a page stores of a panel: which settings, each picture once, within time and room."""

import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image, ImageDraw

from labsupport.commands.dials import asked, dial_of, main_two, refined
from labsupport.commands.packing import packed
from labsupport.commands.states import FRAMES, Budget, Recorder
from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.ui import Live, Panel, declare, figures
from labsupport.ui.control import Control

PLENTY = 1e9


def square(side: int, shade: int = 0) -> Image.Image:
    return Image.new("RGB", (side, side), (shade, 90, 10))


def stored(board: object, seconds: float = 60, size: float = PLENTY) -> dict:
    return Recorder(board, Budget(seconds, size)).stored()


def settings(page: dict) -> list[list[str]]:
    """The stored settings, each in the words of its controls."""
    return [[dial["words"][at] for dial, at in zip(page["dials"], state[0], strict=True)]
            for state in page["states"]]  # fmt: skip


def picture(page: dict, number: int) -> Image.Image:
    content = b64decode(page["pictures"][number][3].partition(",")[2])
    return Image.open(io.BytesIO(content)).convert("RGB")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 17, 100])
def test_positions_are_refined_from_the_ends_and_each_comes_once(count: int):
    order = refined(count)
    assert sorted(order) == list(range(count))
    assert set(order[:2]) == {0, count - 1}


def test_each_control_comes_alone_and_coarse_then_the_grid_then_the_rest():
    wanted = asked([9, 20], [4, 0], [0, 1])
    assert wanted[0] == {}
    assert wanted[1:11] == [{0: 0}, {1: 19}, {0: 8}, {1: wanted[4][1]}, {0: 2}, {1: 5},
                            {0: 6}, {1: 14}, {0: 1}, {1: wanted[10][1]}]  # fmt: skip
    pairs = [one for one in wanted if len(one) == 2]
    assert len(pairs) == 4 * 4  # five positions of each, of which one is the default
    assert wanted.index(pairs[0]) > wanted.index({0: 6})
    assert wanted[-1] not in pairs
    assert {at for one in wanted if one.keys() == {0} for at in one.values()} == {*range(9)} - {4}
    assert {at for one in wanted if one.keys() == {1} for at in one.values()} == {*range(1, 20)}


def test_a_panel_stores_every_control_alone_two_against_each_other_and_a_picture_once():
    panel = Panel(
        lambda side, shade, dark: (square(side, 0 if dark else shade), f"{side} wide"),
        {
            "side": declare.whole(3, 1, 9, unit="px"),
            "shade": declare.choice({"red": 200, "green": 9}),
            "dark": declare.toggle(),
        },
        title="Squares",
    )
    page = stored(panel)
    assert [dial["kind"] for dial in page["dials"]] == ["range", "menu", "check"]
    assert page["dials"][0]["label"] == "side (px)"
    assert page["dials"][0]["words"] == [str(side) for side in range(1, 10)]
    assert page["dials"][0]["start"] == page["dials"][0]["default"] == 2
    there = settings(page)
    assert there[0] == ["3", "red", "off"]
    for alone in (["7", "red", "off"], ["3", "green", "off"], ["3", "red", "on"]):
        assert alone in there
    assert ["9", "green", "off"] in there
    assert ["9", "green", "on"] not in there, "only two against each other"
    for state, words in zip(page["states"], there, strict=True):
        panel.controls["side"].source.value = int(words[0])
        panel.controls["shade"].source.value = {"red": 200, "green": 9}[words[1]]
        panel.controls["dark"].source.value = words[2] == "on"
        shown = Image.open(io.BytesIO(panel.image.value)).convert("RGB")
        assert picture(page, state[1]).tobytes() == shown.tobytes()
        assert state[2] == panel.words
    few, more = page["stored"]
    assert few == f"This page has {len(page['states'])} settings of this panel."
    assert "side (px) (9 of 9), shade (2 of 2), dark (2 of 2)" in more
    assert "4 combinations of side (px) and shade can be seen" in more


def test_pictures_that_are_alike_are_stored_once():
    panel = Panel(
        lambda side: square(2, side > 5), {"side": declare.whole(1, 1, 9)}, title="Two sizes"
    )
    page = stored(panel)
    assert len(page["states"]) == 9
    assert len(page["pictures"]) == 2


def noisy(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_room_and_time_end_the_storing_and_what_is_stored_is_coarse():
    panel = Panel(noisy_of, {"number": declare.whole(0, 0, 16)}, title="Noise")
    whole = stored(panel)
    assert len(whole["states"]) == 17
    one = len(whole["pictures"][0][3])
    small = stored(panel, size=4.5 * one)
    assert sorted(int(words) for (words,) in settings(small)) == [0, 4, 8, 12, 16]
    alone = stored(panel, seconds=0)
    assert (len(alone["states"]), alone["dials"]) == (1, []), "the picture as it is"
    assert panel.controls["number"].source.value == 0, "the panel is left as it was"
    assert "number (5 of 17)" in small["stored"][1]


def noisy_of(number: int) -> Image.Image:
    return noisy(number)


class Following(Control):
    """A slider that ends where its leader says."""

    def _refresh(self) -> None:
        self.source.max = self._leader.source.value


def test_a_follower_says_where_it_went_and_a_refused_setting_is_not_stored():
    first = declare.whole(8, 2, 8).named("first", {})
    second = declare.whole(6, 0, 8).named("second", {})
    second = Following(second.source, leader=first)
    panel = Panel(
        lambda first, second: square(9, 9 * first + second),
        {"first": first, "second": second},
        title="A pair",
    )
    page = stored(panel)
    alone = {tuple(state[0]): state[3] for state in page["states"]}
    words = page["dials"][0]["words"]
    assert alone[words.index("2"), 6] == {1: "2"}, "the slider of the leader took it along"
    assert alone[words.index("7"), 6] == {}
    assert (words.index("2"), 8) not in alone


def test_what_a_panel_refuses_to_draw_is_stored_as_its_message():
    def draw(side):
        if side == 4:
            raise BadSetting("Four is too many.")
        return square(side), "fine"

    page = stored(Panel(draw, {"side": declare.whole(2, 1, 4)}, title="Up to three"))
    (refused,) = [state for state in page["states"] if "Problem" in state[2]]
    assert refused[2] == "Problem: Four is too many."
    assert refused[1] == page["states"][0][1], "the picture before stays"


def test_a_run_becomes_frames_and_a_control_that_only_draws_needs_no_run():
    runs = []

    def frames(last):
        runs.append(last)
        yield from range(1, last + 1)

    live = Live(frames, {"last": declare.whole(200, 100, 200, step=50), "shade": declare.toggle()},
                draw=lambda frame, shade: (square(4, frame + 50 * shade), f"frame {frame}"),
                title="Counting")  # fmt: skip
    runs.clear()
    page = stored(live)
    time = page["dials"][0]
    assert time["kind"] == "time"
    assert len(time["words"]) == FRAMES
    assert time["words"][0] == "frame 1"
    assert time["words"][-1] == "frame 200"
    assert (time["start"], time["default"]) == (0, FRAMES - 1), "it had not run yet"
    there = {
        tuple(words): state for words, state in zip(settings(page), page["states"], strict=True)
    }
    for place, word in enumerate(time["words"]):
        state = there[word, "200", "off"]
        assert state[2] == word
        assert picture(page, state[1]).getpixel((0, 0)) == (int(word.split()[1]), 90, 10), place
    assert there["frame 200", "200", "on"][2] == "frame 200"
    assert there["frame 200", "100", "off"][2] == "frame 100", "the end of another run"
    assert ("frame 1", "100", "off") not in there
    assert runs.count(200) == 1 + runs[1:].count(200)
    assert runs[0] == 200
    assert sorted({*runs}) == [100, 150, 200]


def test_positions_are_the_sliders_own_with_the_present_one():
    panel = Panel(
        lambda **_: square(3),
        {
            "log": declare.logarithmic(0.02, 0.001, 1.0),
            "real": declare.real(0.37, 0, 1, step=0.01),
            "seed": declare.seed(4),
            "fixed": declare.choice(["only"]),
        },
        title="Many",
    )
    log, real, seed, fixed = (dial_of(one, panel) for one in panel.controls.values())
    assert (log.kind, real.kind, seed.kind, fixed.kind) == ("range", "range", "menu", "menu")
    assert log.words[log.default] == "0.02"
    assert (log.words[0], log.words[-1]) == ("0.001", "1")
    assert real.words[real.default] == "0.37"
    assert (real.words[0], real.words[-1], real.total) == ("0.00", "1.00", 101)
    assert len(real.words) <= 18
    assert seed.words == ["4", "5", "6"]
    assert main_two([log, real, seed, fixed]) == [0, 1]
    assert main_two([seed, fixed, log]) == [0, 2], "the first two that can be moved"


def test_flat_pictures_keep_every_pixel_and_photographs_lose_little():
    drawn = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(drawn).text((20, 50), "a legend", fill=(180, 0, 0))
    kept = Image.open(io.BytesIO(packed(figures.to_png(drawn)))).convert("RGB")
    assert kept.tobytes() == drawn.tobytes()
    png = figures.to_png(figures.enlarge(images.sample("koala"), 1))
    small = packed(png)
    back = np.asarray(Image.open(io.BytesIO(small)).convert("RGB"), dtype=int)
    assert len(small) < len(png) / 4
    assert np.abs(back - np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))).mean() < 3
