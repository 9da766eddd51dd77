"""Evolution against plain loops: mutation, painting, the archive, and what it is in the end."""

import colorsys
import copy
import itertools
import math
import statistics

import pytest
import torch
import toys
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import evolution
from labsupport.methods.evolution import encodings, map_elites
from labsupport.methods.evolution.encodings import rgb

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SMALL = {"CPPN": evolution.Cppn(founders=8), "direct": evolution.Direct(founders=8)}


@pytest.fixture(scope="module")
def digits():
    return networks.load("lenet5")


@pytest.fixture(scope="module")
def tiny():
    module = toys.seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
            nn.Linear(24, 5),
        )
    )
    with torch.no_grad():
        module[4].weight.mul_(40)
    return networks.wrap(module, input_size=(10, 14), categories=list("abcde"), name="tiny")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "knobs", [{}, {"rate": 0.3, "strength": 60.0}, {"rate": 1.0, "strength": 2.0}]
)
def test_polynomial_mutation_is_debs_formula(knobs):
    rate, strength = knobs.get("rate", 0.1), knobs.get("strength", 15.0)
    values = torch.rand(4000, generator=seeded(1))
    values[:200] = torch.tensor([0.0, 1.0]).repeat(100)
    mutated = evolution.polynomial_mutation(values, random=seeded(2), **knobs)
    random = seeded(2)
    chosen = torch.rand(4000, generator=random) < rate
    drawn = torch.full((4000,), 0.5)
    drawn[chosen] = torch.rand(int(chosen.sum()), generator=random)
    power = 1 / (strength + 1)
    for value, child, u in zip(values.tolist(), mutated.tolist(), drawn.tolist(), strict=True):
        step = (2 * u) ** power - 1 if u < 0.5 else 1 - (2 * (1 - u)) ** power
        assert child == pytest.approx(min(max(value + step, 0.0), 1.0), abs=2e-6)


@given(some.integers(-48, 192), some.integers(0, 24), some.integers(0, 24))
def test_colours_are_pythons_and_the_hue_goes_round(turn, grey, bright):
    hue, saturation, value = turn / 24 * 0.999, grey / 24, bright / 24
    colours = rgb(torch.tensor([hue, saturation, value]).view(1, 3, 1)).flatten().tolist()
    assert colours == pytest.approx(colorsys.hsv_to_rgb(hue % 1, saturation, value), abs=1e-5)


def painted_by_hand(genome, size):
    """Each pixel on its own, following the links."""
    plain = {
        "sine": lambda s: math.sin(math.pi * s),
        "gauss": lambda s: 2 * math.exp(-s * s) - 1,
        "sigmoid": math.tanh,
        "linear": lambda s: s,
        "absolute": abs,
    }
    kinds, (height, width) = list(plain), size
    image = torch.zeros(3, height, width)
    for row, column in itertools.product(range(height), range(width)):
        y = (2 * row / (height - 1) - 1) * height / min(size)
        x = (2 * column / (width - 1) - 1) * width / min(size)
        values = [x, y, math.hypot(x, y), 1.0]
        for place in range(4, len(genome.functions)):
            total = sum(float(w) * v for w, v in zip(genome.weights[place], values, strict=False))
            kind = int(genome.functions[place])
            values.append(plain[kinds[kind]](total) if kind >= 0 else 0.0)
        if genome.outputs == 1:
            image[:, row, column] = min(abs(values[-1]), 1)
        else:
            hue, saturation, value = values[-3:]
            hsv = ((hue + 1) / 2 % 1, min(abs(saturation), 1), min(abs(value), 1))
            image[:, row, column] = torch.tensor(colorsys.hsv_to_rgb(*hsv))
    return image


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_paints_what_its_links_say(channels):
    coding, random = evolution.Cppn(), seeded(5)
    genomes = coding.random(3, (channels, 7, 11), random)
    for _ in range(12):
        genomes = coding.mutated(genomes, random)
    images_ = coding.images(genomes, (7, 11), CPU)
    assert images_.shape == (3, 3, 7, 11)
    assert torch.equal((images_ * 255).round() / 255, images_)
    for genome, image in zip(genomes, images_, strict=True):
        expected = painted_by_hand(genome, (7, 11))
        apart = (image - expected).abs()
        # hue may be rounded to either side of a jump
        assert float((apart > 0.0025).float().mean()) < 0.02
    assert float(images_.std()) > 0.1


