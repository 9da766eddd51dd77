"""Declared panels: their controls, their starts, and what is refused."""

from collections.abc import Iterator

import pytest
import torch
from ipywidgets.widgets.widget import _instances
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.ui import declare
from labsupport.ui.declare import choice, live, panel, toggle, whole
from labsupport.ui.panel import Live, Panel


def flat(side: int, shade: int) -> Image.Image:
    return Image.new("RGB", (side, side), (shade,) * 3)


@panel("A square", cost="instant")
def square(
    side: int = whole(8, 1, 64, unit="px"), light_or_dark: str = choice(["light", "dark"])
) -> tuple[Image.Image, str]:
    """A square."""
    return flat(side, 255 if light_or_dark == "light" else 0), f"{side} pixels"


def shown(frame: int, double: bool = toggle(False)) -> tuple[Image.Image, str]:
    return flat(frame * (1 + double), 0), f"{frame}"


@live("Growing", draw=shown)
def growing(first: int, most: int = whole(3, 1, 9)) -> Iterator[int]:
    """From `first` on."""
    yield from range(first, most + 1)


def computed(side: int = whole(8, 1, 64)) -> int:
    return 2 * side


@panel("Twice", compute=computed)
def twice(result: int, shade: int = whole(10, 0, 255)) -> Image.Image:
    """Twice the side."""
    return flat(result, shade)


def test_parameters_are_controls_with_their_names_as_labels():
    made = square()
    assert isinstance(made, Panel)
    assert list(made.controls) == ["side", "light_or_dark"]
    assert made.controls["light_or_dark"].label == "light or dark"
    made.controls["side"].put(20)
    assert made.words == "20 pixels"
    # a start is given by place or by name, and only for that panel
    for made, side in ((square(16), 16), (square(side=16), 16), (square(), 8)):
        assert made.picture.size == (side, side)
    picture, words = square.function(4, "dark")
    assert (picture.size, words) == ((4, 4), "4 pixels")
    assert square.__doc__ == "A square."
    made = twice(shade=99, side=5)  # what computes is declared beside what draws
    assert (made.picture.size, made.picture.getpixel((0, 0))) == ((10, 10), (99, 99, 99))


def test_a_live_panel_takes_settled_values_and_its_drawings_controls():
    made = growing(2, most=4)
    assert isinstance(made, Live)
    assert growing.needs == ["first"]
    assert list(made.controls) == ["most", "double"]
    assert made.run() == 4
    made.controls["double"].put(True)
    assert made.picture.size == (8, 8)
    made.close()
    assert square(16, title="Another").title == "Another"
    for wanted in (False, True):
        made = growing(1, autostart=wanted)
        assert (made.autostart, made.title) == (wanted, "Growing")
        made.close()
    mine = type("Mine", (Live,), {})  # a panel of one's own kind is declared like any other
    made = live("Mine", draw=shown, kind=mine)(growing.function)(1)
    assert isinstance(made, mine)
    made.close()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: square(sied=3), "no control 'sied'; the nearest is 'side'"),
        (lambda: square(autostart=True), "no control 'autostart'"),
        (lambda: growing(), "growing needs first"),
        (lambda: square(side=99), "does not lie between 1 and 64"),
        (lambda: square(light_or_dark="grey"), "not among its options"),
        (lambda: square(1, "dark", 3), "takes 2 values, and 3 were given"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, words):
    with pytest.raises(BadSetting, match=words):
        call()


def test_each_kind_of_control_follows_the_one_it_names():
    @panel("All")
    def everything(
        image=declare.photo("koala"),
        network=declare.network_of(),
        target=declare.class_of(start="koala"),
        layer=declare.layer_of("network", "fire5"),
        channel=declare.channel_of("layer", 7),
        rate=declare.logarithmic(0.1, 0.01, 1.0),
        share=declare.real(0.5, 0.0, 1.0),
        seed=declare.seed(2),
    ):
        return flat(4, 0), f"{target} {layer} {channel} {rate} {share} {seed}"

    before = len(_instances)
    made = everything()
    assert made.words.split()[0] == "105"
    assert made.words.split()[2:] == ["7", "0.1", "0.5", "2"]
    made.controls["layer"].put(made.controls["network"].value.layer("conv1").name)
    assert made.controls["channel"].source.max == 63
    made.close()  # and leaders go with their followers
    assert len(_instances) == before


def test_values_come_together_from_controls_that_panels_share():
    shape = declare.together(side=whole(8, 1, 64), shade=whole(10, 0, 255, label="grey"))

    @panel("Together")
    def shaped(first: bool = toggle(True), how: dict[str, int] = shape, last: int = whole(1, 0, 9)):
        return flat(how["side"], how["shade"]), f"{sorted(how)} {first} {last}"

    made = shaped(side=4)
    assert list(made.controls) == ["first", "side", "shade", "last"]
    assert made.controls["shade"].label == "grey"
    assert (made.picture.size, made.words) == ((4, 4), "['shade', 'side'] True 1")
    made.controls["side"].put(9)
    assert made.picture.size == (9, 9)
    with pytest.raises(BadSetting, match="no control 'how'"):
        shaped(how={})


def test_all_functions_of_a_panel_get_settled_values_and_so_do_controls():
    network = networks.load()

    def doubled(network, layer: str = declare.layer_of("network", "fire5")):
        return 2 * network.layer(layer).shape[0]

    @panel("Channels", compute=doubled)
    def channels(count, network, unit: int = declare.channel_of("layer", 3), more: int = 1):
        return flat(8, unit), f"{count + more} of {network.name}"

    made = channels(network, "fire4", unit=2, more=5)
    assert channels.needs == ["network"]
    assert list(made.controls) == ["layer", "unit"]
    assert made.words == f"{2 * network.layer('fire4').shape[0] + 5} of {network.name}"
    assert made.picture.getpixel((0, 0)) == (2, 2, 2)


def test_an_empty_class_is_the_networks_own_answer_to_what_it_sees():
    network, koala = networks.load(), images.sample("koala")
    seen, target = declare.seen_and_class(koala, network, None)
    assert torch.equal(seen, images.standard(koala, 224))
    assert network.categories[target] == "koala"
    assert declare.seen_and_class(koala, network, 7)[1] == 7


def test_controls_of_the_drawing_can_stand_above_those_of_the_work():
    @panel("Mixed", compute=computed, first=("most", "shade"))
    def mixed(result: int, most: int, shade: int = whole(10, 0, 255), double: bool = toggle()):
        return flat(min(result, most) * (1 + double), shade)

    made = mixed(12, 99)
    assert list(made.controls) == ["shade", "side", "double"]
    assert (made.picture.size, made.picture.getpixel((0, 0))) == ((12, 12), (99, 99, 99))


def test_what_is_asked_for_stands_in_the_menu_only_of_who_begins_with_it():
    menu = declare.choice({"here": "a"}, "a", asked={"far": "b", "farther": "c"})
    assert dict(menu.build("sets", "a", {}).source.options) == {"here": "a"}
    asked = menu.build("sets", "b", {})
    assert (dict(asked.source.options), asked.value) == ({"here": "a", "far": "b"}, "b")
