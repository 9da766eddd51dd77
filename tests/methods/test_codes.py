"""Codes against the network itself; maps against scikit-learn; grids against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
import toys
from sklearn import manifold
from sklearn.neighbors import NearestNeighbors
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import codes as c
from labsupport.methods.codes import distances, grids, tsne


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def groups(each: int = 20, count: int = 3, width: int = 10, apart: float = 12.0) -> torch.Tensor:
    """Well separated groups: (each * count, width), group after group."""
    middles = seeded(count, width, seed=1)
    middles = middles / middles.norm(dim=1, keepdim=True) * apart
    return middles.repeat_interleave(each, 0) + seeded(each * count, width, seed=2)


@pytest.fixture(scope="module")
def small():
    """Two convolutions and two linear layers; its classifier reads the seventh layer's output."""
    module = toys.seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(6 * 16, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3),
        )
    )  # fmt: skip
    return networks.wrap(module, input_size=8, name="small")


@pytest.mark.parametrize(
    ("name", "title", "width"),
    [
        ("squeezenet1_1", "fire9", 512),
        ("alexnet", "relu7", 4096),
        ("resnet18", "pool5", 512),
        ("googlenet", "pool5/7x7_s1", 1024),
        ("lenet5", "relu4", 84),
    ],
)
def test_the_code_is_what_the_classifier_reads(name, title, width):
    network = networks.load(name, weights="random")
    assert c.code_layer(network) == title
    assert network.layer(title).shape[0] == width


def test_codes_are_the_mean_of_each_map_and_pictures_are_read_once_each(squeezenet):
    read, done = [], []

    class Watched(list):
        def __getitem__(self, key):
            read.append(key)
            return super().__getitem__(key)

    pictures = Watched([images.cutouts()[name] for name in ("owl", "lemon")])
    batch = torch.cat([one.image for one in pictures])
    wanted = squeezenet.activations(batch, ["fire9"])["fire9"].mean((2, 3))
    assert torch.allclose(c.codes(squeezenet, batch), wanted, atol=1e-5)
    result = c.codes(squeezenet, pictures, progress=done.append)
    assert torch.allclose(result, wanted, atol=1e-4)
    assert sorted(read) == [0, 1]
    assert done == [1.0]
    whole = c.codes(squeezenet, batch, "fire9", pooled=False)
    assert whole.shape == (2, 512 * 13 * 13)
    assert torch.allclose(whole.view(2, 512, -1).mean(2), wanted, atol=1e-5)


def test_the_code_and_the_classifier_make_the_scores_and_layers_need_one_pass(small):
    batch = toys.image(8, count=5) * torch.tensor([1.0, 0.5, 0.1, 1, 1]).view(5, 1, 1, 1)
    classifier = small.graph.get_submodule("8")
    scores = classifier(c.codes(small, batch))
    assert torch.allclose(scores, small(batch), atol=1e-5)
    layers = [one.name for one in small.layers[3::-1]]
    result = c.codes_by_layer(small, batch, layers)
    assert list(result) == layers
    for name, value in result.items():
        assert torch.equal(value, c.codes(small, batch, name))


def test_several_cores_give_the_same_codes_in_the_same_order(squeezenet, monkeypatch):
    pictures = images.cutouts()[:19]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone, shares = c.codes(squeezenet, pictures, "fire2"), []
    monkeypatch.undo()
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = c.codes(squeezenet, pictures, "fire2", progress=shares.append)
    monkeypatch.undo()
    assert torch.allclose(alone, together, atol=1e-5)
    assert shares == [8 / 19, 16 / 19, 1.0]
    assert torch.get_num_threads() == before


def test_a_picture_that_is_not_square_is_cut_and_pixels_are_the_shrunk_image():
    wide = toys.image(20, 40)
    assert torch.allclose(c.fitted(wide, (20, 20)), wide[..., 10:30])
    square = toys.image(12)
    assert torch.equal(c.fitted(square, (12, 12)), square)
    assert c.fitted(toys.image(7, 31), (30, 12)).shape == (1, 3, 30, 12)
    assert torch.equal(c.pixel_codes(square, side=12), square.flatten(1))
    flat = c.pixel_codes(torch.full((2, 3, 50, 70), 0.25), side=4)
    assert torch.allclose(flat, torch.full((2, 48), 0.25))


