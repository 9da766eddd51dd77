"""The loop of an optimization: peaks that are known, the by-hand loop, stopping and going on."""

import itertools
import json
import math
import threading
from dataclasses import replace
from unittest import mock

import pytest
import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.network import receptive_box
from labsupport.methods import optimize as o
from labsupport.methods.optimize import loop

pytestmark = pytest.mark.usefixtures("one_thread")

BARE = o.Recipe("bare", "grey", o.Pixels(), (), (), o.Plain(1.0), 10)


class Peak(nn.Module):
    """A concave score: minus the weighted squared distance from a picture that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("top", 0.2 + 0.6 * toys.image(6, seed=3))
        self.register_buffer("weights", 0.2 + toys.image(6, seed=4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        apart = (self.weights * (images - self.top) * (images - self.top)).flatten(1)
        return torch.cat([-apart.sum(1, keepdim=True), apart.sum(1, keepdim=True)], 1)


def convnet(bend: type[nn.Module], pool: type[nn.Module]) -> networks.Network:
    def build() -> list[nn.Module]:
        return [
            *(nn.Conv2d(3, 8, 3, stride=2, padding=1), bend()),
            *(nn.Conv2d(8, 6, 3, padding=1), bend(), pool(3, 2)),
            *(nn.Conv2d(6, 5, 3, padding=1), bend()),
        ]

    return toys.chain(build, classes=4, input_size=(40, 32), categories=["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def small():
    return convnet(nn.ReLU, nn.MaxPool2d)


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (o.Plain(0.4), 120),
        (o.Momentum(0.1), 200),
        (o.Adam(0.05, "cosine"), 300),
        (o.Normalized(0.02, (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 3e-4)), 350),
        (o.LBFGS(), 40),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_a_concave_score_ends_on_its_peak(optimizer, steps):
    module = Peak()
    network = networks.wrap(module, categories=["near", "far"], input_size=6, **toys.PLAIN)
    last = o.visualize(network, "near", recipe=replace(BARE, optimizer=optimizer, steps=steps))
    assert float((last.image - module.top).abs().max()) < 2e-3
    assert float(last.score) == pytest.approx(0, abs=1e-4)


def test_the_frames_are_the_loop_by_hand(small):
    image = toys.image(40, 32)
    recipe = replace(BARE, optimizer=o.Plain(0.5), steps=3)
    frames = list(o.visualize.frames(small, "c", recipe=recipe, start=image))
    x = image.clone()
    for frame in frames:
        assert torch.allclose(frame.image, x, atol=1e-6)
        x = x.detach().requires_grad_(True)
        score = small(x)[:, 2]
        assert torch.allclose(frame.score, score.detach(), atol=1e-5)
        (gradient,) = torch.autograd.grad(score.sum(), x)
        x = (x + 0.5 * gradient).clamp(0, 1)
    assert [frame.step for frame in frames] == [0, 1, 2, 3]
    assert frames[-1].progress == 1
    chance = float(small(frames[-1].image).softmax(1)[0, 2])
    assert frames[-1].probability == pytest.approx(chance, abs=1e-6)


@pytest.mark.parametrize("optimizer", [o.Adam, o.Momentum, o.LBFGS, o.Plain, o.Normalized])
@pytest.mark.parametrize("space", [o.Pixels(), o.Fourier(), o.Phase()])
def test_going_on_from_a_frame_is_the_run_without_a_stop(small, optimizer, space):
    transforms = (o.Crop(6), o.Scale(0.9, 1.1), o.Jitter(3))
    recipe = o.Recipe("x", "noise", space, transforms, (), optimizer(), 7)
    whole = list(o.visualize.frames(small, ["a", "b"], recipe=recipe, seed=4))
    rest = list(o.visualize.frames(small, ["a", "b"], recipe=recipe, start=whole[3]))
    assert [frame.step for frame in rest] == [3, 4, 5, 6, 7]
    for one, other in zip(whole[3:], rest, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.score, other.score)
        assert torch.equal(one.mask, other.mask)


def test_a_mask_is_the_sum_of_the_absolute_gradients_on_the_way(small):
    image, recipe = toys.image(40, 32), replace(BARE, optimizer=o.Plain(0.5), steps=3)
    frames = list(o.visualize.frames(small, "c", recipe=recipe, start=image))
    total = torch.zeros(40, 32)
    for frame in frames:
        ordered = total.flatten().sort().values
        high = max(float(ordered[math.ceil(0.85 * total.numel()) - 1]), 1e-12)
        expected = nn.functional.unfold(total[None, None] / high, 9, padding=4).sum(1)
        inside = nn.functional.unfold(torch.ones(1, 1, 40, 32), 9, padding=4).sum(1)
        expected = (expected / inside).view(1, 1, 40, 32).clamp(max=1)
        assert torch.allclose(frame.mask, expected, atol=1e-4)
        moving = frame.image.clone().requires_grad_(True)
        total = total + torch.autograd.grad(small(moving)[0, 2], moving)[0].abs()[0].sum(0)
    assert float(frames[0].mask.max()) == 0
    assert float(frames[-1].mask.max()) > 0.3


def test_a_mask_does_not_depend_on_what_is_moved_and_ends_where_a_neuron_sees_no_more(small):
    image = 0.3 + 0.4 * toys.image(40, 32)
    spaces = (o.Pixels(), o.Fourier())
    masks = [
        o.visualize(
            small, "b", recipe=replace(BARE, parameterization=space), start=image, steps=1
        ).mask
        for space in spaces
    ]
    assert torch.allclose(*masks, atol=1e-3)
    last = o.visualize(small, ("0", 3, (5, 4)), recipe=replace(BARE, start="noise"), steps=2)
    left, top, right, bottom = last.box
    assert last.mask.shape == (1, 1, 40, 32)
    assert float(last.mask[:, :, top:bottom, left:right].min()) > 0
    last.mask[:, :, top:bottom, left:right] = 0
    assert float(last.mask.max()) == 0


def test_maco_is_the_same_from_the_same_seed_and_its_mask_lies_between_0_and_1(small):
    how = {"recipe": o.MACO, "steps": 3}
    one, again = (o.visualize(small, ["a", "d"], seed=2, **how) for _ in range(2))
    other = o.visualize(small, ["a", "d"], seed=3, **how)
    assert torch.equal(one.image, again.image)
    assert torch.equal(one.mask, again.mask)
    assert not torch.allclose(one.image, other.image, atol=0.05)
    for frame in (one, other):
        assert 0 <= float(frame.mask.min()) < float(frame.mask.max()) <= 1


class Root(nn.Module):
    """A score that is no number for the brighter images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(0.7 - images.mean((1, 2, 3))).log()[:, None]


