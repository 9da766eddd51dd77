"""Top patches against planted ones, and against a search through every position, by hand."""

import itertools
import weakref

import numpy as np
import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labsupport.core import images, streams
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.network import receptive_box
from labsupport.methods import patches as p


class Branches(nn.Module):
    """Two ways through, one with a wider view, joined; then another convolution and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2)
        self.near = nn.Conv2d(4, 3, 1)
        self.wide = nn.Conv2d(4, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = self.pool(torch.cat([self.near(x), self.wide(x)], 1).relu())
        return self.head(x.mean((2, 3)))


def chain() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
        *(nn.Conv2d(5, 4, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    )


def exact(build) -> networks.Network:
    """Small whole weights: with pixels in eighths every sum is exact, and equal values abound."""
    module = toys.seeded(build)
    generator = torch.Generator().manual_seed(3)
    for weight in module.parameters():
        weight.data = torch.randint(-1, 2, weight.shape, generator=generator).float()
    return networks.wrap(module, input_size=(20, 24), **toys.PLAIN)


NETWORKS = {"chain": (chain, "relu2"), "branches": (Branches, "pool")}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request) -> tuple[networks.Network, str]:
    build, layer = NETWORKS[request.param]
    return exact(build), layer


def eighths(count: int, *, sizes=((20, 24),), seed: int = 0) -> list[torch.Tensor]:
    """Images whose pixels are 0, 1/8 ... 1, of the sizes in turn."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 9, (1, 3, *sizes[place % len(sizes)]), generator=generator) / 8
        for place in range(count)
    ]


