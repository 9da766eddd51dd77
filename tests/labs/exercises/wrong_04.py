"""Typical wrong answers to the exercises of lab 04."""

import torch


def _cosines(codes, number):
    unit = codes / codes.norm(dim=1, keepdim=True)
    return unit @ unit[number]


def with_itself(codes, number, k):
    return _cosines(codes, number).argsort(descending=True)[:k].tolist()


def _others(closeness, number, k):
    closeness = closeness.clone()
    closeness[number] = -float("inf")
    return closeness.argsort(descending=True)[:k].tolist()


def farthest(codes, number, k):
    return _others(-_cosines(codes, number), number, k)


def not_divided(codes, number, k):
    return _others(codes @ codes[number], number, k)


def straight(codes, number, k):
    return _others(-((codes - codes[number]) ** 2).sum(1), number, k)


def _squared(points):
    return ((points[:, None] - points[None]) ** 2).sum(2)


def _normalized(near):
    near = near.clone().fill_diagonal_(0)
    return near / near.sum()


def gaussian(points):
    return _normalized(torch.exp(-_squared(points)))


def near_to_itself(points):
    near = 1 / (1 + _squared(points))
    return near / near.sum()


def row_by_row(points):
    near = (1 / (1 + _squared(points))).fill_diagonal_(0)
    return near / near.sum(1, keepdim=True)


def unsquared(points):
    return _normalized(1 / (1 + _squared(points) ** 0.5))


def below(cells, codes):
    return (codes[cells[1:]] - codes[cells[:-1]]).norm(dim=2)


def around(cells, codes):
    placed = codes[cells]
    return (placed - placed.roll(-1, 1)).norm(dim=2)


def squared_seams(cells, codes):
    return ((codes[cells[:, 1:]] - codes[cells[:, :-1]]) ** 2).sum(2)


def city_blocks(cells, codes):
    return (codes[cells[:, 1:]] - codes[cells[:, :-1]]).abs().sum(2)


WRONG = {
    "04.1": (with_itself, farthest, not_divided, straight),
    "04.2": (gaussian, near_to_itself, row_by_row, unsquared),
    "04.3": (below, around, squared_seams, city_blocks),
}
