def output_side(side, kernel, stride, padding):
    """The side of the map that a convolution makes of a map with this side."""
    return (side + 2 * padding - kernel) // stride + 1
