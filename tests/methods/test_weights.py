"""Filters that are drawn, and so known; and projections against autograd's own."""

import math

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.methods import weights as w

RED_GREEN = (1.0, -1.0, 0.0)
GREY = (1.0, 1.0, 1.0)


def gabor(side, orientation, frequency, phase=0.5, *, width=None, length=None, at=(0, 0),
          colour=GREY):  # fmt: skip
    """A drawn Gabor, (1, 3, side, side): pixel by pixel, written anew."""
    width = width or side / 5
    length = length or width
    wave = math.radians(90 - orientation)
    drawn = torch.zeros(1, 3, side, side)
    for row in range(side):
        for column in range(side):
            y, x = row - (side - 1) / 2 - at[0], column - (side - 1) / 2 - at[1]
            u = x * math.cos(wave) + y * math.sin(wave)
            v = y * math.cos(wave) - x * math.sin(wave)
            bell = math.exp(-(u**2) / (2 * width**2) - v**2 / (2 * length**2))
            value = bell * math.cos(2 * math.pi * frequency * u + phase)
            drawn[0, :, row, column] = value * torch.tensor(colour)
    return drawn


def noise(count, *shape, seed=0):
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(seed))


def apart(one: float, other: float) -> float:
    """Degrees between two directions of stripes."""
    return abs((one - other + 90) % 180 - 90)


def linear_network(build, size=24):
    return toys.chain(build, input_size=size, **toys.PLAIN)


def test_the_filters_are_the_layers_own_weights():
    network = networks.load()
    result = w.filters(network)
    module = network.graph.get_submodule("features.0")
    assert torch.equal(result.weights, module.weight.cpu())
    assert result.colour
    assert result.layer == "conv1"
    assert "(0.485, 0.456, 0.406)" in result.words
    result.weights.zero_()
    assert float(module.weight.detach().abs().sum()) > 0


def test_deeper_filters_read_feature_maps():
    network = networks.load("lenet5", weights="random")
    deeper = w.filters(network, "conv2")
    assert deeper.weights.shape == (16, 6, 5, 5)
    assert not deeper.colour
    assert deeper.words == "conv2 multiplies 6 channels of pool1"
    assert not w.filters(network, "conv1").colour  # it reads grey


@pytest.mark.parametrize("side", [7, 11])
@pytest.mark.parametrize("orientation", [0, 20, 45, 90, 110, 160])
@pytest.mark.parametrize("frequency", [0.18, 0.25])
def test_a_drawn_gabor_has_its_orientation_and_frequency(side, orientation, frequency):
    measured = w.measure(gabor(side, orientation, frequency))
    assert apart(float(measured.orientation), orientation) < 3
    assert float(measured.frequency) == pytest.approx(frequency, abs=0.03)


def test_stripes_that_rise_to_the_right_are_at_45_degrees():
    """The convention, by eye: ones on the diagonal from the lower left to the upper right."""
    rising = torch.eye(5).flip(1).expand(1, 3, 5, 5)
    assert float(w.measure(rising).orientation) == pytest.approx(45, abs=0.1)


def test_noise_is_the_spectrum_of_a_plain_transform():
    checkered = (-1.0) ** (torch.arange(5)[:, None] + torch.arange(5))
    some = torch.stack([*noise(3, 2, 5, 5), torch.ones(2, 5, 5), checkered.expand(2, 5, 5)])
    power = torch.fft.fft2(F.pad(some, (0, 59, 0, 59))).abs().square().sum(1)
    steps = torch.fft.fftfreq(64)
    high = (steps[:, None].square() + steps.square()).sqrt() > 0.25
    expected = power[:, high].sum(1) / power.sum((1, 2))
    torch.testing.assert_close(w.measure(some).noise, expected, rtol=0, atol=1e-5)
    assert w.measure(torch.full((1, 3, 2, 2), 2.0)).strength.tolist() == [pytest.approx(48**0.5)]


