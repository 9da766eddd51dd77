"""Style transfer: the losses by hand, what leaves them as they are, and the guards."""

import dataclasses
import json
import math

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg

from labsupport.core import device as devices
from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadImage, BadSetting, UnknownLayer
from labsupport.methods import style as s
from labsupport.methods.optimize import LBFGS, Adam, Plain, gram

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (24, 30)


@pytest.fixture(scope="module")
def tiny():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        module = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip
    return networks.wrap(module, input_size=24)


@pytest.fixture(scope="module")
def content():
    return toys.image(*SIZE, seed=1)


@pytest.fixture(scope="module")
def painted():
    return toys.image(20, 36, seed=2)


FEW = s.StyleRecipe(
    content_layers={"4": 1.0},
    style_layers={"1": 1.0, "4": 2.0},
    beta=1.0,
    tv=0.5,
    optimizer=Adam(0.03, "cosine"),
    steps=6,
)


# The Gram matrix and the losses


def test_the_backward_pass_of_a_gram_matrix_is_its_derivative():
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gram, (maps,))
    assert torch.autograd.gradgradcheck(gram, (maps,))
    last = maps.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
    assert torch.autograd.gradcheck(gram, (last,))


def test_losses_by_hand(tiny, content, painted):
    maps, goal = (tiny.activations(one, ["1"])["1"][0].flatten(1) for one in (content, painted))
    own, wanted = (one @ one.T / one.numel() for one in (maps, goal))
    by_hand = (own - wanted).square().sum() / wanted.square().sum()
    by_tool = s.style_losses(tiny, content, painted, ["1"])["1"]
    assert torch.allclose(by_tool, by_hand[None], rtol=1e-4)
    other = toys.image(*SIZE, seed=7)
    code = tiny.activations(other, ["1"])["1"][0].flatten(1)
    by_hand = (maps - code).square().sum() / code.square().sum()
    by_tool = s.content_losses(tiny, content, other, ["1"])["1"]
    assert torch.allclose(by_tool, by_hand[None], rtol=1e-4)


def test_a_picture_is_its_own_content_and_style(tiny, content):
    for measured in (s.style_losses, s.content_losses):
        losses = measured(tiny, torch.cat([content, 1 - content]), content, ["1", "4"])
        assert set(losses) == {"1", "4"}
        for own, other in losses.values():
            assert own < 1e-8 < 1e-3 < other


def test_shuffled_positions_leave_the_style_and_change_the_content():
    # 1 x 1 filters: shuffling the pixels shuffles the positions of every map
    module = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = networks.wrap(module, input_size=16)
    image = toys.image(16, 16, seed=3)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    shuffled = image.flatten(2)[:, :, order].view_as(image)
    assert float(s.style_losses(network, shuffled, image, ["1"])["1"]) < 1e-8
    assert float(s.content_losses(network, shuffled, image, ["1"])["1"]) > 0.01


# Painting


def test_one_plain_step_by_hand(tiny, content, painted):
    recipe = dataclasses.replace(FEW, alpha=0.7, beta=3.0, tv=0.4, optimizer=Plain(0.01))
    moving = content.clone().requires_grad_(True)
    part = tiny.part(tuple(tiny.node(layer) for layer in ("1", "4")))
    shown = {"own": moving, "content": content, "style": painted}
    codes = {name: part(image) for name, image in shown.items()}
    apart = codes["own"][1] - codes["content"][1].detach()
    loss = 0.7 * apart.square().sum() / codes["content"][1].square().sum()
    for weight, own, wanted in zip((1, 2), codes["own"], codes["style"], strict=True):
        goal = gram(wanted.detach())
        loss = loss + 3.0 * weight * (gram(own) - goal).square().sum() / goal.square().sum()
    right, down = (moving.diff(dim=3)[:, :, :-1], moving.diff(dim=2)[:, :, :, :-1])
    loss = loss + 0.4 * (right.square() + down.square()).mean()
    loss.backward()
    by_hand = (content - 0.01 * moving.grad).clamp(0, 1)
    first, last = s.stylize.frames(tiny, content, painted, recipe=recipe, steps=1)
    assert math.isclose(first.loss, float(loss.detach()), rel_tol=1e-4)
    assert set(first.losses) == {"content relu2", "style relu1", "style relu2", "total variation"}
    assert torch.allclose(last.image, by_hand, atol=1e-5)
    assert not torch.allclose(last.image, content, atol=1e-5)


