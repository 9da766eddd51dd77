"""What lab 14 says of one picture, of a unit, and of a network that has learned nothing."""

import copy

import torch
from claiming import Claims

from labsupport.core import images
from labsupport.labs import lab14_summary as lab
from labsupport.methods import backprop, codes, fooling, saliency
from labsupport.methods.occlusion import occlusion_map

HEAD = (20, 20, 120, 170)  # the panda's head at 224 px: left, top, right, bottom
KOALA = (56, 8, 190, 112)  # the head of the koala, and its ears


def given(names):
    module = copy.deepcopy(names["network"].graph)
    layer = module.get_submodule("features.7.expand3x3_activation")
    return {
        "module": module,
        "layer": layer,
        "channel": 5,
        "image": names["macaw"],
        "target": names["bird"],
    }


claims = Claims(given=given)


def strongest_at(values, box):
    """Whether the place with the largest value lies in the box."""
    row, column = divmod(int(values.flatten().argmax()), values.shape[-1])
    left, top, right, bottom = box
    return left <= column < right and top <= row < bottom


@claims.claim("By hand it takes five lines, and each use takes one line more.")
def _plain(plain, gradient, macaw, network):
    assert torch.allclose(plain["of_class"], gradient, atol=1e-5)
    unit = backprop.gradient(network, macaw, ("fire5", 128 + 5)).values
    assert float(unit.abs().max()) > 0
    assert float((plain["fooled"] - macaw).abs().max()) <= 2 / 255 + 1e-6
    with torch.no_grad():
        before, after = (
            plain["module"](one)[0, plain["target"]] for one in (macaw, plain["fooled"])
        )
    assert after < before


@claims.claim(
    "Most methods point at the head",
    "Occlusion is blue at the head, and at the haunch too.",
    "The saliency is brightest at the head, and GrabCut cuts the head out and leaves the body.",
)
def _head(sheet, network):
    image, panda = sheet.query.image, sheet.query.target.index
    map_ = saliency.saliency_map(network, image, panda, samples=8)[0]
    smooth = torch.nn.functional.avg_pool2d(map_[None], 15, 1, 7)[0]
    assert strongest_at(smooth, HEAD)
    left, top, right, bottom = saliency.segment(image, map_).box
    assert right < 150, "the cut-out ends before the back"
    assert left < 60 < right
    assert top < 100 < bottom
    occluded = occlusion_map(network, image, panda, window=32, stride=16, views=["score"])
    falls = occluded.clean["score"] - occluded.pixels("score")
    head, haunch = falls[40:130, 30:100], falls[100:190, 150:200]
    assert float(head.mean()) > float(falls.mean())
    assert float(haunch.mean()) > float(falls.mean())


@claims.claim(
    "Of the sixty photos the panda itself has the highest score, and animals follow it.",
    "Among the neighbors by code there are buildings, too.",
)
def _examples(sheet, network):
    photos = images.photos()[::2]
    assert len(photos) == len(sheet.query.examples) == 60
    seen = torch.cat(list(sheet.query.examples))
    with torch.no_grad():
        ranked = network(seen)[:, sheet.query.target.index].argsort(descending=True).tolist()
    assert photos[ranked[0]].name == "giant_panda"
    assert all(photos[one].category == "animals" for one in ranked[:4])
    layer = codes.code_layer(network)
    rows = codes.codes(network, torch.cat([sheet.query.image, seen]), layer)
    near = [number - 1 for number in codes.neighbours(rows, 0, k=10).numbers]
    assert any(photos[one].category == "places" for one in near), near


@claims.claim("The last picture is a panda to you, and a lesser panda to the network.")
def _twin(sheet):
    assert "the network says lesser panda" in sheet.answers[-1].words


@claims.claim("Its response falls only where the koala's head is hidden.")
def _face(network):
    koala = codes.fitted(images.sample("koala"), network.input_size)
    unit = "activity:fire8:491"
    occluded = occlusion_map(
        network, koala, network.class_index("koala"), window=32, stride=16, views=[unit]
    )
    falls = occluded.clean[unit] - occluded.pixels(unit)
    left, _, right, bottom = KOALA
    assert strongest_at(falls, KOALA)
    outside = falls.clone()
    outside[:bottom, left:right] = 0
    assert float(outside.max()) < 0.1 * float(falls.max())


@claims.claim(
    "The network gives every class about 0.1 %, before the fooling and after it.",
)
def _untrained(mine, untrained):
    asked = mine.frame.query
    moved = fooling.pgd(untrained, asked.image, eps=4 / 255, steps=20)
    for scores in (moved.before, moved.after):
        chances = scores.softmax(1)
        assert float(chances.min()) > 0.0009, chances.min()
        assert float(chances.max()) < 0.0012, chances.max()


@claims.claim(
    "its neighbors by code are all zeros, and so are the digits with the highest score.",
    "A change of 4/255 does not fool it, and one of 64/255 does.",
)
def _reader(reader, digit):
    test = images.digits("test")
    seen, labels = test.images[: lab._MOST], test.labels[: lab._MOST]
    assert int(reader.scores(digit).argmax()) == 0
    best = reader.scores(seen)[:, 0].argsort(descending=True)[:9]
    assert labels[best].tolist() == [0] * 9
    rows = codes.codes(reader, torch.cat([digit, seen]), codes.code_layer(reader))
    near = [number - 1 for number in codes.neighbours(rows, 0, k=10).numbers]
    assert labels[near].tolist() == [0] * 10
    small, large = (fooling.pgd(reader, digit, eps=size / 255, steps=20) for size in (4, 64))
    assert not bool(small.success)
    assert bool(large.success)
