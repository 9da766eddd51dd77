def as_picture(weights):
    """A filter in [0, 1]: zero is middle grey, the largest weight full."""
    largest = weights.abs().max().clamp(min=1e-12)
    return 0.5 + weights / (2 * largest)
