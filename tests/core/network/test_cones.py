"""Cones hold everything that a box can change, hardly more, and never reach over a map."""

import numpy as np
import pytest
import random_networks
import torch
import toys
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from labsupport.core import network as networks
from labsupport.core.network.cones import Window
from labsupport.core.network.incremental import Chunk, Output, Plan

pytestmark = pytest.mark.usefixtures("one_thread")


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


def spans(length: int):
    return st.tuples(st.integers(0, length - 1), st.integers(1, length)).map(
        lambda pair: (min(pair[0], length - 1), min(length, pair[0] + pair[1]))
    )


SIZES = st.sampled_from([(24, 24), (23, 31), (32, 19)])


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
            result = windows[axis][node]
            assert (int(result.start[0]), result.size) == (
                int(touched[0]),
                int(touched[-1] - touched[0]) + 1,
            )


def test_boxes_together_have_one_size_and_keep_to_the_map():
    plan = planned(
        nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        (20, 20),
    )
    rows = ((0, 4), (8, 12), (18, 20))
    (conv,) = [o.node for o in plan.windowed if o.kind == "conv"]
    window = plan.cones(Chunk(rows, rows))[0][conv]
    assert window.size == 6  # 4 and one on each side
    assert window.start.tolist() == [0, 7, 14]  # the last is moved back into the map


def test_pixels_that_no_strided_window_reads_keep_a_window_of_one():
    plan = planned(
        nn.Sequential(nn.Conv2d(3, 2, 1, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (16, 16)
    )
    (conv,) = [o for o in plan.windowed if o.kind == "conv"]
    window = plan.cones(Chunk(((1, 3),), ((5, 6),)))[0][conv.node]
    assert window.size == 1
    assert 0 <= window.start[0] < 4


def test_windows_that_cover_the_same():
    one = Window(np.array([1, 2]), 3)
    assert one.same_as(Window(np.array([1, 2]), 3))
    assert not one.same_as(Window(np.array([1, 2]), 4))
    assert not one.same_as(Window(np.array([1, 3]), 3))