def test_what_cannot_work_is_refused_at_once(small, two_cores):
    begin, image = o.visualize.frames, toys.image(40, 32)
    adam = replace(BARE, optimizer=o.Adam(), steps=2)
    last, fourier = (
        o.visualize(small, "a", recipe=adam),
        replace(adam, parameterization=o.Fourier()),
    )
    root = networks.wrap(Root(), input_size=4, **toys.PLAIN)
    wild = {"recipe": replace(BARE, optimizer=o.Plain(3.0))}
    toys.assert_refused(
        *(
            ("step 2 of a run for 1 images", begin, small, "a", {"recipe": how, "start": last})
            for how in (BARE, fourier)
        ),
        ("steps=2 or more", begin, small, "a", {"recipe": adam, "start": last, "steps": 1}),
        ("UnknownClass", begin, small, "zebra"),
        ("UnknownLayer", begin, small, ("convX", 1)),
        ("BadSetting", begin, small, []),
        ("BadSetting", begin, small, ["a", "b", "c"], {"seed": (1, 2)}),
        *(
            (kind, begin, small, "a", {"recipe": BARE, **change})
            for kind, change in (
                ("BadSetting", {"start": "noisy"}),
                ("BadImage", {"start": torch.full((1, 3, 40, 32), 2.0)}),
                ("BadSetting", {"steps": -1}),
                ("BadSetting", {"every": 0}),
                ("BadSetting", {"seed": ()}),
                ("BadImage", {"size": 3}),
                ("BadSetting", {"size": 48, "start": image}),
                ("BadSetting", {"recipe": replace(fourier, regularizers=(o.Decay(),))}),
                ("BadSetting", {"recipe": replace(BARE, regularizers=(o.Jitter(),))}),
                ("BadSetting", {"recipe": replace(BARE, transforms=o.Jitter())}),
            )
        ),
        *(("no number any more", o.visualize, root, [1] * count, wild) for count in (1, 4)),
    )


