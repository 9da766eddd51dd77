"""What lab 04 says of its numbers."""

import math
from itertools import pairwise

import torch
from claiming import Claims
from plain_networks import normalized, squeezenet

from labsupport import codes

claims = Claims(
    elsewhere={
        "During the first 250 steps the attraction is exaggerated": "t-SNE's schedule",
        "its entropy equals that of 30 equally likely neighbors": "what perplexity means",
    },
    given=lambda names: {"module": squeezenet(), "images": normalized(names["three"])},
)


def nearest_names(things, rows, name):
    pictures = things.pictures.names
    near = codes.neighbours(rows, pictures.index(name), k=5).numbers
    return [pictures[number] for number in near]


@claims.claim(
    "By code the giraffe's five neighbors are hoofed animals, first of all a doe.",
    "By pixels they are a squash, a guineafowl, a syringe, a candy cane and a lobster.",
)
def _giraffe(things):
    near = nearest_names(things, things.code, "giraffe")
    assert near[0] == "doe", near
    groups = dict(zip(things.pictures.names, things.pictures.labels, strict=True))
    assert all(groups[name] == "hoofed animals" for name in near), near
    near = nearest_names(things, things.codes["pixels"], "giraffe")
    expected = {"pattypan_squash", "guineafowl", "syringe", "candy_cane", "lobster"}
    assert set(near) == expected, near


@claims.claim(
    "The agreement grows step by step",
    "It is about 44 % for the pixels, 63 % at fire4, 71 % at fire6 and 77 % at fire9.",
)
def _agreement(things):
    shares = list(things.agreement.values())
    assert all(later > earlier - 0.01 for earlier, later in pairwise(shares)), shares
    told = {"pixels": 0.44, "fire4": 0.63, "fire6": 0.71, "fire9": 0.77}
    for layer, share in told.items():
        assert abs(things.agreement[layer] - share) < 0.012, f"{layer}: {things.agreement[layer]}"


@claims.claim("Shuffled labels give about 25 %, because four in ten pictures are animals.")
def _chance(chance, things):
    assert abs(chance - 0.25) < 0.02, chance
    share = things.categories.count("animals") / len(things)
    assert 0.35 < share < 0.45, share


@claims.claim("You need torchvision's SqueezeNet module in evaluation mode")
def _plain(network, plain, three):
    assert torch.allclose(plain["code"], codes.codes(network, three), atol=1e-2)
    assert plain["cosines"].argmax(1).tolist()[:2] == [1, 0], "giraffe and doe"


@claims.claim("Student's t falls to 0.1 at distance 3, the Gaussian at 1.5.")
def _tails():
    assert 1 / (1 + 3**2) == 0.1
    assert abs(math.exp(-(1.5**2)) - 0.1) < 0.01


def purity(lab04, source):
    from labsupport.labs.lab04_representation import tsne

    labels = tsne.digits("computed").labels
    points = lab04.bundled_map(source).points
    return codes.label_agreement(points, labels, metric="euclidean", sample=1000)


@claims.claim(
    "In the ready map, 4 and 9 mix, 3, 5 and 8 lie side by side, and the slant of the ones turns "
    "from one end of their island to the other.",
)
def _islands(lab04):
    from labsupport.labs.lab04_representation import tsne

    points, digits = lab04.bundled_map().points, tsne.digits("computed")
    middles = torch.stack([points[digits.labels == one].median(0).values for one in range(10)])
    apart = torch.cdist(middles, middles).fill_diagonal_(math.inf)
    assert divmod(int(apart.argmin()), 10) == (4, 9), "the middles of 4 and 9 are nearest"
    ranks = apart.argsort(1).argsort(1)
    assert ranks[8, 3] < 4, "3 is among the nearest of 8"
    assert ranks[8, 5] < 4, "5 is among the nearest of 8"
    ones = digits.labels == 1
    slant = slants(digits.images[ones, 0])
    place = torch.linalg.svd(points[ones] - points[ones].mean(0), full_matrices=False).U[:, 0]
    relation = torch.corrcoef(torch.stack([slant, place]))[0, 1].abs()
    assert relation > 0.7, f"slant against place: {relation:.2f}"


def slants(strokes):
    """How far each stroke (N, H, W) moves to the right from row to row."""
    rows, columns = torch.meshgrid(*map(torch.arange, strokes.shape[1:]), indexing="ij")
    mass = strokes.sum((1, 2))
    down = rows - ((strokes * rows).sum((1, 2)) / mass)[:, None, None]
    right = columns - ((strokes * columns).sum((1, 2)) / mass)[:, None, None]
    return (strokes * down * right).sum((1, 2)) / (strokes * down**2).sum((1, 2))


