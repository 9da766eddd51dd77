import torch


def clip_small(image, share):
    """The image (3, H, W) with the smallest pixels, so large a share of them, set to zero."""
    size = image.norm(dim=0)
    level = torch.quantile(size, share)
    return image * (size >= level)
