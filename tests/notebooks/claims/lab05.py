"""What lab 05 says of its numbers."""

import torch
from claiming import Claims
from plain_networks import normalized, squeezenet

from labsupport import images, occlusion

claims = Claims(
    elsewhere={
        "To cover the face, set from the left to 24 and from the top to 40.": "off the picture",
        "With 8 pixels you see small spots, with 32 pixels parts of the animal": "a picture",
    },
    given=lambda names: {
        "module": squeezenet(),
        "image": normalized(names["koala"]),
        "index": names["index"],
    },
)


def change(map_, view="score"):
    """Hidden minus clean at each position."""
    return map_.values[view] - map_.clean[view]


def within(box, place):
    left, top, right, bottom = box
    return place[0] <= left and place[1] <= top and right <= place[2] and bottom <= place[3]


@claims.claim("A square of 64 pixels is not enough, wherever it stands.")
def _stubborn(network):
    panda = images.standard(images.sample("giant_panda"))
    views = {"window": 64, "stride": 16, "views": ("probability",)}
    lowest = occlusion.occlusion_map(network, panda, "giant panda", **views).values["probability"]
    assert lowest.min() > 0.9, f"the panda falls to {lowest.min():.2f}"


def said(network, name, box):
    image = images.standard(images.sample(name))
    fill = occlusion.fill_image(network, image, "mean")
    [[first]] = network.predict(occlusion.occlude(image, box, fill), k=1)
    return first.name


@claims.claim(
    "Move a square of 160 pixels to the upper left corner, and the network says quilt.",
    "a square of 64 pixels on its head changes the answer.",
)
def _hidden_heads(network):
    assert said(network, "giant_panda", (0, 0, 160, 160)) == "quilt"
    assert said(network, "macaw", (16, 16, 80, 80)) == "lorikeet"


@claims.claim("The two maps are equal.")
def _linear(toy_map, sums):
    assert torch.allclose(change(toy_map), -sums, atol=1e-5)


@claims.claim(
    "The score falls most at the face, between the nose and the ear on the right.",
    "A second blue patch lies on the hand in the koala's lap.",
    "hiding it raises the score",
)
def _koala(sizes):
    map_ = sizes["window 32"]
    assert within(map_.box(*map_.lowest()), (104, 40, 176, 96)), map_.box(*map_.lowest())
    here = change(map_)
    lap = here[16:20, 14:20]  # rows 128 to 184, columns 112 to 184
    assert lap.min() < here.min() * 0.75, f"the hand in the lap: {lap.min():.1f}"
    between = here[11:14].min(1).values  # between the face and the lap
    assert (between > lap.min()).all(), between
    raised = map_.box(*divmod(int(here.argmax()), here.shape[1]))
    assert here.max() > 1, here.max()
    assert within(raised, (96, 96, 144, 152)), f"red is at {raised}, not at the chest"


@claims.claim("It stays above 60 % everywhere, although the score falls by more than 5.")
def _saturated(network, koala, sizes):
    map_ = occlusion.occlusion_map(network, koala, "koala", views=("probability",))
    assert map_.values["probability"].min() > 0.6
    assert change(sizes["window 32"]).min() < -5


@claims.claim(
    "The probability falls where the thing itself is: at the koala's head, at the macaw's head, "
    "at the tower of the castle."
)
def _things(three):
    places = {
        "koala": (72, 8, 192, 112), "macaw": (8, 8, 104, 104), "eilean_donan": (96, 40, 176, 160),
    }  # fmt: skip
    for name, place in places.items():
        worst = three[name].box(*three[name].lowest("probability"))
        assert within(worst, place), f"{name}: {worst}"


@claims.claim("Where another class wins, it is most often Madagascar cat, lorikeet and beacon.")
def _winners(network, three):
    for name, expected in zip(three, ("Madagascar cat", "lorikeet", "beacon"), strict=True):
        wins = three[name].values["best_class"].flatten().bincount()
        wins[int(three[name].clean["best_class"])] = 0
        winner = network.categories[int(wins.argmax())]
        assert winner == expected, f"{name}: {winner}"


@claims.claim("The koala's map loses most at the upper left corner")
def _leaves(three):
    worst = three["koala"].box(*three["koala"].lowest("activity"))
    assert within(worst, (0, 0, 96, 96)), worst


@claims.claim(
    "Hidden eyes change the features most alike, then hidden noses, and random places least."
)
def _alike(ours):
    assert max(ours["left eye"], ours["right eye"]) + 0.02 < ours["nose"] < ours["random"] - 0.02


@claims.claim("Now the random places are more alike than the eyes.")
def _deeper(faces, network, lab05):
    def distance(part, seed=0):
        signs = lab05.part_signs(network, faces, part, layer="fire9", seed=seed)
        return occlusion.correspondence(signs)

    random = sum(distance("random", seed) for seed in range(6)) / 6
    assert random < min(distance("left eye"), distance("right eye"))


@claims.claim(
    "Noise lowers the score most",
    "With all five the score falls at the head and at the hand in the lap.",
)
def _fills(fills):
    means = {name: change(map_).mean() for name, map_ in fills.items()}
    assert min(means, key=means.get) == "noise", means
    for name, map_ in fills.items():
        pixels = map_.pixels("score") - map_.clean["score"]
        for row, column in ((70, 140), (160, 145)):
            assert pixels[row, column] < -2, f"{name} at {row}, {column}"


@claims.claim("The largest fall grows with the window: about 2.5, 5.6 and 23.")
def _sizes(sizes):
    falls = [-float(change(map_).min()) for map_ in sizes.values()]
    for fall, told in zip(falls, (2.5, 5.6, 23), strict=True):
        assert abs(fall - told) < 0.03 * told, falls


@claims.claim(
    "For a linear score the change is minus the window's sum of weight times (pixel − fill)."
)
def _recap(toy, toy_network, weights):
    map_ = occlusion.occlusion_map(
        toy_network, toy[None], "toy", window=2, stride=1, fill=(0.2, 0.5, 0.7)
    )
    away = weights * (toy - torch.tensor([0.2, 0.5, 0.7])[:, None, None])
    sums = torch.nn.functional.avg_pool2d(away.sum(0)[None], 2, stride=1)[0] * 4
    assert torch.allclose(change(map_), -sums, atol=1e-5)


@claims.claim("so there are 676 in all.", "The last ones are 27 pixels wide.")
def _positions(positions):
    spans = positions(227, 32, 8)
    assert len(spans) == 26
    assert len(spans) ** 2 == 676
    assert spans[-1][1] - spans[-1][0] == 27


@claims.claim("the exact map costs less than a pass per position")
def _incremental(coarse):
    assert coarse.how.startswith("incremental")


@claims.claim("You need a classifier module in evaluation mode")
def _plain(network, koala, plain):
    map_ = occlusion.occlusion_map(network, koala, "koala", window=64, stride=40, fill="mean")
    assert torch.allclose(plain["change"], change(map_), atol=1e-2)
