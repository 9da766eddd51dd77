"""Typical wrong answers to the exercises of lab 08."""

import torch


def downhill(image, slope, rate, decay):
    return image - rate * slope - 2 * rate * decay * image


def grows(image, slope, rate, decay):
    return image + rate * (slope + 2 * decay * image)


def without_two(image, slope, rate, decay):
    return image + rate * (slope - decay * image)


def without_decay(image, slope, rate, decay):
    return image + rate * slope


def in_place(image, slope, rate, decay):
    image += rate * (slope - 2 * decay * image)
    return image


def decays_by_itself(image, slope, rate, decay):
    return image + rate * slope - 2 * decay * image


def keeps_small(image, share):
    size = image.norm(dim=0)
    return image * (size < torch.quantile(size, share))


def colour_by_colour(image, share):
    size = image.abs()
    return image * (size >= torch.quantile(size, share))


def share_as_size(image, share):
    return image * (image.norm(dim=0) >= share)


def by_sum(image, share):
    size = image.sum(0)
    return image * (size >= torch.quantile(size, share))


def share_that_stays(image, share):
    size = image.norm(dim=0)
    return image * (size >= torch.quantile(size, 1 - share))


def _sides(one, other):
    return (
        min(one[2], other[2]) - max(one[0], other[0]),
        min(one[3], other[3]) - max(one[1], other[1]),
    )


def _areas(one, other):
    return [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]


def unclamped(one, other):
    width, height = _sides(one, other)
    return width * height / (sum(_areas(one, other)) - width * height)


def counted_twice(one, other):
    width, height = (max(0, side) for side in _sides(one, other))
    return width * height / sum(_areas(one, other))


def over_the_smaller(one, other):
    width, height = (max(0, side) for side in _sides(one, other))
    return width * height / min(_areas(one, other))


def inclusive(one, other):
    boxes = [(box[0], box[1], box[2] + 1, box[3] + 1) for box in (one, other)]
    width, height = (max(0, side) for side in _sides(*boxes))
    return width * height / (sum(_areas(*boxes)) - width * height)


def in_pixels(one, other):
    width, height = (max(0, side) for side in _sides(one, other))
    return float(width * height)


WRONG = {
    "08.1": (downhill, grows, without_two, without_decay, in_place, decays_by_itself),
    "08.2": (keeps_small, colour_by_colour, share_as_size, by_sum, share_that_stays),
    "08.3": (unclamped, counted_twice, over_the_smaller, inclusive, in_pixels),
}
