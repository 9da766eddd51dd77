import torch


def fgsm(loss, image, eps):
    """The image after one step of size eps a pixel that raises the loss, inside [0, 1]."""
    image = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(image), image)
    return (image.detach() + eps * gradient.sign()).clamp(0, 1)
