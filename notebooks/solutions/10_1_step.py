def step(image, slope, rate):
    """The image after a step uphill by which its pixels move by `rate` on average."""
    return (image + rate * slope / slope.abs().mean()).clamp(0, 1)