@pytest.mark.parametrize("metric", c.METRICS)
def test_neighbours_and_trustworthiness_are_those_of_scikit_learn(metric, monkeypatch):
    rows, points = seeded(80, 6), seeded(80, 2, seed=5)
    points[:40] = rows[:40, :2]
    oracle = NearestNeighbors(n_neighbors=5, metric=metric).fit(rows.numpy())
    away, numbers = oracle.kneighbors()
    for place in (0, 17, 79):
        result = c.neighbours(rows, place, metric=metric)
        assert result.numbers == tuple(numbers[place])
        assert np.allclose(result.distances, away[place], atol=1e-4)
    wanted = manifold.trustworthiness(rows.numpy(), points.numpy(), n_neighbors=5, metric=metric)
    monkeypatch.setattr(distances, "CHUNK", 7)
    assert c.trustworthiness(rows, points, metric=metric) == pytest.approx(wanted, abs=1e-6)


def test_agreement_counts_the_share_of_the_own_label_however_the_table_is_cut(monkeypatch):
    rows = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    two_groups = torch.tensor([0, 0, 0, 1, 1, 1])
    for labels, shares in (("aaabbb", 6), (two_groups, 6), ("ababab", 2), ([1, 1, 1, 2, 2, 3], 4)):
        agreement = c.label_agreement(rows, labels, k=2, metric="euclidean")
        assert agreement == pytest.approx(shares / 6), labels

    rows, labels = seeded(70, 3), [n % 4 for n in range(70)]
    whole = c.label_agreement(rows, labels)
    monkeypatch.setattr(distances, "CHUNK", 9)
    assert c.label_agreement(rows, labels) == whole


def test_a_perfect_map_is_trusted_and_a_sample_says_nearly_the_same():
    rows, labels = groups(apart=3.0), [n // 20 for n in range(60)]
    whole = c.label_agreement(rows, labels, metric="euclidean")
    parts = [c.label_agreement(rows, labels, metric="euclidean", sample=30, seed=s) for s in (0, 1)]
    assert 0.4 < whole < 1
    assert parts[0] != parts[1]
    assert parts == pytest.approx([whole] * 2, abs=0.12)
    assert c.label_agreement(rows, labels, metric="euclidean", sample=99) == whole

    plane = seeded(300, 2)
    assert c.trustworthiness(plane, plane * 3, metric="euclidean") == 1.0
    other = seeded(300, 2, seed=9)
    whole = c.trustworthiness(plane, other, metric="euclidean")
    part = c.trustworthiness(plane, other, metric="euclidean", sample=150)
    assert whole == pytest.approx(0.5, abs=0.05)
    assert part == pytest.approx(whole, abs=0.03)
    assert part != whole


def test_what_cannot_work_is_refused(squeezenet):
    five, grid = seeded(5, 2), c.grid(seeded(9, 2))
    linear = networks.wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), input_size=8)
    toys.assert_refused(
        ("BadImage: .*no image", c.codes, squeezenet, []),
        ("at least one layer", c.codes_by_layer, squeezenet, toys.image(8), []),
        ("no code", c.code_layer, linear),
        ("side", c.pixel_codes, toys.image(8), {"side": 0}),
        ("0 to 4", c.neighbours, five, 5),
        ("1 to 4", c.neighbours, five, 0, {"k": 5}),
        ("cosine", c.neighbours, five, 0, {"k": 2, "metric": "cosinus"}),
        ("NaN", c.neighbours, five / 0, 0, {"k": 2}),
        (r"\(3, 4, 5\)", c.neighbours, torch.zeros(3, 4, 5), 0),
        ("one label for each", c.label_agreement, seeded(9, 2), "abc"),
        ("one point for each", c.trustworthiness, seeded(9, 2), seeded(8, 2)),
        ("more than 7", c.trustworthiness, seeded(7, 2), seeded(7, 2)),
        ("below 60", c.embed, groups(), {"perplexity": 60}),
        ("above 1", c.embed, groups(), {"perplexity": 1}),
        ("learning rate", c.embed, groups(), {"learning_rate": 0}),
        ("at least 1", c.embed, groups(), {"steps": 0}),
        ("metric is one of", c.embed, groups(), {"metric": "manhattan"}),
        ("method is one of", c.embed, groups(), {"method": "umap"}),
        ("at least 3", c.embed.frames, seeded(2, 4), {"perplexity": 1.5}),
        ("one layer", c.place_in_map, torch.eye(4), seeded(4, 2), torch.ones(1, 3)),
        ("1 to 4", c.place_in_map, torch.eye(4), seeded(4, 2), torch.eye(4), {"k": 5}),
        ("too many", c.grid, seeded(c.LARGEST_GRID + 1, 2)),
        ("at least one row", c.grid, seeded(4, 2), {"shape": (0, 4)}),
        ("at least one image", c.grid_shape, 0),
        ("of 5 codes", c.u_matrix, grid, five),
        ("4 x 4", c.divergence, torch.eye(3), seeded(4, 2)),
    )