def test_mutations_keep_an_order_to_compute_in_and_the_parents():
    coding, random = evolution.Cppn(rate=0.5, node=0.6, link=0.6, function=0.5), seeded(3)
    genomes = coding.random(6, (3, 4, 4), random)
    for _ in range(60):
        before = [(one.weights.clone(), one.functions.clone()) for one in genomes]
        children = coding.mutated(genomes, random)
        for parent, (weights, functions) in zip(genomes, before, strict=True):
            assert torch.equal(parent.weights, weights)
            assert torch.equal(parent.functions, functions)
        genomes = children
    for one in genomes:
        assert torch.equal(one.weights, one.weights.tril(-1))
        assert not one.weights[:4].any()
        empty = one.functions == encodings.EMPTY
        assert not one.weights[empty].any()
        assert not one.weights[:, 4:][:, empty[4:]].any()
        assert int((one.functions >= 0).sum()) > 15
        assert one.weights.isfinite().all()


def test_a_linear_node_in_a_link_changes_nothing():
    coding = evolution.Cppn(hidden=0)
    genomes = coding.random(8, (3, 6, 6), seeded(4))
    weights = torch.stack([one.weights for one in genomes])
    functions = torch.stack([one.functions for one in genomes])
    longer, more = encodings._with_node(weights, functions, 1.0, seeded(5))
    new = (functions == -1) & (more >= 0)
    assert (new.sum(1) == 1).all()
    assert ((longer != 0).flatten(1).sum(1) == (weights != 0).flatten(1).sum(1) + 1).all()
    more[new] = list(encodings.FUNCTIONS).index("linear")
    expected = coding.images(genomes, (6, 6), CPU)
    painted = coding.images(encodings._apart(longer, more), (6, 6), CPU)
    torch.testing.assert_close(painted, expected, rtol=0, atol=1 / 250)


def test_each_mutation_does_what_it_is_called():
    parents = evolution.Cppn(hidden=3).random(200, (3, 4, 4), seeded())
    still = {"rate": 0.0, "node": 0.0, "link": 0.0, "function": 0.0}

    def counts(**knobs):
        """How many children have other weights; how many links, nodes more, functions changed."""
        children = evolution.Cppn(**{**still, **knobs}).mutated(parents, seeded(1))
        pairs = list(zip(parents, children, strict=True))
        return (
            sum(bool((p.weights != c.weights)[p.weights != 0].any()) for p, c in pairs),
            sum(int((c.weights != 0).sum() - (p.weights != 0).sum()) for p, c in pairs),
            sum(int((c.functions >= 0).sum() - (p.functions >= 0).sum()) for p, c in pairs),
            sum(int(((p.functions != c.functions) & (p.functions >= 0)).sum()) for p, c in pairs),
        )

    assert counts() == (0, 0, 0, 0)
    moved, *others = counts(rate=0.3)
    assert (moved > 150, others) == (True, [0, 0, 0])
    assert counts(link=1.0) == (0, 200, 0, 0)
    _, links, nodes, _ = counts(node=1.0)
    assert 100 < nodes <= 200  # not where the link's ends are neighbours
    assert links == nodes
    assert 120 < counts(function=1.0)[3] <= 200


def test_a_network_can_be_read():
    (genome,) = evolution.Cppn(hidden=2).random(1, (3, 4, 4), seeded(2))
    links = genome.links()
    named = {name for source, place, _ in links for name in (source, place)}
    assert {place for _, place, _ in links} & set(encodings.OUTPUTS)
    kinds = list(encodings.FUNCTIONS)
    assert genome.output_functions() == [kinds[kind] for kind in genome.functions[-3:]]
    assert named <= set(genome.names())
    assert all(weight != 0 for *_, weight in links)


