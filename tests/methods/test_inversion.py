"""Inversion: where the answer is known, what is kept and left out, and the paper's error."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from safetensors.torch import load_file
from torch import nn

from labsupport.core import bundled
from labsupport.core import images as images_
from labsupport.core import network as networks
from labsupport.core.errors import BadImage
from labsupport.core.images.hog import hog
from labsupport.core.network import receptive_box
from labsupport.methods import inversion as inv
from labsupport.methods.inversion import perceptual, ridge, search
from labsupport.methods.optimize import LBFGS, Adam, Momentum, Pixels, visualize

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = inv.Setting(tv=0.0, parameterization=Pixels(), optimizer=LBFGS(0.05), steps=60)


def rotation() -> torch.Tensor:
    """An orthogonal matrix for pictures of 6 x 6 pixels, (108, 3, 6, 6)."""
    matrix = torch.randn(108, 108, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(matrix)[0].view(108, 3, 6, 6)


def chain() -> networks.Network:
    """Two convolutions, a stride of 4, and a head."""

    def build() -> list[nn.Module]:
        return [
            *(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()),
        ]

    return toys.chain(build, classes=5, input_size=32)


@pytest.fixture(scope="module")
def squeezenet():
    return networks.load("squeezenet1_1", weights="bundled", device="cpu")


def photo(name: str = "giant_panda", size: int = 96) -> torch.Tensor:
    return images_.standard(images_.sample(name), size)


@pytest.mark.parametrize("layer", ["1", "scores"])
@pytest.mark.parametrize("optimizer", [LBFGS(0.05), Adam(0.1, "cosine"), Momentum(3.0)])
def test_an_orthogonal_layer_gives_the_picture_back(layer, optimizer):
    network, image = toys.linear(rotation()), toys.image(6)
    code = inv.encode(network, image, layer)
    last = inv.invert(network, code, setting=replace(PLAIN, optimizer=optimizer, steps=120))
    assert torch.allclose(last.image, image, atol=2e-3)
    assert float(inv.code_distance(network, last.image, code)) < 1e-5


def test_a_code_has_the_layers_numbers_and_those_that_are_asked_for(squeezenet):
    assert inv.last_pooling(squeezenet) == "pool5"
    codes = inv.encode(squeezenet, torch.cat([photo(), photo("chelsea")]), "fire4")
    own = squeezenet.activations(photo("chelsea"), ["fire4"])["fire4"]
    assert (len(codes), codes.numbers) == (2, own.numel())
    assert torch.equal(codes[-1].values, codes.values[1:])
    by_hand = (codes.values[:1] - own).square().sum() / codes.values[0].square().sum()
    distance = inv.code_distance(squeezenet, photo("chelsea"), codes[0])
    assert torch.allclose(distance, by_hand[None], rtol=1e-4)
    logs = inv.encode(squeezenet, photo(), inv.LOG_PROBABILITIES)
    assert torch.allclose(logs.values.exp().sum(), torch.tensor(1.0), atol=1e-4)
    assert logs.numbers == 1000


@pytest.mark.parametrize("layer", ["conv1", "pool1", "fire3", "fire5"])
def test_no_frame_is_worse_than_the_one_before(squeezenet, layer):
    """Here too, where L-BFGS tries a step too far, or the prior would cost the code a little."""
    names = ("butterfly", "calf", "chameleon", "crab")
    originals = torch.cat([photo(name, 48) for name in names])
    code = inv.encode(squeezenet, originals, layer)
    setting = inv.setting_for(squeezenet, code)
    frames = list(inv.invert.frames(squeezenet, code, steps=60, every=1))
    distances = torch.stack([-frame.score for frame in frames])
    rough = torch.stack([frame.terms["total variation"] for frame in frames])
    losses = distances + setting.tv * rough
    assert (losses[1:] <= losses[:-1] * (1 + 1e-6)).all()
    # Whether it pays to let the code distance rise is rounding's to decide, by how much is not.
    paid = losses[1:] < 0.99 * losses[:-1] * (1 + 1e-6)
    assert ((distances[1:] <= distances[:-1]) | paid).all()
    assert distances[-1].max() < 0.08
    far = inv.code_distance(squeezenet, frames[-1].image, code)
    assert torch.allclose(far, distances[-1], rtol=1e-3)


def test_a_strong_prior_is_not_held_up_by_the_code(squeezenet):
    """From the photo itself it takes the code away, and its loss ends as low as the engine's."""
    image = photo(size=48)
    code = inv.encode(squeezenet, image, "fire2")
    strong = replace(inv.setting_for(squeezenet, code), tv=300.0)
    settings = {"start": image, "steps": 30, "every": 1}
    frames = list(inv.invert.frames(squeezenet, code, setting=strong, **settings))
    tried = visualize.frames(squeezenet, code.distance, recipe=strong.recipe, **settings)
    losses = [float(search._loss(frame, strong.recipe)) for frame in frames]
    lowest = min(float(search._loss(frame, strong.recipe)) for frame in tried)
    assert losses[-1] <= lowest * 1.0101
    assert frames[-1].score < frames[0].score


