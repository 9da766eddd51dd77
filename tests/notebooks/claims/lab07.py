"""What lab 07's text says of gradients by three rules, of units, and of which map to believe."""

import copy

import torch
from claiming import Claims

from labsupport import backprop, images, networks
from labsupport.labs import lab07

# `fire5`'s channel 217 is number 89 of the second half of its convolutions
HALF, CHANNEL = "features.7.expand3x3_activation", 217 - 128


def given(names):
    """A network of modules, and the neuron that the notebook asks about."""
    module = copy.deepcopy(names["network"].graph)
    place = {"row": names["row"], "column": names["column"], "channel": CHANNEL}
    return {
        "module": module,
        "layer": module.get_submodule(HALF),
        "image": names["koala"],
        **place,
    }


claims = Claims({"Move the slider from 0 to 1.": "what to do"}, given)


@claims.claim(
    "The gradient is zero outside a small square of the image: the neuron's receptive field.",
    "sees 63 × 63 pixels",
    "sees 15 × 15",
    "sees 175 × 175.",
)
def _fields(network, koala, neuron, row, column):
    for layer, side in (("fire2", 15), ("fire5", 63), ("fire8", 175)):
        assert network.layer(layer).receptive_field == (side, side), layer
    left, top, right, bottom = networks.receptive_box(
        network, "fire5", (row, column), koala.shape[2:]
    )
    outside = neuron.values[0].clone()
    outside[:, top:bottom, left:right] = 0
    assert neuron.values.any(), "there is no gradient at all"
    assert not outside.any(), "something lies outside the field"
    signs = neuron.values[0].sum(0)[top:bottom, left:right].sign()
    changes = float((signs[:, 1:] != signs[:, :-1]).float().mean())
    assert changes > 0.3, f"neighbours differ in sign in {changes:.0%}"


@claims.claim("Forward the ReLUs receive 3, 1 and -3.", "Backward the pixels get -1 and 3")
def _drawn(f1, at_pixels):
    assert f1.tolist() == [3, 1, -3]
    got = {rule: values.tolist() for rule, values in at_pixels.items()}
    assert got == {"backprop": [-1, 3], "deconvnet": [5, -4], "guided": [2, 2]}


@claims.claim(
    "Of the nine numbers backprop and the deconvnet let five through, but not the same five.",
    "Guided backprop lets 2 through: those that both others pass.",
)
def _nine(passed):
    through = {rule: below != 0 for rule, below in passed.items()}
    counts = {rule: int(places.sum()) for rule, places in through.items()}
    assert counts == {"backprop": 5, "deconvnet": 5, "guided": 2}, counts
    assert not torch.equal(through["backprop"], through["deconvnet"])
    assert torch.equal(through["guided"], through["backprop"] & through["deconvnet"])


@claims.claim("Guided backprop draws the ear, the eyes, the mouth and the line of the back.")
def _cleanest(gradients):
    shares = {rule: lab07.half_share(one.values[0]) for rule, one in gradients.items()}
    assert shares["guided"] < shares["deconvnet"] < shares["backprop"], shares


@claims.claim("this code would give its plain gradient there.")
def _in_plain_pytorch(plain, network, koala, row, column):
    tool = backprop.gradient(network, koala, ("fire5", 217, (row, column)), rule="guided")
    close = 1e-4 * float(tool.values.abs().max())
    assert torch.allclose(plain["guided"], tool.values, rtol=1e-3, atol=close)
    google = networks.load("googlenet", weights="random").graph.modules()
    assert not any(isinstance(part, torch.nn.ReLU) for part in google)


@claims.claim("In layer 1 all five reconstructions of a unit are the filter itself.")
def _layer_one(alexnet, tops, squares):
    for unit in (2, 50):
        asked = alexnet, tops["relu1"], squares, unit
        found = lab07.unit_gradients(*asked, rule="deconvnet", count=5).values
        inside = [one[:, one.abs().sum(0) > 0] for one in found]
        for other in inside[1:]:
            assert torch.allclose(other, inside[0], atol=1e-5), f"unit {unit}"


