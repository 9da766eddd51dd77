"""Right answers to lab 02's exercises, in other spellings than the solutions'."""

import numpy as np
import torch


def with_two_numbers(layers, place, length):
    low, high = place, place
    for index in range(len(layers) - 1, -1, -1):
        k, s, q = layers[index]
        low, high = s * low - q, s * high - q + k - 1
    return (low if low > 0 else 0), (high + 1 if high < length else length)


def by_recursion(layers, place, length):
    if not layers:
        return max(place, 0), min(place + 1, length)
    *below, (kernel, stride, padding) = layers
    start = stride * place - padding
    ends = [by_recursion(below, start + more, length) for more in (0, kernel - 1)]
    return ends[0][0], ends[1][1]


def by_field_and_step(layers, place, length):
    field = step = 1
    offset = 0
    for kernel, stride, padding in layers:
        field += (kernel - 1) * step
        offset += padding * step
        step *= stride
    first = place * step - offset
    return max(0, first), min(length, first + field)


def by_sets(layers, place, length):
    seen = {place}
    for kernel, stride, padding in layers[::-1]:
        seen = {stride * one - padding + i for one in seen for i in range(kernel)}
    inside = np.array(sorted(one for one in seen if 0 <= one < length))
    return int(inside.min()), int(inside.max()) + 1


def in_loops(values, overlaps, most):
    stay = []
    for patch in torch.argsort(values, descending=True).tolist():
        free = True
        for other in stay:
            if overlaps[patch, other] > most:
                free = False
        if free:
            stay.append(patch)
    return stay


def by_crossing_out(scores, table, limit):
    left = scores.argsort(descending=True)
    chosen = []
    while len(left):
        best, left = left[0], left[1:]
        chosen.append(int(best))
        left = left[table[best, left] <= limit]
    return chosen


def by_recursion_over_the_rest(values, overlaps, most):
    def of(order):
        if not order:
            return []
        best, *rest = order
        return [best, *of([one for one in rest if overlaps[best, one] <= most])]

    return of(values.argsort(descending=True).tolist())


def in_numpy(values, overlaps, most):
    order, stay = np.argsort(-values.numpy()), []
    for patch in order:
        if not stay or overlaps.numpy()[patch, stay].max() <= most:
            stay.append(int(patch))
    return stay


def by_counting(labels, wanted):
    hits, shares = 0, []
    for number, label in enumerate(labels, start=1):
        hits += label == wanted
        shares.append(hits / number)
    return shares


def by_sums(names, name):
    return [sum(one == name for one in names[: k + 1]) / (k + 1) for k in range(len(names))]


def with_cumsum(labels, wanted):
    hits = torch.tensor([label == wanted for label in labels]).cumsum(0)
    return (hits / torch.arange(1, len(labels) + 1)).tolist()


def with_numpy(labels, wanted):
    hits = np.cumsum(np.array(labels) == wanted)
    return (hits / np.arange(1, len(labels) + 1)).tolist()


SPELLINGS = {
    "02.1": [with_two_numbers, by_recursion, by_field_and_step, by_sets],
    "02.2": [in_loops, by_crossing_out, by_recursion_over_the_rest, in_numpy],
    "02.3": [by_counting, by_sums, with_cumsum, with_numpy],
}
