from itertools import combinations


def sign_distance(changes):
    """The share of features whose signs differ, averaged over all pairs of pictures."""
    pairs = list(combinations(changes.sign(), 2))
    apart = [(first != second).float().mean().item() for first, second in pairs]
    return sum(apart) / len(pairs)
