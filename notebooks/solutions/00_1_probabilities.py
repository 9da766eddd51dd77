def probabilities(scores):
    """The probability of each class from the scores (classes,)."""
    powers = scores.exp()
    return powers / powers.sum()
