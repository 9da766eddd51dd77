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
from labsupport.methods import style as s
from labsupport.methods.optimize import LBFGS, Adam, Plain, gram
from labsupport.methods.style import transfer

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (24, 30)


@pytest.fixture(scope="module")
def tiny():
    def build() -> list[nn.Module]:
        return [
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
            *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        ]

    return toys.chain(build, classes=3, seed=4, input_size=24)


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


def test_the_backward_pass_of_a_gram_matrix_is_its_derivative():
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gram, (maps,))
    assert torch.autograd.gradgradcheck(gram, (maps,))
    last = maps.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
    assert torch.autograd.gradcheck(gram, (last,))


def test_losses_by_hand(tiny, content):
    """Of two pictures at once, one of which is the other's content and style itself."""
    both, other = torch.cat([content, 1 - content]), toys.image(*SIZE, seed=7)
    for goal in (other, content):
        own, wanted = (tiny.activations(one, ["1"])["1"].flatten(2) for one in (both, goal))
        apart = (own - wanted).square().sum((1, 2)) / wanted.square().sum()
        by_tool = s.content_losses(tiny, both, goal, ["1", "4"])
        assert list(by_tool) == ["1", "4"]
        assert torch.allclose(by_tool["1"], apart, rtol=1e-4, atol=1e-8)
        own, wanted = (one @ one.mT / one[0].numel() for one in (own, wanted))
        apart = (own - wanted).square().sum((1, 2)) / wanted.square().sum()
        assert torch.allclose(s.style_losses(tiny, both, goal, ["1"])["1"], apart, rtol=1e-4)


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


def test_a_painting_goes_on_where_it_stopped_and_says_how_it_was_made(tiny, content, painted):
    whole = list(s.stylize.frames(tiny, content, painted, recipe=FEW, steps=6))
    again = s.stylize(tiny, content, painted, recipe=FEW, start=whole[3], steps=6)
    assert torch.equal(whole[-1].image, again.image)
    assert again.settings["start"] == "step 3 of another run"

    last = s.stylize(tiny, content, painted, recipe=FEW, steps=7)
    assert last.progress == 1
    settings = json.loads(json.dumps(last.settings))
    assert settings["recipe"]["style_layers"] == {"1": 1.0, "4": 2.0}
    assert settings["recipe"]["optimizer"]["kind"] == "Adam"
    assert (settings["start"], settings["steps"], settings["seed"]) == ("content", 7, [0])


def test_two_styles_mixed_pull_to_their_mean(tiny, content, painted):
    other = toys.image(18, 18, seed=5)
    mixed = dataclasses.replace(FEW, content_layers={}, mix=(3.0, 1.0), tv=0.0)
    moving = content.clone().requires_grad_(True)
    codes = [tiny.up_to("1")(one) for one in (moving, painted, other)]
    own, one, two = (gram(code) for code in codes)
    apart = 0.75 * (own - one.detach()).square().sum() + 0.25 * (own - two.detach()).square().sum()
    (summed,) = torch.autograd.grad(apart, moving)
    only = dataclasses.replace(mixed, style_layers={"1": 1.0}, optimizer=Plain(0.05))
    last = s.stylize(tiny, content, [painted, other], recipe=only, steps=1)
    strength = (0.75 * one + 0.25 * two).square().sum()
    by_hand = (content - 0.05 * summed / strength).clamp(0, 1)
    assert torch.allclose(last.image, by_hand, atol=1e-5)


def test_halves_of_the_loss_alone(tiny, painted):
    smooth = F.interpolate(toys.image(5, 6), SIZE, mode="bilinear")
    kept = s.reconstruct_content(tiny, smooth, "1", steps=80)
    assert kept.losses["content relu1"] < 0.05
    assert not any(name.startswith("style") for name in kept.losses)
    texture = s.reconstruct_style(tiny, painted, ["1"], size=(16, 28), steps=60)
    assert texture.image.shape == (1, 3, 16, 28)
    assert texture.losses["style relu1"] < 0.05
    assert s.reconstruct_style(tiny, painted, ["1"], steps=1).image.shape == painted.shape


def test_luminance_and_recolouring_by_hand_exactly_and_in_the_colours_direction(content):
    picture = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    bright = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    assert torch.allclose(s.luminance(picture), torch.full((1, 3, 1, 1), bright))
    grey = torch.full((1, 3, 1, 1), 0.5)
    expected = 0.5 + torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1) - bright
    assert torch.allclose(s.recolour(grey, picture), expected, atol=1e-6)
    assert torch.allclose(s.recolour(picture, picture), picture, atol=1e-6)

    picture = toys.image(*SIZE, seed=12)
    kept = s.recolour(picture, content)
    both = s.recolour(torch.cat([content, picture]), content)
    assert torch.equal(both[1:], kept)
    images.check(kept)
    assert torch.allclose(s.luminance(kept), s.luminance(picture), atol=1e-5)
    ours, theirs = kept - s.luminance(kept), content - s.luminance(content)
    crossed = torch.linalg.cross(ours, theirs, dim=1)
    assert float(crossed.abs().max()) < 1e-5
    assert float((ours * theirs).sum(1).min()) >= -1e-6


