"""Typical wrong answers to the exercises of lab 01."""

import math


def no_first_window(side, kernel, stride, padding):
    return (side + 2 * padding - kernel) // stride


def one_sided(side, kernel, stride, padding):
    return (side + padding - kernel) // stride + 1


def rounded_up(side, kernel, stride, padding):
    return math.ceil((side + 2 * padding - kernel) / stride) + 1


def a_fraction(side, kernel, stride, padding):
    return (side + 2 * padding - kernel) / stride + 1


def kernel_forgotten(side, kernel, stride, padding):
    return (side + 2 * padding) // stride


def without_bias(before, after, kernel, side):
    weights = before * after * kernel * kernel
    return weights, weights * side * side


def bias_multiplied(before, after, kernel, side):
    parameters = (before * kernel * kernel + 1) * after
    return parameters, parameters * side * side


def flat_kernel(before, after, kernel, side):
    weights = after * kernel * kernel
    return weights + after, weights * side * side


def done_once(before, after, kernel, side):
    weights = before * after * kernel * kernel
    return weights + after, weights


def strides_forgotten(layers):
    field = 1
    for kernel, _ in layers:
        field += kernel - 1
    return field


def a_step_too_many(layers):
    field, step = 1, 1
    for kernel, stride in layers:
        field += kernel * step
        step *= stride
    return field


def own_stride(layers):
    field, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        field += (kernel - 1) * step
    return field


def multiplied(layers):
    return math.prod(kernel for kernel, _ in layers)


WRONG = {
    "01.1": (no_first_window, one_sided, rounded_up, a_fraction, kernel_forgotten),
    "01.2": (without_bias, bias_multiplied, flat_kernel, done_once),
    "01.3": (strides_forgotten, a_step_too_many, own_stride, multiplied),
}
