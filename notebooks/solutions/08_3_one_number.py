def one_number(gradient):
    """The largest absolute value of each pixel's three numbers: (3, H, W) to (H, W)."""
    return gradient.abs().amax(0)
