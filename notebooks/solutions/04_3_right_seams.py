def right_seams(cells, codes):
    """The distance in code from each cell's image to the one on its right."""
    return (codes[cells[:, :-1]] - codes[cells[:, 1:]]).norm(dim=-1)
