def positions(length, window, stride):
    """The (first, end) of each window along one side, the last one clipped."""
    starts = range(0, length - window + stride, stride)
    return [(first, min(first + window, length)) for first in starts]
