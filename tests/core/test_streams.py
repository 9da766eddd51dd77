"""Going through images in batches: every image once, those of one size together, few at a time."""

import random

import pytest
import torch
import toys
from torch import nn

from labsupport.core import images, streams
from labsupport.core import network as networks
from labsupport.core.errors import BadImage

SIZES = [(20 + place // 4 % 23, 24 + place // 4 % 17) for place in range(200)]


@pytest.fixture(scope="module")
def network() -> networks.Network:
    return toys.chain(lambda: [nn.Conv2d(3, 2, 9)], input_size=20, **toys.PLAIN)


def marked(sizes) -> list[torch.Tensor]:
    """Images that say their number."""
    return [torch.full((1, 3, *size), n / len(sizes)) for n, size in enumerate(sizes)]


@pytest.mark.parametrize("room", [3_500, 20_000])
def test_every_image_comes_once_with_those_of_its_size_and_few_wait(network, monkeypatch, room):
    monkeypatch.setattr(streams, "BATCH_PIXELS", room)
    seen, done, held, most = [], 0, 0, 0
    real = streams.numbered_images

    def counted(shown):
        nonlocal held, most
        for one in real(shown):
            held += one.pixels
            most = max(most, held)
            yield one

    monkeypatch.setattr(streams, "numbered_images", counted)
    for batch in streams.batches(network, marked(SIZES)):
        pixels = len(batch.images) * batch.size[0] * batch.size[1]
        assert pixels <= room
        held -= pixels
        values = [round(float(image.mean()) * len(SIZES)) for image in batch.images]
        assert values == batch.numbers == batch.pictures
        assert {SIZES[number] for number in batch.numbers} == {batch.size}
        seen += batch.numbers
        done += len(batch.numbers)
        assert batch.done == done
    assert sorted(seen) == list(range(200))
    assert held == 0
    assert room < most <= 5 * room  # whatever their sizes


def test_large_images_come_one_by_one(network, monkeypatch):
    monkeypatch.setattr(streams, "BATCH_PIXELS", 100)
    counts = [len(batch.images) for batch in streams.batches(network, marked([(20, 20)] * 3))]
    assert counts == [1, 1, 1]
    with pytest.raises(BadImage, match="does not fit"):
        list(streams.batches(network, [torch.zeros(1, 3, 5, 30)]))
    with pytest.raises(BadImage, match="image 1 is a batch of 2"):
        list(streams.numbered_images([torch.zeros(1, 3, 9, 9), torch.zeros(2, 3, 9, 9)]))


def test_scales_share_their_picture(network):
    scaled = streams.ScaledImages(marked([(40, 60), (50, 44)]), (20, 33))
    batches = list(streams.batches(network, scaled))
    assert {batch.size for batch in batches} == {(33, 33), (20, 20)}
    pairs = {n: p for batch in batches for n, p in zip(batch.numbers, batch.pictures, strict=True)}
    assert pairs == {0: 0, 1: 1, 2: 0, 3: 1}


def test_an_image_of_a_set_is_decoded_and_has_one_shape():
    photos = images.photos()
    assert torch.equal(streams.image_of(photos, 3), photos[3].image)
    stack = torch.rand(2, 3, 5, 6)
    for shown in (stack, list(stack), [stack[:1], stack[1:]]):
        assert torch.equal(streams.image_of(shown, 1), stack[1:])


def test_prints_add_up_and_tell_images_and_their_order_apart():
    def of(places) -> str:
        prints = [streams.image_fingerprint(image, number) for number, image in places]
        return streams.fingerprint_text(sum(prints))

    shown = [toys.image(4, 5, seed=n) for n in range(6)]
    places = list(enumerate(shown))
    whole = of(places)
    total = sum(streams.image_fingerprint(image, number) for number, image in places)
    later = of([(number + 9, image) for number, image in places])
    assert streams.fingerprint_text(streams.shifted_fingerprint(total, 9)) == later != whole
    assert of(enumerate([shown[1], shown[0], *shown[2:]])) != whole
    random.Random(1).shuffle(places)
    assert of(places) == whole
    assert of([(0, shown[0].reshape(1, 3, 5, 4))]) != of([(0, shown[0])])
    assert len(whole) == 32


def test_a_networks_print_stands_for_the_weights_below_the_layer():
    def build(extra: float, later: float) -> networks.Network:
        module = toys.seeded(
            lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        )
        module[0].bias.data += extra
        module[3].bias.data += later
        return networks.wrap(module, input_size=4, **toys.PLAIN)

    words = [
        streams.network_fingerprint(build(*some), "relu1") for some in ((0, 0), (0, 1), (1e-3, 0))
    ]
    assert words[0] == words[1] != words[2]
    assert streams.network_fingerprint(build(0, 0), "conv1") != words[0]