def test_each_row_has_its_perplexity_and_affinities_are_symmetric_without_a_scale():
    rows = seeded(50, 4)
    squared = torch.cdist(rows, rows).square().double().fill_diagonal_(math.inf).numpy()
    result = tsne.conditional(squared, 12.0)
    entropy = -(result * np.log2(np.maximum(result, 1e-300))).sum(1)
    assert np.allclose(2**entropy, 12.0, atol=1e-6)
    assert np.allclose(result.sum(1), 1)
    assert (np.diag(result) == 0).all()

    result = c.affinities(rows, perplexity=8, metric="euclidean")
    assert torch.allclose(result, result.T)
    assert float(result.sum()) == pytest.approx(1)
    assert float(result.diagonal().abs().max()) == 0
    larger = c.affinities(1000 * rows, perplexity=8, metric="euclidean")
    assert torch.allclose(result, larger, atol=1e-7)


def test_the_gradient_is_the_slope_of_the_cost():
    wanted = c.affinities(seeded(12, 3), perplexity=4)
    points = seeded(12, 2, seed=3).double()
    cost, gradient = c.divergence(wanted, points)
    asked = points.clone().requires_grad_(True)
    pairs = ~torch.eye(12, dtype=torch.bool)
    near = (1 / (1 + torch.cdist(asked, asked).square()))[pairs]
    total = nn.functional.kl_div((near / near.sum()).log(), wanted[pairs], reduction="sum")
    assert cost == pytest.approx(total.item(), abs=1e-6)
    (oracle,) = torch.autograd.grad(total, asked)
    assert torch.allclose(gradient, oracle, atol=1e-6)


def ring(count: int = 60, width: int = 10) -> torch.Tensor:
    """Points along an uneven oval in space, (count, width). It has one map, an oval, and its
    principal components are that already: rounding cannot send the points elsewhere."""
    angles = torch.arange(count) * 2 * math.pi / count
    oval = 10 * torch.stack([angles.cos(), 0.8 * angles.sin()], 1)
    axes = torch.linalg.qr(seeded(width, 2, seed=3).double())[0].float()
    return oval @ axes.T + 0.5 * seeded(count, width, seed=4)


@pytest.mark.parametrize("metric", c.METRICS)
def test_a_map_costs_what_scikit_learns_exact_one_costs(metric):
    rows = ring()
    result = c.embed(rows, perplexity=10, metric=metric, steps=500)
    oracle = manifold.TSNE(
        perplexity=10, metric=metric, init="pca", method="exact", max_iter=500, random_state=0
    ).fit(rows.numpy())
    affinities = c.affinities(rows, perplexity=10, metric=metric)
    theirs = c.divergence(affinities, torch.tensor(oracle.embedding_))[0]
    assert theirs == pytest.approx(oracle.kl_divergence_, rel=0.01)
    assert result.cost == pytest.approx(c.divergence(affinities, result.points)[0], rel=1e-3)
    # Both descents are chaotic: rows changed by 1e-5 change either cost by 2 % at most on the
    # ring, where they change it by 10 % on `groups`, whose maps have many arrangements.
    assert result.cost <= theirs * 1.05


