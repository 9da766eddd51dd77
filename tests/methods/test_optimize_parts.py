"""The parts of an optimization, from objectives to optimizers."""

import math
from dataclasses import replace

import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.methods import optimize as o
from labsupport.methods.optimize import parameterization, regularizers
from labsupport.methods.optimize.objectives import before_relu, read

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network():
    settings = {"classes": 3, "input_size": (8, 6), "categories": ["a", "b", "c"]}
    return toys.chain(lambda: [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()], **settings)


BARE = o.Recipe("x", "grey", o.Pixels(), (), (), o.Plain(0.1), 3)


def at_step(number=0, seed=0, steps=10):
    mean = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
    return o.Step(number, steps, torch.Generator().manual_seed(seed), mean)


def value_of(network, objective, image):
    bound = objective.bound(network)
    terms = bound.terms(read(network, bound.layers, image))
    return sum(term.weight * term.value for term in terms.values()), terms


def test_energy_sends_the_activation_back_and_a_direction_may_be_one_channel(network):
    image = toys.image(8, 6).requires_grad_(True)
    value, _ = value_of(network, o.Energy("1"), image)
    (gradient,) = torch.autograd.grad(value.sum(), image)
    maps = network.up_to("1")(image)
    (expected,) = torch.autograd.grad(maps, image, grad_outputs=maps.detach())
    assert torch.allclose(gradient, expected, atol=1e-6)

    image = toys.image(8, 6, count=2)
    vector = torch.tensor([0.0, 0.0, 2.0, 0.0])
    along, _ = value_of(network, o.Direction("1", vector), image)
    expected, _ = value_of(network, o.TargetValue(("1", 2)), image)
    assert torch.allclose(along, 2 * expected, atol=1e-6)
    at, _ = value_of(network, o.Direction("1", vector, (3, 4)), image)
    neuron, _ = value_of(network, o.TargetValue(("1", 2, (3, 4)), before_relu=False), image)
    assert torch.allclose(at, 2 * neuron, atol=1e-6)


def test_log_odds_are_those_of_the_probability(network):
    image = toys.image(8, 6, count=3)
    chances = network(image).detach().softmax(1)
    value, _ = value_of(network, o.LogOdds("b"), image)
    assert torch.allclose(value, (chances[:, 1] / (1 - chances[:, 1])).log(), atol=1e-5)
    each, _ = value_of(network, o.LogOdds(["c", "b", "a"]), image)
    assert torch.allclose(each[1], value[1])
    assert torch.allclose(each[2].sigmoid(), chances[2, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "channel", "expected"),
    [
        ("fire2", 100, ("features.3.expand3x3", 36)),
        ("fire2", 10, ("features.3.expand1x1", 10)),
        ("pool1", 5, ("features.0", 5)),
        ("conv1", 5, None),
        (None, 7, ("classifier.1", 7)),
    ],
)
def test_the_value_before_a_relu_is_found(layer, channel, expected):
    squeezenet = toys.random("squeezenet1_1")
    target = squeezenet.target(channel if layer is None else (layer, channel))
    unit = before_relu(squeezenet, target)
    assert (unit and (unit.layer, unit.channel)) == expected


def test_a_silent_unit_is_raised_before_its_relu_if_that_is_asked():
    layers = [toys.seeded(lambda: nn.Conv2d(3, 2, 3)), nn.ReLU()]
    nn.init.constant_(layers[0].bias, -0.3)
    network = toys.chain(lambda: layers, input_size=8, **toys.PLAIN)
    recipe = replace(BARE, optimizer=o.Normalized(0.05), steps=20)
    asleep = o.visualize(network, o.TargetValue(("1", 1), before_relu=False), recipe=recipe)
    assert float(asleep.gradient_size) == 0
    assert float(asleep.score) == 0
    frames = list(o.visualize.frames(network, ("1", 1), recipe=recipe))
    maps = [float(network.activations(f.image, ["0"])["0"][:, 1].mean()) for f in frames[:2]]
    assert float(frames[0].score) == pytest.approx(maps[0], abs=1e-6)
    assert maps[0] < maps[1]
    assert float(frames[0].gradient_size) > 0
    assert float(frames[-1].score) > 0


