import torch


def hide(image, box, color):
    """A copy of the image with a box in one color."""
    left, top, right, bottom = box
    hidden = image.clone()
    hidden[:, top:bottom, left:right] = torch.tensor(color)[:, None, None]
    return hidden
