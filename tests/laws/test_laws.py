"""Laws that every public method keeps; `cases.py` has the table."""

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from functools import partial
from unittest import mock

import cases
import numpy as np
import pytest
import torch
import toys
from cases import CALLS, CASES, FAMILIES, Case, Results, family, image_for, network_for
from torch import nn
from torch.nn import functional as F

from labsupport.core import device as devices
from labsupport.core.errors import LabError
from labsupport.core.network import Network

EVERY_FAMILY = os.environ.get("LABS_TESTS") == "all"


def name_of(part: Case | str) -> str:
    return part.name if isinstance(part, Case) else part


# several methods may share a call, which is then made once for all of them
each_case = pytest.mark.parametrize("case", CALLS, ids=name_of)
with_target = pytest.mark.parametrize(
    "case", [case for case in CALLS if case.wrong is not None], ids=name_of
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def test_every_public_method_is_in_the_table():
    named = [case.name for case in CASES]
    assert len(named) == len(set(named))
    assert set(named) == cases.public_methods()


# Nothing is left behind


def of_network(network: Network) -> dict[str, object]:
    """What a method could leave changed in a network."""
    root = network.graph
    parts = dict(root.named_modules())
    return {
        "hooks": {n: [dict(getattr(p, kind)) for kind in _HOOKS] for n, p in parts.items()},
        "modes": {name: part.training for name, part in parts.items()},
        "in place": {name: getattr(part, "inplace", None) for name, part in parts.items()},
        "asks for gradients": {name: p.requires_grad for name, p in root.named_parameters()},
        "gradients": {name: p.grad is None for name, p in root.named_parameters()},
        "weights": {
            name: (value.data_ptr(), value._version, float(value.double().sum()))
            for name, value in root.state_dict().items()
        },
        "types": {(value.dtype, value.device.type) for value in root.state_dict().values()},
        "graph": [str(node.format_node()) for node in root.graph.nodes],
    }


def of_process() -> dict[str, object]:
    """What a method could leave changed around it."""
    return {
        "torch's generator": torch.get_rng_state().tolist(),
        "Python's generator": random.getstate(),
        "numpy's generator": str(np.random.get_state()),  # noqa: NPY002 - the global one is meant
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "threads of torch": torch.get_num_threads(),
        "threads of torch in new threads": in_a_new_thread(torch.get_num_threads),
        "default type": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "matmul precision": torch.get_float32_matmul_precision(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "running threads": sorted(thread.name for thread in threading.enumerate()),
    }


def in_a_new_thread(ask):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    thread.join()
    return answers[0]


@contextlib.contextmanager
def untouched(network: Network, image: torch.Tensor) -> Iterator[None]:
    """Fails where something is left behind."""
    before, around, pixels = of_network(network), of_process(), image.clone()
    try:
        yield
    finally:
        for key, value in of_network(network).items():
            assert value == before[key], key
        for key, value in of_process().items():
            assert value == around[key], key
        assert torch.equal(image, pixels)
        assert image.grad is None


CALLERS_MODES = {
    "SqueezeNet": (torch.no_grad, torch.enable_grad),
    "plain": (torch.enable_grad,),
}


@pytest.mark.parametrize("title", ["SqueezeNet", "plain"])
@each_case
def test_a_call_gives_the_same_again_and_leaves_nothing_behind(case, title):
    """Whatever the caller's grad mode, whatever was drawn before, also when a layer raises."""
    if title == "plain" and not case.uses_network:
        return  # it has been called once, beside the other network
    network, image = network_for(title), image_for(title)
    torch.manual_seed(98)  # what was drawn before is another number than below
    with untouched(network, image):
        expected = case.call(network, image, 3)
    asking = image.clone().requires_grad_(True)
    for mode in CALLERS_MODES[title]:
        torch.manual_seed(99)
        with mode(), untouched(network, asking), planted(None) as seen:
            found = case.call(network, asking, 3)
            wanted = case.passes_gradients and torch.is_grad_enabled()
        same(found, expected)
        assert all(value.requires_grad == wanted for value in found.values())
    # what is worked out once has been worked out: each call has as many layers to disturb
    for place in sorted({1, 1 + len(seen) // 2, len(seen)} if seen else ()):
        with (
            untouched(network, image),
            planted(place),
            pytest.raises(ArithmeticError, match="planted"),
        ):
            case.call(network, image, 3)
    if seen:  # and the network still answers
        same(case.call(network, image, 3), expected)


def same(found: Results, expected: Results) -> None:
    """The same names, and bit for bit the same numbers."""
    assert list(found) == list(expected)
    for name, value in found.items():
        assert value.equal(expected[name]), name


@contextlib.contextmanager
def float64_by_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


MODES = {
    "inference mode": torch.inference_mode,
    "autocast": partial(torch.autocast, "cpu", torch.bfloat16),
    "float64": float64_by_default,
    "meta": partial(torch.device, "meta"),
}
LEFT_ON = [*([name] for name in MODES if EVERY_FAMILY), [*MODES]]


@each_case
@pytest.mark.parametrize("left_on", LEFT_ON, ids=", ".join)
def test_whatever_modes_are_left_on_the_numbers_are_the_same(case, left_on):
    network, image = family("SqueezeNet"), image_for("SqueezeNet")
    expected = case.call(network, image, 3)
    with torch.inference_mode("inference mode" in left_on):
        image = image.clone()
    with contextlib.ExitStack() as stack:
        for name in left_on:
            stack.enter_context(MODES[name]())
        found = case.way(network, image, 3)
    same(cases.numbers_of(found), expected)


@with_target
def test_nothing_is_left_behind_by_a_wrong_target(case):
    network, image = family("SqueezeNet"), image_for("SqueezeNet")
    with untouched(network, image), pytest.raises(LabError):
        case.call(network, image, case.wrong)


def test_the_guard_notices():
    """A guard that nothing trips is no guard: each kind of rest, left on purpose."""
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    network = cases.networks.wrap(module, input_size=8)
    image = toys.image(8)
    conv, relu = network.graph.get_submodule("0"), network.graph.get_submodule("1")
    ask = conv.weight.requires_grad_

    def leave_gradient():
        ask(True).sum().backward()
        ask(False)

    rests = {
        "hooks": (lambda: conv.register_forward_hook(print), conv._forward_hooks.clear),
        "modes": (relu.train, relu.eval),
        "in place": (
            lambda: setattr(relu, "inplace", True),
            lambda: setattr(relu, "inplace", False),
        ),
        "asks for gradients": (partial(ask, True), partial(ask, False)),
        "gradients": (leave_gradient, lambda: setattr(conv.weight, "grad", None)),
        "weights": (lambda: conv.weight.data.mul_(2), lambda: None),
        "torch's generator": (lambda: torch.rand(1), lambda: None),
        "Python's generator": (random.random, lambda: None),
        "numpy's generator": (lambda: np.random.rand(), lambda: None),  # noqa: NPY002
        "grad mode": (lambda: torch.set_grad_enabled(False), lambda: torch.set_grad_enabled(True)),
        "default type": (
            lambda: torch.set_default_dtype(torch.float64),
            lambda: torch.set_default_dtype(torch.float32),
        ),
    }
    for key, (leave, clean_up) in rests.items():
        try:
            with pytest.raises(AssertionError, match=key), untouched(network, image):
                leave()
        finally:
            clean_up()
    with pytest.raises(AssertionError), untouched(network, image):
        image[0, 0, 0, 0] = 0.5


@contextlib.contextmanager
def planted(number: int | None) -> Iterator[list[int]]:
    """`with planted(n) as seen:` the n-th convolution raises; `seen` counts them."""
    seen: list[int] = []
    real = F.conv2d

    def trap(given, *rest, **named):
        if given.device.type != "meta":
            seen.append(1)
            if len(seen) == number:
                raise ArithmeticError("planted")
        return real(given, *rest, **named)

    with mock.patch.object(F, "conv2d", trap):
        yield seen


# Results


@pytest.mark.parametrize("case", [case for case in CALLS if case.batches], ids=name_of)
def test_a_batch_is_its_images(case):
    network = family("SqueezeNet")
    batch = toys.image(*network.input_size, count=16)
    together = case.call(network, batch, 3)
    apart = {place: case.call(network, batch[place : place + 1], 3) for place in (0, 5, 10, 15)}
    for name, value in together.items():
        assert len(value) == 16, name
        expected = torch.cat([one[name] for one in apart.values()])
        assert_images_alike(value[list(apart)], expected)


def assert_images_alike(found: torch.Tensor, expected: torch.Tensor) -> None:
    """(N, ...): nearly all images to float tolerance, and each of them but for a ReLU or two.

    One image is computed by other kernels than sixteen. Where that decides whether a ReLU is open
    or which number a max-pool takes, a gradient jumps: with one of the 500 open units of a small
    layer, by 1/sqrt(500) of its norm, 5 %. Of the 10 000 units of an image, whose inputs are right
    to a part in a million, about one in a hundred is so near; images that are mixed up, or scaled
    by their number, differ all and by 100 %.
    """
    pairs = list(zip(found, expected, strict=True))
    alike = [torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair in pairs]
    assert sum(alike) >= 0.75 * len(alike), alike
    for one, other in pairs:
        if one.is_floating_point():
            assert float((one - other).norm()) <= 0.05 * float(other.norm()) + 1e-5


def test_the_law_of_batches_notices():
    images = torch.arange(1.0, 17).view(16, 1, 1) + toys.image(8, 8)[0, :1]
    assert_images_alike(images + 1e-6, images)
    turned = images.clone()
    turned[3, 0, 0] *= 1.05  # a gradient that jumps, in one image
    assert_images_alike(turned, images)
    for wrong in (images.roll(1, 0), images / 16, images.mean(0).expand(16, 1, 8, 8)[:, 0]):
        with pytest.raises(AssertionError):
            assert_images_alike(wrong, images)
    swapped = images.clone()
    swapped[[3, 4]] = images[[4, 3]]
    with pytest.raises(AssertionError):
        assert_images_alike(swapped, images)


def families() -> Iterator[tuple[Case, str]]:
    """Each method with one family beside SqueezeNet, another one for the next; or with all."""
    others = [title for title in FAMILIES if title != "SqueezeNet"]
    for place, case in enumerate(case for case in CALLS if case.uses_network):
        for title in others if EVERY_FAMILY else [others[place % len(others)]]:
            yield case, title


@pytest.mark.parametrize(("case", "title"), list(families()), ids=name_of)
def test_every_family_on_an_image_that_is_not_square(case, title):
    network, image = family(title), image_for(title)
    with untouched(network, image):
        results = case.call(network, image, 3)
    assert results
    for name, value in results.items():
        assert value.numel() > 0, name
        assert value.isfinite().all(), name
        assert value.device.type == "cpu", name


def test_every_other_device_gives_the_cpus_result():
    others = [device for device in devices.available() if device != "cpu"]
    if not others:
        pytest.skip("the CPU is the only device of this machine")
    wrong = [
        f"{device}, {case.name}: {words}"
        for device in others
        for case in CALLS
        if (words := difference(case, device))
    ]
    assert wrong == []


def difference(case: Case, device: str) -> str:
    """How a method's results on a device differ from those on the CPU; "" where they do not."""
    image = image_for("SqueezeNet")
    expected = case.call(family("SqueezeNet"), image, 3)
    found = case.call(family("SqueezeNet", device), image, 3)
    for name, value in found.items():
        if value.device.type != "cpu":
            return f"{name} is left on {value.device}"
        scale = max(1.0, float(expected[name].abs().max()))
        if not value.is_floating_point():
            alike = float((value == expected[name]).float().mean()) > 0.9
        else:
            alike = torch.allclose(value, expected[name], rtol=0, atol=2e-3 * scale)
        if not alike:
            return f"{name} is another"
    return ""