def test_matched_colours_have_the_references_mean_and_covariance_even_grey_ones(content):
    random = torch.Generator().manual_seed(6)
    mixing = torch.tensor([[0.10, 0.02, 0.0], [0.0, 0.06, 0.03], [0.01, 0.0, 0.05]])
    image = 0.5 + torch.einsum("kc,nchw->nkhw", mixing, torch.rand(1, 3, 20, 30, generator=random))
    reference = 0.4 + 0.1 * torch.rand(1, 3, 17, 9, generator=random)
    matched = s.match_colours(image, reference)[0].flatten(1)
    wanted = reference[0].flatten(1)
    assert torch.allclose(matched.mean(1), wanted.mean(1), atol=1e-4)
    assert torch.allclose(torch.cov(matched), torch.cov(wanted), atol=1e-5)
    assert torch.allclose(s.match_colours(image, image), image, atol=1e-5)

    grey = s.luminance(content)
    assert bool(s.match_colours(grey, content).isfinite().all())
    assert bool(s.match_colours(content[..., :1, :1], content).isfinite().all())
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


def test_average_pooling_is_the_same_network_with_other_pools_and_used_where_asked(
    tiny, content, painted
):
    averaging = s.with_average_pooling(tiny)
    maps = F.avg_pool2d(tiny.activations(content, ["1"])["1"], 3, 2, ceil_mode=True,
                        count_include_pad=False)  # fmt: skip
    assert torch.allclose(averaging.activations(content, ["2"])["2"], maps, atol=1e-6)
    assert [layer.name for layer in averaging.layers] == [layer.name for layer in tiny.layers]
    assert {layer.kind for layer in averaging.layers} & {"max_pool", "avg_pool"} == {"avg_pool"}
    assert s.with_average_pooling(tiny) is averaging
    recipe = dataclasses.replace(FEW, pooling="average", content_layers={})
    first = next(s.stylize.frames(tiny, content, painted, recipe=recipe))
    by_hand = s.style_losses(averaging, content, painted, ["4"])["4"]
    assert math.isclose(first.losses["style relu2"], float(by_hand), rel_tol=1e-4)
    assert first.settings["network"] == averaging.name


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


def test_the_border_of_an_average_counts_no_padding_and_one_with_gaps_is_none():
    padded, gaps = (
        networks.wrap(
            nn.Sequential(pool, nn.AdaptiveAvgPool2d(1), nn.Flatten()), input_size=8, **toys.PLAIN
        )
        for pool in (nn.MaxPool2d(3, 2, padding=1), nn.MaxPool2d(2, dilation=2))
    )
    ones = torch.ones(1, 3, 8, 8)
    means = s.with_average_pooling(padded).activations(ones, ["0"])["0"]
    assert torch.allclose(means, torch.ones_like(means))
    toys.assert_refused(("dilation", s.with_average_pooling, gaps))


def test_a_setting_for_every_network(tiny):
    assert s.recipe_for(networks.load()) is s.SQUEEZENET
    assert s.recipe_for(networks.wrap(toys.seeded(VGG))) is s.GATYS
    assert s.recipe_for(networks.load("vgg16")) is s.GATYS
    alexnet = networks.load("alexnet")
    titles = [alexnet.layer(name).title for name in s.recipe_for(alexnet).style_layers]
    assert titles == ["relu1", "relu2", "relu3"]
    assert list(s.recipe_for(tiny).style_layers) == ["1"]
    flat = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), input_size=4)
    toys.assert_refused(("no layer with a map", s.recipe_for, flat))


def test_what_cannot_be_painted_is_refused(tiny, content, painted):
    pair, begin, blind = torch.cat([content, 1 - content]), s.stylize.frames, nn.Conv2d(3, 2, 1)
    nn.init.constant_(blind.bias, -100.0)
    unseeing = toys.chain(lambda: [blind, nn.ReLU()], input_size=8)
    unseen = {"recipe": s.StyleRecipe(content_layers={}, style_layers={"1": 1.0})}
    wild = dataclasses.replace(FEW, tv=1e38, optimizer=Plain(1.0))
    noisy = {"recipe": wild, "start": "noise", "steps": 3}

    def begun_with(**changes):
        return begin(tiny, content, painted, recipe=dataclasses.replace(FEW, **changes))

    toys.assert_refused(
        *(
            (words, begun_with, changes)
            for words, changes in (
                ("'luminance'", {"colours": "luminnance"}),
                ("pooling is one of", {"pooling": "mean"}),
                ("alpha is 0 or more", {"alpha": -1.0}),
                ("beta is 0 or more", {"beta": math.nan}),
                ("the weight of 1", {"style_layers": {"1": -2.0}}),
                ("nothing is asked for", {"alpha": 0.0, "beta": 0.0}),
                ("2 weights for 1 styles", {"mix": (1.0, 1.0)}),
                ("not all of them 0", {"mix": (0.0,)}),
                ("UnknownLayer: .*fire99", {"style_layers": {"fire99": 1.0}}),
            )
        ),
        ("BadImage: .*lies in", begin, tiny, content * 2, painted),
        ("one picture at a time", begin, tiny, pair, painted),
        ("there is no style", begin, tiny, content, ()),
        ("start is one of", begin, tiny, content, painted, {"start": "contents"}),
        ("silent at 1", begin, unseeing, content, content, unseen),
        ("no number any more", s.stylize, tiny, toys.image(*SIZE, seed=3), painted, noisy),
        *(
            ("BadImage: .*one image at a time", measured, tiny, content, pair, ["1"])
            for measured in (s.content_losses, s.style_losses)
        ),
        ("BadImage: .*one image at a time", s.match_colours, pair, content),
        ("BadImage: .*one image at a time", s.match_colours, content, pair),
        ("both need one size", s.recolour, content, painted),
        ("BadImage: .*one for each picture", s.recolour, torch.cat([pair, content]), pair),
        ("BadImage", s.reconstruct_style, tiny, painted.flatten(), ["1"]),
        *(
            ("a size is", s.reconstruct_style, tiny, painted, ["1"], {"size": size})
            for size in (0, (0, 9), (-3, 9), (9,), "large")
        ),
    )


