"""Fooling networks: promises kept to the last bit, closed forms on linear networks, and digits."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import toys
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import nn

from labsupport.core import images, training
from labsupport.core import network as networks
from labsupport.core.errors import BadImage, BadSetting
from labsupport.methods import fooling
from labsupport.methods.fooling import AttackResult, digit_networks


def random_weights(classes=3, seed=0):
    return torch.randn(classes, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def random_images(count=2, size=4, seed=1):
    return toys.image(size, count=count, seed=seed)


@pytest.fixture(scope="module")
def small():
    """A small ConvNet with random weights, five classes."""
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 25, 5))
    return networks.wrap(nn.Sequential(*layers), input_size=12)


def assert_same_attack(attacked: torch.Tensor, expected: torch.Tensor) -> None:
    """The same pixels but for one in 200: a slope that is nothing but rounding has no sure sign."""
    assert attacked.shape == expected.shape
    same = (attacked - expected).abs() <= 1e-6
    assert float(same.float().mean()) >= 0.995


@pytest.fixture(scope="module")
def digits():
    return images.digits(), images.digits("test")


@pytest.fixture(scope="module")
def softmax(digits):
    return fooling.train_digits("FC10(1e-4)", digits[0], epochs=3)


def test_on_a_linear_network_the_step_is_eps_times_the_sign_of_the_weights():
    weights = random_weights(classes=2)
    weights[0, 0, 0, 0] = weights[1, 0, 0, 0]  # and where they are equal nothing moves
    network = toys.linear(weights)
    image = 0.25 + random_images() / 2
    attacked = fooling.fgsm(network, image, 1, eps=0.125)
    expected = image + 0.125 * (weights[1] - weights[0]).sign()
    torch.testing.assert_close(attacked.images, expected)
    assert torch.equal(attacked.images[:, 0, 0, 0], image[:, 0, 0, 0])
    leaving = fooling.fgsm(network, image, label=0, eps=0.125)
    torch.testing.assert_close(leaving.images, expected)
    change = (weights[1] - weights[0]).abs().sum() * 0.125
    gained = (attacked.after - attacked.before) @ torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(gained, change.expand(2), rtol=1e-4, atol=1e-4)
    for steps in (1, 4, 20):  # without a size they reach the end of the ball
        result = fooling.pgd(network, image, eps=0.1, steps=steps)
        assert result.largest.tolist() == pytest.approx([0.1, 0.1]), steps


@pytest.mark.parametrize("attack", [fooling.fgsm, fooling.pgd])
@settings(max_examples=15, deadline=None)
@given(eps=st.floats(0, 1.5), seed=st.integers(0, 999))
@example(eps=0.0, seed=1)
def test_no_pixel_moves_further_than_eps_or_leaves_the_range(small, attack, eps, seed):
    image = random_images(3, 12, seed)
    image[0, 0] = image[0, 0].round()
    steps = {"steps": 3, "random_start": bool(seed % 2)} if attack is fooling.pgd else {}
    attacked = attack(small, image, 2, eps=eps, **steps)
    moved = (attacked.images.double() - image.double()).abs().max()
    assert float(moved) <= eps
    assert float(attacked.images.min()) >= 0
    assert float(attacked.images.max()) <= 1
    assert float(attacked.largest.max()) <= eps


def by_hand(scores, image, label, *, eps, step, steps, targeted):
    """PGD as the papers write it: cross-entropy, sign, back into the ball and into [0, 1]."""
    now = image.clone()
    for _ in range(steps):
        now = now.detach().requires_grad_(True)
        loss = nn.functional.cross_entropy(scores(now), label, reduction="sum")
        (gradient,) = torch.autograd.grad(-loss if targeted else loss, now)
        change = (now.detach() + step * gradient.sign() - image).clamp(-eps, eps)
        now = (image + change).clamp(0, 1)
    return now


@pytest.mark.parametrize("targeted", [False, True])
def test_it_is_what_the_papers_write_down(small, targeted):
    image, label = random_images(4, 12, seed=5), torch.tensor([0, 3, 2, 1])
    wanted = {"target": label} if targeted else {"label": label}
    for eps, step, steps in ((0.06, 0.06, 1), (0.1, 0.013, 9)):
        knobs = {"eps": eps, "step": step, "steps": steps}
        expected = by_hand(small.scores, image, label, targeted=targeted, **knobs)
        attacked = fooling.pgd(small, image, **knobs, **wanted)
        assert_same_attack(attacked.images, expected)
        assert torch.equal(attacked.target if targeted else attacked.label, label)
        if steps == 1:
            assert_same_attack(fooling.fgsm(small, image, eps=eps, **wanted).images, expected)


def test_the_slope_does_not_vanish_where_the_network_is_sure():
    """P rounds to 1 here: cross-entropy's gradient is zero, and its sign step stands still."""
    network = toys.linear(random_weights(), torch.tensor([400.0, 0.0, 0.0]))
    image = 0.25 + random_images() / 2
    knobs = {"eps": 0.1, "step": 0.1, "steps": 1, "targeted": False}
    same = by_hand(network.scores, image, torch.zeros(2).long(), **knobs)
    assert torch.equal(same, image)
    attacked = fooling.fgsm(network, image, eps=0.1)
    assert (attacked.after[:, 0] < attacked.before[:, 0]).all()
    assert float(attacked.largest.min()) > 0.09


