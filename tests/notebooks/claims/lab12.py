"""What lab 12 says of its numbers."""

import torch
from claiming import Claims

from labsupport.core import images
from labsupport.labs.lab12_fooling import digits, fooling

claims = Claims(
    elsewhere={
        "3. FGSM with ε = 0.25 errs on nearly all digits.": "a question; asserted in topic 3",
        "4. A defense names 95 % of the pictures rightly that FGSM had spoiled.": "a question",
        "The ring of the 0 comes nearest to its digit.": "of the picture: a look, not a number",
        "Gradient ascent shows something of the strokes, most clearly of the 8 and the 3.": (
            "of the picture: a look, not a number"
        ),
        "Two random photographs are 100 % apart.": "the unit of the distance",
        "even at 16/255, where you see the noise.": "what the eye sees; the size is the slider's",
    },
    given=lambda names: {"module": names["network"], "image": names["panda"]},
)


def chance(attacked, network, name):
    """The probability of a class after an attack."""
    return float(attacked.result.after[0].softmax(0)[network.class_index(name)])


@claims.claim(
    "With random signs the panda stays a panda with more than 99.9 %",
    "Along the signs of the gradient, 0.5/255 leaves about 80 % for the panda.",
    "At 1/255 it is a lesser panda",
    "One step along the signs of the gradient is enough: 1/255 loses the panda.",
)
def _warm_up(network):
    for eps in (1, 4, 16):
        random = fooling.pushed(images.sample("giant_panda"), network, None, 0, eps)
        assert chance(random, network, "giant panda") > 0.999, eps
    half = chance(
        fooling.pushed(images.sample("giant_panda"), network, None, 1, 0.5), network, "giant panda"
    )
    assert 0.77 < half < 0.87, half
    one = fooling.pushed(images.sample("giant_panda"), network, None, 1, 1)
    assert network.categories[int(one.result.after.argmax())] == "lesser panda"


@claims.claim(
    "With ten small steps and gibbon in the box, 1/255 is enough for a gibbon with more than 99 %."
)
def _ten_steps(network):
    ten = fooling.pushed(
        images.sample("giant_panda"), network, network.class_index("gibbon"), 10, 1
    )
    assert chance(ten, network, "gibbon") > 0.99


@claims.claim(
    "The search reaches every one of the nine targets",
    "The lengths run from about 1.3 to 3.9.",
    "The digit itself has a length of 9.2.",
    "The target 8 needs little, and the targets 4 and 6 need most.",
)
def _becoming(becoming):
    result = becoming.run().result
    lengths = digits.grey_lengths(result)
    assert bool(result.success.all())
    assert 1.2 < float(lengths.min()) < 1.4, lengths
    assert 3.7 < float(lengths.max()) < 4.1, lengths
    assert abs(float(result.originals[0, 0].norm()) - 9.2) < 0.05
    order = [int(result.target[place]) for place in lengths.argsort()]
    assert 8 in order[:4], order
    assert set(order[-2:]) == {4, 6}, order


@claims.claim("The famous picture is a gibbon with about 66 % after one step of 2/255.")
def _famous(famous, network):
    assert network.categories[int(famous.after.argmax())] == "gibbon"
    assert abs(float(famous.after[0].softmax(0).max()) - 0.66) < 0.02


@claims.claim(
    "The panda's score falls steeply just right of 0, and soon bends.",
    "A straight line explains 83 % of its variance within ±4/255, and 37 % on the whole line.",
    "SqueezeNet is nearly linear only close to the picture, and that is enough to fool it.",
)
def _straight(along):
    near, whole = along.r_squared(4 / 255)[along.label], along.r_squared()[along.label]
    assert abs(float(near) - 0.83) < 0.01, near
    assert abs(float(whole) - 0.37) < 0.01, whole
    right = along.scores[along.eps >= 0, along.label]
    falls = -right.diff()
    assert falls[:3].mean() > 3 * falls[5:].mean().abs(), "steep just right of 0, then bent"


@claims.claim(
    "The softmax on pixels has straight lines (R² = 1), as it must.",
    "its median R² is about 0.9 over half of all gray values.",
)
def _straight_digits(along):
    def median(name):
        line = fooling.fooling.sign_line(
            digits.trained(name, digits.EPOCHS), digits.handwritten(3), reach=0.5, points=61
        )
        return float(line.r_squared().median())

    assert median("FC10(1e-4)") > 0.9999
    assert 0.85 < median("LeNet-5") < 0.95
    assert median("LeNet-5") > 1.5 * float(along.r_squared().median()), "bends less than SqueezeNet"


