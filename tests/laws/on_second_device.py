"""Every public method on a device that is not the CPU, as `far.py` makes one.

Whatever a method leaves on the CPU meets the network's tensors there and raises, as on a GPU; and
its results are the CPU's, since the same numbers are computed.
"""

from dataclasses import replace

import cases
import far
import pytest
import torch
import toys
from cases import CALLS, image_for, network_for
from torch import nn

from labsupport.core import device as devices
from labsupport.core.network import Network
from labsupport.methods.optimize import CLEAR, SIMONYAN, YOSINSKI, visualize

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def elsewhere():
    """The laws' networks on the second device, by title."""
    with pytest.MonkeyPatch.context() as patch, far.second_device():
        patch.setattr(devices, "available", lambda: [far.NAME, "cpu"])
        yield {title: network_for(title, far.NAME) for title in ("SqueezeNet", "plain")}
    cases.family.cache_clear()
    cases.plain.cache_clear()


@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.name)
@pytest.mark.parametrize("title", ["SqueezeNet", "plain"])
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_made_on_the_wrong_device(case, title, elsewhere):
    image = image_for(title)
    expected = case.call(network_for(title), image, 3)
    with far.second_device():
        found = case.call(elsewhere[title], image, 3)
    assert list(found) == list(expected)
    for name, value in found.items():
        assert type(value) is torch.Tensor, f"{name} is left on the device"
        if value.is_floating_point():
            scale = max(1.0, float(expected[name].abs().max()))
            torch.testing.assert_close(value, expected[name], rtol=0, atol=2e-3 * scale)


# The guard can fail


def test_the_networks_are_really_there(elsewhere):
    for network in elsewhere.values():
        assert network.device.type == far.NAME
        assert {type(value) for value in network.graph.state_dict().values()} == {far.Far}
        with far.second_device():
            assert type(network(toys.image(*network.input_size))) is far.Far


HIDDEN = {
    "a constant": lambda scores: scores * torch.tensor([1.0, 2.0]),
    "an array": lambda scores: scores + torch.from_numpy(torch.ones(2).numpy()),
    "a mask": lambda scores: torch.where(torch.ones(2) > 0, scores, 0),
    "rows": lambda scores: scores.index_select(1, torch.arange(2)),
    "a value": lambda scores: scores.index_put((torch.tensor([0]),), torch.ones(1, 2)),
    "a module": lambda scores: nn.Linear(2, 2)(scores),
    "a part": lambda scores: torch.cat([scores, torch.zeros(1, 2)]),
    "a number beside others": lambda scores: torch.stack([scores.sum(), torch.tensor(1.0)]),
    "an index of the CPU's": lambda scores: torch.arange(2)[scores.argmax(1)],
    "a generator": lambda scores: torch.rand(2, generator=torch.Generator(), device=scores.device),
    "drawn with": lambda scores: scores.normal_(generator=torch.Generator()),
}
ALLOWED = {
    "sent": lambda scores: scores * torch.tensor([1.0, 2.0]).to(scores.device),
    "made there": lambda scores: scores * torch.tensor([1.0, 2.0], device=scores.device),
    "made alike": lambda scores: scores + torch.ones_like(scores) + scores.new_ones(2),
    "a list": lambda scores: scores[:, [1, 0]],
    "an index": lambda scores: scores[:, torch.tensor([1, 0])],
    "a number": lambda scores: scores * torch.tensor(2.0) + 1,
    "brought back": lambda scores: scores.cpu() + torch.ones(2),
    "to an array": lambda scores: scores.cpu().numpy(),
    "to numbers": lambda scores: (scores.tolist(), float(scores[0, 0]), scores.argmax().item()),
    "copied": lambda scores: torch.zeros(1, 2).copy_(scores),
}


def two_scores() -> torch.Tensor:
    return torch.tensor([[1.0, 3.0]]).to(torch.device(far.NAME, 0))


@pytest.mark.parametrize("step", HIDDEN.values(), ids=HIDDEN)
def test_what_is_hidden_on_the_cpu_is_found(step):
    with far.second_device(), pytest.raises(far.WrongDevice, match="CPU"):
        step(two_scores())


@pytest.mark.parametrize("step", ALLOWED.values(), ids=ALLOWED)
def test_what_crosses_openly_is_allowed(step):
    with far.second_device():
        step(two_scores())


def test_an_array_of_what_is_not_on_the_cpu_is_refused():
    with far.second_device(), pytest.raises((RuntimeError, TypeError), match=r"subclass|device"):
        two_scores().numpy()


def test_a_slope_is_the_cpus():
    with far.second_device():
        scores = two_scores().requires_grad_()
        [slope] = torch.autograd.grad(scores.square().sum(), scores)
        assert slope.tolist() == [[2.0, 6.0]]


@pytest.mark.parametrize("recipe", [CLEAR, SIMONYAN, *YOSINSKI], ids=lambda recipe: recipe.name)
def test_every_part_of_a_recipe_works_there(recipe, elsewhere):
    def last(network: Network) -> torch.Tensor:
        *_, frame = visualize.frames(network, 3, recipe=replace(recipe, steps=5), size=(48, 40))
        return frame.image

    with far.second_device():
        found = last(elsewhere["plain"])
    assert type(found) is torch.Tensor
    torch.testing.assert_close(found, last(cases.plain()), rtol=0, atol=2e-3)
