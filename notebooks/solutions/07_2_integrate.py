import torch


def integrate(gradient, image, baseline, steps):
    """The mean gradient at the middles of equal steps, times the way from the baseline."""
    way = image - baseline
    total = torch.zeros_like(image)
    for k in range(steps):
        total = total + gradient(baseline + (k + 0.5) / steps * way)
    return total / steps * way