def test_without_a_label_its_own_answer_is_left_and_with_one_it_is_asked_twice(small, monkeypatch):
    image = random_images(4, 12)
    attacked = fooling.fgsm(small, image, eps=0.3)
    assert torch.equal(attacked.label, attacked.before.argmax(1))
    assert torch.equal(attacked.success, attacked.after.argmax(1) != attacked.label)
    named = fooling.fgsm(small, image, 1, eps=0.3)
    assert torch.equal(named.success, named.after.argmax(1) == 1)
    seen, real = [], small.scores
    monkeypatch.setattr(small, "scores", lambda batch: seen.append(len(batch)) or real(batch))
    fooling.fgsm(small, image, eps=0.1, label=0)
    assert seen == [4, 4]  # forward and backward, and the scores of the result


def test_the_frames_end_where_the_call_does_and_a_random_start_lies_in_the_ball(small):
    image = random_images(2, 12)
    frames = list(fooling.pgd.frames(small, image, 1, eps=0.05, steps=6))
    last = fooling.pgd(small, image, 1, eps=0.05, steps=6)
    assert [frame.step for frame in frames] == list(range(7))
    assert torch.equal(frames[0].result.images, image)
    assert torch.equal(frames[0].result.after, frames[0].result.before)
    # the call may take its images in other groups, on several cores
    torch.testing.assert_close(frames[-1].result.images, last.images, rtol=0, atol=1e-6)
    torch.testing.assert_close(frames[-1].result.after, last.after, rtol=0, atol=1e-5)
    assert frames[3].progress == 0.5
    start = next(fooling.pgd.frames(small, image, eps=0.1, random_start=True)).result
    assert 0.09 < float(start.perturbation.abs().max()) <= 0.1
    assert abs(float(start.perturbation.mean())) < 0.02
    assert torch.equal(start.before, fooling.fgsm(small, image, eps=0).before)


def test_what_cannot_work_is_refused(small):
    two = random_images(2, 12)
    attack, search, line = fooling.pgd, fooling.minimal_perturbation, fooling.sign_line
    knobs = ((attack, "steps"), (search, "steps"), (search, "rounds"), (line, "points"))
    toys.assert_refused(
        ("no results", fooling.concatenate, []),
        ("eps is the largest change", attack, small, two, {"eps": -0.1}),
        ("eps is the largest change", attack, small, two, {"eps": math.nan}),
        ("step is how far", attack, small, two, {"step": -1.0}),
        ("one class, or a whole number for each", attack, small, two, torch.tensor([1])),
        ("one class, or a whole number for each", attack, small, two, torch.tensor([0.5, 1])),
        ("UnknownClass: .*0 to 4", fooling.fgsm, small, two, [0, 5]),
        ("UnknownClass: .*nearest", fooling.fgsm, small, two, "panda"),
        ("BadImage: .*one image at a time", line, small, two),
        ("complex", fooling.error_rate, small, two, torch.zeros(2) * 1j),
        ("'blur'", fooling.defend, two, "blurr"),
        ("rms", fooling.noisy, two, -1),
        ("at least 3", line, small, two[:1], {"points": 2}),
        ("FC10", fooling.train_digits, "FC11", images.digits()),
        ("share", fooling.AdversarialBatches, 0.1, {"share": 2}),
        *(
            (f"{knob} .*not .*{count}", method, small, two[:1], {knob: count})
            for (method, knob), count in itertools.product(knobs, (math.nan, math.inf, 0, 1.5))
        ),
        *(
            (r"is no class.*each of the 2 images", fooling.fgsm, small, two, {name: wrong})
            for wrong in (("stem", 1), ["panda", "cat"], [[0], [1, 2]], [None, 1])
            for name in ("target", "label")
        ),
        ("is no class", fooling.error_rate, small, two, ["panda", "cat"]),
    )