@claims.claim(
    "In LeNet-5's code the islands are purer: 99 % of the nearest five share the digit, against "
    "93 % for pixels."
)
def _digits(lab04):
    assert abs(purity(lab04, "pixels") - 0.93) < 0.015
    assert abs(purity(lab04, "lenet5") - 0.99) < 0.015


@claims.claim("With a perplexity of 2 the groups break into small clusters.")
def _perplexity(lab04, things, final):
    def spread_of_five(points):
        apart = torch.cdist(points, points).sort(1).values
        return float((apart[:, 1:6].mean(1) / apart[:, 6:40].mean(1)).median())

    small = codes.embed(things.code, perplexity=2).points
    assert spread_of_five(small) < 0.7 * spread_of_five(final.points)


@claims.claim(
    "Round things lie together: fruit, balls, planets and the wheel of a tractor.",
    "By code the tennis racket is nearest to the giraffe, and the rubber duck to a yellow pepper.",
)
def _strange_neighbors(final, things):
    names = things.pictures.names

    def near(name, k=8):
        apart = (final.points - final.points[names.index(name)]).norm(dim=1)
        return {names[number] for number in apart.argsort()[1 : k + 1].tolist()}

    assert near("basketball", 20) & {"venus", "mars", "jupiter"}, near("basketball", 20)
    assert near("tractor_wheel", 20) & {"earth", "full_moon", "mars"}, near("tractor_wheel", 20)
    assert near("tennis_ball") & {"lemon", "orange", "mandarin", "apricot"}, near("tennis_ball")
    assert nearest_names(things, things.code, "tennis_racket")[0] == "giraffe"
    assert nearest_names(things, things.code, "rubber_duck")[0] == "yellow_pepper"


@claims.claim("Birds, hoofed animals, flowers, fruit and road vehicles stand together.")
def _groups(final, things):
    labels = things.pictures.labels
    near = torch.cdist(final.points, final.points).argsort(1)[:, 1:6].tolist()
    for group in ("birds", "hoofed animals", "flowers", "fruit", "road vehicles"):
        own = [number for number, label in enumerate(labels) if label == group]
        same = [labels[other] == group for number in own for other in near[number]]
        share = sum(same) / len(same)
        assert share > 0.4, f"{group}: {share:.2f} of the nearest"


@claims.claim("Most pictures that touch are near in code.")
def _touching(touching, any_two, borders):
    assert touching < 0.75 * any_two, (touching, any_two)
    every = torch.cat([borders.right.flatten(), borders.below.flatten()])
    assert (every < any_two).float().mean() > 0.7


def toy_map(lab04, name, perplexity):
    from labsupport.labs.lab04_representation import tsne

    rows, groups, names = tsne.toy(name)
    points = codes.embed(rows, metric="euclidean", perplexity=perplexity).points
    return points, [points[groups == group] for group in range(len(names))]


@claims.claim("The wide group and the narrow one are about equally large in every map.")
def _sizes_lie(lab04):
    for perplexity in (2, 5, 30):
        _, parts = toy_map(lab04, lab04.TOYS[0], perplexity)
        narrow, wide = [(part - part.mean(0)).norm(dim=1).mean() for part in parts]
        assert 0.6 < wide / narrow < 1.7, f"perplexity {perplexity}: {wide / narrow:.2f}"


@claims.claim("The group that is 60 away looks no farther than the one that is 10 away.")
def _gaps_lie(lab04):
    for perplexity in (2, 5, 30):
        _, parts = toy_map(lab04, lab04.TOYS[1], perplexity)
        left, ten, sixty = [part.mean(0) for part in parts]
        ratio = (sixty - left).norm() / (ten - left).norm()
        assert ratio < 1.7, f"perplexity {perplexity}: {ratio:.2f}"


@claims.claim(
    "The ring breaks at perplexities of 2 and 5, and stays whole at 30.",
)
def _wholes_lie(lab04):
    for perplexity, whole in ((2, False), (5, False), (30, True)):
        points, _ = toy_map(lab04, lab04.TOYS[3], perplexity)
        steps = (points - points.roll(1, 0)).norm(dim=1)
        gap = float(steps.max() / steps.median())
        assert (gap < 5) == whole, f"perplexity {perplexity}: the widest gap is {gap:.1f} steps"


@claims.claim("With a perplexity of 2, noise falls into small clumps.")
def _groups_lie(lab04):
    def clumped(perplexity):
        points, _ = toy_map(lab04, lab04.TOYS[2], perplexity)
        apart = torch.cdist(points, points).sort(1).values
        return float((apart[:, 1] / apart[:, 10]).median())

    assert clumped(2) < 0.75 * clumped(30), (clumped(2), clumped(30))


@claims.claim("Here are 283 cut-out things", "their codes at ten layers")
def _counts(things):
    assert len(things) == 283
    assert len(things.codes) == 10
