"""Receptive fields: the lecture's recurrence, and the hull of the gradient's support."""

import pytest
import random_networks
import torch
import torchvision
import toys
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from labsupport.core import network as networks
from labsupport.core.errors import BadImage, BadSetting, UnknownLayer
from labsupport.core.network.blueprints import blueprint

pytestmark = pytest.mark.usefixtures("one_thread")

# The lecture's recurrence


def test_alexnets_fields_are_girshicks():
    network = blueprint("alexnet_2012")  # Krizhevsky's, with kernels of 11/4, 5, 3, 3, 3
    fields = [layer for layer in network.layers if layer.kind in {"conv", "max_pool"}]
    assert [layer.receptive_field for layer in fields] == [
        (side, side) for side in (11, 19, 51, 67, 99, 131, 163, 195)
    ]
    assert [layer.stride for layer in fields] == [(s, s) for s in (4, 8, 8, 16, 16, 16, 16, 32)]
    torchvisions = toys.random("alexnet")
    assert torchvisions.layer("pool5").receptive_field == (195, 195)
    assert torchvisions.layer("pool5").stride == (32, 32)
    assert torchvisions.layer("fc6").receptive_field[0] > 224
    assert torchvisions.layer("fc6").stride is None


# Must-show 3: the gradient's support. The skeleton of a network is torchvision's own module with
# every convolution summing its input channels and weighting its window equally, as every pool does:
# all weights are positive, so no path cancels another, and float64 holds the longest path.


