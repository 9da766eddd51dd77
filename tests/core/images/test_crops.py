"""Crops of the bundled pictures: balanced, repeatable, and no picture on both sides."""

import pytest
import torch

from labsupport.core import images
from labsupport.core.errors import BadSetting
from labsupport.core.images import crops as module
from labsupport.core.images.crops import CATEGORIES, crops


def test_every_category_has_as_many_and_the_seed_decides():
    data = crops("test", per_class=5, size=24)
    assert data.images.shape == (35, 3, 24, 24)
    assert data.labels.bincount().tolist() == [5] * 7
    assert data.categories == CATEGORIES == tuple(sorted(set(images.cutouts().categories)))
    images.check(data.images)
    one, again, other = (crops("test", per_class=2, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    for wrong in ({"split": "all"}, {"per_class": 0}, {"size": 4}):
        with pytest.raises(BadSetting):
            crops(**wrong)


def shared(some, others) -> bool:
    return any(torch.equal(a, b) for a in some for b in others if a.shape == b.shape)


def test_no_picture_and_no_background_is_in_both_splits():
    (train, behind_train), (test, behind_test) = map(module._drafts, ("train", "test"))
    for category in CATEGORIES:
        assert test[category], category
        assert not shared(train[category], test[category])
    assert not shared(behind_train, behind_test)
    pictures = [*images.cutouts(), *images.photos()]
    used = sum(picture.category in CATEGORIES for picture in pictures)
    assert used == sum(len(train[category]) + len(test[category]) for category in CATEGORIES)


def test_a_cut_out_stands_on_its_background():
    """A red square without opacity around it: what is least red is the background."""
    draft = torch.zeros(4, 96, 96)
    draft[0, 24:72, 24:72] = draft[3, 24:72, 24:72] = 1.0
    random = torch.Generator().manual_seed(0)
    plain = torch.full((3, 96, 96), 0.25)
    plain[0] = 0.0
    grounds = []
    for _ in range(8):
        crop = module._cut(draft, [plain], 32, random)
        distance = (crop - torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)).abs().sum(0).flatten()
        assert float(distance.min()) < 1e-4
        grounds.append(crop.flatten(1)[:, distance.argmax()])
    from_photo = [torch.allclose(ground, plain[:, 0, 0], atol=1e-4) for ground in grounds]
    assert any(from_photo)
    assert not all(from_photo)
