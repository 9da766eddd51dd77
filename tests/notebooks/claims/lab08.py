"""What lab 08's text says of pictures that grow, of saliency maps and of what GrabCut finds.

Optimizations end at other pictures where rounding differs: only orders with wide margins are
asserted, and nothing of the kept gallery.
"""

import copy

from claiming import Claims

from labsupport import saliency
from labsupport.labs import lab08


def given(names):
    """A network of modules, the zero image and a class."""
    module = copy.deepcopy(names["network"].graph).requires_grad_(False)
    wanted = names["network"].class_index("dalmatian")
    return {"module": module, "image": names["zero"], "wanted": wanted}


claims = Claims(
    {
        "These settings are made for 500 steps and more": "Yosinski's table; the text's own count",
        "each is a filter whose numbers are pushed to 0 or 1.": "the notebook's own allclose",
        "up to 0.50": "what to do; what it does is claimed in the same sentence",
        "choose them in the warm-up with 400 steps.": "what to do",
        "And the gradient of the probability vanishes near 1.": "softmax's derivative",
    },
    given,
)


@claims.claim("A class's score can be raised from zeros, but only because the network has biases.")
def _biases(sizes):
    assert sizes["as trained"] > 0.001, sizes
    assert sizes["without biases"] == 0, sizes


@claims.claim("stays silent when it starts from zeros, and responds when it starts from noise.")
def _silent(ends):
    scores = {start: float(end.score) for start, end in ends.items()}
    assert scores["zeros"] == 0, scores
    assert scores["noise"] > 10, scores


@claims.claim("number instead of score.")
def _in_plain_pytorch(plain):
    scores = plain["scores"]
    assert scores[-1] > scores[0] + 20, (scores[0], scores[-1])


@claims.claim("free pixels have the highest score and look like noise with a few swirls.")
def _board(grown):
    scores = {name: float(end.score) for name, end in grown.items()}
    free = scores.pop("free pixels")
    assert free > 1.1 * max(scores.values()), (free, scores)
    rough = {name: float(end.image.diff(dim=-1).abs().mean()) for name, end in grown.items()}
    assert rough["free pixels"] > 1.5 * rough["Yosinski 3"], rough


@claims.claim("Clipping leaves a few spots on gray.")
def _clipped(grown, mean):
    apart = (grown["Yosinski 4"].image - mean).abs().amax(1)
    assert float((apart < 0.02).float().mean()) > 0.5


@claims.claim("its mask lets them stand alone.")
def _masked(grown):
    frame = grown["MACO 2023"]
    white = (lab08.on_white(frame) > 0.9).all(1).float().mean()
    assert white > 0.2, float(white)


@claims.claim(
    "shiny balls (13 of AlexNet) and leopard spots (77), scaly bodies with orange heads",
    "(282 of VGG-16) and thin legs (243).",
    "all twelve.",
)
def _units():
    rows, _ = lab08.kept("units")
    known = {(row["network"], int(row["channel"])) for row in rows if "conv5" in row["layer"]}
    assert {("alexnet", 13), ("alexnet", 77), ("vgg16", 282), ("vgg16", 243)} <= known
    assert len(known) == 12, len(known)


@claims.claim("their rank correlations with the maximum are above 0.97.")
def _alike(likeness):
    assert min(likeness["mean"], likeness["L2"]) > 0.97, likeness


@claims.claim("The signed mean has a rank correlation near zero with it")
def _signed(likeness):
    assert abs(likeness["signed"]) < 0.05, likeness


@claims.claim("The koala's face, hand and leg are bright, and the leaves are dark.")
def _bright(maps):
    one = maps["max"]
    face, leaves = one[60:110, 90:150].mean(), one[150:220, :40].mean()
    assert face > 3 * leaves, (float(face), float(leaves))


@claims.claim(
    "GrabCut makes nearly the whole koala from seeds on the face, the hand and the leg.",
    "an arm and the chest are lost.",
)
def _cut(koala, koala_map):
    shares = {}
    for background in (0.30, 0.50):
        mask = saliency.segment(koala, koala_map, background=background).mask.float()
        arm = mask[116:132, 45:75].mean()
        shares[background] = float(mask.mean()), float(arm)
    assert shares[0.30][0] > 1.15 * shares[0.50][0], shares
    assert shares[0.30][1] > 0.6 > 0.3 > shares[0.50][1], shares


@claims.claim("Two simpler ways stand beside GrabCut")
def _scenes(results):
    errors = {name: one.error for name, one in results.items()}
    assert min(errors, key=errors.get) == "GrabCut", errors
    assert results["GrabCut"].iou > max(
        one.iou for name, one in results.items() if name != "GrabCut"
    )


@claims.claim("only a dark part of the animal is cut out.")
def _panda(panda, panda_cut):
    inside = panda[:, :, panda_cut.mask]
    assert float(inside.mean()) < 0.25, float(inside.mean())
    assert float(panda_cut.mask.float().mean()) < 0.25
