"""Typical wrong answers to the exercises of lab 11."""

import torch


def _right(maps):
    rows = maps.flatten(1)
    return rows @ rows.T / maps.numel()


def not_divided(maps):
    rows = maps.flatten(1)
    return rows @ rows.T


def by_positions(maps):
    rows = maps.flatten(1)
    return rows @ rows.T / rows.shape[1]


def of_positions(maps):
    rows = maps.flatten(1)
    return rows.T @ rows / maps.numel()


def covariance(maps):
    rows = maps.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    return rows @ rows.T / maps.numel()


def along_the_rows(maps):
    return torch.einsum("ihw,jhv->ij", maps, maps) / maps.numel()


def absolute(maps, style):
    return (_right(maps) - _right(style)).square().sum()


def over_the_picture(maps, style):
    own = _right(maps)
    return (own - _right(style)).square().sum() / own.square().sum()


def not_squared(maps, style):
    wanted = _right(style)
    return (_right(maps) - wanted).abs().sum() / wanted.abs().sum()


def rooted(maps, style):
    wanted = _right(style)
    return ((_right(maps) - wanted).square().sum() / wanted.square().sum()).sqrt()


def averaged(maps, style):
    wanted = _right(style)
    return (_right(maps) - wanted).square().mean() / wanted.square().sum()


EYE = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def _bright(image):
    return (image * EYE).sum(0, keepdim=True)


def the_other_way(picture, content):
    return (picture - _bright(picture) + _bright(content)).clamp(0, 1)


def plain_mean(picture, content):
    return (content - content.mean(0) + picture.mean(0)).clamp(0, 1)


def not_clamped(picture, content):
    return content - _bright(content) + _bright(picture)


def added(picture, content):
    return (content + _bright(picture)).clamp(0, 1)


def grey(picture, content):
    return _bright(picture).repeat(3, 1, 1)


WRONG = {
    "11.1": (not_divided, by_positions, of_positions, covariance, along_the_rows),
    "11.2": (absolute, over_the_picture, not_squared, rooted, averaged),
    "11.3": (the_other_way, plain_mean, not_clamped, added, grey),
}
