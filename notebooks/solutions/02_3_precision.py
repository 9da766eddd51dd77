def precision(labels, wanted):
    """The share of the wanted label among the first 1, 2, ... labels."""
    return [labels[:k].count(wanted) / k for k in range(1, len(labels) + 1)]
