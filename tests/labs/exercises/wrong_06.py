"""Typical wrong answers to the exercises of lab 06."""

import torch


def _sheet(maps, columns, rows, *, gap=1, by_columns=False):
    count, height, width = maps.shape
    sheet = torch.zeros(rows * (height + gap) + gap, columns * (width + gap) + gap)
    for channel in range(min(count, rows * columns)):
        row, column = divmod(channel, columns)
        if by_columns:
            column, row = divmod(channel, rows)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        sheet[top : top + height, left : left + width] = maps[channel]
    return sheet


def down_the_columns(maps, columns):
    return _sheet(maps, columns, -(-len(maps) // columns), by_columns=True)


def without_lines(maps, columns):
    return _sheet(maps, columns, -(-len(maps) // columns), gap=0)


def last_row_lost(maps, columns):
    return _sheet(maps, columns, max(1, len(maps) // columns))


def open_at_the_end(maps, columns):
    return _sheet(maps, columns, -(-len(maps) // columns))[:-1, :-1]


def open_at_the_start(maps, columns):
    return _sheet(maps, columns, -(-len(maps) // columns))[1:, 1:]


def cosine(one, other):
    return float((one * other).sum() / (one.norm() * other.norm()))


def covariance(one, other):
    return float(((one - one.mean()) * (other - other.mean())).mean())


def _pearson(one, other):
    x, y = one - one.mean(), other - other.mean()
    return float((x * y).sum() / (x.norm() * y.norm()))


def squared(one, other):
    return _pearson(one, other) ** 2


def distance(one, other):
    return 1 - _pearson(one, other)


def row_of_weights(maps, weights, unit):
    return weights[unit] * maps[unit].mean()


def summed(maps, weights, unit):
    return weights[:, unit] * maps[unit].sum()


def strongest(maps, weights, unit):
    return weights[:, unit] * maps[unit].max()


def all_units(maps, weights, unit):
    return weights @ maps.mean((1, 2))


def weights_alone(maps, weights, unit):
    return weights[:, unit]


def came_on(first, second, count):
    change = second.mean((1, 2)) - first.mean((1, 2))
    return change.topk(count).indices.tolist()


def went_out(first, second, count):
    change = first.mean((1, 2)) - second.mean((1, 2))
    return change.topk(count).indices.tolist()


def by_position(first, second, count):
    return (second - first).abs().mean((1, 2)).topk(count).indices.tolist()


def least(first, second, count):
    change = (second.mean((1, 2)) - first.mean((1, 2))).abs()
    return (-change).topk(count).indices.tolist()


def second_alone(first, second, count):
    return second.mean((1, 2)).topk(count).indices.tolist()


WRONG = {
    "06.1": (down_the_columns, without_lines, last_row_lost, open_at_the_end, open_at_the_start),
    "06.2": (cosine, covariance, squared, distance),
    "06.3": (row_of_weights, summed, strongest, all_units, weights_alone),
    "06.4": (came_on, went_out, by_position, least, second_alone),
}
