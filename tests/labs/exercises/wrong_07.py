"""Typical wrong answers to the exercises of lab 07."""

import torch


def only_backprop(f, above, rule):
    return above * (f > 0)


def open_at_zero(f, above, rule):
    if rule == "backprop":
        return above * (f >= 0)
    return above.clamp(min=0) * ((f > 0) if rule == "guided" else 1)


def guided_deconvnet(f, above, rule):
    return above * (f > 0) if rule == "backprop" else above.relu() * (f > 0)


def exchanged(f, above, rule):
    if rule == "guided":
        return above.relu() * (f > 0)
    return above.relu() if rule == "backprop" else above * (f > 0)


def ones(f, above, rule):
    gate = {"backprop": f > 0, "deconvnet": above > 0, "guided": (f > 0) & (above > 0)}[rule]
    return (gate & (above != 0)).float()


def replaces(values, switches, size):
    placed = torch.zeros(size)
    for value, place in zip(values.flatten(), switches.flatten(), strict=True):
        placed[place // size[1], place % size[1]] = value
    return placed


def column_by_column(values, switches, size):
    placed = torch.zeros(size)
    for value, place in zip(values.flatten(), switches.flatten(), strict=True):
        placed[place % size[0], place // size[0]] += value
    return placed


def smeared(values, switches, size):
    return torch.full(size, values.mean().item())


def _slopes(slope, image, baseline, steps, shift):
    way = image - baseline
    return sum(slope(baseline + (k + shift) / steps * way) for k in range(steps)) / steps


def without_the_way(slope, image, baseline, steps):
    return _slopes(slope, image, baseline, steps, 0.5)


def at_the_image(slope, image, baseline, steps):
    return slope(image) * (image - baseline)


def left_ends(slope, image, baseline, steps):
    return _slopes(slope, image, baseline, steps, 0.0) * (image - baseline)


def right_ends(slope, image, baseline, steps):
    return _slopes(slope, image, baseline, steps, 1.0) * (image - baseline)


def summed(slope, image, baseline, steps):
    return steps * _slopes(slope, image, baseline, steps, 0.5) * (image - baseline)


WRONG = {
    "07.1": (only_backprop, open_at_zero, guided_deconvnet, exchanged, ones),
    "07.2": (replaces, column_by_column, smeared),
    "07.3": (without_the_way, at_the_image, left_ends, right_ends, summed),
}