@pytest.mark.parametrize("layer", ["1", o.SCORES, o.LOG_PROBABILITIES])
@pytest.mark.parametrize("masked", [False, True])
def test_a_code_distance_is_squared_and_divided_by_the_codes_own_norm(network, layer, masked):
    image, other = toys.image(8, 6), toys.image(8, 6, seed=1)
    code, mine = (
        network.activations(x, ["1"])["1"] if layer == "1" else network(x).detach()
        for x in (other, image)
    )
    if layer == o.LOG_PROBABILITIES:
        code, mine = code.log_softmax(1), mine.log_softmax(1)
    mask = torch.zeros(code.shape[1:]) if masked else torch.ones(code.shape[1:])
    mask[1:2] = 1
    distance = o.CodeDistance.to(network, layer, other, mask if masked else None)
    expected = float(((mine - code) * mask).square().sum() / (code * mask).square().sum())
    value, terms = value_of(network, distance, image)
    assert float(terms[f"code distance at {layer}"].value) == pytest.approx(expected, rel=1e-4)
    assert float(value) == pytest.approx(-expected, rel=1e-4)
    assert float(value_of(network, distance, other)[0]) == 0


def test_a_gram_matrix_by_hand_and_shuffled():
    maps = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).view(1, 2, 1, 2)
    by_hand = torch.tensor([[[5.0, 3.0], [3.0, 9.0]]]) / 4
    assert torch.allclose(o.gram(maps), by_hand)
    wide = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(42, generator=torch.Generator().manual_seed(1))
    shuffled = wide.flatten(2)[:, :, order].view_as(wide)
    assert torch.allclose(o.gram(wide), o.gram(shuffled), atol=1e-6)
    last = wide.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(o.gram(wide), o.gram(last), atol=1e-6)


def test_a_sum_weighs_its_parts_and_names_them(network):
    image, other = toys.image(8, 6), toys.image(8, 6, seed=1)
    parts = [o.TargetValue("b"), o.GramDistance.to(network, "1", other), o.TargetValue("b")]
    values = [float(value_of(network, one, image)[0]) for one in parts]
    value, terms = value_of(network, parts[0] + 3 * parts[1] - (-0.5 * parts[2]), image)
    assert float(value) == pytest.approx(values[0] + 3 * values[1] + 0.5 * values[2], rel=1e-5)
    assert list(terms) == ["b", "Gram distance at 1", "b (2)"]


def test_several_layers_are_read_in_one_pass(network, monkeypatch):
    passes = []
    real = nn.functional.conv2d
    monkeypatch.setattr(nn.functional, "conv2d", lambda *a: passes.append(1) or real(*a))
    goal = o.Energy("0") + o.Energy("1") + o.TargetValue("a") + o.TargetValue(("1", 2))
    o.visualize(network, goal, recipe=BARE, steps=0)
    assert len(passes) == 1


def test_an_objective_of_ones_own_needs_layers_and_terms(network):
    class Brightness(o.Objective):
        layers = (o.SCORES,)

        def terms(self, activations):
            return {"sum": o.Term(activations[o.SCORES].sum(1), 1.0)}

    last = o.visualize(network, Brightness(), recipe=BARE)
    assert float(last.terms["sum"]) == pytest.approx(float(network(last.image).sum()), abs=1e-5)
    assert last.probability is None