def test_the_grid_repels_as_all_pairs_do_and_with_neighbours_gives_their_gradient():
    for scale in (1e-4, 1.0, 30.0):
        points = seeded(400, 2, seed=4).double().numpy() * scale
        result, total = tsne.FourierRepulsion().of(points)
        near = tsne._student_t(points)
        wanted = (near**2).sum(1, keepdims=True) * points - near**2 @ points
        assert total == pytest.approx(near.sum(), rel=1e-2)
        assert np.abs(result - wanted).max() <= 1e-2 * np.abs(wanted).max()
    # with every point a neighbour, the sparse way is the exact one but for the grid
    rows = seeded(120, 5)
    squared = torch.cdist(rows, rows).square().double().fill_diagonal_(math.inf).numpy()
    exact = tsne.AllPairs(tsne.joint(squared, 9.0))
    order = np.argsort(squared, axis=1)[:, :-1]
    one_way = tsne.conditional(np.take_along_axis(squared, order, 1), 9.0)
    sparse = tsne.NeighboursAndGrid(order, one_way)
    points = seeded(120, 2, seed=6).double().numpy() * 5
    for exaggeration in (1.0, 12.0):
        one, other = (way.gradient(points, exaggeration) for way in (exact, sparse))
        assert np.abs(one - other).max() < 2e-2 * np.abs(one).max()
    assert sparse.cost(points) == pytest.approx(exact.cost(points), rel=5e-3)


def test_many_points_take_the_sparse_way_and_it_is_as_good(monkeypatch):
    rows = groups(each=60)
    exact = c.embed(rows, perplexity=15, metric="euclidean", steps=500)
    monkeypatch.setattr(tsne, "EXACT", 50)
    sparse = c.embed(rows, perplexity=15, metric="euclidean", steps=500)
    assert not torch.equal(exact.points, sparse.points)
    one, other = (c.trustworthiness(rows, x.points, metric="euclidean") for x in (exact, sparse))
    assert other == pytest.approx(one, abs=0.02)
    affinities = c.affinities(rows, perplexity=15, metric="euclidean")
    assert c.divergence(affinities, sparse.points)[0] == pytest.approx(exact.cost, rel=0.05)


def test_frames_come_in_order_keep_their_points_and_the_last_is_the_map(monkeypatch):
    rows = groups(each=10)
    settings = {"perplexity": 6, "steps": 45}
    kept = []
    frames = [
        kept.append(frame.points.clone()) or frame
        for frame in c.embed.frames(rows, every=20, **settings)
    ]
    assert all(map(torch.equal, kept, [frame.points for frame in frames]))
    assert [frame.step for frame in frames] == [0, 20, 40, 45]
    assert math.isnan(frames[0].cost)
    assert [f.stage for f in frames] == ["start", "fine", "fine", "fine"]
    assert torch.equal(frames[-1].points, c.embed(rows, **settings).points)
    assert not torch.allclose(frames[-1].points, c.embed(rows, **settings, seed=1).points)
    shares = [frame.progress for frame in frames]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    monkeypatch.setattr(tsne, "EXACT", 20)
    monkeypatch.setattr(distances, "CHUNK", 8)
    stages = [frame.stage for frame in c.embed.frames(rows, every=20, **settings)]
    assert stages[1:5] == [f"looking for neighbours, {n}%" for n in (27, 53, 80, 100)]


def test_principal_components_are_those_of_singular_values_and_equal_images_have_a_map():
    rows = seeded(30, 6) * torch.tensor([9.0, 5, 1, 1, 1, 1])
    result = c.embed(rows, method="pca", metric="euclidean").points
    left, sizes, _ = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert torch.allclose(result.abs(), (left[:, :2] * sizes[:2]).abs(), atol=1e-3)
    wide = c.embed(rows.T.contiguous(), method="pca", metric="euclidean").points
    assert wide.shape == (6, 2)
    line = c.embed(torch.arange(5.0)[:, None], method="pca", metric="euclidean").points
    assert torch.allclose(line[:, 0].abs(), torch.tensor([2.0, 1, 0, 1, 2]))
    assert torch.equal(line[:, 1], torch.zeros(5))
    same = c.embed(torch.ones(12, 4), perplexity=3, steps=40).points
    assert bool(same.isfinite().all())


