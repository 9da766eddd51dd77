"""Typical wrong answers to the exercises of lab 03."""

import torch


def stretched(weights):
    low, high = weights.min(), weights.max()
    return (weights - low) / (high - low + 1e-12)


def cut_off(weights):
    return weights.clamp(min=0, max=1)


def colour_by_colour(weights):
    largest = weights.abs().amax(dim=(1, 2), keepdim=True)
    return 0.5 + weights / (2 * largest)


def too_pale(weights):
    return 0.5 + weights / (4 * weights.abs().max().clamp(min=1e-12))


def divided_by_zero(weights):
    return 0.5 + weights / (2 * weights.abs().max())


def _share(power, high):
    return (power[high].sum() / power.sum()).item()


def _radius(count):
    steps = torch.fft.fftfreq(count)
    return (steps[:, None] ** 2 + steps**2).sqrt()


def amplitudes(weights):
    return _share(torch.fft.fft2(weights, s=(64, 64)).abs().sum(0), _radius(64) > 0.25)


def without_zeros(weights):
    power = torch.fft.fft2(weights).abs().square().sum(0)
    return _share(power, _radius(weights.shape[-1]) > 0.25)


def axis_by_axis(weights):
    power = torch.fft.fft2(weights, s=(64, 64)).abs().square().sum(0)
    steps = torch.fft.fftfreq(64).abs()
    return _share(power, (steps[:, None] > 0.25) | (steps > 0.25))


def low_share(weights):
    power = torch.fft.fft2(weights, s=(64, 64)).abs().square().sum(0)
    return _share(power, _radius(64) <= 0.25)


def _added(first, second, *, mirrored=False, exchanged=False):
    side, steps = first.shape[-1], second.shape[-1]
    whole = torch.zeros(first.shape[1], side + steps - 1, side + steps - 1)
    for row in range(steps):
        for column in range(steps):
            part = torch.einsum("m,mcij->cij", second[:, row, column], first)
            top, left = (steps - 1 - row, steps - 1 - column) if mirrored else (row, column)
            top, left = (left, top) if exchanged else (top, left)
            whole[:, top : top + side, left : left + side] += part
    return whole


def upside_down(first, second):
    return _added(first, second, mirrored=True)


def rows_for_columns(first, second):
    return _added(first, second, exchanged=True)


def not_moved(first, second):
    return sum(first[m] * second[m].sum() for m in range(len(first)))


def averaged(first, second):
    return _added(first, second) / len(first)


WRONG = {
    "03.1": (stretched, cut_off, colour_by_colour, too_pale, divided_by_zero),
    "03.2": (amplitudes, without_zeros, axis_by_axis, low_share),
    "03.3": (upside_down, rows_for_columns, not_moved, averaged),
}
