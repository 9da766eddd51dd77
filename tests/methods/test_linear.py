"""Linear classifiers against the slide's numbers and closed forms."""

import itertools
import math

import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.images.perturbations import signed_step
from labsupport.core.images.sets import LabelledImages
from labsupport.methods import linear

pytestmark = pytest.mark.usefixtures("one_thread")
X, W = torch.tensor(linear.SLIDE_INPUT), torch.tensor(linear.SLIDE_WEIGHTS)


def classifier(classes: int = 4, height: int = 5, width: int = 7, seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, 3, height, width, generator=random)
    bias = torch.randn(classes, generator=random)
    return linear.LinearClassifier(weights, bias, tuple("abcdefgh"[:classes]))


def examples(count: int = 120, size: tuple[int, int] = (4, 6), classes: int = 3):
    """Grey noise with a brighter column for each class."""
    pictures = toys.image(*size, count=count) * 0.5
    labels = torch.arange(count) % classes
    for picture, label in zip(pictures, labels, strict=True):
        picture[:, :, 2 * label] += 0.3
    return LabelledImages(pictures, labels, tuple("abc"[:classes]))


def test_the_slides_numbers():
    adversarial = signed_step(X, W, 0.5, bounds=None)
    assert adversarial.tolist() == [1.5, -1.5, 3.5, -2.5, 2.5, 1.5, 1.5, -3.5, 4.5, 1.5]
    before, after = linear.predict(X, W), linear.predict(adversarial, W)
    assert (before.score, round(before.probability, 4)) == (-3.0, 0.0474)
    assert (after.score, round(after.probability, 4)) == (2.0, 0.8808)
    assert linear.predict([1.0, 2.0], [3.0, -1.0], 0.25).score == 1.25  # the bias is added
    assert linear.predict([0.0], [1.0], math.log(3)).probability == pytest.approx(0.75)


def test_the_least_step_is_enough_and_no_smaller_one_is_and_the_flipping_step_is_one():
    random = torch.Generator().manual_seed(1)
    x, w = (torch.randn(300, generator=random, dtype=torch.float64) for _ in range(2))
    gain = 7.0
    step = linear.minimal_step(w, gain)
    assert float((step * w.sign()) @ w) == pytest.approx(gain)
    tried = (2 * torch.rand(2000, 300, generator=random, dtype=torch.float64) - 1) * step
    assert float((tried @ w).max()) < gain
    assert linear.minimal_step(w, 0.0) == 0
    before, after = (linear.predict(one, w).score for one in (x, x + step * w.sign()))
    assert after == pytest.approx(before + gain)
    for bias in (-2.0, 0.0, 5.0):  # what flips is the score over the sum of weights
        theory = linear.minimal_step(w, abs(linear.predict(x, w, bias).score))
        assert linear.step_to_boundary(x, w, bias) == pytest.approx(theory, rel=1e-9)
    # and bounds make it longer or endless
    x, w = torch.tensor([0.9, 0.5]), torch.tensor([1.0, 1.0])
    unit = (0, 1)
    table = ((-1.6, unit, 0.1), (-1.7, unit, 0.2), (-1.7, None, 0.15), (-2.5, unit, math.inf))
    for bias, bounds, step in table:
        assert linear.step_to_boundary(x, w, bias, bounds=bounds) == pytest.approx(step)


