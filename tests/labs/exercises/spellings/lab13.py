"""Right answers to lab 13's exercises, in other spellings than the solutions'."""

import numpy as np
import torch


def one_by_one(x, w, step):
    moved = []
    for number, weight in zip(x.tolist(), w.tolist(), strict=True):
        moved.append(number + step * ((weight > 0) - (weight < 0)))
    return torch.tensor(moved)


def by_cases(x, w, step):
    return torch.where(w > 0, x + step, torch.where(w < 0, x - step, x))


def by_gradient(inputs, weights, size):
    copy = inputs.clone().requires_grad_(True)
    (weights * copy).sum().backward()
    return inputs + size * torch.sign(copy.grad)


def with_numpy(x, w, step):
    return torch.from_numpy(x.numpy() + np.float32(step) * np.sign(w.numpy()))


def in_steps(image, towards, away, strength):
    direction = towards - away
    direction = direction / torch.max(torch.abs(direction))
    return torch.clamp(image + strength * direction, min=0, max=1)


def pixel_by_pixel(picture, to, own, most):
    largest = max(abs(float(one)) for one in (to - own).flatten())
    result = picture.clone()
    for place in np.ndindex(*picture.shape):
        value = float(picture[place] + most * (to[place] - own[place]) / largest)
        result[place] = min(1.0, max(0.0, value))
    return result


def by_norm(image, towards, away, strength):
    way = towards.sub(away)
    return image.add(way, alpha=strength / way.abs().amax().item()).clip(0.0, 1.0)


def mixed_in_numpy(image, towards, away, strength):
    way = towards.numpy() - away.numpy()
    return torch.from_numpy(np.clip(image.numpy() + strength * way / np.abs(way).max(), 0, 1))


SPELLINGS = {
    "13.1": [one_by_one, by_cases, by_gradient, with_numpy],
    "13.2": [in_steps, pixel_by_pixel, by_norm, mixed_in_numpy],
}
