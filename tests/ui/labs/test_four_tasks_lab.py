"""Lab 01's four tasks: the words beside each picture say what is in it."""

import numpy as np
import pytest
import torch

from labsupport.core import images, networks
from labsupport.ui.labs import four_tasks as lab


@pytest.fixture(scope="module")
def network():
    return networks.load()


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
    picture, words = lab._answered(images.sample("polar_bear"), task, 0.2)
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
    found = lab._large(torch.zeros(1, 3, 300, 600))
    assert found.shape[2:] == (360, 720)
    assert lab._large(torch.zeros(1, 3, 512, 512)).shape[2:] == (448, 448)


def test_class_maps_share_one_scale(network):
    one = lab.dense_picture(network, lab.scene(), ["zebra"])
    two = lab.dense_picture(network, lab.scene(), ["zebra", "goldfish"])
    assert two.width > 1.5 * one.width
    assert np.asarray(two).std() > 10


def test_the_applications_are_made_here(network):
    assert lab.applications(network).width > 700
