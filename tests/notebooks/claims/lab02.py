"""What lab 02 says of its numbers, and of the pictures that it finds."""

import pytest
import torch
from claiming import Claims

from labsupport import images, networks, patches


def given(names):
    """AlexNet, unit 59 of its pool5, and forty photos."""
    network = names["alexnet"]
    layer = network.graph.get_submodule(network.layer("pool5").name)
    return {"module": network.graph, "layer": layer, "unit": 59, "pictures": names["many"][:40]}


claims = Claims(given=given)


def found(best, row):
    """The names of the best pictures among photos, paintings and cut-outs, the best first."""
    every = [*images.photos(), *images.paintings(), *images.cutouts()]
    return [every[number].name for number in best.pictures[row].tolist()]


@claims.claim(
    "Unit 491 responds to faces of animals.",
    "The red panda and the gorilla come first.",
    "an ibex, a lemur and an owl follow.",
)
def _warm_up(network, photos):
    best = patches.top_patches(network, "fire8", photos, k=9, suppress="picture", channels=[491])
    names = found(best, 0)
    assert names[:2] == ["red_panda", "gorilla"], names
    others = {"macaque", "proboscis_monkey", "squirrel", "meerkats", "ibex", "lemurs", "owl"}
    assert set(names[2:]) == others, names


@claims.claim("The unit sees 175 of the 224 pixels")
def _field(network, leaf):
    assert network.layer("fire8").receptive_field == (175, 175)
    assert "175 x 175" in leaf.words


@claims.claim("In the drawing $r$ is first")
def _drawing():
    field, step = 1, 1
    fields = []
    for kernel, stride in ((3, 2), (3, 1)):
        field, step = field + (kernel - 1) * step, step * stride
        fields.append(field)
    assert fields == [3, 7]


@claims.claim("It grows from 11 pixels at conv1 to 195 at pool5, where the border")
def _alexnet(ours, alexnet):
    assert (ours[0], ours[-1]) == (11, 195)
    assert ours == sorted(ours)
    left, _, right, bottom = networks.receptive_box(alexnet, "pool5", (3, 3))
    assert (right, bottom) == (224, 224), "the border cuts pool5's box"
    assert right - left < 195


@claims.claim("You have a network module, one of its layers as layer")
def _plain(plain, alexnet):
    best = patches.top_patches(
        alexnet, "pool5", plain["pictures"], k=9, suppress="picture", channels=[59]
    )
    assert plain["order"][:9] == best.pictures[0].tolist()
    values = torch.tensor([plain["found"][number][0] for number in plain["order"][:9]])
    assert torch.allclose(values, best.values[0], rtol=1e-3)


@claims.claim("faces (59), with a tractor's wheel among them")
def _faces(pool5, many):
    assert len(many) == 431
    assert "tractor_wheel" in found(pool5, 59)
    assert {"gorilla", "kitten", "mona_lisa", "astronaut"} <= set(found(pool5, 59))


@claims.claim("animals on thin legs (241), but also the arches of the Colosseum")
def _legs(pool5):
    assert "colosseum" in found(pool5, 241)
    assert {"deer", "gander", "pink_flamingo", "horse"} <= set(found(pool5, 241))


@claims.claim("pointed ears (115), but also the fin of an orca.")
def _ears(pool5):
    assert found(pool5, 115)[0] == "kitten"
    assert "orca" in found(pool5, 115)


@claims.claim("arches (104), red and orange (139), rays that run outward from a middle (133).")
def _others(pool5):
    assert {"colosseum", "pont_du_gard", "hawa_mahal"} <= set(found(pool5, 104))
    assert {"big_strawberry", "fire_truck", "cherries", "tomato"} <= set(found(pool5, 139))
    assert {"kitten", "hedgehog", "pineapple"} <= set(found(pool5, 133))


def share(best, labels, unit, label, k):
    return float(patches.precision_at_k(best, labels, label)[unit, k - 1])


@claims.claim(
    "For unit 318 and road vehicles, eight of nine patches fit: 0.89, where chance gives 0.03.",
    "At sixteen patches it is only 0.56.",
)
def _wheels(best, labels, naming):
    assert share(best, labels, 318, "road vehicles", 9) == pytest.approx(8 / 9)
    assert share(best, labels, 318, "road vehicles", 16) == pytest.approx(9 / 16)
    assert round(labels.count("road vehicles") / len(labels), 2) == 0.03
    assert "8 of 9 patches" in naming.words
    assert "by chance it would be 0.03" in naming.words


@claims.claim("For flowers this is unit 23 with 0.62 of sixteen.", "the best one, 239, has 0.31.")
def _best_units(best, labels):
    for label, unit, fits in (("flowers", 23, 10 / 16), ("tools", 239, 5 / 16)):
        assert patches.units_for(best, labels, label)[0] == unit
        assert share(best, labels, unit, label, 16) == pytest.approx(fits)


@claims.claim(
    "And all its sixteen patches are cut-outs on white",
    "Wheel would be the better name for unit 318, but no picture has that label.",
)
def _cutouts(best, photos, labels):
    assert min(best.pictures[318].tolist()) >= len(photos)
    assert "wheels" not in labels
    assert "wheel" not in labels


@claims.claim(
    "The clearest name fits 0.33 of a unit's nine patches on average, and 0.31 of a direction's.",
    "About ten of the 384 units reach 0.75, and hardly any of the 384 directions does.",
)
def _directions(fits):
    units, directions = fits["units"], fits["directions"]
    assert len(units) == len(directions) == 384
    assert float(units.mean()) == pytest.approx(0.33, abs=0.01)
    assert float(directions.mean()) == pytest.approx(0.31, abs=0.01)
    clear = [int((one > 0.75).sum()) for one in (units, directions)]
    assert 8 <= clear[0] <= 12, clear
    assert clear[1] <= 2, clear
    assert units.max() > directions.max() - 1e-6


@claims.claim("Your span has to give the same numbers, without any tolerance.")
def _paper(paper, ours, alexnet):
    assert paper == ours
    assert tuple(alexnet.layer("pool5").shape) == (256, 6, 6)


@claims.claim("They are all 0, and of equal values the first in the set's order is shown.")
def _least(network, few):
    least = patches.top_patches(
        network, "fire6", few, k=9, suppress="picture", order="least", channels=[318]
    )
    assert least.values[0].tolist() == [0.0] * 9
    assert least.pictures[0].tolist() == sorted(least.pictures[0].tolist())


@claims.claim("95 % of the positions are silent, and the number of the others falls off steeply")
def _silent(every, counts):
    assert round(100 * float((every.values == 0).float().mean())) == 95
    assert float(counts[1]) > 10 * float(counts[30:32].mean())


def near(every, part):
    """The names of the photos nearest to a part of the largest activation."""
    places = every.near(float(every.values.max()) / part).tolist()
    return {images.photos()[int(every.images[place])].name for place in places}


@claims.claim(
    "At a quarter there are also coins and the bowl of a spoon.",
    "At a tenth there are fur and a motorcycle",
)
def _farther(every):
    assert {"meerkats", "gorilla", "owl", "kitten"} <= near(every, 2), near(every, 2)
    assert {"coins", "coffee"} <= near(every, 4), near(every, 4)
    assert "motorcycle" in near(every, 10), near(every, 10)


@claims.claim("Random directions do nearly as well on average; the clearest are units.")
def _clearest(fits):
    gap = float(fits["units"].mean() - fits["directions"].mean())
    assert 0 <= gap < 0.05, gap
    assert (fits["units"] > 0.75).sum() > (fits["directions"] > 0.75).sum()