def test_a_linear_network_is_a_straight_line_with_the_promised_slope():
    weights = random_weights(classes=2)
    network = toys.linear(weights)
    image = random_images(1)
    line = fooling.sign_line(network, image, label=0, reach=0.5, points=9)
    assert torch.allclose(line.r_squared(), torch.ones(2), atol=1e-5)
    torch.testing.assert_close(line.log_odds, line.linearized, rtol=1e-4, atol=1e-4)
    assert line.derivative == pytest.approx(-float((weights[0] - weights[1]).abs().sum()), rel=1e-4)
    middle = network(image)[0].detach()
    torch.testing.assert_close(line.scores[4], middle)
    assert line.eps.tolist() == pytest.approx([-0.5 + n / 8 for n in range(9)])


@pytest.mark.parametrize(("clip", "reach"), [(False, 0.1), (True, 0.9)])
def test_the_line_ends_at_fgsm(small, clip, reach):
    image = 0.3 + 0.4 * random_images(1, 12)
    line = fooling.sign_line(small, image, 2, reach=reach, points=5, clip=clip)
    there = fooling.fgsm(small, image, 2, eps=reach)
    torch.testing.assert_close(line.scores[-1:], there.after, rtol=1e-4, atol=1e-4)
    assert line.target == 2


def test_what_is_bent_is_less_straight():
    """A score |x - 1/2|, summed: bent at the picture itself, straight nowhere across it."""

    def bent(x):
        score = (x.flatten(1) - 0.5).abs().sum(1, keepdim=True)
        return torch.cat([score, 0 * score + 0.1 * x.flatten(1)[:, :1]], 1)

    network = networks.wrap(toys.Applied(bent), input_size=4, **toys.PLAIN)
    line = fooling.sign_line(network, torch.full((1, 3, 4, 4), 0.51), 1, reach=0.2, points=21)
    straight = line.r_squared()
    assert straight[0] < 0.3
    assert straight[1] > 0.999
    assert (line.r_squared(0.005 + 0.2) >= straight - 1e-6).all()
    with pytest.raises(BadSetting, match="fewer than three"):
        line.r_squared(0.001)


@pytest.mark.parametrize(("classes", "scale"), [(2, 3.0), (3, 1e-3), (10, 3.0), (10, 1e-3)])
def test_on_a_linear_network_the_smallest_change_is_the_one_of_another_solver(classes, scale):
    weights = random_weights(classes, seed=classes) * scale
    network, image = toys.linear(weights, scale * torch.linspace(-1, 1, classes)), random_images(1)
    scores = network.scores(image)[0].double()
    target = int(scores.argmin())
    shortest = fooling.minimal_perturbation(network, image, target)
    assert shortest.success.all()
    planes, x = (weights[target] - weights).flatten(1).double().numpy(), image.double().numpy()
    leads = (scores[target] - scores).numpy()
    solved = minimize(
        lambda r: (r @ r, 2 * r), 0 * x.ravel(), jac=True, method="SLSQP",
        bounds=[(-there, 1 - there) for there in x.ravel()], options={"ftol": 1e-12},
        constraints={"type": "ineq", "fun": lambda r: planes @ r + leads, "jac": lambda _: planes},
    )  # fmt: skip
    assert float(shortest.length) == pytest.approx(solved.fun**0.5, rel=0.005)