def test_a_try_too_far_is_not_shown():
    network, image = chain(), toys.image(32)
    code = inv.encode(network, image, "3")
    wild = replace(PLAIN, tv=1.0, optimizer=LBFGS(0.5))
    frames = inv.invert.frames(network, code, setting=wild, steps=3, every=1)
    tries = visualize.frames(network, code.distance, recipe=wild.recipe, size=32, steps=3)
    shown, tried = ([float(-one.score) for one in some] for some in (frames, tries))
    assert tried[1] > tried[0]
    assert shown[1] == pytest.approx(tried[0])


def test_seeds_agree_for_the_network_and_not_for_the_eye(squeezenet):
    image = photo(size=64)
    code = inv.encode(squeezenet, image, "fire7")
    seeds = (0, 1, 2)
    last = inv.invert(squeezenet, code, steps=40, seed=seeds)
    result = inv.compare(squeezenet, last.image, image, code)
    start = next(inv.invert.frames(squeezenet, code, seed=seeds)).image
    assert (result.to_code < 0.5 * inv.code_distance(squeezenet, start, code)).all()
    apart = ~torch.eye(3, dtype=torch.bool)
    assert (result.pixels[apart] > 0.05).all()
    assert torch.allclose(result.pixels, result.pixels.T)
    assert torch.equal(result.pixels.diagonal(), torch.zeros(3))
    assert torch.allclose(result.to_image, inv.pixel_distance(last.image, image))
    one = inv.encode(squeezenet, last.image[:1], "fire7").values
    two = inv.encode(squeezenet, last.image[1:2], "fire7").values
    by_hand = (one - two).square().sum() / code.values.square().sum()
    assert torch.allclose(result.codes[0, 1], by_hand, rtol=1e-3)


def test_a_frame_goes_on_as_it_would_have():
    network = chain()
    code = inv.encode(network, toys.image(32), "3")
    whole = list(inv.invert.frames(network, code, steps=8, every=1))
    last = inv.invert(network, code, start=whole[3], steps=8)
    assert torch.equal(last.image, whole[-1].image)
    assert json.loads(json.dumps(whole[0].settings))["steps"] == 8


def test_a_neighbourhood_moves_only_what_it_sees():
    network, image = chain(), toys.image(32)
    code = inv.neighbourhood(inv.encode(network, image, "3"), (4, 4), size=3)
    last = inv.invert(network, code, setting=PLAIN, start="grey", steps=20)
    moved = (last.image - 0.5).abs().amax(1)[0] > 1e-6
    corners = [receptive_box(network, "3", place, (32, 32)) for place in ((3, 3), (5, 5))]
    left, top, right, bottom = *corners[0][:2], *corners[1][2:]
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert not moved[~inside].any()
    assert moved[inside].float().mean() > 0.5
    assert float(-last.score) < 0.05
    assert code.numbers == 8 * 9