def test_what_cannot_work_is_refused(network):
    pairs = o.TargetValue(["a", "b"]) + o.TargetValue(["a", "b", "c"])
    toys.assert_refused(
        *(
            (words, o.visualize.frames, network, objective)
            for words, objective in (
                ("4 numbers", o.Direction("1", torch.ones(3))),
                ("no map", o.GramDistance("3", torch.ones(1, 3, 3))),
                ("4 x 4", o.GramDistance("1", torch.ones(1, 3, 3))),
                ("zero everywhere", o.CodeDistance("1", torch.zeros(1, 4, 8, 6))),
                ("empty", o.TargetValue([])),
                ("different numbers", pairs),
                ("UnknownLayer: .*fire5", o.Energy("fire5")),
            )
        ),
        ("must have the size", o.visualize, network, o.CodeDistance("1", torch.ones(1, 4, 5, 5))),
        ("BadSetting", o.Decay, 1.0),
        ("BadSetting", o.ClipNorm, -0.1),
        ("BadSetting", o.ClipContribution, 1.5),
        ("BadSetting", o.Blur, 0.0),
        ("BadSetting", o.Jitter, -1),
        ("BadSetting", o.Crop, 2.5),
        ("BadSetting", o.Scale, 1.2, 0.9),
        ("BadSetting", o.Rotate, 5, {"every": 0}),
        ("BadSetting", o.Plain, 0),
        ("BadSetting", o.Adam, math.nan),
        ("BadSetting", o.Adam, {"schedule": "cosin"}),
        ("BadSetting", o.Adam, {"schedule": ()}),
        ("BadSetting", o.Fourier, 0.0),
        ("BadSetting", o.Phase, 0.0),
        ("BadSetting", o.Zoom, 0.0),
        ("BadSetting", o.Zoom, 0.5, 1.1),
        ("BadSetting", o.Zoom, 0.5, 1.0, -0.1),
        ("BadSetting", o.Zoom, 0.5, 1.0, 0.0, 2.5),
        ("BadSetting", o.CoarseToFine, 0.0),
        ("BadSetting", o.CoarseToFine, 8.0, 1.5),
        ("BadSetting", o.Noise, 0.0),
    )


@pytest.mark.parametrize("size", [(24, 24), (24, 31), (31, 20)])
def test_a_picture_comes_back_from_its_parameters(size):
    image = 0.02 + 0.96 * toys.image(*size, count=2)
    for space in (o.Pixels(), o.Fourier()):
        assert torch.allclose(space.images(space.parameters(image), size), image, atol=1e-4)


def test_noise_has_the_colours_and_the_spectrum_that_are_promised():
    noise = o.Fourier(sd=1.0).noise((128, 128), torch.Generator().manual_seed(0))
    inner = torch.logit(o.Fourier().images(0.02 * noise, (128, 128)), eps=1e-7)[0]
    power = torch.fft.rfft2(inner.double()).abs().square().sum(0)
    rows, columns = torch.fft.fftfreq(128)[:, None], torch.fft.rfftfreq(128)[None]
    frequency = (rows.square() + columns.square()).sqrt()
    near, far = (
        float(power[(frequency > low) & (frequency < 1.1 * low)].mean()) for low in (0.05, 0.2)
    )
    assert near / far == pytest.approx(16, rel=0.35)  # amplitude 1 / f, so power 1 / f squared


@pytest.mark.parametrize("size", [(32, 32), (24, 31), (31, 20)])
def test_phases_move_and_magnitudes_stay_those_of_the_photographs(size):
    space = o.Phase(contrast=0.3)
    fitted = [images.resize(one.image, max(size), crop=size) for one in images.photos()]
    mixing = torch.tensor(parameterization.COLOR_CORRELATION).double()
    spectra = torch.fft.rfft2(torch.cat(fitted).double(), norm="ortho")
    apart = torch.einsum("kc,nchw->nkhw", torch.linalg.inv(mixing).to(spectra.dtype), spectra)
    expected = apart.abs().mean(0)
    expected[:, 0, 0] = 0
    phases = torch.cat([space.noise(size, torch.Generator().manual_seed(n)) for n in range(3)])
    pictures = space.unbounded(phases, size).double()
    mean = torch.cat(fitted).mean((0, 2, 3))
    assert torch.allclose(pictures.mean((2, 3)), mean.double().expand(3, 3), atol=1e-5)
    about = pictures - mean[:, None, None]
    assert about.flatten(1).std(1).tolist() == pytest.approx([0.3] * 3, rel=5e-3)
    centred = torch.fft.rfft2(pictures - pictures.mean((2, 3), keepdim=True), norm="ortho")
    apart = torch.einsum("kc,nchw->nkhw", torch.linalg.inv(mixing).to(centred.dtype), centred)
    for magnitudes in apart.abs():
        share = magnitudes.sum() / expected.sum()
        assert torch.allclose(magnitudes, share * expected, rtol=1e-3, atol=2e-5)
    assert torch.equal(space.images(phases, size).double(), pictures.clamp(0, 1))


def test_the_phases_of_a_picture_give_back_what_has_its_magnitudes():
    space = o.Phase()
    picture = space.unbounded(
        0.4 * space.noise((24, 24), torch.Generator().manual_seed(5)), (24, 24)
    )
    again = space.unbounded(space.parameters(picture), (24, 24))
    assert torch.allclose(again, picture, atol=1e-4)


