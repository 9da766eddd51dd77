def span(layers, place, length):
    """The (first, end) of the pixels that the unit at a place sees, cut at the picture's ends."""
    first = last = place
    for kernel, stride, padding in reversed(layers):
        first = stride * first - padding
        last = stride * last - padding + kernel - 1
    return max(first, 0), min(last + 1, length)