def test_a_neighbourhood_at_the_border_is_cut():
    code = inv.Code("x", torch.ones(1, 2, 6, 7), (24, 28))
    for place, size, rows in (((0, 0), 5, range(3)), ((3, 3), 2, range(3, 5))):
        mask = inv.neighbourhood(code, place, size=size).mask[0, 0]
        assert mask.nonzero().tolist() == [[row, column] for row in rows for column in rows]


def test_some_channels_leave_the_others_free():
    network, image = chain(), toys.image(32)
    whole = inv.encode(network, image, "3")
    part = inv.some_channels(whole, [0, 2])
    assert part.numbers == 2 * 64
    last = inv.invert(network, part, setting=PLAIN)
    reached = network.activations(last.image, ["3"])["3"]
    error = (reached - whole.values).square().sum((0, 2, 3)) / whole.values.square().sum((0, 2, 3))
    assert error[[0, 2]].max() < 0.05
    assert error[[1, 3]].max() > error[[0, 2]].max() * 4
    assert inv.some_channels(whole, slice(0, 3)).mask.flatten()[:4].tolist() == [1, 1, 1, 0]
    assert inv.neighbourhood(part, (0, 0), size=1).numbers == 2


def test_hog_is_inverted_by_the_same_code(squeezenet):
    image = photo("coffee", 64)
    code = inv.encode(squeezenet, image, inv.Hog())
    assert torch.equal(code.values, hog(image))
    assert float(inv.code_distance(squeezenet, image, code)) == 0
    frames = list(inv.invert.frames(squeezenet, code, steps=60, every=60))
    assert float(-frames[-1].score) < 0.25 * float(-frames[0].score)
    assert json.dumps(frames[-1].settings)
    small = inv.encode(squeezenet, photo("coffee", 48), inv.Hog())
    toys.assert_refused(
        ("size of the code's own", inv.code_distance, squeezenet, image, small),
        ("whole", inv.some_channels, code, [0]),
    )


def test_the_normalised_error_of_another_image_is_one_on_average():
    codes = torch.randn(9, 20, generator=torch.Generator().manual_seed(1))
    spread = inv.mean_pairwise(codes)
    others = [inv.normalised_error(codes.roll(shift, 0), codes, spread) for shift in range(1, 9)]
    assert float(torch.stack(others).mean()) == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(inv.normalised_error(codes, codes, spread), torch.zeros(9))
    bytes_ = torch.tensor([[1], [3]], dtype=torch.uint8)
    assert inv.normalised_error(bytes_[:1], bytes_[1:], 2.0).tolist() == [2.0]


def test_errors_by_layer_are_those_of_single_inversions():
    network, images = chain(), toys.image(32, count=3)
    rows = list(inv.errors_by_layer(network, images, ["0", inv.SCORES], steps=6))
    assert [row.layer for row in rows] == ["0", "scores"]
    assert [row.progress for row in rows] == [0.5, 1.0]
    row = rows[0]
    code = inv.encode(network, images, "0")
    alone = inv.invert(network, code, steps=6).image
    assert torch.allclose(row.images, alone, atol=1e-5)
    reached = inv.encode(network, alone, "0").values
    spread = inv.mean_pairwise(code.values)
    by_hand = (reached - code.values).square().flatten(1).sum(1) / spread
    assert torch.allclose(row.normalised, by_hand, rtol=1e-3)
    assert torch.allclose(row.distance, inv.code_distance(network, alone, code), rtol=1e-3)
    more = next(inv.errors_by_layer(network, images, ["0"], others=1 - images, steps=6))
    wider = inv.mean_pairwise(inv.encode(network, torch.cat([images, 1 - images]), "0").values)
    assert torch.allclose(more.normalised * wider, row.normalised * spread, rtol=1e-3)