def test_the_colours_are_those_of_the_bundled_photographs():
    small = [images.resize(photo.image, (64, 64))[0].flatten(1) for photo in images.photos()]
    values, vectors = torch.linalg.eigh(torch.cov(torch.cat(small, 1).double()))
    vectors = vectors * vectors.sum(0).sign()
    expected = (vectors * (values / values.max()).sqrt()).flip(1).float()
    assert torch.allclose(torch.tensor(parameterization.COLOR_CORRELATION), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("transform", "moving", "resting"),
    [(o.Jitter(3, until=0.7), 6, 8), (o.Jitter(3, until=0.5), 4, 6), (o.Scale(0.8, 0.8, 3), 3, 1)],
)
def test_transforms_rest_between_their_turns_and_when_they_are_done(transform, moving, resting):
    image = toys.image(9, 6, count=2)
    assert not torch.equal(transform(image, at_step(moving)), image)
    assert torch.equal(transform(image, at_step(resting)), image)


@pytest.mark.parametrize("shape", [(8, 6), (3, 2)])
@pytest.mark.parametrize("seed", range(4))
def test_jitter_is_roll_forward_and_back(shape, seed):
    images = toys.image(*shape, count=2).contiguous(memory_format=torch.channels_last)
    images.requires_grad_(True)
    drawn = torch.Generator().manual_seed(seed)
    down, right = (int(torch.randint(-5, 6, (), generator=drawn)) for _ in range(2))
    weights = torch.rand(images.shape, generator=drawn)
    moved = o.Jitter(5)(images, at_step(seed=seed))
    rolled = torch.roll(images, (down, right), (2, 3))
    assert torch.equal(moved, rolled)
    assert torch.equal(moved[:1], o.Jitter(5)(images[:1], at_step(seed=seed)))
    assert moved.is_contiguous(memory_format=torch.channels_last)
    both = [torch.autograd.grad((one * weights).sum(), images)[0] for one in (moved, rolled)]
    assert torch.equal(*both)


def test_crop_is_a_window_and_its_margin():
    image = torch.arange(100.0).view(1, 1, 10, 10).expand(1, 3, 10, 10)
    seen = {float(o.Crop(4)(image, at_step(seed=seed))[0, 0, 0, 0]) for seed in range(60)}
    assert o.Crop(4)(image, at_step()).shape == (1, 3, 6, 6)
    assert passes_gradients(o.Crop(4), image)
    assert min(seen) == 0
    assert max(seen) == 44
    assert len(seen) > 15


def test_zoom_enlarges_a_window_of_the_share_that_is_asked_for():
    rows, columns = torch.arange(40.0)[:, None], torch.arange(60.0)
    image = torch.stack([rows.expand(40, 60), columns.expand(40, 60), rows + columns])[None]
    spans = []
    for seed in range(40):
        seen = o.Zoom(0.5, 0.8)(image, at_step(seed=seed))
        assert seen.shape == image.shape
        spans.append([float(seen[0, 0].max() - seen[0, 0].min()), float(seen[0, 0].min())])
        assert torch.allclose(seen[0, 2], seen[0, 0] + seen[0, 1], atol=1e-4)
    heights, tops = torch.tensor(spans).T
    assert 19 <= float(heights.min()) < 22  # a window of so many rows spans one less
    assert 29 < float(heights.max()) < 31.5
    assert float(tops.min()) < 2
    assert float((tops + heights).max()) > 37
    assert torch.allclose(o.Zoom(1.0, 1.0)(image, at_step()), image)
    assert passes_gradients(o.Zoom(), image)
    middle = o.Zoom(0.5, 0.5, middle=1.0, side=10)(image, at_step())
    assert middle.shape == (1, 3, 10, 10)
    assert torch.allclose(middle.mean((2, 3)), image.mean((2, 3)), atol=0.3)


