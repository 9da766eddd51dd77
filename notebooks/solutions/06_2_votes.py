def votes(maps, weights, unit):
    """What a unit adds to each class's score, (classes,)."""
    return weights[:, unit] * maps[unit].mean()
