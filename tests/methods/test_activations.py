"""Activations: mosaics and distortions against plain loops, units against networks that are wired
so that each view shows which unit it is of."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.methods import activations as a
from labsupport.methods.activations.correlations import _aligned
from labsupport.methods.backprop import gradients
from labsupport.methods.optimize import Adam, Pixels, Recipe
from labsupport.methods.patches import top_patches

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = Recipe("quick", "grey", Pixels(), (), (), Adam(0.05), steps=4)


@pytest.fixture(scope="module")
def colours():
    """Three channels that see red, green and blue; each speaks for the class of its name."""
    see, say = nn.Conv2d(3, 3, 2, stride=2, bias=False), nn.Linear(3, 3, bias=False)
    see.weight.data = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2) / 4
    say.weight.data = torch.tensor([[2.0, -1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 5.0]])
    module = nn.Sequential(see, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), say)
    return networks.wrap(
        module, **toys.PLAIN, categories=["red", "green", "blue"], input_size=(12, 16)
    )


def test_a_mosaic_is_its_tiles_row_by_row_each_on_its_own_scale_or_all_on_one():
    maps = torch.arange(7 * 2 * 3.0).view(7, 2, 3)
    sheet = a.mosaic(maps, columns=3, gap=1)
    assert sheet.shape == (3 * 3 + 1, 3 * 4 + 1)
    by_hand = torch.full_like(sheet, math.nan)
    for channel, (row, column) in enumerate(itertools.product(range(3), range(3))):
        if channel < 7:
            top, left = 1 + row * 3, 1 + column * 4
            by_hand[top : top + 2, left : left + 3] = maps[channel]
    torch.testing.assert_close(sheet, by_hand, equal_nan=True, rtol=0, atol=0)
    assert a.layout(5, 2, 2, columns=3, gap=1).channel_at(8, 5) is None  # after the last

    maps = torch.tensor([[[4.0, -2.0]], [[1.0, 0.5]], [[0.0, 0.0]]])
    own, one = (a.mosaic(maps, columns=1, gap=0, shared=shared) for shared in (False, True))
    assert own.tolist() == [[1.0, -0.5], [1.0, 0.5], [0.0, 0.0]]
    assert one.tolist() == [[1.0, -0.5], [0.25, 0.125], [0.0, 0.0]]
    whole = a.mosaic(torch.tensor([[[4, -2]]]), gap=1)
    assert whole[1, 1:3].tolist() == [4.0, -2.0]
    assert int(whole.isnan().sum()) == whole.numel() - 2


@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 3),
    st.none() | st.integers(1, 50),
)
def test_every_tile_lies_where_the_layout_says(count, height, width, gap, columns):
    maps = torch.arange(1.0, count + 1)[:, None, None].expand(count, height, width)
    where = a.layout(count, height, width, columns=columns, gap=gap)
    sheet = a.mosaic(maps, columns=columns, gap=gap)
    assert sheet.shape == where.size
    for channel in range(count):
        left, top, right, bottom = where.box(channel)
        assert bool((sheet[top:bottom, left:right] == channel + 1).all())
        assert where.channel_at(left, top) == where.channel_at(right - 0.5, bottom - 0.5) == channel
    assert int(sheet.isfinite().sum()) == count * height * width
    for point in ((-1, -1), (where.size[1] + 1, 2), (2, where.size[0] + 1)):
        assert where.channel_at(*point) is None


def test_whole_pixels_are_shifted_exactly_mirrored_at_the_border_and_enlarged_from_the_middle():
    image = toys.image(8, 10)
    moved = a.distort(image, a.Distortion(right=3, down=-2))
    torch.testing.assert_close(moved[..., :6, 3:], image[..., 2:, :7])
    torch.testing.assert_close(moved[..., :6, :3], image[..., 2:, :3].flip(3))
    assert a.distort(image, a.Distortion()).equal(image)
    assert a.Distortion().words == "untouched"
    assert a.Distortion(rotate=-10, noise=0.1).words == "turned by −10°, noise 0.1"
    ramp = torch.linspace(0, 1, 21).view(1, 1, 1, 21).expand(1, 3, 21, 21)
    large = a.distort(ramp, a.Distortion(scale=2))[0, 0, 10]
    torch.testing.assert_close(large, torch.linspace(0.25, 0.75, 21), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [8, 9])
def test_a_quarter_turn_is_clockwise_about_the_middle_and_before_a_shift(side):
    image = toys.image(side)
    turned = torch.rot90(image, -1, (2, 3))
    for change, expected in (
        ({}, turned),
        ({"right": 2}, a.distort(turned, a.Distortion(right=2))),
    ):
        found = a.distort(image, a.Distortion(rotate=90, **change))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_light_and_noise_stay_in_the_range_and_noise_has_its_size():
    image = torch.full((2, 3, 64, 64), 0.5)
    assert a.distort(image, a.Distortion(brightness=3)).max() == 1
    noisy = a.distort(image, a.Distortion(noise=0.05), seed=3)
    assert float((noisy - 0.5).std()) == pytest.approx(0.05, rel=0.03)
    assert noisy[0].equal(noisy[1])
    assert not noisy.equal(a.distort(image, a.Distortion(noise=0.05), seed=4))


def test_correlation_is_pearsons_of_what_is_known():
    one, other = toys.image(5, 7, count=4), toys.image(5, 7, count=4, seed=1)
    ours = a.correlation(one, other)
    for row, (x, y) in enumerate(zip(one.numpy(), other.numpy(), strict=True)):
        assert float(ours[row]) == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-6)
    assert a.correlation(one, 3 * one + 2).tolist() == pytest.approx([1.0] * 4, abs=1e-6)
    assert a.correlation(one, -one).tolist() == pytest.approx([-1.0] * 4, abs=1e-6)

    one, other = torch.rand(1, 9), torch.rand(1, 9)
    holes = other.clone()
    holes[0, [2, 5]] = math.nan
    kept = [0, 1, 3, 4, 6, 7, 8]
    torch.testing.assert_close(
        a.correlation(one, holes), a.correlation(one[:, kept], other[:, kept])
    )
    assert a.correlation(torch.ones(1, 9), other).isnan().all()
    endless = torch.where(holes.isnan(), math.inf, holes)
    toys.assert_refused(
        ("infinite", a.correlation, one, endless),
        ("infinite", a.correlation, endless, one),
        ("real numbers", a.correlation, one, None),
        ("one shape", a.correlation, torch.zeros(1, 4), torch.zeros(1, 5)),
    )


def test_maps_that_moved_are_similar_only_when_they_are_aligned(colours):
    image = torch.zeros(1, 3, 12, 16)
    image[..., 4:8, 4:10] = toys.image(4, 6)
    shifted = a.similarity(colours, image, a.Distortion(right=4), ["conv1", "3"])
    assert float(shifted.aligned[0, 0]) == pytest.approx(1, abs=1e-4)
    assert float(shifted.pooled[0, 0]) == pytest.approx(1, abs=1e-4)
    assert float(shifted.maps[0, 0]) < 0.6
    # after the pool there is nothing left that could have moved
    assert shifted.maps[1, 0] == shifted.aligned[1, 0] == shifted.pooled[1, 0]


@pytest.mark.parametrize(
    ("channels", "kernel", "change"),
    [
        (4, 1, a.Distortion(rotate=90)),  # one pixel has no sense of direction
        (4, 1, a.Distortion(rotate=180, right=2)),
        (1, 5, a.Distortion(rotate=180)),  # equal weights look the same upside down
    ],
)
def test_maps_turn_with_the_picture_about_its_middle(channels, kernel, change):
    filters = nn.Conv2d(3, channels, kernel)
    if kernel > 1:
        nn.init.constant_(filters.weight, 1 / 75)
    network = toys.chain(lambda: [filters, nn.ReLU()], input_size=11)
    turned = a.similarity(network, toys.image(11), change, ["conv1"])
    assert float(turned.aligned) == pytest.approx(1, abs=1e-3)
    assert kernel > 1 or float(turned.maps) < 0.9


def test_maps_are_aligned_by_the_middle_of_what_they_see():
    """A stride of 4 without padding: a shift by 4 pixels is one position, whatever the border."""
    coarse = toys.chain(lambda: [nn.Conv2d(3, 2, 7, stride=4)], input_size=23)
    image = toys.image(23)
    maps = coarse.activations(image, ["conv1"])["conv1"]
    moved = _aligned(coarse, "conv1", maps, a.Distortion(right=4, down=-4), (23, 23))
    torch.testing.assert_close(moved[..., :4, 1:], maps[..., 1:, :4])
    assert moved[..., 4, :].isnan().all()
    assert moved[..., 0].isnan().all()


def test_other_pictures_take_the_place_of_a_distortion(colours):
    one, other = toys.image(12, 16, count=3), toys.image(12, 16, count=3, seed=5)
    compared = a.similarity(colours, one, other, ["conv1"])
    maps = [colours.activations(x, ["conv1"])["conv1"] for x in (one, other)]
    torch.testing.assert_close(compared.maps[0], a.correlation(*maps))
    assert compared.aligned.equal(compared.maps)


def test_the_unit_that_changed_most_is_the_one_that_was_made_to(colours):
    dark = torch.zeros(1, 3, 12, 16)
    first, second = dark.clone(), dark.clone()
    first[:, 0], second[:, 0], second[:, 2] = 0.5, 0.4, 0.8
    changes = a.unit_changes(colours, first, second, "1")
    assert changes.order.tolist() == [2, 0, 1]
    torch.testing.assert_close(changes.change, torch.tensor([-0.1, 0.0, 0.8]))
    larger = nn.functional.interpolate(second, (24, 20))
    torch.testing.assert_close(a.unit_changes(colours, first, larger, "1").change, changes.change)


def test_a_vote_is_weight_times_mean_and_a_neuron_has_its_share_of_it(colours):
    batch = toys.image(12, 16, count=3)
    for channel in range(3):
        votes = a.class_votes(colours, batch, ("1", channel))
        weights = torch.tensor([[2.0, -1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 5.0]])[:, channel]
        torch.testing.assert_close(votes.values, batch[:, channel].mean((1, 2))[:, None] * weights)
        torch.testing.assert_close(votes.clean, colours(batch))

    image = torch.full((1, 3, 12, 16), 0.6)
    whole, one = (a.class_votes(colours, image, ("1", 2, *place)) for place in ((), ((0, 3),)))
    # One position's vote is the difference of two scores of 3, each right to some 2e-7, times 48.
    torch.testing.assert_close(one.values * 48, whole.values, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def pictures():
    """Twenty dark pictures; one each is red, green and blue at a place of its own."""
    dark = torch.zeros(20, 3, 12, 16)
    for channel, number in enumerate((13, 4, 17)):
        dark[number, channel, 2 * channel : 2 * channel + 2, 8:10] = 0.9
    return dark


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_all_views_are_of_the_same_unit(colours, pictures, channel):
    """The colour tells: nothing but this unit's own may be in any of its views."""
    image = toys.image(12, 16)
    views = a.unit_views(colours, image, ("1", channel), pictures, recipe=QUICK)
    others = [other for other in range(3) if other != channel]
    pooled = nn.functional.avg_pool2d(image[:, channel], 2)[0]
    torch.testing.assert_close(views.map, pooled)
    for gradient in views.gradients.values():
        assert bool((gradient.values[0, channel] > 0).all())
        assert not gradient.values[0, others].any()
    row = views.patches.row(channel)
    assert int(views.patches.images[row, 0]) == (13, 4, 17)[channel]
    box = (8, 2 * channel, 10, 2 * channel + 2)
    assert tuple(views.patches.boxes[row, 0].tolist()) == box
    assert int(views.votes.values[0].argmax()) == channel
    picture = views.picture.image[0].mean((1, 2))
    assert picture[channel] > 0.6
    assert picture[others].tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert {views.target, views.votes.target, views.picture.target} == {
        colours.target(("1", channel))
    }