def flat_network(scale):
    """Its scores, and how they differ, are as small as the scale."""

    def build():
        first = (nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True))
        rest = (nn.Conv2d(8, 12, 3, groups=4), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten())
        return nn.Sequential(*first, *rest, nn.Linear(72, 10), toys.Applied(lambda x: scale * x))

    return networks.wrap(toys.seeded(build), input_size=(33, 29))


def test_what_pgd_reaches_is_reached_with_less_however_flat_the_loss_is(digits, softmax):
    cases = [(softmax, digits[1].images[:20])]
    cases += [(flat_network(scale), toys.image(33, 29, count=2)) for scale in (1, 1e-2, 1e-4)]
    for network, some in cases:
        random = torch.Generator().manual_seed(0)
        own = network.scores(some).argmax(1)
        target = (own + torch.randint(1, 10, (len(some),), generator=random)) % 10
        minimal = fooling.minimal_perturbation(network, some, target)
        assert minimal.success.all()
        images.check(minimal.images)
        frames = fooling.minimal_perturbation.frames(network, some[:1], target[:1])
        assert any(bool(one.now.success) for one in frames)  # of a c, before PGD helps
        shortest = torch.full((len(some),), math.inf)  # of PGD's changes, with the eps that does it
        for eps in torch.logspace(-2, -0.3, 12).tolist():
            attacked = fooling.pgd(network, some, target, eps=eps, steps=15)
            shortest = torch.where(attacked.success, shortest.minimum(attacked.length), shortest)
        assert (minimal.length < shortest).all()
        assert float(minimal.length.mean()) < 0.8 * float(shortest.mean())


def test_where_there_is_no_gradient_it_starts_elsewhere_and_says_where_nothing_fools():
    def asleep(images):
        """Class 0 is always ahead of class 1; class 2 has no gradient where the image is dark."""
        bright = 50 * (images.mean((1, 2, 3)) - 0.45).relu()
        return torch.stack([bright * 0 + 1, bright * 0 + 0.99, bright], 1)

    network = networks.wrap(toys.Applied(asleep), input_size=4, **toys.PLAIN)
    dark = torch.full((1, 3, 4, 4), 0.3)
    for target in (2, None):  # nothing reaches what comes second
        result = fooling.minimal_perturbation(network, dark, target)
        assert (bool(result.success), int(result.target)) == (True, 2)
        assert float(result.length) == pytest.approx(48**0.5 * 0.17, rel=0.01)
    assert not fooling.minimal_perturbation(network, dark, 1, steps=5).success.any()


def test_it_is_no_longer_than_carlini_and_wagners(digits, small):
    """Theirs are foolbox's mean lengths, of 9 searches with 1000 steps each."""
    lenet5, random = networks.load("lenet5"), random_images(20, 12)
    cases = (lenet5, digits[1].images[:6], 2.895), (small, random, 0.1057)
    for network, pictures, length in cases:
        minimal = fooling.minimal_perturbation(network, pictures)
        assert minimal.success.all()
        assert float(minimal.length.mean()) <= 1.02 * length


def test_the_search_keeps_the_shortest_change_that_fools(softmax, digits):
    image = digits[1].images[1:2]
    frames = list(fooling.minimal_perturbation.frames(softmax, image))
    lengths = [float(one.best.length) for one in frames if one.best is not None]
    assert lengths == sorted(lengths, reverse=True)
    fools = [one.c for one in frames if bool(one.now.success)]
    honest = [one.c for one in frames if not bool(one.now.success)]
    assert max(fools) < min(honest)
    assert all(one.best is None or bool(one.best.success) for one in frames)
    # without a target it goes to the second answer; what is the first already needs no change
    own, second = softmax.scores(image)[0].topk(2).indices.tolist()
    assert (int(frames[-1].result.target), frames[-1].result.eps) == (second, None)
    [only] = fooling.minimal_perturbation.frames(softmax, image, own)
    assert (float(only.best.length), only.progress) == (0, 1)


