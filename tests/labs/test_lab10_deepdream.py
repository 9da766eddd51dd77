"""Dreams in panels: what is shown is what the method made; films play and are saved."""

import base64
import re

import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.images import films
from labsupport.labs.lab10_deepdream import dream as lab
from labsupport.labs.lab10_deepdream import films as cinema
from labsupport.methods import dream as d
from labsupport.methods.optimize import Normalized
from labsupport.ui import figures

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def photo():
    return lab.fitted(images.sample("china"), 120)


def test_a_picture_is_fitted_and_never_enlarged():
    assert lab.fitted(torch.zeros(1, 3, 50, 100), 40).shape == (1, 3, 20, 40)
    assert lab.fitted(torch.zeros(1, 3, 50, 20), 400).shape == (1, 3, 50, 20)


def test_two_layers_are_mixed_in_balance(network, opened):
    live = opened(lab.dream_panel("china", layer="fire3", side=240, octaves=1))
    assert live.picture.size == (480, 320)
    live.controls["share"].source.value = 0.3
    live.run(limit=1)
    objective = live.frame.settings["objective"]
    picture = lab.fitted(images.sample("china"), 240)
    weights = d.balanced_weights(network, picture, ["features.4.cat", "features.6.cat"])
    expected = [0.7 * weights["features.4.cat"], 0.3 * weights["features.6.cat"]]
    assert objective["weights"] == pytest.approx(expected)


def test_the_controls_make_the_recipe():
    recipe = lab.recipe_of("2015", octaves=3, scale=1.6, iterations=7, strength=2.0, jitter=8)
    expected = d.DreamRecipe("2015", 7, 3, 1.6, 8, Normalized(2 / 255))
    assert recipe == expected


def test_the_recipe_of_2015_is_the_default_and_in_bands_an_option(opened):
    assert lab.recipe_of() == d.CLASSIC
    live = opened(lab.dream_panel("china", layer="fire3", side=240))
    live.run(limit=1)
    assert live.frame.settings["recipe"]["name"] == "2015"
    live.controls["gradient"].source.value = "vivid"
    live.run(limit=1)
    assert live.frame.settings["recipe"]["name"] == "vivid"


@pytest.mark.parametrize(
    ("name", "begins"), [("vgg16", ["relu4_3", "relu5_3"]), ("alexnet", ["relu4", "pool5"])]
)
def test_every_panel_takes_the_networks_without_classes(opened, name, begins):
    """And begins at layers that dream of animals."""
    for layer, expected in zip(("fire7", "fire9"), begins, strict=True):
        live = opened(lab.dream_panel("china", layer=layer, side=240, octaves=1, iterations=2))
        live.controls["network"].put(name)
        assert live.controls["layer"].words == expected
    live.run(limit=2)
    assert live.words.startswith("Octave 1 of 1 (240 x 160 pixels), step 1 of 2.")
    panels = (
        lab.contact_panel("china", iterations=2, octaves=1, side=160),
        cinema.zoom_panel("china", octaves=1, iterations=2, side=160),
    )
    for panel in map(opened, panels):
        panel.controls["network"].put(name)
        panel.run(limit=2)
        assert not panel.complaint
    loop = opened(lab.feedback_panel("pont_du_gard"))
    loop.controls["network"].put(name)
    loop.run(limit=3)
    raised = float(loop.frame.values[2])
    assert raised > 1
    assert loop.words.strip() == (
        f"After 2 of 30 steps, the layer's energy is {raised:.1f} times the photograph's."
    )


def test_the_sheet_has_the_ends_of_blocks_or_every_layer_with_a_map_of_any_network(network):
    ends = [network.layer(name).title for name in lab.sheet_layers(network)]
    assert ends == ["relu1", *[f"fire{number}" for number in range(2, 10)], "relu10"]
    every = lab.sheet_layers(network, every=True)
    assert len(every) > 50
    assert set(lab.sheet_layers(network)) < set(every)
    assert all(network.layer(name).has_map for name in every)
    chain = toys.chain(lambda: [nn.Conv2d(3, 4, 3)], input_size=16)
    assert lab.sheet_layers(chain) == ["0"]
    # and dogs are counted only where there are some
    assert lab._knows_dogs(network)
    assert not lab._knows_dogs(chain)


