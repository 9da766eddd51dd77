import torch


def jittered(image, down, right, change):
    """What `change` makes of the shifted image, shifted back."""
    shifted = torch.roll(image, (down, right), (-2, -1))
    return torch.roll(change(shifted), (-down, -right), (-2, -1))
