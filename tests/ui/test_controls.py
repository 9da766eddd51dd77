"""Controls: values, units, what follows what, and messages instead of crashes."""

import itertools

import numpy as np
import pytest
from PIL import Image
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, LabError, UnknownClass, UnknownLayer
from labsupport.core.network import own
from labsupport.ui import controls, declare, figures


class Ear:
    """Listens to a control as a panel does."""

    def __init__(self, *heard: controls.Control) -> None:
        self.changes, self.said = 0, ""
        for control in heard:
            control.listen(self.changed, self.hear)

    def changed(self) -> None:
        self.changes += 1

    def hear(self, words: str, kind: str) -> None:
        if kind == "control":
            self.said = words


def tiny(categories: list[str], channels: int = 4) -> networks.Network:
    module = nn.Sequential(
        nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Flatten(), nn.Linear(channels * 36, 3)
    )
    return networks.wrap(module, categories=categories, input_size=8, name="-".join(categories))


@pytest.fixture(scope="module")
def pets() -> networks.Network:
    return tiny(["cat", "dog", "crane"])


@pytest.fixture(scope="module")
def birds() -> networks.Network:
    return tiny(["crane", "kite", "crane"], channels=2)


@pytest.fixture
def menu(pets, birds, monkeypatch) -> controls.LoadingMenu:
    monkeypatch.setattr(own, "_registered", {"birds": (birds, None), "pets": (pets, None)})
    return controls.network_menu("pets", names=["pets", "birds", "vgg19"])


@pytest.fixture
def pictures(tmp_path) -> images.ImageSet:
    for place, name in enumerate(("red", "green", "blue")):
        colour = tuple(255 * (channel == place) for channel in range(3))
        Image.new("RGB", (12, 10), colour).save(tmp_path / f"{name}.png")
    return images.folder(tmp_path)


# -- numbers and choices


def test_labels_carry_their_units_and_a_mapping_shows_its_keys_and_gives_its_values():
    slider = declare.whole(32, 8, 96, step=8, unit="px").named("window", {})
    assert slider.source.description == "window (px)"
    assert declare.real(0, 0, 1, step=1e-5).named("x", {}).source.readout_format == ".5f"
    assert (slider.value, slider.key, slider.words) == (32, 32, 32)
    menu = declare.choice({"plain": "backprop", "guided": "guided"}, "guided").named("rule", {})
    assert (menu.value, menu.source.label) == ("guided", "guided")


@pytest.mark.parametrize(
    ("words", "make", "given"),
    [
        ("tried: 4 does not lie between 8 and 96", declare.whole, (4, 8, 96)),
        ("tried: 1.5 does not lie between 0 and 1", declare.real, (1.5, 0, 1)),
        ("seed: 10000 does not lie between 0 and 9999", declare.seed, (10000,)),
        ("above zero", declare.logarithmic, (0.5, 0.0, 1)),
        ("tried: a menu needs at least one option", declare.choice, ([],)),
        ("tried: 'back' .* Nearest: black, mean", declare.choice, (["mean", "black"], "back")),
        ("tried: .* empty menu", declare.choice, ({"by itself": None, "b": 1},)),
    ],
)
def test_defaults_that_cannot_be_are_refused(words, make, given):
    with pytest.raises(BadSetting, match=words):
        make(*given).named("tried", {})


def test_walking_steps_reach_both_ends_and_every_option():
    slider = declare.whole(32, 8, 96, step=8).named("window", {})
    reached = []
    for step in slider.steps():
        step.act()
        reached.append(slider.value)
    assert reached == [8, 48, 96]
    factors = declare.logarithmic(0.01, 0.0001, 1.0).named("rate", {}).steps()
    values = [float(step.words.split("= ")[1]) for step in factors]
    assert values == pytest.approx([0.0001, 0.01, 1.0])
    assert len(declare.choice(list("abcd")).named("fill", {}).steps()) == 4
    many = declare.choice([str(n) for n in range(100)]).named("layer", {})
    words = [step.words for step in many.steps()]
    assert (len(words), words[0][-3:], words[-1][-4:]) == (12, "= 0", "= 99")


# -- listening and following


