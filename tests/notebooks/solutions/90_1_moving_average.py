import torch


def moving_average(row, width):
    """The average of each window of `width` neighbours in a row of numbers."""
    windows = [row[i : i + width] for i in range(len(row) - width + 1)]
    return torch.stack([window.sum() / width for window in windows])
