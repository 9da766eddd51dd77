"""A live panel that was stopped and goes on ends with what its method makes, says so, and is saved
with its settings. That every panel can be stopped and goes on is tested with the interrupts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.labs import lab09_reconstruction, lab11_style
from labsupport.labs.lab08_optimization import visualization
from labsupport.labs.lab10_deepdream import dream as dreams
from labsupport.labs.lab12_fooling import evolution, twins
from labsupport.methods import inversion, style
from labsupport.methods.dream import dream
from labsupport.methods.evolution import evolve
from labsupport.methods.inversion import Hog
from labsupport.methods.optimize import visualize
from labsupport.methods.twins import twin
from labsupport.ui.live import Live

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Row:
    """A panel, what its method makes alone, with words on it that the panel says too, and what
    else the panel has to say and to keep."""

    panel: Callable[[], Live]
    alone: Callable[[Network], tuple[Tensor, str]]
    words: tuple[str, ...]
    kept: dict[str, Any]
    shown: Callable[[Live], Tensor] = field(default=lambda live: live.frame.frame.image)


def flamingo(network: Network) -> tuple[Tensor, str]:
    found = visualize(network, visualization.class_objective("flamingo"), steps=20, seed=0)
    return found.image, "Step 20 of 20"


def inverted_cat(network: Network) -> tuple[Tensor, str]:
    cat = images.standard(images.sample("chelsea"), 96)
    code = inversion.encode(network, cat, "fire5")
    setting = inversion.Setting(tv=10.0)
    return inversion.invert(network, code, setting=setting, steps=20).image, "fire5, "


def dreamed(network: Network) -> tuple[Tensor, str]:
    picture = dreams.fitted(images.sample("china"), 240)
    recipe = dreams.recipe_of(octaves=2, iterations=3)
    return dream(network, picture, "fire3", recipe=recipe).image, "The network says"


def painted(network: Network) -> tuple[Tensor, str]:
    pictures = lab11_style.picture("china", 128), lab11_style.picture("church_at_auvers", 320)
    return style.stylize(network, *pictures, steps=20).image, "Step 20 of 20"


def evolved(_: Network) -> tuple[Tensor, str]:
    found = evolve(networks.load("lenet5"), budget=3000)
    return found.confidence, f"{found.count_above()} above 99 %"


def twins_alone(network: Network) -> tuple[Tensor, str]:
    photos = (images.photos()[name].image for name in ("koala", "colosseum"))
    pair = [twins.fitted(photo, Hog(), network) for photo in photos]
    assert pair[0].shape == (1, 3, 128, 128)
    found = twin(network, *pair, steps=50)
    return found.image, twins.in_words(found)


ROWS = {
    "a class": Row(
        lambda: visualization.class_panel(target="flamingo", steps=20),
        flamingo,
        (),
        {"target": "flamingo", "steps": 20},
    ),
    "a picture from its code": Row(
        lambda: lab09_reconstruction.invert_panel(
            "chelsea", network="squeezenet1_1", layer="fire5", steps=20, size=96
        ),
        inverted_cat,
        (" cat",),
        {"layer": "fire5", "steps": 20},
    ),
    "a dream": Row(
        lambda: dreams.dream_panel("china", layer="fire3", side=240, iterations=3, octaves=2),
        dreamed,
        ("Octave 2 of 2 (240 x 160 pixels), step 3 of 3",),
        {"layer": "fire3", "iterations": 3, "gradient": "2015"},
        lambda live: live.frame.image,
    ),
    "a painting": Row(
        lambda: lab11_style.paint_panel("china", "church_at_auvers", size=128, steps=20),
        painted,
        (),
        {"style": "church_at_auvers", "steps": 20},
        lambda live: live.frame.image,
    ),
    "an evolution": Row(
        lambda: evolution.evolution_panel("lenet5", budget=3000, champions=5),
        evolved,
        ("3 008 pictures (budget: 3 000) shown",),
        {"budget": 3000, "seed": 0},
        lambda live: live.frame.confidence,
    ),
    "twins": Row(
        lambda: twins.twins_panel("koala", "colosseum", steps=50),
        twins_alone,
        ("Step 50 of 50",),
        {"described": "HOG, cells of 16 pixels"},
        lambda live: (live.frame.image * 255).round() / 255,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_was_stopped_goes_on_to_the_methods_end_and_is_saved(row, network, opened, tmp_path):
    live = opened(row.panel())
    live.start()
    live.stop()
    assert live.state == "stopped"
    live.go_on()
    assert live.wait(120) == "finished"
    found, said = row.alone(network)
    assert torch.equal(row.shown(live), found)
    assert [words for words in (said, *row.words) if words not in live.words] == []
    kept = images.saved_settings(live.save(tmp_path / "one.png"))
    assert {name: kept[name] for name in row.kept} == row.kept