def test_one_change_tells_each_listener_once_however_many_follow(menu, birds):
    class_box, layer = controls.ClassBox(menu), controls.LayerMenu(menu)
    channel = controls.ChannelSlider(layer)
    ears = Ear(menu, class_box, layer, channel), Ear(controls.LayerMenu(menu))
    menu.put("birds")
    assert [ear.changes for ear in ears] == [1, 1]
    # followers of followers are refreshed before anybody is told
    menu.put("pets")
    layer = controls.LayerMenu(menu, "0")
    channel = controls.ChannelSlider(layer, 3)
    seen = []
    menu.listen(lambda: seen.append((layer.network.name, channel.value)), lambda *words: None)
    menu.put("birds")
    assert (seen, channel.source.max) == ([(birds.name, 1)], 1)


def test_a_control_that_nobody_listens_to_any_more_lets_go(menu):
    ear, box = Ear(), controls.ClassBox(menu)
    box.listen(ear.changed, ear.hear)
    box.unlisten(ear.changed, ear.hear)
    assert box.source.comm is None
    assert not menu._followers


# -- pictures


def test_the_image_menu_gives_the_chosen_image(pictures):
    menu = controls.ImageMenu(pictures, "green")
    images.check(menu.value)
    assert menu.value.shape == (1, 3, 10, 12)
    assert menu.value[0, :, 0, 0].tolist() == [0, 1, 0]
    menu.put("blue")
    assert menu.value[0, :, 0, 0].tolist() == [0, 0, 1]
    assert menu.words == "blue"
    with pytest.raises(LabError, match="green"):
        controls.ImageMenu(pictures, "gren")


def test_an_upload_is_chosen_and_stays_in_the_menu_and_one_that_is_no_picture_gives_words(pictures):
    menu = controls.ImageMenu(pictures, "red")
    ear = Ear(menu)
    menu._send(b"not a picture")
    assert "walk.png" in ear.said
    assert (ear.changes, menu.key) == (0, "red")
    menu.put("blue")
    assert (ear.changes, ear.said) == (1, "")
    menu.steps()[-2].act()
    assert (ear.changes, menu.words) == (2, "walk.png, from 40 px on")
    assert menu.upload.value == ()
    own = menu.source.value
    for choice in (own, "red", own):
        menu.put(choice)
        assert (menu.value.shape == (1, 3, 240, 240)) == (choice == own)
    for shade in range(12):  # uploads do not pile up
        menu.open_files([(f"{shade}.png", figures.to_png(Image.new("L", (4, 4), shade)))])
    assert len(menu.source.options) == 4 + 3
    assert menu.words == "11.png"


def png(width: int, height: int) -> bytes:
    """A picture whose red grows from left to right and whose green grows downwards."""
    red, green = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([red, green, 0 * red], 2).astype(np.uint8)
    return figures.to_png(Image.fromarray(pixels))


def corner(image) -> list[int]:
    """The place of an image's first pixel in the picture of `png`: [left, top]."""
    return image[0, :2, 0, 0].mul(255).round().int().tolist()


def test_an_upload_that_is_no_square_shows_which_square_is_taken_and_lets_it_move(pictures):
    menu = controls.ImageMenu(pictures, "green")
    ear = Ear(menu)
    begins, whole = menu._crop.children
    assert menu._crop.layout.display == "none"
    menu.open_files([("wide.png", png(200, 80))])
    assert menu._crop.layout.display is None
    assert (begins.value, begins.max) == (60, 120)
    assert (menu.value.shape[2:], corner(menu.value)) == ((80, 80), [60, 0])
    before = menu.key
    begins.value = 110
    assert (corner(menu.value), menu.words) == ([110, 0], "wide.png, from 110 px on")
    assert (ear.changes, menu.key != before) == (2, True)
    whole.value = True
    standard = images.standard(menu.value, 224)
    assert menu.words == "wide.png, whole"
    assert standard[0, 0, 112, [2, -3]].mul(255).tolist() == pytest.approx([2, 197], abs=2)
    assert standard[0, :, 20, 112].tolist() == pytest.approx([0.5] * 3, abs=0.01), "a bar"
    menu.open_files([("tall.png", png(30, 90))])
    assert (corner(menu.value), whole.value) == ([0, 30], False)
    menu.put("blue")
    assert (menu._crop.layout.display, menu.words) == ("none", "blue")
    # nobody is asked where pictures are taken as they are, or are squares
    for square, size in ((False, (200, 80)), (True, (90, 90))):
        menu = controls.ImageMenu(pictures, "green", square=square)
        menu.open_files([("one.png", png(*size))])
        assert menu._crop.layout.display == "none"
        assert menu.value.shape[2:] == size[::-1]


