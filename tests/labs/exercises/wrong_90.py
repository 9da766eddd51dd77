"""Typical wrong answers to the template's exercises."""

import torch


def sums(row, width):
    return torch.stack([row[i : i + width].sum() for i in range(len(row) - width + 1)])


def whole_row(row, width):
    return torch.stack([row.mean() for _ in range(len(row) - width + 1)])


def one_short(row, width):
    return torch.stack([row[i : i + width].mean() for i in range(len(row) - width)])


def a_list(row, width):
    return [float(row[i : i + width].mean()) for i in range(len(row) - width + 1)]


def clipped(row, width):
    return row.unfold(0, width, 1).mean(dim=1).clamp(max=8.0)


def column_first(response):
    best = response.max(dim=1).values.argmax().item()
    return response[best].argmax().item(), best


def flat_place(response):
    return response.argmax().item()


def largest_size(response):
    return divmod(int(response.abs().argmax()), response.shape[1])


def the_value(response):
    return response.max()


WRONG = {
    "90.1": (sums, whole_row, one_short, a_list, clipped),
    "90.2": (column_first, flat_place, largest_size, the_value),
}