@pytest.mark.parametrize(
    ("count", "size", "scale", "decay"),
    [(40, 60, 30, 0.05), (80, 5, 1, 0.01), (80, 5, 1, 1.0), (30, 200, 1, 0.01), (30, 200, 1, 1.0)],
)
def test_at_the_minimum_the_gradient_is_zero(count, size, scale, decay):
    """The loss is strictly convex: there is one such point."""
    random = torch.Generator().manual_seed(4)
    points = torch.randn(count, size, generator=random, dtype=torch.float64) * scale
    labels = (points[:, 0] + 0.5 * torch.randn(count, generator=random) > 0.3).long()
    fitted = linear.fit_logistic(points, labels, weight_decay=decay)
    scores = points @ fitted.weights + fitted.bias
    torch.testing.assert_close(fitted.scores(points), scores)
    off = torch.sigmoid(scores) - labels
    assert float((points.T @ off / count + decay * fitted.weights).abs().max()) < 1e-8
    assert abs(float(off.mean())) < 1e-8
    loss = -torch.sigmoid(scores * (2 * labels - 1)).log().mean()
    assert fitted.loss == pytest.approx(float(loss))


def test_scores_are_sums_its_network_says_the_same_and_can_be_read_off_again():
    one, pictures = classifier(), toys.image(5, 7, count=3)
    by_hand = torch.einsum("nchw,kchw->nk", pictures, one.weights) + one.bias
    assert torch.allclose(one.scores(pictures), by_hand, atol=1e-4)
    assert torch.allclose(one.probabilities(pictures).sum(1), torch.ones(3))
    assert (one.index("c"), one.index(2)) == (2, 2)

    network = one.network()
    assert torch.allclose(network(pictures), one.scores(pictures), atol=1e-4)
    again = linear.classifier_of(network)
    assert torch.allclose(again.weights, one.weights, atol=1e-5)
    assert torch.allclose(again.bias, one.bias, atol=1e-5)
    assert again.categories == one.categories
    # a normalization is folded in
    module = toys.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 20, 5)))
    network = networks.wrap(module, mean=(0.2, 0.4, 0.6), std=(0.5, 0.3, 0.2), input_size=(4, 5))
    read = linear.classifier_of(network)
    pictures = toys.image(4, 5, count=6)
    assert torch.allclose(read.scores(pictures), network(pictures), atol=1e-4)
    assert torch.allclose(read.bias, network(torch.zeros(1, 3, 4, 5))[0], atol=1e-4)


def test_scaling_changes_confidence_and_nothing_else():
    one, pictures = classifier(), toys.image(5, 7, count=20)
    sure = one.scaled(10)
    assert torch.equal(sure.scores(pictures).argmax(1), one.scores(pictures).argmax(1))
    assert sure.probabilities(pictures).amax(1).mean() > one.probabilities(pictures).amax(1).mean()
    step = linear.minimal_strength(one, pictures).measured
    assert torch.allclose(linear.minimal_strength(sure, pictures).measured, step, atol=1e-4)
    best = [answers[0] for answers in sure.predict(pictures, k=2)]
    chances = sure.probabilities(pictures)
    assert [answer.index for answer in best] == chances.argmax(1).tolist()
    assert [answer.probability for answer in best] == pytest.approx(chances.amax(1).tolist())
    assert best[0].name == one.categories[best[0].index]


def test_it_learns_what_is_folded_in_and_every_snapshot_stands_alone():
    data = examples()
    first, *_, last = snapshots = list(linear.train.frames(data, epochs=60, weight_decay=0.01))
    assert not first.classifier.weights.any()
    assert (first.step, last.progress) == (0, 1.0)
    right = last.classifier.scores(data.images).argmax(1) == data.labels
    assert float(right.float().mean()) == 1.0
    assert not torch.equal(snapshots[1].classifier.weights, last.classifier.weights)
    other = linear.train(data, epochs=60, weight_decay=0.01, seed=1)
    assert not torch.equal(other.classifier.weights, last.classifier.weights)
    template = last.classifier.weights.mean(1)
    assert all(int(template[k].mean(0).argmax()) == 2 * k for k in range(3))
    # the snapshot's own loss, as training saw it, is that of its weights on raw pixels
    loss = nn.functional.cross_entropy(last.classifier.scores(data.images), data.labels)
    assert float(loss) == pytest.approx(last.loss, abs=0.01)


