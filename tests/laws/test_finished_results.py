"""What a method gives is finished: it is pickled and copied, and is then the same."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from cases import CASES, family, image_for

from labsupport.core.network import Network

KEPT = {"pickle": lambda result: pickle.loads(pickle.dumps(result)), "copy": copy.deepcopy}


class Recorder:
    """Stands in for a method and keeps what it gives; of frames, the last one."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.results: list[Any] = []

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._keep(self._method(*given, **named))

    def frames(self, *given: Any, **named: Any) -> Any:
        return self._keep(self._method.frames(*given, **named))

    def _keep(self, result: Any) -> Any:
        if isinstance(result, Iterator):
            return self._until_the_last(result)
        self.results.append(result)
        return result

    def _until_the_last(self, frames: Iterator[Any]) -> Iterator[Any]:
        last: list[Any] = []
        try:
            for frame in frames:
                last = [frame]
                yield frame
        finally:
            self.results += last
            if hasattr(frames, "close"):
                frames.close()


def recorded(name: str, patch: pytest.MonkeyPatch) -> Recorder:
    """A recorder wherever the methods and the table of cases know this one by name."""
    home, function = name.split(".", 1)
    function, *_ = function.split(".")
    method = getattr(importlib.import_module(f"labsupport.methods.{home}"), function)
    recorder = Recorder(method)
    for title, module in list(sys.modules.items()):
        if title == "cases" or title.startswith("labsupport.methods."):
            for own in [own for own, value in vars(module).items() if value is method]:
                patch.setattr(module, own, recorder)
    return recorder


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
def test_a_result_is_pickled_and_copied(case, monkeypatch):
    recorder = recorded(case.name, monkeypatch)
    case.call(family("SqueezeNet"), image_for("SqueezeNet"), 3)
    assert recorder.results, f"the row of {case.name} never calls it"
    monkeypatch.undo()
    for result in recorder.results:
        for name, way in KEPT.items():
            assert alike(way(result), result), name


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