@pytest.mark.parametrize("optimizer", [o.Adam(), o.LBFGS(), o.Normalized()])
def test_each_image_of_a_batch_is_as_it_would_be_alone(optimizer):
    # Without kinks: runs that differ by rounding stay together, whatever kernels they are of.
    smooth = convnet(nn.Softplus, nn.AvgPool2d)
    recipe = o.Recipe("x", "noise", o.Pixels(), (o.Jitter(4),), (), optimizer, 6)
    targets = ["a", ("conv1", 2), ("0", 3, (5, 4)), "d", "b", "c", "a", "b", "d", "c"]
    together = o.visualize(smooth, targets, recipe=recipe)
    for place, target in enumerate(targets):
        # A neuron alone has a smaller picture, so other noise: it stays in a list of two.
        mine = [target, target] if isinstance(target, tuple) and len(target) == 3 else [target]
        alone = o.visualize(smooth, mine if len(mine) == 1 else [mine[0], "a"], recipe=recipe)
        # Adam divides by the gradient's size, L-BFGS by its change. Where these are next to nothing
        # rounding is a hundredth of them, and of a step of 0.05 that is less than 1e-3.
        assert torch.allclose(alone.image[0], together.image[place], atol=1e-3)
        assert float(alone.score[0]) == pytest.approx(float(together.score[place]), rel=1e-3)
    several = o.visualize(smooth, "b", recipe=recipe, seed=(0, 1))
    assert torch.allclose(several.image[0], together.image[4], atol=1e-3)
    assert float((several.image[0] - several.image[1]).abs().mean()) > 0.01


@pytest.mark.parametrize("count", range(1, 10))
def test_a_batch_of_any_length_has_its_terms_under_one_name(small, count):
    # passes take a few images at a time: the last one may have a single target
    targets = [("conv1", channel % 4) for channel in range(count)]
    last = o.visualize(small, targets, recipe=BARE, steps=1)
    (values,) = last.terms.values()
    assert values.shape == (count,)
    assert torch.allclose(values, last.score)
    twice = o.visualize(small, ["a"] * 4 + ["b"] * count, recipe=BARE, steps=1)
    assert list(twice.terms) == ["target"]