SEEN = {
    ("relu2", 1): "butterfly camera",  # slanted lines
    ("relu2", 27): "coffee coins",  # arcs
    ("relu3", 143): "astronaut coins kitten heron",  # round things
    ("relu3", 101): "caterpillar colosseum",  # rows of openings
    ("relu4", 95): "red_panda lemurs gibbon kitten giant_panda",  # eyes and a nose
    ("relu4", 124): "astronaut coins coffee",  # large rings
    ("relu5", 59): "gorilla proboscis_monkey calf macaque meerkats",  # faces
    ("relu5", 104): "colosseum pont_du_gard arles",  # arches
}


@claims.claim(
    "Layer 2 shows slanted lines (unit 1) and arcs (unit 27).",
    "Layer 3 shows round things (unit 143), and rows of dark openings (unit 101)",
    "Layer 4 shows the eyes and the nose of an animal (unit 95), and large rings (unit 124).",
    "Layer 5 shows faces (unit 59) and rows of arches (unit 104).",
)
def _units(tops):
    names = images.photos().names
    for (layer, unit), wanted in SEEN.items():
        row = tops[layer].images[tops[layer].row(unit)]
        there = {names[int(number)] for number in row}
        assert there >= set(wanted.split()), f"{layer}, unit {unit}: {there}"


@claims.claim(
    "From a black baseline there are white gaps at the panda's ear, shoulder and leg.",
    "now the white fur counts for almost nothing.",
)
def _baselines(network, panda):
    black, white = panda[0].amax(0) < 0.1, panda[0].amin(0) > 0.9
    for baseline, few, many in (("black", black, white), ("white", white, black)):
        asked = {"baseline": baseline, "steps": 8, "tolerance": None}
        found = backprop.integrated_gradients(network, panda, "giant panda", **asked)
        size = found.values[0].abs().sum(0)
        ratio = float(size[few].mean() / size[many].mean())
        assert ratio < 0.25, f"{baseline}: {ratio:.2f} of the other's"


@claims.claim(
    "On the macaw, insertion tells the maps apart, and deletion does not.",
    "occlusion and Grad-CAM have areas above 0.7",
    "Random numbers have about 0.1.",
    "random numbers have a smaller area than Grad-CAM.",
)
def _areas(believed):
    areas = {
        way: {name: curve.area for name, curve in curves.items()}
        for way, curves in believed.frame.curves.items()
    }
    inserted, deleted = areas["insertion"], areas["deletion"]
    assert min(inserted["occlusion"], inserted["Grad-CAM"]) > 0.7, inserted
    assert sorted(inserted, key=inserted.get)[-2:] == ["Grad-CAM", "occlusion"], inserted
    assert abs(inserted["random"] - 0.1) < 0.05, inserted
    assert deleted["random"] < deleted["Grad-CAM"] - 0.02, deleted
    assert max(deleted.values()) - min(deleted.values()) < 0.1, deleted
    assert max(inserted.values()) - min(inserted.values()) > 0.5, inserted


@claims.claim("Move the slider to 0.01: one random pixel in a hundred, painted gray, is enough")
def _specks(network, believed, macaw, index):
    shown = believed.frame
    specks = lab07.faithfulness.exchanged(
        macaw, shown.fills["deletion"].cpu(), shown.maps["random"], 0.01
    )
    before, after = network(torch.cat([macaw, specks])).softmax(1)[:, index]
    assert after < 0.05 < 0.9 < before, (before, after)


@claims.claim("between 20 and 300 steps approximate the integral within 5 %.")
def _steps_of_the_paper(missed):
    assert missed["koala", 20] < 0.05 < missed["coffee", 20]
    assert missed["coffee", 60] < 0.05


@claims.claim(
    "when the last layer alone is random, its rank correlation with the learned picture falls to",
    "Guided backprop stays above 0.9 until 10 of the 26 layers are random",
)
def _forgetting(cascade):
    ranks = [step.rank_correlation for step in cascade]
    assert len(ranks) == 26 + 1
    assert abs(ranks[1]["backprop"] - 0.6) < 0.05, ranks[1]
    assert all(one["guided"] > 0.9 for one in ranks[:11])
    assert all(one["backprop"] < 0.7 for one in ranks[1:])


@claims.claim("It has 3 × 3 pixels.")
def _first_field(network):
    assert network.layer("conv1").receptive_field == (3, 3)