def test_dark_and_bright_are_told_apart_by_the_bias():
    """Centring is folded into the bias: without it every picture would be bright."""
    level = torch.linspace(0.3, 0.9, 100).view(-1, 1, 1, 1)
    pictures = (level + 0.05 * toys.image(4, 5, count=100)).clamp(0, 1)
    labels = torch.arange(100) // 50
    last = linear.train(LabelledImages(pictures, labels, ("dark", "bright")), epochs=60)
    answers = last.classifier.scores(pictures).argmax(1)
    assert float((answers == labels).float().mean()) > 0.95
    assert last.classifier.bias[0] > last.classifier.bias[1] + 0.5


def test_the_templates_add_up_to_nothing_and_grey_stays_grey():
    grey = images.digits()
    few = LabelledImages(grey.images[:500], grey.labels[:500], grey.categories)
    last = linear.train(few, epochs=3)
    weights = last.classifier.weights
    assert float(weights.sum(0).abs().max()) < 1e-4
    assert torch.allclose(weights[:, 0], weights[:, 2], atol=1e-5)


def test_decay_makes_templates_smooth_and_steps_long():
    data = examples(count=200, size=(8, 8))
    ends = [linear.train(data, epochs=40, weight_decay=decay) for decay in (0.0, 1.0)]
    loose, tight = (end.classifier.weights for end in ends)
    rough = [one.diff(dim=2).square().mean() / one.square().mean() for one in (loose, tight)]
    assert rough[1] < rough[0]
    assert tight.norm() < loose.norm() / 2


@pytest.mark.parametrize("away", [True, False])
def test_mixing_is_adding_weights_and_clipping(away):
    one, pictures = classifier(), toys.image(5, 7, count=6)
    now = one.scores(pictures).argmax(1)
    mixture = linear.mix(one, pictures, "b", strength=0.3, subtract_current=away)
    for picture, mixed, label in zip(pictures, mixture.images, now, strict=True):
        direction = one.weights[1] - one.weights[label] * away  # zero where it is there already
        wanted = picture + 0.3 * direction / direction.abs().max().clamp_min(1e-6)
        assert torch.allclose(mixed, wanted.clamp(0, 1), atol=1e-6)
    assert torch.allclose(mixture.before, one.probabilities(pictures))
    assert torch.allclose(mixture.after, one.probabilities(mixture.images))
    assert torch.equal(mixture.perturbation, mixture.images - pictures)


@pytest.mark.parametrize("along", linear.ALONG)
@pytest.mark.parametrize("strength", [0.0, 1 / 255, 0.1, 1.0])
def test_mixed_pictures_are_pictures_and_near(along, strength):
    one, pictures = classifier(), toys.image(5, 7, count=8)
    mixed = linear.mix(one, pictures, "a", strength=strength, along=along)
    assert float((mixed.images.double() - pictures.double()).abs().max()) <= strength
    assert mixed.images.min() >= 0
    assert mixed.images.max() <= 1
    assert strength > 0 or torch.equal(mixed.before, mixed.after)


@pytest.mark.parametrize("along", linear.ALONG)
@pytest.mark.parametrize("away", [True, False])
def test_the_least_strength_is_just_enough(along, away):
    one, pictures = classifier(), toys.image(5, 7, count=10)
    strengths = linear.minimal_strength(one, pictures, along=along, subtract_current=away).measured
    settings = {"along": along, "subtract_current": away}
    for row, target in itertools.product(range(10), range(4)):
        least, picture = float(strengths[row, target]), pictures[row : row + 1]
        if not 0 < least < 0.99:
            continue
        enough = linear.mix(one, picture, target, strength=least * 1.001, **settings)
        short = linear.mix(one, picture, target, strength=least * 0.998, **settings)
        assert int(enough.after.argmax()) == target
        assert int(short.after.argmax()) != target