def overlap(a, b) -> float:
    """Intersection over union, written anew."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    both = across * down if across > 0 and down > 0 else 0
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (area - both) if area > both else 0.0


def by_hand(network, layer, shown, unit, k, suppress, order="most", weights=None):
    """(value, image, row, column, box) of the best: every position, one at a time."""
    sign = 1 if order == "most" else -1
    best = []
    for number, image in enumerate(shown):
        maps = network.activations(image, [layer])[layer][0]
        chosen = maps[unit] if weights is None else (maps * weights[:, None, None]).sum(0)
        size = tuple(image.shape[2:])
        entries = [
            (float(chosen[row, column]), number, row, column,
             receptive_box(network, layer, (row, column), size))
            for row in range(chosen.shape[0]) for column in range(chosen.shape[1])
        ]  # fmt: skip
        entries.sort(key=lambda entry: (-sign * entry[0], *entry[1:4]))
        kept = []
        for entry in entries:
            limit = 2 if suppress == 1.0 else suppress
            if suppress == "picture" and kept:
                break
            if suppress == "picture" or all(overlap(entry[4], k[4]) <= limit for k in kept):
                kept.append(entry)
        best += kept
    best.sort(key=lambda entry: (-sign * entry[0], *entry[1:4]))
    return best[:k]


def listed(patches: p.TopPatches, row: int) -> list:
    return [
        (
            float(patches.values[row, place]),
            int(patches.images[row, place]),
            *patches.positions[row, place].tolist(),
            tuple(patches.boxes[row, place].tolist()),
        )
        for place in range(patches.k)
        if patches.images[row, place] >= 0
    ]


SIZES = ((20, 24), (33, 18), (20, 24), (15, 40))


@pytest.mark.parametrize("order", ["most", "least"])
@pytest.mark.parametrize("suppress", [0.0, 0.3, 0.75, 1.0, "picture"])
def test_the_patches_are_those_of_a_search_through_all_positions(case, suppress, order):
    network, layer = case
    shown = eighths(7, sizes=SIZES)
    patches = p.top_patches(network, layer, shown, k=6, suppress=suppress, order=order)
    for unit in range(network.layer(layer).shape[0]):
        assert listed(patches, unit) == by_hand(network, layer, shown, unit, 6, suppress, order)
    assert patches.scanned == ((0, 7),)


@pytest.mark.parametrize("small", [{"PAIRS": 3}, {"CELLS": 50}, {"TABLE": 0}])
@pytest.mark.parametrize("pixels", [1, 20 * 24 * 3])
def test_how_the_work_is_cut_changes_nothing(case, small, pixels, monkeypatch):
    network, layer = case
    shown = eighths(9, sizes=SIZES, seed=2)
    whole = p.top_patches(network, layer, shown, k=5)
    for name, value in small.items():
        monkeypatch.setattr(p.scanning, name, value)
    monkeypatch.setattr(streams, "BATCH_PIXELS", pixels)
    toys.assert_same_patches(p.top_patches(network, layer, shown, k=5), whole)


def test_chosen_channels_are_rows_of_the_whole_and_missing_patches_are_gaps(case):
    network, layer = case
    shown = eighths(5)
    every = p.top_patches(network, layer, shown)
    some = p.top_patches(network, layer, shown, channels=[3, 1])
    assert [listed(some, 0), listed(some, 1)] == [listed(every, 3), listed(every, 1)]
    assert (some.row(3), some.row(1), every.row(3)) == (0, 1, 3)
    with pytest.raises(BadSetting, match=r"channel 2 is not among the 2 .* nearest are 3, 1"):
        some.row(2)

    patches = p.top_patches(network, layer, eighths(2), k=5, suppress="picture", channels=[1])
    assert patches.images[0].tolist().count(-1) == 3
    assert patches.values[0, 2:].isnan().all()
    assert (patches.boxes[0, 2:] == -1).all()


def test_a_direction_is_a_weighted_sum_of_channels_and_a_random_one_has_length_one(case):
    network, layer = case
    channels = network.layer(layer).shape[0]
    shown = eighths(5)
    weights = torch.tensor([[1.0, -2.0, 0.5, 1.0, 2.0, -1.0][:channels]])
    patches = p.top_patches(network, layer, shown, k=4, channels=weights)
    assert listed(patches, 0) == by_hand(network, layer, shown, 0, 4, 0.3, weights=weights[0])
    assert patches.row(0) == 0
    with pytest.raises(BadSetting, match="direction 1 is not among the 1"):
        patches.row(1)
    axes = p.top_patches(network, layer, shown, channels=torch.eye(channels))
    assert torch.equal(axes.images, p.top_patches(network, layer, shown).images)

    directions = p.random_directions(40, 5, seed=1)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(5))
    assert not torch.equal(directions, p.random_directions(40, 5, seed=2))


def test_a_layer_without_maps_sees_the_whole_image(case):
    network, _ = case
    layer = network.layers[-1].name
    shown = eighths(4)
    patches = p.top_patches(network, layer, shown, k=4)
    scores = torch.cat([network(image) for image in shown])
    torch.testing.assert_close(patches.values, scores.sort(0, descending=True).values.T)
    assert tuple(patches.boxes[0, 0].tolist()) == receptive_box(network, layer, None, (20, 24))


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 10), max_size=4), seed=st.integers(0, 3), data=st.data())
def test_any_split_in_any_order_gives_the_whole(cuts, seed, data):
    network, layer = exact(chain), "relu2"
    suppress = data.draw(st.sampled_from([0.3, 1.0, "picture"]))
    shown = eighths(11, sizes=SIZES, seed=seed)
    edges = [0, *sorted(cuts), 11]
    parts = [
        p.top_patches(network, layer, shown[first:end], k=4, suppress=suppress).shifted(first)
        for first, end in itertools.pairwise(edges)
    ]
    parts = data.draw(st.permutations(parts))
    while len(parts) > 1:  # merged in any order, two neighbours at a time
        place = data.draw(st.integers(0, len(parts) - 2))
        parts[place : place + 2] = [p.merge(parts[place], parts[place + 1])]
    toys.assert_same_patches(parts[0], p.top_patches(network, layer, shown, k=4, suppress=suppress))


def test_what_does_not_fit_together_is_refused():
    def patches(layer="relu2", *, first=4, k=2, **settings):
        return p.top_patches(exact(chain), layer, eighths(4), k=k, **settings).shifted(first)

    toys.assert_refused(
        ("seen image 0", p.merge, patches(first=0), patches(first=0)),
        ("k is 2 and 3", p.merge, patches(first=0), patches(k=3)),
        ("order is", p.merge, patches(first=0), patches(order="least")),
        ("suppress is", p.merge, patches(first=0), patches(suppress=0.5)),
        ("other units", p.merge, patches(first=0), patches(channels=[1])),
        ("layer is", p.merge, patches(first=0), patches("0")),
        ("counted from 0", patches, {"first": -1}),
    )


def test_what_was_saved_is_loaded_for_the_same_weights_and_images(case, tmp_path):
    network, layer = case
    shown, file = eighths(4), tmp_path / "top.safetensors"
    patches = p.top_patches(network, layer, shown, k=9, suppress="picture")
    assert patches.save(file) == file
    toys.assert_same_patches(p.TopPatches.load(file, network, shown), patches)
    assert [one.name for one in tmp_path.iterdir()] == ["top.safetensors"]

    file = p.top_patches(exact(chain), "relu2", shown).save(tmp_path / "chain.safetensors")
    other, later = exact(chain), exact(chain)
    later.graph.get_submodule("7").weight.data += 1  # after the layer: it does not matter
    p.TopPatches.load(file, later, shown)
    other.graph.get_submodule("3").weight.data[0, 0, 0, 0] += 1
    damaged = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path, content in zip(damaged, (b"", b"no patches at all", b"\x00" * 64), strict=True):
        path.write_bytes(content)
    toys.assert_refused(
        ("another network", p.TopPatches.load, file, other),
        *(
            ("other images", p.TopPatches.load, file, later, wrong)
            for wrong in (shown[:3], shown[::-1], eighths(4, seed=5))
        ),
        *((rf"DamagedData: .*{path.name}", p.TopPatches.load, path) for path in damaged),
        ("DamagedData", p.TopPatches.load, tmp_path / "nothing"),
        ("no folder", patches.save, tmp_path / "none" / "x"),
    )


def test_scales_compete_and_are_one_picture(case):
    network, layer = case
    shown = eighths(3, sizes=((40, 60), (50, 44)))
    scaled = p.several_scales(shown, (20, 33))
    assert [tuple(one.shape[2:]) for one in scaled] == [(20, 20)] * 3 + [(33, 33)] * 3
    torch.testing.assert_close(scaled[4], images.resize(shown[1], 33, crop=33))
    patches = p.top_patches(network, layer, scaled, k=3, suppress="picture")
    plain = p.top_patches(network, layer, list(scaled), k=20, suppress="picture")
    assert torch.equal(patches.pictures, patches.images % 3)
    for row in range(len(patches.units)):
        assert sorted(patches.pictures[row].tolist()) == [0, 1, 2]
        best = {}
        for entry in listed(plain, row):
            best.setdefault(entry[1] % 3, entry)
        assert listed(patches, row) == list(best.values())
    with pytest.raises(IndexError):
        scaled[6]
    assert torch.equal(scaled[-1], scaled[5])
    assert torch.equal(scaled[4:][0], scaled[4])


class Counted:
    """Images that are made when asked for; counts how many of them are in memory at most.

    A tensor made of an array keeps the array, whatever views and copies of the tensor come and go.
    """

    def __init__(self, count: int, sizes: int) -> None:
        self.count, self.sizes = count, sizes
        self.alive, self.most = 0, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> torch.Tensor:
        shape = (1, 3, 24, 24 + number % self.sizes)
        pixels = np.full(shape, number / self.count, dtype=np.float32)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(pixels, self._gone)
        return torch.from_numpy(pixels)

    def _gone(self) -> None:
        self.alive -= 1


@pytest.mark.parametrize("sizes", [1, 25])
@pytest.mark.parametrize("search", ["top_patches", "unit_activations"])
def test_memory_does_not_grow_with_the_number_of_images(case, sizes, search, monkeypatch):
    network, layer = case
    monkeypatch.setattr(streams, "BATCH_PIXELS", 4 * 31**2)
    maps, most = weakref.WeakSet(), []
    real = p.scanning.Units.maps

    def watched(self, shown):
        answer = real(self, shown)
        maps.add(answer)
        most.append(len(maps))
        return answer

    monkeypatch.setattr(p.scanning.Units, "maps", watched)
    peaks = []
    for count in (80, 200):
        shown = Counted(count, sizes)
        if search == "top_patches":
            p.top_patches(network, layer, shown, k=2)
            assert max(most) <= 2  # the maps of the batch before, and of this one
        else:
            p.unit_activations(network, layer, shown, 0)
        peaks.append(shown.most)
        assert shown.alive == 0
    assert peaks[0] == peaks[1] < 50


def test_a_device_without_room_for_a_batch_gets_smaller_ones(case, monkeypatch):
    network, layer = case
    shown = eighths(12)
    expected = p.top_patches(network, layer, shown)
    real = p.scanning.Units._maps
    refused = []

    def little_room(self, images):
        if len(images) > 3:
            refused.append(len(images))
            raise torch.OutOfMemoryError("out of memory")
        return real(self, images)

    monkeypatch.setattr(p.scanning.Units, "_maps", little_room)
    toys.assert_same_patches(p.top_patches(network, layer, shown), expected)
    assert refused


def test_all_activations_of_a_unit(case):
    network, layer = case
    shown = eighths(5, sizes=SIZES)
    activations = p.unit_activations(network, layer, shown, 2)
    expected = [network.activations(image, [layer])[layer][0, 2] for image in shown]
    assert len(activations.values) == sum(one.numel() for one in expected)
    for value, number, (row, column) in zip(
        activations.values, activations.images, activations.positions.tolist(), strict=True
    ):
        assert float(value) == float(expected[number][row, column])
    best = p.top_patches(network, layer, shown, k=1).values[2, 0]
    assert activations.values.max() == best
    near = activations.near(float(best), 3)
    assert len(set(activations.images[near].tolist())) == 3
    assert activations.values[near[0]] == best


def fabricated(rows: list[list[int]]) -> p.TopPatches:
    """Patches from these pictures, for what looks at nothing else."""
    numbers = torch.tensor(rows)
    blank = torch.zeros(*numbers.shape, 4, dtype=torch.int64)
    units = torch.arange(len(rows))
    return p.TopPatches(
        "toy", units, numbers.float(), numbers, numbers, blank[..., :2], blank, "most", 0.3, (), {}
    )


def test_precision_counts_the_labels_so_far_and_units_come_by_it_then_by_early_hits():
    labels = ["cat", "dog", "cat", "hat"]
    precision = p.precision_at_k(
        fabricated([[0, 1, 2, -1], [1, 1, 3, 3], [2, 2, 1, 3]]), labels, "cat"
    )
    expected = [[1, 1 / 2, 2 / 3, 2 / 4], [0, 0, 0, 0], [1, 1, 2 / 3, 2 / 4]]
    torch.testing.assert_close(precision, torch.tensor(expected))
    with pytest.raises(BadSetting, match="nearest are cat"):
        p.precision_at_k(fabricated([[0]]), labels, "cats")
    with pytest.raises(BadSetting, match="too few"):
        p.precision_at_k(fabricated([[4]]), labels, "cat")

    patches = fabricated([[1, 1, 0], [1, 0, 1], [0, 0, 1], [0, 1, 1], [1, 1, 1]])
    assert p.units_for(patches, labels, "cat", 4) == [2, 3, 1, 0]
    assert p.units_for(patches, labels, "dog", 1) == [4]


def test_what_cannot_be_searched_is_refused():
    network, shown = exact(chain), eighths(2)
    outside, two = torch.full((1, 3, 20, 24), 3.0), torch.zeros(2, 3, 20, 24)
    settings = (
        ("k is how many", {"k": 0}, {"k": 2.5}),
        ("suppress is", {"suppress": -0.1}, {"suppress": 1.5}, {"suppress": "image"}),
        ("order is one of", {"order": "best"}),
        ("channels 0 to 3", {"channels": [4]}, {"channels": [-1]}, {"channels": []}),
        ("each once", {"channels": [1, 1]}),
        ("matrix", {"channels": torch.ones(2, 7)}, {"channels": torch.ones(4)}),
    )
    toys.assert_refused(
        *(
            (words, p.top_patches, network, "relu2", shown, wrong)
            for words, *several in settings
            for wrong in several
        ),
        ("no images", p.top_patches, network, "relu2", []),
        ("BadImage: .*go from", p.top_patches, network, "relu2", [outside]),
        ("batch of 2", p.top_patches, network, "relu2", [two]),
        ("UnknownLayer: .*no such layer", p.top_patches, network, "no such layer", shown),
        ("does not fit", p.top_patches, exact(Branches), "pool", [two[:1, :, :1, :1]]),
        ("no images", p.unit_activations, network, "relu2", [], 0),
        ("sizes are", p.several_scales, shown, ()),
        ("at least one channel", p.random_directions, 0),
        ("no layers", p.top_patches_by_layer, network, [], shown),
    )


@pytest.mark.parametrize("suppress", [0.3, "picture"])
def test_one_pass_over_several_layers_finds_what_a_pass_for_each_finds(case, suppress):
    network, _ = case
    shown = eighths(7, sizes=((20, 24), (16, 31)))
    directions = p.random_directions(network.layers[1].shape[0], 3)
    wanted = {layer.name: None for layer in network.layers if layer.has_map}
    last = network.layers[-1].name  # scores have no map
    wanted |= {network.layers[1].name: directions, last: [1]}
    settings = {"k": 3, "suppress": suppress, "order": "least"}
    together = p.top_patches_by_layer(network, wanted, shown, **settings)
    assert list(together) == list(wanted)
    for layer, chosen in wanted.items():
        alone = p.top_patches(network, layer, shown, channels=chosen, **settings)
        toys.assert_same_patches(together[layer], alone)


def test_progress_rises_to_the_end_and_the_network_computes_once_for_all_layers(case, monkeypatch):
    network, layer = case
    calls, real = [], nn.functional.conv2d
    monkeypatch.setattr(
        nn.functional, "conv2d", lambda *a, **k: calls.append(a[0].shape[1]) or real(*a, **k)
    )
    layers, shown = [one.name for one in network.layers if one.has_map], eighths(40, sizes=SIZES)
    shares: list[float] = []
    p.top_patches_by_layer(network, layers, shown, progress=shares.append)
    assert calls.count(3) == len(shares) > 1
    p.unit_activations(network, layer, shown, 0, progress=shares.append)
    half = len(shares) // 2
    for part in (shares[:half], shares[half:]):
        assert part == sorted(part)
        assert part[-1] == 1
