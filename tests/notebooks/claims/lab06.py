"""What lab 06 says of its numbers."""

import torch
from claiming import Claims
from plain_networks import normalized, squeezenet

from labsupport import activations, images

claims = Claims(
    elsewhere={
        "VGG takes about a minute for a unit.": "a duration, which depends on the machine",
        "Its positions are 16 pixels apart": "the stride of fire9",
        "Shift of 4 pixels (10 %)": "a setting of the panel",
        "Shift of 32 pixels (80 %)": "a setting of the panel",
        "A quarter turn (rotate, 100 %)": "a setting of the panel",
        "so 4 pixels are a quarter of a position.": "4 of 16",
    },
    given=lambda names: {"module": squeezenet(), "image": normalized(names["koala"])},
)


def unit_491(network, image):
    return network.activations(image, ["fire8"])["fire8"][0, 491]


def brightest(network, image):
    """Where unit 491 of fire8 fires most, (row, column) in pixels."""
    map_ = unit_491(network, image)
    row, column = divmod(int(map_.argmax()), map_.shape[1])
    return (16 * row + 16, 16 * column + 16)


@claims.claim(
    "Unit 491 of fire8 fires at the koala's head, and its map follows the head.",
    "Turn it by 30°, and they are still on the head.",
)
def _follows(network, koala):
    row, column = brightest(network, koala)
    assert 24 <= row <= 112, row
    assert 72 <= column <= 192, column
    right = brightest(network, activations.distort(koala, activations.Distortion(right=32)))
    assert right == (row, column + 32), right
    for degrees in (30, -30):
        turned = activations.distort(koala, activations.Distortion(rotate=degrees))
        moved = activations.distort(head_box(), activations.Distortion(rotate=degrees))
        place = brightest(network, turned)
        assert moved[0, 0, place[0], place[1]] > 0.1, f"{degrees}: {place} is not on the head"


def head_box():
    """A picture that is white where the koala's head is."""
    box = torch.zeros(1, 3, 224, 224)
    box[:, :, 24:112, 72:192] = 1
    return box


@claims.claim("The upper half of the mosaic becomes darker: those units fire more weakly.")
def _halves(maps_of):
    largest = maps_of["fire8"][0].amax((1, 2))
    assert largest[:256].median() < 0.7 * largest[256:].median()


@claims.claim(
    "The share of zeros grows from 52 % at relu1 to 92 % at fire9, with one step back at fire8.",
    "In deeper layers more activations are zero.",
)
def _zeros(zeros):
    assert abs(zeros["relu1"] - 0.52) < 0.01
    assert abs(zeros["fire9"] - 0.92) < 0.01
    shares = [share for name, share in zeros.items() if name != "fire8"]
    assert shares == sorted(shares), zeros
    assert zeros["fire8"] < zeros["fire7"]


@claims.claim("In fire7 a tile has a few bright spots, in fire9 often one.")
def _spots(maps_of):
    def lit(name):
        maps = maps_of[name][0]
        return (maps > 0.5 * maps.amax((1, 2), keepdim=True)).sum((1, 2)).float().median()

    assert lit("fire9") <= 3
    assert lit("fire9") < lit("fire7") < 20


@claims.claim("About 40 of the 512 units of fire9 are silent on this picture.")
def _silent(silent, maps_of):
    assert maps_of["fire9"].shape[1] == 512
    assert abs(silent["fire9"] - 40) <= 4, silent


@claims.claim("You need torchvision's SqueezeNet module in evaluation mode")
def _plain(maps_of, plain):
    assert torch.allclose(plain["maps"], maps_of["fire4"][0], atol=1e-2)


def after(network, koala, **change):
    names = ["conv1", "fire2", "fire6", "relu10", "pool10"]
    between = activations.similarity(network, koala, activations.Distortion(**change), names)
    return {name: getattr(between, name)[:, 0].tolist() for name in ("maps", "aligned", "pooled")}