def test_a_copy_goes_to_its_original_and_a_stranger_to_the_mean():
    rows, points = torch.eye(4), torch.tensor([[0.0, 0], [4, 0], [0, 4], [9, 9]])
    result = c.place_in_map(rows, points, rows[1:2], k=2, metric="euclidean")
    assert torch.allclose(result, points[1:2], atol=1e-3)
    between = torch.tensor([[1.0, 1, 0, 0]]) / 2
    middle = c.place_in_map(rows, points, between, k=2)
    assert torch.allclose(middle, torch.tensor([[2.0, 0]]), atol=1e-5)


def test_the_assignment_is_the_cheapest_of_all_and_its_rows_run_down():
    for seed in range(5):
        points = seeded(6, 2, seed=seed)
        result = c.grid(points, shape=(2, 3))
        squared = grids.squared_distances_to_cells(points, (2, 3))
        costs = [
            sum(float(squared[one, cell]) for cell, one in enumerate(order))
            for order in itertools.permutations(range(6))
        ]
        assert result.cost * 6 == pytest.approx(min(costs))
        shown = [float(squared[one, cell]) for cell, one in enumerate(result.cells.flatten())]
        assert sum(shown) == pytest.approx(min(costs))
    # a regular map comes back as it was: x to the right, y downwards
    regular = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).flip(1)
    assert c.grid(regular).cells.flatten().tolist() == list(range(12))
    assert c.grid(regular).cost == pytest.approx(0)


def test_every_cell_is_filled_and_few_are_left_out_but_for_repeats():
    for count in (*range(4, 200), 283):
        rows, columns = c.grid_shape(count)
        assert rows <= columns <= 2 * rows
        assert 0 <= count - rows * columns < rows
    result = c.grid(seeded(13, 2))
    assert (int(result.cells.min()), result.cells.shape) == (0, (3, 4))
    assert len(result.left_out) == 1
    assert set(result.left_out) | set(result.cells.flatten().tolist()) == set(range(13))
    more = c.grid(seeded(5, 2), shape=(2, 4))
    assert (int((more.cells == -1).sum()), more.left_out) == (3, ())
    # with repeats each cell has its nearest
    points = torch.tensor([[0.0, 0], [0.1, 0], [1, 1], [1, 0]])
    result = c.grid(points, shape=(2, 2), repeats=True)
    nearest = grids.squared_distances_to_cells(points, (2, 2)).argmin(0).tolist()
    assert result.cells.flatten().tolist() == nearest
    assert result.left_out == (1,)
    assert len(set(nearest)) == 3


@pytest.mark.parametrize("metric", c.METRICS)
def test_the_u_matrix_holds_the_distances_of_touching_cells(metric):
    rows = seeded(6, 5)
    cells = torch.tensor([[0, 3, 1], [5, 2, -1]])
    result = c.u_matrix(c.Grid(cells, 0.0, (4,)), rows, metric=metric)

    def away(one, other):
        found = c.neighbours(rows, one, k=5, metric=metric)
        return found.distances[found.numbers.index(other)]

    right = torch.tensor([[away(0, 3), away(3, 1)], [away(5, 2), math.nan]])
    below = torch.tensor([[away(0, 5), away(3, 2), math.nan]])
    torch.testing.assert_close(result.right, right, equal_nan=True, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.below, below, equal_nan=True, atol=1e-5, rtol=0)


def test_codes_know_the_categories_and_pixels_do_not(squeezenet):
    pictures = images.cutouts()[::2]
    by_code = c.label_agreement(c.codes(squeezenet, pictures), pictures.categories)
    by_pixels = c.label_agreement(c.pixel_codes(pictures), pictures.categories)
    assert by_code > by_pixels + 0.25
