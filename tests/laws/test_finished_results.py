"""What a method gives is finished: it is pickled and copied, and is then the same."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
import toys
from cases import CASES, family, image_for, recorded

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.methods import activations, codes, fooling, occlusion, patches

KEPT = {"pickle": lambda result: pickle.loads(pickle.dumps(result)), "copy": copy.deepcopy}


def alike(one: Any, other: Any) -> bool:
    """The same numbers in the same form; NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, Network):
        return alike(one.graph.state_dict(), other.graph.state_dict())
    if dataclasses.is_dataclass(one):
        return alike(vars(one), vars(other))
    if isinstance(one, Mapping):
        return list(one) == list(other) and alike([*one.values()], [*other.values()])
    if isinstance(one, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, torch.nn.Module):
        return alike(one.state_dict(), other.state_dict())
    return one is other or bool(one == other) or one != one


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_result_is_pickled_and_copied(case):
    with recorded(case) as recorder:
        case.call(family("SqueezeNet"), image_for("SqueezeNet"), 3)
    assert recorder.results, f"the row of {case.name} never calls it"
    for result in recorder.results:
        for name, way in KEPT.items():
            assert alike(way(result), result), name


def test_where_there_is_nothing_to_do_a_copy_is_made():
    image, network = toys.image(30), toys.linear(torch.randn(2, 3, 30, 30))
    before, own = image.clone(), network.scores(image).argmax(1)
    for copied in (
        images.resize(image, 30, crop=30),
        images.squared(image, 0),
        codes.fitted(image, (30, 30)),
        patches.several_scales(image, (30,))[0],
        activations.distort(image, activations.Distortion()),
        occlusion.fill_image(network, image, image),
        fooling.minimal_perturbation(network, image, own).images,
    ):
        assert torch.equal(copied, before)
        copied.zero_()
    assert torch.equal(image, before)


# The law can be broken


@dataclasses.dataclass
class _Unfinished:
    scores: torch.Tensor
    lock: Any = None
    forgets: bool = False

    def __deepcopy__(self, _: object) -> _Unfinished:
        return _Unfinished(self.scores * 0 if self.forgets else self.scores)


def test_a_lock_a_generator_and_a_changed_copy_are_noticed():
    scores = torch.tensor([1.0, torch.nan])
    assert alike(copy.deepcopy(_Unfinished(scores)), _Unfinished(scores))
    assert not alike(copy.deepcopy(_Unfinished(scores, forgets=True)), _Unfinished(scores))
    for unfinished in (threading.Lock(), (number for number in range(3))):
        with pytest.raises(TypeError, match="pickle"):
            KEPT["pickle"](_Unfinished(scores, unfinished))