def test_pictures_stand_in_groups_from_a_to_z_after_the_one_to_begin_with():
    shown = images.photos()
    (first, _), *others = controls.ImageMenu(shown, "koala").source.options
    assert first == "Koala"
    groups = [shown[name].category for _, name in others]
    assert len([one for one, _ in itertools.groupby(groups)]) == len(set(groups))
    for group in set(groups):
        titles = [title for title, name in others if shown[name].category == group]
        assert titles == sorted(titles, key=str.casefold)


# -- networks, classes, layers


def test_a_network_that_cannot_be_had_gives_words_and_the_one_before_stays(menu, pets):
    # networks that are here come first, and the others say so
    assert menu.source.options == (
        ("pets", "pets"),
        ("birds", "birds"),
        ("vgg19 (download)", "vgg19"),
    )
    ear = Ear(menu, controls.ClassBox(menu))
    menu.steps()[-1].act()
    assert [words for words in ("vgg19", "pets stays") if words not in ear.said] == []
    assert (menu.value, menu.source.value, ear.changes) == (pets, "pets", 0)


def test_a_class_box_is_a_unit_box_where_a_network_has_no_classes():
    menu = controls.network_menu(names=["squeezenet1_1", "alexnet"])
    box = controls.ClassBox(menu, "koala")
    ear = Ear(menu, box)
    menu.put("alexnet")
    assert "alexnet does not know the unit 'koala'" in ear.said
    seen = box.source.description, box.source.placeholder, box.value, box.words
    assert seen == ("unit", "its strongest unit", None, "its strongest unit")
    assert "conv5 0" in box.source.options
    for text in ("conv5 3", "features.10, 3", "('conv5', 3)", "conv5 channel 3"):
        box.put(text)
        assert (box.value, box.words) == (("features.10", 3), "conv5, channel 3")
    for text, words in (("koala", "such as pool5 0"), ("conv9 3", "conv"), ("conv5 999", "255")):
        box.put(text)
        with pytest.raises(LabError, match=words):
            box.value  # noqa: B018
    menu.put("squeezenet1_1")
    assert (box.source.description, box.source.placeholder) == ("class", controls.OWN_ANSWER)


def test_a_network_is_loaded_once_with_a_note_that_is_no_problem(monkeypatch, pets, birds):
    heard = []

    def load(name: str) -> networks.Network:
        heard.append(name)
        return {"squeezenet1_1": pets, "lenet5": birds}[name]

    monkeypatch.setattr(networks, "load", load)
    menu = controls.network_menu(names=["squeezenet1_1", "lenet5"])
    assert menu.value is pets
    menu.listen(lambda: None, lambda words, kind: heard.append((words, kind)))
    menu.put("lenet5")
    note = ("", "control"), ("Loading lenet5 ...", "note")
    assert heard == ["squeezenet1_1", *note, "lenet5", ("", "note")]
    for name in ("squeezenet1_1", "lenet5"):
        menu.put(name)
    assert menu.value is birds
    assert [one for one in heard if isinstance(one, str)] == ["squeezenet1_1", "lenet5"]


def test_a_class_is_typed_by_name_by_index_or_not_at_all(pets, birds):
    box = controls.ClassBox(pets)
    ways = {"": None, "the network's own answer": None, "cat": 0, " Dog ": 1, "2": 2}
    for typed, index in ways.items():
        box.put(typed)
        assert box.value == index, typed
    for typed in ("dgo", "3", "crane (7)"):
        box.put(typed)
        with pytest.raises(UnknownClass):
            _ = box.value
    # two classes of one name are offered with their index
    box = controls.ClassBox(birds)
    assert box.source.options == ("crane (0)", "kite", "crane (2)")
    box.put("crane (2)")
    assert (box.value, box.words) == (2, "crane")


