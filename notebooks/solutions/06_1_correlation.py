def correlation(one, other):
    """Pearson's correlation of all numbers of two tensors of one shape."""
    x, y = one - one.mean(), other - other.mean()
    return float((x * y).sum() / (x.norm() * y.norm()))
