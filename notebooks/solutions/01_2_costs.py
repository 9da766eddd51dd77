def costs(before, after, kernel, side):
    """Parameters and multiply-adds of a convolution whose output is side x side."""
    weights = before * after * kernel * kernel
    return weights + after, weights * side * side