@given(some.integers(0, 10_000))
def test_every_child_competes_in_every_cell(seed):
    random = seeded(seed)
    best = torch.randint(4, (5,), generator=random) / 4
    answers = torch.randint(5, (3, 5), generator=random) / 4
    won, child = evolution.compete(best, answers)
    for cell in range(5):
        champion, owner = float(best[cell]), None
        for number, answer in enumerate(answers[:, cell].tolist()):
            if answer > champion:
                champion, owner = answer, number
        assert bool(won[cell]) == (owner is not None)
        if owner is not None:
            assert int(child[cell]) == owner


@pytest.mark.parametrize("encoding", SMALL)
@pytest.mark.parametrize("parents", map_elites.PARENTS)
def test_each_cell_holds_the_best_of_all_that_were_shown(tiny, encoding, parents, monkeypatch):
    shown = []
    plain = tiny.scores
    monkeypatch.setattr(tiny, "scores", lambda seen: shown.append(seen.clone()) or plain(seen))
    tiny.forget()
    last = evolution.evolve(tiny, SMALL[encoding], budget=57, batch=6, parents=parents)
    everything = torch.cat([batch for batch in shown if len(batch) == 6])
    assert len(everything) == last.children == 60  # whole generations
    assert last.progress == 1
    chances = plain(everything).softmax(1)
    torch.testing.assert_close(last.confidence, chances.amax(0), rtol=1e-5, atol=1e-7)
    assert torch.equal(last.births, chances.argmax(0))
    for cell, name in enumerate("abcde"):
        born = int(last.births[cell])
        assert torch.equal(last.champion(name).image, everything[born])
        assert last.champion(cell).confidence == float(last.confidence[cell])


@pytest.mark.parametrize("encoding", SMALL)
def test_it_goes_on_bit_for_bit_where_it_stopped_and_no_old_frame_is_changed(tiny, encoding):
    frames = evolution.evolve.frames(tiny, SMALL[encoding], budget=120, batch=6)
    whole, kept = zip(*((frame, copy.deepcopy(frame)) for frame in frames), strict=True)
    assert [frame.progress for frame in whole] == pytest.approx([n / 20 for n in range(1, 21)])
    other = evolution.evolve(tiny, SMALL[encoding], budget=120, batch=6, seed=1)
    assert not torch.equal(whole[-1].confidence, other.confidence)
    for stopped, before in ((whole[0], kept[0]), (whole[7], kept[7])):
        assert torch.equal(stopped.confidence, before.confidence)
        assert torch.equal(stopped.births, before.births)
        pictures = [[one.image for one in frame.best(5)] for frame in (stopped, before)]
        assert all(map(torch.equal, *pictures))
        last = evolution.evolve(tiny, start=stopped, budget=120)
        assert torch.equal(last.confidence, whole[-1].confidence)
        assert torch.equal(last.births, whole[-1].births)
        assert torch.equal(last.random, whole[-1].random)
        assert (last.number, last.children) == (whole[-1].number, whole[-1].children) == (20, 120)
        for one, other in zip(last.best(5), whole[-1].best(5), strict=True):
            assert one.name == other.name
            assert torch.equal(one.image, other.image)


def test_chosen_classes_alone_have_cells(tiny):
    some_ = evolution.evolve(tiny, SMALL["CPPN"], classes=["d", 1], budget=60, batch=6)
    assert some_.classes == (3, 1)
    assert {one.name for one in some_.best()} <= {"d", "b"}
    chance = tiny(some_.champion("d").image[None]).softmax(1)[0, 3]
    assert some_.champion("d").confidence == pytest.approx(float(chance), rel=1e-5)
    toys.assert_refused(
        ("no cell for 'a'", some_.champion, "a"),
        ("UnknownClass: .*nearest", some_.champion, "zebra"),
    )


