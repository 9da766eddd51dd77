"""A network of one's own in every lab: each panel answers about it, or says in words why not."""

import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import LabError, NoClasses
from labsupport.core.network import own
from labsupport.labs import (
    lab00,
    lab02,
    lab04,
    lab05,
    lab06,
    lab07,
    lab08,
    lab09,
    lab10,
    lab11,
    lab12,
    lab14,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Small(nn.Module):
    """Ten classes of images of 32 x 32 pixels, and of no others."""

    def __init__(self, colours: int = 3) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(colours, 8, 5, padding=2),
            nn.Conv2d(8, 12, 3, padding=1),
        )
        self.pool, self.fc = nn.MaxPool2d(4), nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.first(x)))
        return self.fc(self.pool(torch.relu(self.second(x))).view(x.size(0), -1))


class Deciding(Small):
    """It goes by the values of its images, so no graph is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(2 * x if x.mean() > 5 else x)


class Tokens(nn.Module):
    """Attention over patches: no ReLU, and no map after the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.attention, self.fc = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc((x + self.attention(x, x, x)[0]).mean(1))


def fully_connected() -> nn.Module:
    """No feature map anywhere."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 20), nn.ReLU(), nn.Linear(20, 10))


OWN = {
    "small": (Small, {"mean": 0.5, "std": 0.5, "examples": toys.image(32, count=12)}),
    "grey": (lambda: Small(1), {"mean": [0.13], "std": [0.3]}),
    "opaque": (Deciding, {}),
    "tokens": (Tokens, {}),
    "layers": (fully_connected, {"mean": 0.5, "std": 0.5}),
}
PHOTOS = ("red_panda", "gorilla", "coffee", "koala")


@pytest.fixture(scope="module")
def photos() -> list[torch.Tensor]:
    return [images.standard(images.sample(name)) for name in PHOTOS]


def panels(photos):
    """What makes each panel that has a network menu."""
    return {
        "00": lambda: lab00.answer_panel("koala"),
        "02": lambda: lab02.leaf_panel(photos, layer="fire8", unit=491),
        "05 hide": lambda: lab05.hide_panel("koala"),
        "05 map": lambda: lab05.map_panel("koala"),
        "06": lambda: lab06.live_panel("koala", layer="fire8", unit=491),
        "06 unit": lambda: lab06.unit_panel(photos, "koala", layer="fire8", unit=491),
        "07 rules": lambda: lab07.rules_panel("koala"),
        "07 sums": lambda: lab07.integrated_panel("koala"),
        "07 forgetting": lambda: lab07.cascade_panel("koala"),
        "07 believed": lambda: lab07.judge_panel("koala"),
        "08 class": lambda: lab08.class_panel(target="", steps=20),
        "08 unit": lambda: lab08.unit_panel(layer="fire8", channel=2, steps=20),
        "08 map": lambda: lab08.map_panel("koala"),
        "09": lambda: lab09.invert_panel("koala", layer="relu3", steps=20),
        "09 strip": lambda: lab09.strip_panel("koala", layers=3, steps=20),
        "10": lambda: lab10.dream_panel("china", layer="fire7", side=240),
        "10 sheet": lambda: lab10.contact_panel("china"),
        "11": lambda: lab11.paint_panel("taj_mahal", "cafe_terrace"),
        "12 push": lambda: lab12.push_panel("koala"),
        "12 line": lambda: lab12.line_panel("koala"),
        "12 twins": lambda: lab12.twins_panel("koala", "colosseum"),
        "14": lambda: lab14.everything_panel("koala"),
    }


# Panels that say why they cannot: by their network.
REFUSED = {
    "small": set(),
    "grey": set(),
    "opaque": {"06 unit", "07 forgetting"},
    "tokens": {"07 rules", "07 forgetting"},
    "layers": {"10", "10 sheet", "11"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_each_panel_answers_about_it_or_says_why_not(name, photos, opened, monkeypatch):
    monkeypatch.setattr(own, "_registered", {})
    build, settings = OWN[name]
    network = networks.register("mine", toys.seeded(build), input_size=32, **settings)
    refused = {}
    for title, make in panels(photos).items():
        panel = opened(make())
        try:
            panel.controls["network"].put("mine")
            assert panel.controls["network"].value is network
            panel.run(limit=2) if hasattr(panel, "run") else panel.settle()
        except LabError as error:
            refused[title] = str(error)
        if panel.complaint:
            refused[title] = panel.complaint
    dreamed = opened(lab10.dream_panel("china", layer="fire7", side=240, octaves=1))
    dreamed.controls["network"].put("mine")
    if "10" not in REFUSED[name]:
        dreamed.run()  # to its end, where the network is asked
        assert "The network says: class" in dreamed.words
    if not network.opaque:
        things = lab04.collection(network, images.cutouts()[:40])
        assert opened(lab04.layers_panel(things)).picture.width > 100
    assert set(refused) == REFUSED[name], refused


WITHOUT_CLASSES = {"00", "05 hide", "12 push", "12 line"}


@pytest.mark.slow
def test_each_panel_answers_about_alexnets_convolutions_or_says_that_they_have_no_classes(
    photos, opened
):
    """Where a class can be typed, a unit can."""
    refused = {}
    for title, make in panels(photos).items():
        panel = opened(make())
        try:
            panel.controls["network"].put("alexnet")
            panel.run(limit=2) if hasattr(panel, "run") else panel.settle()
            if "target" in panel.controls and not panel.complaint:
                panel.controls["target"].put("conv5 3")
                panel.run(limit=2) if hasattr(panel, "run") else panel.settle()
                assert panel.controls["target"].words == "conv5, channel 3"
        except NoClasses as error:
            refused[title] = str(error)
        if panel.complaint:
            refused[title] = panel.complaint
    assert set(refused) == WITHOUT_CLASSES, refused
    assert all("ends at pool5, before its classes" in words for words in refused.values()), refused