@pytest.mark.parametrize("step", [Adam(0.02), LBFGS(0.01)], ids=["Adam", "L-BFGS"])
@pytest.mark.parametrize("start", [*s.STARTS, "an image"])
def test_the_loss_falls_from_every_start(tiny, content, painted, step, start):
    begin = toys.image(*SIZE, seed=9) if start == "an image" else start
    recipe = dataclasses.replace(FEW, optimizer=step)
    frames = list(s.stylize.frames(tiny, content, painted, recipe=recipe, start=begin, steps=15))
    assert [one.step for one in frames] == list(range(16))
    assert frames[-1].loss < 0.8 * frames[0].loss
    assert frames[-1].image.shape == content.shape
    images.check(frames[-1].image)


def test_starts_are_what_they_say(tiny, content, painted):
    def begun(start, **settings):
        return next(s.stylize.frames(tiny, content, painted, recipe=FEW, start=start, **settings))

    assert torch.equal(begun("content").image, content)
    assert begun("content").losses["content relu2"] < 1e-9
    assert float(begun("grey").image.std()) == 0
    assert 0.05 < float(begun("noise").image.std()) < 0.3
    assert not torch.equal(begun("noise").image, begun("noise", seed=1).image)
    middle = images.resize(painted, (24, 43), crop=SIZE)
    assert torch.allclose(begun("style").image, middle)


def test_a_painting_goes_on_where_it_stopped(tiny, content, painted):
    whole = s.stylize(tiny, content, painted, recipe=FEW, steps=6)
    for frame in s.stylize.frames(tiny, content, painted, recipe=FEW, steps=6):
        if frame.step == 3:
            break
    again = s.stylize(tiny, content, painted, recipe=FEW, start=frame, steps=6)
    assert torch.equal(whole.image, again.image)
    assert again.settings["start"] == "step 3 of another run"


def test_two_styles_mixed_pull_to_their_mean(tiny, content, painted):
    other = toys.image(18, 18, seed=5)
    mixed = dataclasses.replace(FEW, content_layers={}, mix=(3.0, 1.0), tv=0.0)
    moving = content.clone().requires_grad_(True)
    codes = [tiny.up_to("1")(one) for one in (moving, painted, other)]
    own, one, two = (gram(code) for code in codes)
    apart = 0.75 * (own - one.detach()).square().sum() + 0.25 * (own - two.detach()).square().sum()
    (summed,) = torch.autograd.grad(apart, moving)
    only = dataclasses.replace(mixed, style_layers={"1": 1.0}, optimizer=Plain(0.05))
    first, last = s.stylize.frames(tiny, content, [painted, other], recipe=only, steps=1)
    strength = (0.75 * one + 0.25 * two).square().sum()
    by_hand = (content - 0.05 * summed / strength).clamp(0, 1)
    assert torch.allclose(last.image, by_hand, atol=1e-5)
    alone = dataclasses.replace(only, mix=(1.0, 0.0))
    pure = dataclasses.replace(only, mix=())
    ends = [s.stylize(tiny, content, pair, recipe=how, steps=2).image
            for pair, how in (([painted, other], alone), (painted, pure))]  # fmt: skip
    assert torch.allclose(*ends, atol=1e-6)
    assert first.step == 0


def test_halves_of_the_loss_alone(tiny, painted):
    smooth = F.interpolate(toys.image(5, 6), SIZE, mode="bilinear")
    kept = s.reconstruct_content(tiny, smooth, "1", steps=80)
    assert kept.losses["content relu1"] < 0.05
    assert not any(name.startswith("style") for name in kept.losses)
    texture = s.reconstruct_style(tiny, painted, ["1"], size=(16, 28), steps=60)
    assert texture.image.shape == (1, 3, 16, 28)
    assert texture.losses["style relu1"] < 0.05
    assert s.reconstruct_style(tiny, painted, ["1"], steps=1).image.shape == painted.shape


def test_a_picture_says_how_it_was_made(tiny, content, painted):
    last = s.stylize(tiny, content, painted, recipe=FEW, steps=7)
    assert last.progress == 1
    settings = json.loads(json.dumps(last.settings))
    assert settings["recipe"]["style_layers"] == {"1": 1.0, "4": 2.0}
    assert settings["recipe"]["optimizer"]["kind"] == "Adam"
    assert (settings["start"], settings["steps"], settings["seed"]) == ("content", 7, [0])


# Colours


