"""The training loop: against PyTorch's own optimizer, and as something that can be stopped."""

import copy
import math

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional

from labsupport.core.training import Batch, accuracy, random_shifts, seeded, train


@pytest.fixture
def points() -> tuple[torch.Tensor, torch.Tensor]:
    """Small pictures (150, 1, 4, 4); the brighter half is the class."""
    images = torch.randn(150, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    return images, (images[..., :2].sum((1, 2, 3)) > images[..., 2:].sum((1, 2, 3))).long()


def toy(*extra: nn.Module) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), *extra,
                                        nn.Linear(16, 2)))  # fmt: skip


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def test_the_steps_are_those_of_momentum_written_out(points):
    images, labels = points
    start = toy()
    rate, decay, epochs = 0.05, 0.01, 4
    last = train(start, images, labels, epochs=epochs, learning_rate=rate, weight_decay=decay)
    steps, warm = epochs * 3, 1
    mine, random = copy.deepcopy(start), torch.Generator().manual_seed(0)
    speed = [torch.zeros_like(value) for value in mine.parameters()]
    orders = [torch.randperm(150, generator=random).split(64) for _ in range(epochs)]
    for step, chosen in enumerate(some for order in orders for some in order):
        falling = (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2
        now = rate if step < warm else rate * falling
        loss = functional.cross_entropy(mine(images[chosen]), labels[chosen])
        gradients = torch.autograd.grad(loss, list(mine.parameters()))
        with torch.no_grad():
            for value, gradient, v in zip(mine.parameters(), gradients, speed, strict=True):
                pull = gradient + decay * value if value.ndim > 1 else gradient
                v.mul_(0.9).add_(pull)
                value.sub_(now * (pull + 0.9 * v))
    torch.testing.assert_close(weights(last.module), weights(mine), rtol=1e-4, atol=1e-5)


def test_it_learns_and_counts(points):
    images, labels = points
    frames = list(train.frames(toy(), images, labels, epochs=30, learning_rate=0.05))
    assert [frame.step for frame in frames] == list(range(1, 91))
    assert frames[-1].epoch == 30
    assert [frames[0].progress, frames[-1].progress] == [1 / 90, 1.0]
    assert frames[-1].loss < frames[0].loss / 3
    assert accuracy(frames[-1].module, images, labels) > 0.97
    assert frames[-1].accuracy > 0.95
    start, some = toy(), (images[:64], labels[:64])  # one batch: the first frame's numbers
    first = next(iter(train.frames(start, *some)))
    expected = functional.cross_entropy(start(some[0]), some[1])
    assert first.loss == pytest.approx(expected.item(), rel=1e-5)
    assert first.accuracy == pytest.approx(accuracy(start, *some))


def test_the_same_seed_gives_the_same_weights(points):
    def last(seed: int) -> torch.Tensor:
        frame = train(toy(nn.Dropout(0.5)), *points, epochs=2, seed=seed, augment=random_shifts(1))
        return weights(frame.module)

    one = last(5)
    torch.manual_seed(77)
    assert torch.equal(one, last(5))
    assert not torch.equal(one, last(6))


def test_nothing_around_it_changes(points):
    images, labels = points
    start = toy(nn.Dropout(0.5)).eval().requires_grad_(False)
    before, state, pixels = weights(start), torch.get_rng_state(), images.clone()
    with torch.no_grad():
        frames = train.frames(start, images, labels, epochs=1, augment=random_shifts(1))
        moved = [weights(frame.module).clone() for frame in frames]
        assert not torch.is_grad_enabled()
    assert not torch.equal(moved[0], moved[-1])  # it did learn, whatever the grad mode around it
    assert torch.equal(weights(start), before)
    assert not start.training
    assert not any(value.requires_grad for value in start.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, pixels)


def test_it_can_be_stopped_after_any_frame(points):
    frames = train.frames(toy(), *points, epochs=1000)
    second = [next(frames), next(frames)][1]
    assert torch.is_grad_enabled()  # between two frames the mode is the caller's
    frames.close()
    assert second.step == 2
    assert next(frames, None) is None


def test_decay_shrinks_the_weights_and_no_bias(points):
    images, labels = points
    sizes = []
    for decay in (0.0, 0.3):
        frame = train(toy(), images, labels, epochs=30, weight_decay=decay)
        sizes.append(float(frame.module[0].weight.detach().norm()))
    assert sizes[1] < 0.5 * sizes[0]
    still = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    still[1].bias.data = torch.tensor([3.0, 3.0])
    frame = train(still, images * 0, torch.arange(150) % 2, weight_decay=0.5, epochs=5)
    assert float(frame.module[1].bias.detach().mean()) == pytest.approx(3.0, abs=1e-3)


def test_what_cannot_be_trained_is_a_message(points):
    images, labels = points
    given = (train, toy(), images)
    toys.assert_refused(
        (r"rate 1e\+30 is too large", train, toy(), images * 1e10, labels, {"learning_rate": 1e30}),
        ("BadSetting: .*epochs", *given, labels, {"epochs": 0}),
        ("BadSetting: .*epochs", *given, labels, {"epochs": math.nan}),
        ("BadSetting: .*learning_rate", *given, labels, {"learning_rate": 0}),
        ("BadSetting: .*weight_decay", *given, labels, {"weight_decay": -1}),
        ("BadSetting: .*150 images need as many labels", *given, labels[:3]),
        (r"BadSetting: .*labels\.long", *given, labels.float()),
    )


def shifted(images: torch.Tensor, most: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return random_shifts(most)(Batch(images, torch.zeros(len(images)), nn.Identity(), random))


def test_a_shift_moves_each_image_by_itself_and_lets_zeros_in():
    images = torch.zeros(40, 2, 7, 9)
    images[:, 0, 3, 4], images[:, 1, 3, 4] = 1.0, 2.0
    moved = shifted(images, 2)
    assert moved.shape == images.shape
    places = [divmod(int(image[0].argmax()), 9) for image in moved]
    assert {row - 3 for row, _ in places} == set(range(-2, 3))
    assert {column - 4 for _, column in places} == set(range(-2, 3))
    assert torch.equal(moved.sum((2, 3)), images.sum((2, 3)))
    assert all(int(one[1].argmax()) == int(one[0].argmax()) for one in moved)
    assert {int(one.sum()) for one in shifted(torch.ones(30, 1, 3, 3), 1)} == {4, 6, 9}


def test_accuracy_is_counted_in_eval_mode_and_leaves_the_modes():
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.99), nn.Linear(4, 2, bias=False))
    module[2].weight.data = torch.tensor([[1.0] * 4, [-1.0] * 4])
    module.train()
    module[2].eval()
    images = torch.cat([torch.ones(300, 1, 2, 2), -torch.ones(100, 1, 2, 2)])
    assert accuracy(module, images, torch.zeros(400, dtype=torch.long)) == 0.75
    assert [part.training for part in module] == [True, True, False]


def test_seeded_modules_leave_the_random_state():
    state = torch.get_rng_state()
    one, two, other = (seeded(lambda: nn.Linear(3, 3), seed) for seed in (1, 1, 2))
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), state)