def test_a_blur_falls_from_coarse_to_fine():
    dot = torch.zeros(1, 1, 41, 61)
    dot[..., 20, 30] = 1.0
    places = torch.arange(61.0) - 30
    spreads = []
    for number in (0, 30, 59, 60, 100):  # of 100
        seen = o.CoarseToFine(4.0, until=0.6)(dot, at_step(number, steps=100))
        assert seen.shape == dot.shape
        assert float(seen.sum()) == pytest.approx(1.0, abs=1e-4)
        spreads.append(float((seen[0, 0].sum(0) * places**2).sum()) ** 0.5)
    assert spreads[0] == pytest.approx(4.0, rel=0.05)
    assert spreads[1] == pytest.approx(2.0, rel=0.05)
    assert spreads[2:] == [0.0, 0.0, 0.0]
    even = torch.full((2, 3, 9, 12), 0.3)
    assert torch.allclose(o.CoarseToFine(8.0)(even, at_step(0, steps=10)), even)
    assert passes_gradients(o.CoarseToFine(), toys.image(20, 24))


def test_noise_is_normal_the_same_for_a_batch_and_new_at_each_step():
    image, now = torch.full((2, 3, 50, 60), 0.5), at_step()
    first, second = o.Noise(0.08)(image, now), o.Noise(0.08)(image, now)
    assert float(first[0].std()) == pytest.approx(0.08, rel=0.03)
    assert float(first[0].mean()) == pytest.approx(0.5, abs=0.003)
    assert torch.equal(first[0], first[1])
    assert not torch.allclose(first, second)
    assert passes_gradients(o.Noise(), image)


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.1, 1.5])
def test_scale_keeps_the_size_and_the_middle(factor):
    image = torch.zeros(1, 3, 41, 61)
    image[:, :, 16:25, 22:39] = 1.0
    scaled = o.Scale(factor, factor)(image, at_step())
    assert scaled.shape == image.shape
    rows, columns = torch.where(scaled[0, 0] > 0.5)
    assert float(rows.float().mean()) == pytest.approx(20, abs=0.6)
    assert float(columns.float().mean()) == pytest.approx(30, abs=0.6)
    height = int(rows.max() - rows.min()) + 1
    assert height == pytest.approx(9 * factor, abs=1.2)
    assert passes_gradients(o.Scale(factor, factor), image)


def passes_gradients(transform, image) -> bool:
    moving = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(transform(moving, at_step(seed=3)).sum(), moving)
    return bool(gradient.any())


def test_rotate_turns_without_stretching():
    image = torch.zeros(1, 3, 41, 81)
    image[:, :, 18:23, 40 - 15 : 40 + 16] = 1.0  # a bar
    angle = math.radians(-30 + 60 * float(torch.rand((), generator=at_step().random)))
    assert passes_gradients(o.Rotate(30), image)
    turned = o.Rotate(30)(image, at_step())[0, 0]
    points = torch.stack(torch.where(turned > 0.5)).double()
    values, vectors = torch.linalg.eigh(torch.cov(points))
    assert float(values[1].sqrt()) == pytest.approx(31 / math.sqrt(12), rel=0.05)
    along = math.atan(float(vectors[0, 1] / vectors[1, 1]))  # rows over columns
    assert abs(along) == pytest.approx(abs(angle), abs=0.05)


def test_total_variation_by_hand_and_two_of_a_kind_both_count(network):
    image = torch.zeros(1, 3, 3, 3)
    image[:, :, 1, 1] = 1.0
    # of the four corners: (0,1) sees it below, (1,0) on its right, (1,1) falls twice
    assert float(o.TotalVariation()(image, at_step())) == pytest.approx((1 + 1 + 2) / 4)
    root = o.TotalVariation(beta=1.0)(image, at_step())
    assert float(root) == pytest.approx((1 + 1 + math.sqrt(2)) / 4, abs=1e-3)

    recipe = replace(BARE, regularizers=(o.TotalVariation(1.0), o.TotalVariation(2.0)))
    terms = o.visualize(network, "a", recipe=recipe, steps=0).terms
    assert list(terms) == ["a", "total variation", "total variation (2)"]


def test_penalties_by_hand_about_the_mean_colour():
    now, mean = at_step(), at_step().mean
    assert float(o.L2()(mean.expand(2, 3, 4, 4), now)[0]) == 0
    away = (mean + 0.2).expand(1, 3, 4, 4)
    assert float(o.L2()(away, now)) == pytest.approx(0.04)
    assert float(o.AlphaNorm(alpha=6.0)(away, now)) == pytest.approx(0.2**6, rel=1e-4)
    image = toys.image(5)
    torch.testing.assert_close(o.Decay(0.3)(image, image, now), mean + 0.7 * (image - mean))
    image = torch.full((1, 3, 2, 2), 0.5)
    assert float(o.Range()(image, now)) == 0
    image[..., 0, 0] = 1.0
    assert float(o.Range(edge=0.1)(image, now)) == pytest.approx(0.01 / 4, rel=1e-4)


