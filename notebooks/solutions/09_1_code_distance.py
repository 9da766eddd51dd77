def code_distance(code, wanted):
    """The squared distance of two codes over the squared length of the one that is wanted."""
    return (code - wanted).square().sum() / wanted.square().sum()