def test_several_images_are_searched_one_after_the_other(softmax, digits):
    several = digits[1].images[:3]
    frames = list(fooling.minimal_perturbation.frames(softmax, several, rounds=3))
    assert [one.number for one in frames] == sorted(one.number for one in frames)
    assert {one.count for one in frames} == {3}
    shares = [one.progress for one in frames]
    assert shares == sorted(shares)
    result = frames[-1].result.images
    called = fooling.minimal_perturbation(softmax, several, rounds=3)
    assert torch.equal(result, called.images)
    for place in range(3):
        alone = fooling.minimal_perturbation(softmax, several[place : place + 1], rounds=3)
        torch.testing.assert_close(result[place : place + 1], alone.images)


def test_noise_has_the_size_that_is_asked_for():
    grey = torch.full((3, 3, 30, 30), 0.5)
    noisy = fooling.noisy(grey, torch.tensor([0.0, 0.05, 0.1]))
    sizes = (noisy - grey).square().mean((1, 2, 3)).sqrt()
    assert torch.allclose(sizes, torch.tensor([0.0, 0.05, 0.1]), atol=1e-4)
    assert not torch.equal(noisy[1:2], fooling.noisy(grey[:1], 0.05, seed=1))
    assert float(fooling.noisy(grey, 5.0).max()) == 1


def test_the_table_of_transfers_holds_the_errors():
    network = toys.linear(random_weights())
    other = toys.linear(random_weights(seed=9))
    image = random_images(12)
    labels = network(image).argmax(1)
    attacked = fooling.fgsm(network, image, eps=0.4, label=labels)
    table = fooling.transfer({"one": attacked.images}, {"one": network, "other": other}, labels)
    assert table.shape == (1, 2)
    assert float(table[0, 0]) == pytest.approx(float(attacked.success.float().mean()))
    assert float(table[0, 1]) == pytest.approx(fooling.error_rate(other, attacked.images, labels))
    assert fooling.error_rate(network, image, labels) == 0


def test_the_table_names_the_papers_networks():
    names = "FC10(1e-4) FC10(1e-2) FC10(1) FC100-100-10 FC200-200-10 AE400-10"
    assert " ".join(fooling.TABLE_1) == names
    assert fooling.DIGIT_NETWORKS["FC10(1)"].paper_error == 0.20


@pytest.mark.parametrize("name", ["FC100-100-10", "AE400-10"])
def test_digit_networks_learn(digits, name):
    network = fooling.train_digits(name, digits[0], epochs=2)
    assert fooling.error_rate(network, digits[1].images, digits[1].labels) < 0.25


def test_the_autoencoder_learns_to_fill_in(digits):
    grey, encoder, *_ = digit_networks.fresh("AE400-10").children()
    pixels = grey(digits[0].images[:500])
    frames = list(digit_networks._learn_to_fill_in(encoder, pixels, 5, 0))
    assert frames[-1][0] == 1
    assert frames[-1][1] < frames[0][1] / 2


def test_a_quarter_of_the_range_fools_the_softmax_nearly_always(digits, softmax):
    """Goodfellow's 99.9 % at 79.3 %, on our 2000 test digits."""
    measured = fooling.robustness(softmax, digits[1].images, digits[1].labels, eps=0.25)
    assert measured.error < 0.12
    assert measured.adversarial_error > 0.98
    assert 0.6 < measured.confidence < 0.95


def test_adversarial_training_lowers_the_error(digits):
    train, test = digits
    some = images.LabelledImages(test.images[:500], test.labels[:500], test.categories)
    last = fooling.adversarial_training("ReLU 200-200-10", train, some, epochs=2)
    plain, robust = last.measured[last.steps]
    assert plain.adversarial_error > 0.95
    assert robust.adversarial_error < plain.adversarial_error - 0.2
    assert last.progress == 1
    assert min(last.measured) == 1


def test_the_change_of_adversarial_training_is_fgsm(softmax, digits):
    module = softmax.graph
    batch = training.Batch(
        digits[0].images[:8], digits[0].labels[:8], module, torch.Generator().manual_seed(0)
    )
    all_of_them = fooling.AdversarialBatches(0.1, share=1.0)(batch)
    expected = fooling.fgsm(softmax, batch.images, label=batch.labels, eps=0.1)
    assert_same_attack(all_of_them, expected.images)
    assert torch.equal(fooling.AdversarialBatches(0.1, share=0.0)(batch), batch.images)

    with pytest.raises(BadSetting, match="two parts"):
        fooling.adversarial_training("AE400-10", *digits)


