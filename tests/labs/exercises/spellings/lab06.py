"""Right answers to lab 06's exercises, in other spellings than the solutions'."""

import numpy as np
import torch
from torch.nn import functional


def number_by_number(one, other):
    first, second = one.flatten().tolist(), other.flatten().tolist()
    mean = sum(first) / len(first)
    level = sum(second) / len(second)
    both = sum((x - mean) * (y - level) for x, y in zip(first, second, strict=True))
    size = sum((x - mean) ** 2 for x in first) ** 0.5
    return both / (size * sum((y - level) ** 2 for y in second) ** 0.5)


def by_cosine(a, b):
    return functional.cosine_similarity(
        (a - a.mean()).flatten(), (b - b.mean()).flatten(), dim=0
    ).item()


def standardized(one, other):
    scaled = [(values - values.mean()) / values.std(correction=0) for values in (one, other)]
    return (scaled[0] * scaled[1]).mean()


def in_numpy(one, other):
    return np.corrcoef(one.numpy().ravel(), other.numpy().ravel())[0, 1]


def class_by_class(maps, weights, unit):
    pooled = maps[unit].sum() / maps[unit].numel()
    return torch.stack([row[unit] * pooled for row in weights])


def by_difference(maps, weights, unit):
    silenced = maps.clone()
    silenced[unit] = 0
    return weights @ maps.mean((1, 2)) - weights @ silenced.mean((1, 2))


def by_einsum(stack, matrix, which):
    return torch.einsum("c,hw->c", matrix[:, which], stack[which]) / stack[which].numel()


def votes_in_numpy(maps, weights, unit):
    return torch.from_numpy(weights.numpy()[:, unit] * maps.numpy()[unit].mean())


SPELLINGS = {
    "06.1": [number_by_number, by_cosine, standardized, in_numpy],
    "06.2": [class_by_class, by_difference, by_einsum, votes_in_numpy],
}
