def straightness(eps, scores):
    """R² of the best straight line through the points (eps, scores): 1 is a line."""
    x, y = eps - eps.mean(), scores - scores.mean()
    slope = (x * y).sum() / (x * x).sum()
    return float(1 - (y - slope * x).square().sum() / y.square().sum())
