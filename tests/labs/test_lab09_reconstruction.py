"""Pictures that come back from codes: what the panels show is what the method made."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.frames import Series
from labsupport.labs import lab09_reconstruction as lab
from labsupport.methods import inversion

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cat():
    return images.standard(images.sample("chelsea"), 64)


def test_what_is_kept_is_what_the_menu_says(network, cat):
    assert lab.code_of(network, cat, "layer", "fire3").title == "fire3"
    assert lab.code_of(network, cat, "pooling", "fire3").title == "pool5"
    assert lab.code_of(network, cat, "scores", "fire3").title == inversion.LOG_PROBABILITIES
    assert lab.code_of(network, cat, "hog", "fire3").title == "HOG"
    whole = lab.code_of(network, cat, "layer", "fire5")
    half = lab.code_of(network, cat, "layer", "fire5", "half")
    middle = lab.code_of(network, cat, "layer", "fire5", "middle")
    assert half.numbers * 2 == whole.numbers
    assert middle.numbers == 25 * whole.values.shape[1]
    with pytest.raises(BadSetting, match="no map"):
        lab.code_of(network, cat, "scores", "fire5", "middle")


def test_four_reconstructions_are_from_four_seeds(opened):
    four = {"network": "squeezenet1_1", "layer": "fire9", "pictures": 4, "size": 128}
    live = opened(lab.invert_panel("chelsea", steps=20, **four))
    live.run(limit=3)
    assert live.frame.frame.image.shape[0] == 4
    assert live.frame.frame.settings["seed"] == [0, 1, 2, 3]
    assert "from each other's" in live.words
    assert live.words.count(",") >= 2  # the network's answers to all four


def test_an_inversion_begins_where_other_photos_say(opened, monkeypatch):
    few = images.photos()[:6]
    monkeypatch.setattr(images, "photos", lambda: few)
    monkeypatch.setattr(images, "paintings", lambda: few[:0])
    live = opened(lab.invert_panel("chelsea", start=lab.OTHER_PHOTOS, size=96, steps=20))
    live.run()
    network = networks.load("alexnet")
    code = inversion.encode(network, images.standard(images.sample("chelsea"), 96), "pool5")
    begun = inversion.invert(network, code, start=inversion.ridge_start(network, code), steps=20)
    assert torch.allclose(live.frame.frame.image, begun.image, atol=1e-4)
    assert live.frame.frame.step == 20


def test_the_kept_starts_are_those_of_the_table_and_they_help():
    table, sheets = lab.started(), lab.started_pictures()
    for (layer, way), rows in table.items():
        assert rows.photo.tolist() == lab.measured()["fire5"].photo.tolist()
        found = inversion.pixel_distance(sheets[layer, way], sheets["photos"])
        assert found.tolist() == pytest.approx(rows.pixels.tolist(), abs=0.02)
    for layer in dict.fromkeys(layer for layer, _ in table):
        plain, ridge = table[layer, "plain"], table[layer, "ridge"]
        for measure in ("distance", "pixels", "perceptual"):
            assert ridge[measure].mean() < plain[measure].mean()
    picture, words = lab.starts_panel.function("hens", "pool5")
    assert picture.width < 500
    assert f"LPIPS {table['pool5', 'ridge'].perceptual.mean():.2f}." in words


def test_the_kept_pictures_of_one_code_are_those_of_their_table(network):
    for code, tiles in lab.same_pictures().items():
        photo, *four = tiles.split(1)
        assert float((photo - images.standard(images.sample("chelsea"))).abs().mean()) < 0.03
        picture, words = lab.same_panel.function(code)
        assert picture.width < 720
        apart = [float(inversion.pixel_distance(one, photo)) for one in four]
        least, most = (f"{end(apart):.2f}" for end in (min, max))
        assert f"{least} to {most}" in words
        names = lab._table("same")[lab._table("same").layer == code].answer.tolist()
        assert names == [answer.name for [answer] in network.predict(torch.cat(four), 1)]


def test_a_strip_goes_from_layer_to_layer(network, cat):
    layers = ("fire2", "fire5")
    frames = list(lab.strips(network, cat, layers, steps=4, every=2))
    shares = [frame.progress for frame in frames]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert frames[-1].names == layers
    alone = inversion.invert(network, inversion.encode(network, cat, "fire5"), steps=4)
    assert torch.equal(frames[-1].frames[1].image, alone.image)
    first, last = (lab.strip_picture(cat, frames[place]) for place in (0, -1))
    assert first.size == last.size


@pytest.mark.parametrize("side", [64, 128, 160, 192, 224])
def test_a_strip_fits_into_a_cell_at_every_size_of_the_panel(side):
    image = torch.rand(1, 3, side, side)
    frame = SimpleNamespace(image=image, score=torch.tensor(-0.5), progress=0.1)
    strip = Series(tuple(f"layer {number}" for number in range(10)), (frame,))
    assert lab.strip_picture(image, strip).width <= 848  # a cell in a window of 1280 pixels


def test_the_ends_of_blocks_are_chosen_evenly(network):
    names = lab.ends(network, 6)
    assert len(names) == 6
    assert names[0] == "relu1" or names[0] == "conv1" or names[0] == "pool1"
    places = [network.layer(name) for name in names]
    order = [list(network.layers).index(place) for place in places]
    assert order == sorted(order)


def test_the_bundled_table_holds_what_is_promised_and_the_pictures_are_those_of_the_table():
    table, sheets = lab.measured(), lab.pictures()
    for name, tile in zip(table["fire3"].photo, sheets["photos"], strict=True):
        photo = images.standard(images.sample(name), 128)[0]
        assert float((photo - tile).abs().mean()) < 0.03
    for row, tile in zip(table["fire3"], sheets["fire3"], strict=True):
        photo = images.standard(images.sample(row.photo), 128)
        distance = float(inversion.pixel_distance(tile[None], photo))
        assert distance == pytest.approx(row.pixels, abs=0.015)
    first_half = ("pool1", "fire2", "fire3", "fire4", "fire5")
    assert {len(rows) for rows in table.values()} == {12}
    assert {*table["pool5"].same} == {*table["pool5"].among, 0} == {0, 1}
    assert max(table[layer].normalised.max() for layer in first_half) < 0.05
    shown = np.asarray(lab.kept_picture())
    grey = (shown[:, :360] == 140).all(2).sum(), (shown[:, 376:] == 140).all(2).sum()
    assert grey[0] < grey[1]  # more keep the answer among five than as the first one
    numbers = table["pool5"].numbers[0]
    words = lab.errors_panel.function("pool5", "normalised")[1]
    assert words.startswith(f"pool5 ({numbers:,} numbers of 49,152)")
