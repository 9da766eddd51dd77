"""A network of one's own: what is given is understood, or refused with the way out."""

import numpy as np
import pytest
import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import UnknownNetwork
from labsupport.core.network import own


def five(channels: int = 3) -> nn.Module:
    layers = (nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return toys.seeded(lambda: nn.Sequential(*layers))


def test_settings_are_understood_however_they_are_written():
    for mean, std in (
        (0.5, 0.25),
        ([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]),
        (torch.full((3,), 0.5), np.full(3, 0.25)),
        (torch.full((3, 1, 1), 0.5), 0.25),
    ):
        network = networks.wrap(five(), mean=mean, std=std, input_size=16)
        assert (network.mean, network.std) == ((0.5,) * 3, (0.25,) * 3)
    grey = networks.wrap(five(1), mean=(0.1307,), std=[0.3081], input_size=28)
    assert grey(toys.image(28)).shape == (1, 5)
    for size in ((16, 20), [16, 20], torch.Size([16, 20]), (3, 16, 20)):
        assert networks.wrap(five(), input_size=size).input_size == (16, 20)
    names = ("cat", "dog", "bee", "ant", "owl")
    for given in (
        *(names, list(names), np.array(names)),
        dict(enumerate(names)),
        {name: number for number, name in enumerate(names)},
        {number: names[number] for number in (4, 2, 0, 1, 3)},
    ):
        assert networks.wrap(five(), categories=given, input_size=16).categories == names
    yes_or_no = nn.Sequential(*five()[:-1], nn.Flatten(), nn.Linear(5, 1))
    assert networks.wrap(yes_or_no, categories=["cat"], input_size=16).categories == (
        "not cat",
        "cat",
    )
    numbered = networks.wrap(five(), categories=range(5), input_size=16)
    assert numbered.categories == ("0", "1", "2", "3", "4")


def test_what_is_no_module_or_setting_is_refused(tmp_path):
    module = five()
    toys.assert_refused(
        ("BadSetting: .*load_state_dict", networks.wrap, module.state_dict(), {}),
        ("BadSetting: .*networks.load", networks.wrap, "best.pth"),
        ("BadSetting: .*networks.load", networks.wrap, tmp_path),
        ("BadSetting: .*forward of a class", networks.wrap, lambda x: x.mean((2, 3))),
        (r"BadSetting: .*nn.Conv2d|Conv2d\(\)", networks.wrap, nn.Conv2d),
        ("BadSetting: .*already", networks.wrap, networks.wrap(module, input_size=16)),
        ("BadSetting: .*NoneType", networks.wrap, None),
        *(
            ("BadSetting: .*mean and std", networks.wrap, module, {"mean": wrong})
            for wrong in ("imagenet", (0.5, 0.5), None, (0.5,), [float("nan")] * 3)
        ),
        ("BadSetting: .*above 0", networks.wrap, module, {"std": 0}),
        *(
            ("BadSetting: .*input_size", networks.wrap, module, {"input_size": wrong})
            for wrong in (0, (16,), "224", (16.0, 16), (-1, 16), None, (1, 3, 16, 16))
        ),
        *(
            (
                "BadSetting: .*categories",
                networks.wrap,
                module,
                {"categories": wrong, "input_size": 16},
            )
            for wrong in ("abcde", 5, ["cat", "dog"], {1: "cat", 2: "dog"}, {}, [])
        ),
    )


@pytest.fixture
def empty(monkeypatch):
    monkeypatch.setattr(own, "_registered", {})


def test_a_registered_network_is_one_of_the_networks(empty):
    module, examples = five(), toys.image(16, count=4)
    network = networks.register("mine", module, examples=examples, input_size=16)
    assert networks.load("mine") is network
    assert network.name == "mine"
    assert networks.names()[0] == "mine"
    assert own.examples_of(network) is examples
    networks.register("other", five, input_size=20)  # what builds it
    assert networks.names()[:2] == ("other", "mine")
    wrapped = networks.wrap(module, input_size=16)
    assert networks.register("third", wrapped, examples=examples) is wrapped
    assert own.examples_of(wrapped) is examples
    assert own.examples_of(networks.load("other")) is None
    again = networks.register("mine", five, input_size=20)
    assert networks.load("mine") is again
    assert networks.load("mine", device="cpu") is not again
    with pytest.raises(UnknownNetwork, match="mine"):
        networks.load("minn")
    toys.assert_refused(
        ("BadSetting: .*a text", networks.register, 3, module),
        ("BadSetting: .*a text", networks.register, " ", module),
        ("BadSetting: .*state dict", networks.register, "fourth", module.state_dict(), {}),
        ("BadSetting: .*images.folder", networks.register, "fourth", module, {"examples": 3}),
        ("UnknownNetwork", networks.load, "fourth"),
    )
