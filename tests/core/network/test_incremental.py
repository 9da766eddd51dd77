"""Following boxes gives what computing every occluded image anew gives."""

import concurrent.futures
import itertools

import numpy as np
import pytest
import random_networks
import students
import torch
import toys
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.network.incremental import Chunk, CleanImage, Output, Plan, Recomputer
from labsupport.core.network.receptive_boxes import Window

pytestmark = pytest.mark.usefixtures("one_thread")


def boxes_of(chunk: Chunk) -> list[tuple[int, int, int, int]]:
    return [
        (left, top, right, bottom)
        for (top, bottom), (left, right) in itertools.product(chunk.rows, chunk.columns)
    ]


def plainly(network, outputs, image, fill, chunk) -> list[torch.Tensor]:
    """The same numbers from whole images, one at a time."""
    part = network.part(tuple(output.node for output in outputs))
    result: list[list[torch.Tensor]] = [[] for _ in outputs]
    for box in boxes_of(chunk):
        with torch.no_grad():
            values = part(network.send(toys.hidden(image, [box], fill)))
        for place, (value, output) in enumerate(zip(values, outputs, strict=True)):
            if output.position is not None:
                value = value[:, :, output.position[0], output.position[1]]
            elif value.ndim == 4:
                value = value.mean((2, 3))
            if output.channel is not None:
                value = value[:, output.channel : output.channel + 1]
            result[place].append(value)
    return [torch.cat(values) for values in result]


def assert_followed(network, outputs, size, chunks) -> None:
    """Within 1e-5 of the largest number that the output's layer computes for the clean image.

    Smaller crops may be summed by other kernels: thousands of products a layer, each rounded to
    6e-8. A column that is forgotten at a border weighs 5e-4 even in the scores.
    """
    plan = Plan(network, outputs, size)
    assert plan.possible
    image, fill = toys.image(*size), toys.image(*size, seed=1)
    recomputer = Recomputer(CleanImage(plan, image, fill))
    for chunk in chunks:
        expected = plainly(network, outputs, image, fill, chunk)
        result = recomputer.recompute(chunk)
        for one, other, output in zip(result, expected, outputs, strict=True):
            assert one.shape == other.shape
            with torch.no_grad():
                (clean,) = network.part((output.node,))(network.send(image))
            largest = float(max(clean.abs().max(), other.abs().max()))
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * largest)


def spans(length: int):
    """A first index, and one past the last."""
    return st.tuples(st.integers(0, length - 1), st.integers(1, length)).map(
        lambda pair: (pair[0], min(length, sum(pair)))
    )


def chunks(size: tuple[int, int]):
    """One or two spans along each axis, and in half of them two at the border."""

    def grid(rows, columns, at_border):
        if at_border:
            rows, columns = [*rows, (0, 3)], [*columns, (size[1] - 2, size[1])]
        return Chunk(tuple(rows), tuple(columns))

    sides = [st.lists(spans(side), min_size=1, max_size=2) for side in size]
    return st.builds(grid, *sides, st.booleans())


SIZES = st.sampled_from([(24, 24), (23, 31), (32, 19)])


@st.composite
def wanted(draw, network, size):
    """Some outputs: scores, one class, a channel's mean, a neuron."""
    shapes = network.shapes(size)
    maps = [o.node for o in network.operations if len(shapes[o.node]) == 4][1:]
    node = draw(st.sampled_from(maps))
    channel = draw(st.integers(0, shapes[node][1] - 1))
    place = tuple(draw(st.integers(0, side - 1)) for side in shapes[node][2:])
    choices = [
        Output(network.output),
        Output(network.output, draw(st.integers(0, random_networks.CLASSES - 1))),
        Output(node, channel),
        Output(node, channel, place),
        Output(node),
    ]
    return tuple(draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3, unique=True)))


