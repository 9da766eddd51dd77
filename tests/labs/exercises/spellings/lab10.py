"""Lab 10: right answers of other hands."""

import numpy as np
import torch
from torch.nn import functional


def channel_by_channel(image, gradient, rate):
    size = rate / gradient.abs().mean()
    moved = [one + size * way for one, way in zip(image, gradient, strict=True)]
    return torch.stack(moved).clip(0, 1)


def in_place_on_a_copy(picture, slope, amount):
    result = picture.clone()
    result += amount * slope / slope.abs().mean()
    return result.clamp_(0, 1)


def by_the_length(image, gradient, rate):
    count = gradient.numel()
    step = gradient * (rate * count / torch.linalg.vector_norm(gradient, ord=1))
    return torch.minimum(torch.maximum(image + step, torch.zeros(())), torch.ones(()))


def step_in_numpy(image, gradient, rate):
    way = gradient.numpy()
    return torch.from_numpy(np.clip(image.numpy() + rate * way / np.abs(way).mean(), 0, 1))


def detail_first(base, small, dreamed, resize):
    detail = dreamed - small
    larger = resize(detail, (base.shape[2], base.shape[3]))
    return torch.clamp(base + larger, 0, 1)


def two_enlargements(base, small, dreamed, resize):
    height, width = base.shape[-2:]
    return (base + resize(dreamed, (height, width)) - resize(small, (height, width))).clip(0, 1)


def a_picture_at_a_time(whole, copy, dream, to_size):
    done = []
    for one, before, after in zip(whole, copy, dream, strict=True):
        added = to_size(after[None] - before[None], tuple(one.shape[1:]))
        done.append(functional.hardtanh(one + added[0], 0.0, 1.0))
    return torch.stack(done)


def carried_in_numpy(base, small, dreamed, resize):
    added = resize(dreamed - small, base.shape[2:]).numpy()
    return torch.tensor(np.clip(base.numpy() + added, 0.0, 1.0))


SPELLINGS = {
    "10.1": [channel_by_channel, in_place_on_a_copy, by_the_length, step_in_numpy],
    "10.2": [detail_first, two_enlargements, a_picture_at_a_time, carried_in_numpy],
}
