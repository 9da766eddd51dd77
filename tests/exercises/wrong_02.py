"""Typical wrong answers to the exercises of lab 02."""


def without_strides(layers):
    return 1 + sum(kernel - 1 for kernel, _ in layers)


def stride_too_early(layers):
    size, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        size += (kernel - 1) * step
    return size


def starts_at_zero(layers):
    size, step = 0, 1
    for kernel, stride in layers:
        size += (kernel - 1) * step
        step *= stride
    return size


def whole_kernels(layers):
    size, step = 1, 1
    for kernel, stride in layers:
        size += kernel * step
        step *= stride
    return size


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
    "02.1": (without_strides, stride_too_early, starts_at_zero, whole_kernels),
    "02.2": (in_list_order, against_all_better, against_the_best, strictly_less, the_values),
    "02.3": (hits, by_length, each),
}