def test_luminance_and_recolouring_by_hand():
    picture = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    bright = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    assert torch.allclose(s.luminance(picture), torch.full((1, 3, 1, 1), bright))
    grey = torch.full((1, 3, 1, 1), 0.5)
    expected = 0.5 + torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1) - bright
    assert torch.allclose(s.recolour(grey, picture), expected, atol=1e-6)
    assert torch.allclose(s.recolour(picture, picture), picture, atol=1e-6)


def test_recolouring_keeps_the_luminance_exactly_and_the_colours_direction(content):
    picture = toys.image(*SIZE, seed=12)
    kept = s.recolour(picture, content)
    images.check(kept)
    assert torch.allclose(s.luminance(kept), s.luminance(picture), atol=1e-5)
    ours, theirs = kept - s.luminance(kept), content - s.luminance(content)
    crossed = torch.linalg.cross(ours, theirs, dim=1)
    assert float(crossed.abs().max()) < 1e-5
    assert float((ours * theirs).sum(1).min()) >= -1e-6


def test_matched_colours_have_the_references_mean_and_covariance():
    random = torch.Generator().manual_seed(6)
    mixing = torch.tensor([[0.10, 0.02, 0.0], [0.0, 0.06, 0.03], [0.01, 0.0, 0.05]])
    image = 0.5 + torch.einsum("kc,nchw->nkhw", mixing, torch.rand(1, 3, 20, 30, generator=random))
    reference = 0.4 + 0.1 * torch.rand(1, 3, 17, 9, generator=random)
    matched = s.match_colours(image, reference)[0].flatten(1)
    wanted = reference[0].flatten(1)
    assert torch.allclose(matched.mean(1), wanted.mean(1), atol=1e-4)
    assert torch.allclose(torch.cov(matched), torch.cov(wanted), atol=1e-5)
    assert torch.allclose(s.match_colours(image, image), image, atol=1e-5)


def test_grey_pictures_can_be_matched_too(content):
    grey = s.luminance(content)
    assert bool(s.match_colours(grey, content).isfinite().all())
    assert torch.allclose(
        s.match_colours(content, grey).std(1).mean(), torch.tensor(0.0), atol=0.02
    )


def test_kept_colours_are_the_contents(tiny, content, painted):
    kept = dataclasses.replace(FEW, colours="luminance")
    last = s.stylize(tiny, content, painted, recipe=kept, steps=4)
    assert torch.allclose(last.image, s.recolour(last.frame.image, content), atol=1e-6)
    first = next(s.stylize.frames(tiny, content, painted, recipe=kept))
    grey = s.luminance(content)
    assert torch.allclose(first.frame.image, grey, atol=1e-6)
    goal = s.match_colours(s.luminance(painted), grey)
    by_hand = s.style_losses(tiny, grey, goal, ["1"])["1"]
    assert math.isclose(first.losses["style relu1"], float(by_hand), rel_tol=1e-3)
    matched = dataclasses.replace(FEW, colours="matched")
    first = next(s.stylize.frames(tiny, content, painted, recipe=matched))
    by_hand = s.style_losses(tiny, content, s.match_colours(painted, content), ["1"])["1"]
    assert math.isclose(first.losses["style relu1"], float(by_hand), rel_tol=1e-4)


# Average pooling


def test_average_pooling_is_the_same_network_with_other_pools(tiny, content):
    before = [str(node.format_node()) for node in tiny.graph.graph.nodes]
    averaging = s.with_average_pooling(tiny)
    maps = F.avg_pool2d(tiny.activations(content, ["1"])["1"], 3, 2, ceil_mode=True,
                        count_include_pad=False)  # fmt: skip
    assert torch.allclose(averaging.activations(content, ["2"])["2"], maps, atol=1e-6)
    assert [layer.name for layer in averaging.layers] == [layer.name for layer in tiny.layers]
    assert {layer.kind for layer in averaging.layers} & {"max_pool", "avg_pool"} == {"avg_pool"}
    assert before == [str(node.format_node()) for node in tiny.graph.graph.nodes]
    assert s.with_average_pooling(tiny) is averaging


class VGG(nn.Sequential):
    """VGG-11 with a small classifier."""

    def __init__(self):
        maps = vgg.make_layers(vgg.cfgs["A"])
        super().__init__(maps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))


@pytest.mark.parametrize("title", ["SqueezeNet", "VGG"])
def test_slide_names_stay_with_average_pooling(title):
    network = networks.load() if title == "SqueezeNet" else networks.wrap(toys.seeded(VGG))
    averaging = s.with_average_pooling(network)
    assert [one.title for one in averaging.layers] == [one.title for one in network.layers]