def test_views_of_different_units_are_refused(colours, pictures):
    image = toys.image(12, 16)
    views = a.unit_views(colours, image, ("1", 0), pictures, recipe=QUICK)
    other, some = colours.target(("1", 1)), top_patches(colours, "1", pictures, channels=[1, 2])
    toys.assert_refused(
        ("not of", replace, views, {"votes": a.class_votes(colours, image, ("1", 1))}),
        ("not of", replace, views, {"gradients": gradients(colours, image, ("1", 1))}),
        ("not of", replace, views, {"picture": a.UnitPicture(other, image, 0.0, 1, 1)}),
        ("not of", replace, views, {"patches": top_patches(colours, "conv1", pictures)}),
        ("not of", replace, views, {"target": other}),
        ("not among", replace, views, {"patches": some}),
    )


def test_the_frames_bring_the_quick_views_first_and_look_for_no_known_patches(colours, pictures):
    frames = list(
        a.unit_views.frames(colours, toys.image(12, 16), ("1", 1), pictures, recipe=QUICK)
    )
    shares = [one.progress for one in frames]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert frames[0].votes is not None
    assert frames[0].gradients is None
    assert [one.scanned for one in frames] == [0, 0, 8, 16, 20, *[20] * 5]
    assert [one.picture.step for one in frames if one.picture] == [0, 1, 2, 3, 4]
    whole = top_patches(colours, "1", pictures, k=9, suppress="picture")
    for name in ("values", "images", "boxes"):
        left, right = getattr(frames[-1].patches, name), getattr(whole, name)
        torch.testing.assert_close(left, right, equal_nan=True)

    known = top_patches(colours, "1", pictures, suppress="picture")
    frames = list(a.unit_views.frames(colours, toys.image(12, 16), ("1", 1), known, recipe=QUICK))
    assert len(frames) == 8
    assert frames[2].patches is known
    assert frames[2].scanned == 20