def test_blur_is_a_gaussian_each_so_many_steps():
    image = torch.zeros(1, 3, 21, 21)
    image[:, :, 10, 10] = 1.0
    blur = o.Blur(1.5, every=4)
    assert torch.equal(blur(image, image, at_step(1)), image)
    spot = blur(image, image, at_step(3))
    assert float(spot.sum()) == pytest.approx(3, rel=1e-4)
    fall = float(spot[0, 0, 10, 11] / spot[0, 0, 10, 10])
    assert fall == pytest.approx(math.exp(-0.5 / 1.5**2), rel=1e-4)
    flat = torch.full((1, 3, 9, 7), 0.3)
    assert torch.allclose(regularizers.blurred(flat, 2.0), flat, atol=1e-6)


def test_clipping_takes_the_smallest_share():
    mean = at_step().mean
    image = (mean + torch.linspace(0.01, 0.16, 16).view(1, 1, 4, 4)).expand(1, 3, 4, 4)
    clipped = o.ClipNorm(0.5)(image, image, at_step())
    kept = (clipped != mean).all(1)[0]
    assert torch.equal(kept.flatten(), torch.arange(16) >= 8)
    assert torch.equal(clipped[:, :, 2:], image[:, :, 2:])
    gradient = torch.zeros_like(image)
    gradient[..., 0, 0] = -100.0  # its pixel is the smallest, but counts most
    gradient[..., 3, 3] = 1.0
    clipped = o.ClipContribution(0.8)(image, gradient, at_step())
    assert (clipped[0, :, 0, 0] != mean.flatten()).all()
    assert torch.equal(clipped[0, :, 2, 2], mean.flatten())
    assert torch.equal(o.ClipNorm(0.0)(image, image, at_step()), image)


@pytest.mark.parametrize(
    ("optimizer", "torchs"),
    [
        (o.Adam(0.03), lambda own: torch.optim.Adam(own, lr=0.03)),
        (o.Momentum(0.1), lambda own: torch.optim.SGD(own, lr=0.1, momentum=0.9)),
    ],
    ids=["Adam", "Momentum"],
)
def test_an_optimizer_is_torchs(optimizer, torchs):
    place, memory = toys.image(4, count=2), {}
    own = nn.Parameter(place.clone())
    theirs = torchs([own])
    for seed in range(1, 6):
        values = toys.image(4, count=2, seed=seed) - 0.5
        own.grad = -values
        theirs.step()
        place, memory = optimizer.step(place, o.Gradient(values, torch.zeros(2), 0.0), memory)
    assert torch.allclose(place, own.detach(), atol=1e-6)


def test_a_normalized_step_is_deepdreams_in_each_image():
    start, gradient = toys.image(4, count=2), toys.image(4, count=2, seed=1) - 0.5
    gradient[1] *= 1000
    moved, _ = o.Normalized(1.5 / 255).step(start, o.Gradient(gradient, torch.zeros(2), 0.0), {})
    sizes = (moved - start).abs().flatten(1).mean(1) * 255
    assert sizes.tolist() == pytest.approx([1.5, 1.5], rel=1e-3)
    still, _ = o.Normalized().step(start, o.Gradient(0 * gradient, torch.zeros(2), 0.0), {})
    assert torch.equal(still, start)


@pytest.mark.parametrize(
    ("schedule", "shares", "expected"),
    [
        ("cosine", (0, 0.5, 1), (2, 1, 0)),
        ((1.0, 0.1, 0.01), (0, 0.3, 0.34, 0.7, 1), (2, 2, 0.2, 0.02, 0.02)),
        (o.Plain().schedule, (0.9,), (2,)),
    ],
)
def test_schedules_fall_as_they_say(schedule, shares, expected):
    optimizer = o.Plain(2.0, schedule)
    assert [*map(optimizer.learning_rate_at, shares)] == pytest.approx([*expected])