@pytest.mark.parametrize("eps", [0.7 / 255, 2 / 255, 8 / 255, 0.11])
def test_what_a_file_holds_stays_within_eps(small, eps, tmp_path):
    image = random_images(1, 12, seed=4)
    attacked = fooling.fgsm(small, image, 1, eps=eps)
    kept = fooling.quantize(small, attacked)
    path = images.save(kept.images, tmp_path / "fooled.png")
    back = images.load(path)
    assert torch.equal(back, kept.images)
    assert float((back.double() - image.double()).abs().max()) <= eps + 1e-6
    torch.testing.assert_close(kept.after, small(back).detach().cpu(), rtol=1e-5, atol=1e-5)
    assert torch.equal(kept.originals, image)


@pytest.mark.parametrize("greys", [3, 0.3])
def test_an_eps_on_the_grid_loses_nothing_and_less_than_half_a_grey_value_is_lost(small, greys):
    image = (random_images(1, 12) * 255).round() / 255
    attacked = fooling.fgsm(small, image, 1, eps=greys / 255)
    expected = attacked.images if greys == 3 else image
    kept = fooling.quantize(small, attacked).images
    torch.testing.assert_close(kept, expected, rtol=0, atol=1e-6 if greys == 3 else 1e-7)
    free = replace(attacked, images=attacked.images.lerp(image, 0.2), eps=None)
    nearest = (free.images * 255).round() / 255  # a change without an eps has no such end
    assert torch.equal(fooling.quantize(small, free).images, nearest)


@pytest.mark.parametrize("way", fooling.DEFENCES)
def test_defences_give_images(way):
    image = random_images(2, 16)
    defended = fooling.defend(image, way)
    assert defended.shape == image.shape
    images.check(defended)
    assert not torch.equal(defended, image)
    low, high = fooling.DEFENCES[way].limits
    if low < high:
        ends = [fooling.defend(image, way, value) for value in (low, high)]
        changes = [float((end - image).abs().mean()) for end in ends]
        assert (changes[0] < changes[1]) == (way != "jpeg")
        with pytest.raises(BadSetting, match="strength"):
            fooling.defend(image, way, high * 2)


def test_a_defence_is_tried_on_clean_images_too():
    """A network of the mean's brightness: noise of mean zero changes no answer, blur neither."""
    weights = torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])
    network = toys.linear(weights, torch.tensor([0.0, -384.0]))
    image = torch.full((4, 3, 16, 16), 0.47) + 0.02 * random_images(4, 16)
    attacked = fooling.fgsm(network, image, 1, eps=0.06)
    assert attacked.success.all()
    nothing, blurred = (fooling.try_defence(network, attacked, way) for way in (None, "blur"))
    for tried in (nothing, blurred):
        shares = (tried.clean_right, tried.attacked_right, tried.still_successful)
        assert shares == (1.0, 0.0, 1.0)
    torch.testing.assert_close(nothing.attacked, attacked.after)
    smaller = toys.linear(random_weights())
    for other_size in (fooling.quantize, lambda *two: fooling.try_defence(*two, None)):
        with pytest.raises(BadImage, match="does not fit"):
            other_size(smaller, attacked)


def test_results_measure_themselves():
    one = torch.zeros(2, 3, 2, 2)
    other = one.clone()
    other[1, 0, 0] = torch.tensor([0.3, -0.4])
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    result = AttackResult(one, other, scores, scores, torch.tensor([0, 0]), None)
    assert result.length.tolist() == pytest.approx([0, 0.5])
    assert result.rms.tolist() == pytest.approx([0, 0.5 / 12**0.5])
    assert result.largest.tolist() == pytest.approx([0, 0.4])
    assert result.success.tolist() == [False, True]
    assert replace(result, target=torch.tensor([0, 0])).success.tolist() == [True, False]