def test_the_contact_sheet_hangs_one_dream_after_the_other(network):
    photo, how = images.sample("china"), {"gradient": "2015", "iterations": 2, "octaves": 1}
    frames = list(lab.contact_panel.function(photo, network, "ends", how=how, side=160))
    assert len(frames) == 10 * 3
    assert frames[-1].progress == 1
    shares = [frame.progress for frame in frames]
    assert shares == sorted(shares)
    recipe = lab.recipe_of("2015", iterations=2, octaves=1)
    picture = lab.fitted(photo, 160)
    alone = d.dream(network, picture, "fire9", recipe=recipe)
    assert torch.equal(frames[-1].frames[8].image, alone.image)
    first, last = (lab._draw_sheet(frames[place], network, photo, 160) for place in (0, -1))
    assert first[0].size == last[0].size
    assert first[1].startswith("relu1, 1 of 10 layers; 2 iterations")
    assert last[1].startswith("relu10, 10 of 10 layers")


def test_feedback_is_told_in_words_and_curves(network, opened):
    live = opened(lab.feedback_panel("pont_du_gard", layer="fire3"))
    live.controls["steps"].source.value = 10
    live.run(limit=3)
    assert len(live.frame.values) == 3
    assert live.frame.progress == pytest.approx(0.2)
    chances = live.frame.probabilities[:, network.class_index("viaduct")]
    first, last = (figures.per_cent(float(chances[place])) for place in (0, -1))
    assert first != last
    assert f"viaduct: at first {first}, now {last}." in live.words
    assert "all dogs together: at first < 0.1 %" in live.words
    assert live.picture.width > 900


def test_octaves_are_a_picture_of_dreams(network, photo):
    recipe = d.DreamRecipe(iterations=1, octaves=2)
    octaves = lab.octaves_picture(network, photo, "fire3", recipe=recipe)
    assert octaves.width >= 120 + 86


# Films


def decoded(markup: str) -> bytes:
    return base64.b64decode(re.search(r"base64,([^\"]+)", markup)[1])


def test_a_zoom_film_plays_in_its_panel_and_is_saved(tmp_path, network, opened):
    live = opened(
        cinema.zoom_panel("china", layer="fire3", count=4, iterations=2, octaves=1, side=160)
    )
    assert live.film is None
    assert live.film_button.disabled
    with pytest.raises(BadSetting, match="no film yet"):
        live.save_film(tmp_path)
    live.run()
    assert len(live.film.images) == 4
    picture = lab.fitted(images.sample("china"), 160)
    recipe = lab.recipe_of(octaves=1, iterations=2)
    last = d.zoom_film(network, picture, "fire3", count=4, share=0.05, recipe=recipe)
    assert torch.equal(live.film.images, torch.cat(last.images))
    assert "<video" in live.video.value
    assert "http" not in live.video.value
    assert 'width="320"' in live.video.value
    assert f'aria-label="{live.alt}"' in live.video.value
    shown = films.read(decoded(live.video.value))
    assert len(shown.images) == 4
    for number in (1, 2):
        file = live.save_film(tmp_path)
        assert file.name == f"zoom-film-{number}.mp4"
        assert len(films.read(file).images) == 4
    live.run(limit=1)
    assert live.video.value == ""
    assert live.film_button.disabled


def test_the_kept_film_lasts_ten_seconds():
    kept = films.read(decoded(cinema.kept_film().data), most=80, side=480)
    assert kept.images.shape == (80, 3, 320, 480)
    assert kept.seconds == pytest.approx(10)
    first = lab.fitted(images.sample("china"), 480)
    apart = (kept.images - first).abs().mean((1, 2, 3))
    assert float(apart[0]) < 0.1 < float(apart[40])  # it begins at the photograph, and leaves it


def test_a_film_of_ones_own_is_dreamed_on_at_its_own_speed(network, opened):
    live = opened(cinema.film_panel("china", layer="fire3", iterations=2, octaves=1, side=160))
    pan = films.pan(images.sample("flower"), (60, 90), 3, fps=5)
    live.controls["clip"].open_files([("mine.gif", films.encode(pan, "gif"))])
    assert live.controls["clip"].words == "mine.gif"
    live.run()
    assert live.film.fps == 5
    assert live.film.images.shape == (3, 3, 60, 90)
    assert "50% of the detail kept" in live.words


def test_several_pictures_are_a_film_in_the_order_of_their_names(tmp_path):
    menu = cinema.ClipMenu()
    dark, light = torch.zeros(1, 3, 20, 30), torch.ones(1, 3, 20, 30)
    files = []
    for name, image in (("b.png", light), ("a.png", dark)):
        images.save(image, tmp_path / name)
        files.append((name, (tmp_path / name).read_bytes()))
    menu.open_files(files)
    film = menu.value
    assert film.images.shape == (2, 3, 20, 30)
    assert float(film.images[0].max()) == 0
    assert float(film.images[1].min()) == 1
    assert menu.words == "2 pictures"
    with pytest.raises(BadImage):
        menu.open_files([("words.txt", b"words")])
    assert menu.value is film
    menu.put("flower")
    assert len(menu.value.images) == 12
