import numpy as np


def gradient(points, labels, weights, bias, decay):
    """The gradients of the loss by weights and bias: an array like weights, and a number."""
    p = 1 / (1 + np.exp(-(points @ weights + bias)))
    off = p - labels
    return points.T @ off / len(points) + decay * weights, off.mean()
