"""`Panel`: what is drawn, when, how often, and what is said when it goes wrong."""

import base64
import gc
import json
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from PIL import Image

from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.ui import board, declare
from labsupport.ui.panel import Panel


def square(side: int, shade: int = 0) -> tuple[Image.Image, str]:
    return Image.new("RGB", (side, side), (shade, shade, shade)), f"{side} pixels, shade {shade}"


def make_panel(draw=square, **knobs) -> Panel:
    sliders = {"side": declare.whole(8, 1, 64, unit="px")}
    if draw is square or knobs.pop("shaded", False):
        sliders["shade"] = declare.whole(10, 0, 255)
    return Panel(draw, sliders, title="A square", **knobs)


def shown_size(panel: Panel) -> tuple[int, int]:
    return Image.open(BytesIO(bytes(panel.image.value))).size


def test_the_default_is_drawn_at_once_and_a_change_follows_in_its_own_width_on_the_page():
    panel = make_panel()
    assert panel.words == "8 pixels, shade 10"
    for side in (8, 20):
        panel.controls["side"].put(side)
        assert panel.picture.size == (side, side)
        assert f"{side} pixels" in panel._readout.value
        shown = 480  # small pictures are enlarged by a whole number
        assert shown_size(panel) == (shown, shown)
        assert panel.image.layout.width.startswith(f"min({shown}px, 100%")
    # the browser finds each part by its class
    assert set(panel.widget._dom_classes) >= {"lab-panel", "lab-a-square"}
    for part, name in (
        (panel.image, "lab-picture"),
        (panel._readout, "lab-readout"),
        (panel._message, "lab-message"),
    ):
        assert name in part._dom_classes
    assert 'aria-live="polite"' in panel._readout.value
    panel = make_panel(lambda side: (square(side)[0], "<script>1 < 2</script>"))
    assert "<script>" not in panel._readout.value
    assert "&lt;script&gt;" in panel._readout.value


def test_results_are_remembered_by_their_arguments_and_bounded():
    calls = []

    def draw(side):
        calls.append(side)
        return square(side)

    panel = make_panel(draw, remember=3, cost="instant")
    for side in (9, 8, 9, 8):
        panel.controls["side"].put(side)
    assert calls == [8, 9]
    for side in (1, 2, 3, 8):
        panel.controls["side"].put(side)
    assert calls == [8, 9, 1, 2, 3, 8]


def test_only_what_computes_is_computed_anew():
    computed, drawn = [], []

    def compute(side):
        computed.append(side)
        return side

    def draw(result, shade):
        drawn.append((result, shade))
        return square(result, shade)

    panel = make_panel(draw, compute=compute, shaded=True)
    panel.controls["shade"].put(200)
    panel.controls["side"].put(5)
    panel.controls["shade"].put(10)
    assert computed == [8, 5]
    assert drawn == [(8, 10), (8, 200), (5, 200), (5, 10)]


def test_costs_choose_how_sliders_and_the_button_behave():
    for cost, moving, button in (
        ("instant", True, "none"),
        ("quick", False, "none"),
        ("slow", False, None),
    ):
        panel = make_panel(cost=cost)
        assert panel.controls["side"].source.continuous_update is moving, cost
        assert panel.run_button.layout.display == button, cost
    panel.controls["side"].put(30)  # settings belong to the picture that is shown
    assert panel.settings == {"panel": "A square", "side": 8, "shade": 10}
    panel.run_button.click()
    assert panel.settings["side"] == 30


def test_cost_is_measured_and_a_slow_first_time_is_forgiven():
    waits = iter([0.2])

    def draw(side):
        time.sleep(next(waits, 0))
        return square(side)

    assert make_panel(draw).cost == "instant"


def test_slow_work_with_a_quick_drawing_lets_the_drawing_follow_the_slider():
    def compute(side):
        time.sleep(0.6)
        return side

    panel = make_panel(lambda result, shade: square(result, shade), compute=compute, shaded=True)
    assert panel.cost == "slow"
    assert panel.controls["shade"].source.continuous_update is True
    assert panel.controls["side"].source.continuous_update is False
    panel.controls["shade"].put(99)
    assert panel.words == "8 pixels, shade 99"
    panel.controls["side"].put(9)
    assert panel.words == "8 pixels, shade 99"
    assert "press Run" in panel.message
    panel.run_button.click()
    assert panel.words == "9 pixels, shade 99"
    assert panel.message == ""
    panel.controls["side"].put(8)
    assert panel.words == "8 pixels, shade 99"  # remembered, so no Run is needed


def test_the_latest_value_wins_and_those_between_are_dropped():
    started, may_go_on = threading.Event(), threading.Event()
    drawn = []

    def draw(side):
        drawn.append(side)
        if side == 20:
            started.set()
            assert may_go_on.wait(10)
        return square(side)

    panel = make_panel(draw, cost="quick")
    slider = panel.controls["side"]
    first = threading.Thread(target=slider.put, args=[20])
    first.start()
    assert started.wait(10)
    for side in (30, 40, 50):
        slider.put(side)  # comes back at once: the first thread draws the last of them
    may_go_on.set()
    first.join(10)
    assert drawn == [8, 20, 50]
    assert panel.words == "50 pixels, shade 0"