@settings(max_examples=150, phases=random_networks.PHASES)
@given(spec=random_networks.networks_, size=SIZES, data=st.data())
def test_random_networks(spec, size, data):
    module = random_networks.build(spec, size)
    assume(module is not None)
    network = networks.wrap(module, input_size=size)
    # A map that is concatenated with itself, as after an in-place ReLU: followed the plain way
    assume(not any(o.node.target is torch.cat and o.kind == "other" for o in network.operations))
    outputs = data.draw(wanted(network, size))
    assert_followed(network, outputs, size, [data.draw(chunks(size)), data.draw(chunks(size))])


NETWORKS = {
    # name: image size, an inner layer
    "squeezenet1_1": ((97, 80), "fire5"),
    "alexnet": ((97, 80), "pool2"),
    "resnet18": ((97, 80), "res3b"),
    "googlenet": ((97, 80), "inception4c.branch2.1.conv"),
    "densenet121": ((70, 64), "features.denseblock3.denselayer11.relu2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_score_and_inner_layers_of_real_networks(name):
    network, (size, layer) = toys.random(name), NETWORKS[name]
    node = network.node(layer)
    outputs = (Output(network.output), Output(node, 3), Output(node, 1, (0, 1)))
    last = (size[0] - 20, size[0])
    grid = [
        Chunk(((0, 20), (8, 28), last), ((0, 20), (60, size[1]))),
        Chunk(((33, 34),), ((40, 42), (41, 43))),
    ]
    assert_followed(network, outputs, size, grid)


@pytest.mark.parametrize(
    ("name", "size"), [("squeezenet1_1", (48, 40)), ("resnet18", (48, 40)), ("lenet5", (28, 28))]
)
def test_one_channel_and_one_neuron_of_every_layer(name, size):
    network = toys.random(name)
    shapes = network.shapes(size)
    chunk = [Chunk(((8, 20),), ((size[1] - 10, size[1]),))]
    for layer in network.layers:
        node = network.node(layer.name)
        last = shapes[node][1] - 1
        assert_followed(network, (Output(node, min(2, last)),), size, chunk)
        if len(shapes[node]) == 4:
            middle = (shapes[node][2] // 2, shapes[node][3] // 2)
            assert_followed(network, (Output(node, min(1, last), middle),), size, chunk)


DIRECT = ["own weight", "layer scale", "batch norm by hand", "subclass", "standardized", "doubled"]


@pytest.mark.parametrize("name", [*DIRECT, "hooked"])
def test_weights_that_forward_uses_directly_are_followed(name):
    network, size = networks.wrap(students.built(*students.RIGHT[name]), input_size=16), (24, 21)
    chunk = [Chunk(((8, 13), (19, 24)), ((0, 5), (11, 16)))]
    layer = network.node([layer for layer in network.layers if layer.has_map][-2].name)
    assert_followed(network, (Output(network.output), Output(layer, 1)), size, chunk)
    assert networks.receptive_box(network, network.layers[0].name, (3, 3), size)[2] < 21


GAINS = torch.tensor([0.5, -1.0, 2.0, 0.1])[:, None, None]
ACROSS = {
    "a slope for each channel": lambda x: F.prelu(x, GAINS.flatten()),
    "a gain for each channel": lambda x: x * GAINS,
    "shuffled": nn.ChannelShuffle(2),
    "in parts": lambda x: torch.cat([x.chunk(2, 1)[1].relu(), 2 * x[:, :2]], 1),
    "in two": lambda x: torch.maximum(x[:, 1:], 1 - x[:, :-1] ** 2),
    "a choice": lambda x: torch.where(x > 0.1, x, 0.1 * x),
}


@pytest.mark.parametrize("name", ACROSS)
def test_what_mixes_channels_or_maps_at_one_place_is_followed(name):
    part = ACROSS[name]
    part = part if isinstance(part, nn.Module) else toys.Applied(part)
    width = 3 if name == "in two" else 4
    layers = lambda: [nn.Conv2d(3, 4, 3), part, nn.Conv2d(width, 4, 2)]  # noqa: E731
    network = toys.chain(layers, input_size=24)
    chunk = [Chunk(((8, 13), (19, 24)), ((0, 5), (11, 16)))]
    *_, before, last = [
        layer.name for layer in network.layers if min(layer.shape[1:], default=1) > 1
    ]
    outputs = (Output(network.node(last), 1), Output(network.node(before), 2))
    for one in (outputs[:1], outputs[1:], (*outputs, Output(network.output))):
        assert_followed(network, one, (24, 21), chunk)


def test_one_plan_in_several_threads():
    network, size = toys.random("squeezenet1_1"), (80, 80)
    plan = Plan(network, (Output(network.output),), size)
    clean = CleanImage(plan, toys.image(*size), toys.image(*size, seed=1))
    grid = [Chunk(((8 * i, 8 * i + 16),), ((0, 16), (24, 40))) for i in range(8)]
    alone = [Recomputer(clean).recompute(chunk)[0] for chunk in grid]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda chunk: Recomputer(clean).recompute(chunk)[0], grid))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


def test_only_the_asked_channel_is_computed():
    network = toys.random("squeezenet1_1")
    plan = Plan(network, (Output(network.output, 7),), (80, 80))
    assert plan.channels(network.node("conv10")) == 1
    assert plan.channels(network.node("fire9")) == 512


# Networks that cannot be followed


def attention(x: torch.Tensor) -> torch.Tensor:
    """Each position of a map (N, C, H, W) looks at every other; (N, C, H * W, 1)."""
    each = x.flatten(2).transpose(1, 2)  # (N, positions, C)
    return F.scaled_dot_product_attention(each, each, each).transpose(1, 2).unsqueeze(3)


class Broadcast(nn.Module):
    """A map of one position is added to every position."""

    def __init__(self):
        super().__init__()
        self.all, self.each = nn.Conv2d(3, 4, 16), nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head((self.all(x) + self.each(x)).relu().mean((2, 3)))


def between(part: nn.Module):
    behind = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return lambda: nn.Sequential(nn.Conv2d(3, 4, 3), part, *behind)


IMPOSSIBLE = [
    *(toys.Squeezed, Broadcast, between(toys.Applied(attention))),
    lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(4), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    ),
    between(nn.GroupNorm(2, 4)),  # sees the whole map
    between(nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    between(nn.AvgPool2d(3, 2, ceil_mode=True)),
    between(toys.Applied(lambda x: F.avg_pool2d(x, 3, 2, 0, True))),  # ceil_mode by place
    between(toys.Applied(lambda x: F.avg_pool2d(x, 2, 2, 0, False, True, 3))),  # another divisor
]


@pytest.mark.parametrize("build", IMPOSSIBLE)
def test_networks_that_see_too_much_too_early_are_recognised(build):
    network = networks.wrap(toys.seeded(build), input_size=16)
    assert not Plan(network, (Output(network.output),), (16, 16)).possible
    if build is toys.Squeezed:  # what lies before the trouble can be followed
        assert Plan(network, (Output(network.node("first"), 1),), (16, 16)).possible


# Cones: windows that hold everything a box can change, hardly more, and never reach over a map


def planned(module: nn.Module, size: tuple[int, int]) -> Plan:
    network = networks.wrap(module, input_size=size)
    return Plan(network, (Output(network.output),), size)


def changes(plan: Plan, rows, columns) -> dict[object, torch.Tensor]:
    """For each node of the windowed part where its map changes, (H, W), by computing it twice."""
    height, width = plan.size
    clean = toys.image(height, width)
    other = clean.clone()
    box = (..., slice(*rows), slice(*columns))
    other[box] = toys.image(height, width, seed=1)[box]
    nodes = tuple(operation.node for operation in plan.windowed)
    part = plan.network.part(nodes)
    with torch.no_grad():
        before, after = (part(plan.network.send(image)) for image in (clean, other))
    return {node: (a != b)[0].any(0) for node, a, b in zip(nodes, before, after, strict=True)}


@settings(phases=random_networks.PHASES)
@given(spec=random_networks.networks_, size=SIZES, data=st.data())
def test_everything_that_changes_lies_inside_the_windows(spec, size, data):
    module = random_networks.build(spec, size)
    assume(module is not None)
    plan = planned(module, size)
    rows = data.draw(st.lists(spans(size[0]), min_size=1, max_size=3, unique=True))
    columns = data.draw(st.lists(spans(size[1]), min_size=1, max_size=2, unique=True))
    windows = plan.cones(Chunk(tuple(rows), tuple(columns)))
    for operation in plan.windowed:
        for axis in (0, 1):
            window = windows[axis][operation.node]
            length = plan.shapes[operation.node][2 + axis]
            assert window.size >= 1
            assert (window.start >= 0).all()
            assert (window.start + window.size <= length).all()
    place = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(columns) - 1))
    for node, changed in changes(plan, rows[place[0]], columns[place[1]]).items():
        for axis in (0, 1):
            window = windows[axis][node]
            inside = np.zeros(changed.shape[axis], dtype=bool)
            start = int(window.start[place[axis]])
            inside[start : start + window.size] = True
            touched = changed.any(1 - axis).numpy()
            assert not (touched & ~inside).any(), (node, axis)


