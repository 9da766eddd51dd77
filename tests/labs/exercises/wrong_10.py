"""Typical wrong answers to the exercises of lab 10."""

import torch


def not_normalized(image, gradient, rate):
    return (image + rate * gradient).clamp(0, 1)


def downhill(image, gradient, rate):
    return (image - rate * gradient / gradient.abs().mean()).clamp(0, 1)


def not_clipped(image, gradient, rate):
    return image + rate * gradient / gradient.abs().mean()


def by_the_mean(image, gradient, rate):
    return (image + rate * gradient / gradient.mean()).clamp(0, 1)


def by_the_largest(image, gradient, rate):
    return (image + rate * gradient / gradient.abs().max()).clamp(0, 1)


def by_sign(image, gradient, rate):
    return (image + rate * gradient.sign()).clamp(0, 1)


def step_in_place(image, gradient, rate):
    image += rate * gradient / gradient.abs().mean()
    return image.clamp_(0, 1)


def roll(image, down, right):
    return torch.roll(image, (down, right), (-2, -1))


def stays_shifted(image, down, right, change):
    return change(roll(image, down, right))


def same_way(image, down, right, change):
    return roll(change(roll(image, down, right)), down, right)


def not_shifted(image, down, right, change):
    return change(image)


def exchanged(image, down, right, change):
    return roll(change(roll(image, right, down)), -right, -down)


def other_way(image, down, right, change):
    return roll(change(roll(image, -down, -right)), down, right)


def largest_first(height, width, octaves, scale):
    found = [(height, width)]
    for _ in range(octaves - 1):
        found.append((round(found[-1][0] / scale), round(found[-1][1] / scale)))
    return found


def cut_off(height, width, octaves, scale):
    found = [(height, width)]
    for _ in range(octaves - 1):
        found.append((int(found[-1][0] / scale), int(found[-1][1] / scale)))
    return found[::-1]


def one_more(height, width, octaves, scale):
    return largest_first(height, width, octaves + 1, scale)[::-1]


def one_less(height, width, octaves, scale):
    return largest_first(height, width, octaves, scale)[:0:-1]


def width_first(height, width, octaves, scale):
    return largest_first(width, height, octaves, scale)[::-1]


def enlarged_picture(base, small, dreamed, resize):
    return resize(dreamed, base.shape[2:])


def added_picture(base, small, dreamed, resize):
    return (base + resize(dreamed, base.shape[2:])).clamp(0, 1)


def wrong_sign(base, small, dreamed, resize):
    return (base + resize(small - dreamed, base.shape[2:])).clamp(0, 1)


def beyond(base, small, dreamed, resize):
    return base + resize(dreamed - small, base.shape[2:])


def detail_alone(base, small, dreamed, resize):
    return resize(dreamed - small, base.shape[2:]).clamp(0, 1)


def forgotten(base, small, dreamed, resize):
    return base.clone()


WRONG = {
    "10.1": (
        not_normalized,
        downhill,
        not_clipped,
        by_the_mean,
        by_the_largest,
        by_sign,
        step_in_place,
    ),
    "10.2": (stays_shifted, same_way, not_shifted, exchanged, other_way),
    "10.3": (largest_first, cut_off, one_more, one_less, width_first),
    "10.4": (enlarged_picture, added_picture, wrong_sign, beyond, detail_alone, forgotten),
}
