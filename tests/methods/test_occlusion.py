"""Occlusion maps against closed forms, and against hiding each window by hand."""

import itertools
import math
import threading
import time

import pytest
import torch
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import BadImage, BadSetting, UnknownLayer
from labsupport.methods import occlusion
from labsupport.methods.occlusion import fill_image, occlude, occlusion_map, sign_changes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def two_threads():
    cores = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(cores)


def small_network(size: tuple[int, int] = (40, 32)) -> networks.Network:
    """Convolutions, a pool, a branch: the incremental way."""

    def build() -> list[nn.Module]:
        return [
            *(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(inplace=True)),
            *(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU()),
        ]

    return toys.chain(build, classes=4, input_size=size, categories=["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def small() -> networks.Network:
    return small_network()


def positions(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """Written anew: step until the border is reached, the last one clipped."""
    spans, first = [], 0
    while True:
        spans.append((first, min(first + window, length)))
        first += stride
        if spans[-1][1] == length or first >= length:
            return spans


def by_hand(network, image, fill, window, stride, answer) -> torch.Tensor:
    """`answer(images)` for every position, each image hidden pixel by pixel, one at a time."""
    rows, columns = map(positions, image.shape[2:], window, stride)
    values = []
    for (top, bottom), (left, right) in itertools.product(rows, columns):
        with torch.no_grad():
            values.append(answer(toys.hidden(image, [(left, top, right, bottom)], fill)))
    return torch.stack(values).view(len(rows), len(columns), *values[0].shape)


@pytest.mark.parametrize(
    ("size", "window", "stride"),
    [
        ((24, 24), (8, 8), (4, 4)),
        ((21, 34), (8, 8), (4, 4)),
        ((21, 34), (5, 9), (3, 4)),
        ((20, 20), (3, 3), (7, 7)),  # stride over the window
        ((20, 26), (20, 26), (1, 1)),
        ((13, 11), (1, 2), (1, 1)),
    ],
)
def test_the_occlusion_of_a_linear_score_is_a_window_sum(size, window, stride):
    """score = w . x; hiding a window with black takes the sum of w * x inside it away."""
    weight = torch.randn(3, *size, generator=torch.Generator().manual_seed(1))
    network, image = toys.linear(torch.stack([0 * weight, weight])), toys.image(*size)
    occluded = occlusion_map(network, image, 1, window=window, stride=stride, fill="black")
    terms = (weight * image[0]).double().sum(0)
    rows, columns = map(positions, size, window, stride)
    assert (list(occluded.rows), list(occluded.columns)) == (rows, columns)
    for r, (top, bottom) in enumerate(rows):
        for c, (left, right) in enumerate(columns):
            expected = float(terms.sum() - terms[top:bottom, left:right].sum())
            assert float(occluded.values["score"][r, c]) == pytest.approx(expected, abs=1e-4)
            assert occluded.box(r, c) == (left, top, right, bottom)
    assert occluded.clean["score"] == pytest.approx(float(terms.sum()), abs=1e-4)


# Every view, every fill, by hand

COLOURS = {"grey": (0.5, 0.5, 0.5), "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


def filled(network, image, name) -> tuple[object, torch.Tensor]:
    """What to ask for, and the whole image of it, written anew where there is a formula."""
    if name == "an image":
        other = toys.image(*image.shape[2:], seed=9)
        return other, other
    if name in ("noise", "blur"):
        return name, fill_image(network, image, name)
    asked = (0.9, 0.1, 0.3) if name == "a colour" else name
    colour = {**COLOURS, "mean": network.mean, "a colour": (0.9, 0.1, 0.3)}[name]
    return asked, torch.tensor(colour).view(1, 3, 1, 1).expand_as(image)


@pytest.mark.parametrize("fill", [*occlusion.FILLS, "a colour", "an image"])
@pytest.mark.parametrize(
    ("size", "window", "stride"),
    [((40, 32), (9, 9), (8, 8)), ((33, 47), (6, 12), (9, 5)), ((32, 32), (4, 4), (10, 10))],
)
def test_every_view_equals_hiding_by_hand(small, fill, size, window, stride):
    image = toys.image(*size)
    asked, whole = filled(small, image, fill)
    views = ("score", "probability", "best_class", "activity:conv2", "activity:conv2:3", "activity")
    occluded = occlusion_map(
        small, image, "c", window=window, stride=stride, fill=asked, views=views
    )
    assert list(occluded.values) == list(views)
    assert occluded.how.startswith("incremental")

    clean = small(image)[0]
    assert occluded.clean["score"] == pytest.approx(float(clean[2]), abs=1e-6)
    assert occluded.clean["probability"] == pytest.approx(float(clean.softmax(0)[2]), abs=1e-6)
    assert occluded.clean["best_class"] == int(clean.argmax())

    scores = by_hand(small, image, whole, window, stride, lambda x: small(x)[0])
    torch.testing.assert_close(occluded.values["score"], scores[..., 2], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        occluded.values["probability"], scores.softmax(2)[..., 2], rtol=0, atol=1e-5
    )
    assert torch.equal(occluded.values["best_class"], scores.argmax(2))

    def activity(images_):
        return small.activations(images_, ["conv2"])["conv2"][0].sum((1, 2))

    sums, strongest = (
        by_hand(small, image, whole, window, stride, activity),
        int(activity(image).argmax()),
    )
    for view, channel in (("activity:conv2", strongest), ("activity:conv2:3", 3)):
        torch.testing.assert_close(occluded.values[view], sums[..., channel], rtol=1e-5, atol=1e-4)
        assert occluded.clean[view] == pytest.approx(float(activity(image)[channel]), rel=1e-5)
    assert occluded.units["activity:conv2"].index == strongest
    assert occluded.units["activity"].layer == "4"  # the last ReLU with a map


@pytest.mark.parametrize(
    ("target", "layer", "pick"),
    [
        (("conv1", 2), "conv1", lambda a: a[0, 2].mean()),
        (("relu2", 5, (3, 1)), "relu2", lambda a: a[0, 5, 3, 1]),
        (("5", 1, (0, 0)), "5", lambda a: a[0, 1, 0, 0]),  # of the head's pooled map
        (("fc3", 3), "fc3", lambda a: a[0, 3]),
    ],
)
def test_channels_and_neurons_are_targets_too(small, target, layer, pick):
    image = toys.image(40, 32)
    occluded = occlusion_map(small, image, target, window=9, stride=8)
    fill = fill_image(small, image)
    expected = by_hand(
        small, image, fill, (9, 9), (8, 8), lambda x: pick(small.activations(x, [layer])[layer])
    )
    torch.testing.assert_close(occluded.values["score"], expected, rtol=1e-5, atol=1e-5)
    assert str(occluded.target) == str(small.target(target))


def test_a_network_that_sees_the_whole_image_early_is_computed_plainly():
    network, image = squeezed((24, 30)), toys.image(24, 30)
    views = ("score", "probability", "best_class", "activity:second:2")
    occluded = occlusion_map(network, image, 1, window=(8, 7), stride=(5, 6), views=views)
    assert occluded.how.startswith("plain batches: Squeezed")
    fill = fill_image(network, image)
    scores = by_hand(network, image, fill, (8, 7), (5, 6), lambda x: network(x)[0])
    torch.testing.assert_close(occluded.values["score"], scores[..., 1], rtol=0, atol=1e-5)
    assert torch.equal(occluded.values["best_class"], scores.argmax(2))


@pytest.fixture
def followed(monkeypatch):
    """Every box that is computed, by either engine."""
    computed: list[tuple[object, object]] = []

    def noting(real):
        def follow(self, chunk):
            computed.extend((rows, columns) for rows in chunk.rows for columns in chunk.columns)
            return real(self, chunk)

        return follow

    monkeypatch.setattr(occlusion.Recomputer, "recompute", noting(occlusion.Recomputer.recompute))
    monkeypatch.setattr(occlusion._PlainEngine, "_follow", noting(occlusion._PlainEngine._follow))
    return computed


FRAMED = [
    # size, window, stride: 9 x 9, 16 x 11, one row, a single position, 33 x 2
    ((40, 40), 8, 4),
    ((38, 28), 8, 2),
    ((20, 60), 20, 5),
    ((20, 20), 20, 3),
    ((40, 12), 8, (1, 4)),
]


def squeezed(size):
    return networks.wrap(toys.seeded(toys.Squeezed), input_size=size)


@pytest.mark.parametrize(("size", "window", "stride"), FRAMED)
@pytest.mark.parametrize("engine", ["incremental", "plain"])
def test_frames_go_from_coarse_to_fine_and_compute_nothing_twice(
    followed, size, window, stride, engine
):
    network = small_network(size) if engine == "incremental" else squeezed(size)
    image = toys.image(*size)
    views = ("score", "best_class")
    frames = list(
        occlusion_map.frames(network, image, 1, window=window, stride=stride, views=views)
    )
    assert frames[0].how.startswith(engine)
    count = len(frames[0].rows) * len(frames[0].columns)
    assert len(followed) == len(set(followed)) == count
    assert [frame.progress for frame in frames] == sorted(frame.progress for frame in frames)
    assert frames[-1].progress == 1
    for frame in frames:  # an uncomputed position shows a computed one's value
        known = set(frame.values["score"][frame.computed].tolist())
        assert set(frame.values["score"].flatten().tolist()) <= known
    for before, after in itertools.pairwise(frames):
        assert bool((after.computed | ~before.computed).all())  # what is computed stays so
        assert int(after.computed.sum()) > int(before.computed.sum())
        kept = before.computed
        assert torch.equal(after.values["score"][kept], before.values["score"][kept])
    whole = occlusion_map(network, image, 1, window=window, stride=stride, views=views)
    for view in views:
        torch.testing.assert_close(frames[-1].values[view], whole.values[view], rtol=0, atol=1e-6)
    assert frames[-1].rows == whole.rows
    assert frames[-1].columns == whole.columns


def test_the_first_frame_shows_each_position_its_nearest_computed_one():
    size = (92, 92)  # 43 x 43 positions: computed at 0, 8, ... 40
    network, image = small_network(size), toys.image(*size)
    first = next(occlusion_map.frames(network, image, 1, window=8, stride=2))
    lines = [line for line in range(43) if line % 8 == 0]
    assert first.computed.nonzero().tolist() == [[r, c] for r in lines for c in lines]
    for row in range(43):
        near = min(lines, key=lambda line: (abs(line - row), -line))
        assert first.values["score"][row, 8] == first.values["score"][near, 8]


@pytest.mark.usefixtures("two_threads")
def test_closing_the_frames_stops_and_leaves_no_thread(squeezenet, followed):
    before = set(threading.enumerate())
    frames = occlusion_map.frames(squeezenet, toys.image(160), 1, window=32, stride=4)
    next(frames)
    started = time.monotonic()
    frames.close()
    assert time.monotonic() - started < 5
    assert set(threading.enumerate()) == before
    assert len(followed) < 33 * 33 / 2


def test_the_number_of_threads_changes_nothing(small, two_threads):
    answers = []
    for threads in (2, 1, 3):
        torch.set_num_threads(threads)
        answers.append(occlusion_map(small, toys.image(40, 32), 1, window=8, stride=2))
    for other in answers[1:]:
        score = answers[0].values["score"]
        torch.testing.assert_close(other.values["score"], score, rtol=0, atol=1e-6)


def test_the_lowest_position_and_its_box():
    """Only one patch of the image feeds the score: hiding it hurts most."""
    weight = torch.zeros(2, 3, 32, 40)
    weight[1, :, 16:20, 24:32] = 1
    network, image = toys.linear(weight), torch.ones(1, 3, 32, 40)
    occluded = occlusion_map(network, image, 1, window=8, stride=4, fill="black")
    row, column = occluded.lowest()
    left, top, right, bottom = occluded.box(row, column)
    assert left <= 24 < 32 <= right
    assert top <= 16 < 20 <= bottom
    assert float(occluded.values["score"].min()) == 0


@pytest.mark.parametrize(("window", "stride"), [((7, 9), (4, 5)), ((3, 3), (5, 6))])
def test_pixels_are_the_mean_over_the_windows_that_hide_them(small, window, stride):
    views = ("score", "best_class")
    occluded = occlusion_map(
        small, toys.image(31, 30), 1, window=window, stride=stride, views=views
    )
    pixels = occluded.pixels()
    assert pixels.shape == (31, 30)
    toys.assert_refused(("best_class", occluded.pixels, "best_class"))
    for y in range(31):
        for x in range(30):
            values = [
                float(occluded.values["score"][r, c])
                for r, (top, bottom) in enumerate(occluded.rows)
                for c, (left, right) in enumerate(occluded.columns)
                if top <= y < bottom and left <= x < right
            ]
            expected = sum(values) / len(values) if values else occluded.clean["score"]
            assert float(pixels[y, x]) == pytest.approx(expected, abs=1e-6)


def test_noise_takes_the_whole_range_and_blur_keeps_the_brightness_alone(small):
    image = toys.image(40, 32)
    noise = fill_image(small, image, "noise")
    assert 0 <= noise.min() < 0.05
    assert 0.95 < noise.max() <= 1
    blurred = fill_image(small, image, "blur")
    assert blurred.std() < 0.3 * image.std()
    assert float(blurred.mean()) == pytest.approx(float(image.mean()), abs=0.02)
    flat = torch.full((1, 3, 40, 32), 0.25)
    torch.testing.assert_close(fill_image(small, flat, "blur"), flat)


def test_occlude_shows_the_other_image_inside_the_box_and_nowhere_else():
    image, other = toys.image(9, 7), toys.image(9, 7, seed=1)
    expected = toys.hidden(image, [(2, 1, 6, 5)], other)
    assert torch.equal(occlude(image, (2, 1, 6, 5), other), expected)
    boxes = ((0, 0, 8, 9), (0, 0, 7, 10), (-1, 0, 3, 3), (3, 0, 3, 5), (0, 5, 3, 4))
    toys.assert_refused(*(("7 wide and 9 high", occlude, image, box, other) for box in boxes))


def test_signs_of_change_follow_a_feature_and_what_cannot_see_the_box_does_not_change(squeezenet):
    """Features of a linear layer: what the hidden patch adds, takes away, does not touch."""
    weight = torch.zeros(3, 3, 8, 8)
    weight[0, :, :4, :4] = 1
    weight[1, :, :4, :4] = -1
    weight[2, :, 4:, 4:] = 1
    network, image = toys.linear(weight), torch.ones(1, 3, 8, 8)
    assert sign_changes(network, image, (0, 0, 4, 4), "1", fill="black").tolist() == [1, -1, 0]

    image = toys.image(96)
    signs = sign_changes(squeezenet, image, (0, 0, 16, 16), "fire3").view(128, -1)
    side = math.isqrt(signs.shape[1])
    far = signs.view(128, side, side)[:, side // 2 + 2 :, side // 2 + 2 :]
    assert (far == 0).all()
    assert (signs != 0).any()


def test_correspondence_is_the_mean_hamming_distance_of_all_pairs():
    changes = torch.tensor([[1, 0, -1, 1], [1, 0, 1, 1], [-1, 0, 1, -1]])
    assert occlusion.correspondence(changes) == pytest.approx((1 + 3 + 2) / 3 / 4)
    assert occlusion.correspondence(changes[:1].repeat(5, 1)) == 0
    toys.assert_refused(
        *(("two rows", occlusion.correspondence, wrong) for wrong in (changes[:1], changes[0]))
    )


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"window": 41}, BadSetting, ["window", "41 x 41", "40 x 32", "smaller"]),
        ({"window": (40, 33)}, BadSetting, ["40 x 33", "40 x 32"]),
        ({"window": 0}, BadSetting, ["window", "above 0"]),
        ({"window": -3}, BadSetting, ["window", "above 0"]),
        ({"window": 7.5}, BadSetting, ["window", "7.5"]),
        ({"window": (3, 4, 5)}, BadSetting, ["window", "(rows, columns)"]),
        ({"window": "big"}, BadSetting, ["window", "'big'"]),
        ({"window": None}, BadSetting, ["window", "None"]),
        ({"stride": 0}, BadSetting, ["stride", "above 0"]),
        ({"stride": (8, -1)}, BadSetting, ["stride", "above 0"]),
        ({"stride": 2.0}, BadSetting, ["stride", "2.0"]),
        ({"fill": "gray"}, BadSetting, ["'gray'", "'grey'"]),
        ({"fill": 0.5}, BadSetting, ["colour", "0.5"]),
        ({"fill": (0.1, 0.2)}, BadSetting, ["colour", "[0, 1]"]),
        ({"fill": (0, 0, 255)}, BadSetting, ["colour", "[0, 1]"]),
        ({"fill": (0.1, math.nan, 0.2)}, BadSetting, ["colour", "[0, 1]"]),
        ({"fill": toys.image(8)}, BadSetting, ["fill", "(1, 3, 8, 8)", "(1, 3, 40, 32)"]),
        ({"views": ()}, BadSetting, ["at least one view", "best_class"]),
        ({"views": ("scores",)}, BadSetting, ["'scores'", "'score'"]),
        ({"views": ("activity:conv2:x",)}, BadSetting, ["activity:conv2:12"]),
        ({"views": ("activity:conv2:6",)}, BadSetting, ["0 to 5", "not 6"]),
        (
            {"views": ("activity:fc3",)},
            BadSetting,
            ["fc3", "has no maps", "Layers near it that work"],
        ),
        ({"views": ("activity:conv",)}, UnknownLayer, ["conv1"]),
        ({"target": ("conv1", 0), "views": ("probability",)}, BadSetting, ["no class", "'score'"]),
        ({"target": ("conv1", 8)}, BadSetting, ["0 to 7"]),
        ({"target": ("conv1", 0, (0, 99))}, BadSetting, ["19 x 15"]),
        ({"target": ("conv1", 0, (-1, 0))}, BadSetting, ["(row, column)"]),
        ({"image": toys.image(40, 32, count=2)}, BadImage, ["one image at a time"]),
        ({"image": toys.image(3, 3), "window": 2}, BadImage, ["'2'"]),  # too small for the pool
    ],
)
def test_what_cannot_work_says_why_at_once(small, changed, kind, words):
    given = {"image": toys.image(40, 32), "target": 1, "window": 8, **changed}
    for ask in (occlusion_map, occlusion_map.frames):  # no frame is asked for
        with pytest.raises(kind) as caught:
            ask(small, **given)
        for word in words:
            assert word in str(caught.value)
