def agreement(neighbours, labels):
    """The share (0 to 1) of all neighbours (N, k) that have the label of their image."""
    return (labels[neighbours] == labels[:, None]).float().mean().item()
