"""Where a panel's parts stand, and which of its controls are in sight."""

import io

import pytest
from PIL import Image

from labsupport.ui import declare, screen
from labsupport.ui.panel import Panel


def panel_of(count: int, size: tuple[int, int] = (60, 40)) -> Panel:
    """A panel with so many sliders, the first of which widens its picture."""
    sliders = {f"s{i}": declare.whole(1, 1, 20) for i in range(count)}

    def draw(**values: int) -> Image.Image:
        return Image.new("RGB", (size[0] * values["s0"], size[1]))

    return Panel(draw, sliders, title="Sliders", cost="instant")


def parts(panel: Panel, name: str) -> list:
    """The panel's boxes with that CSS class."""
    found, todo = [], [panel.widget]
    while todo:
        one = todo.pop()
        todo += getattr(one, "children", ())
        found += [one] if name in one._dom_classes else []
    return found


@pytest.mark.parametrize(("count", "folded"), [(1, 0), (5, 0), (7, 2)])
def test_five_controls_are_in_sight_and_the_others_are_folded(count, folded):
    panel = panel_of(count)
    [more] = parts(panel, "lab-more")
    inside = [row for row in more.children if "lab-control" in row._dom_classes]
    assert len(inside) == folded
    assert len(parts(panel, "lab-control")) == count
    assert more.layout.display == "none"
    panel.more_button.value = True
    assert more.layout.display is None
    assert panel.more_button.description == "Less"


@pytest.mark.parametrize(
    ("size", "now", "below"),
    [
        ((1200, 200), None, True),
        ((600, 600), None, False),
        ((1200, 200), False, True),
        ((720, 160), False, False),  # a little larger below: nothing moves
        ((800, 160), True, True),
        ((600, 600), True, False),
    ],
)
def test_a_picture_goes_where_it_is_larger_and_small_gains_move_nothing(size, now, below):
    assert screen.goes_below(*size, now) is below


def test_the_page_is_told_where_the_picture_stands_and_to_scale_it_down_alone():
    width = panel_of(1, (300, 200)).image.layout.width
    assert width == "min(300px, 100%, calc(var(--lab-height) * 1.5000))"
    tiny = panel_of(1, (100, 60)).image  # four times as large, or nobody would see it
    assert tiny.layout.width.startswith("min(400px, 100%")
    with Image.open(io.BytesIO(tiny.value)) as shown:
        assert shown.size == (400, 240)
    panel = panel_of(1, (250, 160))
    for times, wide in ((1, False), (12, True)):
        panel.controls["s0"].put(times)
        assert ("lab-wide" in panel.widget._dom_classes) is wide, times


def test_a_message_stands_at_the_control_that_caused_it_and_unfolds_it():
    panel = panel_of(7)
    for name, unfolds in (("s1", False), ("s6", True)):
        control = panel.controls[name]
        control._say("not this one")
        assert panel.complaint == "not this one"
        assert "not this one" in panel._complaints[name].value
        assert panel._complaints["s0"].value == ""
        assert panel.more_button.value is unfolds
        control._say("")
        assert panel._complaints[name].value == panel.complaint == ""
