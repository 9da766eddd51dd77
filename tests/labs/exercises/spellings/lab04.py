"""Right answers to lab 04's exercises, in other spellings than the solutions'."""

import numpy as np
import torch
from torch.nn import functional


def one_by_one(codes, number, k):
    asked = codes[number]
    angles = []
    for other, code in enumerate(codes):
        if other != number:
            cosine = (code @ asked) / (code.norm() * asked.norm())
            angles.append((-cosine.item(), other))
    return [other for _, other in sorted(angles)[:k]]


def without_the_first(rows, which, count):
    cosines = functional.cosine_similarity(rows, rows[which : which + 1])
    order = cosines.argsort(descending=True).tolist()
    return [number for number in order if number != which][:count]


def by_topk(codes, number, k):
    unit = functional.normalize(codes, dim=1)
    cosines = unit @ unit[number]
    cosines[number] = -float("inf")
    return cosines.topk(k).indices.tolist()


def angles_in_numpy(codes, number, k):
    array = codes.numpy()
    cosines = array @ array[number] / np.linalg.norm(array, axis=1)
    return [int(one) for one in np.argsort(-cosines) if one != number][:k]


def pair_by_pair(points):
    count = len(points)
    near = torch.zeros(count, count)
    for i in range(count):
        for j in range(count):
            if i != j:
                near[i, j] = 1 / (1 + ((points[i] - points[j]) ** 2).sum())
    return near / near.sum()


def by_distances(points):
    near = (1 + torch.cdist(points, points) ** 2) ** -1
    near = near * (1 - torch.eye(len(points)))
    return near / near.sum()


def by_products(where):
    squares = (where**2).sum(1)
    apart = squares[:, None] + squares[None, :] - 2 * where @ where.T
    near = 1 / (1 + apart)
    near[range(len(where)), range(len(where))] = 0
    return near / near.sum()


def in_numpy(points):
    array = points.numpy()
    apart = ((array[:, None] - array[None]) ** 2).sum(-1)
    near = 1 / (1 + apart)
    np.fill_diagonal(near, 0)
    return torch.from_numpy(near / near.sum())


SPELLINGS = {
    "04.1": [one_by_one, without_the_first, by_topk, angles_in_numpy],
    "04.2": [pair_by_pair, by_distances, by_products, in_numpy],
}
