def relu_backward(f, above, rule):
    """What a ReLU's rule lets through of the gradient that arrives from above."""
    if rule == "backprop":
        return (f > 0) * above
    if rule == "deconvnet":
        return (above > 0) * above
    return (f > 0) * (above > 0) * above
