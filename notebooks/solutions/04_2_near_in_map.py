def near_in_map(points):
    """The q_ij (N, N) of points (N, 2): 1 / (1 + squared distance), over the sum of all pairs."""
    squared = (points[:, None] - points[None]).square().sum(2)
    near = (1 / (1 + squared)).fill_diagonal_(0)
    return near / near.sum()
