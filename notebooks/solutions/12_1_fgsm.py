import torch


def fgsm(loss, image, eps):
    """The image after one step of size eps a pixel that raises the loss, inside [0, 1]."""
    image = image.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(image), image)
    return (image.detach() + eps * slope.sign()).clamp(0, 1)