@claims.claim("So ε counts in pixel values")
def _plain(plain, network, panda):
    tool = fooling.fooling.pgd(network, panda, eps=1 / 255, step=0.25 / 255, steps=10)
    assert plain["answer"] != plain["label"]
    assert float((plain["changed"] - panda).abs().max()) <= 1 / 255 + 1e-6
    assert int(tool.after.argmax()) == int(plain["answer"])


@claims.claim(
    "after one step of 0.25 the plainly trained network errs on nearly all digits.",
    "the errors fall to about 60 % within three epochs.",
    "Adversarial training lowers the errors after one step.",
)
def _resisting(trained):
    plainly, robust = trained.measured[trained.steps]
    assert plainly.adversarial_error > 0.95
    assert 0.45 < robust.adversarial_error < 0.72, robust
    assert robust.adversarial_error < plainly.adversarial_error - 0.25


@claims.claim(
    "JPEG brings all eight photos back that were pushed by 1/255.",
    "At 4/255, which you hardly see, no defense brings a single photo back.",
    "The control: blur alone loses one of the eight clean photos.",
    "JPEG helps against 1/255, and not against 4/255.",
)
def _defences(defences):
    clean, weak, strong = next(iter(defences.values()))
    jpeg, blur = (
        next(row for name, row in defences.items() if word in name) for word in ("JPEG", "blur")
    )
    assert jpeg[weak] == 1
    assert all(row[strong] == 0 for row in defences.values())
    assert blur[clean] == 7 / 8
    assert all(row[clean] == 1 for row in defences.values() if row is not blur)


@claims.claim("the harshest JPEG turns the clean panda into a carton.")
def _carton(network, panda):
    harsh = fooling.fooling.defend(panda, "jpeg", fooling.strength_at("jpeg", 1.0))
    assert network.predict(harsh, k=1)[0][0].name == "carton"


@claims.claim(
    "After 3 000 pictures LeNet-5 is more than 99 % sure of all or nearly all ten classes",
    "far fewer classes reach 99 %.",
    "The 8 comes first, because LeNet-5 answers 8 to white noise.",
)
def _evolution(archives, reader):
    assert archives["CPPN"].count_above(0.99) >= 8
    assert archives["direct"].count_above(0.99) <= 5
    assert archives["direct"].best(1)[0].name == "8"
    noise = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(5))
    said = reader(noise.expand(-1, 3, -1, -1)).argmax(1)
    assert float((said == 8).float().mean()) > 0.9


@claims.claim(
    "The twin's HOG is about 6 % away from the Colosseum's, where the koala's was 96 % away.",
    "Its pixels stay 93 % away.",
)
def _twins(twins):
    twins.run()
    shown = [float(word) for word in twins.words.split() if word[0].isdigit()]
    code, before, pixels, *_ = shown
    assert 4 < code < 7, shown
    assert abs(before - 96) < 1, shown
    assert abs(pixels - 93) < 1.5, shown


@claims.claim(
    "images made for one network also fool others, but less often, and Gaussian noise of the same "
    "size fools none of them.",
    "more weight decay goes with more distortion, in the paper and here.",
    "Noise of the same size does nothing.",
    "The smallest change that fools was found for all digits tried here.",
)
def _transfer(rows, shares):
    *made_for, noise = shares
    for name in made_for:
        others = [share for judge, share in shares[name].items() if judge != name]
        assert shares[name][name] > max(others), name
        assert max(others) > 0, name
    labels = images.digits("test").labels[:6]
    for name, row in rows.items():
        assert bool(row.fooled.success.all())
        missed = float((row.fooled.label != labels).float().mean())
        assert shares[noise][name] <= missed, "noise adds no error"
    sizes = [float(rows[f"FC10({decay})"].fooled.rms.mean()) for decay in ("1e-4", "1e-2", "1")]
    assert sizes == sorted(sizes), sizes


@claims.claim(
    "The smallest change that makes the panda a gibbon is about a fifth of a gray value (root "
    "mean square).",
    "rounding throws most of the change away.",
)
def _too_small(tiny, saved):
    assert 0.15 < 255 * float(tiny.rms) < 0.25, tiny.rms
    kept = (tiny.images * 255).round() - (tiny.originals * 255).round()
    assert float((kept != 0).float().mean()) < 0.5
    assert "does NOT fool" in saved[0]
    assert "still fools" in saved[1]


@claims.claim("and 150 528 small pushes add up.")
def _pixels(panda):
    assert panda.numel() == 150_528
