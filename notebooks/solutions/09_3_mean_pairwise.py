def mean_pairwise(codes):
    """The mean squared distance of two different codes (N, D), over all pairs."""
    total, pairs = 0.0, 0
    for first in range(len(codes)):
        for second in range(first):
            total = total + (codes[first] - codes[second]).square().sum()
            pairs += 1
    return total / pairs
