"""Evolution on the page: what the panel shows is what the archive holds."""

import numpy as np
import pytest

from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.labs.lab12_fooling import evolution as lab
from labsupport.methods.evolution import Cppn, Direct, evolve
from labsupport.ui import figures

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def digits():
    return networks.load("lenet5")


@pytest.fixture(scope="module")
def run(digits):
    return list(evolve.frames(digits, Cppn(founders=64), budget=640, batch=64))


def test_the_number_of_champions_changes_the_picture_at_once(opened):
    live = opened(lab.evolution_panel("lenet5", champions=10))
    live.run(limit=4)
    before, number = live.picture.size, live.frame.number
    live.controls["champions"].source.value = 5
    assert live.picture.size[1] < before[1]
    assert live.frame.number == number


def test_only_new_champions_are_painted_again(run, monkeypatch):
    last = run[-1]
    picture = lab._draw_evolving(last, "even", 5)[0]
    monkeypatch.setattr(type(last.plan.encoding), "images", lambda *_: pytest.fail("painted again"))
    assert lab._draw_evolving(last, "even", 5)[0].tobytes() == picture.tobytes()
    lab._tile.cache_clear()
    with pytest.raises(pytest.fail.Exception, match="painted again"):
        lab._draw_evolving(last, "even", 5)


def test_the_archive_stands_in_its_order(run):
    last = run[-1]
    picture, words = lab._draw_evolving(last, "even", 5)
    best = last.painted(last.ranking(5))
    tile = np.asarray(figures.fitted(best[0].image[None], lab.TILE))
    assert tile.shape == (112, 112, 3)
    top = picture.height - 112 - 8
    # the probability is written over the lower left corner
    assert np.array_equal(np.asarray(picture)[top : top + 80, 8:120], tile[:80])
    assert words.endswith("Parents drawn evenly.")


def test_three_kinds_are_measured(digits, run):
    noise = evolve(digits, Direct(), budget=256, batch=64)
    kinds = lab.three_kinds(digits, {"CPPN": run[-1], "direct": noise}, 2, steps=40)
    assert list(kinds) == ["CPPN", "direct", "gradient ascent, L2"]
    assert [len(row) for row in kinds.values()] == [2, 2, 2]
    for name, confidence, image in (one for row in kinds.values() for one in row):
        chance = digits(image[None]).softmax(1)[0, digits.class_index(name)]
        assert confidence == pytest.approx(float(chance), abs=1e-5)
    evolved, ascended = kinds["CPPN"], kinds["gradient ascent, L2"]
    assert [name for name, *_ in ascended] == [name for name, *_ in evolved]
    assert min(confidence for _, confidence, _ in ascended) > 0.9
    assert lab.kinds_picture(kinds).width > 3 * 112
    with pytest.raises(BadSetting, match="as many"):
        lab.kinds_picture(kinds | {"direct": kinds["direct"][:1]})