def test_a_picture_of_one_colour_is_said(tiny, content):
    black = torch.zeros_like(content)
    recipe = dataclasses.replace(FEW, content_layers={}, tv=50.0)
    words, settings = r"step 6: .* a single colour.*tv=0.5 instead of 50", {"recipe": recipe}
    toys.assert_refused((words, s.stylize, tiny, content, black, {**settings, "start": black}))
    first = next(s.stylize.frames(tiny, content, black, start="grey", **settings))
    assert first.step == 0  # it may begin with one


@pytest.mark.parametrize("step", [Adam(0.03), LBFGS(0.02)], ids=["Adam", "L-BFGS"])
def test_heavy_total_variation_gives_no_black_picture(tiny, content, painted, step):
    recipe = dataclasses.replace(FEW, tv=1e4, optimizer=step)
    last = s.stylize(tiny, content, painted, recipe=recipe, steps=30)
    assert 0.2 < float(last.image.mean()) < 0.8


def test_more_memory_for_more_pixels_and_deeper_layers_and_the_largest_size_that_fits():
    network = networks.load()
    size, layers = (3000, 2000), ["fire5"]
    shallow, deep = (s.memory_needed(network, [one], (256, 256)) for one in ("relu1", "fire5"))
    assert shallow < deep
    assert 3.8 < s.memory_needed(network, layers, (512, 512)) / deep < 4.2
    free = s.memory_needed(network, layers, (640, 426))
    height, width = s.largest_size(network, layers, size, free)
    assert 600 < height <= 645
    assert abs(height / width - 1.5) < 0.01
    assert s.memory_needed(network, layers, (height, width)) <= free
    assert s.largest_size(network, layers, (64, 48), free) == (64, 48)
    pointwise = toys.chain(lambda: [nn.Conv2d(3, 4, 1)], input_size=8)
    toys.assert_refused(
        ("too little for any picture", s.largest_size, network, layers, size, 100),
        ("0 or more, not -1", s.largest_size, network, layers, size, -1),
        *(
            ("too little for any picture", s.largest_size, pointwise, ["0"], (30, 20), free)
            for free in (0, 1)  # without room for one pixel
        ),
    )


def test_a_picture_that_does_not_fit_is_refused_with_the_largest_that_does(monkeypatch):
    network = networks.load()
    layers = s.SQUEEZENET.layers
    limit = s.memory_needed(network, layers, (300, 400))
    monkeypatch.setattr(devices, "free_memory", lambda _: limit)
    photo, small = toys.image(600, 800, seed=1), toys.image(64, 64, seed=2)
    height, width = s.largest_size(network, layers, (600, 800), limit)
    assert 290 < height <= 300
    words = rf"The largest that fits is.*images.resize\(content, \({height}, {width}\)\)"
    toys.assert_refused((words, s.stylize.frames, network, photo, small))
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
    toys.assert_refused(("The largest that fits is", list, frames))


def test_a_picture_is_looked_at_once_while_it_and_the_layers_stay(
    tiny, content, painted, monkeypatch
):
    """What a panel's next control asks for again is there."""
    asked, look = [], transfer.all_codes_of

    def counting(network, layers, image):
        asked.append(layers)
        return look(network, layers, image)

    monkeypatch.setattr(transfer, "all_codes_of", counting)
    tiny.forget()

    def losses(style, **changes):
        recipe = dataclasses.replace(FEW, steps=1, **changes)
        return s.stylize(tiny, content, style, recipe=recipe).losses

    before = losses(painted)
    assert asked == [("4",), ("1", "4")]
    losses(painted, beta=0.3, tv=1.0)
    assert len(asked) == 2, "other weights need nothing new"
    for other in (1 - painted, painted[:, :, :18]):
        losses(other)
    losses(painted, style_layers={"1": 1.0})
    assert asked[2:] == [("1", "4"), ("1", "4"), ("1",)]
    assert losses(painted) == before, "what is kept is not changed"
    assert len(asked) == 5
