"""What lab 13 says of its numbers."""

import torch
from claiming import Claims

from labsupport.labs import lab13_linear_classifiers as lab
from labsupport.methods import linear

claims = Claims(
    elsewhere={
        "1. All weights are ±2 instead of ±1, and there are ten.": "a question",
        "With decay 10 the templates are smooth: you see a yellow ball for food": "a look",
        "At 8/255 the fruit looks almost as before: search for a faint mottling.": "a look",
        "A picture to which it gave": "the paper's numbers",
    },
    given=lambda names: {
        "images": names["digits"].images[:2000, 0].flatten(1),
        "labels": names["digits"].labels[:2000],
    },
)


@claims.claim(
    "At the start the score is −3 and",
    "has the score 2 and",
    "$x + 0.5 \\operatorname{sign} w = (1.5, -1.5, 3.5, -2.5, 2.5, 1.5, 1.5, -3.5, 4.5, 1.5)$",
    "from 5 to 1, and the score is 1.",
    "seven of the ten sliders bring the score to ½.",
    "A step of 0.3 brings the score to exactly 0, and no smaller step does.",
)
def _slide(before, after, fooled, x, w):
    assert (round(before.score), round(before.probability, 4)) == (-3, 0.0474)
    assert (round(after.score), round(after.probability, 4)) == (2, 0.8808)
    assert fooled.tolist() == [1.5, -1.5, 3.5, -2.5, 2.5, 1.5, 1.5, -3.5, 4.5, 1.5]
    one = x.clone()
    one[8] = 1
    assert w @ one == 1
    assert w @ x + 7 * 0.5 == 0.5
    assert abs(linear.minimal_step(w, 3.0) - 0.3) < 1e-6
    assert abs(float(w @ (x + 0.3 * w.sign()))) < 1e-5


@claims.claim("$\\lVert w \\rVert_1 = 20$, so 0.25.")
def _twos(w):
    assert abs(linear.minimal_step(2 * w, 5.0) - 0.25) < 1e-6


@claims.claim(
    "the measured points lie on the theoretical lines, $1/n$ and $1/\\sqrt n$.",
    "With weights of ±1 and 150 528 inputs a step of 0.00003 is enough",
    "For weights of ±1 that is",
)
def _dimensions(curves):
    for name, power in (("weights of ±1", 1.0), ("scores keep their spread", 0.5)):
        one = curves[name]
        for inputs, theory, measured in zip(one.inputs, one.theory, one.measured, strict=True):
            assert abs(measured / theory - 1) < 1e-5
            assert abs(theory / (0.5 * (10 / inputs) ** power) - 1) < 1e-5
    signs = curves["weights of ±1"]
    assert signs.inputs[-1] == 150_528
    assert round(signs.measured[-1], 5) == 0.00003
    many = torch.ones(150_528)
    assert abs(float(many.norm(p=1) / many.norm()) / 150_528**0.5 - 1) < 1e-3


@claims.claim(
    "The learned classifier needs about 2/255 with 12 numbers already, and between 4/255 and 8/255 "
    "from 48 numbers on.",
    "More pixels of the same pictures get less weight each.",
)
def _learned(learned):
    twelve, *more = [255 * step for step in learned.measured]
    assert learned.inputs[:2] == (12, 48)
    assert 1.7 < twelve < 3, twelve
    assert all(4 < step < 8 for step in more), more


@claims.claim(
    "They remember the training pictures: 84 % of them are named rightly, and a step of about "
    "2/255 fools them.",
    "Only 37 % of the training pictures are named rightly, and it takes about 12/255.",
    "On the test pictures all four are right in about 30 %; guessing gives 14 %.",
    "The smooth templates are no worse on new pictures and harder to fool, though still easy.",
    "Weight decay makes templates smooth, costs the photos no test accuracy, and makes the fooling "
    "step longer.",
)
def _decays(right, steps_of_decays):
    assert steps_of_decays == sorted(steps_of_decays)
    assert abs(steps_of_decays[0] - 2) < 0.6, steps_of_decays
    assert abs(steps_of_decays[-1] - 12) < 1, steps_of_decays
    assert abs(right[0][0] - 0.84) < 0.02, right
    assert abs(right[10][0] - 0.37) < 0.02, right
    tests = [on_test for _, on_test in right.values()]
    assert all(0.26 < share < 0.34 for share in tests), tests
    assert tests[-1] >= tests[0] - 0.01, tests
    assert round(100 / 7) == 14


@claims.claim(
    "Space had 24 % and has 79 % now.",
    "Vehicles is farther away: it takes about 17/255.",
    "With only their signs, 8/255 is enough",
)
def _mixed(mixed, classifier, fruit, space):
    assert abs(float(mixed.before[0, space]) - 0.24) < 0.01
    assert abs(float(mixed.after[0, space]) - 0.79) < 0.01
    vehicles = classifier.index("vehicles")
    least = 255 * float(linear.minimal_strength(classifier, fruit).measured[0, vehicles])
    assert abs(least - 17) < 0.7, least
    for strength, wins in ((8, True), (3, False)):
        signs = linear.mix(classifier, fruit, "vehicles", strength=strength / 255, along="sign")
        assert (int(signs.after.argmax()) == vehicles) == wins, strength


@claims.claim(
    "LeNet-5 keeps its right answer for nearly all mixed digits.",
    "A direction made for one classifier hardly moves another one.",
)
def _other(kept, followed, fooled_share):
    assert fooled_share > 0.99
    assert kept > 0.9, kept
    assert followed < 0.05, followed


@claims.claim("One linear layer learns them, and a step along signs breaks it.")
def _plain(plain):
    right = (plain["before"] == plain["labels"]).float().mean()
    assert float(right) > 0.8, right
    fooled = (plain["after"] == plain["target"]).float().mean()
    assert float(fooled) > 0.8, fooled


@claims.claim(
    "The order of the bars is the same three times, but food has 18 %, 61 % and more than 99.9 %.",
    "All seven templates look like a koala, and not one probability has changed.",
)
def _scales(classifier, fruit, food, pair):
    answers = [classifier.scaled(factor).probabilities(fruit)[0] for factor in (0.1, 1, 10)]
    assert all(one.argsort().tolist() == answers[0].argsort().tolist() for one in answers)
    shares = [float(one[food]) for one in answers]
    assert abs(shares[0] - 0.18) < 0.01, shares
    assert abs(shares[1] - 0.61) < 0.01, shares
    assert shares[2] > 0.999, shares
    assert torch.allclose(*pair, atol=1e-4)
    assert len(lab.training_data("photos64")[0].categories) == 7
