def step(image, gradient, learning_rate, decay):
    """The image after one step uphill on score minus decay times squared pixels."""
    return image + learning_rate * (gradient - 2 * decay * image)