def test_the_border_of_an_average_counts_no_padding():
    padded = nn.Sequential(nn.MaxPool2d(3, 2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = networks.wrap(padded, input_size=8, **toys.PLAIN)
    ones = torch.ones(1, 3, 8, 8)
    means = s.with_average_pooling(network).activations(ones, ["0"])["0"]
    assert torch.allclose(means, torch.ones_like(means))


def test_a_pool_with_gaps_has_no_average():
    gaps = nn.Sequential(nn.MaxPool2d(2, dilation=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = networks.wrap(gaps, input_size=12)
    with pytest.raises(BadSetting, match="dilation"):
        s.with_average_pooling(network)


def test_the_pooling_that_is_asked_for_is_used(tiny, content, painted):
    recipe = dataclasses.replace(FEW, pooling="average", content_layers={})
    first = next(s.stylize.frames(tiny, content, painted, recipe=recipe))
    averaging = s.with_average_pooling(tiny)
    by_hand = s.style_losses(averaging, content, painted, ["4"])["4"]
    assert math.isclose(first.losses["style relu2"], float(by_hand), rel_tol=1e-4)
    assert first.settings["network"] == averaging.name


# Settings


def test_a_setting_for_every_network(tiny):
    assert s.recipe_for(networks.load()) is s.SQUEEZENET
    assert s.recipe_for(networks.wrap(toys.seeded(VGG))) is s.GATYS
    assert list(s.recipe_for(tiny).style_layers) == ["1"]
    flat = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), input_size=4)
    with pytest.raises(BadSetting, match="no layer with a map"):
        s.recipe_for(flat)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colours": "luminnance"}, "'luminance'"),
        ({"pooling": "mean"}, "pooling is one of"),
        ({"alpha": -1.0}, "alpha is 0 or more"),
        ({"beta": math.nan}, "beta is 0 or more"),
        ({"style_layers": {"1": -2.0}}, "the weight of 1"),
        ({"alpha": 0.0, "beta": 0.0}, "nothing is asked for"),
        ({"mix": (1.0, 1.0)}, "2 weights for 1 styles"),
        ({"mix": (0.0,)}, "not all of them 0"),
    ],
)
def test_settings_that_cannot_work(tiny, content, painted, changes, words):
    with pytest.raises(BadSetting, match=words):
        s.stylize.frames(tiny, content, painted, recipe=dataclasses.replace(FEW, **changes))


def test_what_cannot_be_painted(tiny, content, painted):
    unknown = dataclasses.replace(FEW, style_layers={"fire99": 1.0})
    pair = torch.cat([content, content])
    for error, words, image, style, how in (
        (BadImage, "lies in", content * 2, painted, {}),
        (BadSetting, "one picture at a time", pair, painted, {}),
        (BadSetting, "there is no style", content, (), {}),
        (UnknownLayer, "fire99", content, painted, {"recipe": unknown}),
        (BadSetting, "no start", content, painted, {"start": "contents"}),
    ):
        with pytest.raises(error, match=words):
            s.stylize.frames(tiny, image, style, **{"recipe": FEW, **how})
    with pytest.raises(BadSetting, match="both need one size"):
        s.recolour(content, painted)


def test_one_style_one_content_one_reference(tiny, content, painted):
    pair = torch.cat([content, 1 - content])
    for measured in (s.content_losses, s.style_losses):
        with pytest.raises(BadImage, match="one image at a time"):
            measured(tiny, content, pair, ["1"])
    for image, reference in ((pair, content), (content, pair)):
        with pytest.raises(BadImage, match="one image at a time"):
            s.match_colours(image, reference)
    with pytest.raises(BadImage, match="one for each picture"):
        s.recolour(torch.cat([pair, content]), pair)
    both = s.recolour(pair, content)
    assert torch.equal(both[1:], s.recolour(pair[1:], content))


@pytest.mark.parametrize("size", [0, (0, 9), (-3, 9), (9,), "large"])
def test_a_texture_needs_a_picture_and_a_size(tiny, painted, size):
    with pytest.raises(BadImage):
        s.reconstruct_style(tiny, painted.flatten(), ["1"])
    with pytest.raises(BadSetting, match="a size is"):
        s.reconstruct_style(tiny, painted, ["1"], size=size)