def test_without_a_relu_there_is_the_plain_gradient_alone_and_without_a_map_one_number(
    colours, pictures
):
    before, mean = (
        a.unit_views(colours, toys.image(12, 16), unit, pictures, recipe=QUICK)
        for unit in (("conv1", 1), ("3", 1))
    )
    assert list(before.gradients) == ["backprop"]
    assert mean.map.shape == (1, 1)


def test_what_cannot_work_is_refused(colours, pictures):
    image, two, maps = toys.image(12, 16), toys.image(12, 16, count=2), torch.zeros(2, 3, 3)
    views = a.unit_views.frames
    toys.assert_refused(
        (r"maps\[0\]", a.mosaic, maps[None]),
        ("at least one tile", a.mosaic, maps[:0]),
        ("gap", a.mosaic, maps, {"gap": -1}),
        ("contain NaN", a.mosaic, maps / 0),
        ("contain NaN", a.mosaic, maps / 0, {"shared": True}),
        ("real numbers.*NoneType", a.mosaic, None),
        ("real numbers", a.mosaic, maps.to(torch.complex64)),
        ("column", a.layout, 4, 3, 3, {"columns": 0}),
        ("0 to 3, not 4", a.layout(4, 3, 3).box, 4),
        ("scale", a.Distortion, {"scale": 0.0}),
        ("noise", a.Distortion, {"noise": -0.1}),
        ("right", a.Distortion, {"right": math.nan}),
        ("rotate", a.Distortion, {"rotate": 200.0}),
        ("brightness", a.Distortion, {"brightness": -1.0}),
        *(
            ("UnknownLayer", a.similarity, colours, image, a.Distortion(), wrong)
            for wrong in ([], "conv1", ["conv9"])
        ),
        ("one for one", a.similarity, colours, two, image, ["conv1"]),
        ("BadImage: .*one image", a.unit_changes, colours, image, two, "1"),
        *(
            ("BadSetting|UnknownLayer", a.class_votes, colours, image, unit)
            for unit in ("red", 1, ("1", 3), ("1", 0, (6, 0)), ("nowhere", 0))
        ),
        ("class", views, colours, image, "red", pictures[:3]),
        ("one neuron", views, colours, image, ("1", 0, (1, 1)), pictures[:3]),
        ("no pictures", views, colours, image, ("1", 0), pictures[:0]),
        ("BadImage: .*no set of images", a.unit_views, colours, image, ("1", 0), None),
    )


