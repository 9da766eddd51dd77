"""Lab 13: what its panels say is what was computed, and the pictures show it."""

import numpy as np
import pytest
import torch

from labsupport.core import images
from labsupport.core.errors import LabError
from labsupport.core.images.sets import LabelledImages
from labsupport.labs import lab13_linear_classifiers as lab
from labsupport.methods import linear


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Small sets, so that a training takes a moment."""
    full = images.digits()
    small = LabelledImages(full.images[:600], full.labels[:600], full.categories)
    test = LabelledImages(full.images[600:900], full.labels[600:900], full.categories)
    monkeypatch.setattr(lab, "training_data", lambda data: (small, test))
    caches = (lab.trained, lab.chosen)
    for one in caches:
        one.cache_clear()
    yield
    for one in caches:
        one.cache_clear()


def test_the_slide_is_in_the_panel_and_pushing_a_number_changes_the_score_by_its_weight(opened):
    panel = opened(lab.numbers_panel())
    assert panel.words.startswith("Score −3, P(y = 1) = 0.0474.")
    before = np.asarray(panel.picture)
    panel.controls["x9"].source.value = 2.0  # from 5, with weight -1
    assert panel.words.startswith("Score 0, P(y = 1) = 0.5000.")
    assert not np.array_equal(before, np.asarray(panel.picture))
    panel.controls["x9"].source.value = 5.0 + 9e-16  # as a slider's steps add up
    assert panel.words.endswith("Largest change from the slide's x: 0.")
    panel.controls["x9"].put(4.0)
    assert panel.words.endswith("Largest change from the slide's x: 1.")


@pytest.mark.parametrize("rule", ["signs", "spread"])
def test_what_is_measured_is_what_theory_says(rule):
    found = lab.random_steps(rule)
    assert found.measured == pytest.approx(found.theory, rel=1e-6)
    power = 1.0 if rule == "signs" else 0.5
    fall = [(10 / count) ** power / 2 for count in found.inputs]
    assert found.theory == pytest.approx(fall, rel=1e-9)


def test_the_steps_panel_names_its_numbers(opened):
    panel = opened(lab.steps_panel())
    assert "every one moves by 0.5, and the score goes from −3 to 2" in panel.words
    assert panel.words.endswith("Random signs with the same step move it by about 1.6.")  # 5/√10
    panel.controls["place"].source.value = len(lab.DIMENSIONS) - 1
    assert panel.words.startswith("150528 inputs: every one moves by 3.32e−05")


def test_learned_steps_are_longer_inside_the_bounds(monkeypatch):
    monkeypatch.setattr(lab, "SIDES", (2, 4))
    lab.learned_steps.cache_clear()
    found = lab.learned_steps(pictures=6)
    lab.learned_steps.cache_clear()
    assert found.inputs == (12, 48)
    assert all(0 < step < 0.2 for step in (*found.theory, *found.measured))


def test_the_templates_are_learned_frame_by_frame(opened):
    panel = opened(lab.learning_panel("digits", epochs=6))
    assert "press Run" in panel.words
    blank = np.asarray(panel.picture)
    panel.run()
    share = lab.accuracy(panel.frame.classifier, lab.training_data("digits")[1])
    assert f"{share:.0%} of the test pictures" in panel.words
    assert panel.frame.progress == 1.0
    assert not np.array_equal(blank, np.asarray(panel.picture))


def test_one_scale_shows_which_template_is_weak():
    weights = torch.zeros(2, 3, 4, 4)
    weights[0, :, 0, 0], weights[1, :, 3, 3] = 1.0, 0.1
    one = linear.LinearClassifier(weights, torch.zeros(2), ("strong", "weak"))
    own, shared = (
        (np.asarray(lab.templates(one, shared=wanted)) == 255).all(2).sum()
        for wanted in (False, True)
    )
    assert own - shared == 28 * 28  # the weak template's one pixel, enlarged, is white no more


def test_the_mixing_panel_says_what_mix_does(opened):
    panel = opened(lab.mixing_panel("digits", "3", "8"))
    picture = lab.chosen("digits", "3")[:1]
    found = linear.mix(lab.trained("digits"), picture, "8", strength=100 / 255)
    assert lab.mixed_words(lab.trained("digits"), found, "8") == panel.words
    assert "100.0/255" in panel.words
    panel.controls["strength"].source.value = 0
    assert "No pixel moved by more than 0.0/255" in panel.words


def test_chosen_pictures_are_named_rightly_and_what_is_added_is_enlarged_around_grey():
    classifier = lab.trained("digits")
    sevens = lab.chosen("digits", "7")
    assert 1 <= len(sevens) <= lab.PICTURES
    assert (classifier.scores(sevens).argmax(1) == 7).all()
    found = linear.mix(classifier, lab.chosen("digits", "0")[:1], "6", strength=0.1)
    picture = np.asarray(lab.mixed_picture(classifier, found))
    side = 28 * 7
    middle = picture[-300:, side + 16 : 2 * side + 16] if picture.shape[0] > 300 else picture
    assert (picture == 128).all(2).sum() > side * side / 4  # where the weights are zero
    assert middle.std() > 0


def test_scaled_weights_make_the_first_bar_longer():
    picture = lab.scales_picture(lab.trained("digits"), lab.chosen("digits", "4")[:1])
    blue = (np.asarray(picture) == (0, 114, 178)).all(2)
    thirds = np.array_split(blue.sum(0), 3)
    assert thirds[0].sum() < thirds[1].sum() < thirds[2].sum()


def test_an_unknown_set_is_named_with_the_nearest(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(LabError, match="photos32"):
        lab.training_data("photos23")