class OneMap(nn.Module):
    """The sum of all channels, and the window of a convolution or pool with equal weights."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.window = nn.Identity()
        if not isinstance(layer, nn.Linear):
            assert getattr(layer, "dilation", 1) in (1, (1, 1))
            ceil_mode = getattr(layer, "ceil_mode", False)
            self.window = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, ceil_mode)

    def forward(self, x):
        return self.window(x.sum(1, keepdim=True))


def skeleton(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.Linear):
            setattr(module, name, OneMap(child))
        elif isinstance(child, nn.BatchNorm2d | nn.ReLU | nn.Dropout):
            setattr(module, name, nn.Identity())
        else:
            skeleton(child)
    return module.double()


FAMILIES = {
    # name: image size (height, width); small, and not square
    "squeezenet1_1": (161, 127),
    "googlenet": (160, 129),
    "resnet18": (129, 160),
    "densenet121": (97, 128),
    "vgg16": (161, 128),
}
POSITIONS = {"corner": (0.0, 0.0), "centre": (0.5, 0.5), "border": (1.0, 0.3)}


def gradient_boxes(outputs: dict[str, torch.Tensor], images: torch.Tensor):
    """For each layer, for each image the position that is asked and the box of the gradient."""
    for name, value in outputs.items():
        if value.ndim != 4:
            places = [None] * len(images)
            chosen = value.sum()
        else:
            height, width = value.shape[2:]
            places = [
                (round(down * (height - 1)), round(across * (width - 1)))
                for down, across in POSITIONS.values()
            ]
            chosen = torch.stack([value[n, :, r, c].sum() for n, (r, c) in enumerate(places)]).sum()
        (gradient,) = torch.autograd.grad(chosen, images, retain_graph=True)
        for place, support in zip(places, gradient.abs().sum(1) > 0, strict=True):
            yield name, place, hull(support)


def hull(support: torch.Tensor) -> tuple[int, int, int, int]:
    rows = support.any(1).nonzero().flatten().tolist()
    columns = support.any(0).nonzero().flatten().tolist()
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_layers_box_is_the_hull_of_the_gradients_support(name):
    network = toys.random(name)
    size = FAMILIES[name]
    with torch.device("meta"):
        module = torchvision.models.get_model(name, weights=None)
    wanted = [layer.name for layer in network.layers]
    # torchvision's own tracer picks the same layers by the same names out of its own module.
    extractor = create_feature_extractor(
        skeleton(module).eval(),
        return_nodes=wanted,
        tracer_kwargs={"leaf_modules": [OneMap]},
        suppress_diff_warning=True,
    ).eval()
    images = (
        torch.ones(len(POSITIONS), 3, *size, dtype=torch.float64) + toys.image(*size).double()
    ).requires_grad_(True)
    outputs = extractor(images)
    assert list(outputs) == wanted
    wrong = [
        (layer, place, box, result)
        for layer, place, box in gradient_boxes(outputs, images)
        if (result := networks.receptive_box(network, layer, place, size)) != box
    ]
    assert wrong == []


# The same on toys, where geometry that the families do not have occurs


def toy_boxes_agree(module: nn.Module, size: tuple[int, int], positions=None) -> None:
    """Every position of every layer, or those asked for, against the gradient."""
    network = networks.wrap(module, input_size=size)
    layer_names = [layer.name for layer in network.layers]
    part = network.part(tuple(network.node(name) for name in layer_names))
    images = toys.image(*size).requires_grad_(True)
    for name, value in zip(layer_names, part(images + 1), strict=True):
        if value.ndim != 4:
            continue
        every = [(r, c) for r in range(value.shape[2]) for c in range(value.shape[3])]
        for place in positions(every) if positions else every:
            chosen = value[0, :, place[0], place[1]].sum()
            (gradient,) = torch.autograd.grad(chosen, images, retain_graph=True, allow_unused=True)
            support = gradient[0].abs().sum(0) > 0
            if support.any():
                result = networks.receptive_box(network, name, place, size)
                assert result == hull(support), (name, place)


def positive(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return module


def chain(*parts: nn.Module) -> nn.Module:
    return positive(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten()))


GEOMETRY = {
    "dilation": lambda: chain(nn.Conv2d(3, 2, 3, dilation=(3, 2)), nn.Conv2d(2, 2, 2)),
    "dilated and strided": lambda: chain(
        nn.Conv2d(3, 2, 3, stride=2, padding=2, dilation=2), nn.Conv2d(2, 2, 3, 2, 1)
    ),
    "dilation at the border": lambda: chain(
        nn.Conv2d(3, 2, 3, padding=1, dilation=3), nn.Conv2d(2, 2, 3, padding=2, dilation=2)
    ),
    "same, odd": lambda: chain(nn.Conv2d(3, 2, (3, 5), padding="same")),
    "same, even": lambda: chain(nn.Conv2d(3, 2, 4, padding="same"), nn.Conv2d(2, 2, 2, stride=2)),
    "same, even, dilated": lambda: chain(nn.Conv2d(3, 2, (4, 2), padding="same", dilation=3)),
    "even kernels": lambda: chain(nn.Conv2d(3, 2, (2, 4), stride=(2, 1), padding=(1, 0))),
    "average pool": lambda: chain(nn.AvgPool2d(3, 2, 1), nn.Conv2d(3, 2, 3)),
    "ceil_mode": lambda: chain(
        nn.AvgPool2d(3, 2, ceil_mode=True), nn.Conv2d(3, 2, 3, padding=1), nn.AvgPool2d(2, 2, 1)
    ),
    "ceil_mode that overhangs": lambda: chain(nn.AvgPool2d(2, 3, 1, ceil_mode=True)),
    "adaptive, divides": lambda: chain(nn.AdaptiveAvgPool2d((4, 7)), nn.Conv2d(3, 2, 2)),
    "adaptive, overlaps": lambda: chain(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d((5, 6))),
    "adaptive, enlarges": lambda: chain(nn.AdaptiveAvgPool2d((17, 30)), nn.Conv2d(3, 2, 3)),
    "stride over the kernel": lambda: chain(nn.Conv2d(3, 2, 2, 3), nn.Conv2d(2, 2, 3, padding=1)),
    "kernel 1 with padding": lambda: chain(nn.Conv2d(3, 2, 1, padding=1), nn.Conv2d(2, 2, 3)),
}


@pytest.mark.parametrize("build", GEOMETRY.values(), ids=GEOMETRY.keys())
def test_unusual_geometry_at_every_position(build):
    toy_boxes_agree(toys.seeded(build), (16, 14))


def shuffled(x):
    count, channels, height, width = x.shape
    return x.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)


def by_last_axis(x):
    return (x.permute(0, 2, 3, 1) @ torch.ones(2, 2)).permute(0, 3, 1, 2)


# What there is no rule for, between two convolutions; nearly all of it moves with the position.
WITHOUT_A_RULE = {
    "padded": lambda x: F.pad(x, (1, 0, 2, 3)),
    "reflected": nn.ReflectionPad2d(1),
    "circular": nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
    "transposed": nn.ConvTranspose2d(2, 2, 3, 2, 1),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "pixel shuffle": lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2),
    "cut": lambda x: x[:, :, 1:-1, 2:],
    "strided": lambda x: x[..., ::2, 1::2],
    "shuffled": shuffled,
    "channels last": by_last_axis,
    "two parts": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "two ways": lambda x: x[..., 1:, :] + F.pad(x, (0, 0, 0, 1))[..., 2:, :],
    "minus": lambda x: 3 * x - x[:, :1],
}


@pytest.mark.parametrize("name", WITHOUT_A_RULE)
def test_what_there_is_no_rule_for_shows_what_it_reads(name):
    part = WITHOUT_A_RULE[name]
    part = part if isinstance(part, nn.Module) else toys.Applied(part)
    module = toys.seeded(lambda: chain(nn.Conv2d(3, 2, 3), part, nn.Conv2d(2, 2, 3, padding=1)))
    toy_boxes_agree(module, (16, 14))


@pytest.mark.parametrize(
    "part",
    [
        nn.GroupNorm(1, 2),
        lambda x: x * x.mean((2, 3), keepdim=True),
        lambda x: x.flip(2),
    ],
)
def test_what_mixes_all_places_sees_the_whole_image(part):
    part = part if isinstance(part, nn.Module) else toys.Applied(part)
    network = networks.wrap(chain(nn.Conv2d(3, 2, 3, padding=1), part), input_size=(16, 14))
    last = [layer for layer in network.layers if layer.shape == (2, 16, 14)][-1]
    assert last.receptive_field[0] >= 16
    assert networks.receptive_box(network, last.name, (8, 8))[1::2] == (0, 16)


def test_what_is_not_known_is_measured_and_not_called_known():
    def tokens(x):
        each = x.flatten(2).transpose(1, 2)
        return (each[:, :3] + each[:, 3:]).unflatten(1, (1, 3))  # (N, 1, 3, C): no map

    network = networks.wrap(
        nn.Sequential(nn.Conv2d(3, 4, 4, 4), toys.Applied(tokens), nn.Flatten()), input_size=(8, 12)
    )
    *_, unknown, _ = network.layers
    assert (unknown.receptive_field, unknown.stride) == (None, None)
    assert networks.receptive_box(network, unknown.name, (1, 0)) == (4, 0, 8, 8)


def test_a_position_that_sees_only_padding_has_an_empty_box():
    network = networks.wrap(toys.seeded(GEOMETRY["kernel 1 with padding"]), input_size=(16, 14))
    left, top, right, bottom = networks.receptive_box(network, "conv1", (0, 0))
    assert (right - left) * (bottom - top) == 0
    assert networks.receptive_box(network, "conv1", (1, 1)) == (0, 0, 1, 1)
    assert networks.receptive_box(network, "conv1", (0, 0), clip=False) == (-1, -1, 0, 0)


class Branches(nn.Module):
    """Chains side by side, joined by concatenation or by addition."""

    def __init__(self, branches: list[nn.Module], join: str, tail: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.join, self.tail = join, tail

    def forward(self, x):
        maps = [branch(x) for branch in self.branches]
        return self.tail(torch.cat(maps, 1) if self.join == "concat" else sum(maps)).mean((2, 3))


CONVOLUTION = st.builds(
    lambda kernel, dilation, stride: nn.Conv2d(3, 3, kernel, stride, 1, dilation),
    st.sampled_from([(1, 1), (3, 3), (3, 1), (5, 3)]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 1, 2]),
)
POOL = st.builds(
    lambda kernel, ceil: nn.AvgPool2d(kernel, 2, kernel // 2, ceil_mode=ceil),
    st.sampled_from([2, 3]),
    st.booleans(),
)


@settings(max_examples=25, phases=random_networks.PHASES)
@given(
    stem=st.lists(st.one_of(CONVOLUTION, POOL), min_size=1, max_size=3),
    sides=st.lists(
        st.lists(
            st.tuples(st.sampled_from([(1, 1), (3, 3), (5, 1)]), st.sampled_from([1, 2])),
            max_size=2,
        ),
        min_size=2,
        max_size=3,
    ),
    join=st.sampled_from(["concat", "add"]),
    size=st.sampled_from([(33, 26), (24, 37)]),
)
@pytest.mark.slow
def test_random_chains_and_branches(stem, sides, join, size):
    assume(sum(not side for side in sides) <= 1)  # one branch may be the bare skip connection
    branches = [
        nn.Sequential(*(nn.Conv2d(3, 3, k, padding="same", dilation=d) for k, d in side))
        for side in sides
    ]
    channels = 3 * len(sides) if join == "concat" else 3
    body = Branches(branches, join, nn.Conv2d(channels, 3, 2, padding=1))

    def three(every):
        return {every[0], every[len(every) // 2], every[-1], every[len(every) // 3]}

    toy_boxes_agree(positive(nn.Sequential(*stem, body)), size, three)


# Layer.receptive_field is the size of an unclipped box


@pytest.mark.parametrize("bins", [1, 2, 4, 6])
def test_an_adaptive_pools_field_is_its_widest_bin(bins):
    module = nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Flatten(), nn.Linear(3 * bins**2, 2))
    for length in range(6, 20):
        network = networks.wrap(module, input_size=length)
        (pool,) = [layer for layer in network.layers if layer.kind == "adaptive_pool"]
        boxes = [networks.receptive_box(network, pool.name, (place, 0)) for place in range(bins)]
        widest = max(bottom - top for _, top, _, bottom in boxes)
        assert pool.receptive_field[0] == widest, length


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18"])
def test_fields_are_the_unclipped_boxes_sizes_and_a_step_moves_them_by_the_stride(name):
    network = toys.random(name)
    for layer in network.layers:
        if layer.has_map and layer.kind not in {"adaptive_pool", "flatten"}:
            one, two = (
                networks.receptive_box(network, layer.name, place, clip=False)
                for place in ((2, 3), (3, 5))
            )
            assert layer.receptive_field == (one[3] - one[1], one[2] - one[0]), layer.name
            steps = [end - start for start, end in zip(one, two, strict=True)]
            assert steps == [2 * layer.stride[1], layer.stride[0]] * 2, layer.name


def test_a_layer_without_a_map_sees_the_whole_image():
    network = toys.random("resnet18")
    assert networks.receptive_box(network, "fc", image_size=(90, 70)) == (0, 0, 70, 90)


# Errors


def test_boxes_that_cannot_be_are_refused_in_words():
    vgg = blueprint("vgg16")
    for position in ((14, 0), (0, 14), (-1, 0)):
        with pytest.raises(BadSetting, match=r"pool4 .*14 x 14.*rows 0 to 13"):
            networks.receptive_box(vgg, "pool4", position)
    with pytest.raises(BadSetting, match=r"14 x 14 positions: say which one.*position=\(7, 7\)"):
        networks.receptive_box(vgg, "pool4")
    with pytest.raises(UnknownLayer, match="res5b"):
        networks.receptive_box(toys.random("resnet18"), "res5x", (0, 0))
    with pytest.raises(BadImage):
        networks.receptive_box(toys.random("squeezenet1_1"), "pool1", (0, 0), (3, 3))
