"""Typical wrong answers to the exercises of lab 09."""

import torch


def not_divided(code, wanted):
    return ((code - wanted) ** 2).sum()


def by_found(code, wanted):
    return ((code - wanted) ** 2).sum() / (code**2).sum()


def rooted(code, wanted):
    return (code - wanted).norm() / wanted.norm()


def absolute(code, wanted):
    return (code - wanted).abs().sum() / wanted.abs().sum()


def half_squared(code, wanted):
    return ((code - wanted) ** 2).sum() / wanted.norm()


def _both(image):
    corner = image[:, :-1, :-1]
    return image[:, :-1, 1:] - corner, image[:, 1:, :-1] - corner


def only_right(image):
    right, _ = _both(image)
    return (right**2).mean()


def absolute_steps(image):
    right, down = _both(image)
    return (right.abs() + down.abs()).mean()


def summed(image):
    right, down = _both(image)
    return (right**2 + down**2).sum()


def around(image):
    right = torch.roll(image, -1, 2) - image
    down = torch.roll(image, -1, 1) - image
    return (right**2 + down**2).mean()


def added_first(image):
    right, down = _both(image)
    return ((right + down) ** 2).mean()


def with_itself(codes):
    return ((codes[:, None] - codes[None]) ** 2).sum(2).mean()


def not_squared(codes):
    return torch.pdist(codes).mean()


def from_the_mean(codes):
    return ((codes - codes.mean(0)) ** 2).sum(1).mean()


def neighbours(codes):
    return ((codes[1:] - codes[:-1]) ** 2).sum(1).mean()


def twice(codes):
    return 2 * (torch.pdist(codes) ** 2).mean()


def all_together(found, wanted, spread):
    return ((found - wanted) ** 2).sum() / spread


def with_root(found, wanted, spread):
    return (((found - wanted) ** 2).sum(1) / spread).sqrt()


def by_own_size(found, wanted, _spread):
    return ((found - wanted) ** 2).sum(1) / (wanted**2).sum(1)


def mean_of_numbers(found, wanted, spread):
    return ((found - wanted) ** 2).mean(1) / spread


def no_spread(found, wanted, _spread):
    return ((found - wanted) ** 2).sum(1)


WRONG = {
    "09.1": (not_divided, by_found, rooted, absolute, half_squared),
    "09.2": (only_right, absolute_steps, summed, around, added_first),
    "09.3": (with_itself, not_squared, from_the_mean, neighbours, twice),
    "09.4": (all_together, with_root, by_own_size, mean_of_numbers, no_spread),
}
