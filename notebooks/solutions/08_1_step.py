def step(image, slope, rate, decay):
    """The image after one step uphill on score minus decay times squared pixels."""
    return image + rate * (slope - 2 * decay * image)
