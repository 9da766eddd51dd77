"""Right answers to lab 03's exercises, in other spellings than the solutions'."""

import numpy as np
import torch


def with_a_branch(weights):
    largest = max(float(weights.max()), -float(weights.min()))
    if largest == 0:
        return torch.full_like(weights, 0.5)
    return (weights / largest + 1) / 2


def by_weight(filter_):
    picture = torch.zeros_like(filter_) + 0.5
    largest = filter_.abs().max()
    for channel in range(filter_.shape[0]):
        for row in range(filter_.shape[1]):
            for column in range(filter_.shape[2]):
                if largest > 0:
                    picture[channel, row, column] += filter_[channel, row, column] / largest / 2
    return picture


def with_nan_to_num(w):
    return torch.nan_to_num(w / w.abs().amax()) * 0.5 + 0.5


def pictured_in_numpy(weights):
    array = weights.numpy()
    largest = max(np.abs(array).max(), np.finfo(array.dtype).tiny)
    return torch.from_numpy(0.5 + 0.5 * array / largest)


def in_loops(weights):
    low = high = 0.0
    power = torch.fft.fft2(weights, s=(64, 64)).abs().square().sum(0)
    steps = torch.fft.fftfreq(64).tolist()
    for row, down in enumerate(steps):
        for column, across in enumerate(steps):
            if (down**2 + across**2) ** 0.5 > 0.25:
                high += float(power[row, column])
            else:
                low += float(power[row, column])
    return high / (low + high)


def padded_by_hand(weights):
    around = torch.zeros(len(weights), 64, 64)
    around[:, : weights.shape[1], : weights.shape[2]] = weights
    power = torch.fft.fftn(around, dim=(1, 2)).abs() ** 2
    steps = torch.fft.fftfreq(64)
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    return power[:, torch.hypot(down, across) > 0.25].sum() / power.sum()


def with_a_mask(w):
    power = torch.fft.fft2(w, s=(64, 64)).abs().pow(2)
    places = torch.fft.fftfreq(64)
    mask = places.square()[:, None] + places.square()[None] > 0.25**2
    return float((power * mask).sum()) / float(power.sum())


def transformed_in_numpy(weights):
    power = np.abs(np.fft.fft2(weights.numpy(), s=(64, 64))) ** 2
    steps = np.fft.fftfreq(64)
    return power[:, np.hypot(steps[:, None], steps) > 0.25].sum() / power.sum()


def by_transposed_convolution(first, second):
    return torch.nn.functional.conv_transpose2d(second[None], first)[0]


def weight_by_weight(first, second):
    maps, colors, side, _ = first.shape
    whole = torch.zeros(colors, side + second.shape[1] - 1, side + second.shape[2] - 1)
    for m in range(maps):
        for row in range(second.shape[1]):
            for column in range(second.shape[2]):
                part = whole[:, row : row + side, column : column + side]
                part += second[m, row, column] * first[m]
    return whole


def by_padded_correlation(inner, outer):
    side = inner.shape[-1] - 1
    padded = torch.nn.functional.pad(outer, (side, side, side, side))[None]
    return torch.conv2d(padded, inner.flip(2, 3).transpose(0, 1))[0]


def composed_in_numpy(first, second):
    one, two = first.numpy(), second.numpy()
    side, steps = one.shape[-1], two.shape[-1]
    whole = np.zeros((one.shape[1], side + steps - 1, side + steps - 1), dtype=one.dtype)
    for row, column in np.ndindex(steps, steps):
        part = np.tensordot(two[:, row, column], one, axes=1)
        whole[:, row : row + side, column : column + side] += part
    return torch.from_numpy(whole)


SPELLINGS = {
    "03.1": [with_a_branch, by_weight, with_nan_to_num, pictured_in_numpy],
    "03.2": [in_loops, padded_by_hand, with_a_mask, transformed_in_numpy],
    "03.3": [
        by_transposed_convolution,
        weight_by_weight,
        by_padded_correlation,
        composed_in_numpy,
    ],
}
