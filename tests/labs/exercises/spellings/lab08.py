"""Right answers to lab 08's exercises, in other spellings than the solutions'."""

import numpy as np
import torch


def step_by_numbers(image, gradient, learning_rate, decay):
    moved = image.clone().flatten()
    slopes = gradient.flatten().tolist()
    for place, slope in enumerate(slopes):
        moved[place] += learning_rate * (slope - 2 * decay * float(moved[place]))
    return moved.reshape(image.shape)


def shrunk_and_moved(x, slope, eta, weight):
    return (1 - 2 * eta * weight) * x + eta * slope


def by_autograd(image, gradient, learning_rate, decay):
    moved = image.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        value = (moved * gradient).sum() - decay * moved.square().sum()
        (uphill,) = torch.autograd.grad(value, moved)
    return image + learning_rate * uphill


def step_in_numpy(image, gradient, learning_rate, decay):
    array = image.numpy()
    return torch.from_numpy(array + learning_rate * (gradient.numpy() - 2 * decay * array))


def by_functions(image, gradient, learning_rate, decay):
    return torch.add(image, torch.sub(gradient, image, alpha=2 * decay), alpha=learning_rate)


def by_pixels(image, share):
    sizes = image.square().sum(0).sqrt()
    level = torch.quantile(sizes, share)
    kept = torch.zeros_like(image)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            if sizes[row, column] >= level:
                kept[:, row, column] = image[:, row, column]
    return kept


def by_a_mask(image, share):
    norms = torch.linalg.vector_norm(image, dim=0)
    small = norms < norms.flatten().quantile(share)
    result = image.clone()
    result[:, small] = 0
    return result


def by_where(picture, part):
    squares = (picture**2).sum(dim=0, keepdim=True)
    return torch.where(squares >= torch.quantile(squares, part), picture, torch.zeros(()))


def clipped_in_numpy(image, share):
    array = image.numpy()
    sizes = np.linalg.norm(array, axis=0)
    return torch.from_numpy(np.where(sizes >= np.quantile(sizes, share), array, np.float32(0)))


def masked(image, share):
    norms = image.norm(dim=0)
    return image.masked_fill(norms < torch.quantile(norms, share), 0.0)


SPELLINGS = {
    "08.1": [step_by_numbers, shrunk_and_moved, by_autograd, step_in_numpy, by_functions],
    "08.2": [by_pixels, by_a_mask, by_where, clipped_in_numpy, masked],
}
