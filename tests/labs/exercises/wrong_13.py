"""Typical wrong answers to the exercises of lab 13."""

import numpy as np


def downwards(x, w, step):
    return x - step * w.sign()


def by_weight(x, w, step):
    return x + step * w


def by_own_sign(x, w, step):
    return x + step * x.sign()


def upwards(x, w, step):
    return x + step


def _off(points, labels, weights, bias):
    return 1 / (1 + np.exp(-points @ weights - bias)) - labels


def without_decay(points, labels, weights, bias, decay):
    off = _off(points, labels, weights, bias)
    return points.T @ off / len(points), off.mean()


def twice_the_decay(points, labels, weights, bias, decay):
    off = _off(points, labels, weights, bias)
    return points.T @ off / len(points) + 2 * decay * weights, off.mean()


def bias_pulled(points, labels, weights, bias, decay):
    off = _off(points, labels, weights, bias)
    return points.T @ off / len(points) + decay * weights, off.mean() + decay * bias


def summed(points, labels, weights, bias, decay):
    off = _off(points, labels, weights, bias)
    return points.T @ off + decay * weights, off.sum()


def without_sigmoid(points, labels, weights, bias, decay):
    off = points @ weights + bias - labels
    return points.T @ off / len(points) + decay * weights, off.mean()


def turned_round(points, labels, weights, bias, decay):
    off = -_off(points, labels, weights, bias)
    return points.T @ off / len(points) + decay * weights, off.mean()


def only_the_weights(points, labels, weights, bias, decay):
    return points.T @ _off(points, labels, weights, bias) / len(points) + decay * weights


def not_clipped(image, towards, away, strength):
    direction = towards - away
    return image + strength * direction / direction.abs().max()


def not_divided(image, towards, away, strength):
    return (image + strength * (towards - away)).clamp(0, 1)


def only_added(image, towards, away, strength):
    return (image + strength * towards / towards.abs().max()).clamp(0, 1)


def the_other_way(image, towards, away, strength):
    direction = away - towards
    return (image + strength * direction / direction.abs().max()).clamp(0, 1)


def only_signs(image, towards, away, strength):
    return (image + strength * (towards - away).sign()).clamp(0, 1)


WRONG = {
    "13.1": (downwards, by_weight, by_own_sign, upwards),
    "13.2": (
        without_decay,
        twice_the_decay,
        bias_pulled,
        summed,
        without_sigmoid,
        turned_round,
        only_the_weights,
    ),
    "13.3": (not_clipped, not_divided, only_added, the_other_way, only_signs),
}