def test_a_style_that_a_layer_does_not_see_is_refused(content):
    blind = nn.Conv2d(3, 2, 1)
    nn.init.constant_(blind.bias, -100.0)
    module = nn.Sequential(blind, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = networks.wrap(module, input_size=8)
    recipe = s.StyleRecipe(content_layers={}, style_layers={"1": 1.0})
    with pytest.raises(BadSetting, match="silent at 1"):
        s.stylize.frames(network, content, content, recipe=recipe)


# Guards


def test_what_is_no_number_any_more_is_said(tiny, content, painted):
    recipe = dataclasses.replace(FEW, tv=1e38, optimizer=Plain(1.0))
    with pytest.raises(BadSetting, match="no number any more"):
        s.stylize(tiny, toys.image(*SIZE, seed=3), painted, recipe=recipe, start="noise", steps=3)


def test_a_picture_of_one_colour_is_said(tiny, content):
    black = torch.zeros_like(content)
    recipe = dataclasses.replace(FEW, content_layers={}, tv=50.0)
    with pytest.raises(BadSetting, match=r"step 6: .* a single colour.*tv=0.5 instead of 50"):
        s.stylize(tiny, content, black, recipe=recipe, start=black)
    first = next(s.stylize.frames(tiny, content, black, recipe=recipe, start="grey"))
    assert first.step == 0  # it may begin with one


@pytest.mark.parametrize("step", [Adam(0.03), LBFGS(0.02)], ids=["Adam", "L-BFGS"])
def test_heavy_total_variation_gives_no_black_picture(tiny, content, painted, step):
    recipe = dataclasses.replace(FEW, tv=1e4, optimizer=step)
    last = s.stylize(tiny, content, painted, recipe=recipe, steps=30)
    assert 0.2 < float(last.image.mean()) < 0.8


def test_more_memory_for_more_pixels_and_deeper_layers():
    network = networks.load()
    shallow, deep = (s.memory_needed(network, [one], (256, 256)) for one in ("relu1", "fire5"))
    assert shallow < deep
    double = s.memory_needed(network, ["fire5"], (512, 512))
    assert 3.8 < double / deep < 4.2


def test_the_largest_size_that_fits():
    network = networks.load()
    size, layers = (3000, 2000), ["fire5"]
    free = s.memory_needed(network, layers, (640, 426))
    height, width = s.largest_size(network, layers, size, free)
    assert 600 < height <= 645
    assert abs(height / width - 1.5) < 0.01
    assert s.memory_needed(network, layers, (height, width)) <= free
    assert s.largest_size(network, layers, (64, 48), free) == (64, 48)
    with pytest.raises(BadSetting, match="too little for any picture"):
        s.largest_size(network, layers, size, 100)
    with pytest.raises(BadSetting, match="0 or more, not -1"):
        s.largest_size(network, layers, size, -1)


def test_a_memory_without_room_for_one_pixel_ends_the_search():
    pointwise = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = networks.wrap(pointwise, input_size=8)
    for free in (0, 1):
        with pytest.raises(BadSetting, match="too little for any picture"):
            s.largest_size(network, ["0"], (30, 20), free)


def test_a_picture_that_does_not_fit_is_refused_with_the_largest_that_does(monkeypatch):
    network = networks.load()
    layers = s.SQUEEZENET.layers
    limit = s.memory_needed(network, layers, (300, 400))
    monkeypatch.setattr(devices, "free_memory", lambda _: limit)
    photo, small = toys.image(600, 800, seed=1), toys.image(64, 64, seed=2)
    with pytest.raises(BadSetting, match="The largest that fits is") as refused:
        s.stylize.frames(network, photo, small)
    height, width = s.largest_size(network, layers, (600, 800), limit)
    assert 290 < height <= 300
    assert f"images.resize(content, ({height}, {width}))" in str(refused.value)
    fitting = images.resize(photo, (height, width))
    assert next(s.stylize.frames(network, fitting, small)).image.shape == fitting.shape


def test_memory_that_runs_out_on_the_way_is_said_too(tiny, content, painted, monkeypatch):
    monkeypatch.setattr(devices, "free_memory", lambda _: None)

    real = F.conv2d

    def full(given, *rest, **named):
        if given.device.type == "meta":
            return real(given, *rest, **named)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: out of memory")

    frames = s.stylize.frames(tiny, toys.image(96, 120), painted, recipe=FEW)
    monkeypatch.setattr(F, "conv2d", full)
    monkeypatch.setattr(torch, "conv2d", full)
    with pytest.raises(BadSetting, match="The largest that fits is"):
        list(frames)