def test_more_weight_makes_a_smoother_picture():
    network = chain()
    code = inv.encode(network, toys.image(32), "3")
    sweep = dict(inv.weight_sweep(network, code, (0.0, 1.0, 100.0), steps=30))
    rough = [float(frame.image.diff(dim=3).square().mean()) for frame in sweep.values()]
    assert rough == sorted(rough, reverse=True)
    far = [float(inv.code_distance(network, frame.image, code)) for frame in sweep.values()]
    assert far[0] < far[2]


def test_recognition_compares_with_the_answer_to_the_original(squeezenet):
    originals = torch.cat([photo("giant_panda"), photo("chelsea")])
    same = inv.recognition(squeezenet, originals, originals)
    assert same.same.all()
    assert same.among.all()
    chances = squeezenet(originals).softmax(1)
    assert torch.allclose(same.probability, chances.amax(1), atol=1e-4)
    swapped = inv.recognition(squeezenet, originals.flip(0), originals)
    assert not swapped.same.any()
    assert str(same) == "2 of 2 named alike, 2 among the first five"


def test_one_image_is_compared_with_each_of_several():
    images = toys.image(8, count=3)
    by_hand = (images - images[1]).square().mean((1, 2, 3)).sqrt()
    for pair in ((images, images[1:2]), (images[1:2], images)):
        torch.testing.assert_close(inv.pixel_distance(*pair), by_hand)


def test_lpips_of_a_toy_is_worked_out_by_hand():
    """Two channels at two positions: at one the vectors point apart, at the other alike."""
    red_and_green = nn.Conv2d(3, 2, 1, bias=False)
    red_and_green.weight.data = torch.eye(2, 3)[:, :, None, None]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)]
    network = networks.wrap(nn.Sequential(red_and_green, *head), **toys.PLAIN, input_size=8)
    one = torch.tensor([[[0.6, 0.5]], [[0.8, 0.0]], [[0.3, 0.1]]])
    other = torch.tensor([[[0.8, 0.9]], [[0.6, 0.0]], [[0.9, 0.9]]])
    weights = {"0": torch.tensor([2.0, 0.5])}
    found = perceptual._distance(network, weights, torch.stack([one, other]))
    assert float(found) == pytest.approx((2 * 0.2**2 + 0.5 * 0.2**2) / 2, abs=1e-6)


@pytest.mark.parametrize("judge", ["alexnet", "vgg16"])
def test_lpips_is_that_of_a_loop_over_positions(judge):
    one, other = photo("hens", 64), photo("coffee", 64)
    network, learned = networks.load(judge), load_file(bundled.path("weights/lpips.safetensors"))
    by_hand = 0.0
    for place, layer in enumerate(perceptual.LAYERS[judge]):
        maps = network.activations(torch.cat([one, other]), [layer])[layer].double().numpy()
        vectors = maps.reshape(*maps.shape[:2], -1)
        weights, apart = learned[f"{judge}.{place}"].double().numpy(), []
        for first, second in zip(vectors[0].T, vectors[1].T, strict=True):
            lengths = (max(1e-10, float(np.linalg.norm(some))) for some in (first, second))
            unit, other_unit = (v / n for v, n in zip((first, second), lengths, strict=True))
            apart.append(float(weights @ (unit - other_unit) ** 2))
        by_hand += sum(apart) / len(apart)
    found = [inv.perceptual_distance(*pair, judge=judge) for pair in ((one, other), (other, one))]
    assert float(found[0]) == pytest.approx(by_hand, rel=1e-4)
    assert torch.equal(*found)
    assert inv.perceptual_distance(one, one, judge=judge).tolist() == [0.0]


def test_lpips_grows_as_a_picture_is_blurred():
    image = photo("hens")
    soft = [images_.resize(images_.resize(image, side), 96) for side in (72, 48, 24)]
    found = inv.perceptual_distance(torch.cat(soft), image)
    assert found.tolist() == sorted(found.tolist())
    for place, one in enumerate(soft):
        assert torch.allclose(inv.perceptual_distance(image, one), found[place], rtol=1e-5)