def test_theory_is_what_is_measured_where_nothing_is_clipped():
    one = classifier(classes=5, height=12, width=10, seed=3)
    pictures = 0.4 + 0.2 * toys.image(12, 10, count=8)
    for away in (True, False):
        strengths = linear.minimal_strength(one, pictures, subtract_current=away)
        near = strengths.theory < 0.4
        assert int(near.sum()) > 10
        measured, theory = strengths.measured[near], strengths.theory[near]
        assert torch.allclose(measured, theory, rtol=2e-3, atol=1e-4)


def test_no_strength_is_needed_for_the_class_that_is_there_and_none_reaches_one_too_far():
    one, pictures = classifier(), toys.image(5, 7, count=6)
    strengths = linear.minimal_strength(one, pictures)
    rows, now = torch.arange(6), one.scores(pictures).argmax(1)
    assert not strengths.measured[rows, now].any()
    assert not strengths.theory[rows, now].any()
    weights = torch.zeros(2, 3, 2, 2)
    weights[1, :, 0, 0] = 1.0
    far = linear.LinearClassifier(weights, torch.tensor([9.0, 0.0]), ("near", "far"))
    strengths = linear.minimal_strength(far, torch.full((1, 3, 2, 2), 0.5))
    assert strengths.measured[0, 1] == math.inf
    assert float(strengths.theory[0, 1]) == pytest.approx((9 - 1.5) / 3)


def test_the_matrix_holds_the_medians_of_what_is_named_rightly():
    one, pictures = classifier(), toys.image(5, 7, count=40)
    now = one.scores(pictures).argmax(1)
    labels, first = now.clone(), int(now[0])
    labels[0] = (first + 1) % 4  # one that the classifier gets wrong
    matrix = linear.strength_matrix(one, pictures, labels, each=3)
    chosen = torch.nonzero((labels == first) & (now == first)).flatten()[:3]
    wanted = linear.minimal_strength(one, pictures[chosen]).measured.median(0).values
    others = torch.arange(4) != first
    assert torch.equal(matrix[first][others], wanted[others])
    assert matrix.diagonal().isnan().all()
    never_right = linear.strength_matrix(one, pictures, (now + 1) % 4)
    assert never_right.isnan().all()


def test_what_cannot_work_is_refused():
    one, picture, fit = classifier(), toys.image(5, 7), linear.fit_logistic
    bent = toys.chain(lambda: [nn.Conv2d(3, 4, 3), nn.ReLU()], classes=3, input_size=(8, 7))
    toys.assert_refused(
        ("UnknownClass: .*nearest", one.index, "x"),
        *(("UnknownClass: .*classes 0 to 3", one.index, wrong) for wrong in (4, -1)),
        (r"BadImage: .*\(N, 3, 5, 7\)", one.scores, picture.mT),
        ("UnknownClass: .*'z'", linear.mix, one, picture, "z", {"strength": 0.1}),
        ("'sign'", linear.mix, one, picture, "a", {"strength": 0.1, "along": "signs"}),
        ("from 0 upwards", linear.mix, one, picture, "a", {"strength": -0.1}),
        ("labels", linear.strength_matrix, one, picture, torch.tensor([0, 1])),
        ("as many weights", linear.predict, [1.0, 2.0], [1.0]),
        ("all zero", linear.minimal_step, [0.0, 0.0], 1.0),
        ("gain", linear.minimal_step, [1.0], -1.0),
        ("not linear", linear.classifier_of, bent),
        *(
            (words, fit, torch.zeros(4, 2), torch.tensor(labels), {"weight_decay": decay})
            for words, labels, decay in (
                (r"\(4, 2\)", [0, 1, 1], 0.1),
                ("0 and 1", [0, 1, 2, 1], 0.1),
                ("both", [1, 1, 1, 1], 0.1),
                ("above 0", [0, 1, 1, 0], 0.0),
                ("above 0", [0, 1, 1, 0], math.nan),
            )
        ),
    )
