"""Right answers to lab 05's exercises, in other spellings than the solutions'."""

import numpy as np
import torch


def by_pixels(image, box, colour):
    left, top, right, bottom = box
    hidden = image.clone()
    for row in range(top, bottom):
        for column in range(left, right):
            for channel in range(3):
                hidden[channel, row, column] = colour[channel]
    return hidden


def by_channels(picture, where, values):
    copy = picture.clone()
    for channel, value in zip(copy, values, strict=True):
        channel[where[1] : where[3], where[0] : where[2]] = value
    return copy


def by_a_mask(image, box, colour):
    left, top, right, bottom = box
    mask = torch.zeros_like(image)
    mask[:, top:bottom, left:right] = 1
    return image * (1 - mask) + mask * torch.tensor(colour).reshape(3, 1, 1)


def in_numpy(image, box, colour):
    left, top, right, bottom = box
    array = image.numpy().copy()
    array[:, top:bottom, left:right] = np.asarray(colour, dtype=array.dtype)[:, None, None]
    return torch.from_numpy(array)


SPELLINGS = {"05.1": [by_pixels, by_channels, by_a_mask, in_numpy]}