def by_least_squares(network, layer, target, others):
    """The blocks that plain ridge regression in double precision gives, fitted on the others."""
    rows, colours = [], []
    for picture in (*others, *others.flip(3)):
        code = network.activations(picture[None], [layer])[layer].double()[0]
        block = 6  # 52 / 8 positions
        small = nn.functional.interpolate(picture[None], (48, 48), mode="area")[0].double()
        for row in range(code.shape[1]):
            for column in range(code.shape[2]):
                height = 2 * row / (code.shape[1] - 1) - 1
                own = torch.tensor([height, height**2, 1.0]).double()
                rows.append(torch.cat([code[:, row, column], own]))
                down, right = row * block, column * block
                colours.append(small[:, down : down + block, right : right + block].flatten())
    x, y = torch.stack(rows), torch.stack(colours)
    squares = x.T @ x
    ridge = squares.diagonal().mean() / len(x)
    weights = torch.linalg.inv(squares + ridge * torch.eye(len(squares)).double()) @ x.T @ y
    return weights.float()


def test_a_ridge_start_is_fitted_on_the_others_and_never_on_the_target_or_its_mirror():
    network, layer = chain(), "3"
    target, others = toys.image(32), toys.image(32, count=6, seed=1)
    code = inv.encode(network, target, layer)
    for known in (target, target.flip(3)):
        everything = torch.cat([others[:3], known, others[3:]])
        found = inv.ridge_start(network, code, others=everything)
        right, leak = (
            ridge._read(code.values, by_least_squares(network, layer, target, some), code.size)
            for some in (others, everything)
        )
        assert torch.allclose(found, right, atol=1e-4)
        assert not torch.allclose(found, leak, atol=1e-2)


def test_a_ridge_start_leaves_a_bundled_photo_out_however_it_is_cut(squeezenet, monkeypatch):
    few = images_.photos()[:8]
    monkeypatch.setattr(images_, "photos", lambda: few)
    monkeypatch.setattr(images_, "paintings", lambda: few[:0])
    whole = few[5].image
    for cut in (whole, whole.flip(3), whole[..., 10:, :-20]):
        code = inv.encode(squeezenet, images_.standard(cut, 64), "fire5")
        *before, last = inv.ridge_start.frames(squeezenet, code)
        [fit] = squeezenet.remember(("ridge start", "fire5", (64, 64)), list)
        assert fit.nearest(code.values) == 5
        assert last.image.shape == (1, 3, 64, 64)
        assert len(before) in (0, 8)  # it is fitted once
    assert all(bool((frame.image == 0.5).all()) for frame in before)


def test_a_ridge_start_knows_colours_and_an_inversion_goes_on_from_it(squeezenet):
    image = photo("hens", 64)
    others = torch.cat([photo(name, 64) for name in images_.photos().names[:40]])
    code = inv.encode(squeezenet, image, "fire5")
    start = inv.ridge_start(squeezenet, code, others=others)
    assert inv.pixel_distance(start, image) < inv.pixel_distance(others.mean(0)[None], image)
    first, *_, last = inv.invert.frames(squeezenet, code, start=start, steps=20)
    assert torch.allclose(first.image, start, atol=0.01)
    assert float(-last.score) < 0.2 * float(-first.score)