@pytest.fixture
def two_cores():
    """After `one_thread`, so that its number is put back."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


PRIOR = (o.TotalVariation(0.1), o.Blur(0.5, every=2), o.ClipNorm(0.1))
EVERYTHING = o.Recipe("x", "noise", o.Pixels(), (o.Crop(6), o.Jitter(3)), PRIOR, o.Adam(), 11)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_two_cores_find_what_one_finds(small, count, two_cores):
    targets = ["a", "b", "c", ("0", 3, (5, 4)), "a", "b", "c", "d"][:count]
    seen = [o.visualize(small, targets, recipe=EVERYTHING)]
    torch.set_num_threads(1)
    seen.append(o.visualize(small, targets, recipe=EVERYTHING))
    for name in ("image", "score", "gradient_size"):
        both, alone = (getattr(frame, name) for frame in seen)
        assert torch.allclose(both, alone, atol=1e-5), name
    assert list(seen[0].terms) == list(seen[1].terms)


@pytest.mark.parametrize("optimizer", [o.Adam(), o.LBFGS()])
def test_two_cores_go_on_from_a_frame_and_leave_no_thread(small, two_cores, optimizer):
    recipe, before = replace(EVERYTHING, optimizer=optimizer), threading.active_count()
    names = ["a", "b", "c"]
    whole = list(o.visualize.frames(small, names, recipe=recipe, seed=4, every=4))
    assert threading.active_count() == before
    assert [frame.step for frame in whole] == [0, 4, 8, 11]
    rest = o.visualize(small, names, recipe=recipe, start=whole[1])
    assert torch.equal(rest.image, whole[-1].image)
    assert torch.equal(rest.score, whole[-1].score)
    torch.set_num_threads(1)  # the groups of the frame stay as they are
    rest = o.visualize(small, names, recipe=recipe, start=whole[1])
    assert torch.allclose(rest.image, whole[-1].image, atol=1e-4)


def test_every_core_has_as_many_groups_as_another(two_cores):
    of_two = ([1], [1, 1], [2, 1], [2, 1, 1, 1], [2] * 4)
    table = {1: [[2, 2, 1]], 2: of_two, 4: [[2] * 8 + [1] * 4], 8: [[1, 1, 1]]}
    for cores, groups in ((cores, one) for cores, several in table.items() for one in several):
        torch.set_num_threads(cores)
        assert loop._sizes(sum(groups), torch.device("cpu")) == groups


def test_no_layer_after_the_target_is_computed(small, monkeypatch):
    seen = mock.Mock(wraps=nn.functional.conv2d)
    monkeypatch.setattr(nn.functional, "conv2d", seen)
    list(o.visualize.frames(small, ("0", 1), recipe=replace(BARE, steps=4)))
    made = [len(call.args[1]) for call in seen.call_args_list]  # how many maps
    assert made.count(8) == 5
    assert not {6, 5} & set(made)  # the second and the third


def test_a_neuron_is_computed_on_what_it_sees_and_nothing_else_changes():
    network = toys.random("squeezenet1_1")
    image = toys.image(96, 120)
    for position in ((5, 6), (0, 0), (2, 13)):
        target = o.TargetValue(("fire2", 3, position), before_relu=False)
        recipe = replace(BARE, optimizer=o.Plain(0.1), steps=3)
        frames = list(o.visualize.frames(network, target, recipe=recipe, start=image))
        left, top, right, bottom = frames[0].box
        seen = receptive_box(network, "fire2", position, (96, 120))
        assert (left, top) <= (seen[0], seen[1])
        assert top <= seen[1]
        assert (right, bottom) == (seen[2], seen[3])
        assert (right - left) * (bottom - top) < 96 * 120 / 4
        for frame in frames:
            whole = network.activations(frame.image, ["fire2"])["fire2"][0, 3]
            assert float(frame.score) == pytest.approx(float(whole[position]), abs=1e-5)
        changed = (frames[-1].image - image).abs().sum(1)[0]
        changed[top:bottom, left:right] = 0
        assert float(changed.max()) == 0


def test_frames_come_each_so_many_steps_and_at_the_end(small, monkeypatch):
    made = []
    monkeypatch.setattr(loop, "Frame", lambda *values: made.append(values[1]) or o.Frame(*values))
    frames = o.visualize.frames(small, "a", recipe=BARE, steps=7, every=3)
    first = list(itertools.islice(frames, 2))  # stopped, and taken up again
    last = [*first, *frames][-1]
    assert made == [0, 3, 6, 7]
    called = o.visualize(small, "a", recipe=BARE, steps=7)
    assert made == [0, 3, 6, 7, 7]  # no frame but the one that it gives
    assert torch.equal(last.image, called.image)


def test_the_settings_can_be_written_down_and_say_it_all(small):
    [frame, *_] = o.visualize.frames(small, o.TargetValue(["a", ("0", 3)]), seed=(1, 2), steps=1)
    words = json.dumps(frame.settings)
    for word in ("conv1, channel 3", "Fourier", "Crop", "Adam", '"seed": [1, 2]', '"steps": 1'):
        assert word in words
