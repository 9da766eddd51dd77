"""DeepDream: the recipe of 2015 in numpy, the loop by hand, tiles without seams, films."""

import json
import math
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import scipy.ndimage
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import dream as d
from labsupport.methods.dream.octaves import laplacian_pyramid
from labsupport.methods.optimize import Energy, Gradient, Normalized, TargetValue
from labsupport.methods.optimize.objectives import read

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = d.DreamRecipe("short", iterations=2, octaves=2, scale=1.2, jitter=3)


def deep() -> networks.Network:
    """Strides, paddings, pools that reach over the border: a stride of 8 and two layers."""

    def build() -> list[nn.Module]:
        return [
            *(nn.Conv2d(3, 6, 5, stride=2, padding=1), nn.ReLU()),
            *(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
        ]

    return toys.chain(build, input_size=64)


def silent() -> networks.Network:
    """A ReLU that never answers."""
    dead = nn.Conv2d(3, 2, 3)
    for parameter in dead.parameters():
        nn.init.constant_(parameter, -1.0)
    return toys.chain(lambda: [dead, nn.ReLU()], input_size=24, **toys.PLAIN)


class InNumpy:
    """The dream of one convolution without ReLU, whose energy has a gradient that can be written
    down, in double precision and with nothing of the workbook in it."""

    def __init__(self, network: networks.Network) -> None:
        weights = dict(network.graph.named_parameters())
        self.kernel, self.bias = (one.numpy().astype(np.float64) for one in weights.values())

    def gradient(self, picture):
        """Activations by sums over the kernel; back, each is handed to what it was made of."""
        height, width = picture.shape[1] - 2, picture.shape[2] - 2
        maps = np.zeros((4, height, width)) + self.bias[:, None, None]
        back = np.zeros_like(picture)
        for i in range(3):
            for j in range(3):
                part = picture[:, i : i + height, j : j + width]
                maps += np.einsum("kc,chw->khw", self.kernel[:, :, i, j], part)
        for i in range(3):
            for j in range(3):
                given = np.einsum("kc,khw->chw", self.kernel[:, :, i, j], maps)
                back[:, i : i + height, j : j + width] += given
        return back

    def dream(self, photo, *, iterations, octaves, scale, jitter, rate, seed):
        copies = [photo]
        for _ in range(octaves - 1):
            copies.append(scipy.ndimage.zoom(copies[-1], (1, 1 / scale, 1 / scale), order=1))
        detail = np.zeros_like(copies[-1])
        for octave, base in enumerate(copies[::-1]):
            if octave > 0:
                (_, h, w), (_, h1, w1) = base.shape, detail.shape
                detail = scipy.ndimage.zoom(detail, (1, h / h1, w / w1), order=1)
            source = np.clip(base + detail, 0, 1)
            draws = torch.Generator().manual_seed(seed + octave)
            for _ in range(iterations):
                down, right = (
                    int(torch.randint(-jitter, jitter + 1, (), generator=draws)) for _ in range(2)
                )
                source = np.roll(np.roll(source, right, -1), down, -2)
                gradient = self.gradient(source)
                source = source + rate / np.abs(gradient).mean() * gradient
                source = np.roll(np.roll(source, -right, -1), -down, -2)
                source = np.clip(source, 0, 1)
            detail = source - base
        return source, detail


def test_the_dream_is_the_recipe_of_2015_in_numpy_and_has_its_numbers():
    network = toys.chain(lambda: [nn.Conv2d(3, 4, 3)], input_size=24, **toys.PLAIN)
    photo = toys.image(37, 52)
    knobs, rate = {"iterations": 4, "octaves": 3, "scale": 1.4, "jitter": 5}, 1.5 / 255
    pixels = photo[0].double().numpy()
    image, detail = InNumpy(network).dream(pixels, seed=7, rate=rate, **knobs)
    last = d.dream(network, photo, "conv1", recipe=d.DreamRecipe(**knobs), seed=7)
    assert image.shape == (3, 37, 52)
    np.testing.assert_allclose(last.image[0].numpy(), image, atol=1e-5)
    np.testing.assert_allclose(last.detail[0].numpy(), detail, atol=1e-5)

    assert d.DreamRecipe("2015", 10, 4, 1.4, 32, Normalized(1.5 / 255)) == d.CLASSIC


@pytest.mark.parametrize("size", [(320, 480), (575, 1024), (37, 52), (224, 224)])
def test_octaves_have_the_sizes_that_scipy_gives(size):
    row, column = np.zeros((1, size[0])), np.zeros((1, size[1]))
    expected = [size]
    for _ in range(3):
        row, column = (scipy.ndimage.zoom(one, (1, 1 / 1.4), order=1) for one in (row, column))
        expected.append((row.shape[1], column.shape[1]))
    assert d.octave_sizes(size) == tuple(expected[::-1])
    assert d.octave_sizes(size, 1) == (size,)


@pytest.mark.parametrize("size", [(21, 40), (40, 21), (9, 9), (1, 5)])
def test_resizing_is_scipys_zoom_of_order_one(size):
    image = toys.image(17, 30) - 0.5  # detail lies on both sides of zero
    factors = (1, size[0] / 17, size[1] / 30)
    expected = scipy.ndimage.zoom(image[0].double().numpy(), factors, order=1)
    np.testing.assert_allclose(d.resized(image, size)[0].numpy(), expected, atol=1e-6)
    same = d.resized(image, (17, 30))
    assert torch.equal(same, image)
    assert same.data_ptr() != image.data_ptr()


def test_zooming_is_the_affine_transform_of_2015():
    image, factors, start = toys.image(30, 41), (1, 0.95, 0.95), (0, 30 * 0.025, 41 * 0.025)
    pixels = image[0].double().numpy()
    expected = scipy.ndimage.affine_transform(pixels, factors, start, order=1)
    np.testing.assert_allclose(d.zoom(image, 0.05)[0].numpy(), expected, atol=1e-6)
    assert torch.equal(d.zoom(image, 0), image)


def test_a_constant_picture_without_gradient_stays_as_it_is():
    image = torch.full((1, 3, 30, 40), 0.5)
    for recipe in (SHORT, replace(SHORT, optimizer=d.LaplacianNormalized())):
        assert torch.equal(d.dream(silent(), image, "relu1", recipe=recipe).image, image)


def test_frames_tell_where_the_dream_is():
    network, image = deep(), toys.image(60, 80)
    frames = list(d.dream.frames(network, image, "conv2", recipe=SHORT))
    places = [(frame.octave, frame.step) for frame in frames]
    assert places == [(1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert torch.equal(frames[0].image, image)
    assert frames[0].progress == 0
    assert frames[-1].progress == 1
    assert [frame.size for frame in frames] == [(50, 67)] * 3 + [(60, 80)] * 2
    shares = [frame.progress for frame in frames]
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx(50 * 67 / (50 * 67 + 60 * 80))
    firsts = [frame.first_value for frame in frames]
    assert firsts == [frames[0].value] * 3 + [frames[3].value] * 2
    assert firsts[0] != firsts[3]
    for frame in frames:
        assert frame.image.shape == image.shape
        assert frame.detail.shape[2:] == frame.size
    whole = (image + d.resized(frames[2].detail, (60, 80))).clamp(0, 1)
    assert torch.equal(frames[2].image, whole)
    assert torch.equal(frames[-1].detail, frames[-1].image - image)
    other = d.dream(network, image, "conv2", recipe=SHORT, seed=1)
    assert not torch.equal(frames[-1].image, other.image)
    settings = json.loads(json.dumps(frames[-1].settings))
    assert settings["recipe"]["octaves"] == 2
    assert settings["recipe"]["optimizer"]["kind"] == "Normalized"
    assert settings["objective"] == {"kind": "Energy", "layer": "conv2"}


def test_detail_is_there_from_the_beginning():
    network, image = deep(), toys.image(60, 80)
    detail = 0.1 * torch.randn(1, 3, 60, 80, generator=torch.Generator().manual_seed(1))
    recipe = replace(SHORT, octaves=1)
    first = next(d.dream.frames(network, image, "conv2", recipe=recipe, detail=detail))
    assert torch.equal(first.image, (image + detail).clamp(0, 1))
    smaller = next(d.dream.frames(network, image, "conv2", recipe=SHORT, detail=detail))
    expected = d.resized(image, (50, 67)) + d.resized(detail, (50, 67))
    torch.testing.assert_close(d.resized(image, (50, 67)) + smaller.detail, expected.clamp(0, 1))


def test_several_layers_and_weights_are_sums():
    network, image = deep(), toys.image(60, 80)

    def value(objective) -> float:
        """Of the first frame, which is the picture itself."""
        recipe = replace(SHORT, octaves=1, jitter=0)
        return float(next(d.dream.frames(network, image, objective, recipe=recipe)).value)

    one, two = value("conv1"), value("conv2")
    assert one == pytest.approx(float(value_and_gradient(network, Energy("conv1"), image)[0]))
    assert value(["conv1"]) == one
    assert value(["conv1", "conv2"]) == pytest.approx(one + two, rel=1e-5)
    weighted = value({"conv1": 2.0, "conv2": 0.5})
    assert weighted == pytest.approx(2 * one + 0.5 * two, rel=1e-5)


def test_balanced_layers_pull_equally():
    network, image = networks.load(), toys.image(96, 80)
    weights = d.balanced_weights(network, image, ["fire3", "fire8"])
    for layer, weight in weights.items():
        _, gradient = value_and_gradient(network, weight * Energy(layer), image)
        assert float(gradient.abs().mean()) == pytest.approx(1.0, rel=1e-4), layer
    assert weights["fire8"] != pytest.approx(weights["fire3"], rel=0.5)


def test_a_guide_gives_its_best_feature_to_each_position_also_in_parts(monkeypatch):
    network, image, guide = deep(), toys.image(40, 56), toys.image(33, 20, seed=5)
    objective = d.Guided.by(network, "conv2", guide).bound(network)
    maps = read(network, ["conv2"], image)["conv2"].requires_grad_(True)
    (term,) = objective.terms({"conv2": maps}).values()
    (gradient,) = torch.autograd.grad(term.value.sum(), maps)
    # the 2015 notebook: A = x.T.dot(y); diff = y[:, A.argmax(1)]
    channels = maps.shape[1]
    x = maps.detach()[0].reshape(channels, -1).numpy()
    y = read(network, ["conv2"], guide)["conv2"][0].reshape(channels, -1).numpy()
    products = x.T.dot(y)
    expected = y[:, products.argmax(1)]
    np.testing.assert_allclose(gradient[0].reshape(channels, -1).numpy(), expected, rtol=1e-5)
    assert float(term.value.detach()) == pytest.approx(float(products.max(1).sum()), rel=1e-4)
    monkeypatch.setattr("labsupport.methods.dream.objectives._PRODUCTS", 1)
    (part,) = objective.terms({"conv2": maps}).values()
    assert torch.equal(part.value, term.value)


def test_bands_add_up_make_every_frequency_count_and_move_by_the_rate():
    fine = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    coarse = torch.sin(torch.arange(64) / 10).view(1, 1, 1, 64)
    gradient = Gradient(100 * fine + coarse, torch.zeros(2), 0.0)
    parts = laplacian_pyramid(gradient.values, 4)
    assert len(parts) == 4
    torch.testing.assert_close(torch.stack(parts).sum(0), gradient.values)
    rough = [float(one.diff().square().mean() / one.var()) for one in parts]
    assert rough == sorted(rough, reverse=True)
    start = torch.full((2, 3, 64, 64), 0.5)
    even, plain = (
        rule.step(start, gradient, {})[0] - start
        for rule in (d.LaplacianNormalized(0.01), d.LaplacianNormalized(0.01, levels=1))
    )
    for moved in (even, plain):
        torch.testing.assert_close(moved.abs().mean((1, 2, 3)), torch.full((2,), 0.01))
    expected = 0.01 * gradient.values / gradient.values.abs().mean((1, 2, 3), True)
    torch.testing.assert_close(plain, expected)
    along = [float((one * coarse).mean()) / float(one.std()) for one in (even, plain)]
    assert along[0] > 4 * abs(along[1])


def test_in_bands_no_colour_burns_out_at_an_early_layer(squeezenet):
    """Steps along the bands alone would clip a quarter of all values here, and double the colour
    that the photograph has."""
    photo = images.resize(images.sample("china"), (107, 160))
    dreamed = d.dream(squeezenet, photo, "fire2", recipe=d.VIVID).image
    clipped = ((dreamed < 0.004) | (dreamed > 0.996)).float().mean()
    colour = [float((one.amax(1) - one.amin(1)).mean()) for one in (photo, dreamed)]
    assert clipped < 0.05
    assert colour[1] < 2.2 * colour[0]


def value_and_gradient(network, objective, image):
    """Value and gradient of an objective."""
    moving = image.clone().requires_grad_(True)
    terms, _ = objective.bound(network).evaluate(network, moving)
    value = torch.stack([term.weight * term.value for term in terms.values()]).sum(0)
    (gradient,) = torch.autograd.grad(value.sum(), moving)
    return value.detach(), gradient


@pytest.mark.parametrize("size", [(100, 150), (97, 61), (33, 130)])
@pytest.mark.parametrize("kind", ["conv1", "conv3", "weighed layers", "guide"])
def test_tiled_equals_untiled_everywhere(size, kind):
    network, image = deep(), toys.image(*size, count=2)
    objective = {
        "weighed layers": Energy("pool1") + 5.0 * Energy("conv3"),
        "guide": d.Guided.by(network, "conv3", toys.image(50, 40, seed=9)),
    }.get(kind, Energy(kind))
    value, gradient = value_and_gradient(network, objective, image)
    tiled_value, tiled_gradient = value_and_gradient(network, d.Tiled(objective, 32), image)
    torch.testing.assert_close(tiled_value, value, rtol=1e-5, atol=0)
    toys.assert_close_but_for_kinks(tiled_gradient, gradient)


def test_without_a_halo_tiles_are_right_away_from_the_seams():
    network, image = deep(), toys.image(128, 128)
    _, gradient = value_and_gradient(network, Energy("conv2"), image)
    _, rough = value_and_gradient(network, d.Tiled(Energy("conv2"), 64, halo=0), image)
    wrong = (gradient - rough).abs().amax((0, 1)) > 1e-5 * gradient.abs().max()
    seam = torch.zeros(128, dtype=torch.bool)
    seam[64 - 24 : 64 + 24] = True  # conv2 sees 17 pixels
    near = seam[:, None] | seam[None, :]
    assert wrong[near].any()
    assert not wrong[~near].any()


def test_a_tiled_dream_is_the_dream(monkeypatch):
    network, image = deep(), toys.image(90, 120)
    plain = d.dream(network, image, "conv2", recipe=SHORT).image
    noting = mock.Mock(wraps=read)
    monkeypatch.setattr("labsupport.methods.dream.objectives.read", noting)
    tiled = d.dream(network, image, "conv2", recipe=replace(SHORT, tile=48)).image
    torch.testing.assert_close(tiled, plain, rtol=0, atol=1e-5)
    assert max(call.args[2][0, 0].numel() for call in noting.call_args_list) < 90 * 120 / 2
    count = noting.call_count
    d.dream(network, image, "conv2", recipe=replace(SHORT, tile=200))
    assert noting.call_count == count  # a picture that fits into a tile is computed as ever


def test_feedback_tells_every_step_of_one_octave():
    network, image = networks.load(), toys.image(96, 96)
    rows = d.feedback(network, image, "fire8", steps=4, seed=2)
    assert rows.progress == 1
    recipe = replace(d.CLASSIC, octaves=1, iterations=4)
    frames = list(d.dream.frames(network, image, "fire8", recipe=recipe, seed=2))
    assert torch.equal(rows.images, torch.cat([frame.image for frame in frames]))
    assert float(rows.values[0]) == 1
    assert float(rows.values[-1]) > 1
    for row, frame in zip(rows.probabilities, frames, strict=True):
        torch.testing.assert_close(row[None], network(frame.image).softmax(1))
    assert rows.last_class == int(network(frames[-1].image).argmax())


def test_a_zoom_film_dreams_zooms_and_dreams_and_can_be_watched_between_any_two_steps():
    network, image = deep(), toys.image(50, 64)
    knobs = {"count": 3, "share": 0.1, "recipe": SHORT, "seed": 4}
    *_, last = frames = list(d.zoom_film.frames(network, image, "conv2", **knobs))
    assert last.progress == 1
    assert [len(frame.images) for frame in frames] == [0] * 4 + [1] * 5 + [2] * 5 + [3]
    shares = [frame.progress for frame in frames]
    assert shares == sorted(shares)
    assert last.count == 3
    one = d.dream(network, image, "conv2", recipe=SHORT, seed=4).image
    two = d.dream(network, d.zoom(one, 0.1).clamp(0, 1), "conv2", recipe=SHORT, seed=104).image
    assert torch.equal(last.images[0], one)
    assert torch.equal(last.images[1], two)
    assert last.settings["zoom"] == 0.1
    json.dumps(last.settings)


def test_a_film_carries_its_detail_on():
    network = deep()
    pictures = torch.cat([toys.image(50, 64), toys.image(50, 64, seed=1)])
    last = d.dream_film(network, pictures, "conv2", carry=0.5, recipe=SHORT)
    one = d.dream(network, pictures[:1], "conv2", recipe=SHORT).image
    kept = 0.5 * (one - pictures[:1])
    two = d.dream(network, pictures[1:], "conv2", recipe=SHORT, detail=kept).image
    assert torch.equal(torch.cat(last.images), torch.cat([one, two]))
    anew = d.dream_film(network, pictures, "conv2", carry=0, recipe=SHORT)
    assert torch.equal(anew.images[1], d.dream(network, pictures[1:], "conv2", recipe=SHORT).image)


def test_what_cannot_work_is_refused_at_once():
    network, image, nine = deep(), toys.image(90, 120), toys.image(9)
    tiled = {"recipe": replace(SHORT, tile=48)}
    steep, alone = replace(d.CLASSIC, octaves=6), Gradient(torch.zeros(1), torch.zeros(1), 0)
    dream, film, two = d.dream.frames, d.zoom_film.frames, toys.image(60, count=2)
    toys.assert_refused(
        ("UnknownLayer: .*nearest", dream, network, image, "conv9"),
        ("UnknownLayer: .*nearest", dream, network, image, ["conv1", "nothing"]),
        ("no layer", dream, network, image, []),
        ("rows of 8 numbers", dream, network, image, d.Guided("conv2", torch.zeros(4, 3))),
        ("whole picture at once", dream, network, image, "7", tiled),
        ("no sum over positions", dream, network, image, TargetValue(("conv1", 0)), tiled),
        ("16 pixels", dream, network, image, "conv1", {"recipe": replace(SHORT, tile=3)}),
        ("fewer octaves", dream, networks.load(), two[:1], "fire6", {"recipe": steep}),
        *(
            (f"Bad.*{words}", dream, network, image, "conv1", {"detail": detail})
            for words, detail in (
                ("detail", toys.image(9, count=3)),
                ("detail", nine[:, :1]),
                ("image", nine[0]),
                ("NaN", nine * math.nan),
            )
        ),
        ("BadImage: .*one image", d.feedback.frames, network, two, "conv1"),
        ("BadImage: .*one image", film, network, two, "conv1"),
        ("one picture", film, network, image, "conv1", {"count": 0}),
        ("zoom", film, network, image, "conv1", {"share": 1.0}),
        ("carry", d.dream_film.frames, network, image, "conv1", {"carry": 2}),
        ("1 iteration or more", d.DreamRecipe, {"iterations": 0}),
        ("1 octave", d.DreamRecipe, {"octaves": 0}),
        ("scale above 1", d.DreamRecipe, {"scale": 1.0}),
        ("Jitter: pixels", d.DreamRecipe, {"jitter": -1}),
        ("no positions", d.Guided.by, network, network.layers[-1].name, image),
        ("silent", d.balanced_weights, silent(), toys.image(24), ["relu1"]),
        ("levels", d.LaplacianNormalized, {"levels": 0}),
        ("Pixels", d.LaplacianNormalized().step, torch.zeros(1, 3, 4, 3, 2), alone, None),
        *(
            ("a size is", method, *given, size)
            for size in ((20,), (20, 30, 3), (-1, 30), (20, 0), 20, (20.0, 30.0))
            for method, *given in ((d.octave_sizes,), (d.resized, image))
        ),
        *(
            ("BadImage", d.resized, spoilt, (10, 10))
            for spoilt in (None, image[0], image[:0], (image * 255).byte(), image * math.nan)
        ),
    )
