"""Lab 01's four tasks: the words beside each picture say what is in it."""

import numpy as np
import pytest
import torch

from labsupport.core import images
from labsupport.core.errors import WeightsUnavailable
from labsupport.core.network import detectors
from labsupport.labs.lab01_case_studies import four_tasks as lab


@pytest.fixture(scope="module")
def bear():
    return images.standard(images.sample("polar_bear"))


def test_the_scene_is_an_image_and_the_same_each_time():
    scene = lab.scene()
    images.check(scene)
    assert scene.shape == (1, 3, 480, 720)
    assert lab.scene() is scene


@pytest.mark.parametrize("task", lab.TASKS)
def test_each_task_says_what_kind_of_answer_it_gives(task):
    picture, words = lab.tasks_panel.function(images.sample("polar_bear"), task, 0.2)
    assert lab.ANSWERS[task] in words
    assert "ice bear" in words
    assert picture.width > 224


def test_a_larger_share_gives_a_smaller_box(network, bear):
    index = network.class_index("ice bear")

    def area(share):
        words = lab.located(network, bear, index, share=share)[1]
        numbers = [int(word.strip(",.")) for word in words.split() if word.strip(",.").isdigit()]
        left, right, top, bottom = numbers
        return (right - left) * (bottom - top)

    assert area(0.2) > area(0.5) > 0


def test_the_cut_keeps_the_bear_and_little_else(network, bear):
    mask = lab.cut_out(network, bear, network.class_index("ice bear")).mask
    assert 0.1 < float(mask.float().mean()) < 0.4
    assert bool(mask[90:140, 60:180].float().mean() > 0.7)  # its trunk
    assert float(mask[:50].float().mean()) < 0.02  # the bushes behind


def test_large_pictures_keep_their_shape():
    result = lab._large(torch.zeros(1, 3, 300, 600))
    assert result.shape[2:] == (360, 720)
    assert lab._large(torch.zeros(1, 3, 512, 512)).shape[2:] == (448, 448)


def test_class_maps_share_one_scale_and_the_applications_are_made_here(network):
    one = lab.dense_picture(network, lab.scene(), ["zebra"])
    two = lab.dense_picture(network, lab.scene(), ["zebra", "goldfish"])
    assert two.width > 1.5 * one.width
    assert np.asarray(two).std() > 10
    assert lab.applications(network).width > 700


# Detectors, with random weights


@pytest.fixture
def menu(monkeypatch):
    monkeypatch.setattr(detectors, "is_cached", lambda name: name.startswith("ssdlite"))
    menu = lab.task_menu("localization")
    made = []

    def load(name):
        made.append(name)
        if not name.startswith("ssdlite"):
            raise WeightsUnavailable(f"the weights of {name} could not be downloaded.")
        return detectors.load(name, weights="random", device="cpu")

    menu._load = load
    return menu, made


def test_a_detector_loads_only_when_it_is_chosen_and_answers_in_the_panel(menu):
    menu, made = menu
    assert menu.value == "localization"
    labels = dict(menu.source.options)
    assert "detection: SSDlite" in labels
    assert "Faster R-CNN, small (75 MB)" in labels
    assert made == []
    menu.put("ssdlite320_mobilenet_v3_large")
    assert menu.value.title == "SSDlite"
    picture, words = lab.tasks_panel.function(torch.zeros(1, 3, 100, 120), menu.value, 0.2)
    assert picture.size == (538, 448)
    assert words.endswith("The answer: any number of names and boxes.")
    menu.put("detection")
    assert menu.value == "detection"
    assert made == ["ssdlite320_mobilenet_v3_large"]


def test_a_detector_that_cannot_be_had_says_so_and_the_task_stays(menu):
    menu, _ = menu
    said = []
    menu.listen(lambda: None, lambda words, kind: said.append((words, kind)))
    menu.put("segmentation")
    menu.put("fasterrcnn_resnet50_fpn_v2")
    loading, *_, (words, kind) = [one for one in said if one[0]]
    wanted = "Loading Faster R-CNN, ResNet-50 (168 MB) ..."
    assert loading == (wanted, "note")
    assert words.endswith("could not be downloaded. segmentation stays.")
    assert kind == "control"  # the menu says it, not the picture
    assert (menu.value, menu.source.value) == ("segmentation", "segmentation")
    [far] = [step for step in menu.steps() if step.complains]
    far.act()
    assert "is not on this computer" in said[-1][0]


def test_what_a_detector_finds_is_drawn_with_name_and_score(bear):
    class Two:
        categories = ("__background__", "person", "bear")

        def __call__(self, image, *, threshold):
            assert threshold == 0.5
            return (
                detectors.Detection("bear", 2, 0.97, (40, 60, 200, 160)),
                detectors.Detection("person", 1, 0.6, (2, 5, 60, 90)),
            )

    picture, words = lab.found_by(Two(), bear)
    assert words == "2 found: bear, person. The answer: any number of names and boxes."
    plain = (bear[0].permute(1, 2, 0).numpy() * 255).round().astype(int)
    drawn = np.asarray(picture).astype(int)
    changed = np.abs(drawn - plain).sum(2) > 12
    assert changed[100, 40]  # a box's left edge
    assert changed[145:158, 45:130].sum() > 150  # its words
    assert not changed[120, 100]