CHAINS = {
    "convolution": [nn.Conv2d(3, 2, 3, padding=1)],
    "strided": [nn.Conv2d(3, 2, 5, 2, 1), nn.Conv2d(2, 2, 3, 2, 1)],
    "average pool": [nn.Conv2d(3, 2, 3), nn.AvgPool2d(3, 2, 1)],
    "uneven": [nn.Conv2d(3, 2, (1, 5), (2, 1), (0, 2))],
}


@pytest.mark.parametrize("parts", CHAINS.values(), ids=CHAINS.keys())
@pytest.mark.parametrize("box", [((0, 4), (0, 4)), ((9, 15), (11, 14)), ((20, 24), (0, 30))])
def test_one_boxs_window_is_no_larger_than_what_changes(parts, box):
    module = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.5, 1)
    plan = planned(module, (24, 30))
    windows = plan.cones(Chunk((box[0],), (box[1],)))
    for node, changed in changes(plan, *box).items():
        for axis in (0, 1):
            touched = changed.any(1 - axis).nonzero().flatten()
            first, last = int(touched[0]), int(touched[-1])
            result = windows[axis][node]
            assert (int(result.start[0]), result.size) == (first, last - first + 1)


def row_window(layer: nn.Module, size: tuple[int, int], rows, columns) -> Window:
    """The rows of one convolution's window for these boxes."""
    plan = planned(nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()), size)
    (conv,) = [operation.node for operation in plan.windowed if operation.kind == "conv"]
    return plan.cones(Chunk(rows, columns))[0][conv]


def test_boxes_together_have_one_size_and_keep_to_the_map():
    rows = ((0, 4), (8, 12), (18, 20))
    window = row_window(nn.Conv2d(3, 2, 3, padding=1), (20, 20), rows, rows)
    assert window.size == 6  # 4 and one on each side
    assert window.start.tolist() == [0, 7, 14]  # the last is moved back into the map
    # pixels that no strided window reads keep a window of one
    window = row_window(nn.Conv2d(3, 2, 1, 4), (16, 16), ((1, 3),), ((5, 6),))
    assert window.size == 1
    assert 0 <= window.start[0] < 4
    one = Window(np.array([1, 2]), 3)
    assert one.same_as(Window(np.array([1, 2]), 3))
    assert not one.same_as(Window(np.array([1, 2]), 4))
    assert not one.same_as(Window(np.array([1, 3]), 3))