def test_a_picture_that_holds_several_cells_is_shown_once(tiny):
    # four pictures for five cells
    first = next(evolution.evolve.frames(tiny, SMALL["CPPN"], budget=4, batch=4))
    owners = first.births.tolist()
    best = first.best()
    assert len(best) == len(set(owners)) < 5
    values = [one.confidence for one in best]
    assert values == sorted(values, reverse=True)
    for one in best:
        mine = [cell for cell in range(5) if owners[cell] == owners[one.index]]
        assert one.confidence == float(first.confidence[mine].max())


def test_parents_are_drawn_evenly_or_where_there_is_promise():
    weights, confidence = map_elites._parent_weights, torch.tensor([0.0, 0.2, 0.5, 0.9, 0.999])
    assert weights(confidence, "even").tolist() == [1.0] * 5
    promise = weights(confidence, "promising")
    assert promise[4] == 0 < promise[0] < promise[1] < promise[2]
    assert float(promise[3] / promise[2]) == pytest.approx(3, rel=1e-4)
    assert weights(torch.full((3,), 0.999), "promising").tolist() == [1.0] * 3


def test_what_cannot_work_is_refused_at_once(tiny, digits):
    evolve, direct = evolution.evolve, SMALL["direct"]
    first = next(evolve.frames(tiny, direct, budget=16, batch=8))
    toys.assert_refused(
        ("encoding is one of 'CPPN', 'direct'", evolve, tiny, "cppn"),
        ("rate lies above 0", evolve, tiny, evolution.Direct(rate=0.0)),
        ("probabilities", evolve, tiny, evolution.Cppn(link=1.5)),
        ("hidden is 0 to 20", evolve, tiny, evolution.Cppn(hidden=99)),
        ("budget is 1 or more", evolve, tiny, {"budget": 0}),
        ("batch is 1 or more", evolve, tiny, {"batch": 0}),
        ("parents is one of 'promising', 'even'", evolve, tiny, {"parents": "best"}),
        ("at least one class", evolve, tiny, {"classes": []}),
        ("none twice", evolve, tiny, {"classes": ["a", 0]}),
        ("is a list", evolve, tiny, {"classes": "a"}),
        (r"is a list: \[3\]", evolve, tiny, {"classes": 3}),
        ("is no class", evolve, tiny, {"classes": [("conv1", 0)]}),
        ("UnknownClass: .*knows no class", evolve, tiny, {"classes": ["zebra"]}),
        ("evolved for tiny", evolve, digits, {"start": first, "budget": 32}),
        ("more than the 8", evolve, tiny, {"start": first, "budget": 8}),
        ("in its own way", evolve, tiny, "direct", {"start": first, "budget": 32}),
        ("probabilities are", evolution.compete, torch.zeros(3), torch.zeros(2, 4)),
    )


def test_a_network_for_grey_pictures_gets_grey_ones(digits, tiny):
    for name, encoding in SMALL.items():
        first = next(evolution.evolve.frames(digits, encoding, budget=8, batch=8))
        seen = torch.stack([one.image for one in first.best()])
        assert torch.equal(seen[:, 0], seen[:, 1])
        assert torch.equal(seen[:, 0], seen[:, 2]), name
        coloured = next(evolution.evolve.frames(tiny, encoding, budget=8, batch=8)).best(1)[0].image
        assert not torch.equal(coloured[0], coloured[1])


def test_ten_digits_of_either_kind(digits, tmp_path):
    regular = evolution.evolve(digits, "CPPN", budget=3000)
    irregular = evolution.evolve(digits, "direct", budget=3000)
    assert regular.count_above(0.99) >= 8
    assert irregular.count_above(0.99) >= 1
    smooth, rough = regular.best(5), irregular.best(3)
    fine, grainy = (  # how far neighbouring pixels are apart, on average
        [float(one.image[0].diff(dim=0).abs().mean()) for one in kind] for kind in (smooth, rough)
    )
    assert statistics.median(fine) < 0.5 * min(grainy)
    for champion in (*smooth, *rough):
        path = images.save(champion.image[None], tmp_path / f"{id(champion)}.png")
        [[seen, *_]] = digits.predict(images.load(path))
        assert seen.name == champion.name
        assert seen.probability == pytest.approx(champion.confidence, abs=1e-5)