def made(network, pictures, cache, **settings):
    settings = {"recipe": QUICK, "cache": cache, **settings}
    return a.unit_views(network, toys.image(12, 16), ("1", 1), pictures, **settings).picture


def test_a_picture_is_made_once_for_each_network_and_recipe(colours, pictures, tmp_path):
    folder = tmp_path / "not yet there"
    first = made(colours, pictures, a.PictureCache(folder))
    assert not first.cached
    (file,) = folder.glob("*.png")
    assert images.saved_settings(file)["channel"] == 1
    cache = a.PictureCache(folder)
    for again in (made(colours, pictures, cache), made(colours, pictures, cache)):
        assert again.cached
        assert again.image.equal(first.image)
        assert again.score == first.score
    assert not made(colours, pictures, cache, remake=True).cached
    other = networks.wrap(
        nn.Sequential(nn.Conv2d(3, 3, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)),
        **toys.PLAIN,
        input_size=(12, 16),
    )
    assert not made(other, pictures, cache).cached
    assert not made(colours, pictures, cache, recipe=replace(QUICK, steps=5)).cached


@pytest.mark.parametrize("rubbish", [b"", b"no picture", "a half", "another picture"])
def test_a_damaged_file_is_made_again(colours, pictures, tmp_path, rubbish):
    first = made(colours, pictures, a.PictureCache(tmp_path))
    (file,) = tmp_path.glob("*.png")
    if rubbish == "another picture":
        images.save(torch.zeros(1, 3, 12, 16), file, {"made by": "somebody else"})
    else:
        file.write_bytes(file.read_bytes()[:200] if rubbish == "a half" else rubbish)
    again = made(colours, pictures, a.PictureCache(tmp_path))
    assert not again.cached
    assert again.image.equal(first.image)
    assert made(colours, pictures, a.PictureCache(tmp_path)).cached


def test_a_folder_that_cannot_be_written_costs_nothing(colours, pictures, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    cache = a.PictureCache(blocked / "folder")
    assert not made(colours, pictures, cache).cached
    assert made(colours, pictures, cache).cached  # from memory
    assert blocked.read_text() == "in the way"


def test_the_cache_lies_beside_pytorchs_downloads_and_what_it_gives_can_be_changed(
    tmp_path, monkeypatch
):
    cache, picture = a.PictureCache(tmp_path), toys.image(4)
    cache.put({"n": 1}, picture).zero_()
    cache.get({"n": 1}).zero_()
    torch.testing.assert_close(cache.get({"n": 1}), picture, atol=0.5 / 255 + 1e-6, rtol=0)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch" / "hub"))
    assert a.PictureCache().folder == tmp_path / "torch" / "unit_pictures"


def test_the_cache_keeps_to_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr("labsupport.methods.activations.views._MOST", 3)
    cache = a.PictureCache(tmp_path)
    for number in range(5):
        cache.put({"n": number}, toys.image(4))
    assert len(list(tmp_path.glob("*.png"))) == 3