def test_opponency_is_the_share_that_is_not_grey():
    bell = gabor(7, 0, 0.0, 0.0)[0, 0]
    colours = {GREY: 0.0, RED_GREEN: 1.0, (1.0, 0.0, 0.0): 2 / 3, (2.0, 1.0, 1.0): 1 - 16 / 18}
    for colour, share in colours.items():
        one = (bell * torch.tensor(colour).view(3, 1, 1))[None]
        assert float(w.measure(one).opponency) == pytest.approx(share, abs=1e-5)
    assert float(w.measure(noise(1, 6, 5, 5)).opponency) == 0


def test_scale_and_sign_change_nothing_but_strength():
    some = noise(4, 3, 5, 5)
    one, two = vars(w.measure(some)), vars(w.measure(-7 * some))
    torch.testing.assert_close(two.pop("strength"), 7 * one.pop("strength"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", w.KEYS)
def test_the_order_is_sorted_and_complete(key):
    some = noise(20, 3, 5, 5) * torch.arange(1, 21).view(-1, 1, 1, 1)
    places = w.argsort(some, key)
    assert sorted(places) == list(range(20))
    measured = w.measure(some)
    values = {
        "number": torch.arange(20.0),
        "orientation": measured.orientation,
        "frequency": measured.frequency,
        "colour": measured.opponency,
        "noise": measured.noise,
        "strength": -measured.strength,
    }[key][places]
    assert torch.equal(values, values.sort().values)


def test_planted_dead_and_duplicate_filters_are_found():
    some = noise(12, 3, 5, 5)
    assert (w.dead(some), w.duplicates(some)) == ([], [])
    some[4] *= 0.01
    some[7] = 0.0
    some[9] = 3 * some[2]
    some[11] = -some[0] + 0.02 * some[1]
    assert w.dead(some) == [4, 7]
    assert w.dead(some, share=0.001) == [7]
    pairs = w.duplicates(some)
    assert [(one, two) for one, two, _ in pairs] == [(0, 11), (2, 9)]
    assert pairs[0][2] < -0.99
    assert pairs[1][2] == pytest.approx(1.0)
    some[0], some[11] = 0.001 * some[4], 0.002 * some[4]
    assert [(one, two) for one, two, _ in w.duplicates(some)] == [(2, 9)]  # not of dead ones


@pytest.mark.parametrize(
    ("side", "orientation", "frequency", "settings"),
    [
        (5, 30, 0.25, {}),
        (7, 135, 0.2, {"phase": -1.2, "colour": RED_GREEN}),
        (11, 75, 0.15, {"width": 2.0, "length": 3.1}),
        (11, 5, 0.22, {"at": (1.2, -0.8), "colour": (0.2, -0.5, 1.0)}),
    ],
)
def test_a_drawn_gabor_is_given_back(side, orientation, frequency, settings):
    drawn = gabor(side, orientation, frequency, **settings)
    fit = w.gabor_fit(drawn)
    assert float(fit.error) < 1e-4
    assert apart(float(fit.orientation), orientation) < 1
    assert float(fit.frequency) == pytest.approx(frequency, abs=0.005)
    torch.testing.assert_close(fit.drawn, drawn, rtol=0, atol=0.02)
    if "at" in settings:
        assert (float(fit.row), float(fit.column)) == pytest.approx(settings["at"], abs=0.05)
    if "width" in settings:
        result = (float(fit.width), float(fit.length))
        assert result == pytest.approx((settings["width"], settings["length"]), abs=0.1)


def test_the_error_is_what_the_drawing_misses():
    some = noise(6, 3, 5, 5)
    fit = w.gabor_fit(some)
    missed = (some - fit.drawn).square().sum((1, 2, 3)) / some.square().sum((1, 2, 3))
    torch.testing.assert_close(fit.error, missed, rtol=1e-3, atol=1e-4)
    assert 0.3 < float(fit.error.mean()) < 0.95


def test_a_second_colour_is_an_error():
    """Red upright and blue lying stripes: one Gabor can be right about one of them."""
    upright = gabor(7, 90, 0.25, colour=(1.0, 0.0, 0.0))
    lying = gabor(7, 0, 0.25, colour=(0.0, 0.0, 0.8))
    share = float(lying.square().sum() / (upright + lying).square().sum())
    assert float(w.gabor_fit(upright + lying).error) == pytest.approx(share, abs=0.01)


def impulse_response(network, layer, channel) -> tuple[torch.Tensor, tuple[int, int]]:
    """The gradient of one unit in the middle with respect to the image, cut out, and its place."""
    image = torch.zeros(1, 3, *network.input_size, requires_grad=True)
    maps = network.up_to(layer)(image)
    row, column = maps.shape[2] // 2, maps.shape[3] // 2
    (slope,) = torch.autograd.grad(maps[0, channel, row, column], image)
    seen = slope[0].abs().sum(0)
    rows, columns = seen.sum(1).nonzero().flatten(), seen.sum(0).nonzero().flatten()
    cut = slope[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut, (int(rows[0]), row)


def test_two_convolutions_are_one():
    network = linear_network(
        lambda: [
            nn.Conv2d(3, 5, (5, 3), padding=2, bias=False),
            nn.Conv2d(5, 4, 3, padding=1, bias=False),
        ]
    )
    result = w.effective_filter(network, "conv2", 2)
    expected, _ = impulse_response(network, "conv2", 2)
    assert result.weights.shape == (1, 3, 7, 5)
    torch.testing.assert_close(result.weights, expected, rtol=1e-4, atol=1e-6)
    assert (result.stride, result.padding) == ((1, 1), (3, 3))
    first = w.effective_filter(network, "conv1", 3)
    assert torch.equal(first.weights[0], w.filters(network, "conv1").weights[3])


def test_strides_pools_groups_and_norms_are_followed():
    def build() -> list[nn.Module]:
        return [
            nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
            *(toys.shake(nn.Sequential(nn.BatchNorm2d(4)))[0], nn.AvgPool2d(2)),
            nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2, bias=False),
        ]

    network = linear_network(build, size=48)
    result = w.effective_filter(network, "conv2", 4)
    expected, (first, row) = impulse_response(network, "conv2", 4)
    torch.testing.assert_close(result.weights, expected, rtol=1e-4, atol=1e-6)
    assert result.stride == (4, 4)
    assert row * result.stride[0] - result.padding[0] == first
    assert result.through == ("conv2", "pool1", "norm1 as a factor", "conv1")


def test_a_relu_is_left_out_and_a_max_pool_is_a_mean():
    def pair(*between):
        convolutions = (nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 2, 3, bias=False))
        for number, one in enumerate(convolutions):
            one.weight.data = noise(*one.weight.shape, seed=number)
        return linear_network(lambda: [convolutions[0], *between, convolutions[1]])

    bent = w.effective_filter(pair(nn.ReLU(), nn.MaxPool2d(2)), "conv2", 0)
    plain = w.effective_filter(pair(nn.Identity(), nn.AvgPool2d(2)), "conv2", 0)
    torch.testing.assert_close(bent.weights, plain.weights)
    assert bent.through == ("conv2", "pool1 as a mean", "relu1 left out", "conv1")


def test_what_cannot_work_is_refused():
    network, lenet = networks.load(weights="random"), networks.load("lenet5", weights="random")
    flat = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), input_size=4)
    assert w.effective_filter(network, "fire2/expand3x3", 0).weights.shape[1] == 3
    some = noise(2, 3, 5, 5)
    toys.assert_refused(
        ("branches join", w.effective_filter, network, "fire3/squeeze1x1", 0),
        ("the filters 0 to 63, not 64", w.effective_filter, network, "conv1", 64),
        ("relu1 is no convolution; the nearest ones are conv", w.filters, lenet, "relu1"),
        ("UnknownLayer: .*conv1", w.filters, lenet, "convolution1"),
        ("no convolution", w.filters, flat),
        ("did you mean 'colour'", w.argsort, some, "color"),
        ("filters are", w.measure, some[0]),
        ("filters are", w.measure, some[:0]),
        ("NaN", w.measure, some * math.nan),
    )
