"""Twins: alike where they are described, apart where they are seen."""

import itertools
import math

import pytest
import torch
import toys
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import twins
from labsupport.methods.inversion import Hog
from labsupport.methods.optimize import Adam, Step
from labsupport.methods.twins import HOG16, measure, twin

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Hog(cell=8)


@pytest.fixture(scope="module")
def tiny():
    module = toys.seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 6, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
            nn.Linear(24, 5),
        )
    )
    return networks.wrap(module, input_size=(40, 48), name="tiny")


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    return toys.image(40, 48, seed=1), toys.image(40, 48, seed=2)


@pytest.mark.slow
def test_the_koala_is_described_as_the_colosseum_and_so_is_its_file(squeezenet, tmp_path):
    koala, colosseum = (twins._photograph(name, (128, 128)) for name in ("koala", "colosseum"))
    result = twin(squeezenet, koala, colosseum)
    assert result.code < 0.1
    assert result.before > 0.8
    assert result.from_other > 0.5
    assert result.from_image < 0.5
    assert 0 <= float(result.image.min()) < float(result.image.max()) <= 1
    assert torch.equal((result.image * 255).round() / 255, result.image)
    kept = images.load(images.save(result.image, tmp_path / "twin.png"))
    again = measure(squeezenet, kept, koala, colosseum)
    assert again.code == pytest.approx(result.code, rel=1e-4)


def test_the_numbers_are_distances_over_those_of_all_pairs(tiny):
    image, other = pair()
    result = measure(tiny, image, image, other, SMALL)
    some = torch.cat([twins._photograph(n, (40, 48)) for n in images.photos().names[::4]])
    codes = SMALL(some)
    pairs = list(itertools.combinations(range(len(some)), 2))
    code = sum(float((codes[i] - codes[j]).norm()) for i, j in pairs) / len(pairs)
    pixels = sum(float((some[i] - some[j]).norm()) for i, j in pairs) / len(pairs)
    assert result.pairs.code == pytest.approx(code, rel=1e-4)
    assert result.pairs.pixels == pytest.approx(pixels, rel=1e-4)
    expected = float((SMALL(image) - SMALL(other)).norm()) / code
    assert result.before == pytest.approx(expected, rel=1e-4)
    assert result.code == pytest.approx(expected, rel=0.02)  # rounding to 8 bits
    assert result.from_image < 0.01
    assert result.from_other == pytest.approx(float((image - other).norm()) / pixels, rel=0.01)


@pytest.mark.parametrize("layer", [SMALL, "scores", "1"])
def test_the_description_comes_near_and_the_picture_stays(tiny, layer):
    image, other = pair()
    frames = list(twin.frames(tiny, image, other, layer, steps=40, weight=0.5))
    assert [frame.step for frame in frames] == list(range(41))
    result = measure(tiny, frames[-1].image, image, other, layer)
    assert result.code < 0.7 * result.before
    assert result.from_image < result.from_other


def test_the_stronger_the_weight_the_nearer(tiny):
    image, other = pair()
    near, far = (twin(tiny, image, other, SMALL, steps=30, weight=weight) for weight in (20.0, 0.0))
    assert near.from_image < 0.7 * far.from_image
    assert near.code > far.code


def test_it_goes_on_where_it_stopped_and_the_seed_decides(tiny):
    image, other = pair()
    whole = list(twin.frames(tiny, image, other, SMALL, steps=12))
    *_, again = twin.frames(tiny, image, other, SMALL, steps=12, start=whole[5])
    assert torch.equal(again.image, whole[-1].image)
    *_, others = twin.frames(tiny, image, other, SMALL, steps=12, seed=1)
    assert not torch.equal(others.image, again.image)


def test_the_noise_falls_to_a_hundredth():
    still = torch.full((2, 3, 64, 64), 0.5)

    def spread(step):
        now = Step(step, 10, torch.Generator().manual_seed(0), torch.zeros(1, 3, 1, 1))
        return (twins.FallingNoise(0.1)(still, now) - still).std()

    assert float(spread(0)) == pytest.approx(0.1, rel=0.05)
    assert float(spread(5) / spread(0)) == pytest.approx(0.1, rel=0.01)
    assert float(spread(10) / spread(0)) == pytest.approx(0.01, rel=0.01)


def test_the_recipe_is_for_what_describes_and_weighs_the_mean_squared_difference():
    image, other = pair()
    for_hog, for_code = (twins._recipe(image, layer) for layer in (HOG16, "fire9"))
    assert isinstance(for_hog.optimizer, Adam)
    assert not isinstance(for_code.optimizer, Adam)
    assert (len(for_hog.transforms), len(for_code.transforms)) == (1, 0)
    assert twins._recipe(image, HOG16, 0.0).regularizers == ()
    (near,) = twins._recipe(other, HOG16, 3.0).regularizers
    torch.testing.assert_close(near(image, None)[0], (image - other).square().mean())
    assert near.weight == 3.0


def test_what_cannot_work_is_refused(tiny):
    (image, other), turned, frames = pair(), toys.image(48, 40), twin.frames
    two, units = torch.cat([image, other]), {"pairs": twins.PairDistances(1.0, 1.0)}
    toys.assert_refused(
        ("BadImage: .*one image and another", frames, tiny, image, turned),
        ("BadImage: .*one image and another", frames, tiny, two, two),
        ("BadImage", frames, tiny, image, other + 1, SMALL),
        ("UnknownLayer: .*nearest", frames, tiny, image, other, "fire9"),
        ("weight is 0 or more", frames, tiny, image, other, SMALL, {"weight": -1.0}),
        ("a size is", twins.pair_distances, tiny, SMALL, (40,)),
        ("same for all", twins.pair_distances, toys.linear(torch.zeros(2, 3, 8, 8)), "1", (8, 8)),
        *(("layer is Hog", twin, tiny, image, other, layer) for layer in ("", 3, None)),
        *(
            ("BadImage", measure, tiny, *three, SMALL, units)
            for wrong in (image.flatten(), image * math.nan, turned, two)
            for three in ((wrong, image, other), (image, image, wrong))
        ),
    )