def test_only_one_drawing_at_a_time_from_many_threads():
    inside, most = [], []

    def draw(side):
        inside.append(side)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()
        return square(side)

    panel = make_panel(draw, remember=0, cost="instant")
    slider = panel.controls["side"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n: [slider.put(1 + (n * k) % 64) for k in range(20)], (3, 5, 7)))
    assert max(most) == 1
    assert panel.picture.width == slider.value


def test_a_drawing_that_moves_its_own_control_does_not_lock_up():
    def draw(side):
        if side == 20:
            panel.controls["side"].put(21)
        return square(side)

    panel = make_panel(draw, cost="instant")
    panel.controls["side"].put(20)
    assert panel.words == "21 pixels, shade 0"


def broken_at_40(error: Exception) -> Panel:
    def draw(side):
        if side == 40:
            raise error
        return square(side)

    return make_panel(draw, cost="instant")


def test_a_message_to_the_student_is_shown_a_fault_raised_too_and_the_lab_goes_on():
    panel = broken_at_40(BadSetting("The window <b>is</b> too large; 32 is the most."))
    panel.controls["side"].put(40)
    assert panel.words == "8 pixels, shade 0"
    assert panel.message == "The window <b>is</b> too large; 32 is the most."
    assert 'role="alert"' in panel._message.value
    assert "&lt;b&gt;" in panel._message.value
    panel.controls["side"].put(12)
    assert (panel.message, panel._message.value, panel.words) == ("", "", "12 pixels, shade 0")
    panel = broken_at_40(RuntimeError("broken on purpose"))
    with pytest.raises(RuntimeError, match="on purpose"):
        panel.controls["side"].put(40)
    assert panel.message == "RuntimeError: broken on purpose"
    assert isinstance(panel.error, RuntimeError)
    panel.controls["side"].put(41)
    assert (panel.message, panel.words) == ("", "41 pixels, shade 0")


def test_called_from_code_every_error_is_raised():
    def draw(side):
        raise BadSetting("no")

    with pytest.raises(BadSetting, match="no"):
        make_panel(draw)
    with pytest.raises(BadSetting, match="shade"):  # a control that nothing takes
        make_panel(lambda side: square(side), shaded=True)


def test_saved_pictures_are_numbered_lossless_and_carry_their_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel = make_panel()
    for name in ("a-square-1.png", "a-square-2.png"):
        panel.save_button.click()
        assert name in panel.message
    files = sorted((tmp_path / "pictures").iterdir())
    assert [file.name for file in files] == ["a-square-1.png", "a-square-2.png"]
    assert Image.open(files[0]).tobytes() == panel.picture.tobytes()
    assert images.saved_settings(files[0]) == {"panel": "A square", "side": 8, "shade": 10}
    assert json.loads(Image.open(files[0]).text["settings"])["side"] == 8


def test_a_typed_place_is_a_file_or_a_folder_and_nothing_is_overwritten(tmp_path):
    panel = make_panel()
    assert panel.save(tmp_path / "mine") == tmp_path / "mine.png"
    assert panel.save(tmp_path) == tmp_path / "a-square-1.png"
    assert panel.save(f"{tmp_path}/new/") == tmp_path / "new" / "a-square-1.png"
    below_a_file = tmp_path / "mine.png" / "x.png"
    for place in (below_a_file, below_a_file / "deeper.png"):
        with pytest.raises(BadSetting):
            panel.save(place)
    for place, words in ((tmp_path / "mine.png", "there already"), (below_a_file, "")):
        panel.place.value = str(place)
        panel.save_button.click()
        assert panel.complaint
        assert words in panel.message
    assert panel.error is None


def test_a_page_gets_widgets_or_the_picture_and_its_words():
    panel = make_panel()
    data, metadata = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert Image.open(BytesIO(base64.b64decode(data["image/png"]))).size == (8, 8)
    assert (metadata["image/png"]["width"], metadata["image/png"]["alt"]) == (8, panel.alt)
    assert "8 pixels, shade 10" in panel.alt


def test_closed_panels_leave_no_widget_and_no_picture_behind():
    from ipywidgets.widgets.widget import _instances

    def make_one() -> weakref.ref[Panel]:
        panel = make_panel()
        panel.close()
        return weakref.ref(panel)

    make_one()
    gc.collect()
    before = len(_instances)
    gone = [make_one() for _ in range(50)]
    gc.collect()
    # layouts and styles are widgets too, and go with theirs
    assert len(_instances) <= before
    assert not any(reference() for reference in gone)


def test_a_shared_control_outlives_a_panel_and_running_a_cell_again_closes_its_older_one(
    monkeypatch,
):
    slider = declare.whole(8, 1, 64).named("side", {})
    closed = Panel(square, {"side": slider}, title="closed")
    monkeypatch.setattr(board, "_current_cell", lambda: "cell-1")
    first, other, second = (
        Panel(square, {"side": slider}, title=title) for title in ("again", "another", "again")
    )
    closed.close()
    slider.put(9)
    assert first.controls == {}
    assert first.words == closed.words == "8 pixels, shade 0"
    assert other.words == second.words == "9 pixels, shade 0"