@claims.claim(
    "each position with itself (blue) starts at 0.5 at conv1 and reaches 0.9 at fire6. The maps "
    "carried along (orange) stay above 0.9: nothing was lost.",
    "blue stays below 0.4 up to relu10, orange above 0.9, and the scores reach 0.97.",
    "orange falls to about 0.2 at fire6.",
    "Convolutions are equivariant to shifts.",
)
def _shifts(network, koala):
    little, far = after(network, koala, right=4), after(network, koala, right=32)
    assert abs(little["maps"][0] - 0.5) < 0.03
    assert abs(little["maps"][2] - 0.92) < 0.03
    assert min(little["aligned"]) > 0.9
    assert max(far["maps"][:4]) < 0.4
    assert min(far["aligned"]) > 0.9
    assert abs(far["maps"][4] - 0.97) < 0.01
    assert abs(after(network, koala, rotate=90)["aligned"][2] - 0.23) < 0.05


def unrelated(network, lab06):
    from labsupport.labs.lab06_activations import invariance

    layers = tuple(invariance.depth_layers(network))
    floor = invariance._unrelated(network, layers)
    titles = [network.layer(name).title for name in layers]
    return dict(zip(titles, floor.pooled.nanmean(1).tolist(), strict=True))


@claims.claim("At fire2 two unrelated pictures reach this, at fire9 they stay below 0.1.")
def _floor(network, lab06):
    floor = unrelated(network, lab06)
    assert floor["fire2"] > 0.7
    assert floor["fire9"] < 0.1


@claims.claim(
    "Most of the top patches are faces with fur around them: a red panda's first, then a gorilla's "
    "and a monkey's."
)
def _patches(every_view):
    names = images.photos().names
    patches = every_view.frame.views.patches
    found = [names[number] for number in patches.images[patches.row(491)].tolist()]
    assert found[:2] == ["red_panda", "gorilla"], found
    assert found[2] in ("proboscis_monkey", "monkey", "macaque"), found


@claims.claim(
    "It raises marmot most, by about 1.5 points. The best patch excites it more than four times as "
    "much as the koala does."
)
def _votes(network, koala, every_view):
    values = every_view.frame.views.votes.values[0]
    assert network.categories[int(values.argmax())] == "marmot"
    assert abs(values.max() - 1.5) < 0.1
    assert every_view.frame.best > 4 * unit_491(network, koala).max()


@claims.claim(
    "For each of the first eight, the smaller mean is less than a quarter of the larger one.",
    "Of the last layer's units, those that change most fire for one picture and hardly for the "
    "other.",
)
def _one_of_two(changes):
    means = torch.stack([changes.first, changes.second])[:, changes.order[:8]]
    assert (means.amin(0) < 0.25 * means.amax(0)).all(), means


@claims.claim("Unit 28 fires on the leaves beside the koala.")
def _leaves(changes, first):
    assert 28 in changes.order[:8].tolist()
    row, column = divmod(int(first[28].argmax()), 13)
    assert column <= 4, (row, column)
    assert first[28][:, :5].sum() > 0.5 * first[28].sum()


@claims.claim("The unit that changed most is 491 again")
def _again(network, koala, red_panda):
    between = activations.unit_changes(network, koala, red_panda, "fire8")
    assert int(between.order[0]) == 491


@claims.claim("They give curves and no numbers, so we check two orders of the change $1 - r$.")
def _orders(lost, alexnet):
    assert alexnet.layer("conv5").shape == (256, 13, 13)
    assert lost["shift 4 px"][0] > lost["shift 4 px"][1] + 0.1
    assert lost["turn 45°"][1] > lost["shift 16 px"][1] + 0.1


@claims.claim(
    "A small shift and less light matter less in deeper layers.",
    "Noise is the other way round: conv1 stays more alike than the layers from fire4 on.",
    "A turn by 45° is lost on the way: the maps carried along fall from about 0.9 at conv1 to "
    "about 0.4 at fire9.",
)
def _depths(network, shown, distortions):
    names = ["conv1", "fire4", "fire6", "fire9", "relu10"]
    shift, turn, dark, noise = (
        activations.similarity(network, shown, one, names) for one in distortions
    )
    for less in (shift.maps, dark.maps):
        assert (less[1:].mean(1) > less[0].mean() + 0.1).all(), less.mean(1)
    assert (noise.maps[1:].mean(1) < noise.maps[0].mean() - 0.1).all(), noise.maps.mean(1)
    assert abs(turn.aligned[0].mean() - 0.89) < 0.05
    assert abs(turn.aligned[3].mean() - 0.42) < 0.07
