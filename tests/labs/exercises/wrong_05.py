"""Typical wrong answers to the exercises of lab 05."""

from itertools import combinations, product

import torch


def in_place(image, box, colour):
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = torch.tensor(colour)[:, None, None]
    return image


def exchanged(image, box, colour):
    left, top, right, bottom = box
    hidden = image.clone()
    hidden[:, left:right, top:bottom] = torch.tensor(colour)[:, None, None]
    return hidden


def inclusive(image, box, colour):
    left, top, right, bottom = box
    hidden = image.clone()
    hidden[:, top : bottom + 1, left : right + 1] = torch.tensor(colour)[:, None, None]
    return hidden


def always_black(image, box, colour):
    left, top, right, bottom = box
    hidden = image.clone()
    hidden[:, top:bottom, left:right] = 0
    return hidden


def only_whole_ones(length, window, stride):
    return [(first, first + window) for first in range(0, length - window + 1, stride)]


def not_clipped(length, window, stride):
    starts = range(0, length - window + stride, stride)
    return [(first, first + window) for first in starts]


def too_many(length, window, stride):
    return [(first, min(first + window, length)) for first in range(0, length, stride)]


def moved_back(length, window, stride):
    starts = [min(s, length - window) for s in range(0, length - window + stride, stride)]
    return [(first, first + window) for first in starts]


def _average(changes, pairs, distance):
    found = [distance(changes[i], changes[j]) for i, j in pairs(len(changes))]
    return sum(found) / len(found)


def _pairs(count):
    return list(combinations(range(count), 2))


def values_compared(changes):
    return _average(changes, _pairs, lambda a, b: (a != b).float().mean().item())


def counted(changes):
    return _average(changes.sign(), _pairs, lambda a, b: (a != b).sum().item())


def with_itself(changes):
    def all_pairs(count):
        return list(product(range(count), repeat=2))

    return _average(changes.sign(), all_pairs, lambda a, b: (a != b).float().mean().item())


def agreement(changes):
    return _average(changes.sign(), _pairs, lambda a, b: (a == b).float().mean().item())


WRONG = {
    "05.1": (in_place, exchanged, inclusive, always_black),
    "05.2": (only_whole_ones, not_clipped, too_many, moved_back),
    "05.3": (values_compared, counted, with_itself, agreement),
}
