"""Right answers to lab 05's exercises, in other spellings than the solutions'."""

import math

import numpy as np
import torch


def by_pixels(image, box, color):
    left, top, right, bottom = box
    hidden = image.clone()
    for row in range(top, bottom):
        for column in range(left, right):
            for channel in range(3):
                hidden[channel, row, column] = color[channel]
    return hidden


def by_channels(picture, where, values):
    copy = picture.clone()
    for channel, value in zip(copy, values, strict=True):
        channel[where[1] : where[3], where[0] : where[2]] = value
    return copy


def by_a_mask(image, box, color):
    left, top, right, bottom = box
    mask = torch.zeros_like(image)
    mask[:, top:bottom, left:right] = 1
    return image * (1 - mask) + mask * torch.tensor(color).reshape(3, 1, 1)


def in_numpy(image, box, color):
    left, top, right, bottom = box
    array = image.numpy().copy()
    array[:, top:bottom, left:right] = np.asarray(color, dtype=array.dtype)[:, None, None]
    return torch.from_numpy(array)


def step_by_step(length, window, stride):
    spans, first = [], 0
    while True:
        spans.append((first, min(first + window, length)))
        if first + window >= length:
            return spans
        first += stride


def by_counting(side, width, step):
    count = math.ceil((side - width) / step) + 1
    return [(number * step, min(number * step + width, side)) for number in range(count)]


def in_pairs(length, window, stride):
    starts = list(range(0, length - window + stride, stride))
    return list(zip(starts, [min(start + window, length) for start in starts], strict=True))


def rows_of_numpy(length, window, stride):
    starts = np.arange(0, length - window + stride, stride)
    return [tuple(span) for span in np.stack([starts, (starts + window).clip(max=length)], 1)]


SPELLINGS = {
    "05.1": [by_pixels, by_channels, by_a_mask, in_numpy],
    "05.2": [step_by_step, by_counting, in_pairs, rows_of_numpy],
}
