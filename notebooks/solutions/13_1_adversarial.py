def adversarial(x, w, step):
    """x with every number moved by `step`, so that the score w·x rises the most."""
    return x + step * w.sign()
