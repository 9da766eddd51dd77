"""`walk` finds what is wrong: each test plants one fault and expects it by name."""

import contextlib
import threading
import time
from itertools import count

import pytest
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.ui import board, controls, declare
from labsupport.ui.panel import Live, Panel, walk
from labsupport.ui.walks import WalkFailed


def square(side: int, **shades: int) -> Image.Image:
    return Image.new("RGB", (side, side), tuple([*shades.values(), 0, 0, 0][:3]))


def sliders(**more) -> dict:
    return {"side": declare.whole(8, 1, 64), **more}


@pytest.fixture
def pictures(tmp_path) -> images.ImageSet:
    for shade in (50, 150, 250):
        Image.new("RGB", (16, 16), (shade, 0, 0)).save(tmp_path / f"shade{shade}.png")
    return images.folder(tmp_path)


def test_a_sound_panel_passes_with_times_and_is_left_as_it_was(pictures):
    network = controls.network_menu(names=["squeezenet1_1", "vgg19"])
    knobs = sliders(
        image=controls.ImageMenu(pictures, "shade50"),
        network=network,
        target=controls.ClassBox(network),
        fill=declare.choice(["mean", "black"]),
        grey=declare.toggle(),
        seed=declare.seed(),
    )

    def draw(side, image, network, target, fill, grey, seed):
        words = f"{float(image.mean()):.3f} {network.name} {target} {fill} {grey} {seed}"
        return square(side), words

    panel = Panel(draw, knobs, title="sound")
    before = panel.settings
    report = walk(panel)
    assert not report.failures
    assert panel.settings == before
    words = [step.words for step in report.callbacks]
    for expected in ("side = 1", "side = 64", "fill = black", "image: upload a text file"):
        assert expected in words
    messages = {step.words: step.message for step in report.callbacks if step.message}
    assert "not on this computer" in messages["network = vgg19"]
    assert len(messages) == 3
    assert all(step.milliseconds >= 0 for step in report.callbacks)
    assert "fill = black" in str(report)


@pytest.mark.parametrize("says", [lambda tick: "the same", lambda tick: f"Done in {tick}.5 s."])
def test_a_dead_control_is_found_also_behind_a_clock_in_the_words(says):
    clock = count()

    def draw(side, dead):
        return square(side), says(next(clock))

    panel = Panel(draw, sliders(dead=declare.toggle()), title="d", cost="instant")
    with pytest.raises(WalkFailed, match="dead: none of its values"):
        walk(panel)
    assert not walk(panel, may_idle=["dead"]).failures


@pytest.mark.parametrize(
    ("error", "cost", "words"),
    [
        (ZeroDivisionError("at the end"), "instant", "side = 64: ZeroDivisionError: at the end"),
        (ZeroDivisionError("only when run"), "slow", "only when run"),
        (BadSetting("The side is too large."), "instant", "side = 64: The side is too large"),
    ],
)
def test_a_slider_that_reaches_where_it_must_not_is_found(error, cost, words):
    def draw(side):
        if side == 64:
            raise error
        return square(side)

    panel = Panel(draw, sliders(), title="r", cost=cost)
    with pytest.raises(WalkFailed, match=words):
        walk(panel)
    if isinstance(error, BadSetting):
        assert not walk(panel, may_complain=["side"]).failures


def test_a_step_without_its_message_or_its_file_is_found(pictures, monkeypatch):
    photo = controls.ImageMenu(pictures, "shade50")
    monkeypatch.setattr(photo, "_send", lambda content: None)
    panel = Panel(lambda image: (square(4), str(image.mean())), {"image": photo}, title="u")
    with pytest.raises(WalkFailed, match="text file: no message"):
        walk(panel)
    menu = controls.network_menu(names=["squeezenet1_1", "vgg19"])
    panel = Panel(lambda network: (square(4), network.name), {"network": menu}, title="n")
    monkeypatch.setattr(menu, "_accept", lambda: None)
    monkeypatch.setattr(type(menu), "value", property(lambda self: networks.load("lenet5")))
    with pytest.raises(WalkFailed, match="network = vgg19: no message"):
        walk(panel)
    monkeypatch.setattr(board.Board, "save", lambda self, place=None: place)
    with pytest.raises(WalkFailed, match="Save picture: no file"):
        walk(Panel(square, sliders(), title="s"))


def test_a_network_without_classes_may_be_refused_and_a_heavy_one_left_out():
    def draw(network):
        network.need_classes()
        return square(4), network.name

    names = ["squeezenet1_1", "lenet5", "alexnet", "vgg16"]
    left = ["network = vgg16"]
    report = walk(
        Panel(draw, {"network": controls.network_menu(names=names)}, title="n"), leave_out=left
    )
    said = {step.words: step.message for step in report.callbacks}
    assert "before its classes" in said["network = alexnet"]
    assert not said["network = lenet5"]
    assert "network = vgg16" not in said
    for cost in ("instant", "slow"):
        menu = controls.network_menu(names=["squeezenet1_1", "alexnet"])
        assert not walk(Panel(draw, {"network": menu}, title="n", cost=cost)).failures


# -- live panels


def frames(side):
    for number in range(200):
        time.sleep(0.005)
        yield side + number


def draw_frame(frame, shade):
    return square(8, shade=shade), f"frame {frame}"


@pytest.fixture
def make_live():
    with contextlib.ExitStack() as closing:

        def make(generator, title: str) -> Live:
            knobs = sliders(shade=declare.whole(0, 0, 255))
            live = Live(generator, knobs, draw=draw_frame, title=title)
            closing.callback(live.close)
            return live

        yield make


def test_a_sound_live_panel_passes_and_leaves_no_thread(make_live):
    threads = threading.active_count()
    live = make_live(frames, "sound live")
    words = [step.words for step in walk(live).callbacks]
    assert words[-5:] == ["Run", "a first frame", "Stop", "Continue", "Stop again"]
    assert threading.active_count() == threads


def test_a_generator_that_raises_late_and_a_stop_that_does_not_answer_are_found(
    make_live, monkeypatch
):
    def late(side):
        yield from range(4)
        raise ZeroDivisionError("after a while")

    live = make_live(late, "late live")
    with pytest.raises(WalkFailed, match="after a while"):
        walk(live, may_idle=["side"])
    live = make_live(frames, "deaf live")
    monkeypatch.setattr(live, "stop", lambda: time.sleep(0.6) or Live.stop(live))
    with pytest.raises(WalkFailed, match="Stop: took more than half a second"):
        walk(live)
