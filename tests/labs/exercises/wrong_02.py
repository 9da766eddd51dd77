"""Typical wrong answers to the exercises of lab 02."""


def _down(layers, place):
    first = last = place
    for kernel, stride, padding in layers:
        first, last = stride * first - padding, stride * last - padding + kernel - 1
    return first, last


def without_padding(layers, place, length):
    first, last = _down([(kernel, stride, 0) for kernel, stride, _ in reversed(layers)], place)
    return max(first, 0), min(last + 1, length)


def last_pixel(layers, place, length):
    first, last = _down(reversed(layers), place)
    return max(first, 0), min(last, length - 1)


def not_cut(layers, place, length):
    first, last = _down(reversed(layers), place)
    return first, last + 1


def bottom_up(layers, place, length):
    first, last = _down(layers, place)
    return max(first, 0), min(last + 1, length)


def _best_first(values):
    return sorted(range(len(values)), key=lambda number: -values[number])


def in_list_order(values, overlaps, most):
    stay = []
    for patch in _best_first(values):
        if all(overlaps[patch][better] <= most for better in stay):
            stay.append(patch)
    return sorted(stay)


def against_all_better(values, overlaps, most):
    order = _best_first(values)
    return [
        patch
        for place, patch in enumerate(order)
        if all(overlaps[patch][better] <= most for better in order[:place])
    ]


def against_the_best(values, overlaps, most):
    best, *others = _best_first(values)
    return [best, *(patch for patch in others if overlaps[patch][best] <= most)]


def strictly_less(values, overlaps, most):
    stay = []
    for patch in _best_first(values):
        if all(overlaps[patch][better] < most for better in stay):
            stay.append(patch)
    return stay


def the_values(values, overlaps, most):
    stay = []
    for patch in _best_first(values):
        if all(overlaps[patch][better] <= most for better in stay):
            stay.append(patch)
    return [float(values[patch]) for patch in stay]


def hits(labels, wanted):
    return [float(labels[:k].count(wanted)) for k in range(1, len(labels) + 1)]


def by_length(labels, wanted):
    return [labels[:k].count(wanted) / len(labels) for k in range(1, len(labels) + 1)]


def each(labels, wanted):
    return [float(label == wanted) for label in labels]


WRONG = {
    "02.1": (without_padding, last_pixel, not_cut, bottom_up),
    "02.2": (in_list_order, against_all_better, against_the_best, strictly_less, the_values),
    "02.3": (hits, by_length, each),
}
