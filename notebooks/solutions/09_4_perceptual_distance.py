def perceptual_distance(one, other, weights):
    """The mean over positions of the weighted squared differences of unit vectors (C, H, W)."""
    one = one / (one.norm(dim=0) + 1e-10)
    other = other / (other.norm(dim=0) + 1e-10)
    return (weights[:, None, None] * (one - other) ** 2).sum(0).mean()