def test_the_class_follows_the_network(menu):
    box = controls.ClassBox(menu, "crane")
    ear = Ear(box)
    box.put("dog")
    menu.put("birds")
    assert box.source.options == ("crane (0)", "kite", "crane (2)")
    assert box.value is None
    assert "dog" in ear.said
    menu.put("pets")
    box.put("cat")
    assert box.value == 0


def test_a_layer_menu_shows_the_dozen_that_teach_and_brings_all_on_request(pets):
    network = networks.load()
    layer = controls.LayerMenu(network, "fire5")
    ear = Ear(layer)
    fires = [f"fire{number}" for number in range(2, 10)]
    titles = [title.split()[0] for title, _ in layer.source.options]
    assert titles == ["conv1", *fires, "conv10", "all"]
    layer.source.label = "all layers ..."  # more to choose from; the choice stays
    assert (layer.words, ear.changes) == ("fire5", 0)
    assert len(layer.source.options) == len(network.layers) + 1
    layer.source.label = "fewer layers"
    assert (len(layer.source.options), layer.words, ear.changes) == (11, "fire5", 0)
    layer.turn(-1)
    layer.turn(-9)
    assert (layer.words, ear.changes) == ("conv1", 2)
    layer.put(network.layer("fire2/squeeze1x1").name)
    assert (layer.words, len(layer.source.options)) == ("fire2/squeeze1x1", 67)
    # one that is not of the dozen stands among them where a lab begins with it; few are all shown
    begun = controls.LayerMenu(network, "fire2/squeeze1x1").source.options
    assert [title.split()[0] for title, _ in begun][:3] == ["conv1", "fire2/squeeze1x1", "fire2"]
    assert len(controls.LayerMenu(pets).source.options) == len(pets.layers)


@pytest.mark.parametrize(
    ("name", "begins", "ends"),
    [
        ("alexnet", "conv1 pool1 conv2 pool2", "conv5 pool5 fc6 fc7 fc8"),
        ("vgg16", "conv1_1 conv1_2", "conv5_3 fc7 fc8"),
        ("resnet18", "conv1 relu1 pool1 res2a res2b", "res5a res5b pool5"),
        ("googlenet", "conv1/7x7_s2 conv2/3x3 inception_3a/output", "inception_5b/output"),
    ],
)
def test_the_dozen_are_the_blocks_and_layers_of_the_papers(name, begins, ends):
    layers = networks.load(name, weights="random").layers
    titles = " ".join(layer.title for layer in controls.teaching_layers(layers))
    assert titles.startswith(begins)
    assert titles.endswith(ends)
    assert len(titles.split()) <= 12


def test_the_layer_menu_shows_shapes_and_follows_the_network(menu, pets):
    layer = controls.LayerMenu(menu, "1")
    assert layer.source.label == "relu1  4×6×6"
    menu.put("birds")
    assert (layer.value, layer.source.label) == ("1", "relu1  2×6×6")
    has_map = {"keep": lambda known: known.has_map}
    maps = controls.LayerMenu(pets, **has_map)
    assert ([value for _, value in maps.source.options], maps.value) == (["0", "1"], "1")
    # after a change of network the layer is as deep as before
    many = [nn.Conv2d(3, 3, 1) for _ in range(14)]
    deep = networks.wrap(nn.Sequential(*many, nn.Flatten(), nn.Linear(192, 2)), input_size=8)
    networks.register("deep", deep)
    menu = controls.network_menu("deep", names=["pets"])
    layer = controls.LayerMenu(menu, "8", **has_map)
    menu.put("pets")
    assert layer.value == "1"
    menu.put("deep")
    assert layer.value == "13"  # as deep, and not the one that happens to be called "1" there
    layer.source.value = controls._MORE  # all layers: the one that is shown stays, and no older one
    assert layer.value == "13"
    none = controls.LayerMenu(pets, keep=lambda known: False)  # those with maps, then
    assert [value for _, value in none.source.options] == ["0", "1"]
    for given, settings, words in (
        (("conv9",), {}, "the nearest names are conv1"),
        (("3",), has_map, "Nearest"),
    ):
        with pytest.raises(UnknownLayer, match=words):
            controls.LayerMenu(pets, *given, **settings)
