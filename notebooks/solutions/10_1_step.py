def step(image, gradient, rate):
    """The image after a step uphill by which its pixels move by `rate` on average."""
    return (image + rate * gradient / gradient.abs().mean()).clamp(0, 1)
