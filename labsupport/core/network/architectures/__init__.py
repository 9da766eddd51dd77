"""Architectures that torchvision does not have, as their papers describe them."""
