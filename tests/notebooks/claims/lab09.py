"""What lab 09's text says of codes, of what comes back from them, and of what is lost."""

import copy

import numpy as np
import torch
from claiming import Claims

from labsupport import images, inversion
from labsupport.labs import lab09

FIRST_HALF = ("pool1", "fire2", "fire3", "fire4", "fire5")


def given(names):
    """A network of modules, half of `fire5` as its layer, and a small cat."""
    module = copy.deepcopy(names["network"].graph).requires_grad_(False)
    layer = module.get_submodule("features.7.expand3x3_activation")
    return {"module": module, "layer": layer, "image": names["cat"]}


claims = Claims(given=given)


@claims.claim("9216 numbers")
def _numbers(back):
    assert back.frame.code.numbers == 9216


@claims.claim(
    "The first layers of AlexNet give the panda back, and the last one gives back its parts."
)
def _panda(strip):
    photo = images.standard(images.sample("giant_panda"))
    frames = dict(zip(strip.frame.names, strip.frame.frames, strict=True))
    assert list(frames) == ["relu1", "relu2", "relu3", "relu4", "pool5"]
    apart = [float(inversion.pixel_distance(one.image, photo)) for one in frames.values()]
    assert apart == sorted(apart), apart
    assert apart[0] < 0.05 < 0.12 < apart[-1], apart


@claims.claim(
    "Pixels without a prior end as noise.",
    "With a weight of 1 there is a cat.",
    "With larger weights it fades, and the code distance under the pictures grows.",
)
def _weights(tiles, distances, cat):
    assert distances[1:] == sorted(distances[1:]), distances
    assert distances[1] < 0.15, distances
    spread = [float(one.image.std()) for title, one in tiles.items() if "weight" in title]
    assert spread == sorted(spread, reverse=True), spread
    noise = tiles["pixels, no prior"].image.diff(dim=-1).square().mean()
    assert noise > 20 * cat.diff(dim=-1).square().mean()


@claims.claim("its code is nearer than at the start.")
def _noise(distances):
    assert distances[0] < 0.6, distances


@claims.claim(
    "On average over twelve photos the start lowers all three distances, for each of the three",
    "for pool5 the hens' code ends farther away than from noise.",
)
def _starts():
    found = lab09.started()
    layers = list(dict.fromkeys(layer for layer, _ in found))
    assert len(layers) == 3
    for layer in layers:
        plain, ridge = found[layer, "plain"], found[layer, "ridge"]
        assert len(plain) == len(ridge) == 12
        for measure in ("distance", "pixels", "perceptual"):
            assert ridge[measure].mean() < plain[measure].mean(), (layer, measure)
    [plain, ridge] = (
        float(found["pool5", way].distance[found["pool5", way].photo == "hens"][0])
        for way in ("plain", "ridge")
    )
    assert ridge > plain, (plain, ridge)


@claims.claim("the network names some kind of cat in each picture: a house cat or a lynx.")
def _cats(network):
    tiles = lab09.same_pictures()[inversion.LOG_PROBABILITIES]
    names = {answer.name for [answer] in network.predict(tiles, 1)}
    assert names <= {"Egyptian cat", "tiger cat", "tabby", "lynx"}, names


@claims.claim("The earlier the layer, the more the four pictures agree.")
def _agree():
    spread = {
        code: float(np.mean([float(inversion.pixel_distance(a[None], b[None]))
                             for i, a in enumerate(tiles[1:]) for b in tiles[1:][:i]]))
        for code, tiles in lab09.same_pictures().items()
    }  # fmt: skip
    values = [spread[code] for code in ("fire5", "fire9", inversion.LOG_PROBABILITIES)]
    assert values == sorted(values), spread
    assert values[0] < values[1] / 2, spread


@claims.claim(
    "have a normalized error below 0.03 on average.",
    "The network's largest is at the pooling after fire5.",
    "The log-probabilities have a smaller one",
)
def _normalized():
    means = {layer: rows.normalised.mean() for layer, rows in lab09.measured().items()}
    assert max(means[layer] for layer in FIRST_HALF) < 0.03, means
    del means["HOG"]
    assert max(means, key=means.get) == "pool5", means
    assert means[inversion.LOG_PROBABILITIES] < means["pool5"]


@claims.claim("it grows from layer to layer, from 0.07 at the first pooling to 0.68 at the")
def _looks():
    *network, _hog = lab09.measured().values()
    means = [rows.perceptual.mean() for rows in network]
    assert means == sorted(means), means
    assert (round(means[0], 2), round(means[-1], 2)) == (0.07, 0.68), means


@claims.claim(
    "From fire5 two thirds of the photos keep the network's first answer, and all twelve keep",
    "the log-probabilities five of twelve keep their first answer.",
)
def _named(seen):
    assert (int(seen.same.sum()), int(seen.among.sum()), len(seen.same)) == (8, 12, 12), seen
    assert int(lab09.measured()[inversion.LOG_PROBABILITIES].same.sum()) == 5


@claims.claim("These 120 inversions were computed beforehand at 128 × 128 pixels")
def _kept():
    assert sum(map(len, lab09.measured().values())) == 120
    assert lab09.pictures()["fire5"].shape[-2:] == (128, 128)


@claims.claim("A blur is never far wrong.")
def _blur(blur, end):
    assert int((blur.pixels < end.pixels).sum()) >= 10
    assert int((blur.perceptual < end.perceptual).sum()) == 0


@claims.claim("A hook keeps what the layer gives.")
def _in_plain_pytorch(plain):
    reached = plain["distance"].item()
    assert reached < 0.3, reached


@claims.claim("The error is 0 for the code itself, and about 1 for the code of another image.")
def _one(codes):
    spread = inversion.mean_pairwise(codes[2:])
    other = inversion.normalised_error(codes[2:-1], codes[3:], spread)
    assert abs(float(other.mean()) - 1) < 0.3, float(other.mean())
    assert float(torch.as_tensor(inversion.normalised_error(codes[:1], codes[:1], spread))) == 0
