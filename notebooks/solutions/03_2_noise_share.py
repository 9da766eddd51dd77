import torch


def noise_share(weights):
    """The share of a filter's power above 0.25 cycles per pixel."""
    power = torch.fft.fft2(weights, s=(64, 64)).abs().square().sum(0)
    steps = torch.fft.fftfreq(64)
    radius = (steps[:, None] ** 2 + steps**2).sqrt()
    return (power[radius > 0.25].sum() / power.sum()).item()