def test_what_cannot_be_inverted_is_refused():
    network, two, three = chain(), toys.image(32, count=2), toys.image(32, count=3)
    codes, four = inv.encode(network, two, "0"), torch.cat([two, two])
    silent, larger = replace(codes, values=0 * codes.values), replace(codes, size=(96, 96))
    toys.assert_refused(
        ("UnknownLayer: .*fire99", inv.encode, network, two, "fire99"),
        ("zero everywhere", inv.invert, network, silent),
        ("zero everywhere", inv.invert, network, inv.encode(network, 0 * two, inv.Hog())),
        ("size of the code's own", inv.invert, network, larger),
        ("tv is 0 or more", inv.invert, network, codes, {"tv": -1.0}),
        ("BadImage: .*one size", inv.pixel_distance, two, two[..., 1:]),
        ("2 images and 3 others", inv.pixel_distance, two, three),
        *(
            ("BadImage", inv.pixel_distance, *pair)
            for wrong in (two * 2, two[:0], two.numpy(), None, two > 0.5)
            for pair in ((wrong, two), (two, wrong))
        ),
        ("one code at a time", inv.compare, network, two, two, codes),
        ("4 images and 2 codes", inv.code_distance, network, four, codes),
        ("2 images and 3 others", inv.compare, network, two, three, codes[0]),
        ("2 and 1", inv.recognition, network, two, two[:1]),
        ("no pooling", inv.last_pooling, toys.linear(rotation())),
        ("BadImage: .*one size", inv.perceptual_distance, two, two[..., 1:]),
        ("2 images and 3 others", inv.perceptual_distance, two, three),
        ("judge is one of", inv.perceptual_distance, two, two, {"judge": "squeezenet1_1"}),
        ("BadImage", inv.perceptual_distance, two[..., :20, :20], two[..., :20, :20]),
        ("no map", inv.ridge_start, network, inv.encode(network, two, inv.SCORES)),
        ("kept in part", inv.ridge_start, network, inv.some_channels(codes, [0])),
        ("must be two", inv.ridge_start, network, codes, {"others": two[:1]}),
        ("BadImage: .*size of the code's", inv.ridge_start, network, larger, {"others": two}),
        *(
            ("above 0", inv.ridge_start, network, codes, {"others": four, "strength": strength})
            for strength in (0.0, math.nan, math.inf)
        ),
    )
    smaller = {"others": toys.image(24), "steps": 1}
    with pytest.raises(BadImage, match="size"):
        next(inv.errors_by_layer(network, two, ["0"], **smaller))


def test_what_a_code_does_not_have_is_refused():
    code = inv.Code("x", torch.ones(1, 8, 6, 7), (24, 28))
    flat = inv.Code("x", torch.ones(1, 9), (8, 8))
    around, channels, error = inv.neighbourhood, inv.some_channels, inv.normalised_error
    rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    no_numbers = (rows.flatten(), rows / 0, rows.to(torch.complex64), rows.numpy(), None)
    toys.assert_refused(
        ("rows 0 to 5", around, code, (6, 0)),
        *(
            ("counted from 0", around, code, nowhere)
            for nowhere in ((0,), (0, 0, 0), 3, None, (0.5, 1), (-1, 0))
        ),
        *(
            ("none of its neighbourhoods", around, code, (0, 0), {"size": size})
            for size in (0, 1.5, math.nan, math.inf)
        ),
        ("no map", around, flat, (0, 0)),
        *(
            ("channels 0 to 7", channels, code, wrong)
            for wrong in ([8], [], [-1], [0.5], ["red"], None)
        ),
        ("two codes", inv.mean_pairwise, rows[:1]),
        *(("codes", inv.mean_pairwise, wrong) for wrong in no_numbers),
        *(("codes", error, wrong, rows, 1.0) for wrong in no_numbers),
        *(("codes", error, rows, wrong, 1.0) for wrong in no_numbers),
        ("4 codes and 3 wanted", error, rows, rows[:3], 1.0),
        ("shapes", error, rows, rows[:, :3], 1.0),
        ("so far apart", error, rows * 1e30, rows, 1.0),
        *(("above 0", error, rows, rows, spread) for spread in (0.0, math.inf)),
    )


def test_the_prior_counts_more_in_deeper_layers(squeezenet):
    image = photo(size=64)
    weights = [
        inv.setting_for(squeezenet, inv.encode(squeezenet, image, layer)).tv
        for layer in ("conv1", "fire4", "fire9")
    ]
    assert weights == sorted(weights)
    assert weights[0] < weights[-1]
