"""Lab 12's pictures and panels: what they show is what was computed."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
import toys

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.labs.lab12_fooling import digits as fooled_digits
from labsupport.labs.lab12_fooling import fooling as lab
from labsupport.methods import fooling

NAMES = ["left", "right", "none"]


@pytest.fixture(scope="module")
def halves():
    """Three classes: the brighter half wins; the third never does."""
    weights = torch.zeros(3, 3, 16, 16)
    weights[0, :, :, :8] = weights[1, :, :, 8:] = 0.1
    return toys.linear(weights, categories=NAMES)


@pytest.fixture(scope="module")
def left_image():
    image = torch.full((1, 3, 16, 16), 0.4)
    image[..., :8] = 0.5
    return image


@pytest.fixture(scope="module")
def fooled(halves, left_image):
    return fooling.fgsm(halves, left_image, "right", eps=0.1)


def test_random_signs_are_as_large_and_do_less(halves, left_image):
    random, along, many = (lab.pushed(left_image, halves, None, n, 20) for n in (0, 1, 10))
    assert float(random.result.largest) == pytest.approx(float(along.result.largest), abs=1e-6)
    assert not bool(random.result.success)
    assert bool(along.result.success)
    assert bool(many.result.success)
    assert "Still left" in lab.fooled_words(random.result, halves)
    assert "left (" in lab.fooled_words(along.result, halves)
    assert "became right" in lab.fooled_words(along.result, halves)
    assert (random.chances, along.chances, many.chances.shape) == (None, None, (11, 3))
    assert torch.allclose(many.chances[-1], many.result.after[0].softmax(0))
    one, ten = (lab.push_panel.function(attack, halves, "", 0)[0] for attack in (along, many))
    assert ten.height > one.height + 180  # the probabilities' curves


def test_the_change_is_enlarged_around_grey_and_its_factor_said(halves, left_image, fooled):
    shown, factor = lab.enlarged(fooled)
    assert factor == "5.0"
    assert torch.allclose(shown[..., :8], torch.tensor(0.0), atol=1e-5)
    assert torch.allclose(shown[..., 8:], torch.tensor(1.0), atol=1e-5)
    nothing = fooling.fgsm(halves, fooled.originals, "right", eps=0)
    assert torch.equal(lab.enlarged(nothing)[0], torch.full((1, 3, 16, 16), 0.5))
    # a few strong pixels do not hide the rest
    changed = left_image + 0.01
    changed[0, 0, 0, 0] = 1.0
    scores = torch.zeros(1, 3)
    found = fooling.AttackResult(left_image, changed, scores, scores, torch.tensor([0]), None)
    assert lab.enlarged(found)[1] == "50"


def test_the_wanted_class_has_a_bar_even_when_it_is_last(halves):
    scores = torch.tensor([5.0, 3.0, -9.0])
    two = np.asarray(lab.answer_bars(scores, halves, 2, count=2))
    assert two.shape[0] < np.asarray(lab.answer_bars(scores, halves, 2, count=3)).shape[0]


def test_the_picture_shows_original_change_and_sum(halves, fooled):
    picture = np.asarray(lab.fooled_picture(fooled, halves)).astype(int)
    assert picture.shape[1] >= 3 * 224
    assert abs(picture[120, 40].mean() - 0.5 * 255) < 2  # the original's left half
    assert picture[120, 260].mean() < 3  # what was taken away there
    assert abs(picture[120, 500].mean() - 0.4 * 255) < 2  # their sum


def test_a_line_of_a_linear_network_is_said_to_be_straight(halves, left_image):
    line = fooling.sign_line(halves, left_image, reach=0.1, points=41)
    words = lab.line_panel.function(line, left_image, halves, 0.5)[1]
    assert "R² of its score 1.00" in words
    assert lab.line_picture(line, NAMES, 0.05).width == 704


def test_what_is_saved_is_read_again_and_judged(halves, fooled, tmp_path):
    said = lab.save_fooled(halves, fooled, tmp_path / "one.png")
    assert "one.png: It still fools" in said
    assert images.saved_settings(tmp_path / "one.png")["label"] == "left"
    image = torch.full((1, 3, 16, 16), 127 / 255)
    image[..., :8] = 128 / 255
    tiny = fooling.fgsm(halves, image, "right", eps=0.6 / 255)
    assert bool(tiny.success)
    lost = lab.save_fooled(halves, tiny, tmp_path / "two.png")
    assert "does NOT fool the network any more: left" in lost
    assert "0.60/255 before" in lost


def test_a_defence_runs_from_mild_to_harsh_and_is_told_with_its_control(
    halves, fooled, monkeypatch
):
    assert lab.strength_at("jpeg", 0.0) == pytest.approx(95)
    assert lab.strength_at("jpeg", 1.0) == pytest.approx(5)
    assert lab.strength_at("noise", 0.0) == pytest.approx(1)
    assert lab.strength_at("noise", 1.0) == pytest.approx(64)
    trial = fooling.DefenceTrial(0.0, 0.0, 1.0, torch.tensor([[0.0, 0.0, 9.0]]), fooled.after)
    monkeypatch.setattr(fooling, "try_defence", lambda *_: trial)
    words = lab.push_panel.function(lab.Pushed(fooled), halves, "blur", 0.5)[1]
    assert "does not bring it back to left" in words
    assert "blur, σ = 1.1 px alone turns the clean picture into none" in words
    nothing = fooling.fgsm(halves, fooled.originals, eps=0)
    assert "the attack had not fooled" in lab.defended(nothing, halves, "blur", 1)[1]


def test_rows_of_defences_count_from_the_networks_own_answers():
    network = networks.load()
    rows = lab.defences_compared(network, ["koala"], eps=(0.1, 4))
    assert list(rows)[:2] == ["nothing", "a PNG file"]
    assert list(rows["nothing"].items())[::2] == [
        ("clean (the control)", 1),
        ("fooled, ε = 4/255", 0),
    ]
    assert lab.shares_picture(rows, "defence").width > 400


# ---- digits


def test_one_digit_becomes_all_others():
    panel = fooled_digits.minimal_perturbation_panel("FC10(1e-4)", digit=4)
    last = panel.run()
    panel.close()
    assert sorted(last.result.target.tolist()) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert bool(last.result.success.all())
    assert "9 of 9 targets" in panel.words
    assert last.progress == 1


def test_the_digit_itself_stands_where_the_network_reads_it(monkeypatch):
    drawn = Mock()
    monkeypatch.setattr(fooled_digits.figures, "mosaic", drawn)
    first = next(fooled_digits.minimal_perturbation_panel.function("LeNet-5", 4, 0))
    fooled_digits.becoming_picture(first, 3)
    titles = drawn.call_args.kwargs["titles"]
    assert titles[3:6] == ["3: waits", "4: as it is", "± 0.33"]


def test_the_tables_have_a_row_for_each_network(monkeypatch):
    names = ["FC10(1e-4)", "FC10(1)", "FC100-100-10"]
    rows = fooled_digits.table_rows(names, pictures=2, epochs=1)
    assert list(rows) == names
    assert all(bool(rows[name].fooled.success.all()) for name in names[:2])  # the deep one is new
    noise = Mock(wraps=fooling.noisy)
    monkeypatch.setattr(fooling, "noisy", noise)
    shares = fooled_digits.who_fools_whom(rows)
    assert list(shares) == [*rows, fooled_digits.NOISE]
    assert all(list(judged) == list(rows) for judged in shares.values())
    # what was made for a network fools it, where the network was right before
    test = images.digits("test")
    right = rows["FC10(1)"].fooled.label == test.labels[:2]
    assert shares["FC10(1)"]["FC10(1)"] >= float(right.float().mean())
    sizes = [float(size) for row in rows.values() for size in row.fooled.rms]
    assert float(noise.call_args.args[1]) == pytest.approx(np.mean(sizes), abs=1e-6)
    assert lab.shares_picture(shares, "made for").width > 100


def test_networks_are_trained_once():
    one = fooled_digits.trained("FC10(1e-4)", 1)
    assert fooled_digits.trained("FC10(1e-4)", 1) is one
    assert fooled_digits.trained("LeNet-5", 1).name == "lenet5"


def test_adversarial_training_is_reported_in_errors_and_confidence():
    train = fooled_digits.adversarial_training_panel.function
    last = list(train("FC10(1e-4)", eps=0.25, epochs=0.3, share=0.5, count=50))[-1]
    plain, robust = last.measured[last.steps]
    for show in ("errors", "confidence"):
        picture, words = fooled_digits.draw_training(last, show)
        assert picture.width == 704
        assert f"plain training errs on {plain.adversarial_error:.1%}" in words
        assert f"adversarial training on {robust.adversarial_error:.1%}" in words


def test_digit_pictures():
    assert fooled_digits.digit_lines(["LeNet-5"]).width >= 330
    found = fooled_digits.robustness_compared(["LeNet-5"], count=50)
    assert found["LeNet-5"].adversarial_error > found["LeNet-5"].error
