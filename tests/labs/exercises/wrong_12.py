"""Typical wrong answers to the exercises of lab 12."""

import torch


def _slope(loss, image):
    image = image.clone().requires_grad_(True)
    return torch.autograd.grad(loss(image), image)[0]


def not_clipped(loss, image, eps):
    return image + eps * _slope(loss, image).sign()


def downhill(loss, image, eps):
    return (image - eps * _slope(loss, image).sign()).clamp(0, 1)


def by_slope(loss, image, eps):
    return (image + eps * _slope(loss, image)).clamp(0, 1)


def by_length(loss, image, eps):
    slope = _slope(loss, image)
    return (image + eps * slope / slope.norm()).clamp(0, 1)


def unchanged(loss, image, eps):
    return image


def only_the_ball(changed, image, eps):
    return image + (changed - image).clamp(-eps, eps)


def only_the_range(changed, image, eps):
    return changed.clamp(0, 1)


def cut_itself(changed, image, eps):
    return (image + changed.clamp(-eps, eps)).clamp(0, 1)


def only_the_difference(changed, image, eps):
    return (changed - image).clamp(-eps, eps)


def all_made_smaller(changed, image, eps):
    change = changed - image
    return (image + eps * change / change.abs().max()).clamp(0, 1)


def left_over(eps, scores):
    x, y = eps - eps.mean(), scores - scores.mean()
    slope = (x * y).sum() / (x * x).sum()
    return float((y - slope * x).square().sum() / y.square().sum())


def correlation(eps, scores):
    x, y = eps - eps.mean(), scores - scores.mean()
    return float((x * y).sum() / (x.norm() * y.norm()))


def through_zero(eps, scores):
    slope = (eps * scores).sum() / (eps * eps).sum()
    off = (scores - slope * eps).square().sum()
    return float(1 - off / (scores - scores.mean()).square().sum())


def the_slope(eps, scores):
    x, y = eps - eps.mean(), scores - scores.mean()
    return float((x * y).sum() / (x * x).sum())


WRONG = {
    "12.1": (not_clipped, downhill, by_slope, by_length, unchanged),
    "12.2": (
        only_the_ball,
        only_the_range,
        cut_itself,
        only_the_difference,
        all_made_smaller,
    ),
    "12.3": (left_over, correlation, through_zero, the_slope),
}
