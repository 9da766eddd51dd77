"""Exercise 11.1: how often any two channels fire together."""


def gram_matrix(maps):
    """The products of all pairs of channels of maps (C, H, W), summed over the positions."""
    rows = maps.flatten(1)
    return rows @ rows.T / maps.numel()
