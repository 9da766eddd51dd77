"""Detectors with random weights: what torchvision finds, as names and boxes inside the picture."""

import urllib.request

import pytest
import torch
import toys

from labsupport.core.errors import WeightsUnavailable
from labsupport.core.network import catalog, detectors


@pytest.fixture(scope="module")
def detector():
    return detectors.load(weights="random", device="cpu")


def test_it_finds_what_torchvisions_module_finds(detector):
    image = toys.image(70, 96)
    with torch.no_grad():
        [expected] = detector.module([image[0]])
    result = detector(image, threshold=0.0)
    assert len(result) == len(expected["scores"]) > 0
    order = expected["scores"].argsort(descending=True, stable=True)
    assert [one.index for one in result] == expected["labels"][order].tolist()
    for one, box in zip(result, expected["boxes"][order].tolist(), strict=True):
        assert one.name == detector.categories[one.index]
        left, top, right, bottom = one.box
        assert 0 <= left < right <= 96
        assert 0 <= top < bottom <= 70
        assert all(abs(mine - edge) <= 1 for mine, edge in zip(one.box, box, strict=True))
    chances = [one.probability for one in result]
    assert chances == sorted(chances, reverse=True)
    half = chances[len(chances) // 2]
    assert len(detector(image, threshold=half)) == sum(one >= half for one in chances)


def test_the_classes_are_cocos_and_random_weights_the_same_each_time(detector):
    assert detector.categories[0] == "__background__"
    assert {"person", "zebra", "bear", "bicycle"} <= set(detector.categories)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    again = detectors.load(weights="random", device="cpu")
    assert torch.equal(before, torch.get_rng_state())
    assert "random" in again.source
    pairs = zip(detector.module.parameters(), again.module.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not any(one.requires_grad for one in detector.module.parameters())
    assert not detector.module.training


def test_boxes_are_whole_and_never_empty():
    for edges, box in (
        ([1.7, 2.2, 8.1, 9.0], (1, 2, 9, 9)),
        ([29.9, 19.9, 30.0, 20.0], (29, 19, 30, 20)),
        ([30.0, 20.0, 30.0, 20.0], (29, 19, 30, 20)),
    ):
        assert detectors._whole(edges, (20, 30)) == box
    assert [detectors.megabytes(name) for name in detectors.NAMES] == [14, 75, 168]


def test_what_cannot_be_says_so(detector):
    toys.assert_refused(
        ("BadImage", detector, torch.full((1, 3, 64, 64), 2.0)),
        ("BadImage: .*one image at a time", detector, toys.image(64, count=2)),
        ("BadSetting: .*from 0 to 1", detector, toys.image(64), {"threshold": 1.5}),
        ("UnknownNetwork: .*resnet50_fpn_v2", detectors.load, "fasterrcnn_resnet50"),
    )


def test_without_a_network_it_says_what_to_do(monkeypatch, tmp_path):
    def refuse(*_arguments, **_settings):
        raise OSError("no network here")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(catalog.socket, "create_connection", refuse)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    name = "fasterrcnn_resnet50_fpn_v2"
    assert not detectors.is_cached(name)
    with pytest.raises(WeightsUnavailable, match=r"could not be downloaded .no network here.*into"):
        detectors.load(name)
    file = catalog.cached(detectors._recipe(name))
    file.parent.mkdir(parents=True)
    file.touch()
    assert detectors.is_cached(name)
